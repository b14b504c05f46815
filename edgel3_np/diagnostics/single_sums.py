"""The resampler of whole numbers, slow and obvious: every tap, product and sum by itself, with integers of Python.

The network of whole numbers is on one screen in `network.whole`.
"""

import math
from fractions import Fraction
from functools import cache
from operator import mul

import numpy as np

from ..audio.resample import SAMPLE_BITS
from ..audio.taps import ENTRIES, TABLE_BITS, TAP_BITS, whole_table


def whole_resample(x, sr, target_sr):
    """Resample as models of whole numbers do, with integers alone: each tap, each product and each sum.

    Parameters
    ----------
    x : np.ndarray [shape=(n,), float64]
        Within -2 to 2.
    sr, target_sr : int > 0
        Hz.

    Returns
    -------
    y : np.ndarray [shape=(n * target_sr // sr,), float64]
    """
    common = math.gcd(sr, target_sr)
    p, q = target_sr // common, sr // common
    table, samples = [*map(int, whole_table()), 0], [round(sample * 2**SAMPLE_BITS) for sample in x]
    step, longer = (ENTRIES * p // q, q) if p < q else (ENTRIES, p)
    unit = 2 ** (TABLE_BITS - TAP_BITS) * max(1, Fraction(q, p))

    @cache
    def wing(position):  # of the output, from the nearest input, in parts of `longer`
        offset, part = divmod(ENTRIES * position, longer)
        entries = range(offset, offset + (len(table) - 1 - offset) // step * step, step)
        between = [table[entry] + Fraction(part * (table[entry + 1] - table[entry]), longer) for entry in entries]
        return [math.floor(weight / unit + Fraction(1, 2)) for weight in between]

    y = np.zeros(len(x) * p // q)
    for t in range(len(y)):
        n, rest = divmod(t * q, p)
        left, right = wing(rest), wing(p - rest)
        total = sum(map(mul, left, samples[max(0, n + 1 - len(left)) : n + 1][::-1]))
        total += sum(map(mul, right, samples[n + 1 : n + 1 + len(right)]))
        y[t] = total / 2 ** (TAP_BITS + SAMPLE_BITS)  # a float holds it
    return y
