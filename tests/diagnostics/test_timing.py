import os
import shutil
import subprocess
import sys

import factory
import pytest

import edgel3_np
from edgel3_np import load_model
from edgel3_np.diagnostics import checks, timing
from edgel3_np.diagnostics.environment import environment
from edgel3_np.network import plan as planning


def test_measure_makes_one_call_to_warm_up():
    calls = []
    times = timing.measure(lambda: calls.append(1), 4)
    assert len(calls) == 5 and times["min"] <= times["median"] <= times["max"]


def test_rates_of_layers(small_npz):
    network = load_model(small_npz).network
    rows = timing.time_layers(network, 1)
    assert [row["layer"] for row in rows] == [layer.name for layer in network.layers]
    for layer, planned in zip(rows, network.layers):
        channels, frames, mels = layer["map"]
        dense = 2 * 9 * channels * layer["filters"] * frames * mels
        assert layer["effective"] == pytest.approx(dense / layer["measured"] / 1e3)
        assert layer["algorithm"] == planned.algorithm and layer["estimated"] == planned.cost


def test_fused_layers_are_one_row(monkeypatch):
    """What is computed together is timed together."""
    monkeypatch.setattr(planning, "FUSED_FLOATS", 0)
    chosen = {(1, "direct"): 1.0, (8, "winograd"): 1.0}
    monkeypatch.setattr(planning, "estimate_cost", lambda name, _, shape, *more: chosen.get((shape[0], name), 2.0))
    network = planning.plan_network(factory.random_weights(filters=(8,) * 8))
    first, *others = timing.time_layers(network, 1)
    assert network.fused and first["layer"] == "conv1 and conv2"
    assert [row["layer"] for row in others] == [layer.name for layer in network.layers[2:]]
    a, b = network.layers[:2]
    assert first["estimated"] == a.cost + b.cost and first["algorithm"].startswith("direct and winograd")
    assert first["effective"] == pytest.approx((a.operations + b.operations) / first["measured"] / 1e3)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc/self/status")
def test_peak_memory(small_npz, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", checks.synthesise(8000, 2.0), 8000)
    assert 20 < timing.peak_memory(str(tmp_path / "a.wav"), str(small_npz)) < 500


def test_peak_memory_is_unknown_without_proc(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert timing.peak_memory() is None


def test_loaded_modules_are_seen(monkeypatch):
    """scipy.signal stands for this package, so scipy is loaded."""
    monkeypatch.setattr(timing, "PACKAGE", "scipy.signal")
    cost = timing.time_import(1)
    assert cost["scipy"] is cost["scipy.signal"] is True and cost["modules"] > 100


def test_a_new_process_imports_this_copy(monkeypatch, tmp_path):
    """It does not import a copy in the directory in which it starts."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text("")
    (tmp_path / "edgel3_np.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    code = "import mine, edgel3_np; print(edgel3_np.__file__)"
    assert timing.in_a_new_process(code).strip() == edgel3_np.__file__
    root = os.path.dirname(os.path.dirname(edgel3_np.__file__))
    assert timing.variables()["PYTHONPATH"].split(os.pathsep)[0] == os.path.realpath(root)


def test_a_new_process_imports_a_copy_that_lies_deeper(tmp_path):
    """The copy lies inside another package, under another name."""
    copy = tmp_path / "app" / "_vendor" / "sounds"
    shutil.copytree(os.path.dirname(edgel3_np.__file__), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for package in (copy.parent, copy.parent.parent):
        (package / "__init__.py").write_text("")
    code = "from app._vendor.sounds.diagnostics.timing import PACKAGE, in_a_new_process as new\n"
    code += "print(new(f'import {PACKAGE} as copy; print(copy.__file__)'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(copy / "__init__.py")


def test_without_soundfile_and_scipy(monkeypatch, small_npz):
    for name in ("soundfile", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    facts = environment()
    assert facts["soundfile"] == facts["libsndfile"] == facts["scipy"] == "not installed"
    assert timing.time_model(small_npz, 1)["seconds"] > 1


def test_the_model_of_another_version_is_refused(small_npz, tmp_path, monkeypatch):
    (tmp_path / "pico-64.npz").write_bytes(small_npz.read_bytes())
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(tmp_path))
    with pytest.raises(edgel3_np.EdgeL3Error, match="expected the pico-64 of this version"):
        timing.time_model("pico-64", 1)
