"""Levels: the interval of each contains the true one, and integers decide what an interval leaves open."""

import math
from decimal import Decimal, getcontext

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.features import exact, levels
from edgel3_np.features.exact import BITS, band_power, cosines, exact_levels, power_spectrum, thresholds, whole_samples
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.levels import TRANSFORM, level_spectrogram, transform_errors
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


@pytest.mark.parametrize("part", [1e-12, 1e-6, 0.01, 0.3, 0.49, 0.5, 0.7, 1.0, 3.0])
def test_the_quick_bound_of_a_level_covers_the_exact_bounds(part):
    """`part` of the root of a band's power may be wrong. From a half on, the bound says that nothing is known."""
    wrong = 2 * levels.SCALE * np.log10(part)
    low, high = levels.level_bounds(np.zeros(1), np.full(1, wrong))
    exactly = 2 * levels.SCALE * np.log10([max(1 - part, 1e-300), 1 + part])
    error = levels.level_error(0.0, wrong)
    assert low[0] <= exactly[0] or part >= 1
    assert exactly[1] <= high[0] <= error
    if part <= 0.5:
        assert -low[0] <= error and error < 1.5 * -exactly[0] + 1e-9
    else:
        assert error > 9.0 and np.isneginf(low[0]) == (part >= 1)


@pytest.mark.parametrize("n", [256, 1024, 8192])
def test_the_transform_is_within_its_bound(n):
    """The error of bins, relative to the norm of the samples, computed with integers: a fifth of the bound at most."""
    rng, time = np.random.default_rng(0), np.arange(n)
    for window in (
        rng.standard_normal(n),
        np.sin(time * 0.7),
        np.eye(n)[1],
        np.ones(n),
        np.cos(2 * np.pi * 37 * time / n),
    ):
        samples, bits = whole_samples(window)
        found = np.fft.rfft(window * levels._hann(n))
        peak = int(np.abs(found).argmax())
        for k in sorted({1, 2, 37, 100, n // 4, n // 2 - 1, max(0, peak - 1), peak}):
            real, imaginary, norm = direct_transform(samples, k)
            scale = Decimal(2) ** -(2 * BITS + 1 + bits)
            error = complex(
                Decimal(found[k].real.item()) - real * scale, Decimal(found[k].imag.item()) - imaginary * scale
            )
            assert abs(error) <= levels._transform_error(n) / 5 * float(norm * scale * 2**BITS)


def test_errors_of_the_transform_are_measured(monkeypatch):
    """As parts of the bound: an error that is put in is found."""
    frames = np.random.default_rng(5).standard_normal((2, 1024))
    assert (transform_errors(frames) > 0).all() and (transform_errors(frames) < 0.2).all()
    real = levels._transform

    def wrong(windowed, spectrum):
        found = real(windowed, spectrum)
        found[1, 200] += 3 * TRANSFORM * np.linalg.norm(windowed[1])
        return found

    monkeypatch.setattr(levels, "_transform", wrong)
    found = transform_errors(frames)
    assert found[0] < 0.2 and found[1] == pytest.approx(3, rel=0.1)


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


def direct_transform(samples, k):
    """Return a bin of windowed whole samples by its definition, over 2**(2 * BITS + 1 + bits), and their norm."""
    cosine, n = cosines(len(samples)), len(samples)
    windowed = [sample * ((1 << BITS) - factor) for sample, factor in zip(samples, cosine)]
    real = sum(value * cosine[k * time % n] for time, value in enumerate(windowed))
    imaginary = -sum(value * cosine[(k * time - n // 4) % n] for time, value in enumerate(windowed))
    return real, imaginary, math.isqrt(sum(value * value for value in windowed))


@pytest.mark.parametrize("n", [8, 256, 1024])
def test_the_transform_of_integers_is_the_definition(n):
    """Its products are rounded: by 2**-118 of the norm at most."""
    rng = np.random.default_rng(n)
    for window in (rng.standard_normal(n), np.sin(np.arange(n) * 0.7), 1e-30 * np.eye(n)[1], 1e30 * np.ones(n)):
        samples, bits = whole_samples(window)
        spectrum, found_bits, _ = power_spectrum(window.tobytes())
        assert found_bits == bits and len(spectrum) == 1 + n // 2
        for k in {0, 1, n // 4, n // 2 - 1, n // 2, int(rng.integers(n // 2))}:
            real, imaginary, norm = direct_transform(samples, k)
            expected = math.isqrt(real * real + imaginary * imaginary) >> BITS
            assert abs(math.isqrt(spectrum[k]) - expected) <= (norm >> 118) + 2 * n


@pytest.mark.parametrize("frontend", BANDS)
def test_powers_of_bands_are_those_of_floats(frontend):
    window = sounds(2000)["16 bits"][: frontend.n_fft]
    spectrum, bits, _ = power_spectrum(window.tobytes())
    scale = Decimal(2) ** -(2 * (bits + BITS + 1) + exact.WEIGHT_BITS)
    power = np.abs(np.fft.rfft(window * levels._hann(frontend.n_fft))) ** 2
    for mel in range(frontend.n_mels):
        band = next(band for band in BANDS[frontend] if band.mels.start <= mel < band.mels.stop)
        found = float(Decimal(band_power(spectrum, band, mel)) * scale)
        assert found == pytest.approx(power @ mel_filterbank(frontend)[:, mel].astype(float), rel=1e-12)


def exact_calls(monkeypatch):
    """Let integers note which levels they are asked for, and which frames they transform."""
    asked, frames, real = [], [], exact.power_spectrum
    exact.power_spectrum.cache_clear()
    monkeypatch.setattr(levels, "exact_levels", lambda *given: asked.append(len(given[3])) or exact_levels(*given))
    monkeypatch.setattr(exact, "power_spectrum", lambda frame: frames.append(frame) or real(frame))
    return asked, frames, real


def test_filterbanks_do_not_share_what_is_kept():
    """Two of one front end, one of them its own and one from a weight file, and the same frames."""
    window, mel = sounds(2000)["16 bits"], mel_filterbank(SMALL)
    others = mel_bands(np.where(np.arange(SMALL.n_mels) < 4, mel, np.float32(4) * mel))
    places, loudest = [(5, 6), (20, 1), (30, 7)], [(frame, 2) for frame in range(40)]
    found = []
    for bands in (BANDS[SMALL], others, BANDS[SMALL]):
        found.append(exact_levels(window, SMALL, bands, places, loudest))
        exact.power_spectrum.cache_clear()
        assert found[-1] == exact_levels(window, SMALL, bands, places, loudest)
        exact_levels(window, SMALL, bands, places, loudest)  # what the next filterbank finds there
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("level", [1.0, 32768.0, 1e30])
def test_sounds_with_empty_bands_are_certain(level, monkeypatch):
    """The transform's own noise is then all that a band holds: the floor of 0 is certain, whatever it is."""
    asked, _, _ = exact_calls(monkeypatch)
    time = np.arange(8000)
    square, nyquist = np.sign(np.sin(2 * np.pi * time / 8 + 0.1)), (-1.0) ** time
    for window in (np.ones(8000), square, nyquist, np.arange(8000) > 4000, np.sin(2 * np.pi * time / 8)):
        level_spectrogram(level * window[np.newaxis], SEA, BANDS[SEA])
    assert sum(asked) < 200


def test_the_work_of_integers_is_bounded(monkeypatch):
    """If all is uncertain, each frame is transformed once, also if several windows hold it."""
    _, frames, real = exact_calls(monkeypatch)
    monkeypatch.setattr(levels, "ARITHMETIC", 0.6)
    signal = np.random.default_rng(0).standard_normal(8000 + 2 * 1600)
    view = np.lib.stride_tricks.as_strided(signal, (3, 8000), (8 * 1600, 8), writeable=False)
    level_spectrogram(view, SEA, BANDS[SEA], 1600)
    first, last = SEA.whole_frames
    shared = (last - first) + 2 * 10  # all frames but those at the edges of the three windows
    assert len(frames) == 150 and real.cache_info().misses == shared + 3 * (50 - (last - first))


def test_a_transform_at_its_bound_changes_nothing(monkeypatch):
    """Errors of any direction, as large as they may be: the levels stay, for the intervals hold them."""
    rng, real = np.random.default_rng(4), levels._transform
    time = np.arange(8000)
    windows = np.stack([
        rng.standard_normal(8000), np.sin(0.5 * time) + 1e-7 * rng.standard_normal(8000),
        np.exp(-time / 400) * rng.standard_normal(8000), np.sin(0.9 * time) * (time < 3000) + 3e-8 * np.sin(0.1 * time),
    ])  # fmt: skip
    expected = level_spectrogram(windows, SEA, BANDS[SEA])

    def wrong(windowed, spectrum):
        found = real(windowed, spectrum)
        norm = np.sqrt(np.square(windowed).sum(axis=-1, keepdims=True))
        angle = rng.uniform(0, 2 * np.pi, found[..., ::2].shape)
        found[..., ::2] += 0.95 * TRANSFORM * norm * np.cos(angle)
        found[..., 1::2] += 0.95 * TRANSFORM * norm * np.sin(angle)
        return found

    monkeypatch.setattr(levels, "_transform", wrong)
    for _ in range(3):
        assert level_spectrogram(windows, SEA, BANDS[SEA]).tobytes() == expected.tobytes()


def weight_error(f, low, centre, high):
    """Return by how much a weight changes if each corner is wrong by a unit of the last place of its power of ten."""
    errors = [(corner + 700) * Decimal(2) ** -53 for corner in (low, centre, high)]

    def weight(low, centre, high):
        return min((f - low) / (centre - low), (high - f) / (high - centre)) * 2 / (high - low)

    changed = (weight(low + a * errors[0], centre + b * errors[1], high + c * errors[2])
               for a in (-1, 1) for b in (-1, 1) for c in (-1, 1))  # fmt: skip
    return max(abs(other - weight(low, centre, high)) for other in changed)


def test_the_mel_filterbank_is_rounded_the_same_everywhere():
    """Each weight, computed with 60 digits, is far from the middle between two float32: 64 errors of libraries.

    An error is one unit of the last place of each corner's power of ten.
    """
    getcontext().prec = 60
    found = mel_filterbank(SEA)
    top = Decimal(2595) * (1 + Decimal(4000) / 700).log10()
    corners = [700 * (Decimal(10) ** (top * i / 65 / 2595) - 1) for i in range(66)]
    for mel in range(64):
        low, centre, high = corners[mel : mel + 3]
        for k in range(513):
            f = Decimal(4000) * int(k) / 512
            weight = min((f - low) / (centre - low), (high - f) / (high - centre)) * 2 / (high - low)
            if weight <= 0 or (mel, k) == (63, 512):  # the upper corner is a bin, and its weight 0
                assert found[k, mel] == 0 and (weight < Decimal(-1) / 10**9 or (mel, k) in [(0, 0), (63, 512)])
                continue
            wrong = weight_error(f, low, centre, high)
            _, exponent = math.frexp(float(weight))
            scaled = weight * Decimal(2) ** (24 - exponent)
            assert int(scaled.to_integral_value()) == math.ldexp(float(found[k, mel]), 24 - exponent)
            assert abs(scaled - int(scaled) - Decimal("0.5")) > 64 * wrong * Decimal(2) ** (24 - exponent)
