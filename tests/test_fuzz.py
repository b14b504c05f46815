"""Tests of a thousand mutants of `fuzz.py`, and of failures that it must notice."""

import collections
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import fuzz
import mutants
import pytest


def test_a_thousand_mutants_are_taken_or_refused():
    results = list(fuzz.run_batches(fuzz.batches(1000)))
    assert [result for result in results if result.outcome == "failure"] == []
    assert len({(result.format, result.number) for result in results}) == len(results) == 1000
    counts = collections.Counter((result.format, result.outcome) for result in results)
    assert all(counts[name, outcome] for name in mutants.FORMATS for outcome in ("taken", "refused")), counts


@pytest.mark.parametrize(
    "sabotage, reason",
    [
        ("os.abort()", "Fatal Python error: Aborted"),
        ("os._exit(3)", "died, status 3"),
        ("time.sleep(100)", "hang"),
        ("{}['nothing']", "KeyError: 'nothing'"),
        ("np.full((1, model.dim), np.nan, np.float32)", "float32, 0% finite"),
        ("np.zeros((1, model.dim))", "float64"),
        ("np.zeros((1, 7), np.float32)", "shape (1, 7)"),
        ("np.float32(1e30) * np.full(9, np.float32(1e30))", "RuntimeWarning: overflow"),
        ("os.write(2, b'Traceback of a callback') and np.zeros((1, model.dim), np.float32)", "of a callback"),
        pytest.param(
            "bytearray(2 * MEMORY)",
            "MemoryError",
            marks=pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited where /proc is"),
        ),
    ],
)
def test_a_failure_is_noticed_and_the_rest_is_run(sabotage, reason):
    results = list(fuzz.run_batches([("AU", 0, 6)], watchdog=5.0, sabotage=sabotage))
    assert [result.number for result in results] == list(range(6))
    assert [result.number for result in results if result.outcome == "failure"] == [fuzz.SABOTAGED]
    assert reason in results[fuzz.SABOTAGED].reason


def test_a_refusal_for_lack_of_memory_is_a_failure(monkeypatch):
    def refuse(*args, **options):
        raise fuzz.edgel3_np.EdgeL3Error("cannot be read") from MemoryError()

    monkeypatch.setattr(fuzz.edgel3_np, "load_model", refuse)
    assert fuzz.outcome_of(None, "NPZ", "x.npz")[0] == "failure"


def test_the_same_seed_makes_the_same_mutants():
    made = [[mutants.mutant(0, name, number) for number in range(40)] for name in mutants.FORMATS]
    assert all(len(set(several)) > 30 for several in made)
    code = "import hashlib, mutants as m; made = [[m.mutant(0, f, n) for n in range(40)] for f in m.FORMATS]; "
    code += "print(hashlib.sha256(repr(made).encode()).hexdigest())"
    path = os.pathsep.join([str(Path(fuzz.__file__).parent), str(Path(fuzz.edgel3_np.__file__).parent.parent)])
    env = {**os.environ, "PYTHONPATH": path}
    printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, timeout=100).stdout
    assert printed.decode().strip() == hashlib.sha256(repr(made).encode()).hexdigest()


def test_one_mutant_can_be_made_again(tmp_path):
    path = tmp_path / "again.wav"
    ran = subprocess.run(
        [sys.executable, fuzz.__file__, "--seed", "5", "--only", "WAV:7", "--save", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    assert path.read_bytes() == mutants.mutant(5, "WAV", 7) != mutants.mutant(6, "WAV", 7)
    assert ran.returncode == 0 and str(path) in ran.stdout and "failures" in ran.stdout
