import numpy as np
import oracles
import pytest
from feature_cases import formula, sounds

from edgel3_np.features import log_mel as module
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.features.mel import mel_bands, mel_filterbank
from edgel3_np.weights.registry import OPENL3_FRONTENDS, SEA, SPARSE

FRAMES = [
    (SEA, 50),
    (SPARSE, 199),
    (OPENL3_FRONTENDS["linear"], 197),
    (OPENL3_FRONTENDS["mel128"], 199),
    (OPENL3_FRONTENDS["mel256"], 199),
]


@pytest.mark.parametrize("frontend, frames", FRAMES)
def test_shapes_and_range(frontend, frames):
    log_mel = log_mel_spectrogram(sounds(frontend.sr), frontend, formula(frontend))
    assert log_mel.shape == (4, frontend.n_mels, frames) and log_mel.dtype == np.float32
    assert frontend.n_frames == frames
    assert (log_mel.max(axis=(1, 2)) == 0).all() and log_mel.min() >= -80


WRITTEN_OUT = [
    SEA,
    SPARSE,
    *OPENL3_FRONTENDS.values(),
    FrontEnd(16000, 512, 250, 40),
    FrontEnd(8001, 300, 77, 20),
    FrontEnd(8001, 300, 77, 20, "slaney", "power", "end"),
    FrontEnd(8001, 300, 77, 151, "linear", "power", "valid"),
    FrontEnd(8000, 512, 160, 30, "htk", "magnitude", "same"),
    FrontEnd(8000, 128, 80, 12, "slaney", "magnitude", "end"),
]


def exact_magnitudes(windows, n_fft, hop_length, n_frames):
    frames = np.stack([windows[:, i * hop_length : i * hop_length + n_fft] for i in range(n_frames)], axis=1)
    return np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft))))


@pytest.mark.parametrize("frontend", WRITTEN_OUT)
def test_equal_to_a_transform_written_out(frontend, monkeypatch):
    """An exact transform replaces `stft_magnitude`, which rounds as TensorFlow does; `test_tf_stft` tests it."""
    mel = mel_filterbank(frontend).astype(np.float64)
    windows = sounds(frontend.sr)[: 2 if frontend.sr == 48000 else 4]
    with_errors = log_mel_spectrogram(windows, frontend, formula(frontend))
    monkeypatch.setattr(module, "stft_magnitude", exact_magnitudes)
    for window, found, wrong in zip(windows, log_mel_spectrogram(windows, frontend, formula(frontend)), with_errors):
        expected = oracles.log_mel_spectrogram(window, frontend, mel)
        # in empty bands, 80 below the maximum, the two float64 sums differ by their rounding
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        loud = expected > -60
        np.testing.assert_allclose(found[loud], expected[loud], rtol=0, atol=1e-5)
        if frontend.spectrum == "magnitude":
            louder = expected > -30
            np.testing.assert_allclose(wrong[louder], expected[louder], rtol=0, atol=0.02)
        else:
            assert wrong.tobytes() == found.tobytes()


def test_silence_is_all_zeros():
    log_mel = log_mel_spectrogram(np.zeros((1, 8000)), SEA, formula(SEA))
    assert (log_mel == 0).all()


@pytest.mark.parametrize("frontend", [SEA, SPARSE, *OPENL3_FRONTENDS.values()])
def test_a_window_has_the_same_bytes_in_any_batch(frontend):
    windows, bands = sounds(frontend.sr), formula(frontend)
    together = log_mel_spectrogram(windows, frontend, bands)
    for index in range(4):
        alone = log_mel_spectrogram(windows[index : index + 1], frontend, bands)
        assert alone.tobytes() == together[index : index + 1].tobytes()
    assert log_mel_spectrogram(windows[::-1], frontend, bands)[::-1].tobytes() == together.tobytes()


def test_gain_does_not_matter_while_above_the_floor():
    windows, bands = sounds(8000)[:2], formula(SEA)
    np.testing.assert_allclose(
        log_mel_spectrogram(4 * windows, SEA, bands), log_mel_spectrogram(windows, SEA, bands), atol=1e-5
    )


@pytest.mark.parametrize("empty", [slice(5, 6), slice(16, 32), slice(0, 64)])
def test_columns_of_zeros(empty):
    """A band without weights lies at the floor; with a matrix of zeros, every sound is silence."""
    mel = mel_filterbank(SEA)
    mel[:, empty] = 0.0
    windows = sounds(8000)[:2]
    found = log_mel_spectrogram(windows, SEA, mel_bands(mel))
    for window, log_mel in zip(windows, found):
        expected = oracles.log_mel_spectrogram(window, SEA, mel.astype(np.float64))
        np.testing.assert_allclose(log_mel, expected, rtol=0, atol=1e-3)
    assert (found[:, empty] == (0.0 if empty == slice(0, 64) else -80.0)).all()


@pytest.mark.parametrize("model", ["sea-64", "sparse-ft-95.45"])
def test_golden_spectrograms(shared, model):
    """The mean difference is small; the largest is in empty bands, where the original stack has float32 noise."""
    from edgel3_np.audio.framing import windows
    from edgel3_np.audio.reading import open_audio
    from edgel3_np.audio.resample import resample

    frontend = SEA if model == "sea-64" else SPARSE
    bands = formula(frontend)
    with np.load(shared / "golden" / f"{model}.npz") as archive:
        golden = {key: archive[key] for key in archive.files if key.endswith("melspectrogram")}
    names = [key.split("|")[0] for key in golden]
    assert len(names) == 9
    for name in names:
        with open_audio(next((shared / "audio").glob(f"{name}.*"))) as (sr, blocks):
            pieces = windows(resample(blocks, sr, frontend.sr), frontend.sr, frontend.sr, frontend.sr // 2, 1)
            found = np.concatenate([log_mel_spectrogram(piece, frontend, bands) for piece in pieces])
        expected = golden[f"{name}|melspectrogram"]
        n = 1 if name in ("chirp_1s", "chirp_8k") else len(expected)  # their second window is not whole
        difference = np.abs(found[:n] - expected[:n])
        assert difference.mean() < 0.01, name
        assert difference.max() < 1.0, name
