"""Tests of TensorFlow's transform against a loop that writes it out, and against bits that TensorFlow computed."""

import cmath
import hashlib
import math

import numpy as np
import pytest

from edgel3_np.features.tf_stft import complex_multiply, rfft, stft_magnitude, tf_hann_window, twiddle_factors

SIZES = [8, 16, 32, 128, 512, 2048]
HOP = 242


def spectra(x):
    return rfft(x, np.empty(5 * x.size, np.float32))


def complex_product(a, b):
    (ar, ai), (br, bi) = a, b
    return ar * br - ai * bi, ar * bi + ai * br


def decimation_in_time(x):
    """Transform samples by recursion; return all frequencies as pairs of np.float32 scalars."""
    size = len(x)
    if size == 1:
        return [(x[0], np.float32(0))]
    half, result = size // 2, [None] * size
    even, odd = decimation_in_time(x[::2]), decimation_in_time(x[1::2])
    for i in range(half):
        if size <= 8:
            exact = cmath.exp(-2j * math.pi * i / size)
            turned = complex_product(odd[i], (np.float32(round(exact.real, 9)), np.float32(round(exact.imag, 9))))
        else:
            starts, powers = twiddle_factors(size)
            turned = complex_product(complex_product(odd[i], starts[:, i // 4]), powers[:, i % 4])
        result[i] = even[i][0] + turned[0], even[i][1] + turned[1]
        result[i + half] = even[i][0] - turned[0], even[i][1] - turned[1]
    return result


@pytest.mark.parametrize("size", SIZES)
def test_twiddle_factors_are_roots_of_unity_in_single_precision(size):
    starts, powers = twiddle_factors(size)
    assert starts.shape == (2, size // 8) and powers.shape == (2, 4)
    assert starts[:, 0].tolist() == powers[:, 0].tolist() == [1, 0]
    roots = np.outer(
        starts[0] + 1j * starts[1].astype(np.float64), powers[0] + 1j * powers[1].astype(np.float64)
    ).ravel()
    exact = np.array([cmath.exp(-2j * math.pi * i / size) for i in range(size // 2)])
    error = np.abs(roots - exact).max()
    assert error < 1e-7 if size == 8 else 1e-9 < error < 1e-4


def test_twiddle_factors_are_products_of_the_previous_ones():
    size = 64
    step = (np.float32(1) + np.float32(-2 * math.sin(math.pi / size) ** 2), np.float32(-math.sin(2 * math.pi / size)))
    expected = [(np.float32(1), np.float32(0)), step]
    for _ in range(3):
        expected.append(complex_product(expected[-1], step))
    starts, powers = twiddle_factors(size)
    assert list(zip(*powers)) == expected[:4]
    start = expected[0]
    for found in zip(*starts):
        assert found == start
        start = complex_product(start, expected[4])


def test_complex_multiply_rounds_each_operation():
    z, w = np.random.default_rng(0).standard_normal((2, 2, 1000)).astype(np.float32)
    expected = [complex_product(a, b) for a, b in zip(zip(*z), zip(*w))]
    assert list(zip(*complex_multiply(z, w))) == expected
    complex_multiply(z, w, z, np.empty_like(z))
    assert list(zip(*z)) == expected


@pytest.mark.parametrize("size", SIZES)
def test_rfft_equals_the_loop_bit_for_bit(size):
    x = np.random.default_rng(size).standard_normal((size, 3)).astype(np.float32)
    x[:, 1] = 0
    found = spectra(x)
    assert found.shape == (2, 1 + size // 2, 3) and found.dtype == np.float32
    for column in range(3):
        expected = decimation_in_time(list(x[:, column]))[: 1 + size // 2]
        np.testing.assert_array_equal(found[:, :, column].T, expected)
    exact = np.fft.rfft(x.astype(np.float64), axis=0)
    error = np.abs(found[0] + 1j * found[1] - exact).max() / np.abs(exact).max()
    assert 1e-9 < error < 1e-4  # it rounds like TensorFlow


@pytest.mark.parametrize(
    "n_fft, sha256",
    [
        (512, "7370f9ef94907227c166625c24f40e3cdf7f06297064962761e41fe97fd5730b"),
        (1024, "20d5d75d7b842f9554e9a08395bb95da71e85e1bf630ebabc1a6d701cd529935"),
        (2048, "3d8506b344be0ad0759e692b3dd54c1232c0d21bc43f9753fe4a2b2554421d94"),
    ],
)
def test_bits_of_tensorflow(n_fft, sha256):
    """The hashes are of `tf.signal.stft(x, n_fft, 242, n_fft)`, by TensorFlow 2.4.4 on a CPU.

    The real parts come first, then the imaginary parts; each -0 is made 0.
    """
    i = np.arange(n_fft + 2 * HOP, dtype=np.int64)
    x = ((i * i * 7919 + i * 31) % 4001 - 2000).astype(np.float32) / np.float32(4096)
    frames = np.stack([x[start : start + n_fft] for start in (0, HOP, 2 * HOP)], axis=1)
    found = spectra(np.ascontiguousarray(frames * tf_hann_window(n_fft)[:, np.newaxis])) + np.float32(0)
    assert hashlib.sha256(np.ascontiguousarray(found, "<f4").tobytes()).hexdigest() == sha256


@pytest.mark.parametrize("n", [16, 512, 2000, 2048])
def test_hann(n):
    found = tf_hann_window(n)
    assert found.dtype == np.float32 and found[0] == 0 and found[n // 2] == 1
    exact = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-7)


@pytest.mark.parametrize("n_fft, n_frames", [(8, 3), (512, 3), (1024, 41), (8192, 70)])
def test_magnitudes(n_fft, n_frames):
    """Two cases have more frames than are transformed at a time."""
    windows = np.random.default_rng(n_fft).standard_normal((2, n_fft + HOP * (n_frames - 1) + 5))
    found = stft_magnitude(windows, n_fft, HOP, n_frames)
    assert found.shape == (2, n_frames, 1 + n_fft // 2)
    for window, frames in zip(windows.astype(np.float32), found):
        for index in {0, n_frames // 2, n_frames - 1}:
            piece = window[index * HOP : index * HOP + n_fft] * tf_hann_window(n_fft)
            real, imaginary = spectra(piece[:, np.newaxis])[:, :, 0].astype(np.float64)
            np.testing.assert_allclose(frames[index], np.hypot(real, imaginary), rtol=2.4e-7)


def test_loud_and_faint_signals_are_scaled_exactly():
    """Loud signals go up to the limit of audio, far beyond single precision; faint ones down to what can be heard."""
    windows = np.random.default_rng(2).standard_normal((1, 5000))
    expected = stft_magnitude(windows, 512, HOP, 4)
    for exponent in (-40, 30, 45, 120, 300):
        found = stft_magnitude(windows * 2.0**exponent, 512, HOP, 4)
        assert (found / 2.0**exponent).tobytes() == expected.tobytes()
    together = stft_magnitude(windows * [[1.0], [2.0**300]], 512, HOP, 4)
    assert (
        together[0].tobytes() == expected[0].tobytes() and (together[1] / 2.0**300).tobytes() == expected[0].tobytes()
    )


def test_a_windows_neighbours_do_not_matter():
    windows = np.random.default_rng(1).standard_normal((5, 48000))
    together = stft_magnitude(windows, 2048, HOP, 190)
    for window, expected in zip(windows, together):
        assert stft_magnitude(window[np.newaxis], 2048, HOP, 190)[0].tobytes() == expected.tobytes()
