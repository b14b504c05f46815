"""Check samples and mix them down: every sample comes in through `to_mono`."""

from numbers import Integral, Real

import numpy as np

from ..errors import EdgeL3Error

MIN_SR, MAX_SR = 100, 1_000_000  # Hz; outside, the resampler's filters are meaningless or exceed any memory
MAX_CHANNELS = 1024
MANY_CHANNELS = 32  # more, and fewer samples than that, and the array is taken for one with the channels first
MAX_SAMPLE = 1e100  # a larger sample overflows when it is squared; sound never comes near


def check_sr(sr, name="sr"):
    """Return the sampling rate `sr` as an int, or raise `EdgeL3Error`."""
    if isinstance(sr, bool) or not isinstance(sr, Real) or sr != sr or sr in (float("inf"), -float("inf")):
        raise EdgeL3Error(f"{name}: expected a sampling rate in Hz (a positive integer), found {sr!r}")
    if not isinstance(sr, Integral) and sr != int(sr):
        raise EdgeL3Error(f"{name}: expected a whole number of Hz, found {sr!r}; resample to a whole rate first")
    if not MIN_SR <= sr <= MAX_SR:
        raise EdgeL3Error(f"{name}: expected a sampling rate from {MIN_SR} to {MAX_SR} Hz, found {sr!r}")
    return int(sr)


def check_samples(samples):
    """Return `samples` as an array of shape (n, channels) of real numbers, or raise `EdgeL3Error`."""
    if samples.dtype.kind not in "fiu":
        raise EdgeL3Error(f"audio: expected real floating-point or integer samples, found dtype {samples.dtype}")
    if samples.ndim not in (1, 2):
        raise EdgeL3Error(f"audio: expected an array of shape (n,) or (n, channels), found shape {samples.shape}")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if not 1 <= channels <= MAX_CHANNELS or (channels > MANY_CHANNELS and channels > 2 * len(samples) > 0):
        raise EdgeL3Error(
            f"audio: expected shape (n, channels) with 1 to {MAX_CHANNELS} channels, found shape {samples.shape}; "
            "if the channels come first, transpose it: pass samples.T"
        )
    return samples if samples.ndim == 2 else samples[:, np.newaxis]


def wide_peak(samples):
    """Return the largest magnitude of signed integers of more than 16 bits; 0 of other samples."""
    wide = samples.dtype.kind == "i" and samples.dtype.itemsize > 2 and samples.size
    return max(int(samples.max()), -int(samples.min())) if wide else 0


def scale_remark(dtype, peak):
    """Return what to say of integers that look like 16-bit samples: scaled by their full scale they are too quiet."""
    if not 0 < peak <= 1 << 15:
        return ""
    text = f"{dtype} samples are divided by 2**{8 * dtype.itemsize - 1}, and the largest here is {peak}"
    return f"{text}; if they are 16-bit samples, pass samples.astype(np.int16)"


def to_mono(samples, start, sr, name):
    """Mix one block down to mono float64 and check it.

    Parameters
    ----------
    samples : np.ndarray [shape=(m, channels)]
        Integers are scaled by their full scale (int16 by 1 / 32768; unsigned ones are centred first).
    start : int >= 0
        Position of the block in the recording, in frames; the error message gives it.
    sr : int > 0
        Sampling rate, Hz; the error message needs it.
    name : str
        What the error message calls the recording.

    Returns
    -------
    mono : np.ndarray [shape=(m,), float64]
        The mean over channels.

    Raises
    ------
    EdgeL3Error
        A sample is NaN, infinite or beyond `MAX_SAMPLE`.
    """
    if samples.dtype.kind in "iu":
        bits = 8 * samples.dtype.itemsize
        centre = 0.0 if samples.dtype.kind == "i" else 2.0 ** (bits - 1)
        samples = (samples.astype(np.float64) - centre) / 2.0 ** (bits - 1)
    with np.errstate(over="ignore", invalid="ignore"):  # the check below reports them
        mono = samples[:, 0].astype(np.float64)
        for channel in range(1, samples.shape[1]):
            mono += samples[:, channel]
        if samples.shape[1] > 1:
            mono /= samples.shape[1]
    if len(mono) and not (mono.max() <= MAX_SAMPLE and mono.min() >= -MAX_SAMPLE):  # true of NaN as well
        first = int(np.argmin(np.abs(mono) <= MAX_SAMPLE))
        raise EdgeL3Error(
            f"{name}: expected finite samples (at most {MAX_SAMPLE:g}), found {samples[first].max()} at "
            f"{(start + first) / sr:.6f} s (sample {start + first}); repair the recording or cut it there",
            kind="bad samples",
        )
    return mono
