import dataclasses
import os
import sys
from pathlib import Path

import factory
import numpy as np
import pytest

import edgel3_np
from edgel3_np import EdgeL3Error, list_models, load_model, models
from edgel3_np.metadata import BLOBS, RELEASED, SEA, SHIPPED, released_file
from edgel3_np.models import DEFAULT, PATH_VARIABLE, user_directory
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
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.layers[0].kernel = "direct"
    arrays = [band.weights for band in network.bands]
    for layer in network.layers:
        arrays += layer.weights if isinstance(layer.weights, tuple) else [layer.weights.data]
    assert len(arrays) > 8
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(array)[...] = 0


def test_search_order(weights_dirs):
    assert load_model("mine").sha256 == load_model(weights_dirs / "1" / "mine.npz").sha256
    assert load_model("other").sha256 == load_model(weights_dirs / "2" / "other.npz").sha256
    found = list_models()
    assert found["mine"] == weights_dirs / "1" / "mine.npz" and found["other"] == weights_dirs / "2" / "other.npz"


def test_the_users_models_come_last(weights_dirs, monkeypatch, tmp_path):
    directory = tmp_path / "data" / "edgel3_np"
    directory.mkdir(parents=True)
    for name in ("mine", "own", DEFAULT):
        save_weights(directory / f"{name}.npz", factory.random_weights(seed=9))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = list_models()
    assert found["own"] == directory / "own.npz" and found["mine"] == weights_dirs / "1" / "mine.npz"
    assert load_model().sha256 == SHIPPED[DEFAULT]


@pytest.mark.parametrize(
    "platform, variables, expected",
    [
        ("linux", {}, "/home/me/.local/share/edgel3_np"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/edgel3_np"),
        ("linux", {"XDG_DATA_HOME": "data"}, "/home/me/.local/share/edgel3_np"),  # must be absolute, by its definition
        ("darwin", {}, "/home/me/Library/Application Support/edgel3_np"),
        ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/edgel3_np"),
        ("win32", {}, "/home/me/AppData/Local/edgel3_np"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="paths as POSIX writes them")
def test_the_users_directory(monkeypatch, platform, variables, expected):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert user_directory() == expected
    assert models._directories()[-1] == expected


def test_nobody_without_a_home_reads_models_from_where_he_happens_to_be(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert user_directory() is None
    assert all(os.path.isabs(directory) for directory in models._directories())


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
    for part in (name, "".join(released_file(name)), f"python -m edgel3_np install {name}`", PATH_VARIABLE):
        assert part in str(caught.value)


def test_released_names_are_upstreams(shared):
    import json

    files = json.loads((shared / "weights" / "upstream_files.json").read_text())["files"]
    expected = {entry["model"]: (entry["base_address"], entry["file"]) for entry in files}
    assert {name: released_file(name) for name in RELEASED} == expected
    assert {entry["model"]: entry["git_blob_sha1"] for entry in files} == BLOBS


def test_an_unknown_name_lists_what_there_is(weights_dirs):
    with pytest.raises(EdgeL3Error, match="mine, other.*sea-64.*found 'sea-65'"):
        load_model("sea-65")


@pytest.mark.parametrize("model", [None, 3, "", b"sea-64", ["sea-64"]])
def test_what_is_no_model(model):
    with pytest.raises(EdgeL3Error, match="expected a model's name"):
        load_model(model)
    with pytest.raises(EdgeL3Error, match="model"):
        edgel3_np.embed(np.zeros(8000), 8000, model=model)


def test_the_default_ships_and_is_the_one_that_is_pinned():
    model = load_model()
    assert (model.name, model.sr, model.dim) == (DEFAULT, 8000, 64)
    assert model.sha256 == SHIPPED[DEFAULT] == load_model(list_models()[DEFAULT]).sha256
    assert list_models()[DEFAULT].stat().st_size <= 150_000


def test_another_file_of_the_defaults_name_is_refused(tmp_path, monkeypatch):
    save_weights(tmp_path / f"{DEFAULT}.npz", factory.random_weights(name=DEFAULT))
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    with pytest.raises(EdgeL3Error, match="expected the pico-64 of this version"):
        load_model()
    assert load_model(tmp_path / f"{DEFAULT}.npz").dim == 16


def test_without_its_weights_the_default_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("edgel3_np.models._directories", list)
    with pytest.raises(EdgeL3Error, match="pico-64 does not come with this copy"):
        load_model()


def test_models_of_several_sizes(tmp_path):
    path = tmp_path / "grid.npz"
    save_weights(path, factory.random_weights()._replace(grid=(2, 3)))
    sound = np.random.default_rng(0).standard_normal(9000)
    assert [load_model(path, dim).dim for dim in (None, 96, 16)] == [96, 96, 16]
    long, short = (edgel3_np.embed(sound, 8000, model=path, dim=dim).embedding for dim in (96, 16))
    assert long.reshape(-1, 6, 16).max(axis=1).tobytes() == short.tobytes()
    for dim in (6144, 0, True, "96", 16.5):
        with pytest.raises(EdgeL3Error, match="dim: expected 96 or 16, of which small has"):
            load_model(path, dim)
    with pytest.raises(EdgeL3Error, match="dim: expected 96, with which"):
        edgel3_np.embed(sound, 8000, model=load_model(path), dim=16)
    with pytest.raises(EdgeL3Error, match="dim: expected 64, of which pico-64 has"):
        load_model(dim=512)


def test_model_without_its_file_name_keeps_its_own(small_npz):
    assert load_model(small_npz).name == "small"
