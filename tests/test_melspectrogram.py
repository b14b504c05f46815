import numpy as np
import oracles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgel3_np import melspectrogram as module
from edgel3_np.melspectrogram import FrontEnd, mel_bands, mel_filters, melspectrogram
from edgel3_np.metadata import OPENL3, SEA, SPARSE


def formula(frontend):
    """What a network has of the mel matrix that the formula gives."""
    return mel_bands(mel_filters(frontend))


def sounds(sr):
    rng = np.random.default_rng(0)
    t = np.arange(sr) / sr
    click = np.zeros(sr)
    click[sr // 3] = 1.0
    return np.stack([rng.standard_normal(sr), np.sin(2 * np.pi * 440 * t), click, 1e-9 * rng.standard_normal(sr)])


FRAMES = [(SEA, 50), (SPARSE, 199), (OPENL3["linear"], 197), (OPENL3["mel128"], 199), (OPENL3["mel256"], 199)]


@pytest.mark.parametrize("frontend, frames", FRAMES)
def test_shapes_and_range(frontend, frames):
    logmel = melspectrogram(sounds(frontend.sr), frontend, formula(frontend))
    assert logmel.shape == (4, frontend.n_mels, frames) and logmel.dtype == np.float32
    assert frontend.n_frames == frames
    assert (logmel.max(axis=(1, 2)) == 0).all() and logmel.min() >= -80


WRITTEN_OUT = [
    SEA,
    SPARSE,
    *OPENL3.values(),
    FrontEnd(16000, 512, 250, 40),
    FrontEnd(8001, 300, 77, 20),
    FrontEnd(8001, 300, 77, 20, "slaney", "power", "behind"),
    FrontEnd(8001, 300, 77, 151, "linear", "power", "none"),
    FrontEnd(8000, 512, 160, 30, "htk", "magnitude", "both"),
    FrontEnd(8000, 128, 80, 12, "slaney", "magnitude", "behind"),
]


def exact_magnitudes(windows, n_fft, hop_length, n_frames):
    frames = np.stack([windows[:, i * hop_length : i * hop_length + n_fft] for i in range(n_frames)], axis=1)
    return np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft))))


@pytest.mark.parametrize("frontend", WRITTEN_OUT)
def test_equal_to_a_transform_written_out(frontend, monkeypatch):
    """But for the errors that `magnitudes` makes on purpose, of which `test_fourier` tells."""
    mel = mel_filters(frontend).astype(np.float64)
    windows = sounds(frontend.sr)[: 2 if frontend.sr == 48000 else 4]
    with_errors = melspectrogram(windows, frontend, formula(frontend))
    monkeypatch.setattr(module, "magnitudes", exact_magnitudes)
    for window, found, wrong in zip(windows, melspectrogram(windows, frontend, formula(frontend)), with_errors):
        expected = oracles.melspectrogram(window, frontend, mel)
        # where bands are empty, 80 below, the two float64 sums differ by their rounding
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        loud = expected > -60
        np.testing.assert_allclose(found[loud], expected[loud], rtol=0, atol=1e-5)
        if frontend.spectrum == "magnitude":
            louder = expected > -30
            np.testing.assert_allclose(wrong[louder], expected[louder], rtol=0, atol=0.02)
        else:
            assert wrong.tobytes() == found.tobytes()


def test_silence_is_all_zeros():
    logmel = melspectrogram(np.zeros((1, 8000)), SEA, formula(SEA))
    assert (logmel == 0).all()


@pytest.mark.parametrize("frontend", [SEA, SPARSE, *OPENL3.values()])
def test_a_window_has_the_same_bytes_in_any_batch(frontend):
    windows, bands = sounds(frontend.sr), formula(frontend)
    together = melspectrogram(windows, frontend, bands)
    for index in range(4):
        alone = melspectrogram(windows[index : index + 1], frontend, bands)
        assert alone.tobytes() == together[index : index + 1].tobytes()
    assert melspectrogram(windows[::-1], frontend, bands)[::-1].tobytes() == together.tobytes()


def test_gain_does_not_matter_while_above_the_floor():
    windows, bands = sounds(8000)[:2], formula(SEA)
    np.testing.assert_allclose(melspectrogram(4 * windows, SEA, bands), melspectrogram(windows, SEA, bands), atol=1e-5)


FRONT_ENDS = [
    SEA,
    FrontEnd(16000, 512, 250, 40),
    FrontEnd(2000, 64, 9, 17),  # 222 frames and a rest
    FrontEnd(2000, 1876, 125, 8),  # just one frame lies inside a window
    FrontEnd(2000, 2000, 125, 8),  # none does
    FrontEnd(2000, 2500, 40, 8),  # nor can it: a transform is longer than a window
    FrontEnd(2000, 8192, 100, 16),  # by far: the first frames start four windows before theirs
    FrontEnd(2000, 16, 16, 8),  # frames side by side
    FrontEnd(2000, 64, 9, 17, "slaney", "power", "behind"),
    FrontEnd(2000, 64, 9, 33, "linear", "power", "none"),
]


def overlapping(frontend, count, hop, seed=0):
    """Windows as a view of one signal, with nothing but NaN behind it: shape (count, sr)."""
    signal = np.full((count - 1) * hop + frontend.sr + 20_000, np.nan)
    signal[:-20_000] = np.random.default_rng(seed).standard_normal(len(signal) - 20_000)
    step = signal.itemsize
    return np.lib.stride_tricks.as_strided(signal, (count, frontend.sr), (hop * step, step), writeable=False)


@settings(max_examples=100)
@given(st.sampled_from(FRONT_ENDS), st.integers(1, 9), st.data())
def test_sharing_frames_between_windows_does_not_change_a_bit(frontend, count, data):
    """Whether frames coincide or not, whether windows overlap or leave gaps."""
    few = st.integers(1, max(1, frontend.sr // frontend.hop_length)).map(lambda step: step * frontend.hop_length)
    hop = data.draw(few | few | st.integers(1, 2 * frontend.sr))
    windows, bands = overlapping(frontend, count, hop), formula(frontend)
    expected = melspectrogram(np.array(windows), frontend, bands)
    assert melspectrogram(windows, frontend, bands, hop).tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("frontend", FRONT_ENDS)
def test_sharing_reads_no_sample_behind_the_last_window(frontend, monkeypatch):
    """Frames are views made by hand: one too long would read memory that belongs to something else."""
    power, seen = module._power, []
    monkeypatch.setattr(module, "_power", lambda frames: seen.append(np.isnan(frames).any()) or power(frames))
    for step in range(1, max(2, frontend.sr // frontend.hop_length)):
        hop = step * frontend.hop_length
        melspectrogram(overlapping(frontend, 3, hop), frontend, formula(frontend), hop)
    assert seen and not any(seen)


def test_sharing_saves_transforms(monkeypatch):
    """At a tenth of a second, 50 frames are five new ones a window, and those that reach over its ends."""
    power, counts = module._power, []
    monkeypatch.setattr(module, "_power", lambda frames: counts.append(frames[..., 0].size) or power(frames))
    windows = overlapping(SEA, 16, 800)
    melspectrogram(windows, SEA, formula(SEA), 800)
    ends = 6
    assert sum(counts) <= 16 * (5 + ends) + 50 < 16 * 50 / 3
    counts.clear()
    melspectrogram(windows, SEA, formula(SEA))
    assert sum(counts) == 16 * 50


@pytest.mark.parametrize("frontend", [*FRONT_ENDS, SPARSE])
def test_bands_are_the_mel_matrix(frontend):
    """Put together they give it back, zero or not; its product with a power is theirs."""
    mel = mel_filters(frontend)
    bands = mel_bands(mel)
    whole, covered = np.zeros(mel.shape), np.zeros(mel.shape[1], int)
    power = np.random.default_rng(0).random((5, len(mel)))
    product = np.zeros((5, mel.shape[1]))
    for band in bands:
        assert band.weights.dtype == np.float64 and not band.weights.flags.writeable
        whole[band.bins, band.mels] = band.weights
        covered[band.mels] += 1
        product[:, band.mels] = power[:, band.bins] @ band.weights
    np.testing.assert_array_equal(whole, mel)
    assert (covered == 1).all()
    np.testing.assert_allclose(product, power @ mel.astype(np.float64), rtol=1e-12, atol=1e-15)
    if frontend.n_mels > 3 * module.BAND:  # what they are for
        assert sum(band.weights.size for band in bands) < mel.size / 2


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 50), st.floats(0, 1), st.integers(0, 2**32 - 1))
@example(20, 5, 0.0, 0)
def test_bands_of_any_matrix(n_mels, bins, density, seed):
    """Stored matrices need not be triangles, nor have anything in a column."""
    rng = np.random.default_rng(seed)
    mel = (rng.random((bins, n_mels)) * (rng.random((bins, n_mels)) < density)).astype(np.float32)
    whole = np.zeros(mel.shape)
    for band in mel_bands(mel):
        whole[band.bins, band.mels] = band.weights
        with pytest.raises(ValueError, match="read-only"):
            band.weights[...] = 0
    np.testing.assert_array_equal(whole, mel)


@pytest.mark.parametrize("empty", [slice(5, 6), slice(16, 32), slice(0, 64)])
def test_columns_of_zeros(empty):
    """A band without weights lies at the floor; a matrix of zeros makes silence of everything."""
    mel = mel_filters(SEA)
    mel[:, empty] = 0.0
    windows = sounds(8000)[:2]
    found = melspectrogram(windows, SEA, mel_bands(mel))
    for window, logmel in zip(windows, found):
        expected = oracles.melspectrogram(window, SEA, mel.astype(np.float64))
        np.testing.assert_allclose(logmel, expected, rtol=0, atol=1e-3)
    assert (found[:, empty] == (0.0 if empty == slice(0, 64) else -80.0)).all()


def hertz(mel, scale):
    """Mel to Hz, one by one."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


@pytest.mark.parametrize("frontend", [SEA, SPARSE, OPENL3["mel128"], OPENL3["mel256"], SEA._replace(scale="slaney")])
def test_mel_filters_are_triangles_of_unit_area(frontend):
    mel = mel_filters(frontend).astype(np.float64)
    width = frontend.sr / frontend.n_fft  # Hz per bin
    top = 2595 * np.log10(1 + frontend.sr / 1400)
    if frontend.scale == "slaney":
        top = 15 + 27 * np.log(frontend.sr / 2000) / np.log(6.4)
    points = np.array([hertz(mel, frontend.scale) for mel in np.linspace(0, top, frontend.n_mels + 2)])
    bins = np.arange(len(mel)) * width
    for band in range(frontend.n_mels):
        low, centre, high = points[band : band + 3]
        expected = np.interp(bins, [low, centre, high], [0, 2 / (high - low), 0])
        np.testing.assert_allclose(mel[:, band], expected, rtol=1e-5, atol=1e-9)
    wide = np.diff(points)[:-1] > 6 * width
    np.testing.assert_allclose((mel.sum(axis=0) * width)[wide], 1.0, atol=0.02)


def test_bins_of_the_linear_scale_are_kept():
    np.testing.assert_array_equal(mel_filters(OPENL3["linear"]), np.eye(257))


def test_two_bands_of_the_sparse_front_end_are_empty():
    assert (mel_filters(SPARSE).max(axis=0) == 0).sum() == 2


@pytest.mark.parametrize("model", ["sea-64", "sparse-ft-95.45"])
def test_golden_spectrograms(shared, model):
    """Mean difference small; the largest, in empty bands, is the float32 noise of the original stack."""
    from edgel3_np.audio import open_audio
    from edgel3_np.framing import windows
    from edgel3_np.resample import resample

    frontend = SEA if model == "sea-64" else SPARSE
    bands = formula(frontend)
    with np.load(shared / "golden" / f"{model}.npz") as archive:
        golden = {key: archive[key] for key in archive.files if key.endswith("melspectrogram")}
    names = [key.split("|")[0] for key in golden]
    assert len(names) == 9
    for name in names:
        with open_audio(next((shared / "audio").glob(f"{name}.*"))) as (sr, blocks):
            pieces = windows(resample(blocks, sr, frontend.sr), frontend.sr, frontend.sr, frontend.sr // 2, 1)
            found = np.concatenate([melspectrogram(piece, frontend, bands) for piece in pieces])
        expected = golden[f"{name}|melspectrogram"]
        n = 1 if name in ("chirp_1s", "chirp_8k") else len(expected)  # the second of these is not a whole window
        difference = np.abs(found[:n] - expected[:n])
        assert difference.mean() < 0.01, name
        assert difference.max() < 1.0, name
