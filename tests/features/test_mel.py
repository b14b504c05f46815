import numpy as np
import pytest
from feature_cases import FRONT_ENDS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgel3_np.features.mel import BAND, mel_bands, mel_filterbank, mel_frequencies
from edgel3_np.weights.registry import OPENL3_FRONTENDS, SEA, SPARSE


@pytest.mark.parametrize("frontend", [*FRONT_ENDS, SPARSE])
def test_bands_are_the_mel_matrix(frontend):
    """Together, the bands are equal to the matrix, and so are their products with a power spectrum."""
    mel = mel_filterbank(frontend)
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
    if frontend.n_mels > 3 * BAND:  # bands leave out most zeros
        assert sum(band.weights.size for band in bands) < mel.size / 2


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 50), st.floats(0, 1), st.integers(0, 2**32 - 1))
@example(20, 5, 0.0, 0)
def test_bands_of_any_matrix(n_mels, bins, density, seed):
    """The columns of a stored matrix may be empty, or have another shape than a triangle."""
    rng = np.random.default_rng(seed)
    mel = (rng.random((bins, n_mels)) * (rng.random((bins, n_mels)) < density)).astype(np.float32)
    whole = np.zeros(mel.shape)
    for band in mel_bands(mel):
        whole[band.bins, band.mels] = band.weights
        with pytest.raises(ValueError, match="read-only"):
            band.weights[...] = 0
    np.testing.assert_array_equal(whole, mel)


def hertz(mel, scale):
    """Convert one mel frequency to Hz."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


@pytest.mark.parametrize(
    "frontend", [SEA, SPARSE, OPENL3_FRONTENDS["mel128"], OPENL3_FRONTENDS["mel256"], SEA._replace(mel_scale="slaney")]
)
def test_filters_are_triangles_of_unit_area(frontend):
    mel = mel_filterbank(frontend).astype(np.float64)
    width = frontend.sr / frontend.n_fft  # Hz per bin
    top = 2595 * np.log10(1 + frontend.sr / 1400)
    if frontend.mel_scale == "slaney":
        top = 15 + 27 * np.log(frontend.sr / 2000) / np.log(6.4)
    points = np.array([hertz(mel, frontend.mel_scale) for mel in np.linspace(0, top, frontend.n_mels + 2)])
    bins = np.arange(len(mel)) * width
    for band in range(frontend.n_mels):
        low, centre, high = points[band : band + 3]
        expected = np.interp(bins, [low, centre, high], [0, 2 / (high - low), 0])
        np.testing.assert_allclose(mel[:, band], expected, rtol=1e-5, atol=1e-9)
    wide = np.diff(points)[:-1] > 6 * width
    np.testing.assert_allclose((mel.sum(axis=0) * width)[wide], 1.0, atol=0.02)


def test_the_linear_scale_keeps_the_bins():
    np.testing.assert_array_equal(mel_filterbank(OPENL3_FRONTENDS["linear"]), np.eye(257))


def test_two_bands_of_the_sparse_front_end_are_empty():
    assert (mel_filterbank(SPARSE).max(axis=0) == 0).sum() == 2


@pytest.mark.parametrize("frontend", [SEA, SPARSE, *OPENL3_FRONTENDS.values()])
def test_frequencies_are_the_corners_of_the_filters(frontend):
    corners = mel_frequencies(frontend)
    assert corners.shape == (frontend.n_mels + 2,) and (np.diff(corners) > 0).all()
    if frontend.mel_scale != "linear":
        assert corners[0] == 0 and abs(corners[-1] - frontend.sr / 2) < 1e-6
    bins = np.arange(1 + frontend.n_fft // 2) * frontend.sr / frontend.n_fft
    for band, weights in enumerate(mel_filterbank(frontend).T):
        inside = bins[weights > 0]
        assert ((corners[band] <= inside) & (inside <= corners[band + 2])).all()
