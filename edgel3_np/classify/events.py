"""Events: the stretches of time in which a class is present, from the scores of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import EdgeL3Error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WINDOW = 1.0  # seconds
TOLERANCE = 1e-9  # seconds: times are floats, and 0.3 + 0.5 is not always 0.8


class Event(NamedTuple):
    """A stretch of time in which a class is present.

    Parameters
    ----------
    start, end : float
        Seconds.
    label : str
    score : float
        The highest of its windows, 0 to 1.
    """

    start: float
    end: float
    label: str
    score: float


def window_bounds(timestamps, center):
    """Return the starts and ends of windows, shape (t,) each, in seconds; no window begins before the sound."""
    starts = timestamps - (WINDOW / 2 if center else 0.0)
    return np.maximum(starts, 0.0), starts + WINDOW


def events(
    scores: ArrayLike,
    timestamps: NDArray[np.float64],
    threshold: ArrayLike,
    classes: Sequence[str],
    *,
    merge_gap: float = 0.0,
    min_length: float = 0.0,
    center: bool = True,
) -> list[Event]:
    """Turn scores into events.

    A window whose score is at least the threshold is heard from its start to its end: from half a second before its
    timestamp to half a second behind it, if windows are centred. An event is the union of such windows that overlap,
    touch, or lie at most `merge_gap` apart.

    Parameters
    ----------
    scores : np.ndarray [shape=(t, classes), float]
        As `Classifier.predict` returns them.
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds, never falling.
    threshold : float or np.ndarray [shape=(classes,), float]
        Scores from which on a class counts as present.
    classes : sequence of str
        Labels.
    merge_gap : float >= 0
        Events of a class that lie so many seconds apart, or less, are one.
    min_length : float >= 0
        Events shorter than so many seconds, once they are merged, are left out.
    center : bool
        Timestamps are the middles of windows; otherwise their starts.

    Returns
    -------
    found : list of Event
        In the order of their starts; those of one start in the order of the classes.

    Raises
    ------
    EdgeL3Error
        Arrays do not have these shapes.

    Examples
    --------
    >>> scores = np.array([[0.1], [0.9], [0.7], [0.2], [0.2], [0.2], [0.8]])
    >>> for event in events(scores, 0.5 * np.arange(7), 0.5, ["dog"]):
    ...     print(event)
    Event(start=0.0, end=1.5, label='dog', score=0.9)
    Event(start=2.5, end=3.5, label='dog', score=0.8)
    """
    scores, timestamps = np.asarray(scores, np.float64), np.asarray(timestamps, np.float64)
    if scores.shape != (len(timestamps), len(classes)):
        what = f"expected shape ({len(timestamps)}, {len(classes)}), of timestamps and classes, found {scores.shape}"
        raise EdgeL3Error(f"scores: {what}")
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), (len(classes),))
    starts, ends = window_bounds(timestamps, center)
    found = []
    for number, label in enumerate(classes):
        heard = np.flatnonzero(scores[:, number] >= thresholds[number])
        if not len(heard):
            continue
        gaps = starts[heard[1:]] - ends[heard[:-1]]
        firsts = np.flatnonzero(np.concatenate([[True], gaps > merge_gap + TOLERANCE]))
        lasts = np.append(firsts[1:], len(heard)) - 1
        peaks = np.maximum.reduceat(scores[heard, number], firsts)
        for first, last, peak in zip(heard[firsts], heard[lasts], peaks):
            start, end = float(starts[first]), float(ends[last])
            if end - start >= min_length - TOLERANCE:
                found.append((start, number, Event(start, end, label, float(peak))))
    return [event for _, _, event in sorted(found, key=lambda item: item[:2])]
