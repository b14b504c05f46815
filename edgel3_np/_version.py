"""Versions: of the package, and of the numbers that it computes."""

__version__ = "0.1.0"
CONTRACT = 4  # version of the numeric contract; a change of numbers raises it
