import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trained import SR, make_classifier, write_sounds

import edgel3_np
from edgel3_np import EdgeL3Error, detect_files
from edgel3_np.classify import jobs as module
from edgel3_np.classify.classifier import save_classifier
from edgel3_np.classify.detect import find_detect_jobs, write_table
from edgel3_np.classify.events import events
from edgel3_np.classify.jobs import detect_file, read_events, record_of

FORMATS = {"csv": "csv", "audacity": "txt", "raven": "txt", "jsonl": "jsonl", "parquet": "parquet"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"), 2)


@pytest.fixture(scope="module")
def model():
    return edgel3_np.load_model()


@pytest.fixture(scope="module")
def classifier(model):
    return make_classifier(model, ("dog", 'a, "b"; <c>'))


@pytest.fixture(scope="module")
def path(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "c.npz"
    save_classifier(path, classifier)
    return path


def expected(classifier, model, recording, **options):
    embedding = model.embed(str(recording))
    found = events(
        classifier.predict(embedding), embedding.timestamps, classifier.thresholds, classifier.classes, **options
    )
    return [(round(e.start, 6), round(e.end, 6), e.label, round(e.score, 6)) for e in found]


def read(form, path):
    """Read an output: a list of (start, end, label, score or None)."""
    text = path.read_text(encoding="utf-8") if form != "parquet" else ""
    if form == "audacity":
        lines = [line.split("\t") for line in text.splitlines()]
        return [(float(start), float(end), label, None) for start, end, label in lines]
    if form == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    elif form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t" if form == "raven" else ","))
    names = ["start", "end", "label", "score"]
    names = ["Begin Time (s)", "End Time (s)", "Label", "Score"] if form == "raven" else names
    return [(float(row[names[0]]), float(row[names[1]]), row[names[2]], float(row[names[3]])) for row in rows]


@pytest.mark.parametrize("form", FORMATS)
def test_outputs_are_the_events_of_the_scores(form, sounds, path, classifier, model, tmp_path):
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    if form == "raven":  # csv quotes a label that holds quotes
        classifier = make_classifier(model, ("dog", "cat"))
        save_classifier(tmp_path / "c.npz", classifier)
        path = tmp_path / "c.npz"
    options = {"merge_gap": 0.3, "min_length": 1.2}
    summary = detect_files(sounds, tmp_path / "o", path, form=form, **options)
    assert summary.statuses == {"done": 6} and summary.windows == 6 * 26
    count = 0
    for recording in sorted(sounds.rglob("*.wav")):
        output = (tmp_path / "o" / recording.relative_to(sounds)).with_suffix(f".{FORMATS[form]}")
        wanted = expected(classifier, model, recording, **options)
        found = read(form, output)
        assert found == [(*event[:3], None if form == "audacity" else event[3]) for event in wanted]
        assert read_events(output) == (str(recording), [tuple(event) for event in wanted])
        count += len(found)
    assert count > 3


def test_any_executor_gives_the_same_files(sounds, path, tmp_path):
    def files(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    detect_files(sounds, tmp_path / "1", path)
    detect_files(sounds, tmp_path / "2", path, jobs=2)
    with ThreadPoolExecutor(2) as executor:
        detect_files(sounds, tmp_path / "3", path, executor=executor)
    with ProcessPoolExecutor(2) as executor:
        detect_files(sounds, tmp_path / "4", path, executor=executor)
    detect_files(sounds, tmp_path / "5", path, embeddings=tmp_path / "e")
    detect_files(sounds, tmp_path / "6", path, embeddings=tmp_path / "e")
    assert all(files(tmp_path / name) == files(tmp_path / "1") for name in "23456") and len(files(tmp_path / "1")) == 12


def test_jobs_are_plain_data(sounds, path, tmp_path):
    count, work, problems = find_detect_jobs([sounds], tmp_path, path)
    jobs = list(work)
    assert count == len(jobs) == 6 and problems == [] and pickle.loads(pickle.dumps(jobs)) == jobs


def test_embeddings_are_kept_and_used(sounds, path, tmp_path, monkeypatch):
    edgel3_np.embed_files(sounds, tmp_path / "e")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "e").rglob("*.npz")}
    monkeypatch.setattr(module, "embedding_batches", None, raising=False)
    summary = detect_files(sounds, tmp_path / "o", path, embeddings=tmp_path / "e")
    assert summary.statuses == {"done": 6} and 15 < summary.seconds < 21
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "e").rglob("*.npz")} == before
    next(iter(before)).unlink()
    assert detect_files(sounds, tmp_path / "o", path, embeddings=tmp_path / "e").statuses == {"done": 1, "skipped": 5}


def test_scores_of_windows(sounds, path, classifier, model, tmp_path):
    detect_files(sounds, tmp_path / "o", path, scores=tmp_path / "s")
    with open(tmp_path / "s" / "tone" / "0.csv", newline="") as file:
        header, *rows = csv.reader(file)
    found = model.embed(str(sounds / "tone" / "0.wav"))
    assert header == ["time", *classifier.classes]
    np.testing.assert_allclose(np.array(rows, float)[:, 0], found.timestamps, atol=1e-6)
    np.testing.assert_allclose(np.array(rows, float)[:, 1:], classifier.predict(found), atol=1e-6)


def test_a_second_run_does_what_is_missing_or_has_changed(sounds, model, path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)

    def run(**options):
        statuses = detect_files(copy, tmp_path / "o", options.pop("path", path), **options).statuses
        return statuses["done"], statuses["skipped"]

    assert run() == (3, 0) and run() == (0, 3) and run(resume=False) == (3, 0)
    assert run(threshold=0.9) == (3, 0) and run(threshold=0.9) == (0, 3) and run() == (3, 0)
    assert (
        run(merge_gap=1) == (3, 0) and run(min_length=1) == (3, 0) and run(hop_size=0.5) == (3, 0) and run() == (3, 0)
    )
    save_classifier(tmp_path / "other.npz", make_classifier(model, seed=1))
    assert run(path=tmp_path / "other.npz") == (3, 0) and run() == (3, 0)
    (tmp_path / "o" / "hiss" / "0.csv").unlink()
    assert run() == (1, 2)
    os.utime(copy / "tone" / "0.wav", ns=(1, 1))
    assert run() == (1, 2) and run() == (0, 3)
    assert run(scores=tmp_path / "x") == (3, 0) and run(scores=tmp_path / "x") == (0, 3)
    (tmp_path / "o" / "hiss" / "0.csv").write_text("corrected by hand")
    assert run() == (0, 3)


@pytest.mark.parametrize(
    "record", [b"", b"[1]", b"{", b"\xff", b'{"done": true}', b'{"made_from": 3, "done": 1}', b"["]
)
def test_damaged_records_are_done_again(record, path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    detect_files(copy, tmp_path / "o", path)
    output = tmp_path / "o" / "hiss" / "0.csv"
    whole = output.read_bytes()
    with open(record_of(str(output)), "wb") as file:
        file.write(record * (90_000 if record == b"[" else 1))
    with pytest.raises(EdgeL3Error, match="detect again"):
        read_events(output)
    summary = detect_files(copy, tmp_path / "o", path)
    if record.startswith(b"{") and record != b"{":
        assert summary.statuses == {"done": 1, "skipped": 2} and output.read_bytes() == whole
    else:  # nothing says that the output is ours
        assert summary.failures[0].kind == "output" and "move it" in summary.failures[0].reason


@pytest.mark.parametrize("remarks, expected", [(["a", 3], ("a", "3")), ("ab", ()), (3, ()), ({"a": 1}, ()), (None, ())])
def test_hostile_remarks_of_an_earlier_run(remarks, expected, path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    detect_files(copy, tmp_path / "o", path)
    record = Path(record_of(str(tmp_path / "o" / "hiss" / "0.csv")))
    record.write_text(json.dumps({**json.loads(record.read_text()), "remarks": remarks}))
    found = []
    assert detect_files(copy, tmp_path / "o", path, on_report=found.append).statuses == {"skipped": 3}
    assert found[1].remarks == expected


def test_a_second_run_repeats_what_is_missing(path, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(SR * 3) / 9, SR)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    for status in ("done", "skipped"):
        found = []
        detect_files(tmp_path / "a.wav", tmp_path / "o", path, on_report=found.append)
        assert [(report.status, report.incomplete, len(report.remarks)) for report in found] == [(status, True, 1)]


@pytest.mark.parametrize("events", ["x", [[1, 2]], [[1, 2, "a", "b"]], [["nan", 2, "a", 0.5]], [[1e999, 2, "a", 1]]])
def test_hostile_events_are_refused(events, path, tmp_path):
    output = str(tmp_path / "a.csv")
    with open(record_of(output), "w") as file:
        json.dump({"recording": "a.wav", "events": events}, file)
    with pytest.raises(EdgeL3Error, match="detect again"):
        read_events(output)


def test_files_of_others_are_not_replaced(path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    (copy / "hiss" / "0.txt").write_text("my labels")
    summary = detect_files(copy, copy, path, form="audacity")
    assert summary.statuses == {"done": 2, "failed": 1} and summary.kinds == {"output": 1}
    assert (copy / "hiss" / "0.txt").read_text() == "my labels"


def test_scores_replace_scores_alone(path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    detect_files(copy, tmp_path / "1", path, scores=tmp_path / "x")
    assert detect_files(copy, tmp_path / "2", path, scores=tmp_path / "x").statuses == {"done": 3}
    (copy / "hiss" / "0.csv").write_text("path,start,end,label\n")
    (copy / "tone" / "0.csv").mkdir()
    summary = detect_files(copy, tmp_path / "3", path, scores=copy)
    assert summary.statuses == {"done": 1, "failed": 2} and summary.kinds == {"output": 2}
    assert (copy / "hiss" / "0.csv").read_text() == "path,start,end,label\n" and "move it" in summary.failures[0].reason


@pytest.mark.parametrize("where", ["output", "scores", "embeddings"])
def test_links_below_the_directories_are_refused(where, path, tmp_path):
    copy, folders = (
        write_sounds(tmp_path / "s", 1),
        {name: tmp_path / name for name in ("output", "scores", "embeddings")},
    )
    (tmp_path / "elsewhere").mkdir()
    folders[where].mkdir()
    (folders[where] / "hiss").symlink_to(tmp_path / "elsewhere")
    output = folders.pop("output")
    summary = detect_files(copy, output, path, **folders)
    assert summary.statuses == {"done": 2, "failed": 1} and "found a link" in summary.failures[0].reason
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_interrupt_leaves_whole_files_and_the_next_run_goes_on(sounds, path, tmp_path, monkeypatch):
    write, calls = module._write_record, []

    def interrupt(output, said):
        calls.append(1)
        if len(calls) == 4:  # between an output and its record
            raise KeyboardInterrupt
        write(output, said)

    monkeypatch.setattr(module, "_write_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        detect_files(sounds, tmp_path / "o", path)
    monkeypatch.undo()
    assert detect_files(sounds, tmp_path / "o", path).statuses == {"done": 5, "skipped": 1}


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from edgel3_np import detect_files
from edgel3_np.classify import jobs

folder, number, when, real, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], jobs.atomic, 0


@contextmanager
def deadly(path):
    global count
    count += 1
    with real(path) as file:
        yield file
        if count == number and when == "inside":
            os.kill(os.getpid(), signal.SIGKILL)
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)


jobs.atomic = deadly
detect_files(folder + "/sounds", folder + "/o", folder + "/c.npz", scores=folder + "/s")
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
@pytest.mark.parametrize(  # of the four files of the second recording: record, scores, events, record
    "number, when", [(5, "behind"), (6, "inside"), (7, "inside"), (7, "behind"), (8, "inside")]
)
def test_killed_at_any_file_then_resumed(number, when, classifier, tmp_path):
    """After kill -9 each file is whole or absent, nothing lies beside them, and a second run does the rest."""
    sounds, path = write_sounds(tmp_path / "sounds", 1), tmp_path / "c.npz"
    save_classifier(path, classifier)
    detect_files(sounds, tmp_path / "o", path, scores=tmp_path / "s")
    whole = {p: p.read_bytes() for name in "os" for p in (tmp_path / name).rglob("*") if p.is_file()}
    assert len(whole) == 9
    shutil.rmtree(tmp_path / "o")
    shutil.rmtree(tmp_path / "s")
    env = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(number), when], env=env, timeout=100)
    assert ran.returncode == -signal.SIGKILL
    left = {p: p.read_bytes() for name in "os" for p in (tmp_path / name).rglob("*") if p.is_file()}
    for p, content in left.items():
        if p.suffix == ".part":  # where files must have names, or are replaced
            p.unlink()
        elif p.suffix == ".json":
            assert content == whole[p] or json.loads(content)["done"] is False
        else:
            assert content == whole[p]
    again = detect_files(sounds, tmp_path / "o", path, scores=tmp_path / "s")
    assert again.statuses == {"skipped": 1, "done": 2}
    assert {p: p.read_bytes() for name in "os" for p in (tmp_path / name).rglob("*") if p.is_file()} == whole


def test_bad_recordings_are_reports(path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    (copy / "bad.wav").write_bytes(b"RIFF")
    soundfile.write(copy / "short.wav", np.ones(100) / 9, SR)
    for keep in (None, tmp_path / "e"):
        summary = detect_files(copy, tmp_path / "o", path, embeddings=keep, resume=False)
        assert summary.statuses == {"done": 4, "failed": 1}
        assert summary.failures[0].input == str(copy / "bad.wav") and not (tmp_path / "o" / "bad.csv").exists()


def test_an_output_that_gets_another_name_leaves_no_double(path, tmp_path):
    copy = write_sounds(tmp_path / "s", 1)
    detect_files(copy, tmp_path / "o", path)
    soundfile.write(copy / "hiss" / "0.flac", np.ones(SR * 2) / 9, SR)
    detect_files(copy, tmp_path / "o", path)
    assert sorted(os.listdir(tmp_path / "o" / "hiss")) == [
        ".0.flac.csv.json",
        ".0.wav.csv.json",
        "0.flac.csv",
        "0.wav.csv",
    ]


def test_workers_with_another_classifier_or_model_say_so(sounds, path, tmp_path):
    _, work, _ = find_detect_jobs([sounds], tmp_path, path)
    job = next(work)
    assert detect_file(job._replace(sha256="0" * 64)).kind == "model"
    assert detect_file(job._replace(embedding=job.embedding._replace(sha256="0" * 64))).kind == "model"


def test_wrong_options(sounds, path, model, small_npz, tmp_path, monkeypatch):
    save_classifier(tmp_path / "path.npz", make_classifier(model, model_name="../evil.npz"))
    save_classifier(tmp_path / "gone.npz", make_classifier(model, model_name="gone"))
    save_classifier(tmp_path / "old.npz", make_classifier(model, contract=1))
    for name, options, message in (
        (path, {"form": "xml"}, "format: expected csv, audacity"),
        (path, {"threshold": 0}, "threshold: expected a number above 0"),
        (path, {"threshold": True}, "threshold"),
        (path, {"merge_gap": -1}, "merge_gap: expected a number of seconds"),
        (path, {"min_length": "1"}, "min_length"),
        (path, {"scores": tmp_path}, "scores: expected a directory of their own"),
        (path, {"model": small_npz}, "cannot load its model|expected embeddings of pico-64"),
        (tmp_path / "path.npz", {}, "expected a model's name, found a path"),
        (tmp_path / "gone.npz", {}, "cannot load its model 'gone'"),
        (tmp_path / "old.npz", {}, "numeric contract 1"),
        (small_npz, {}, "format: edgel3_np classifier|missing member 'mean'"),
    ):
        with pytest.raises(EdgeL3Error, match=message):
            detect_files(sounds, tmp_path, name, **options)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EdgeL3Error, match="pyarrow"):
        detect_files(sounds, tmp_path, path, form="parquet")


def test_one_table_of_all(sounds, path, tmp_path):
    outputs = {}
    detect_files(sounds, tmp_path / "o", path, on_report=lambda r: outputs.update({r.input: r.output}))
    write_table(outputs, tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert len(rows) == sum(len(read_events(output)[1]) for output in outputs.values()) > 3
    with pytest.raises(EdgeL3Error, match="expected a name that ends in .csv, .jsonl, .parquet, found '.txt'"):
        write_table(outputs, tmp_path / "all.txt")
