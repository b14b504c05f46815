"""Weight files of networks for streams: they come back as they were written, and hostile ones are refused."""

import io

import factory
import numpy as np
import pytest
from attacks import array_of, changed, members, npy, pack, replaced, told, with_header
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.weights.columns import ColumnWeights
from edgel3_np.weights.format import load_weights, parse_weights, save_weights
from edgel3_np.weights.integers import EXACT, TOP
from edgel3_np.weights.locate import find_model


def content_of(weights):
    file = io.BytesIO()
    save_weights(file, weights)
    return file.getvalue()


GOOD = content_of(factory.column_weights())


def test_save_and_load():
    weights = factory.column_weights()
    loaded = parse_weights(GOOD, "there")
    assert isinstance(loaded, ColumnWeights) and loaded.filters == factory.STREAM and loaded.dims == (16,)
    assert (loaded.name, loaded.frontend, loaded.provenance) == (weights.name, weights.frontend, weights.provenance)
    for part in ("kernels", "factors", "biases"):
        for found, expected in zip(getattr(loaded, part), getattr(weights, part)):
            assert found.dtype == expected.dtype and not found.flags.writeable
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(loaded.silence, weights.silence)
    assert content_of(loaded) == GOOD


def without(content, name):
    files = members(content)
    del files[f"{name}.npy"]
    return pack(files)


def overflowing(good):
    """A filter whose sums could reach 2**24: 127 * 255 * 1152 of its weights are enough."""
    wide = factory.column_weights((4, 4, 6, 8, 8, 64, 200, 200, 10, 7, 16))
    kernel = np.full(wide.kernels[7].shape, 127, np.int8)
    assert 127 * TOP * kernel[..., 0].size >= EXACT
    return content_of(wide._replace(kernels=(*wide.kernels[:7], kernel, *wide.kernels[8:])))


BAD = {
    "a member is missing": (lambda good: without(good, "conv9.bias"), "missing member 'conv9.bias'"),
    "silence is missing": (lambda good: without(good, "silence"), "missing member 'silence'"),
    "members of the other kind": (
        lambda good: replaced(good, "norm0", np.zeros((4, 1), "f4")),
        "unknown member 'norm0'",
    ),
    "a mel matrix": (lambda good: replaced(good, "mel", np.zeros((513, 64), "f4")), "unknown member 'mel'"),
    "weights of 16 bits": (
        lambda good: replaced(good, "conv2.weight", array_of(good, "conv2.weight").astype("i2")),
        "'conv2.weight': expected dtype |i1",
    ),
    "weights of another shape": (
        lambda good: replaced(good, "conv7.weight", np.zeros((3, 3, 10, 12), "i1")),
        "'conv7.weight': expected shape (3, 1, 10, 12)",
    ),
    "the head without rows of levels": (
        lambda good: replaced(good, "conv9.weight", np.zeros((1, 3, 9, 10), "i1")),
        "'conv9.weight': expected shape (1, 3, 11, 10)",
    ),
    "a bias for no column": (
        lambda good: replaced(good, "conv9.bias", np.zeros(10, "f4")),
        "'conv9.bias': expected shape (10, 10)",
    ),
    "a factor of zero": (
        lambda good: changed(good, "conv3.factor", 1, 0.0),
        "'conv3.factor': expected factors above 0",
    ),
    "a factor below zero": (lambda good: changed(good, "conv3.factor", 1, -1.0), "factors above 0"),
    "a factor that is NaN": (lambda good: changed(good, "conv3.factor", 1, np.nan), "'conv3.factor': expected finite"),
    "a bias that is infinite": (
        lambda good: changed(good, "conv9.bias", (3, 1), np.inf),
        "'conv9.bias': expected finite",
    ),
    "silence that is NaN": (lambda good: changed(good, "silence", 0, np.nan), "'silence': expected finite"),
    "sums that float32 rounds": (overflowing, "'conv8.weight': expected sums of products below 2**24"),
    "stream is false": (lambda good: told(good, network__stream=False), "network.stream: true"),
    "stream is 1": (lambda good: told(good, network__stream=1), "network.stream: true"),
    "a grid": (lambda good: told(good, network__grid=[1, 1]), "network: filters and stream"),
    "eight convolutions": (lambda good: told(good, network__filters=[4] * 8), "network.filters: 11 whole numbers"),
    "filters absurd": (lambda good: told(good, network__filters=[10**9] * 11), "network.filters: 11 whole numbers"),
    "filters other": (lambda good: told(good, network__filters=[5] * 11), "'conv1.weight': expected shape"),
    "magnitudes": (lambda good: told(good, frontend__spectrum="magnitude"), "frontend.n_fft: a power of two"),
    "no padding": (lambda good: told(good, frontend__padding="none"), "frontend.n_fft: a power of two"),
    "no power of two": (lambda good: told(good, frontend__n_fft=1000), "frontend.n_fft: a power of two"),
    "another rate": (lambda good: told(good, frontend__sr=16000), "frontend.hop_length: sr / 50"),
    "odd bands": (lambda good: told(good, frontend__n_mels=60), "frontend.n_mels: a multiple of 8"),
    "a zip bomb": (
        lambda good: replaced(good, "conv2.weight", members(good)["conv2.weight.npy"][:128] + bytes(1 << 28)),
        "in the zip directory",
    ),
    "an absurd shape": (
        lambda good: with_header(
            good, "conv2.weight", b"{'descr': '|i1', 'fortran_order': False, 'shape': (999999999999,), }"
        ),
        "'conv2.weight': expected shape (3, 3, 4, 4)",
    ),
    "a pickled object": (
        lambda good: replaced(good, "conv2.weight", npy(np.array([print], object), allow_pickle=True)),
        "'conv2.weight': expected a readable npy array",
    ),
    "the name of a released model": (lambda good: told(good, name="sea-64"), "that of sea-64"),
}


@pytest.mark.parametrize("name", BAD)
def test_attacks_are_refused_with_words(name):
    attack, message = BAD[name]
    with pytest.raises(EdgeL3Error) as caught:
        parse_weights(attack(GOOD), "bad.npz")
    assert message in str(caught.value) and "bad.npz" in str(caught.value) and "found" in str(caught.value)


@given(st.data())
def test_damage_anywhere_is_refused_or_changes_only_values(data):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        weights = parse_weights(bytes(damaged), "damaged")
    except EdgeL3Error as error:
        assert "damaged" in str(error)
    else:
        assert weights.filters == factory.STREAM


def test_the_shipped_file_is_made_of_the_trained_network(tmp_path):
    from tools.distill.stream_convert import to_weights

    shipped = load_weights(find_model("pico-64-stream"))
    save_weights(tmp_path / "again.npz", to_weights(ROOT / "tools" / "distill" / "pico-64-stream.npz"))
    assert load_weights(tmp_path / "again.npz").sha256 == shipped.sha256
    assert (tmp_path / "again.npz").stat().st_size <= 200_000


def test_the_length_of_an_embedding():
    assert edgel3_np.load_model("pico-64-stream", dim=64).dim == 64
    with pytest.raises(EdgeL3Error, match="dim: expected 64 for pico-64-stream, found 512"):
        edgel3_np.load_model("pico-64-stream", dim=512)
