"""How far a long run is: on stderr, for people."""

import sys
import time
from collections import Counter
from contextlib import contextmanager

EVERY = 5.0  # seconds between lines where there is no bar


class Totals:
    """Counts over the reports of a run so far."""

    def __init__(self):
        self.start = time.monotonic()
        self.statuses, self.kinds, self.seconds, self.windows = Counter(), Counter(), 0.0, 0

    def add(self, report):
        """Count a report."""
        self.statuses[report.status] += 1
        if report.kind is not None:
            self.kinds[report.kind] += 1
        self.seconds += report.seconds
        self.windows += report.windows

    def __str__(self):
        elapsed = time.monotonic() - self.start
        text = f"{self.seconds / 3600:.2f} h of audio in {clock(elapsed)} ({self.seconds / max(elapsed, 1e-9):.0f}x)"
        if self.kinds:
            text += f", {self.statuses['failed']} failed"
        return text

    def summary(self):
        """The whole run in a line or two."""
        counts = ", ".join(f"{self.statuses[name]} {name}" for name in ("done", "skipped", "failed"))
        elapsed = time.monotonic() - self.start
        text = f"{sum(self.statuses.values())} files: {counts}; {self.windows} embeddings of "
        text += f"{self.seconds / 3600:.2f} h of audio in {clock(elapsed)}"
        if self.seconds:
            text += f", {self.seconds / max(elapsed, 1e-9):.0f} times real time"
        if self.kinds:
            text += "\nfailures: " + ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return text


def clock(seconds):
    """Seconds as hours, minutes and seconds: 75 -> 1:15."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def display(count, shown):
    """Show progress over `count` files if it is `shown`: a bar if tqdm is installed, otherwise a line now and then.

    Yields
    ------
    update : callable, Totals -> None
        To be called after each report.
    say : callable, str -> None
        Prints a line without disturbing the bar.
    """
    if not shown:
        yield lambda totals: None, _print
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield _lines(count), _print
        return
    with tqdm(total=count, unit="file", file=sys.stderr, dynamic_ncols=True) as bar:

        def update(totals):
            bar.set_postfix_str(str(totals), refresh=False)
            bar.update()

        yield update, lambda text: tqdm.write(text, file=sys.stderr)


def _lines(count):
    last = time.monotonic()

    def update(totals):
        nonlocal last
        now, number = time.monotonic(), sum(totals.statuses.values())
        if now - last >= EVERY:
            last = now
            left = (now - totals.start) * (count - number) / number
            _print(f"{number} of {count} files, {totals}, {clock(max(0, left))} left")

    return update


@contextmanager
def transfer(name, shown):
    """Show how much of the file `name` has come, if it is `shown`: as `display` does.

    Yields
    ------
    update : callable, (int, int or None) -> None
        To be called with the bytes that are here, and those of the whole file where they are known.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if not shown or tqdm is None:
        yield _transfer_lines(name) if shown else lambda done, total: None
        return
    bar = None

    def update(done, total):
        nonlocal bar
        if bar is None:  # not before there is something to show
            bar = tqdm(desc=name, total=total, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True)
        bar.update(done - bar.n)

    try:
        yield update
    finally:
        if bar is not None:
            bar.close()


def _transfer_lines(name):
    last = time.monotonic()

    def update(done, total):
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY:
            last = now
            _print(f"{name}: {done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else ""))

    return update


def _print(text):
    print(text, file=sys.stderr, flush=True)
