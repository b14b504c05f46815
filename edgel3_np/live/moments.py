"""Embed sound while it arrives: each window as soon as it is complete, with its time and level."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from ..pipeline import framing_for
from ..stream import Stream


class Block(NamedTuple):
    """Samples that arrive together, and how many were lost just before them."""

    samples: np.ndarray  # (m,), float64
    lost: int = 0


class Moment(NamedTuple):
    """A window of the sound.

    Parameters
    ----------
    time : float
        Start of the window, seconds since the sound began. Samples that were lost count.
    level : float
        RMS of the sound that is new since the window before, in dB relative to full scale; -inf for silence.
    embedding : np.ndarray [shape=(dim,), float32]
    """

    time: float
    level: float
    embedding: np.ndarray


def moments(model, blocks, sr, *, hop_size):
    """Embed sound while it arrives.

    Windows begin at multiples of the hop, without zeros before the first. All embeddings together have the same bytes
    as those of `Model.embed` with `center=False`, however the sound is cut into blocks. No window lies over a place
    where samples are lost: the sound before it and the sound behind it are embedded like two recordings.

    Parameters
    ----------
    model : Model
    blocks : iterable of Block
    sr : int > 0
        Sampling rate, Hz.
    hop_size : number > 0
        Seconds between windows.

    Yields
    ------
    moment : Moment
        Nothing, if there are no blocks.

    Raises
    ------
    EdgeL3Error
        An option is not as for `Stream`.

    Warns
    -----
    EdgeL3Warning
        The sound is shorter than a window, or all zeros; at its end, and where samples are lost.
    """
    stream, levels, position, start = None, None, 0, 0  # in samples: of the next block, and of the stream
    for samples, lost in blocks:
        if stream is None or lost:
            if stream is not None:
                yield from _moments(stream.flush(), levels, start / sr)
            start = position = position + lost
            stream = Stream(model, sr, hop_size=hop_size, center=False)
            levels = Levels(sr, framing_for(model.network, hop_size, False))
        position += len(samples)
        levels.add(samples)
        yield from _moments(stream.feed(samples), levels, start / sr)
    if stream is not None:
        yield from _moments(stream.flush(), levels, start / sr)


def _moments(result, levels, start):
    for embedding, time in zip(*result):
        yield Moment(start + float(time), levels.take(), embedding)


class Levels:
    """The level of each window: of the sound from the end of the window before to its own end.

    So every sample counts once. The first window has nothing before it, and the sound may end before the last does.

    Parameters
    ----------
    sr : int > 0
        Sampling rate of the samples, Hz.
    framing : Framing
        Of windows that are not centred.
    """

    def __init__(self, sr, framing):
        self._sr, self._framing = sr, framing
        self._done, self._position, self._number, self._end = deque(), 0, -1, 0
        self._energy, self._count, self._last = 0.0, 0, -math.inf
        self._begin()

    def add(self, samples):
        """Take the next samples: (m,), float64."""
        while len(samples):
            part, samples = np.split(samples, [self._end - self._position])
            self._position += len(part)
            self._count += len(part)
            self._energy += float(np.square(part).sum())
            if self._position == self._end:
                self._done.append(self._level())
                self._begin()

    def take(self):
        """Return the level of the next window, in dB relative to full scale."""
        return self._done.popleft() if self._done else self._level()

    def _begin(self):
        """Begin the next window."""
        self._number += 1
        (time,) = self._framing.timestamps(1, self._number)
        self._end = max(self._position, round((float(time) + 1.0) * self._sr))
        self._energy, self._count = 0.0, 0

    def _level(self):
        if self._count:  # hops shorter than a sample leave windows without one
            self._last = 10.0 * math.log10(self._energy / self._count) if self._energy else -math.inf
        return self._last


def first_seconds(blocks, sr, seconds):
    """Yield the blocks of the first seconds of a sound; samples that were lost count."""
    left = max(1, round(seconds * sr))
    for samples, lost in blocks:
        left -= lost
        if left > 0:
            yield Block(samples[:left], lost)
        left -= len(samples)
        if left <= 0:
            return
