"""Tests of the bench command: `edgel3-np bench`, `python -m edgel3_np.bench`."""

import json
import re

import numpy as np
import pytest
import soundfile

from edgel3_np.commands import bench
from edgel3_np.network import rows


def run(capsys, *arguments):
    """Run the command; return its exit code, output and messages."""
    code = bench.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json(small_npz, sweep, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.repeat(sweep, 4), 44100)
    arguments = ("-m", small_npz, "-r", 1, "--threads", "1,2", "-a", tmp_path / "a.wav", "--json")
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    document = json.loads(out)
    assert document["environment"]["python"] and document["environment"]["blas"]
    cost = document["environment"]["import"]
    assert set(cost) == {"seconds", "numpy", "modules", "scipy", "scipy.signal"}
    assert cost["seconds"] > cost["numpy"] > 0 and cost["scipy"] is cost["scipy.signal"] is False
    (report,) = document["reports"]
    assert report["model"] == "small" and len(report["sha256"]) == 64
    assert report["seconds"] == pytest.approx(4 * len(sweep) / 44100)
    assert report["difference"] <= report["limit"] == 5e-5 and report["golden"] is None
    names = ["import", "load model", "read", "resample 44100 -> 8000", "front end", "network, one window alone"]
    names += ["network, in a batch", "stream, hop 0.5 s: computing an embedding"]
    assert list(report["steps"]) == names
    for times in report["steps"].values():
        assert 0 < times["min"] <= times["median"] <= times["max"]
    assert [layer["layer"] for layer in report["plan"]] == [f"conv{number}" for number in range(1, 9)]
    assert [(run["hop_size"], run["threads"]) for run in report["embed"]] == [(0.1, 1), (0.1, 2), (1.0, 1), (1.0, 2)]
    for speed in report["embed"]:
        rate = speed["windows_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"] and speed["realtime_factor"] > 0


@pytest.mark.parametrize("only", ["--plan", "--profile"])
@pytest.mark.parametrize("other", [["--threads", "2"], ["--audio", "a.wav"]])
def test_options_without_effect_are_refused(capsys, only, other):
    with pytest.raises(SystemExit) as caught:
        bench.main([only, *other])
    assert caught.value.code == 2 and "neither" in capsys.readouterr().err


def test_tables(small_npz, capsys):
    code, out, messages = run(capsys, "-m", small_npz, "-r", 1)
    assert code == 0 and "timing" in messages and "timing" not in out
    for text in (
        "small",
        "real GFLOP/s",
        "algorithm",
        "conv8",
        "windows per second",
        "check: right",
        "none comes with",
    ):
        assert text in out
    assert re.search(r"import in a new process: \d+ ms, .* \d+ modules, scipy not loaded, scipy.signal not loaded", out)
    assert "|" not in out and "kernel" not in out


def test_markdown(small_npz, capsys):
    code, out, _ = run(capsys, "-m", small_npz, "-r", 1, "--plan", "--md")
    assert code == 0 and "## small" in out
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len(rows) == 10 and len({row.count("|") for row in rows}) == 1


def test_only_the_plan_of_each_model(small_npz, capsys):
    code, out, _ = run(capsys, "-m", small_npz, "-m", "pico-64", "-m", "pico-64-stream", "-r", 1, "--plan", "--json")
    reports = json.loads(out)["reports"]
    assert code == 0 and [report["model"] for report in reports] == ["small", "pico-64", "pico-64-stream"]
    for layer in (layer for report in reports for layer in report["plan"]):
        assert layer["measured"] > 0 and layer["estimated"] > 0
        assert layer["algorithm"].split()[0] in ("direct", "patches", "quads", "rows", "sparse", "winograd")
    assert all(set(report) == {"model", "sha256", "plan"} for report in reports)


def test_profile(small_npz, capsys):
    code, out, _ = run(capsys, "-m", small_npz, "--profile")
    assert code == 0 and "function calls" in out and "tape.py" in out


def test_all_installed_models(small_npz, monkeypatch, capsys):
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(small_npz.parent))
    code, out, _ = run(capsys, "--all", "--plan", "-r", 1, "--json")
    assert code == 0 and {"small", "pico-64"} <= {report["model"] for report in json.loads(out)["reports"]}


def test_a_wrong_build_is_caught(small_npz, monkeypatch, capsys):
    pack = rows.pack
    monkeypatch.setattr(rows, "pack", lambda *arguments: np.float32(1.001) * pack(*arguments))
    code, out, _ = run(capsys, "-m", small_npz, "-r", 1)
    assert code == 1 and "check: WRONG" in out


@pytest.mark.parametrize(
    "report, right",
    [
        ({"difference": 1e-6, "golden": None, "limit": 5e-5}, True),
        ({"difference": 1e-6, "golden": 1e-3, "limit": 5e-5}, False),
        ({"difference": np.nan, "golden": None, "limit": 5e-5}, False),
        ({"plan": []}, True),
    ],
)
def test_is_right(report, right):
    assert bench.is_right(report) is right


def test_errors(capsys):
    code, _, messages = run(capsys, "-m", "/no/such.npz")
    assert code == 2 and "No such file" in messages
    for wrong, message in (
        (["-r", "0"], "argument -r/--repeats: expected a whole number from 1 to 256, found '0'"),
        (["-r", "1.5"], "expected a whole number from 1 to 256, found '1.5'"),
        (["--threads", "1,x"], "argument --threads: expected a whole number from 1 to 256, found 'x'"),
        (["--json", "--md"], "not allowed with"),
        (["--all", "-m", "a"], "not allowed with"),
    ):
        with pytest.raises(SystemExit) as stopped:
            bench.main(wrong)
        assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_sound_file_that_cannot_be_read(small_npz, tmp_path, capsys):
    code, out, messages = run(capsys, "-m", small_npz, "-r", 1, "-a", tmp_path / "none.wav")
    assert code == 2 and out == "" and "edgel3-np bench: " in messages and "No such file" in messages


def test_an_interruption(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "bench_model", interrupt)
    assert bench.main([]) == 130 and "interrupted" in capsys.readouterr().err
