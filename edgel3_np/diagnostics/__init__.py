"""Versions and hardware, correctness of models, and timing: what `info`, `verify` and `bench` report."""
