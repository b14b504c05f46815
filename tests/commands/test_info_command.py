import json
import shutil

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np._version import CONTRACT
from edgel3_np.commands import main as cli
from edgel3_np.weights.locate import PATH_VARIABLE
from edgel3_np.weights.registry import BUNDLED_SHA256


@pytest.fixture
def folder(tmp_path, small_npz, monkeypatch):
    """Make a directory with a good model and a broken one."""
    shutil.copy(small_npz, tmp_path / "small.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    return tmp_path


def test_json(folder, capsys):
    assert cli.main(["info", "--json"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    environment = facts["environment"]
    assert (environment["edgel3_np"], environment["contract"]) == (edgel3_np.__version__, CONTRACT)
    assert (environment["numpy"], environment["soundfile"]) == (np.__version__, soundfile.__version__)
    assert environment["libsndfile"] == soundfile.__libsndfile_version__
    assert environment["cores"] >= 1 and all(environment.values())
    assert facts["directories"][0] == str(folder) and captured.err == ""
    assert f"{facts['package']}/__init__.py" == edgel3_np.__file__
    models = {model["name"]: model for model in facts["models"]}
    assert set(models) == {"small", "broken", *BUNDLED_SHA256}
    small, pico = models["small"], models["pico-64"]
    assert small["sha256"] == edgel3_np.load_model(folder / "small.npz").sha256 and small["shipped"] is None
    assert (small["bytes"], small["sr"], small["dims"]) == ((folder / "small.npz").stat().st_size, 8000, [16])
    assert (pico["sha256"], pico["shipped"]) == (BUNDLED_SHA256["pico-64"], True)
    assert "zip" in models["broken"]["error"] and "sha256" not in models["broken"]


def test_text(folder, small_npz, capsys):
    shutil.copy(small_npz, folder / "pico-64.npz")  # a file with the name of the bundled model
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (
        f"edgel3_np    {edgel3_np.__version__}",
        f"  {folder}\n",
        "8000 Hz, 16 numbers",
        "not usable: ",
        "NOT the file that comes with this version",
    ):
        assert text in out


def test_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["info", "more"])
    assert stopped.value.code == 2 and "edgel3-np info" in capsys.readouterr().err
