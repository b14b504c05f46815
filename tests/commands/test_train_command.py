"""Tests of `edgel3-np train`, `detect`, and `listen -c`: from labels to a live detector."""

import csv
import io
import json
import sys

import numpy as np
import pytest
import soundfile
from pages.test_assemble import data_of
from trained import SR, hiss, make_classifier, tone, write_sounds, write_walk

import edgel3_np
from edgel3_np.classify.classifier import save_classifier
from edgel3_np.commands import ending
from edgel3_np.commands.main import main

pytest.importorskip("sklearn", reason="training needs scikit-learn")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on three kinds of sound; return the folder of sounds, classifier, page and embeddings."""
    folder = tmp_path_factory.mktemp("trained")
    write_sounds(folder / "sounds", 5)
    arguments = ["train", "sounds", "-o", "c.npz", "--report", "r.html", "--embeddings", "e"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", io.StringIO())
        assert main(arguments) == ending.OK
        (folder / "printed").write_text(sys.stdout.getvalue(), encoding="utf-8")
    return folder


def test_train_prints_the_report_and_writes_the_page(trained):
    lines = (trained / "printed").read_text(encoding="utf-8").splitlines()
    assert " ".join(lines[0].split()) == "class recordings windows precision recall average precision threshold"
    assert [line.split()[0] for line in lines[1:4]] == ["clicks", "hiss", "tone"] and "±" in lines[1]
    assert lines[5].split()[:3] == ["heard", "\\", "predicted"] and lines[9].startswith("background")
    page = (trained / "r.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<th scope='row'>tone</th>" in page
    assert len(list((trained / "e").rglob("*.npz"))) == 15
    assert edgel3_np.Classifier.load(trained / "c.npz").classes == ("clicks", "hiss", "tone")


def test_detect_prints_a_table(trained, tmp_path, capsys):
    walk = write_walk(tmp_path / "walk.wav")
    assert main(["detect", str(walk), "-c", str(trained / "c.npz"), "--merge-gap", "0.5"]) == ending.OK
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(out.splitlines()))
    assert {row["path"] for row in rows} == {str(walk)}
    (found,) = [row for row in rows if row["label"] == "tone"]
    assert float(found["start"]) == pytest.approx(4, abs=0.8) and float(found["end"]) == pytest.approx(6, abs=0.8)
    assert "1 file: 1 done" in err and "tone: 1 event, " in err
    assert list(tmp_path.iterdir()) == [walk]
    assert main(["detect", str(walk), "-c", str(trained / "c.npz"), "--format", "jsonl", "-q"]) == ending.OK
    out, err = capsys.readouterr()
    assert err == "" and {json.loads(line)["path"] for line in out.splitlines()} == {str(walk)}


def test_detect_writes_a_tree_and_a_table_that_train_reads(trained, tmp_path, capsys):
    arguments = ["detect", str(trained / "sounds"), "-c", str(trained / "c.npz"), "-o", str(tmp_path / "o"), "-j", "2"]
    arguments += ["--keep-embeddings", str(trained / "e"), "--scores", str(tmp_path / "s")]
    assert main([*arguments, "--all", str(tmp_path / "all.csv")]) == ending.OK
    out, err = capsys.readouterr()
    assert out == "" and "15 files: 15 done" in err and len(list((tmp_path / "o").rglob("[!.]*.csv"))) == 15
    assert main([*arguments, "--all", "-"]) == ending.OK
    out, err = capsys.readouterr()
    assert out == (tmp_path / "all.csv").read_text() and "15 skipped" in err
    again = ["train", str(tmp_path / "all.csv"), "-o", str(tmp_path / "2.npz"), "--embeddings", str(trained / "e")]
    assert main(again) == ending.OK
    capsys.readouterr()


def test_wrong_usage(trained, tmp_path, capsys, monkeypatch):
    sounds, classifier = str(trained / "sounds"), str(trained / "c.npz")
    for arguments, code, message in (
        (["train", str(tmp_path / "no"), "-o", "x.npz"], ending.FAILED, "no: cannot be read"),
        (["train", sounds, "-o", str(tmp_path / "no" / "x.npz")], ending.USAGE, "existing directory"),
        (
            ["train", sounds, "-o", "x.npz", "--report", str(tmp_path / "no" / "r.html")],
            ending.USAGE,
            "existing directory",
        ),
        (["detect", sounds, "-c", str(tmp_path / "no.npz")], ending.USAGE, "no.npz: cannot be read"),
        (["detect", sounds, "-c", classifier, "--all", "x.txt"], ending.USAGE, "a name that ends in .csv"),
        (["detect", str(tmp_path), "-c", classifier], ending.NO_INPUTS, "no audio files in"),
        (["detect", str(tmp_path / "gone.wav"), "-c", classifier], ending.FAILED, "failed: "),
        (["listen", "-", "--run", "x"], ending.USAGE, "expected a classifier (-c) with them"),
        (["listen", "-", "-c", classifier, "--examples", sounds], ending.USAGE, "found both"),
        (["listen", "-", "-c", classifier, "--run", "{label}"], ending.USAGE, "depends on the sound"),
        (["listen", "-", "-c", classifier, "-m", "nothing"], ending.USAGE, "nothing"),
    ):
        assert main(arguments) == code, arguments
        assert message in capsys.readouterr().err
    for arguments in (["--threshold", "2"], ["--threshold", "nan"], ["--merge-gap", "-1"], ["--format", "xml"]):
        with pytest.raises(SystemExit):
            main(["detect", sounds, "-c", classifier, *arguments])
        assert arguments[0] in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    assert main(["train", sounds, "-o", str(tmp_path / "x.npz")]) == ending.USAGE
    assert "pip install scikit-learn" in capsys.readouterr().err and not (tmp_path / "x.npz").exists()


def test_an_interrupt_writes_nothing(trained, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgel3_np.classify.train.pool_windows", interrupt)
    output = tmp_path / "x.npz"
    assert main(["train", str(trained / "sounds"), "-o", str(output)]) == ending.INTERRUPTED
    assert not output.exists() and "no classifier is written" in capsys.readouterr().err


def listen(monkeypatch, sound, *arguments):
    content = np.round(32767 * sound).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return main(["listen", "-", "--rate", str(SR), *map(str, arguments)])


def walk():
    rng = np.random.default_rng(5)
    return np.concatenate([hiss(3, rng), tone(3, rng), hiss(3, rng), tone(3, rng)])


def test_listen_names_what_is_heard_and_runs_a_command_when_it_begins(trained, tmp_path, capsys, monkeypatch):
    code = f"import sys; open({str(tmp_path / 'out')!r}, 'a').write(sys.argv[1] + ' ' + sys.argv[2] + chr(10))"
    command = f'{sys.executable} -c "{code}" {{label}} {{score}}'
    assert listen(monkeypatch, walk(), "-c", trained / "c.npz", "--json") == ending.OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["labels"] for line in lines] == [["hiss"]] * 3 + [["tone"]] * 3 + [["hiss"]] * 3 + [["tone"]] * 3
    assert all(set(line["scores"]) == {"clicks", "hiss", "tone"} for line in lines)
    poll = edgel3_np.live.runs.Runs.poll

    def patient_poll(self):  # the sound of a test comes faster than commands end
        if self._process is not None:
            self._process.wait(60)
        poll(self)

    monkeypatch.setattr("edgel3_np.live.runs.Runs.poll", patient_poll)
    assert listen(monkeypatch, walk(), "-c", trained / "c.npz", "--run", command) == ending.OK
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[4].endswith(" tone")
    assert [line.split()[0] for line in (tmp_path / "out").read_text().splitlines()] == ["hiss", "tone", "hiss", "tone"]


def test_listen_with_a_threshold_and_a_failing_command(trained, capsys, monkeypatch):
    assert listen(monkeypatch, walk(), "-c", trained / "c.npz", "--threshold", 1) == ending.OK
    assert all(line.endswith("dBFS") for line in capsys.readouterr().out.splitlines())
    assert listen(monkeypatch, walk()[:SR], "-c", trained / "c.npz", "--run", "/nothing/here {label}") == ending.OK
    assert "warning: run: /nothing/here cannot be started" in capsys.readouterr().err


def test_a_hostile_label_on_the_terminal_and_in_the_table(tmp_path, capsys):
    label = "=cmd|' /C calc'!A0, \"<img src=x>\""
    model = edgel3_np.load_model()
    made = make_classifier(model, (label,), coefficients=np.zeros((1, 64)), intercepts=np.ones(1))
    save_classifier(tmp_path / "c.npz", made)
    soundfile.write(tmp_path / "a.wav", np.ones(SR) / 9, SR)
    assert main(["detect", str(tmp_path / "a.wav"), "-c", str(tmp_path / "c.npz")]) == ending.OK
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["label"] == label


def test_a_page_has_the_best_events_of_each_class(trained, tmp_path, capsys):
    page, sounds = tmp_path / "hits.html", str(trained / "sounds")
    arguments = ["detect", sounds, "-c", str(trained / "c.npz"), "--html", str(page)]
    assert main(arguments) == ending.OK
    out, err = capsys.readouterr()
    assert out == "" and "hits.html: 15 hits, " in err
    items = data_of(page.read_text(encoding="utf-8"))["item"]
    everything = sorted((item["label"], -item["score"]) for item in items)
    assert main([*arguments, "--hits", "2", "--all", "-", "-o", str(tmp_path / "o")]) == ending.OK
    out, err = capsys.readouterr()
    assert "the page has 6 of 15 events: the best 2 of each class (--hits)" in err
    items = sorted(data_of(page.read_text(encoding="utf-8"))["item"], key=lambda item: item["number"])
    best = []
    for label in ("clicks", "hiss", "tone"):
        best += [item for item in everything if item[0] == label][:2]
    assert sorted((item["label"], -item["score"]) for item in items) == best
    assert [item["score"] for item in items] == sorted((item["score"] for item in items), reverse=True)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {(item["path"], item["start"], item["end"]) for item in items} <= {
        (row["path"], float(row["start"]), float(row["end"])) for row in rows
    }
    assert main([*arguments[:-1], str(tmp_path / "no" / "p.html")]) == ending.USAGE
    assert "in an existing directory" in capsys.readouterr().err
