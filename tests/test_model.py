import dataclasses

import factory
import numpy as np
import pytest

import edgel3_np
from edgel3_np import EdgeL3Error, list_models, load_model
from edgel3_np.weights.format import save_weights
from edgel3_np.weights.locate import PATH_VARIABLE
from edgel3_np.weights.registry import BUNDLED_SHA256, DEFAULT, SEA


def test_attributes_of_a_model(small_model):
    assert (small_model.name, small_model.sr, small_model.dim) == ("small", 8000, 16)
    assert (small_model.window, small_model.hop, small_model.frontend) == (8000, 160, SEA)
    assert small_model.provenance["license"] == "MIT" and len(small_model.sha256) == 64


def test_a_model_cannot_be_changed(small_model):
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_model.name = "other"
    with pytest.raises(TypeError):
        small_model.provenance["license"] = "none"
    network = small_model.network
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.layers[0].algorithm = "direct"
    arrays = [band.weights for band in network.bands]
    for layer in network.layers:
        arrays += layer.weights if isinstance(layer.weights, tuple) else [layer.weights.data]
    assert len(arrays) > 8
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(array)[...] = 0


@pytest.mark.parametrize("model", [None, 3, "", b"sea-64", ["sea-64"]])
def test_values_that_are_no_model(model):
    with pytest.raises(EdgeL3Error, match="expected a model's name"):
        load_model(model)
    with pytest.raises(EdgeL3Error, match="model"):
        edgel3_np.embed(np.zeros(8000), 8000, model=model)


def test_the_default_model_is_bundled_and_has_the_pinned_hash():
    model = load_model()
    assert (model.name, model.sr, model.dim) == (DEFAULT, 8000, 64)
    assert model.sha256 == BUNDLED_SHA256[DEFAULT] == load_model(list_models()[DEFAULT]).sha256
    assert list_models()[DEFAULT].stat().st_size <= 150_000


def test_another_file_with_the_name_of_the_default_model_is_refused(tmp_path, monkeypatch):
    save_weights(tmp_path / f"{DEFAULT}.npz", factory.random_weights(name=DEFAULT))
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    with pytest.raises(EdgeL3Error, match="expected the pico-64 of this version"):
        load_model()
    assert load_model(tmp_path / f"{DEFAULT}.npz").dim == 16


def test_models_of_several_sizes(tmp_path):
    path = tmp_path / "grid.npz"
    save_weights(path, factory.random_weights()._replace(pool_grid=(2, 3)))
    sound = np.random.default_rng(0).standard_normal(9000)
    assert [load_model(path, dim).dim for dim in (None, 96, 16)] == [96, 96, 16]
    long, short = (edgel3_np.embed(sound, 8000, model=path, dim=dim).embedding for dim in (96, 16))
    assert long.reshape(-1, 6, 16).max(axis=1).tobytes() == short.tobytes()
    for dim in (6144, 0, True, "96", 16.5):
        with pytest.raises(EdgeL3Error, match="dim: expected 96 or 16 for small"):
            load_model(path, dim)
    with pytest.raises(EdgeL3Error, match="dim: expected 96, with which"):
        edgel3_np.embed(sound, 8000, model=load_model(path), dim=16)
    with pytest.raises(EdgeL3Error, match="dim: expected 64 for pico-64"):
        load_model(dim=512)


def test_the_name_of_a_model_is_that_in_its_file(small_npz):
    assert load_model(small_npz).name == "small"
