import json
import shutil

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np import cli, info
from edgel3_np.locate import PATH_VARIABLE
from edgel3_np.metadata import CONTRACT, SHIPPED


@pytest.fixture
def folder(tmp_path, small_npz, monkeypatch):
    """A directory where models are looked for: a good one, and a broken one."""
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
    models = {model["name"]: model for model in facts["models"]}
    assert set(models) == {"small", "broken", *SHIPPED}
    small, pico = models["small"], models["pico-64"]
    assert small["sha256"] == edgel3_np.load_model(folder / "small.npz").sha256 and small["shipped"] is None
    assert (small["bytes"], small["sr"], small["dims"]) == ((folder / "small.npz").stat().st_size, 8000, [16])
    assert (pico["sha256"], pico["shipped"]) == (SHIPPED["pico-64"], True)
    assert "zip" in models["broken"]["error"] and "sha256" not in models["broken"]


def test_text(folder, small_npz, capsys):
    shutil.copy(small_npz, folder / "pico-64.npz")  # takes the shipped one's name
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (
        f"edgel3_np    {edgel3_np.__version__}",
        f"  {folder}\n",
        "8000 Hz, 16 numbers",
        "not usable: ",
        "NOT the one that came with this version",
    ):
        assert text in out


def test_what_is_not_installed(monkeypatch):
    """soundfile raises OSError where libsndfile is missing."""

    def absent(name):
        raise {"soundfile": OSError, "scipy": ImportError}[name](name) if name != "numpy" else AssertionError

    monkeypatch.setattr(info, "import_module", lambda name: np if name == "numpy" else absent(name))
    facts = info.environment()
    assert facts["soundfile"] == facts["libsndfile"] == facts["scipy"] == "not installed"
    assert facts["numpy"] == np.__version__


def test_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["info", "more"])
    assert stopped.value.code == 2 and "edgel3-np info" in capsys.readouterr().err
