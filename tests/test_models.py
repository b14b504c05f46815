import dataclasses
import os
from pathlib import Path

import factory
import numpy as np
import pytest

import edgel3_np
from edgel3_np import EdgeL3Error, list_models, load_model
from edgel3_np.metadata import RELEASED, SEA, released_file
from edgel3_np.models import DEFAULT, PATH_VARIABLE
from edgel3_np.weights import save_weights


@pytest.fixture
def weights_dirs(tmp_path, monkeypatch):
    """Two directories on the search path; the second has another model of the first's name."""
    for number in (1, 2):
        directory = tmp_path / str(number)
        directory.mkdir()
        save_weights(directory / "mine.npz", factory.random_weights(seed=number))
    save_weights(tmp_path / "2" / "other.npz", factory.random_weights(seed=3))
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join([str(tmp_path / "1"), "", str(tmp_path / "2"), "/no/such"]))
    return tmp_path


def test_facts(small_model):
    assert (small_model.name, small_model.sr, small_model.dim) == ("small", 8000, 16)
    assert (small_model.window, small_model.hop, small_model.frontend) == (8000, 160, SEA)
    assert small_model.provenance["license"] == "MIT" and len(small_model.sha256) == 64


def test_frozen(small_model):
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_model.name = "other"
    with pytest.raises(TypeError):
        small_model.provenance["license"] = "none"
    network = small_model.network
    for array in [network.mel, *(layer.bias for layer in network.layers), *(la.weights for la in network.layers)]:
        with pytest.raises(ValueError, match="read-only"):
            array.reshape(-1)[...] = 0


def test_search_order(weights_dirs):
    assert load_model("mine").sha256 == load_model(weights_dirs / "1" / "mine.npz").sha256
    assert load_model("other").sha256 == load_model(weights_dirs / "2" / "other.npz").sha256
    found = list_models()
    assert found["mine"] == weights_dirs / "1" / "mine.npz" and found["other"] == weights_dirs / "2" / "other.npz"


def test_path_is_not_looked_up_as_a_name(weights_dirs, monkeypatch):
    monkeypatch.chdir(weights_dirs / "2")
    assert load_model("mine.npz").sha256 != load_model("mine").sha256
    assert load_model(os.path.join(".", "other.npz")).sha256 == load_model(Path("other.npz")).sha256
    with pytest.raises(EdgeL3Error, match="No such file"):
        load_model(Path("mine"))


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_a_released_model_that_is_missing_says_how_to_get_it(name, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, "/no/such")
    with pytest.raises(EdgeL3Error) as caught:
        load_model(name)
    for part in (name, released_file(name), "convert_weights.py", PATH_VARIABLE):
        assert part in str(caught.value)


def test_released_names_are_upstreams(shared):
    import json

    files = json.loads((shared / "weights" / "upstream_files.json").read_text())["files"]
    expected = {entry["model"]: entry["file"] for entry in files if not entry["model"].startswith("openl3")}
    assert {name: released_file(name) for name in RELEASED} == expected


def test_an_unknown_name_lists_what_there_is(weights_dirs):
    with pytest.raises(EdgeL3Error, match="mine, other.*sea-64.*found 'sea-65'"):
        load_model("sea-65")


@pytest.mark.parametrize("model", [None, 3, "", b"sea-64", ["sea-64"]])
def test_what_is_no_model(model):
    with pytest.raises(EdgeL3Error, match="expected a model's name"):
        load_model(model)
    with pytest.raises(EdgeL3Error, match="model"):
        edgel3_np.embed(np.zeros(8000), 8000, model=model)


def test_default_model_loads_or_says_how_to_get_it():
    if DEFAULT in list_models():
        assert load_model().name == DEFAULT
    else:
        with pytest.raises(EdgeL3Error, match=DEFAULT):
            load_model()


def test_model_without_its_file_name_keeps_its_own(small_npz):
    assert load_model(small_npz).name == "small"
