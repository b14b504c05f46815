"""Count the reports of a run over a collection, and describe the run in words."""

from __future__ import annotations

import os
import time
from collections import Counter

from .jobs import Report
from .names import printable

MAX_FAILURES = 1000  # reports that are kept


class Summary:
    """How a run over a collection ended, or how far it is.

    Parameters
    ----------
    statuses, kinds : Counter
        Recordings by `Report.status`, and failures by `Report.kind`.
    windows : int
        Embeddings that were written.
    seconds : float
        Length of the recordings that were embedded.
    passed : Counter
        Recordings that were passed over, by extension.
    incomplete : int
        Recordings that were embedded although something is missing.
    remarked : int
        Recordings with remarks.
    failures : list of Report
        The first thousand.
    elapsed : float
        Seconds from the start to the last report.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.windows, self.seconds, self.incomplete, self.remarked = 0, 0.0, 0, 0
        self._remark = ""  # the first one
        self.failures: list[Report] = []
        self._start, self.elapsed = time.monotonic(), 0.0

    def add(self, report: Report) -> None:
        """Count a report."""
        self.statuses[report.status] += 1
        if report.kind is not None:
            self.kinds[report.kind] += 1
        self.seconds += report.seconds
        self.windows += report.windows
        self.incomplete += report.incomplete
        self.remarked += bool(report.remarks)
        if report.remarks and not self._remark:
            self._remark = f"{report.input}: {report.remarks[0]}"
        if report.status == "failed" and len(self.failures) < MAX_FAILURES:
            self.failures.append(report)
        if report.status == "passed over":
            self.passed[os.path.splitext(report.input)[1].lower()] += 1
        self.elapsed = time.monotonic() - self._start

    def count(self) -> int:
        """Return how many recordings have been counted."""
        return sum(self.statuses.values())

    def progress(self) -> str:
        """Describe in a few words how far the run is."""
        text = f"{duration(self.seconds)} of audio in {duration(self.elapsed)}"
        if self.seconds:
            text += f" ({self._speed():.0f}x)"
        return text + (f", {self.statuses['failed']} failed" if self.kinds else "")

    def __str__(self) -> str:
        counts = ", ".join(f"{self.statuses[name]} {name}" for name in ("done", "skipped", "failed"))
        text = f"{plural(self.count(), 'file')}: {counts}"
        if self.windows:
            text += f"; {plural(self.windows, 'embedding')} of {duration(self.seconds)} of audio in "
            text += f"{duration(self.elapsed)}, {self._speed():.0f} times real time"
        if self.passed:
            found = ", ".join(f"{count} {ending}" for ending, count in self.passed.most_common())
            text += f"\npassed over: {found} (libsndfile does not read them; convert them: ffmpeg -i X Y.wav)"
        if self.incomplete:
            text += f"\nincomplete: {self.incomplete} (they hold less or more than their headers promise)"
        if self._remark:
            text += f"\nremarks: on {plural(self.remarked, 'file')}, such as {printable(self._remark)}"
        if self.kinds:
            text += "\nfailures: " + ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        if self.failures:
            text += f", such as {printable(self.failures[0].reason or '')}"
        return text

    def __repr__(self) -> str:
        return f"<Summary of {'; '.join(str(self).splitlines())}>"

    def _speed(self) -> float:
        return self.seconds / max(self.elapsed, 1e-9)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a number of things in words; `nouns` are several of them, by default with an s.

    Examples
    --------
    >>> plural(1, "file"), plural(0, "file"), plural(2, "class", "classes")
    ('1 file', '0 files', '2 classes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a length of time in words.

    Examples
    --------
    >>> duration(0.04), duration(15.6), duration(200), duration(5000)
    ('0.0 s', '15.6 s', '3.3 min', '1.4 h')
    """
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
