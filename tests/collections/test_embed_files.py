"""Tests of executors, of resuming and of bad recordings; `test_collection_faults` tests faults of the machine."""

import json
import os
import pickle
import re
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgel3_np import EdgeL3Error, EdgeL3Warning, embed_files, iter_files
from edgel3_np.collections import bundles, jobs, results
from edgel3_np.collections.results import read_provenance


@pytest.fixture
def sounds(tmp_path, sweep):
    """Write six recordings into two directories."""
    directory = tmp_path / "sounds"
    (directory / "sub").mkdir(parents=True)
    for i in range(6):
        soundfile.write(directory / ("sub" if i % 2 else ".") / f"{i}.wav", np.roll(sweep, 999 * i), 8000)
    return directory


def run(sounds, out, small_npz, **options):
    """Embed a collection; return the reports by the path of the recording relative to it."""
    reports = iter_files(sounds, out, model=small_npz, hop_size=0.5, **options)
    return {os.path.relpath(report.input, sounds): report for report in reports}


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def expected(sounds, tmp_path, small_npz):
    """Embed the recordings in one process, one after the other; return the contents of the outputs."""
    assert {report.status for report in run(sounds, tmp_path / "expected", small_npz).values()} == {"done"}
    return contents(tmp_path / "expected")


def test_outputs_are_what_embed_gives(sounds, tmp_path, small_npz, small_model):
    called = []
    reports = run(sounds, tmp_path / "out", small_npz, on_report=called.append)
    assert called == list(reports.values()) and len(reports) == 6
    for name, report in reports.items():
        result = small_model.embed(sounds / name, hop_size=0.5)
        with np.load(report.output) as archive:
            assert archive["embedding"].tobytes() == result.embedding.tobytes()
            assert archive["timestamps"].tobytes() == result.timestamps.tobytes()
            assert json.loads(archive["provenance"].item())["input"]["name"] == name
        assert (report.status, report.windows) == ("done", len(result.embedding))
        assert report.seconds == 17003 / 8000 and report.elapsed > 0 and report.kind is report.reason is None


def processes(method):
    return lambda: ProcessPoolExecutor(2, get_context(method))


@pytest.mark.parametrize(
    "make",
    [lambda: ThreadPoolExecutor(3), *(pytest.param(processes(name), id=name) for name in get_all_start_methods())],
)
@pytest.mark.parametrize("pending", [1, 64])
def test_executors_give_the_same_bytes(sounds, tmp_path, small_npz, expected, make, pending):
    with make() as executor:
        reports = run(sounds, tmp_path / "out", small_npz, executor=executor, pending=pending)
    assert {report.status for report in reports.values()} == {"done"}
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("options", [{"jobs": 2}, {"threads": 3}, {"jobs": 3, "threads": 2}])
def test_processes_and_threads_give_the_same_bytes(sounds, tmp_path, small_npz, expected, options):
    run(sounds, tmp_path / "out", small_npz, **options)
    assert contents(tmp_path / "out") == expected


class Slow(Executor):
    """An executor that runs jobs when three of them wait, and counts how many wait at most."""

    def __init__(self):
        self.most, self.waiting = 0, []

    def submit(self, function, *arguments):
        future = Future()
        self.waiting.append((future, function, arguments))
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) == 3:
            while self.waiting:
                last, function, arguments = self.waiting.pop()
                last.set_result(function(*pickle.loads(pickle.dumps(arguments))))
        return future


def test_few_jobs_are_submitted_at_a_time(sounds, tmp_path, small_npz, expected):
    executor = Slow()
    assert len(run(sounds, tmp_path / "out", small_npz, executor=executor, pending=3)) == 6
    assert executor.most == 3 and contents(tmp_path / "out") == expected


class Broken(Executor):
    """An executor that runs two jobs, loses two, and then accepts no more."""

    def __init__(self):
        self.count = 0

    def submit(self, function, *arguments):
        self.count += 1
        if self.count > 4:
            raise RuntimeError("no more")
        future = Future()
        if self.count > 2:
            future.set_exception(OSError("gone"))
        else:
            future.set_result(function(*arguments))
        return future


def test_an_executor_that_breaks_is_reported_and_a_rerun_finishes(sounds, tmp_path, small_npz, expected):
    reports = run(sounds, tmp_path / "out", small_npz, executor=Broken())
    assert len(reports) == 6
    failed = [report for report in reports.values() if report.status == "failed"]
    assert len(failed) == 4 and {report.kind for report in failed} == {"worker"}
    assert (
        sum("gone" in report.reason for report in failed) == 2 and sum("RuntimeError" in r.reason for r in failed) == 1
    )
    again = run(sounds, tmp_path / "out", small_npz)
    assert [report.status for report in again.values()].count("skipped") == 2
    assert contents(tmp_path / "out") == expected


def test_closing_early_cancels_jobs_that_have_not_started(sounds, tmp_path, small_npz):
    with ThreadPoolExecutor(1) as executor:
        reports = iter_files(sounds, tmp_path / "out", model=small_npz, executor=executor)
        next(reports)
        reports.close()
    assert 1 <= len(contents(tmp_path / "out")) <= 3


def test_resume_skips_outputs_that_are_whole_and_nothing_else(sounds, tmp_path, small_npz):
    out = tmp_path / "out"
    statuses = lambda **options: [report.status for report in run(sounds, out, small_npz, **options).values()]  # noqa: E731
    assert statuses() == ["done"] * 6
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert statuses() == ["skipped"] * 6
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")} == before
    assert statuses(center=False) == ["done"] * 6  # with another option
    assert statuses() == ["done"] * 6
    assert statuses(resume=False) == ["done"] * 6
    (out / "0.npz").unlink()
    (out / "2.npz").write_bytes((out / "2.npz").read_bytes()[:-30])
    (out / "4.npz").write_bytes(b"")
    os.utime(sounds / "sub" / "1.wav", ns=(0, 10**18))
    with open(sounds / "sub" / "3.wav", "ab") as file:
        file.write(b"more")
    assert statuses() == ["done"] * 5 + ["skipped"]
    assert statuses() == ["skipped"] * 6


def test_other_weights_or_another_contract_are_computed_again(sounds, tmp_path, small_npz, monkeypatch):
    from factory import random_weights

    from edgel3_np.weights.format import save_weights

    out, other = tmp_path / "out", tmp_path / "other.npz"
    save_weights(other, random_weights(seed=5))
    run(sounds, out, small_npz)
    assert {report.status for report in run(sounds, out, other).values()} == {"done"}
    assert {report.status for report in run(sounds, out, other).values()} == {"skipped"}
    monkeypatch.setattr(results, "CONTRACT", results.CONTRACT + 1)
    assert {report.status for report in run(sounds, out, other).values()} == {"done"}
    monkeypatch.setattr(jobs, "__version__", "99")  # another version with the same numbers
    assert {report.status for report in run(sounds, out, other).values()} == {"skipped"}


def test_an_output_of_another_recording_is_replaced(sounds, tmp_path, small_npz):
    out = tmp_path / "out"
    run(sounds, out, small_npz)
    os.replace(sounds / "0.wav", sounds / "0.wave")  # the size, the time and the output are the same
    report = run(sounds, out, small_npz)["0.wave"]
    assert report.status == "done" and read_provenance(report.output)["input"]["name"] == "0.wave"


def bad(kind, path, sweep):
    if kind == "not audio":
        path.write_text("no audio")
    elif kind == "empty":
        soundfile.write(path, np.zeros(0), 8000)
    elif kind == "bad samples":
        soundfile.write(path, np.where(np.arange(len(sweep)) == 8100, np.nan, sweep), 8000, subtype="FLOAT")
    elif kind == "unreadable":
        path.symlink_to("nowhere")


@pytest.mark.parametrize("kind", ["not audio", "empty", "bad samples", "unreadable"])
def test_one_bad_recording_is_reported_and_the_others_are_embedded(sounds, tmp_path, small_npz, sweep, kind):
    bad(kind, sounds / "1bad.wav", sweep)
    reports = run(sounds, tmp_path / "out", small_npz)
    report = reports.pop("1bad.wav")
    assert (report.status, report.kind, report.windows, report.seconds) == ("failed", kind, 0, 0)
    assert str(sounds / "1bad.wav") in report.reason
    assert kind != "bad samples" or "1.0125" in report.reason
    assert len(reports) == 6 and {other.status for other in reports.values()} == {"done"}
    assert len(contents(tmp_path / "out")) == 6


@pytest.mark.parametrize("change", ["grows", "vanishes", "is replaced"])
def test_a_recording_that_changes_while_it_is_read(sounds, tmp_path, small_npz, monkeypatch, change):
    path, real, calls = sounds / "0.wav", bundles.spectrogram, []

    def meddle(*given):
        calls.append(given)
        if len(calls) == 1:  # of the first recording
            if change == "grows":
                with open(path, "ab") as file:
                    file.write(bytes(1000))
            elif change == "vanishes":
                path.unlink()
            else:
                os.replace(sounds / "2.wav", path)
                os.utime(path)
        return real(*given)

    monkeypatch.setattr(bundles, "spectrogram", meddle)
    report = run(sounds, tmp_path / "out", small_npz)["0.wav"]
    assert (report.status, report.kind) == ("failed", "unreadable" if change == "vanishes" else "changed")
    assert not os.path.exists(report.output)


def test_remarks_are_part_of_the_report(sounds, tmp_path, small_npz):
    soundfile.write(sounds / "short.wav", np.zeros(100), 8000)
    report = run(sounds, tmp_path / "out", small_npz)["short.wav"]  # warnings would be errors here
    assert report.status == "done" and "shorter" in report.remarks[0] and "zero" in report.remarks[1]


def test_a_bug_in_the_package_is_reported_too(sounds, tmp_path, small_npz, monkeypatch):
    monkeypatch.setattr(bundles, "spectrogram", lambda *_: 1 / 0)
    report = run(sounds, tmp_path / "out", small_npz)["0.wav"]
    assert report.kind == "unexpected" and "ZeroDivisionError" in report.reason


def test_directories_that_cannot_be_listed_are_reported(sounds, tmp_path, small_npz, monkeypatch):
    problem = {str(sounds / "sub"): "Permission denied"}
    monkeypatch.setattr("edgel3_np.collections.embed.find_files", lambda *_: ({}, problem, []))
    report = run(sounds, tmp_path / "out", small_npz)["sub"]
    assert (report.status, report.kind) == ("failed", "unreadable") and "Permission denied" in report.reason


@pytest.mark.parametrize(
    "options, message",
    [
        ({"hop_size": 0}, "hop_size"),
        ({"center": "yes"}, "center"),
        ({"jobs": 0}, "jobs: expected a whole number"),
        ({"jobs": True}, "jobs"),
        ({"pending": 1.5}, "pending"),
        ({"threads": 0}, "threads"),
        ({"shard": (3, 2)}, "shard"),
        ({"shard": "1/2"}, "shard"),
        ({"shard": (True, True)}, "shard"),
        ({"shard": (1.0, 2)}, "shard"),
        ({"suffix": 5}, "suffix"),
        ({"dim": 96.0}, "dim"),
        ({"suffix": "a/b"}, "suffix"),
        ({"model": "none"}, "model"),
        ({"model": 5}, "model"),
        ({"jobs": 2, "executor": Slow()}, "expected 1 with an executor"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(sounds, tmp_path, small_npz, options, message):
    with pytest.raises(EdgeL3Error, match=message):
        iter_files(sounds, tmp_path / "out", **{"model": small_npz, **options})
    assert not (tmp_path / "out").exists()


def test_without_a_directory_outputs_lie_next_to_the_recordings(sounds, small_npz):
    reports = run(sounds, None, small_npz, suffix="e")
    assert sorted(str(path.relative_to(sounds)) for path in sounds.rglob("*.npz")) == [
        *(f"{i}_e.npz" for i in (0, 2, 4)),
        *(f"sub/{i}_e.npz" for i in (1, 3, 5)),
    ]
    assert len(reports) == 6


def test_the_recipe_for_engines_without_an_executor(sounds, tmp_path, monkeypatch):
    """Its lines that need Ray or Spark are comments."""
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    (recipe,) = (block for block in re.findall("```python\n(.*?)```", page, re.DOTALL) if "find_jobs" in block)
    monkeypatch.chdir(tmp_path)
    sounds.rename("recordings")
    found = {}
    exec(recipe, found)  # noqa: S102 the code is from our own page
    assert [report.status for report in found["reports"]] == ["done"] * 6 == ["done"] * found["count"]
    assert len(contents(tmp_path / "embeddings")) == 6


def test_the_whole_run_at_once(sounds, tmp_path, small_npz):
    """As a statement it does the work; failures, and a folder without recordings, are warnings."""
    seen = []
    summary = embed_files(sounds, tmp_path / "out", model=small_npz, hop_size=0.5, on_report=seen.append)
    assert summary.statuses == {"done": 6} and len(seen) == 6 and len(contents(tmp_path / "out")) == 6
    (sounds / "bad.wav").write_bytes(b"no sound")
    with pytest.warns(EdgeL3Warning, match="1 failed(.|\n)*failures: 1 not audio, such as .*bad.wav") as caught:
        summary = embed_files(sounds, tmp_path / "out", model=small_npz, hop_size=0.5)
    assert caught[0].filename == __file__ and [report.kind for report in summary.failures] == ["not audio"]
    (tmp_path / "empty").mkdir()
    with pytest.warns(EdgeL3Warning, match="expected audio files, found none"):
        embed_files(tmp_path / "empty", tmp_path / "out", model=small_npz)
    with pytest.raises(EdgeL3Error, match="output_dir: expected a directory"):
        embed_files(sounds, tmp_path / "x.npz", model=small_npz)


def test_a_shard_of_numpys_numbers(sounds, tmp_path, small_npz):
    reports = run(sounds, tmp_path / "out", small_npz, shard=(np.int8(1), np.int8(1)))
    assert [report.status for report in reports.values()] == ["done"] * 6
