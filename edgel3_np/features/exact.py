"""Levels of a spectrogram with whole numbers of any size: the definition, for the few cases that floats cannot decide.

Everything here is integers of Python, so nothing is rounded but the constants below, and those in the same way
everywhere: cosines are square roots of whole numbers, powers of ten come from `decimal`, which rounds correctly.
"""

from functools import lru_cache
from math import isqrt, ldexp

BITS = 128  # of the constants, behind the point
GUARD = 64  # more while cosines are computed
WEIGHT_BITS = 149  # float32 has no number with more bits behind the point


def exact_levels(window, frontend, bands, unsure, loudest):
    """Return the levels of some bands of a window, relative to its loudest band.

    Parameters
    ----------
    window : np.ndarray [shape=(sr,), float64]
    frontend : FrontEnd
    bands : tuple of MelBand
    unsure : np.ndarray [shape=(n, 2), int]
        Frames and mel bands whose level is wanted.
    loudest : np.ndarray [shape=(m, 2), int]
        Frames and mel bands of which one is the loudest.

    Returns
    -------
    levels : list of n int
        From 0 to 255: how many of the thresholds (level - 1/2) * 80 / 255 - 80 a band reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from edgel3_np.features.mel import mel_bands, mel_filterbank
    >>> from edgel3_np.weights.registry import SEA
    >>> click = np.eye(8000)[4000]
    >>> exact_levels(click, SEA, mel_bands(mel_filterbank(SEA)), [(25, 0), (27, 10), (0, 3)], [(25, 0)])
    [255, 226, 0]
    """
    samples, bits = whole_samples(window)
    powers = {(int(f), int(m)): band_power(samples, frontend, bands, f, m) for f, m in [*unsure, *loudest]}
    unit = 2 * (bits + 2 * BITS + 1) + WEIGHT_BITS  # a power stands for itself over 2**unit
    floor = -(-(1 << unit) // 10**20)  # AMIN**2
    top = max(floor, *(powers[int(f), int(m)] for f, m in loudest))
    found = [max(floor, powers[int(f), int(m)]) << BITS for f, m in unsure]
    return [sum(power >= threshold * top for threshold in thresholds()) for power in found]


def whole_samples(window):
    """Return samples as whole numbers, and how many bits of them lie behind the point."""
    ratios = [float(sample).as_integer_ratio() for sample in window]
    bits = max(denominator.bit_length() - 1 for _, denominator in ratios)
    return [numerator << bits - denominator.bit_length() + 1 for numerator, denominator in ratios], bits


def band_power(samples, frontend, bands, frame, mel):
    """Return the power of a mel band in a frame, as a whole number."""
    n, cosine = frontend.n_fft, cosines(frontend.n_fft)
    start = int(frame) * frontend.hop_length - frontend.pad_left
    inside = range(max(0, -start), min(n, len(samples) - start))
    windowed = [(time, samples[start + time] * ((1 << BITS) - cosine[time])) for time in inside]  # Hann, doubled
    windowed = [(time, sample) for time, sample in windowed if sample]
    band, total = next(band for band in bands if band.mels.start <= mel < band.mels.stop), 0
    for row, weight in enumerate(band.weights[:, int(mel) - band.mels.start]):
        if weight:
            k = band.bins.start + row
            real = sum(sample * cosine[k * time % n] for time, sample in windowed)
            imaginary = sum(sample * cosine[(k * time - n // 4) % n] for time, sample in windowed)
            total += int(ldexp(weight, WEIGHT_BITS)) * (real * real + imaginary * imaginary)
    return total


@lru_cache(maxsize=2)
def cosines(n):
    """Return `2**BITS * cos(2 pi j / n)` for j = 0 ... n - 1, as whole numbers; n is a power of two, 8 or more.

    The angle is halved from a quarter turn down, and then added up again.

    Examples
    --------
    >>> [round(value / 2**BITS, 3) for value in cosines(8)]
    [1.0, 0.707, 0.0, -0.707, -1.0, -0.707, 0.0, 0.707]
    """
    bits = BITS + GUARD
    one = 1 << bits
    cos, sin = 0, one
    for _ in range(n.bit_length() - 3):
        cos = isqrt((one + cos) << (bits - 1))
    sin = isqrt((one << bits) - cos * cos)
    turned = [(one, 0)]
    for _ in range(n // 4):
        x, y = turned[-1]
        turned.append(((x * cos - y * sin) >> bits, (x * sin + y * cos) >> bits))
    quarter = [(x + (1 << GUARD - 1)) >> GUARD for x, _ in turned[:-1]] + [0]
    half = quarter + [-value for value in quarter[-2::-1]]
    return tuple(half + half[-2:0:-1])


@lru_cache(maxsize=1)
def thresholds():
    """Return the powers relative to the loudest at which the levels 1 ... 255 begin, times `2**BITS`, rounded up."""
    from decimal import ROUND_CEILING, Context, Decimal  # imported here: it is hardly ever needed

    context = Context(prec=80)
    ten = context.ln(Decimal(10))
    levels = [context.divide(Decimal(2 * level - 1 - 510) * 80, Decimal(510 * 5)) for level in range(1, 256)]
    scaled = [context.multiply(context.exp(context.multiply(level, ten)), Decimal(1 << BITS)) for level in levels]
    return tuple(int(value.to_integral_value(ROUND_CEILING)) for value in scaled)
