"""Cut a stream of samples into windows, each with its time.

`spans` is the one place where a stream of blocks is buffered; the resampler takes its input from it as well.
"""

from typing import NamedTuple

import numpy as np

from .errors import EdgeL3Error

_END = object()
MAX_HOP_SIZE = 1e9  # seconds: thirty years, and its samples still fit 64 bits


class Piece(NamedTuple):
    """A piece of a signal that arrives in blocks, as `spans` cuts it."""

    samples: np.ndarray  # (stop - start,), float64; zero where the signal is not, or not yet
    index: int  # type: ignore[assignment]  # of the piece; hides a method of tuples
    end: int  # samples of the signal seen so far
    ended: bool  # the signal has no more
    paused: bool  # it has no more for now: the piece is not complete, and will come again


def spans(blocks, span):
    """Cut overlapping pieces out of a signal that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal, in blocks of any length. None says that there is no more for now.
    span : callable, int -> (start, stop)
        Bounds of piece 0, 1, 2, ... in samples. Neither bound may decrease. The signal is zero outside its extent,
        so `start` may be negative and `stop` may lie beyond the end.

    Yields
    ------
    piece : Piece
        The same one again after a pause. When the signal has ended pieces keep coming, all zeros in the end: the
        caller, who knows what he needs of them, stops.
    """
    blocks = iter(blocks)
    buffer, offset, index, ended = np.zeros(0), 0, 0, False  # buffer[0] is sample number `offset`
    while True:
        start, stop = span(index)
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
                skip = min(max(start - end, 0), len(block))  # samples between pieces that no piece wants
                if skip:
                    offset, parts = end + skip, []
                parts.append(block[skip:])
                end += len(block)
        buffer = parts[0] if len(parts) == 1 else np.concatenate(parts)
        samples = np.zeros(stop - start)
        low, high = max(start, offset), min(stop, end)
        if low < high:
            samples[low - start : high - start] = buffer[low - offset : high - offset]
        yield Piece(samples, index, end, ended, paused)
        index += not paused


def hop_length(hop_size, sr):
    """Hop between windows in samples: `int(hop_size * sr)`, as upstream truncates it.

    Raises
    ------
    EdgeL3Error
        `hop_size` is not a number of seconds above 0 and up to `MAX_HOP_SIZE`, or is less than one sample.
    """
    if isinstance(hop_size, bool) or not isinstance(hop_size, (int, float, np.integer, np.floating)):
        raise EdgeL3Error(f"hop_size: expected a positive number of seconds, found {hop_size!r}")
    if not 0 < hop_size <= MAX_HOP_SIZE:
        raise EdgeL3Error(f"hop_size: expected a number of seconds above 0, up to {MAX_HOP_SIZE:g}, found {hop_size!r}")
    hop = int(hop_size * sr)
    if hop < 1:
        raise EdgeL3Error(f"hop_size: expected at least one sample ({1 / sr} s at {sr} Hz), found {hop_size!r}")
    return hop


def count_windows(n_samples, window, hop, front):
    """Number of windows of a signal of `n_samples` with `front` zeros before it.

    The last window is the first that reaches the signal's end; a signal shorter than a window has one.
    """
    return 1 + max(0, -(-(n_samples + front - window) // hop))


def windows(blocks, window, hop, front, batch):
    """Cut a signal into overlapping windows, `batch` at a time.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal at the model's rate. None says that there is no more for now.
    window, hop : int > 0
        Length of a window and distance between windows, in samples.
    front : int >= 0
        Zeros put before the signal (half a second where windows are centred on their time).
    batch : int > 0
        Windows per piece; the last piece may have fewer.

    Yields
    ------
    piece : np.ndarray [shape=(b, window), float64]
        Read-only view; zero-padded where windows pass an end of the signal. There is always one window.
        None instead, each time that the signal has no more for now; windows that are complete have come before it.
    """
    done = 0
    extent = (batch - 1) * hop + window  # samples under one piece

    def span(index):
        start = index * batch * hop - front
        return start, start + extent

    for samples, index, end, ended, paused in spans(blocks, span):
        first = index * batch
        complete = count_windows(end, window, hop, front) if ended else max(0, (end + front - window) // hop + 1)
        ready = min(complete, first + batch)
        if done < ready:
            step = samples.strides[0]
            piece = np.lib.stride_tricks.as_strided(samples, (batch, window), (hop * step, step), writeable=False)
            yield piece[done - first : ready - first]
            done = ready
        if ended and done >= complete:
            return
        if paused:
            yield None


def timestamps(count, hop, hop_size, sr, first=0):
    """Time of each window, in seconds.

    Parameters
    ----------
    count : int >= 0
        Number of windows.
    hop : int > 0
        Hop in samples.
    hop_size : float > 0
        Hop in seconds, as asked for.
    sr : int > 0
        The model's rate, Hz.
    first : int >= 0
        Number of the first of these windows.

    Returns
    -------
    timestamps : np.ndarray [shape=(count,), float64]
        `i * hop_size`, as upstream says it; but where the hop in samples was truncated (`hop_size=0.33333` at
        8 kHz) and the window's true time `i * hop / sr` has come to differ by more than a sample, the true time.

    Examples
    --------
    >>> timestamps(3, 800, 0.1, 8000)
    array([0. , 0.1, 0.2])
    """
    index = np.arange(first, first + count)
    nominal, true = index * float(hop_size), index * hop / sr
    return np.where(np.abs(nominal - true) * sr > 1, true, nominal)
