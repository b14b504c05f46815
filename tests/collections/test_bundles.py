"""Tests of bundles: the outputs and reports of short recordings that go together are those of each alone."""

import os
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgel3_np.collections import bundles as module
from edgel3_np.collections.atomic import write_together
from edgel3_np.collections.bundles import ALL, MOST, SHORT, bundles, embed_bundle
from edgel3_np.collections.embed import find_jobs, reports
from edgel3_np.collections.jobs import embed_file


@pytest.fixture
def recordings(tmp_path):
    """Write recordings of many lengths and rates, and files that cannot be embedded."""
    folder, rng = tmp_path / "r", np.random.default_rng(0)
    folder.mkdir()
    for number, (sr, seconds) in enumerate([(8000, 1.0), (44100, 0.3), (16000, 2.2), (8000, 0.0), (48000, 1.1)] * 3):
        sound = np.convolve(rng.standard_normal(int(sr * seconds) + 8), np.ones(8) / 9, "valid")[: int(sr * seconds)]
        soundfile.write(folder / f"{number:02}.wav", sound, sr)
    soundfile.write(folder / "long.flac", 0.1 * rng.standard_normal(8000 * 40), 8000)
    soundfile.write(folder / "silent.wav", np.zeros(9000), 8000)
    content = (folder / "02.wav").read_bytes()
    (folder / "cut.wav").write_bytes(content[: len(content) // 2])
    (folder / "text.wav").write_text("no sound")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    return folder


def jobs_for(folder, out, **options):
    return list(find_jobs(folder, out, **{"hop_size": 0.25, **options})[1])


def comparable(found, out):
    return sorted(report._replace(elapsed=0, output=os.path.relpath(report.output, out)) for report in found)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("model", [None, "small"])
def test_outputs_and_reports_are_those_of_each_alone(recordings, tmp_path, small_npz, model, strict):
    options = {"strict": strict, **({} if model is None else {"model": small_npz})}
    alone, together, threaded = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    expected = [embed_file(job) for job in jobs_for(recordings, alone, **options)]
    found = embed_bundle(jobs_for(recordings, together, **options))
    assert comparable(found, together) == comparable(expected, alone)
    assert contents(together) == contents(alone) and len(contents(alone)) >= 14
    assert {report.kind for report in found} >= {None, "not audio", "unreadable", "empty"}
    embed_bundle(jobs_for(recordings, threaded, threads=3, **options))
    assert contents(threaded) == contents(alone)
    again = embed_bundle(jobs_for(recordings, together, **options))
    assert {report.status for report in again} == {"skipped", "failed"}
    assert comparable(again, together) == comparable(
        [embed_file(job) for job in jobs_for(recordings, alone, **options)], alone
    )


def test_bundles_are_of_short_recordings_and_keep_the_order(tmp_path):
    sizes = [10] * (MOST + 3) + [SHORT + 1] + [SHORT] * (ALL // SHORT + 1) + [5, SHORT + 1]
    for number, size in enumerate(sizes):
        with open(tmp_path / f"{number:03}.wav", "wb") as file:
            file.truncate(size)
    jobs = jobs_for(tmp_path, tmp_path / "o")
    found = list(bundles(iter(jobs)))
    assert [job for bundle in found for job in bundle] == jobs
    assert [len(bundle) for bundle in found] == [MOST, 3, 1, ALL // SHORT, 2, 1]
    assert [len(bundle) for bundle in bundles(iter(jobs[:9]), 4)] == [4, 4, 1]
    assert next(bundles(iter([jobs[0]._replace(input="gone")]))) == [jobs[0]._replace(input="gone")]


def test_a_recording_that_changes_while_others_are_read_fails(recordings, tmp_path, monkeypatch):
    jobs, real = jobs_for(recordings, tmp_path / "o"), module.spectrogram

    def change(network):
        (recordings / "01.wav").write_bytes((recordings / "00.wav").read_bytes())
        return real(network)

    monkeypatch.setattr(module, "spectrogram", change)
    found = {os.path.basename(report.input): report for report in embed_bundle(jobs)}
    assert found["01.wav"].kind == "changed" and found["00.wav"].status == found["02.wav"].status == "done"


def test_embeddings_that_overflow_are_failures_of_their_recordings(recordings, tmp_path, monkeypatch):
    real, calls = module.forward, []

    def overflow(work, part):
        embedding = real(work, part)
        calls.append(part)
        embedding[0] = np.inf if len(calls) == 1 else embedding[0]
        return embedding

    monkeypatch.setattr(module, "forward", overflow)
    found = embed_bundle(jobs_for(recordings, tmp_path / "o", threads=1))
    broken = [report for report in found if "found overflow" in str(report.reason)]
    assert len(broken) == 1 and broken[0].input in broken[0].reason and not os.path.exists(broken[0].output)


def test_an_output_that_cannot_be_written_is_one_failure(recordings, tmp_path, monkeypatch):
    jobs = jobs_for(recordings, tmp_path / "o")
    os.makedirs(jobs[2].output)
    found = embed_bundle(jobs)
    assert found[2].kind == "output" and "cannot be written" in found[2].reason
    assert found[1].status == found[4].status == "done"
    assert not [path for path in (tmp_path / "o").iterdir() if path.name.startswith(".")]


def test_files_that_are_written_together(tmp_path):
    names = {str(tmp_path / f"{number}.bin"): bytes([number]) * 100 for number in range(20)}
    (tmp_path / "3.bin").write_bytes(b"before")
    (tmp_path / "4.bin").mkdir()
    names[str(tmp_path / "no" / "x.bin")] = b"x"
    failures = write_together(names)
    assert sorted(failures) == [str(tmp_path / "4.bin"), str(tmp_path / "no" / "x.bin")]
    for path, content in names.items():
        if path not in failures:
            assert Path(path).read_bytes() == content
    assert len(os.listdir(tmp_path)) == 20
    assert write_together({}) == {}


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
def test_a_recording_that_kills_its_process_is_one_report(recordings, tmp_path, monkeypatch):
    real = module.windows_of

    def kill(network, blocks, sr, framing, stats):
        if sr == 44100:
            os.kill(os.getpid(), 9)
        return real(network, blocks, sr, framing, stats)

    import edgel3_np.pipeline as pipeline

    monkeypatch.setattr(module, "windows_of", kill)
    monkeypatch.setattr(pipeline, "windows_of", kill)
    for number in (1, 6):
        (recordings / f"{number:02}.wav").unlink()  # one killer is left
    count, work, problems = find_jobs(recordings, tmp_path / "o", hop_size=0.25)
    found = list(reports(work, problems, jobs=2))
    assert [os.path.basename(report.input) for report in found if report.kind == "worker"] == ["11.wav"]
    assert len(found) == count and sum(report.status == "done" for report in found) == 12


def test_a_lost_bundle_of_an_executor_is_tried_one_by_one(recordings, tmp_path):
    class Losing:
        tasks = []

        def submit(self, function, task):
            future = Future()
            self.tasks.append(task)
            if any(job.input.endswith("02.wav") for job in (task if isinstance(task, list) else [task])):
                future.set_exception(RuntimeError("the node is gone"))
            else:
                future.set_result(function(task))
            return future

    executor = Losing()
    count, work, problems = find_jobs(recordings, tmp_path / "o", hop_size=0.25)
    found = list(reports(work, problems, executor, pending=64 * 8))
    assert len(found) == count and len(executor.tasks[0]) == 8
    lost = [report for report in found if report.kind == "worker"]
    assert [os.path.basename(report.input) for report in lost] == ["02.wav"] and "the node is gone" in lost[0].reason
