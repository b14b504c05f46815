import numpy as np
import oracles
import pytest

from edgel3_np.melspectrogram import FrontEnd, mel_filters, melspectrogram
from edgel3_np.metadata import SEA, SPARSE


def sounds(sr):
    rng = np.random.default_rng(0)
    t = np.arange(sr) / sr
    click = np.zeros(sr)
    click[sr // 3] = 1.0
    return np.stack([rng.standard_normal(sr), np.sin(2 * np.pi * 440 * t), click, 1e-9 * rng.standard_normal(sr)])


@pytest.mark.parametrize("frontend, frames", [(SEA, 50), (SPARSE, 199)])
def test_shapes_and_range(frontend, frames):
    logmel = melspectrogram(sounds(frontend.sr), frontend, mel_filters(frontend).astype(np.float64))
    assert logmel.shape == (4, frontend.n_mels, frames) and logmel.dtype == np.float32
    assert frontend.n_frames == frames
    assert (logmel.max(axis=(1, 2)) == 0).all() and logmel.min() >= -80


@pytest.mark.parametrize("frontend", [SEA, SPARSE, FrontEnd(16000, 512, 250, 40), FrontEnd(8001, 300, 77, 20)])
def test_equal_to_a_transform_written_out(frontend):
    mel = mel_filters(frontend).astype(np.float64)
    windows = sounds(frontend.sr)[: 2 if frontend is SPARSE else 4]
    for window, found in zip(windows, melspectrogram(windows, frontend, mel)):
        expected = oracles.melspectrogram(window, frontend.sr, frontend.n_fft, frontend.hop_length, mel)
        # where bands are empty, 80 below, the two float64 sums differ by their rounding
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        loud = expected > -60
        np.testing.assert_allclose(found[loud], expected[loud], rtol=0, atol=1e-5)


def test_silence_is_all_zeros():
    logmel = melspectrogram(np.zeros((1, 8000)), SEA, mel_filters(SEA).astype(np.float64))
    assert (logmel == 0).all()


def test_a_window_has_the_same_bytes_in_any_batch():
    windows, mel = sounds(8000), mel_filters(SEA).astype(np.float64)
    together = melspectrogram(windows, SEA, mel)
    for index in range(4):
        alone = melspectrogram(windows[index : index + 1], SEA, mel)
        assert alone.tobytes() == together[index : index + 1].tobytes()
    assert melspectrogram(windows[::-1], SEA, mel)[::-1].tobytes() == together.tobytes()


def test_gain_does_not_matter_while_above_the_floor():
    windows, mel = sounds(8000)[:2], mel_filters(SEA).astype(np.float64)
    np.testing.assert_allclose(melspectrogram(4 * windows, SEA, mel), melspectrogram(windows, SEA, mel), atol=1e-5)


@pytest.mark.parametrize("frontend", [SEA, SPARSE])
def test_mel_filters_are_triangles_of_unit_area(frontend):
    mel = mel_filters(frontend).astype(np.float64)
    width = frontend.sr / frontend.n_fft  # Hz per bin
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + frontend.sr / 1400), frontend.n_mels + 2) / 2595) - 1)
    bins = np.arange(len(mel)) * width
    for band in range(frontend.n_mels):
        low, centre, high = points[band : band + 3]
        expected = np.interp(bins, [low, centre, high], [0, 2 / (high - low), 0])
        np.testing.assert_allclose(mel[:, band], expected, rtol=1e-5, atol=1e-9)
    wide = np.diff(points)[:-1] > 6 * width
    np.testing.assert_allclose((mel.sum(axis=0) * width)[wide], 1.0, atol=0.02)


def test_two_bands_of_the_sparse_front_end_are_empty():
    assert (mel_filters(SPARSE).max(axis=0) == 0).sum() == 2


@pytest.mark.parametrize("model", ["sea-64", "sparse-ft-95.45"])
def test_golden_spectrograms(shared, model):
    """Mean difference small; the largest, in empty bands, is the float32 noise of the original stack."""
    from edgel3_np.audio import open_audio
    from edgel3_np.framing import windows
    from edgel3_np.resample import resample

    frontend = SEA if model == "sea-64" else SPARSE
    mel = mel_filters(frontend).astype(np.float64)
    with np.load(shared / "golden" / f"{model}.npz") as archive:
        golden = {key: archive[key] for key in archive.files if key.endswith("melspectrogram")}
    names = [key.split("|")[0] for key in golden]
    assert len(names) == 9
    for name in names:
        with open_audio(next((shared / "audio").glob(f"{name}.*"))) as (sr, blocks):
            pieces = windows(resample(blocks, sr, frontend.sr), frontend.sr, frontend.sr, frontend.sr // 2, 1)
            found = np.concatenate([melspectrogram(piece, frontend, mel) for piece in pieces])
        expected = golden[f"{name}|melspectrogram"]
        n = 1 if name in ("chirp_1s", "chirp_8k") else len(expected)  # the second of these is not a whole window
        difference = np.abs(found[:n] - expected[:n])
        assert difference.mean() < 0.01, name
        assert difference.max() < 1.0, name
