"""Levels of a spectrogram with whole numbers of any size: the definition, for the few cases that floats cannot decide.

Everything here is integers of Python, so nothing is rounded but the constants below, and those in the same way
everywhere: cosines are square roots of whole numbers, powers of ten come from `decimal`, which rounds correctly.
"""

from bisect import bisect_right
from functools import lru_cache
from math import isqrt, ldexp

import numpy as np

BITS = 128  # of the constants, behind the point
GUARD = 64  # more while cosines are computed
WEIGHT_BITS = 149  # float32 has no number with more bits behind the point
FRAMES = 128  # whose powers are kept: 60 kB each


def exact_levels(window, frontend, bands, unsure, loudest, floored=True):
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
    floored : bool
        Whether a power below `AMIN**2` counts as that.

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
    frames = {int(frame) for frame, _ in [*unsure, *loudest]}
    spectra = {frame: power_spectrum(_frame_of(window, frontend, frame)) for frame in frames}
    most = max(bits for _, bits, _ in spectra.values())

    def power(frame, mel):
        """Return the power of a band, or the floor if that is more; it stands for itself over 2**unit."""
        spectrum, bits, known = spectra[int(frame)]
        band = next(band for band in bands if band.mels.start <= mel < band.mels.stop)
        key = id(band.weights), int(mel)
        if key not in known:  # with the weights: as long as they are kept, no others have their id
            known[key] = band_power(spectrum, band, int(mel)), band.weights
        return max(floor, known[key][0] << 2 * (most - bits))

    unit = 2 * (most + BITS + 1) + WEIGHT_BITS
    floor = -(-(1 << unit) // 10**20) if floored else 0  # AMIN**2
    top = max(1, *(power(*place) for place in loudest))
    return [bisect_right(thresholds(), (power(*place) << BITS) // top) for place in unsure]


def _frame_of(window, frontend, frame):
    """Return the samples of a frame, with zeros outside of its window, as bytes."""
    start = frame * frontend.hop_length - frontend.pad_left
    samples = np.zeros(frontend.n_fft)
    inside = window[max(0, start) : max(0, start + frontend.n_fft)]
    samples[max(0, -start) : max(0, -start) + len(inside)] = inside
    return samples.tobytes()


@lru_cache(maxsize=FRAMES)
def power_spectrum(frame):
    """Return the powers of the bins of a frame, as whole numbers, and the bits of its samples behind the point.

    A power stands for itself over `2**(2 * (bits + BITS + 1))`. Frames are kept, because windows share them, and with
    each a dict for the powers of its bands.

    Parameters
    ----------
    frame : bytes
        Samples, float64; their number is a power of two, 8 or more.
    """
    spectrum, bits = windowed_transform(np.frombuffer(frame))
    return [real * real + imaginary * imaginary for real, imaginary in spectrum[: len(spectrum) // 2 + 1]], bits, {}


def windowed_transform(frame):
    """Return the transform of a frame under a Hann window, as whole numbers over 2**(bits + BITS + 1); and the bits."""
    samples, bits = whole_samples(frame)
    cosine = cosines(len(samples))
    return transform([(sample * ((1 << BITS) - factor), 0) for sample, factor in zip(samples, cosine)], cosine), bits


def transform(values, cosine):
    """Return the Fourier transform of complex whole numbers: pairs (real, imaginary), as many as a power of two.

    Products with cosines are rounded down, to whole numbers.
    """
    if len(values) == 1:
        return values
    step, quarter, sums, differences = len(cosine) // len(values), len(cosine) // 4, [], []
    halves = zip(transform(values[::2], cosine), transform(values[1::2], cosine))
    for k, ((real, imaginary), (x, y)) in enumerate(halves):
        cos, sin = cosine[k * step], cosine[k * step - quarter]
        x, y = (x * cos + y * sin) >> BITS, (y * cos - x * sin) >> BITS
        sums.append((real + x, imaginary + y))
        differences.append((real - x, imaginary - y))
    return sums + differences


def whole_samples(window):
    """Return samples as whole numbers, and how many bits of them lie behind the point."""
    ratios = [float(sample).as_integer_ratio() for sample in window]
    bits = max(denominator.bit_length() - 1 for _, denominator in ratios)
    return [numerator << bits - denominator.bit_length() + 1 for numerator, denominator in ratios], bits


def band_power(spectrum, band, mel):
    """Return the power of a mel band, a column of `band`, as a whole number, from the powers of the bins."""
    weights = band.weights[:, mel - band.mels.start]
    return sum(int(ldexp(weight, WEIGHT_BITS)) * power for weight, power in zip(weights, spectrum[band.bins]) if weight)


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
