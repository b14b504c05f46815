"""Progress of long runs, on stderr: a bar if tqdm is installed, otherwise a line now and then."""

import os
import sys
import time
from collections import Counter
from contextlib import contextmanager

EVERY = 5.0  # seconds between lines where there is no bar


class Totals:
    """Counts over the reports of a run so far.

    Parameters
    ----------
    start : float
        Time at which the run begins, by `time.monotonic`.
    statuses, kinds : Counter
        Recordings by status, and failures by kind.
    seconds : float
        Audio that is embedded.
    windows : int
        Embeddings that are written.
    passed : Counter
        Recordings that are passed over, by extension.
    incomplete : int
        Recordings that are embedded although something is missing.
    """

    def __init__(self):
        self.start = time.monotonic()
        self.statuses, self.kinds, self.passed = Counter(), Counter(), Counter()
        self.seconds, self.windows, self.incomplete = 0.0, 0, 0

    def add(self, report):
        """Count a report."""
        self.statuses[report.status] += 1
        if report.kind is not None:
            self.kinds[report.kind] += 1
        self.seconds += report.seconds
        self.windows += report.windows
        self.incomplete += report.incomplete
        if report.status == "passed over":
            self.passed[os.path.splitext(report.input)[1].lower()] += 1

    def count(self):
        """Return how many recordings have been counted."""
        return sum(self.statuses.values())

    def __str__(self):
        elapsed = time.monotonic() - self.start
        text = f"{self.seconds / 3600:.2f} h of audio in {clock(elapsed)} ({self._speed(elapsed):.0f}x)"
        if self.kinds:
            text += f", {self.statuses['failed']} failed"
        return text

    def summary(self):
        """Describe the whole run in a line; a second line lists failures by kind."""
        counts = ", ".join(f"{self.statuses[name]} {name}" for name in ("done", "skipped", "failed"))
        elapsed = time.monotonic() - self.start
        text = f"{self.count()} files: {counts}; {self.windows} embeddings of "
        text += f"{self.seconds / 3600:.2f} h of audio in {clock(elapsed)}"
        if self.seconds:
            text += f", {self._speed(elapsed):.0f} times real time"
        if self.passed:
            found = ", ".join(f"{count} {ending}" for ending, count in self.passed.most_common())
            text += f"\npassed over: {found} (libsndfile does not read them; convert them: ffmpeg -i X Y.wav)"
        if self.incomplete:
            text += f"\nincomplete: {self.incomplete} (not what their headers promise: see the warnings)"
        if self.kinds:
            text += "\nfailures: " + ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return text

    def _speed(self, elapsed):
        return self.seconds / max(elapsed, 1e-9)


def clock(seconds):
    """Format seconds as hours, minutes and seconds.

    Examples
    --------
    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


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
    update : callable, Totals -> None
        Call it after each report.
    say : callable, str -> None
        Prints a line on stderr without damage to the bar.
    """
    tqdm = _tqdm() if shown else None
    if tqdm is None:
        yield _run_lines(count) if shown else lambda totals: None, _print
        return
    with tqdm(total=count, unit="file", file=sys.stderr, dynamic_ncols=True) as bar:

        def update(totals):
            bar.set_postfix_str(str(totals), refresh=False)
            bar.update()

        yield update, lambda text: tqdm.write(text, file=sys.stderr)


def _run_lines(count):
    due = _timer()

    def update(totals):
        if due():
            number = totals.count()
            left = (time.monotonic() - totals.start) * (count - number) / number
            _print(f"{number} of {count} files, {totals}, {clock(max(0, left))} left")

    return update


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
