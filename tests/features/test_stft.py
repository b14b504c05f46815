import math

import numpy as np
import pytest
from feature_cases import FRONT_ENDS, formula, overlapping
from hypothesis import given, settings
from hypothesis import strategies as st

from edgel3_np.features import stft
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.weights.registry import SEA


@pytest.mark.parametrize("n", [1, 2, 16, 1024, 2047])
def test_hann_window(n):
    """The window is periodic: the value at n would be the first again."""
    expected = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
    np.testing.assert_allclose(stft.hann_window(n), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("frontend", FRONT_ENDS)
def test_power_equals_that_of_a_transform_written_out(frontend):
    n_fft, extent = frontend.n_fft, (frontend.n_frames - 1) * frontend.hop_length + frontend.n_fft
    windows = np.random.default_rng(0).standard_normal((2, frontend.sr))
    padded = np.zeros((2, max(extent, frontend.sr)))
    padded[:, frontend.pad_left : frontend.pad_left + frontend.sr] = windows
    power = stft.stft_power(windows, padded, frontend)
    assert power.shape == (2, frontend.n_frames, 1 + n_fft // 2)
    time, window = np.arange(n_fft), stft.hann_window(n_fft)
    for index in (0, frontend.n_frames // 2, frontend.n_frames - 1):
        frame = padded[1, index * frontend.hop_length :][:n_fft] * window
        for k in (0, 1, n_fft // 3, n_fft // 2):
            phase = 2 * np.pi * (k * time % n_fft) / n_fft
            expected = (frame @ np.cos(phase)) ** 2 + (frame @ np.sin(phase)) ** 2
            np.testing.assert_allclose(power[1, index, k], expected, rtol=1e-9, atol=1e-18 * n_fft)


@settings(max_examples=100)
@given(st.sampled_from(FRONT_ENDS), st.integers(1, 9), st.data())
def test_sharing_frames_between_windows_does_not_change_a_bit(frontend, count, data):
    """Frames may coincide or not, and windows may overlap or leave gaps."""
    few = st.integers(1, max(1, frontend.sr // frontend.hop_length)).map(lambda step: step * frontend.hop_length)
    hop = data.draw(few | few | st.integers(1, 2 * frontend.sr))
    windows, bands = overlapping(frontend, count, hop), formula(frontend)
    expected = log_mel_spectrogram(np.array(windows), frontend, bands)
    assert log_mel_spectrogram(windows, frontend, bands, hop).tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("frontend", FRONT_ENDS)
def test_sharing_reads_no_sample_after_the_last_window(frontend, monkeypatch):
    """Frames are views with computed strides, so a frame that is too long would read memory of other arrays."""
    power, seen = stft._frame_power, []
    monkeypatch.setattr(stft, "_frame_power", lambda frames: seen.append(np.isnan(frames).any()) or power(frames))
    for step in range(1, max(2, frontend.sr // frontend.hop_length)):
        hop = step * frontend.hop_length
        log_mel_spectrogram(overlapping(frontend, 3, hop), frontend, formula(frontend), hop)
    assert seen and not any(seen)


def test_sharing_saves_transforms(monkeypatch):
    """At a hop of 0.1 s, only five of a window's 50 frames are new, besides those that reach over its ends."""
    power, counts = stft._frame_power, []
    monkeypatch.setattr(stft, "_frame_power", lambda frames: counts.append(frames[..., 0].size) or power(frames))
    windows = overlapping(SEA, 16, 800)
    log_mel_spectrogram(windows, SEA, formula(SEA), 800)
    ends = 6
    assert sum(counts) <= 16 * (5 + ends) + 50 < 16 * 50 / 3
    counts.clear()
    log_mel_spectrogram(windows, SEA, formula(SEA))
    assert sum(counts) == 16 * 50
