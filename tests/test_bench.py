import json

import pytest
import soundfile

from edgel3_np import bench


def test_json(small_npz, capsys):
    assert bench.main(["-m", str(small_npz), "-r", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["environment"]["python"] and report["environment"]["numpy"]
    (run,) = report["reports"]
    assert run["model"] == "small" and len(run["sha256"]) == 64
    names = list(run["steps"])
    assert names[:3] == ["import", "load model", "read"] and names[3] == "resample 44100 -> 8000"
    assert sum(name.startswith("conv") for name in names) == 8 and names[-1] == "network"
    for times in run["steps"].values():
        assert 0 < times["min"] <= times["median"] <= times["max"]
    assert run["windows_per_second"]["median"] > 0 and run["realtime_factor_hop_0.1"] > 0


def test_table_of_a_file(small_npz, sweep, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", sweep, 8000)
    assert bench.main(["-m", str(small_npz), "-r", "1", "-a", str(tmp_path / "a.wav")]) == 0
    captured = capsys.readouterr()
    assert "conv8 (dense, 100 %)" in captured.out and "windows per second" in captured.out
    assert "timing" in captured.err and "timing" not in captured.out


def test_the_generated_sound_is_always_the_same():
    first, second = bench.synthesise(8000, 1.0), bench.synthesise(8000, 1.0)
    assert first.tobytes() == second.tobytes() and len(first) == 8000 and abs(first).max() <= 1


def test_measure_counts():
    calls = []
    times = bench.measure(lambda: calls.append(1), 4)
    assert len(calls) == 5 and times["min"] <= times["median"] <= times["max"]


def test_errors(capsys):
    assert bench.main(["-m", "/no/such.npz"]) == 2
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.main(["-r", "0"])
