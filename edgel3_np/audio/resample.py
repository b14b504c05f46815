"""Change the sampling rate, exactly as resampy 0.2's `kaiser_best` does.

resampy interpolates a table of a windowed sinc linearly. To reduce the rate it steps through the table by a truncated
whole number of entries, and it keeps time as a running sum in float64. All of this is reproduced: the front end is
logarithmic down to -80, and a more accurate sinc moves empty bands by a whole unit.

For a ratio of rates p / q in lowest terms, the weights repeat every p outputs: they are a polyphase filter bank. A
group is a multiple of p outputs. It is computed in parts of a few neighbouring outputs, which need nearly the same
inputs: one matrix product for a part of many groups, without a copy of the signal.

For models of whole numbers all of it is whole as well: the taps have 22 bits behind the point, samples 27, and no sum
of a filter reaches 2**53, so float64 holds it whatever the order of its additions. Time is exact there from the start.
"""

from functools import lru_cache
from typing import NamedTuple, Optional

import numpy as np

from .framing import spans
from .taps import ENTRIES, MAX_DRIFT, TAP_BITS, table, taps, whole_taps

CHUNK = 4096  # outputs that are computed at a time, about: fixed, so that no result depends on how the signal is cut
PART = 8  # an output needs so many times as many inputs as its part has more than it
MAX_BANK = 1_500_000  # weights of a filter bank; a larger one (44101 Hz) is not kept: each output computes its own
MAX_DIRECT = 1 << 18  # weights that are computed at a time where no bank is kept
SAMPLE_BITS, LIMB_BITS = 27, 28  # of a sample that is resampled exactly: behind the point, and in all
LEAST = 2.0**-300  # magnitude of a sample for models of whole numbers: smaller ones are zeros


class _Part(NamedTuple):
    """Some neighbouring outputs of a group."""

    start: int  # number of the first input that they need, from the first one of the group on
    columns: slice  # where they stand among all columns of the bank
    weights: np.ndarray  # (inputs, columns)


class _Polyphase(NamedTuple):
    """A conversion between two rates: everything that does not depend on the signal."""

    rates: tuple  # (sr, target_sr)
    p: int  # outputs ...
    q: int  # ... for so many inputs
    left: int  # inputs that an output needs, up to and including the last one before its time
    right: int  # inputs that it needs after its time
    exact: bool  # whole taps
    drifts: bool  # the running sum of time increments is not exact, and followed
    outputs: int  # outputs of a chunk
    inputs: int  # inputs of a group; a chunk is a whole number of groups
    groups: int  # groups of a chunk
    strides: int  # groups that lie so far apart do not overlap in the inputs that a part needs
    size: int  # outputs of a part
    bank: Optional[tuple]  # parts and columns from `_bank`; None where no bank is kept


def resample(blocks, sr, target_sr, exact=False):
    """Resample a mono signal that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal. The result has the same bytes however it is cut into blocks. None means that no more samples are
        there for now.
    sr, target_sr : int > 0
        The rate of the signal and the rate wanted, Hz. The ratio `target_sr / sr` must be at least 1 / 512.
    exact : bool
        Whether the result is to be the same bytes on every machine; it is then that of whole samples and taps.

    Yields
    ------
    block : np.ndarray [shape=(k,), float64]
        `int(n * (target_sr / sr))` samples in all, for n samples. After everything that can be computed, each None of
        `blocks` is passed on as None.

    Notes
    -----
    The result equals that of resampy 0.2.2 (`filter='kaiser_best'`) to 5e-8 of the largest sample, and mostly to 1e-14,
    including its truncated table step (a gain of 0.4 % from 48 to 8 kHz). Time is exact here, while resampy's running
    sum drifts by its rounding (0.011 samples in an hour from 44.1 to 48 kHz). The drift is followed up to 2**-17 of a
    sample, which it reaches in 15 to 75 s; from then on resampy is late and the result is not.

    Examples
    --------
    >>> x = np.sin(np.arange(48000) / 100)
    >>> sum(len(block) for block in resample([x], 48000, 8000))
    8000
    """
    if sr == target_sr:
        yield from map(_without_traces, blocks) if exact else blocks
        return
    poly = _polyphase(sr, target_sr, exact)
    compute, size = _exact if exact else _direct if poly.bank is None else _filter_bank, poly.outputs
    ratio = float(target_sr) / sr
    time, current, done = np.zeros(size + 1 if exact else 1), -1, 0
    for span in spans(blocks, lambda number: _inputs_of(poly, number * size, size)):
        number, end, ended, paused = span[-4:]
        if number > current and not exact:  # resampy's running sum of time, to the bit: `size` values, and the next one
            time, current = np.cumsum(np.append(time[-1], np.full(size, 1.0 / ratio))), number
        first = number * size
        total = end * poly.p // poly.q if exact else int(end * ratio)
        complete = total if ended else max(0, -(-(end - poly.right) * poly.p // poly.q))
        ready = min(complete, first + size)
        if done < ready:
            x, part = span.samples(), slice(done - first, ready - first)
            few = exact and poly.bank is not None
            yield _groups(poly, x, part) if few else compute(poly, x, first, time[:-1])[part]
            done = ready
        if ended and done >= complete:
            return
        if paused:
            yield None


def _without_traces(block):
    """Return a block with zeros in place of samples below `LEAST`; None stays None."""
    if block is None:
        return None
    heard = np.abs(block) >= LEAST
    return block if heard.all() else block * heard


def _inputs_of(poly, first, count):
    """Return the bounds of the inputs that `count` outputs from `first` on need."""
    start = _floor(poly, first) - poly.left
    if poly.bank is None:
        return start, _floor(poly, first + count - 1) + 1 + poly.right
    last = max(part.start + len(part.weights) for part in poly.bank[0])
    return start, start + (poly.groups - 1) * poly.inputs + last


def _floor(poly, t):
    return t * poly.q // poly.p


@lru_cache(maxsize=8)
def _polyphase(sr, target_sr, exact=False):
    """Return the `_Polyphase` between two rates."""
    from fractions import Fraction  # imported here: it takes a while

    ratio = Fraction(target_sr, sr)
    p, q = ratio.numerator, ratio.denominator
    scale = min(1.0, target_sr / sr)
    wing = len(table()) // int(scale * ENTRIES)
    increment = Fraction(1.0 / (float(target_sr) / sr))
    drifts = not exact and (increment != 1 / ratio or increment.denominator > 1024)
    poly = _Polyphase(
        (sr, target_sr), p, q, wing, wing, exact, drifts, max(1, MAX_DIRECT // (2 * wing)), q, 1, 1, 1, None
    )
    part = max(1, 2 * wing * p // (PART * q))  # outputs
    repeat = max(1, -(-part // p))  # a group is large enough for a part
    if 2 * wing * (PART + 1) // PART * repeat * p * (2 if drifts else 1) > MAX_BANK:
        return poly
    poly = poly._replace(inputs=repeat * q, size=-(-repeat * p // max(1, round(repeat * p / part))))
    bank = _bank(poly, 1)
    strides = -(-max(len(part.weights) for part in bank[0]) // poly.inputs)
    groups = -(-max(1, CHUNK // (repeat * p)) // strides) * strides
    return poly._replace(outputs=groups * repeat * p, groups=groups, strides=strides, bank=bank)


def _bank(poly, side):
    """Return the filter bank of a group of outputs, in parts of `poly.size` outputs.

    If the running sum drifts, each part has besides its outputs those whose time is a whole number once more, with the
    weights just below that time; and then the slopes of all of them, after their times (`side` 1) or before (-1): where
    the table is interpolated linearly, the two may differ.

    Returns
    -------
    parts : tuple of _Part
    columns : tuple of 4 np.ndarray of int
        Columns of the outputs, (p,) for a group of p, and of their slopes; of the outputs from below, and of theirs.
    """
    outputs = poly.inputs // poly.q * poly.p
    parts, columns, used = [], ([], [], [], []), 0
    for first in range(0, outputs, poly.size):
        t = np.arange(first, min(first + poly.size, outputs), dtype=np.int64)
        below = t[t % poly.p == 0] if poly.drifts else t[:0]
        floor = np.concatenate([t * poly.q // poly.p, below * poly.q // poly.p - 1])
        fraction = np.concatenate([(t * poly.q % poly.p) / poly.p, np.ones(len(below))])
        weights = whole_taps(poly, t * poly.q % poly.p) if poly.exact else taps(poly, fraction)
        if poly.drifts:
            step = np.where(fraction < 1, MAX_DRIFT, -MAX_DRIFT)  # whole numbers: where the weights are continuous
            step = np.where((fraction > 0) & (fraction < 1), side * MAX_DRIFT, step)
            slopes = (taps(poly, fraction + step) - weights) / step[:, np.newaxis]
            weights = np.concatenate((weights, slopes))
        start = int(floor.min()) + 1  # input 0 of a group lies `left` inputs before its first output
        matrix = np.zeros((int(floor.max()) + 1 - start + weights.shape[1], len(weights)))
        for column, row in enumerate(weights):
            begin = floor[column % len(floor)] + 1 - start
            matrix[begin : begin + len(row), column] = row
        matrix.setflags(write=False)
        parts.append(_Part(start, slice(used, used + len(weights)), matrix))
        numbers = np.split(used + np.arange(len(weights)), [len(t), len(floor), len(floor) + len(t)])
        for found, number in zip((columns[0], columns[2], columns[1], columns[3]), numbers):
            found.append(number)
        used += len(weights)
    return tuple(parts), tuple(np.concatenate(found) for found in columns)


@lru_cache(maxsize=16)
def _side_bank(sr, target_sr, side):
    """Return the filter bank for drifts on one side: `side` is 1 or -1."""
    poly = _polyphase(sr, target_sr)
    return poly.bank if side > 0 else _bank(poly, side)


@lru_cache(maxsize=16)
def _limit_bank(sr, target_sr, drift):
    """Return the parts of a filter bank for outputs that all have this drift: a third to a half of the columns."""
    poly, settled, used = _polyphase(sr, target_sr), [], 0
    parts, (every, slopes, below, slopes_below) = _side_bank(sr, target_sr, drift)
    values = every.copy()
    if drift < 0:  # each output whose exact time is a whole number is computed from below
        values[:: poly.p], slopes = below, slopes.copy()
        slopes[:: poly.p] = slopes_below
    for start, some, weights in parts:
        inside = (some.start <= every) & (every < some.stop)
        value, slope = (weights[:, numbers[inside] - some.start] for numbers in (values, slopes))
        matrix = value + drift * slope
        matrix.setflags(write=False)
        settled.append(_Part(start, slice(used, used + matrix.shape[1]), matrix))
        used += matrix.shape[1]
    return tuple(settled)


def _products(poly, parts, x):
    """Return the products of a chunk with the parts of a bank: shape (groups, columns)."""
    y = np.empty((poly.groups // poly.strides, poly.strides, parts[-1].columns.stop))
    step = x.itemsize * poly.inputs
    for start, columns, weights in parts:
        shape = poly.strides, poly.groups // poly.strides, len(weights)
        inputs = np.ndarray(shape, x.dtype, x, start * x.itemsize, (step, poly.strides * step, x.itemsize))
        np.matmul(inputs, weights, out=y[:, :, columns].swapaxes(0, 1))
    return y.reshape(poly.groups, -1)


def _filter_bank(poly, x, first, time):
    """Return the outputs of a chunk, from number `first` on: shape (len(time),)."""
    if not poly.drifts:
        return _products(poly, poly.bank[0], x).ravel()
    below, drift = _drift(poly, first, time)
    least, most = drift.min(), drift.max()
    if least == most and abs(least) == MAX_DRIFT:  # as in all chunks from a minute or so on
        return _products(poly, _limit_bank(*poly.rates, float(least)), x).ravel()
    parts, columns = _side_bank(*poly.rates, 1 if most > 0 else -1)
    y = _products(poly, parts, x)
    values, slopes, values_below, slopes_below = (y[:, numbers] for numbers in columns)
    whole, below = slice(None, None, poly.p), below.reshape(poly.groups, -1)[:, :: poly.p]
    values[:, whole] = np.where(below, values_below, values[:, whole])
    slopes[:, whole] = np.where(below, slopes_below, slopes[:, whole])
    return values.ravel() + drift * slopes.ravel()


def _direct(poly, x, first, time):
    """Compute the same for any ratio, with weights of its own for each output: shape (len(time),)."""
    t = np.arange(first, first + len(time), dtype=np.int64)
    below, drift = _drift(poly, first, time)
    floor = _floor(poly, t) - below
    weights = taps(poly, np.where(below, 1.0, (t * poly.q % poly.p) / poly.p) + drift)
    start = floor + 1 - _floor(poly, first)  # x starts `left` inputs before the first output's
    near = x[start[:, np.newaxis] + np.arange(poly.left + poly.right)]
    return np.einsum("tk,tk->t", weights, near)


def _exact(poly, x, first, time):
    """Return the outputs of a chunk for whole taps, without rounding any sum: shape (len(time),).

    A sample within 2 is a whole number of 28 bits. A louder one is the sum of several such numbers, of larger units,
    and a sum of smaller units is rounded to what the larger ones leave of 53 bits.
    """
    if poly.bank is None:
        t = np.arange(first, first + len(time), dtype=np.int64)
        weights, start = whole_taps(poly, t * poly.q % poly.p), _floor(poly, t) + 1 - _floor(poly, first)
        near = start[:, np.newaxis] + np.arange(poly.left + poly.right)
    total = None
    for unit, limb in _limbs(x):
        y = np.einsum("tk,tk->t", weights, limb[near]) if poly.bank is None else _products(poly, poly.bank[0], limb)
        y, least = y.ravel(), unit * 2.0**-TAP_BITS
        total = y if total is None else np.where(y != 0, np.rint(total / least) * least, total) + y
    return total


def _groups(poly, x, part):
    """Return some of the outputs of a chunk, a slice, from the groups that hold them alone: no sum is rounded."""
    each = poly.outputs // poly.groups
    count = -(-(-(-part.stop // each) - part.start // each) // poly.strides) * poly.strides
    first = min(part.start // each, poly.groups - count)
    found = _exact(poly._replace(groups=count), x[first * poly.inputs :], 0, ())
    return found[part.start - first * each : part.stop - first * each]


def _limbs(x):
    """Yield pairs of a unit and whole multiples of it, from the smallest unit up; their sum is `x`, rounded."""
    largest, limbs, unit = max(x.max(), -x.min()), [], 2.0**-SAMPLE_BITS
    while largest >= unit * 2.0**LIMB_BITS:
        unit *= 2.0**LIMB_BITS
    while unit > 2.0**-SAMPLE_BITS:
        loud = np.where(np.abs(x) >= unit, np.rint(x / unit) * unit, 0.0)
        x, limbs, unit = x - loud, [(unit, loud), *limbs], unit * 2.0**-LIMB_BITS
    x = x * (1 / unit)
    np.rint(x, out=x)
    x *= unit
    return [(unit, x), *limbs]


def _drift(poly, first, time):
    """Compare resampy's running sum `time` with exact time.

    Returns
    -------
    below : np.ndarray [shape=(b,), bool]
        The exact time is a whole number and the sum lies below it. With a truncated table step, the weights on that
        side differ.
    drift : np.ndarray [shape=(b,)]
        The sum minus exact time, in samples, clipped to `MAX_DRIFT`.
    """
    floor, rest = _times(poly.p, poly.q, first % poly.p, len(time))
    drift = (time - (floor + (first // poly.p * poly.q))) - rest / poly.p
    return (rest == 0) & (drift < 0), np.clip(drift, -MAX_DRIFT, MAX_DRIFT)


@lru_cache(maxsize=16)
def _times(p, q, first, count):
    """Return the times of outputs in input samples, from a multiple of p outputs on: whole number, and rest * p."""
    t = np.arange(first, first + count, dtype=np.int64)
    return t * q // p, t * q % p
