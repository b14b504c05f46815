"""Cut a stream of samples into windows, each with its time.

`spans` is the one place that buffers a stream of blocks; the resampler takes its input from it as well.
"""

from typing import NamedTuple

import numpy as np

from .._checks import check_seconds
from ..errors import EdgeL3Error

_END = object()


class Framing(NamedTuple):
    """How windows lie over a signal, in samples at the model's rate."""

    window: int  # length of a window
    hop: int  # distance between windows
    hop_size: float  # the distance in seconds, as the caller gives it
    pad_left: int  # zeros before the signal
    batch: int  # windows that are computed at a time
    before: int = 0  # samples before a window that its embedding depends on besides
    after: int = 0  # those behind it

    def timestamps(self, count, first=0):
        """Return the times of `count` windows in seconds: shape (count,); see `timestamps` below."""
        return timestamps(count, self.hop, self.hop_size, self.window, first)


class Span(NamedTuple):
    """A part of a signal that arrives in blocks."""

    buffer: np.ndarray  # (m,), float64; what has arrived of the signal, from before the span on
    offset: int  # number of the first sample in there
    start: int  # number of the first sample of the span
    length: int  # samples of the span
    number: int  # 0, 1, 2, ...
    end: int  # samples of the signal that have arrived
    ended: bool  # the signal is over
    paused: bool  # no more samples for now: the span is incomplete and is yielded again later

    def samples(self, count=None):
        """Return the first `count` samples, or all: float64, zero where there is no signal, or none yet; read only."""
        start, stop = self.start, self.start + (self.length if count is None else count)
        low, high = max(start, self.offset), min(stop, self.end)
        if (low, high) == (start, stop):
            return self.buffer[low - self.offset : high - self.offset]
        samples = np.zeros(stop - start)
        if low < high:
            samples[low - start : high - start] = self.buffer[low - self.offset : high - self.offset]
        return samples


def spans(blocks, bounds):
    """Cut overlapping spans out of a signal that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal, in blocks of any length. None means that no more samples are there for now.
    bounds : callable, int -> (start, stop)
        Bounds of span 0, 1, 2, ... in samples. Neither bound may decrease. The signal is zero outside its extent,
        so `start` may be negative and `stop` may lie beyond the end.

    Yields
    ------
    span : Span
        After a pause the same span is yielded again. After the end of the signal spans of zeros follow without end:
        the caller knows how many it needs, and stops.
    """
    blocks = iter(blocks)
    buffer, offset, number, ended = np.zeros(0), 0, 0, False  # buffer[0] is sample number `offset`
    while True:
        start, stop = bounds(number)
        drop = min(max(start - offset, 0), len(buffer))
        parts, end = [buffer[drop:]], offset + len(buffer)
        offset += drop
        paused = False
        while not (ended or paused) and end < stop:
            block = next(blocks, _END)
            if block is _END:
                ended = True
            elif block is None:
                paused = True
            else:
                skip = min(max(start - end, 0), len(block))  # samples between two spans are not kept
                if skip:
                    offset, parts = end + skip, []
                parts.append(block[skip:])
                end += len(block)
        buffer = parts[0] if len(parts) == 1 else np.concatenate(parts)
        yield Span(buffer, offset, start, stop - start, number, end, ended, paused)
        number += not paused


def hop_length(hop_size, sr):
    """Return the hop between windows in samples: `int(hop_size * sr)`, truncated as the originals truncate it.

    Parameters
    ----------
    hop_size : number > 0
        Seconds.
    sr : int > 0
        The model's rate, Hz.

    Raises
    ------
    EdgeL3Error
        `hop_size` is not a number of seconds above 0 and up to 1e9, or is less than one sample.

    Examples
    --------
    >>> hop_length(0.1, 8000)
    800
    """
    hop = int(check_seconds("hop_size", hop_size) * sr)
    if hop < 1:
        raise EdgeL3Error(f"hop_size: expected at least one sample ({1 / sr} s at {sr} Hz), found {hop_size!r}")
    return hop


def whole_columns(hop_size, column, sr):
    """Return the hop between windows in samples, where it must be a multiple of `column` samples.

    Raises
    ------
    EdgeL3Error
        It is not.

    Examples
    --------
    >>> whole_columns(0.3, 800, 8000)
    2400
    """
    columns = hop_size * sr / column
    if not columns > 0.5 or abs(columns - round(columns)) > 1e-6:
        below = [int(columns)] if columns > 1 else []
        near = " and ".join(f"{number * column / sr:.12g}" for number in (*below, int(columns) + 1))
        raise EdgeL3Error(
            f"hop_size: expected a multiple of {column / sr:g} s for a network for streams (the next: {near}), found "
            f"{hop_size!r}"
        )
    return round(columns) * column


def count_windows(n_samples, window, hop, pad_left):
    """Return the number of windows of a signal of `n_samples` with `pad_left` zeros before it.

    The last window is the first that reaches the end of the signal. A signal shorter than a window has one.
    """
    return 1 + max(0, -(-(n_samples + pad_left - window) // hop))


def windows(blocks, window, hop, pad_left, batch, before=0, after=0):
    """Cut a signal into overlapping windows, `batch` at a time.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal at the model's rate. None means that no more samples are there for now.
    window, hop : int > 0
        Length of a window and distance between windows, in samples.
    pad_left : int >= 0
        Zeros put before the signal (half a second where windows are centred on their times).
    batch : int > 0
        Windows in a batch; the last one may have fewer.
    before, after : int >= 0
        Samples around a window that come with it.

    Yields
    ------
    batch : np.ndarray [shape=(b, before + window + after), float64]
        A read-only view; zeros stand where windows pass an end of the signal. There is always one window. A None of
        `blocks` is passed on as None, after all windows that are complete by then.
    """
    done, whole = 0, before + window + after
    extent = (batch - 1) * hop + whole  # samples under one batch

    def bounds(number):
        start = number * batch * hop - pad_left - before
        return start, start + extent

    for span in spans(blocks, bounds):
        first, end, ended = span.number * batch, span.end, span.ended
        reached = (end + pad_left - window - after) // hop + 1
        complete = count_windows(end, window, hop, pad_left) if ended else max(0, reached)
        ready = min(complete, first + batch)
        if done < ready:
            count = ready - first
            samples = span.samples((count - 1) * hop + whole)
            step = samples.strides[0]
            strides = (hop * step if batch > 1 else 0, step)  # of a hop of hours, not every system holds the stride
            view = np.ndarray((count, whole), samples.dtype, samples, 0, strides)
            view.flags.writeable = False
            yield view[done - first :]
            done = ready
        if ended and done >= complete:
            return
        if span.paused:
            yield None


def timestamps(count, hop, hop_size, sr, first=0):
    """Return the time of each window in seconds.

    Parameters
    ----------
    count : int >= 0
        Number of windows.
    hop : int > 0
        Hop in samples.
    hop_size : float > 0
        Hop in seconds, as the caller gives it.
    sr : int > 0
        The model's rate, Hz.
    first : int >= 0
        Number of the first of these windows.

    Returns
    -------
    timestamps : np.ndarray [shape=(count,), float64]
        `i * hop_size`, as the originals return it. Where the hop in samples is truncated (`hop_size=0.33333` at 8 kHz)
        and the true time `i * hop / sr` differs by more than a sample, the true time.

    Examples
    --------
    >>> timestamps(3, 800, 0.1, 8000)
    array([0. , 0.1, 0.2])
    """
    index = np.arange(first, first + count, dtype=np.int64)  # the default has 32 bits on some systems
    nominal, true = index * hop_size, index * hop / sr
    return np.where(np.abs(nominal - true) * sr > 1, true, nominal)
