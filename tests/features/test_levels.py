"""Levels: the interval of each contains the true one, and integers decide what an interval leaves open."""

import math
from decimal import Decimal, getcontext

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.features import exact, levels
from edgel3_np.features.exact import BITS, band_power, cosines, exact_levels, thresholds, whole_samples
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.levels import TRANSFORM, level_spectrogram
from edgel3_np.features.mel import mel_bands, mel_filterbank
from edgel3_np.weights.registry import SEA

SMALL = FrontEnd(2000, 256, 250, 8)
BANDS = {frontend: mel_bands(mel_filterbank(frontend)) for frontend in (SEA, SMALL)}


def sounds(sr):
    rng, t = np.random.default_rng(0), np.arange(sr) / sr
    click = np.zeros(sr)
    click[sr // 3] = 0.9
    return {
        "noise": rng.standard_normal(sr) * 0.1,
        "a tone": np.sin(2 * np.pi * 0.11 * sr * t),
        "a click": click,
        "a constant": np.full(sr, 0.25),
        "16 bits": np.rint(3e3 * rng.standard_normal(sr)) / 32768,
        "quiet": 1e-7 * rng.standard_normal(sr),
        "loud": 1e90 * rng.standard_normal(sr),
        "a fade": np.exp(-30 * t) * rng.standard_normal(sr),
    }


@pytest.mark.parametrize("name", sounds(8))
def test_equal_to_the_rounded_spectrogram_of_the_oracle(name):
    """Where the oracle is not within its own rounding of the middle between two levels."""
    window = sounds(SEA.sr)[name]
    found = level_spectrogram(window[np.newaxis], SEA, BANDS[SEA])[0]
    exactly = (oracles.log_mel_spectrogram(window, SEA, mel_filterbank(SEA).astype(np.float64)) + 80) * 255 / 80
    assert found.dtype == np.float32 and found.shape == (64, 50)
    sure = np.abs(exactly - np.floor(exactly) - 0.5) > 1e-4
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[sure], np.rint(exactly[sure]))


@pytest.mark.parametrize("name", sounds(8))
def test_integers_find_the_same_levels(name, monkeypatch):
    """If everything is uncertain, integers of Python compute every level."""
    window = sounds(SMALL.sr)[name][np.newaxis]
    expected = level_spectrogram(window, SMALL, BANDS[SMALL])
    calls = []
    monkeypatch.setattr(levels, "ARITHMETIC", 0.6)
    monkeypatch.setattr(levels, "exact_levels", lambda *given: calls.append(len(given[3])) or exact_levels(*given))
    found = level_spectrogram(window, SMALL, BANDS[SMALL])
    assert found.tobytes() == expected.tobytes() and calls[0] > 3


def test_silence_is_at_the_top_everywhere():
    assert (level_spectrogram(np.zeros((2, 8000)), SEA, BANDS[SEA]) == 255).all()


@given(st.integers(-40, 200), st.integers(0, 2**32 - 1))
def test_a_power_of_two_changes_nothing(exponent, seed):
    """Above the floor of the original, an amplitude of 1e-10 in a band, loud and quiet sounds have the same levels."""
    window = np.random.default_rng(seed).standard_normal((1, 2000))
    expected = level_spectrogram(window, SMALL, BANDS[SMALL])
    quiet = max(exponent, -12)
    assert level_spectrogram(np.ldexp(window, quiet), SMALL, BANDS[SMALL]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("hop", [160, 800, 480, 8000, 801])
def test_windows_that_share_frames(hop):
    signal = np.random.default_rng(hop).standard_normal(8000 + 6 * hop)
    view = np.lib.stride_tricks.as_strided(signal, (7, 8000), (8 * hop, 8), writeable=False)
    found = level_spectrogram(view, SEA, BANDS[SEA], hop)
    for window, expected in zip(view, found):
        assert level_spectrogram(window[np.newaxis], SEA, BANDS[SEA])[0].tobytes() == expected.tobytes()
    assert level_spectrogram(np.array(view), SEA, BANDS[SEA]).tobytes() == found.tobytes()


def test_a_band_at_a_threshold_is_decided_by_integers():
    """One band is moved to within 1e-15 of a threshold, from either side: both computations agree on which it is."""
    rng, decided = np.random.default_rng(3), set()
    for _ in range(12):
        window = rng.standard_normal(2000) * np.exp(-3 * np.arange(2000) / 2000)
        level = levels._frame_levels(window[np.newaxis], SMALL, BANDS[SMALL], None)[0, :, :-1]
        band = 4
        frame = int(np.argsort(level[:, band])[3])
        target = np.floor(level[frame, band] - level.max()) + 0.5 + level.max()
        part = slice(max(0, frame * 250 - SMALL.pad_left), frame * 250 - SMALL.pad_left + 256)
        for _ in range(4):
            now = levels._frame_levels(window[np.newaxis], SMALL, BANDS[SMALL], None)[0, frame, band]
            window[part] *= 10 ** ((target - now) / (2 * levels.SCALE))
        found = level_spectrogram(window[np.newaxis], SMALL, BANDS[SMALL])[0]
        everything = [(f, m) for f in range(8) for m in range(8)]
        integers = np.reshape(exact_levels(window, SMALL, BANDS[SMALL], everything, everything), (8, 8))
        np.testing.assert_array_equal(found, integers.T)
        decided.add(int(found[band, frame]))
    assert len(decided) > 1


def test_the_transform_is_within_its_bound():
    """The error of each bin, relative to the norm of the samples, computed with integers: a small part of the bound."""
    rng = np.random.default_rng(0)
    for window in (rng.standard_normal(1024), np.sin(np.arange(1024) * 0.7), np.eye(1024)[1], np.ones(1024)):
        samples, bits = whole_samples(window)
        cosine, n = cosines(1024), 1024
        windowed = [sample * ((1 << BITS) - c) for sample, c in zip(samples, cosine)]
        scale = 2.0 ** -(2 * BITS + 1 + bits)
        found = np.fft.rfft(window * levels._hann(1024))
        norm = math.sqrt(sum(value * value for value in windowed)) * 2.0 ** -(BITS + 1 + bits)
        for k in (1, 2, 37, 100, 256, 511):
            real = sum(value * cosine[k * time % n] for time, value in enumerate(windowed)) * scale
            imaginary = -sum(value * cosine[(k * time - n // 4) % n] for time, value in enumerate(windowed)) * scale
            assert abs(found[k] - complex(real, imaginary)) <= TRANSFORM / 32 * norm


def test_constants():
    for n in (8, 64, 1024):
        np.testing.assert_allclose(
            np.array(cosines(n), float) / 2.0**BITS, np.cos(2 * np.pi * np.arange(n) / n), atol=1e-15
        )
    squares = [cosines(1024)[j] ** 2 + cosines(1024)[j - 256] ** 2 - (1 << 2 * BITS) for j in range(1024)]
    assert max(map(abs, squares)) < 1 << BITS + 2  # cos ** 2 + sin ** 2 is 1, to the last bits
    levels_of = np.arange(1, 256)
    expected = 10.0 ** (((levels_of - 0.5) * 80 / 255 - 80) / 5)
    np.testing.assert_allclose(np.array(thresholds(), float) / 2.0**BITS, expected, rtol=1e-12)
    assert list(thresholds()) == sorted(set(thresholds()))


def test_powers_of_bands_are_those_of_floats():
    window = sounds(2000)["16 bits"]
    samples, bits = whole_samples(window)
    scale = 2.0 ** -(2 * (bits + 2 * BITS + 1) + exact.WEIGHT_BITS)
    power = (
        np.abs(np.fft.rfft(np.concatenate([np.zeros(SMALL.pad_left), window])[250 : 250 + 256] * levels._hann(256)))
        ** 2
    )
    for mel in range(8):
        found = float(Decimal(band_power(samples, SMALL, BANDS[SMALL], 1, mel)) * Decimal(scale))
        assert found == pytest.approx(power @ mel_filterbank(SMALL)[:, mel].astype(float), rel=1e-12)


def test_the_mel_filterbank_is_rounded_the_same_everywhere():
    """Each weight, computed with 60 digits, is far from the middle between two float32: 2**12 errors of libraries."""
    getcontext().prec = 60
    found = mel_filterbank(SEA)
    top = Decimal(2595) * (1 + Decimal(4000) / 700).log10()
    corners = [700 * (Decimal(10) ** (top * i / 65 / 2595) - 1) for i in range(66)]
    for mel in range(64):
        low, centre, high = corners[mel : mel + 3]
        for k in np.flatnonzero(found[:, mel]):
            f = Decimal(4000) * int(k) / 512
            weight = min((f - low) / (centre - low), (high - f) / (high - centre)) * 2 / (high - low)
            _, exponent = math.frexp(float(weight))
            scaled = weight * Decimal(2) ** (24 - exponent)
            assert int(scaled.to_integral_value()) == math.ldexp(float(found[k, mel]), 24 - exponent)
            assert abs(scaled - int(scaled) - Decimal("0.5")) > Decimal(2) ** -16
