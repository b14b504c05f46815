"""Levels of columns: those of the oracle, whatever is computed before, and integers decide what is uncertain."""

from functools import partial

import numpy as np
import oracles
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgel3_np.features import columns, levels
from edgel3_np.features.columns import NOTHING, distances, hear
from edgel3_np.features.exact import exact_levels
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.mel import mel_bands, mel_filterbank
from edgel3_np.weights.registry import SEA

SMALL = FrontEnd(2000, 128, 40, 8)
BANDS = {frontend: mel_bands(mel_filterbank(frontend)) for frontend in (SEA, SMALL)}


def signal_of(frontend, count, seed=0):
    """Make noise that changes its loudness, with silence in it: the samples under the frames of `count` columns."""
    rng, column = np.random.default_rng(seed), frontend.sr // 10
    loud = np.repeat(10 ** rng.uniform(-4, 0, count + 2), column) * (np.repeat(rng.random(count + 2), column) < 0.8)
    samples = np.rint(2**20 * rng.standard_normal(len(loud)) * loud) / 2**20
    return samples[: count * column + frontend.n_fft - frontend.hop_length].copy()


@pytest.mark.parametrize("frontend", [SEA, SMALL], ids=["sea", "small"])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_oracle(frontend, seed):
    signal = signal_of(frontend, 40, seed)
    levels, heard = hear(signal, NOTHING, frontend, BANDS[frontend])
    expected, top = oracles.stream_levels(signal, frontend)
    assert levels.dtype == np.float32 and heard.shape == (4, 40)
    np.testing.assert_array_equal(levels.reshape(expected.shape), expected)
    ends = np.array([18, 25, 39])
    rows = distances(signal, heard, ends, frontend, BANDS[frontend])
    for row, end in zip(rows, ends):
        own, of_columns = top[end - 9], top[end - 18 : end - 8]
        np.testing.assert_array_equal(row[:, 0], oracles.level_distance(of_columns, own))
        np.testing.assert_array_equal(row[:, 1], oracles.level_distance(own, of_columns))
    assert rows[:, :, 0].any() and rows[:, :, 1].any()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@example([1] * 6, 0)
@example([9, 1, 3], 1)
def test_what_comes_later_is_not_computed_again(parts, seed):
    count = sum(parts)
    signal = signal_of(SMALL, count, seed)
    whole, everything = hear(signal, NOTHING, SMALL, BANDS[SMALL])
    heard, found, done = NOTHING, [], 0
    for part in parts:
        done += part
        levels, heard = hear(signal[: done * 200 + 88], heard, SMALL, BANDS[SMALL])
        found.append(levels)
    assert np.concatenate(found).tobytes() == whole.tobytes()
    np.testing.assert_allclose(heard, everything, atol=1e-6)
    signal, heard = signal[-24 * 200 - 88 :], heard[:, -24:]  # a stream forgets what is further back
    if count > 24:
        ends = np.arange(18, 24)
        expected = distances(signal, everything[:, -24:], ends, SMALL, BANDS[SMALL])
        assert distances(signal, heard, ends, SMALL, BANDS[SMALL]).tobytes() == expected.tobytes()


@given(st.integers(-400, 200), st.integers(0, 2**32 - 1))
def test_a_power_of_two_changes_nothing(exponent, seed):
    signal = signal_of(SMALL, 20, seed)
    (levels, heard), (other, heard_too) = (
        hear(sound, NOTHING, SMALL, BANDS[SMALL]) for sound in (signal, np.ldexp(signal, exponent))
    )
    assert other.tobytes() == levels.tobytes()
    one, two = (distances(signal, part, np.array([19]), SMALL, BANDS[SMALL]) for part in (heard, heard_too))
    assert one.tobytes() == two.tobytes()


def test_silence_has_the_level_zero():
    levels, heard = hear(np.zeros(30 * 800 + 864), NOTHING, SEA, BANDS[SEA])
    assert levels.shape == (21 * 5, 64) and not levels.any()
    assert not distances(np.zeros(30 * 800 + 864), heard, np.array([18, 29]), SEA, BANDS[SEA]).any()


def test_silence_is_as_far_below_sound_as_can_be():
    signal = np.zeros(30 * 800 + 864)
    signal[20 * 800 :] = np.random.default_rng(0).standard_normal(len(signal) - 20 * 800)
    levels, heard = hear(signal, NOTHING, SEA, BANDS[SEA])
    rows = distances(signal, heard, np.array([25]), SEA, BANDS[SEA])[0]
    assert rows[:2, 1].tolist() == [255, 255]  # columns 16 and 17; the last frame of the next reaches into the sound
    assert rows[:2, 0].tolist() == [0, 0] and rows[-1].tolist() == [0, 0] and 0 < rows[2, 1] < 255
    assert not levels.reshape(21, 5, 64)[:9].any() and levels.reshape(21, 5, 64)[-1].max() > 200


@pytest.mark.parametrize("seed", range(3))
def test_integers_find_the_same(seed, monkeypatch):
    """If everything is uncertain, integers of Python compute every level and every distance."""
    signal = signal_of(SMALL, 20, seed)
    expected, heard = hear(signal, NOTHING, SMALL, BANDS[SMALL])
    ends = np.array([18, 19])
    rows = distances(signal, heard, ends, SMALL, BANDS[SMALL])
    calls = []
    monkeypatch.setattr(columns, "exact_levels", lambda *given: calls.append(len(given[3])) or exact_levels(*given))
    monkeypatch.setattr(levels, "ARITHMETIC", 0.6)
    found, unsure = hear(signal, NOTHING, SMALL, BANDS[SMALL])
    assert found.tobytes() == expected.tobytes() and sum(calls) > 100
    calls.clear()
    assert distances(signal, unsure, ends, SMALL, BANDS[SMALL]).tobytes() == rows.tobytes() and len(calls) > 3


@pytest.mark.parametrize("loudness", [1e-9, 1e-12, 1e-14])
def test_a_transform_at_its_bound_changes_nothing(loudness, monkeypatch):
    """Errors as large as may be, of sounds so far below an offset, which no band hears, that most are uncertain."""
    rng, real = np.random.default_rng(5), levels._transform
    mel = mel_filterbank(SMALL)
    mel[:4] = 0
    bands = mel_bands(mel)
    time = np.arange(24 * 200 + 88)
    signals = [1.0 + loudness * rng.standard_normal(len(time)), 1.0 + loudness * np.sin(1.1 * time) * (time > 2500)]
    ends = np.arange(18, 24)

    def compute():
        for signal in signals:
            found, heard = hear(signal, NOTHING, SMALL, bands)
            yield found.tobytes(), distances(signal, heard, ends, SMALL, bands).tobytes()

    def wrong(direction, windowed, spectrum):
        found = real(windowed, spectrum)
        error = 0.95 * levels._transform_error(SMALL.n_fft) * np.sqrt(np.square(windowed).sum(axis=-1, keepdims=True))
        magnitude = np.hypot(found[..., ::2], found[..., 1::2])
        angle = np.arctan2(found[..., 1::2], found[..., ::2])
        if direction == "any":
            angle = rng.uniform(0, 2 * np.pi, angle.shape)
        error = -np.minimum(error, magnitude) if direction == "down" else error
        found[..., ::2] += error * np.cos(angle)
        found[..., 1::2] += error * np.sin(angle)
        return found

    expected = list(compute())
    for direction in ("down", "up", "any"):
        monkeypatch.setattr(levels, "_transform", partial(wrong, direction))
        assert list(compute()) == expected


def test_distances_of_columns_whose_levels_are_hardly_known():
    rng = np.random.default_rng(6)
    loud = np.repeat(10 ** np.linspace(-26, 0, 25), 200)[
        : 24 * 200 + 88
    ]  # the last columns of a window are the loudest
    signal = rng.standard_normal(len(loud)) * loud
    _, heard = hear(signal, NOTHING, SMALL, BANDS[SMALL])
    ends = np.arange(18, 24)
    expected = distances(signal, heard, ends, SMALL, BANDS[SMALL])
    assert len(np.unique(expected)) > 9 and (expected == 255).any()
    for _ in range(5):
        guessed = heard.copy()
        guessed[2] += rng.uniform(-60, 60, 24)
        guessed[3] += 60.0
        assert distances(signal, guessed, ends, SMALL, BANDS[SMALL]).tobytes() == expected.tobytes()


def test_a_band_at_a_threshold_is_decided_by_integers():
    """A column's loudness is moved to within 1e-15 of a threshold of the next: floats cannot tell, integers can."""
    rng, decided = np.random.default_rng(3), set()
    for _ in range(8):
        signal = rng.standard_normal(19 * 200 + 88) * 0.1
        target = np.floor(rng.uniform(20, 90)) + 0.5
        for _ in range(6):
            _, heard = hear(signal, NOTHING, SMALL, BANDS[SMALL])
            now = heard[2, 18] - heard[2, 9]
            signal[17 * 200 + 88 :] *= 10 ** ((target - now) / (2 * columns.SCALE))
        _, heard = hear(signal, NOTHING, SMALL, BANDS[SMALL])
        assert abs(heard[2, 18] - heard[2, 9] - target) < 1e-9
        found = distances(signal, heard, np.array([18]), SMALL, BANDS[SMALL])[0, 0]
        decided.add(int(found[1]))
        frames = [(f, m) for f in range(45, 95) for m in range(8)]
        first = [(f, m) for f in range(50) for m in range(8)]
        flat = SMALL._replace(padding="end")
        assert found[1] == 255 - max(exact_levels(signal, flat, BANDS[SMALL], first, frames, False))
    assert len(decided) > 1
