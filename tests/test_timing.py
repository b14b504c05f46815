import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import edgel3_np
from edgel3_np import info, load_model, timing


def test_measure_counts():
    calls = []
    times = timing.measure(lambda: calls.append(1), 4)
    assert len(calls) == 5 and times["min"] <= times["median"] <= times["max"]


def test_the_generated_sound_is_always_the_same():
    first, second = timing.synthesise(8000, 1.0), timing.synthesise(8000, 1.0)
    assert first.tobytes() == second.tobytes() and len(first) == 8000 and abs(first).max() <= 1


def test_the_shipped_model_agrees_with_its_golden_embedding():
    found = timing.check("pico-64")
    assert 0 < found["difference"] <= 1e-5 and 0 < found["golden"] <= 1e-5


def test_check_sees_a_wrong_golden_embedding(small_npz, tmp_path):
    path = Path(shutil.copy(small_npz, tmp_path))
    expected = load_model(path).embed(timing.synthesise(8000, 1.0), 8000, center=False).embedding[0]
    for factor, size in ((1.0, 0.0), (1.5, 1 / 3)):
        np.save(path.with_suffix(".golden.npy"), factor * expected)
        assert timing.check(path)["golden"] == pytest.approx(size, abs=1e-6)
    assert timing.check(path)["difference"] <= 1e-5


def test_rates_of_layers(small_npz):
    network = load_model(small_npz).network
    for layer, planned in zip(timing.time_layers(network, 1), network.layers):
        channels, frames, mels = layer["map"]
        dense = 2 * 9 * channels * layer["filters"] * frames * mels
        assert layer["effective"] == pytest.approx(dense / layer["measured"] / 1e3)
        assert layer["kernel"] == planned.kernel and layer["estimated"] == planned.cost


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc/self/status")
def test_peak_memory(small_npz, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", timing.synthesise(8000, 2.0), 8000)
    assert 20 < timing.peak_memory(str(tmp_path / "a.wav"), str(small_npz)) < 500


def test_what_an_import_loads_is_seen(monkeypatch):
    """Of a package that imports scipy.signal."""
    monkeypatch.setattr(timing, "__package__", "scipy.signal")
    cost = timing.time_import(1)
    assert cost["scipy"] is cost["scipy.signal"] is True and cost["modules"] > 100


def test_a_new_process_imports_this_copy(monkeypatch, tmp_path):
    """Not one in the directory that it is started in."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text("")
    (tmp_path / "edgel3_np.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    code = "import mine, edgel3_np; print(edgel3_np.__file__)"
    assert timing.in_a_new_process(code).strip() == edgel3_np.__file__


def test_without_soundfile_and_scipy(monkeypatch, small_npz):
    for name in ("soundfile", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    facts = info.environment()
    assert facts["soundfile"] == facts["libsndfile"] == facts["scipy"] == "not installed"
    assert timing.time_model(small_npz, 1)["seconds"] > 1
