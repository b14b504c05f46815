"""The transform with TensorFlow's factors, against the same factors in a loop that follows them stage by stage."""

import cmath
import math

import numpy as np
import pytest

from edgel3_np.fourier import factors, hann, magnitudes, merge


def transform(x):
    """Decimation in time, radix 2, by recursion: list of complex."""
    if len(x) == 1:
        return [complex(x[0])]
    even, odd = transform(x[::2]), transform(x[1::2])
    turned = [value * factor for value, factor in zip(odd, factors(len(x)))]
    return [a + b for a, b in zip(even, turned)] + [a - b for a, b in zip(even, turned)]


@pytest.mark.parametrize("size", [2, 4, 8, 16, 64, 256, 2048])
def test_factors_are_roots_of_unity_but_for_single_precision(size):
    found = factors(size)
    exact = np.array([cmath.exp(-2j * math.pi * i / size) for i in range(size // 2)])
    error = np.abs(found - exact).max()
    assert found.shape == (size // 2,) and found[0] == 1
    assert error < 1e-7 if size <= 8 else 1e-9 < error < 1e-4


def test_factors_of_later_stages_are_products():
    """By the recurrence, spelt out: four from the first, and on by the fourth power."""
    size = 64
    step = np.complex64(
        complex(np.float32(-2 * math.sin(math.pi / size) ** 2), np.float32(-math.sin(2 * math.pi / size)))
    )
    one = np.complex64(1) + step
    powers = [one, one * one, one * one * one, one * one * one * one]
    w = np.complex64(1)
    for i in range(0, size // 2, 4):
        expected = [complex(w), *(complex(w) * complex(power) for power in powers[:3])]
        assert factors(size)[i : i + 4].tolist() == pytest.approx(expected, abs=1e-15)
        w = w * powers[3]


def test_hann():
    for n in (512, 2048):
        exact = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
        assert hann(n).dtype == np.float32
        np.testing.assert_allclose(hann(n), exact, atol=3e-7)


def test_merging_one_by_one_is_the_transform():
    x = np.random.default_rng(0).standard_normal(16)
    np.testing.assert_allclose(merge(1, 16)[0] @ x, transform(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_fft, n_frames", [(512, 3), (1024, 41), (2048, 2)])
def test_magnitudes(n_fft, n_frames):
    hop = 242
    windows = np.random.default_rng(n_fft).standard_normal((2, n_fft + hop * (n_frames - 1) + 5))
    found = magnitudes(windows, n_fft, hop, n_frames)
    assert found.shape == (2, n_frames, 1 + n_fft // 2)
    for window, frames in zip(windows.astype(np.float32), found):
        for index in {0, n_frames - 1}:
            piece = window[index * hop : index * hop + n_fft] * hann(n_fft)
            expected = np.abs(transform([float(value) for value in piece]))[: 1 + n_fft // 2]
            np.testing.assert_allclose(frames[index], expected, atol=1e-12 * expected.max())
            exact = np.abs(np.fft.rfft(piece.astype(np.float64)))
            assert 1e-8 < np.abs(frames[index] - exact).max() / exact.max() < 1e-4  # wrong, as it should be


def test_a_windows_neighbours_do_not_matter():
    windows = np.random.default_rng(1).standard_normal((5, 48000))
    together = magnitudes(windows, 2048, 242, 190)
    for window, expected in zip(windows, together):
        assert magnitudes(window[np.newaxis], 2048, 242, 190)[0].tobytes() == expected.tobytes()
