"""Validate options: one rule for each kind of value."""

from numbers import Integral

import numpy as np

from .errors import EdgeL3Error

MAX_SECONDS = 1e9  # thirty years, whose samples still fit 64 bits


def check_whole(name, value, low=1, high=None, also=""):
    """Return a whole number as an int.

    Parameters
    ----------
    name : str
        Name of the option, for the message.
    value : object
    low, high : int
        Bounds, both included; no upper bound by default.
    also : str
        What else the option may be, for the message: `, or None for ...`.

    Raises
    ------
    EdgeL3Error
        `value` is not an integer of Python or NumPy, or is out of bounds. True and False are not numbers here.

    Examples
    --------
    >>> check_whole("jobs", np.int64(4))
    4
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and low <= value and (high is None or value <= high):
        return int(value)
    bounds = f"above {low - 1}" if high is None else f"from {low} to {high}"
    raise EdgeL3Error(f"{name}: expected a whole number {bounds}{also}, found {value!r}")


def check_seconds(name, value):
    """Return a duration as a Python float.

    A NumPy number of lower precision stands for the decimal number that it prints as: `float32(0.7)` is 0.7 seconds
    and not 0.699999988, whatever the version of NumPy.

    Parameters
    ----------
    name : str
        Name of the option, for the message.
    value : object

    Raises
    ------
    EdgeL3Error
        `value` is not a number above 0 and up to `MAX_SECONDS`.

    Examples
    --------
    >>> check_seconds("hop_size", np.float32(0.7))
    0.7
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise EdgeL3Error(f"{name}: expected a positive number of seconds, found {value!r}")
    seconds = value
    if isinstance(value, (np.float16, np.float32)):
        seconds = float(np.format_float_positional(value))
    if not 0 < seconds <= MAX_SECONDS:  # false of NaN as well
        raise EdgeL3Error(f"{name}: expected a number of seconds above 0, up to {MAX_SECONDS:g}, found {value!r}")
    return float(seconds)


def check_bool(name, value):
    """Return True or False as a Python bool, or raise `EdgeL3Error`."""
    if not isinstance(value, (bool, np.bool_)):
        raise EdgeL3Error(f"{name}: expected True or False, found {value!r}")
    return bool(value)
