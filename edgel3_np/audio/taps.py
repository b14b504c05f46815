"""Taps of the resampler: the weights of the inputs around an output, interpolated in a table of a windowed sinc."""

from functools import lru_cache

import numpy as np

# The filter `kaiser_best` of resampy 0.2; the method is that of J. O. Smith, "Digital audio resampling home page", 2002
ZERO_CROSSINGS, ENTRIES = 64, 512  # zero crossings of one wing; table entries per crossing
ROLLOFF, BETA = 0.9475937167399596, 14.769656459379492
MAX_DRIFT = 2.0**-17  # samples
TABLE_BITS, TAP_BITS = 24, 22  # behind the point, of the table and of the taps where they are whole


@lru_cache(maxsize=1)
def table():
    """Return one wing of the windowed sinc: shape (64 * 512 + 1,), float64."""
    n = ZERO_CROSSINGS * ENTRIES
    window = np.kaiser(2 * n + 1, BETA)[n:]
    return window * ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, ZERO_CROSSINGS, n + 1))


@lru_cache(maxsize=1)
def whole_table():
    """Return the wing times `2**TABLE_BITS`, rounded: int64.

    No entry lies within 2**-19 of the middle between two whole numbers (a test computes all of them with integers), and
    `table` is wrong by less than 2**-24 of one. So every machine rounds to the same.
    """
    return np.rint(np.ldexp(table(), TABLE_BITS)).astype(np.int64)


def taps(poly, fraction):
    """Return the weights of the inputs around an output that lies `fraction` of a sample after input n.

    Parameters
    ----------
    poly : _Polyphase
    fraction : np.ndarray [shape=(b,)]
        From 0 to 1, beyond by up to `MAX_DRIFT`; 1 where the running sum falls below a whole number.

    Returns
    -------
    weights : np.ndarray [shape=(b, left + right)]
        For inputs n - left + 1 ... n + right.
    """
    wing, scale = table(), min(1.0, poly.p / poly.q)
    step = int(scale * ENTRIES)
    weights = np.zeros((len(fraction), poly.left + poly.right))
    wing = wing * scale if scale < 1 else wing
    delta = np.append(np.diff(wing), 0.0)
    for right in (False, True):
        position = (scale - scale * fraction if right else scale * fraction) * ENTRIES
        offset = position.astype(np.int64)
        tap = np.arange(poly.right if right else poly.left)
        inside = tap < ((len(wing) - offset) // step)[:, np.newaxis]  # resampy leaves out the last, incomplete step
        entry = np.where(inside, offset[:, np.newaxis] + tap * step, len(wing) - 1)
        weight = wing[entry] + (position - offset)[:, np.newaxis] * delta[entry]
        weights[:, poly.left + tap if right else poly.left - 1 - tap] = np.where(inside, weight, 0.0)
    return weights


def whole_taps(poly, rest):
    """Return the same weights rounded to `TAP_BITS`, computed with whole numbers alone.

    Parameters
    ----------
    poly : _Polyphase
    rest : np.ndarray [shape=(b,), int64]
        The output lies `rest / poly.p` of a sample after input n.

    Returns
    -------
    weights : np.ndarray [shape=(b, left + right), float64]
        Whole multiples of `2**-TAP_BITS`.
    """
    wing, down = np.append(whole_table(), 0), poly.p < poly.q
    step, whole = (ENTRIES * poly.p // poly.q, poly.q) if down else (ENTRIES, poly.p)
    many, few = (poly.p, poly.q) if down else (1, 1)  # to reduce a rate, the filter is as much lower as it is longer
    weights = np.zeros((len(rest), poly.left + poly.right))
    for right in (False, True):
        offset, part = np.divmod(ENTRIES * (poly.p - rest if right else rest), whole)  # of a table entry
        tap = np.arange(poly.right if right else poly.left)
        inside = tap < ((len(wing) - 1 - offset) // step)[:, np.newaxis]
        entry = np.where(inside, offset[:, np.newaxis] + tap * step, len(wing) - 2)
        between = wing[entry] * whole + part[:, np.newaxis] * (wing[entry + 1] - wing[entry])
        unit = whole * few << TABLE_BITS - TAP_BITS
        weight = (2 * many * between + unit) // (2 * unit)  # rounded; below 2**63 up to a target of 192 kHz
        weights[:, poly.left + tap if right else poly.left - 1 - tap] = np.where(inside, weight, 0)
    return np.ldexp(weights, -TAP_BITS)
