"""The short-time Fourier transform with TensorFlow's errors, which OpenL3's networks have learnt from.

TensorFlow on a CPU transforms in single precision, in stages of radix 2 (Eigen's TensorFFT). It makes the factors of a
stage by multiplying one of them again and again, so that their errors grow. Bins with nothing in them then hold a ten
millionth of the loudest, which 80 units below the maximum still shows: against what OpenL3 computed, embeddings of a
dog's bark have a cosine of 0.997 with exact factors, in single precision as in double, and 0.9999 with these. The rest
is the rounding of numbers on their way; to follow that too (single precision, stage by stage) gained little.

A transform with wrong factors is still linear. Here its stages are multiplied out to three, of radices 16, 16 and the
rest, and each is a product of matrices over all frames.
"""

from functools import lru_cache

import numpy as np

RADIX = 16
TWICE = RADIX**2  # size of the transforms after two stages
MIN_N_FFT = 2 * TWICE  # and powers of two above
FRAMES = 40  # transformed at a time: they stay in cache


def factors(size):
    """Factors of the stage that makes transforms of `size` out of two halves: shape (size // 2,), complex128.

    Those of the first three stages are exact to single precision. Later ones are products of `rotation`, as TensorFlow
    2.4 (Eigen, TensorFFT.h) forms them: four at a time.
    """
    if size <= 8:
        return np.exp(-2j * np.pi * np.arange(size // 2) / size).astype(np.complex64).astype(np.complex128)
    angle = np.pi / size
    rotation = np.complex64(
        complex(np.float32(-2 * np.sin(angle) ** 2), np.float32(-np.sin(2 * angle)))
    ) + np.complex64(1)
    powers = [np.complex64(1), rotation]
    for _ in range(3):
        powers.append(powers[-1] * rotation)
    starts = [np.complex64(1)]
    for _ in range(size // 8 - 1):
        starts.append(starts[-1] * powers[4])
    return np.outer(np.array(starts, np.complex128), np.array(powers[:4], np.complex128)).ravel()


def hann(n):
    """Periodic Hann window, its angles rounded to single precision as TensorFlow rounds them: shape (n,), float32."""
    angle = np.float32(2 * np.pi) * np.arange(n, dtype=np.float32) / np.float32(n)
    return np.float32(0.5) - np.float32(0.5) * np.cos(angle.astype(np.float64)).astype(np.float32)


def merge(size, radix):
    """Make transforms of `size * radix` out of `radix` interleaved ones of `size`: the stages between, multiplied out.

    Returns
    -------
    matrices : np.ndarray [shape=(size, radix, radix), complex128]
        For each frequency of the small transforms: from them, `r`, to the frequencies `i + size * q` of the large one.
    """
    parts = np.broadcast_to(np.eye(radix)[:, np.newaxis], (radix, size, radix)).astype(np.complex128)  # (r, i, from)
    while len(parts) > 1:
        half, length = len(parts) // 2, parts.shape[1]
        turned = parts[half:] * factors(2 * length)[:, np.newaxis]
        parts = np.concatenate([parts[:half] + turned, parts[:half] - turned], axis=1)
    return parts[0].reshape(radix, size, radix).swapaxes(0, 1)


@lru_cache(maxsize=4)
def stages(n):
    """Real matrices of the stages of a transform of `n`: for products with columns of samples, then (re, im) x parts.

    Returns
    -------
    first : np.ndarray [shape=(2 * 16, 16)]
    second : np.ndarray [shape=(16, 2 * 16, 2 * 16)]
    last : np.ndarray [shape=(256, radix + 2, 2 * radix)]
        For frequencies up to n / 2, which is in the rows after the first `radix`, of the first of the 256.
    """
    result = []
    for size, radix in ((1, RADIX), (RADIX, RADIX), (TWICE, n // TWICE)):
        matrices = merge(size, radix)  # (i, q, r)
        real = np.stack([matrices, -matrices.imag + 1j * matrices.real], axis=2)  # (i, q, of re and im, r)
        real = np.stack([real.real, real.imag], axis=2)  # rows (q, re or im), columns (re or im, r)
        result.append(real.reshape(size, 2 * radix, 2 * radix))
    first, second, last = result
    last = last.reshape(RADIX, RADIX, *last.shape[1:]).swapaxes(0, 1)  # frequency i + 16 q of 256 stands at (i, q)
    last = last.reshape(TWICE, *last.shape[2:])[:, : n // TWICE + 2]
    return np.ascontiguousarray(first[0, :, :RADIX]), second, np.ascontiguousarray(last)


def magnitudes(windows, n_fft, hop_length, n_frames):
    """Magnitudes of the transforms of frames.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, m), float64]
        `m` is what the frames need, at least.
    n_fft : int
        512 or a larger power of two.
    hop_length, n_frames : int > 0

    Returns
    -------
    magnitudes : np.ndarray [shape=(b, n_frames, 1 + n_fft // 2), float64]
        Computed window by window: a window's neighbours do not matter.
    """
    result = np.empty((len(windows), n_frames, 1 + n_fft // 2))
    window_32, step = windows.astype(np.float32), 4 * hop_length
    taper = hann(n_fft)[:, np.newaxis]
    for window, out in zip(window_32, result):
        frames = np.lib.stride_tricks.as_strided(window, (n_fft, n_frames), (4, step), writeable=False)
        for start in range(0, n_frames, FRAMES):
            x = (frames[:, start : start + FRAMES] * taper).astype(np.float64)
            out[start : start + FRAMES] = _magnitudes(x)
    return result


def _magnitudes(x):
    """Magnitudes of the transforms of columns: (n_fft, frames) -> (frames, 1 + n_fft // 2)."""
    n_fft, frames = x.shape
    radix = n_fft // TWICE
    first, second, last = stages(n_fft)
    x = first @ x.reshape(RADIX, -1)  # (i, re or im; r and the rest, frames)
    x = np.matmul(second, x.reshape(RADIX, 2 * RADIX, -1))  # (i, q and re or im; the rest, frames)
    x = np.matmul(last, x.reshape(TWICE, 2 * radix, frames))  # (i and q, p and re or im, frames)
    x *= x
    power = np.add(x[:, ::2], x[:, 1::2])  # (i and q, p, frames)
    power = np.sqrt(power, out=power).reshape(RADIX, RADIX, -1, frames)
    lower = power[:, :, : radix // 2].transpose(3, 2, 1, 0).reshape(frames, -1)
    return np.concatenate([lower, power[:1, 0, radix // 2].T], axis=1)
