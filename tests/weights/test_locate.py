import os
import sys
from pathlib import Path

import factory
import pytest

from edgel3_np import EdgeL3Error, list_models, load_model
from edgel3_np.weights.format import save_weights
from edgel3_np.weights.locate import PATH_VARIABLE, directories, user_directory
from edgel3_np.weights.registry import BUNDLED_SHA256, DEFAULT, RELEASED


@pytest.fixture
def weights_dirs(tmp_path, monkeypatch):
    """Make two directories on the search path, each with its own model named `mine`."""
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
    assert load_model().sha256 == BUNDLED_SHA256[DEFAULT]


@pytest.mark.parametrize(
    "platform, variables, expected",
    [
        ("linux", {}, "/home/me/.local/share/edgel3_np"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/edgel3_np"),
        ("linux", {"XDG_DATA_HOME": "data"}, "/home/me/.local/share/edgel3_np"),  # ignored, as it is not absolute
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


def test_without_a_home_directory_no_relative_directory_is_searched(monkeypatch):
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
    for part in (
        name,
        f"python -m edgel3_np install {name}`",
        PATH_VARIABLE,
    ):
        assert part in str(caught.value)


def test_an_unknown_name_lists_what_there_is(weights_dirs):
    with pytest.raises(EdgeL3Error, match="mine, other.*sea-64.*found 'sea-65'"):
        load_model("sea-65")


def test_without_its_weights_the_default_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("edgel3_np.weights.locate.directories", list)
    with pytest.raises(EdgeL3Error, match="pico-64 does not come with this copy"):
        load_model()


def copy_of_the_package(folder):
    """Copy the package, without weights, into a folder; return a function that lists the models of the copy."""
    import shutil
    import subprocess

    import edgel3_np

    package = Path(edgel3_np.__file__).parent
    shutil.copytree(package, folder / "edgel3_np", ignore=shutil.ignore_patterns("_weights", "__pycache__"))

    def models():
        code = "import edgel3_np; print(*edgel3_np.list_models())"
        environment = {"PYTHONPATH": str(folder), "XDG_DATA_HOME": str(folder / "none")}
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    return models


@pytest.mark.parametrize(
    "cfg, expected",
    [
        ("[metadata]\nname = edgel3_np\n", ["trap"]),  # a checkout of this project that is not installed
        ("[metadata]\nname=edgel3_np\n", ["trap"]),
        ("[metadata]\nname = other\n", []),
        ("[metadata]\nname = edgel3_np_server\n", []),
        ("[options]\ninstall_requires = edgel3_np\n", []),
        ("", []),
        (None, []),
    ],
)
def test_weights_of_another_project_are_no_models(tmp_path, cfg, expected):
    """The copy of the package lies beside the setup.cfg and the weights of another project."""
    models = copy_of_the_package(tmp_path)
    (tmp_path / "weights").mkdir()
    save_weights(tmp_path / "weights" / "trap.npz", factory.random_weights())
    if cfg is not None:
        (tmp_path / "setup.cfg").write_text(cfg)
    assert models() == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_setup_cfg_that_is_a_fifo_does_not_block(tmp_path):
    models = copy_of_the_package(tmp_path)
    os.mkfifo(tmp_path / "setup.cfg")
    assert models() == []
