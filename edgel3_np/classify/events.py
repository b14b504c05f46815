"""Events: the stretches of time in which a class is present, from the scores of windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._checks import check_seconds
from ..errors import EdgeL3Error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..pipeline import Embedding
    from .classifier import Classifier

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
    bounds = window_bounds(timestamps, center)
    runs = []
    for number in range(len(classes)):
        ended, last = _advance(None, scores[:, number], thresholds[number], bounds, merge_gap)
        runs += [(number, run) for run in [*ended, last] if run is not None]
    return _events_of(runs, classes, min_length)


class EventStream:
    """Find events in embeddings that are still arriving.

    All its events together are those of `events` for the whole sound, with the same bytes, however it is cut. An event
    is given when it has ended: with the first window that begins more than `merge_gap` behind it, about a second after
    its end. So a short event is given before a longer one that began earlier. Memory does not grow: of each class there
    is one event at a time that may go on.

    If a call fails or is interrupted, windows are lost, and every later call raises `EdgeL3Error`. Embeddings that are
    refused are not such a failure.

    Parameters
    ----------
    classifier : Classifier
    threshold : float, optional
        For all classes, above 0, up to 1; by default each class has the one that was chosen when it was trained.
    merge_gap, min_length : number >= 0
        Seconds, as for `events`.
    center : bool
        As for the `Stream` that makes the embeddings.

    Raises
    ------
    EdgeL3Error
        An option is not as described.

    Examples
    --------
    >>> import edgel3_np
    >>> from edgel3_np.classifier import Classifier, EventStream
    >>> model = edgel3_np.load_model()
    >>> classifier = Classifier(
    ...     ("any sound",), np.array([0.5]), model.name, model.sha256, model.provenance["contract"], {},
    ...     np.zeros(64), np.ones(64), np.ones((1, 64)), np.zeros(1)
    ... )
    >>> blocks = np.random.default_rng(0).standard_normal((21, 1000))  # 2.6 seconds
    >>> with edgel3_np.Stream(model, sr=8000) as stream:
    ...     for event in EventStream(classifier).over(stream.over(blocks)):
    ...         print(event)
    Event(start=0.0, end=2.7, label='any sound', score=1.0)
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        threshold: float | None = None,
        merge_gap: float = 0.0,
        min_length: float = 0.0,
        center: bool = True,
    ) -> None:
        self._classifier, self._center = classifier, center
        self._thresholds = classifier.thresholds
        if threshold is not None:
            self._thresholds = np.full(len(classifier.classes), check_threshold(threshold))
        self._merge_gap, self._min_length = check_length("merge_gap", merge_gap), check_length("min_length", min_length)
        self._runs: list[_Run | None] = [None] * len(classifier.classes)
        self._last, self._ended, self._failed = -np.inf, False, False

    def feed(self, embedding: Embedding) -> list[Event]:
        """Take the next embeddings.

        Parameters
        ----------
        embedding : Embedding
            As `Stream.feed` and `Stream.flush` return it; it may be empty.

        Returns
        -------
        found : list of Event
            Events that have ended, in the order of their starts; often none.

        Raises
        ------
        EdgeL3Error
            The embeddings are not those of the classifier, or begin before the last ones; the stream is flushed, or an
            earlier call failed.
        """
        self._begin()
        try:
            scores, bounds = self._accept(embedding)
        except EdgeL3Error:  # they are refused, and nothing is lost
            self._failed = False
            raise
        runs = []
        for number, before in enumerate(self._runs):
            ended, self._runs[number] = _advance(
                before, scores[:, number], self._thresholds[number], bounds, self._merge_gap
            )
            runs += [(number, run) for run in ended]
        found = _events_of(runs, self._classifier.classes, self._min_length)
        self._failed = False
        return found

    def flush(self) -> list[Event]:
        """End the sound: return the events that last until its end, in the order of their starts."""
        self._begin()
        self._ended = True
        runs = [(number, run) for number, run in enumerate(self._runs) if run is not None]
        self._runs = [None] * len(self._runs)
        found = _events_of(runs, self._classifier.classes, self._min_length)
        self._failed = False
        return found

    def over(self, embeddings: Iterable[Embedding]) -> Iterator[Event]:
        """Feed all that an iterable gives, such as `Stream.over`, flush, and yield each event."""
        for embedding in embeddings:
            yield from self.feed(embedding)
        yield from self.flush()

    def _begin(self):
        """Begin a call: until all is well the stream has failed, so all that ends a call early counts, a Ctrl-C too."""
        if self._failed:
            what = "expected calls one after the other, each to its end, found one that failed or still runs"
            raise EdgeL3Error(f"events: {what}: windows are lost; make a new EventStream")
        self._failed = True

    def _accept(self, embedding):
        """Check and score embeddings; return the scores, shape (t, classes), and the bounds of the windows."""
        if self._ended:
            raise EdgeL3Error("events: expected no more embeddings after flush(), found some; make a new EventStream")
        scores = self._classifier.predict(embedding)
        times = np.asarray(getattr(embedding, "timestamps", None), np.float64)
        if (
            times.shape != (len(scores),)
            or not np.isfinite(times).all()
            or not (times[1:] >= times[:-1]).all()
            or not (times[:1] >= self._last).all()
        ):
            what = f"expected {len(scores)} times that do not fall, the first at least {self._last:g} s, found others"
            raise EdgeL3Error(f"events: {what}; feed all results of one Stream, in their order")
        self._last = float(times[-1]) if len(times) else self._last
        return scores, window_bounds(times, self._center)


class _Run(NamedTuple):
    """An event that may go on: windows of one class."""

    start: float
    end: float
    peak: float


def _advance(run, scores, threshold, bounds, merge_gap):
    """Go on with the events of a class, window by window.

    Parameters
    ----------
    run : _Run or None
        The event that may go on.
    scores : np.ndarray [shape=(t,), float64]
    threshold : float
    bounds : tuple of np.ndarray [shape=(t,), float64]
        As `window_bounds` returns them.
    merge_gap : float

    Returns
    -------
    ended : list of _Run
        Nothing that comes later belongs to them.
    run : _Run or None
        The event that may go on.
    """
    starts, ends = bounds
    heard = np.flatnonzero(scores >= threshold)
    ended = []
    if len(heard):
        apart = starts[heard[1:]] - ends[heard[:-1]] > merge_gap + TOLERANCE
        firsts = np.flatnonzero(np.concatenate([[True], apart]))
        lasts = np.append(firsts[1:], len(heard)) - 1
        peaks = np.maximum.reduceat(scores[heard], firsts)
        edges = starts[heard[firsts]], ends[heard[lasts]]
        runs = [_Run(*map(float, numbers)) for numbers in zip(*edges, peaks)]
        if run is not None and runs[0].start - run.end > merge_gap + TOLERANCE:
            runs = [run, *runs]
        elif run is not None:
            runs[0] = _Run(run.start, runs[0].end, max(run.peak, runs[0].peak))
        *ended, run = runs
    if run is not None and len(starts) and starts[-1] - run.end > merge_gap + TOLERANCE:
        ended, run = [*ended, run], None
    return ended, run


def _events_of(runs, classes, min_length):
    """Return the events of (number of the class, run) that are long enough, sorted by start, then by class."""
    long = [(run.start, number, run) for number, run in runs if run.end - run.start >= min_length - TOLERANCE]
    return [Event(run.start, run.end, classes[number], run.peak) for _, number, run in sorted(long)]


def check_threshold(value):
    """Return a threshold as a float; raise `EdgeL3Error` unless it is a number above 0, up to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not 0 < value <= 1:
        raise EdgeL3Error(f"threshold: expected a number above 0, up to 1, found {value!r}")
    return float(value)


def check_length(name, value):
    """Return a number of seconds, 0 or more, as a float; raise `EdgeL3Error` for anything else."""
    return 0.0 if not isinstance(value, bool) and value == 0 else check_seconds(name, value)
