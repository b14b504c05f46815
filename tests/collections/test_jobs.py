"""Tests of the job of one recording, as a worker does it."""

import io
import os
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgel3_np import iter_files
from edgel3_np.collections import jobs
from edgel3_np.collections.embed import find_jobs
from edgel3_np.collections.jobs import Job, Report, embed_file, failed
from edgel3_np.collections.results import read_provenance


@pytest.fixture
def job(tmp_path, sweep, small_npz):
    """Write one recording into a subdirectory; return its job."""
    (tmp_path / "sounds" / "sub").mkdir(parents=True)
    soundfile.write(tmp_path / "sounds" / "sub" / "a.wav", sweep, 8000)
    count, work, problems = find_jobs(tmp_path / "sounds", tmp_path / "out", model=small_npz, hop_size=0.5)
    assert (count, problems) == (1, [])
    return next(work)


def test_a_job_is_plain_data(job, tmp_path, small_model, small_npz):
    assert job == Job(
        input=str(tmp_path / "sounds" / "sub" / "a.wav"),
        output=str(tmp_path / "out" / "sub" / "a.npz"),
        root=str(tmp_path / "out"),
        source=str(tmp_path / "sounds"),
        name="sub/a.wav",
        model=str(small_npz),
        sha256=small_model.sha256,
        dim=None,
        hop_size=0.5,
        center=True,
        threads=1,
        resume=True,
        other_outputs=job.other_outputs,
    )
    assert job.other_outputs[0] == str(tmp_path / "out" / "sub" / "a.wav.npz") and len(job.other_outputs) == 2
    assert {type(value) for value in job} <= {str, float, bool, int, type(None), tuple}
    assert pickle.loads(pickle.dumps(job)) == job


def test_numpy_scalars_become_plain_numbers_in_jobs(tmp_path, small_npz):
    (tmp_path / "a.wav").touch()
    _, work, _ = find_jobs(tmp_path / "a.wav", None, model=small_npz, hop_size=np.float64(0.5), center=np.bool_(True))
    job = next(work)
    assert (type(job.hop_size), job.hop_size, job.center is True) == (float, 0.5, True)
    assert job.root == str(tmp_path)  # without an output directory, the root is that of the output


def test_a_job_and_its_report(job, small_model):
    report = embed_file(job)
    expected = small_model.embed(job.input, hop_size=0.5)
    assert report[:6] == (job.input, job.output, "done", None, None, ())
    assert (report.windows, report.seconds) == (len(expected.embedding), 17003 / 8000) and report.elapsed > 0
    assert pickle.loads(pickle.dumps(report)) == report
    with np.load(job.output) as archive:
        assert archive["embedding"].tobytes() == expected.embedding.tobytes()
    again = embed_file(job)
    assert again._replace(elapsed=0.0) == Report(job.input, job.output, "skipped")
    assert embed_file(job._replace(resume=False)).status == "done"


def test_fields_of_a_report_keep_their_names_and_order():
    """Programs read manifests of earlier versions by these names."""
    assert Report._fields == (
        "input", "output", "status", "kind", "reason", "remarks", "windows", "seconds", "elapsed", "incomplete"
    )  # fmt: skip
    assert Report("a", "b", "done")[3:] == (None, None, (), 0, 0.0, 0.0, False)


def test_provenance_says_what_the_embeddings_were_made_from(job, small_model):
    embed_file(job)
    found = read_provenance(job.output)
    info = os.stat(job.input)
    assert found.pop("version") and found.pop("contract") > 0 and len(found.pop("embedding_sha256")) == 64
    assert found == {
        "model": "small",
        "weights_sha256": small_model.sha256,
        "options": {"dim": 16, "hop_size": 0.5, "center": True},
        "input": {"name": "sub/a.wav", "bytes": info.st_size, "mtime_ns": info.st_mtime_ns, "root": job.source},
    }


def test_a_collection_that_has_moved_is_not_embedded_again(job, tmp_path):
    assert embed_file(job).status == "done"
    (tmp_path / "sounds").rename(tmp_path / "moved")
    moved = job._replace(input=str(tmp_path / "moved" / "sub" / "a.wav"), source=str(tmp_path / "moved"))
    assert embed_file(moved).status == "skipped"


def test_outputs_do_not_multiply(tmp_path, sweep, small_npz):
    """A recording that comes beside another of its name, or goes, changes names of outputs, but leaves no doubles."""
    sounds, out = tmp_path / "sounds", tmp_path / "out"
    sounds.mkdir()

    def names(**options):
        reports = list(iter_files(sounds, out, model=small_npz, hop_size=0.5, **options))
        assert all(report.status in ("done", "skipped") for report in reports)
        done = sorted(os.path.basename(report.input) for report in reports if report.status == "done")
        return done, sorted(path.name for path in out.iterdir())

    soundfile.write(sounds / "x.wav", sweep, 8000)
    assert names() == (["x.wav"], ["x.npz"])
    soundfile.write(sounds / "x.flac", -sweep, 8000)
    assert names() == (["x.flac"], ["x.flac.npz", "x.wav.npz"])
    assert names() == ([], ["x.flac.npz", "x.wav.npz"])
    soundfile.write(sounds / "x.wav", sweep[:9000], 8000)  # changed
    (sounds / "x.flac").unlink()
    assert names() == (["x.wav"], ["x.flac.npz", "x.npz"])  # x.flac's embeddings are still its own
    (out / "x.wav.npz").write_bytes(b"not ours")
    assert names() == ([], ["x.flac.npz", "x.npz", "x.wav.npz"])


def test_another_recordings_output_is_left_alone(tmp_path, sweep, small_npz):
    """Two folders have a recording of the same name; only one of them was embedded at first."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", sweep if folder == "a" else -sweep, 8000)
    list(iter_files(tmp_path / "a", tmp_path / "out", model=small_npz))
    first = (tmp_path / "out" / "x.npz").read_bytes()
    done = {report.status for report in iter_files([tmp_path / "b", tmp_path / "a"], tmp_path / "out", model=small_npz)}
    assert done == {"done", "skipped"}
    contents = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert len(contents) == 2 and first in contents


def test_reasons_of_failures_name_the_file(job, monkeypatch):
    os.unlink(job.input)
    report = embed_file(job)
    assert (report.status, report.kind) == ("failed", "unreadable") and report.reason.startswith(f"{job.input}: ")

    for error, kind, reason in (
        (jobs.EdgeL3Error("audio: too odd", "bad samples"), "bad samples", f"{job.input}: audio: too odd"),
        (jobs.EdgeL3Error(f"{job.input}: odd"), "invalid", f"{job.input}: odd"),
        (OSError(28, "No space left on device"), "output", f"{job.output}: cannot be written: No space left on device"),
        (ZeroDivisionError("oh"), "unexpected", f"{job.input}: ZeroDivisionError: oh"),
    ):
        monkeypatch.setattr(jobs, "_embed_file", lambda job, error=error: (_ for _ in ()).throw(error))
        assert embed_file(job)[:5] == (job.input, job.output, "failed", kind, reason)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_are_raised_and_not_reported(job, monkeypatch, error):
    monkeypatch.setattr(jobs, "_embed_file", lambda job: (_ for _ in ()).throw(error()))
    with pytest.raises(error):
        embed_file(job)


def lose_in_a_lock(job):
    try:
        raise KeyboardInterrupt
    finally:
        threading.Lock().release()


def lose_in_an_archive(job):
    archive = zipfile.ZipFile(io.BytesIO(), "w")  # noqa: SIM115 closed below
    member = archive.open("a", "w")  # the archive refuses to be closed before it
    try:
        with archive:
            raise KeyboardInterrupt
    finally:
        member.close()
        archive.close()


def lose_in_both(job):
    try:
        lose_in_a_lock(job)
    except Exception as error:
        raise jobs.EdgeL3Error("expected something else") from error


@pytest.mark.parametrize("work", [lose_in_a_lock, lose_in_an_archive, lose_in_both])
def test_an_interrupt_that_python_loses_is_raised_and_not_reported(job, monkeypatch, work):
    """So it ends a run: see `keep_interrupts`."""
    with pytest.raises((RuntimeError, ValueError)):
        work(job)
    monkeypatch.setattr(jobs, "_embed_file", work)
    with pytest.raises(KeyboardInterrupt):
        embed_file(job)


def test_a_failed_job(job):
    assert failed(job, "worker", "gone") == Report(job.input, job.output, "failed", "worker", "gone", (), 0, 0.0, 0.0)


def test_a_failure_keeps_the_old_output(job):
    os.makedirs(os.path.dirname(job.output))
    with open(job.output, "wb") as file:
        file.write(b"old")
    soundfile.write(job.input, np.zeros(0), 8000)
    report = embed_file(job)
    assert (report.status, report.kind) == ("failed", "empty")
    assert os.listdir(os.path.dirname(job.output)) == ["a.npz"]
    with open(job.output, "rb") as file:
        assert file.read() == b"old"


def test_a_worker_with_another_model_reports_it(job):
    report = embed_file(job._replace(sha256="0" * 64))
    assert report.kind == "model" and "expected sha256 000" in report.reason
    report = embed_file(job._replace(model="/no/such.npz"))
    assert report.kind == "model" and "/no/such.npz" in report.reason


def test_what_is_missing_is_in_the_report_and_in_the_provenance(job):
    """The recording is cut off. It is embedded as far as it goes, unless the job is strict."""
    content = Path(job.input).read_bytes()
    Path(job.input).write_bytes(content[: len(content) // 2])
    report = embed_file(job)
    assert report.status == "done" and report.incomplete and "the file is cut off" in report.remarks[0]
    found = read_provenance(job.output)
    assert found["incomplete"] is True and found["remarks"] == list(report.remarks)
    again = embed_file(job)
    assert again.status == "skipped" and again.incomplete
    strict = embed_file(job._replace(strict=True))
    assert (strict.status, strict.kind) == ("failed", "incomplete") and "the file is cut off" in strict.reason
