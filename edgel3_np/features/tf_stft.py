"""The short-time Fourier transform of TensorFlow 2.4 on a CPU, to the last bit: OpenL3's networks have learnt from it.

That transform (Eigen's TensorFFT.h: radix 2, decimation in time) is in single precision, and it computes the twiddle
factors of a stage by repeated multiplication, so that their errors grow. An empty bin then holds a ten millionth of the
loudest bin, and 80 units below the maximum still show it. With an exact transform, in single or double precision, the
embeddings of a dog's bark have a cosine of 0.997 to those of OpenL3. With TensorFlow's twiddle factors and exact sums
it is 0.9991 where no mel band averages the rounding (a chirp, linear spectrograms). With every sum, product and cosine
in TensorFlow's order it is 1.000000 for every recording; with an exact window, or with complex products that NumPy may
fuse, 0.9996. So each operation here is a sum or a product of float32 of its own, which no compiler or BLAS can fuse.
"""

from functools import cache

import numpy as np

BLOCK = 1 << 19  # samples that are transformed at a time; the memory for them is 20 times as many bytes


@cache
def tf_hann_window(n):
    """Return the periodic Hann window with the rounding of `tf.signal.hann_window`: shape (n,), float32."""
    half = np.float32(0.5)
    return _read_only(half - half * _cos(np.float32(2 * np.pi) * np.arange(n, dtype=np.float32) / np.float32(n)))


def _cos(x):
    """Return the cosine of angles from 0 to 2 pi with Eigen's errors (GenericPacketMathFunctions.h, psincos_float)."""
    quarter = np.rint(x * np.float32(2 / np.pi))  # the nearest multiple of a quarter turn; x becomes the rest
    for part in (-1.5703125, -0.000483989715576171875, 1.62865035235881805e-07, 5.56443155443516777e-11):  # -pi / 2
        x = quarter * np.float32(part) + x
    square = x * x
    cos = _polynomial(square, 2.43722661232832e-05, -0.00138865201734006405, 0.0416666194796562195, -0.5, 1)
    sin = _polynomial(square, -0.000195923411408370, 0.00833268736556166, -0.166666620398229826) * square * x + x
    result = np.where(quarter % 2 == 0, cos, sin)
    return np.where((quarter == 1) | (quarter == 2), -result, result)


def _polynomial(x, *coefficients):
    value = np.float32(coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + np.float32(coefficient)
    return value


def complex_multiply(z, w, out=None, spare=None):
    """Multiply complex numbers whose parts lie along the first axis, rounding each operation. `out` may be `z`."""
    spare = np.multiply(z, w[1], out=spare)
    out = np.multiply(z, w[0], out=out)
    np.subtract(out[0], spare[1], out=out[0])
    np.add(out[1], spare[0], out=out[1])
    return out


@cache
def twiddle_factors(size):
    """Return the twiddle factors of the stage that merges two transforms into one of `size`, from 8 up.

    Returns
    -------
    starts : np.ndarray [shape=(2, size // 8), float32]
        Real and imaginary parts: one factor for every four frequencies, computed from the one before.
    powers : np.ndarray [shape=(2, 4), float32]
        Factors by which the four frequencies are then multiplied. The first is 1.
    """
    if size == 8:
        root = np.float32(np.sqrt(0.5))
        return _read_only([[1], [0]]), _read_only([[1, root, 0, -root], [0, -root, -1, -root]])
    angle = np.pi / size
    step = _read_only([[np.float32(1) + np.float32(-2 * np.sin(angle) ** 2)], [-np.sin(2 * angle)]])
    powers = [_read_only([[1], [0]]), step]
    for _ in range(3):
        powers.append(complex_multiply(powers[-1], step))
    starts = [powers[0]]
    for _ in range(size // 8 - 1):
        starts.append(complex_multiply(starts[-1], powers[4]))
    return _read_only(np.concatenate(starts, axis=1)), _read_only(np.concatenate(powers[:4], axis=1))


def _read_only(values):
    array = np.ascontiguousarray(values, dtype=np.float32)
    array.setflags(write=False)
    return array


def rfft(x, memory):
    """Transform real columns: (n, frames) -> (2, 1 + n // 2, frames), real and imaginary parts, float32.

    Radix 2, decimation in time: each stage merges two half-length transforms. `n` is a power of two, 8 or more. The
    result lies in `memory`, which is five times as large as `x`.
    """
    n, frames = x.shape
    z, spare = memory[: 4 * x.size].reshape(2, -1)
    turned, z = memory[4 * x.size :][: x.size], _rfft_of_four(x, z.reshape(2, 4, n // 4, frames), spare)
    for size in 2 ** np.arange(3, n.bit_length()):
        m, half = size // 2, n // size  # m: frequencies of a transform before the stage; half: transforms after it
        even, odd = z[:, :, :half], z[:, :, half:]  # (re and im, m, half, frames)
        joined = spare.reshape(2, 2, m, half, frames)  # (re and im, lower and upper frequencies, ...)
        turned, odd = (part.reshape(2, m // 4, 4, half, frames) for part in (turned, odd))
        scratch = spare[: x.size].reshape(turned.shape)
        starts, powers = (part[..., np.newaxis, np.newaxis] for part in twiddle_factors(size))
        turned[:, 0] = odd[:, 0]  # times 1
        complex_multiply(odd[:, 1:], starts[:, 1:, np.newaxis], turned[:, 1:], scratch[:, 1:])
        complex_multiply(turned[:, :, 1:], powers[:, np.newaxis, 1:], turned[:, :, 1:], scratch[:, :, 1:])
        np.add(even, turned.reshape(even.shape), out=joined[:, 0])
        np.subtract(even, turned.reshape(even.shape), out=joined[:, 1])
        z, spare = joined.reshape(2, size, half, frames), z.reshape(-1)
    return z[:, : 1 + n // 2, 0]


def _rfft_of_four(x, z, spare):
    """Compute the first two stages, whose twiddle factors are 1 and -i, into `z`."""
    half = len(x) // 2
    spare = spare[: x.size].reshape(2, *x[:half].shape)
    np.add(x[:half], x[half:], out=spare[0])
    np.subtract(x[:half], x[half:], out=spare[1])
    (s, t), (d, e) = spare.reshape(2, 2, half // 2, -1)
    np.add(s, t, out=z[0, 0])
    np.subtract(s, t, out=z[0, 2])
    z[0, 1::2], z[1, ::2], z[1, 3] = d, 0, e
    np.negative(e, out=z[1, 1])
    return z


def stft_magnitude(windows, n_fft, hop_length, n_frames):
    """Return the magnitudes of the transforms of frames.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, m), float64]
        `m` is at least the extent of the frames.
    n_fft : int
        A power of two, 8 or more.
    hop_length, n_frames : int > 0

    Returns
    -------
    magnitudes : np.ndarray [shape=(b, n_frames, 1 + n_fft // 2), float64]
        Of single precision. They equal TensorFlow's to the last two bits; TensorFlow takes the root of an exact sum.
    """
    scale = 2.0 ** np.maximum(np.frexp(np.abs(windows).max(axis=1))[1] - 40, 0)  # exact; keeps squares from overflow
    signals = (windows / scale[:, np.newaxis]).astype(np.float32)
    result = np.empty((len(windows), n_frames, 1 + n_fft // 2))
    hann, block = tf_hann_window(n_fft)[:, np.newaxis], min(n_frames, max(1, BLOCK // n_fft))
    memory = np.empty(5 * n_fft * block, np.float32)
    for signal, out in zip(signals, result):
        frames = np.lib.stride_tricks.as_strided(signal, (n_fft, n_frames), (4, 4 * hop_length), writeable=False)
        for start in range(0, n_frames, block):
            x = np.multiply(frames[:, start : start + block], hann, order="C")  # (n_fft, frames): faster side by side
            z = rfft(x, memory)
            np.multiply(z, z, out=z)
            np.add(z[0], z[1], out=z[0])
            out[start : start + block] = np.sqrt(z[0], out=z[0]).T
    return result if (scale == 1).all() else result * scale[:, np.newaxis, np.newaxis]
