"""Progress of long runs, on stderr: a bar if tqdm is installed, otherwise a line now and then."""

import sys
import time
from contextlib import contextmanager

from ..collections.summary import duration

EVERY = 5.0  # seconds between lines where there is no bar


@contextmanager
def display(count, shown):
    """Show the progress of a run over files.

    Parameters
    ----------
    count : int
        Files of the run.
    shown : bool
        Otherwise `update` does nothing.

    Yields
    ------
    update : callable, Summary -> None
        Call it after each report.
    say : callable, str -> None
        Prints a line on stderr without damage to the bar.
    """
    tqdm = _tqdm() if shown else None
    if tqdm is None:
        yield _run_lines(count) if shown else lambda summary: None, _print
        return
    with tqdm(total=count, unit="file", file=sys.stderr, dynamic_ncols=True) as bar:

        def update(summary):
            bar.set_postfix_str(summary.progress(), refresh=False)
            bar.update()

        yield update, lambda text: tqdm.write(text, file=sys.stderr)


def _run_lines(count):
    due = _timer()

    def update(summary):
        if due():
            number = summary.count()
            left = duration(summary.elapsed * max(0, count - number) / number)
            _print(f"{number} of {count} files, {summary.progress()}, {left} left")

    return update


@contextmanager
def steps(name, count, shown):
    """Show the progress of a work of so many steps.

    Parameters
    ----------
    name : str
        What is made.
    count : int or None
        None: it is not known.
    shown : bool
        Otherwise `step` does nothing.

    Yields
    ------
    step : callable
        Call it after each step.
    """
    tqdm = _tqdm() if shown else None
    if tqdm is None:
        yield _step_lines(name, count) if shown else lambda: None
        return
    with tqdm(total=count, desc=name, file=sys.stderr, dynamic_ncols=True) as bar:
        yield bar.update


def _step_lines(name, count):
    due, done = _timer(), 0

    def step():
        nonlocal done
        done += 1
        if due():
            _print(f"{name}: {done}" if count is None else f"{name}: {done} of {count}")

    return step


@contextmanager
def transfer(name, shown):
    """Show the progress of a download.

    Parameters
    ----------
    name : str
        What is downloaded.
    shown : bool
        Otherwise `update` does nothing.

    Yields
    ------
    update : callable, (int, int or None) -> None
        Call it with the bytes that have arrived, and the bytes of the whole file if they are known.
    """
    tqdm = _tqdm() if shown else None
    if tqdm is None:
        yield _transfer_lines(name) if shown else lambda done, total: None
        return
    bar = None

    def update(done, total):
        nonlocal bar
        if bar is None:  # the bar appears with the first bytes, not before
            bar = tqdm(desc=name, total=total, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True)
        bar.update(done - bar.n)

    try:
        yield update
    finally:
        if bar is not None:
            bar.close()


def _transfer_lines(name):
    due = _timer()

    def update(done, total):
        if due():
            _print(f"{name}: {done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else ""))

    return update


def _timer():
    """Return a function that tells whether `EVERY` seconds have passed since it last said so."""
    last = time.monotonic()

    def due():
        nonlocal last
        now = time.monotonic()
        if now - last < EVERY:
            return False
        last = now
        return True

    return due


def _tqdm():
    """Return the bar of tqdm, or None if it is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def _print(text):
    print(text, file=sys.stderr, flush=True)
