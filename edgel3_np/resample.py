"""Change the sampling rate, exactly as resampy 0.2's `kaiser_best` does.

That resampler reads a windowed sinc out of a table with linear interpolation. When it goes down it steps through the
table by a truncated whole number of entries, and it keeps time as a running sum in float64. None of this may be
improved upon: the front end is logarithmic down to -80, and a better sinc moves empty bands by a whole unit.

For a ratio of rates p / q in lowest terms, the weights repeat every p outputs: a polyphase filter bank. It is applied
here to a group of P outputs (a multiple of p) at a time, as a few matrix products with groups of Q inputs.
"""

from functools import lru_cache
from typing import NamedTuple, Optional

import numpy as np

from .framing import spans

# The filter `kaiser_best` of resampy 0.2 (Smith, "Digital audio resampling home page", 2002, for the method)
ZERO_CROSSINGS, ENTRIES = 64, 512  # of one wing; table entries per crossing
ROLLOFF, BETA = 0.9475937167399596, 14.769656459379492

ROWS = 64  # groups per matrix product: fixed, so that no result depends on how the signal came in
MAX_BANK = 1_500_000  # entries of a filter bank; beyond (44101 Hz), weights are made anew for each output,
MAX_DIRECT = 1 << 18  # so many at a time
MAX_DRIFT = 2.0**-17  # samples


class _Plan(NamedTuple):
    p: int  # outputs ...
    q: int  # ... per inputs
    left: int  # inputs that an output needs, up to and including the one before its time
    right: int  # and after
    drifts: bool  # the running sum of time increments is not exact
    outputs: int  # per group; without banks, computed at a time
    inputs: int  # per group
    banks: Optional[tuple]  # matrices of shape (inputs, columns), for input groups 0, 1, ... under one output group


def resample(blocks, sr, target_sr):
    """Resample a mono signal that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of (np.ndarray [shape=(m,), float64] or None)
        The signal. How it is cut into blocks does not change a bit of the result. None says that there is no more
        for now.
    sr, target_sr : int > 0
        Its rate and the rate wanted, Hz. The ratio `target_sr / sr` must be at least 1 / 512.

    Yields
    ------
    block : np.ndarray [shape=(k,), float64]
        `int(n * (target_sr / sr))` samples in all, for n samples. None instead, each time that the signal has no
        more for now; what can be computed by then has come before it.

    Notes
    -----
    Equal to resampy 0.2.2 (`filter='kaiser_best'`) to 1e-8 of the largest sample, its truncated table step (a gain of
    0.4 % from 48 to 8 kHz) included. Time is exact here, where resampy's running sum drifts off by its rounding (0.011
    samples in an hour from 44.1 to 48 kHz); the drift is followed as far as 2**-17 of a sample.

    Examples
    --------
    >>> x = np.sin(np.arange(48000) / 100)
    >>> sum(len(block) for block in resample([x], 48000, 8000))
    8000
    """
    if sr == target_sr:
        yield from blocks
        return
    plan = _plan(sr, target_sr)
    compute, size = (_direct, plan.outputs) if plan.banks is None else (_filter_bank, ROWS * plan.outputs)
    ratio = float(target_sr) / sr
    time, current, done = np.zeros(1), -1, 0
    for x, index, end, ended, paused in spans(blocks, lambda index: _inputs_of(plan, index * size, size)):
        if index > current:  # resampy's running sum of time, to the bit: `size` values, and the next one
            time, current = np.cumsum(np.append(time[-1], np.full(size, 1.0 / ratio))), index
        first = index * size
        complete = int(end * ratio) if ended else max(0, -(-(end - plan.right) * plan.p // plan.q))
        ready = min(complete, first + size)
        if done < ready:
            yield compute(plan, x, first, time[:-1])[done - first : ready - first]
            done = ready
        if ended and done >= complete:
            return
        if paused:
            yield None


def _inputs_of(plan, first, count):
    """Bounds of the inputs under `count` outputs from `first` on."""
    if plan.banks is None:
        return _floor(plan, first) - plan.left, _floor(plan, first + count - 1) + 1 + plan.right
    start = first // plan.outputs * plan.inputs - plan.left
    return start, start + (count // plan.outputs + len(plan.banks) - 1) * plan.inputs


def _floor(plan, t):
    return t * plan.q // plan.p


@lru_cache(maxsize=1)
def _table():
    """One wing of the windowed sinc: shape (64 * 512 + 1,)."""
    n = ZERO_CROSSINGS * ENTRIES
    window = np.kaiser(2 * n + 1, BETA)[n:]
    return window * ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, ZERO_CROSSINGS, n + 1))


@lru_cache(maxsize=8)
def _plan(sr, target_sr):
    """How to resample between two rates; what does not depend on the signal, the filter bank above all."""
    from fractions import Fraction  # here: it takes a while to import

    ratio = Fraction(target_sr, sr)
    p, q = ratio.numerator, ratio.denominator
    scale = min(1.0, target_sr / sr)
    wing = len(_table()) // int(scale * ENTRIES)
    increment = Fraction(1.0 / (float(target_sr) / sr))
    drifts = increment != 1 / ratio or increment.denominator > 1024
    direct = max(1, MAX_DIRECT // (2 * wing))
    plan = _Plan(p, q, left=wing, right=wing, drifts=drifts, outputs=direct, inputs=q, banks=None)
    repeat = max(1, -(-wing // q), -(-32 // p))
    groups = 1 + -(-(2 * wing + 1) // (repeat * q))
    columns = repeat * (p + 1) * 2 if drifts else repeat * p
    if groups * repeat * q * columns > MAX_BANK:
        return plan
    return plan._replace(outputs=repeat * p, inputs=repeat * q, banks=_banks(plan, repeat, groups))


def _weights(plan, fraction):
    """Weights of the inputs around an output that lies `fraction` of a sample after input n.

    Parameters
    ----------
    plan : _Plan
    fraction : np.ndarray [shape=(b,)]
        In [0, 1], give or take `MAX_DRIFT`; 1 where the running sum has come out below a whole number.

    Returns
    -------
    weights : np.ndarray [shape=(b, left + right)]
        Of inputs n - left + 1 ... n + right.
    """
    table, scale = _table(), min(1.0, plan.p / plan.q)
    step = int(scale * ENTRIES)
    weights = np.zeros((len(fraction), plan.left + plan.right))
    table = table * scale if scale < 1 else table
    delta = np.append(np.diff(table), 0.0)
    for right in (False, True):
        position = (scale - scale * fraction if right else scale * fraction) * ENTRIES
        offset = position.astype(np.int64)
        tap = np.arange(plan.right if right else plan.left)
        inside = tap < ((len(table) - offset) // step)[:, np.newaxis]  # the last, incomplete step is left out
        entry = np.where(inside, offset[:, np.newaxis] + tap * step, len(table) - 1)
        weight = table[entry] + (position - offset)[:, np.newaxis] * delta[entry]
        weights[:, plan.left + tap if right else plan.left - 1 - tap] = np.where(inside, weight, 0.0)
    return weights


def _banks(plan, repeat, groups):
    """Filter bank as `groups` matrices of shape (repeat * q, columns).

    Columns: `repeat * p` outputs; those whose time is a whole number again, as seen from below; and, if the
    running sum drifts, the slopes of all these.
    """
    t = np.arange(repeat * plan.p)
    floor, fraction = t * plan.q // plan.p, (t * plan.q % plan.p) / plan.p
    if plan.drifts:
        whole = t[:: plan.p]
        floor, fraction = np.append(floor, floor[whole] - 1), np.append(fraction, np.ones(len(whole)))
    weights = _weights(plan, fraction)
    if plan.drifts:
        step = np.where(fraction < 1, MAX_DRIFT, -MAX_DRIFT)  # to the side on which the weights are continuous
        slopes = (_weights(plan, fraction + step) - weights) / step[:, np.newaxis]
        weights = np.concatenate((weights, slopes))
    bank = np.zeros((groups * repeat * plan.q, len(weights)))
    for column, row in enumerate(weights):
        first = floor[column % len(floor)] + 1  # a group's input 0 is the signal's input -left of that group
        bank[first : first + len(row), column] = row
    bank.setflags(write=False)
    return tuple(bank.reshape(groups, repeat * plan.q, -1))


def _filter_bank(plan, x, first, time):
    """Outputs `first` ... of `ROWS` groups, from the inputs under them: shape (len(time),)."""
    x = x.reshape(-1, plan.inputs)
    y = sum(x[group : group + ROWS] @ bank for group, bank in enumerate(plan.banks))  # (ROWS, columns)
    if not plan.drifts:
        return y.ravel()
    below, drift = _drift(plan, first, time)
    values, slopes = (_pick(plan, part, below) for part in np.split(y, 2, axis=1))
    return values + drift * slopes


def _pick(plan, columns, below):
    """Of the columns of a drifting filter bank, those for the side of its time on which each output fell."""
    picked, from_below = columns[:, : plan.outputs], columns[:, plan.outputs :]
    whole = slice(None, None, plan.p)
    picked[:, whole] = np.where(below.reshape(ROWS, -1)[:, whole], from_below, picked[:, whole])
    return picked.ravel()


def _direct(plan, x, first, time):
    """The same for any ratio, with weights made for each output: shape (len(time),)."""
    t = np.arange(first, first + len(time))
    below, drift = _drift(plan, first, time)
    floor = _floor(plan, t) - below
    weights = _weights(plan, np.where(below, 1.0, (t * plan.q % plan.p) / plan.p) + drift)
    start = floor + 1 - _floor(plan, first)  # x starts `left` inputs before the first output's
    near = x[start[:, np.newaxis] + np.arange(plan.left + plan.right)]
    return np.einsum("tk,tk->t", weights, near)


def _drift(plan, first, time):
    """Where resampy's running sum `time` stands against exact time.

    Returns
    -------
    below : np.ndarray [shape=(b,), bool]
        The exact time is a whole number and the sum lies below it: with a truncated table step, that side's weights
        are others.
    drift : np.ndarray [shape=(b,)]
        Sum minus exact time, in samples, within `MAX_DRIFT`.
    """
    t = np.arange(first, first + len(time))
    floor, rest = t * plan.q // plan.p, t * plan.q % plan.p
    drift = (time - floor) - rest / plan.p
    return (rest == 0) & (drift < 0), np.clip(drift, -MAX_DRIFT, MAX_DRIFT)
