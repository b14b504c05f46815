import json
import os
import sys
from pathlib import Path

import factory
import pytest

from edgel3_np import EdgeL3Error, list_models, load_model
from edgel3_np.locate import DEFAULT, PATH_VARIABLE, directories, user_directory
from edgel3_np.metadata import BLOBS, RELEASED, SHIPPED, released_file
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
    assert directories()[-1] == expected


def test_nobody_without_a_home_reads_models_from_where_he_happens_to_be(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert user_directory() is None
    assert all(os.path.isabs(directory) for directory in directories())


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
    files = json.loads((shared / "weights" / "upstream_files.json").read_text())["files"]
    expected = {entry["model"]: (entry["base_address"], entry["file"]) for entry in files}
    assert {name: released_file(name) for name in RELEASED} == expected
    assert {entry["model"]: entry["git_blob_sha1"] for entry in files} == BLOBS


def test_an_unknown_name_lists_what_there_is(weights_dirs):
    with pytest.raises(EdgeL3Error, match="mine, other.*sea-64.*found 'sea-65'"):
        load_model("sea-65")


def test_without_its_weights_the_default_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("edgel3_np.locate.directories", list)
    with pytest.raises(EdgeL3Error, match="pico-64 does not come with this copy"):
        load_model()
