import shutil

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np._version import CONTRACT
from edgel3_np.diagnostics import environment as module
from edgel3_np.diagnostics.environment import describe_models, environment
from edgel3_np.weights.locate import PATH_VARIABLE
from edgel3_np.weights.registry import BUNDLED_SHA256


def test_versions_and_hardware():
    facts = environment()
    assert (facts["edgel3_np"], facts["contract"]) == (edgel3_np.__version__, CONTRACT)
    assert (facts["numpy"], facts["soundfile"]) == (np.__version__, soundfile.__version__)
    assert facts["libsndfile"] == soundfile.__libsndfile_version__
    assert facts["cores"] >= 1 and all(facts.values())


def test_packages_that_are_not_installed(monkeypatch):
    """soundfile raises OSError where libsndfile is missing."""

    def absent(name):
        raise {"soundfile": OSError, "scipy": ImportError}[name](name) if name != "numpy" else AssertionError

    monkeypatch.setattr(module, "import_module", lambda name: np if name == "numpy" else absent(name))
    facts = environment()
    assert facts["soundfile"] == facts["libsndfile"] == "cannot load its library, libsndfile"
    assert facts["scipy"] == "not installed"
    assert facts["numpy"] == np.__version__


def test_an_unknown_processor(monkeypatch):
    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr("builtins.open", forbid)
    monkeypatch.setattr(module.platform, "processor", str)
    assert environment()["cpu"] == "unknown"


@pytest.mark.parametrize("name, shipped", [("small", None), ("pico-64", False)])
def test_models_are_described(small_npz, tmp_path, monkeypatch, name, shipped):
    """A file with the name of the bundled model is found first, and is not taken for the bundled model."""
    path = shutil.copy(small_npz, tmp_path / f"{name}.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    found = {model["name"]: model for model in describe_models()}
    assert set(found) == {name, "broken", *BUNDLED_SHA256}
    assert found[name] == {
        "name": name,
        "path": str(path),
        "bytes": small_npz.stat().st_size,
        "sha256": edgel3_np.load_model(path).sha256,
        "sr": 8000,
        "dims": [16],
        "shipped": shipped,
    }
    assert set(found["broken"]) == {"name", "path", "error"} and "zip" in found["broken"]["error"]
    if name != "pico-64":
        pico = found["pico-64"]
        assert (pico["sha256"], pico["shipped"]) == (BUNDLED_SHA256["pico-64"], True)
