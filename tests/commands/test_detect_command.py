"""Tests of how `edgel3-np detect` reports; `test_train_command` tests what a trained classifier finds."""

import csv
import json

import numpy as np
import pytest
import soundfile
from trained import SR, make_classifier, write_sounds

import edgel3_np
from edgel3_np.classify.classifier import save_classifier
from edgel3_np.commands import ending
from edgel3_np.commands.main import main


@pytest.fixture
def arguments(tmp_path):
    """Write three recordings, a bad one and a classifier; return the arguments that name them."""
    write_sounds(tmp_path / "sounds", 1)
    (tmp_path / "sounds" / "bad.wav").write_bytes(b"no sound")
    save_classifier(tmp_path / "c.npz", make_classifier(edgel3_np.load_model()))
    return ["detect", str(tmp_path / "sounds"), "-c", str(tmp_path / "c.npz"), "-q"]


def reports_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_json_and_manifest_tell_of_each_recording(arguments, tmp_path, capsys):
    manifest = tmp_path / "manifest.jsonl"
    more = ["-o", str(tmp_path / "o"), "--json", "--manifest", str(manifest)]
    for status in ("done", "skipped"):
        assert main([*arguments, *more]) == ending.FAILED
        out, err = capsys.readouterr()
        assert [report["status"] for report in reports_of(out)] == ["failed", status, status, status]
        assert "bad.wav" in err and "failures: 1 not audio" in err
    lines = reports_of(manifest.read_text())
    assert len(lines) == 8 and lines[4:] == reports_of(out) and lines[0]["kind"] == "not audio"
    assert set(lines[1]) == set(edgel3_np.Report._fields)
    assert lines[1]["output"] == str(tmp_path / "o" / "clicks" / "0.csv") and lines[1]["windows"] == 26


def test_a_manifest_beside_the_table(arguments, tmp_path, capsys):
    """Stdout has the events alone; without -o no output stays, so the manifest names none."""
    manifest = tmp_path / "manifest.jsonl"
    assert main([*arguments, "--manifest", str(manifest)]) == ending.FAILED
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows and {row["label"] for row in rows} <= {"dog", "siren"}
    assert [report["output"] for report in reports_of(manifest.read_text())] == [None] * 4


def test_json_beside_a_table_in_a_file(arguments, tmp_path, capsys):
    assert main([*arguments, "--all", str(tmp_path / "all.csv"), "--json"]) == ending.FAILED
    assert len(reports_of(capsys.readouterr().out)) == 4
    assert (tmp_path / "all.csv").read_text().startswith("path,start")


@pytest.mark.parametrize("more", [[], ["--all", "-"], ["-o", "o", "--all", "-"], ["--format", "jsonl"]])
def test_reports_and_events_are_not_printed_together(arguments, more, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--json", *more]) == ending.USAGE
    out, err = capsys.readouterr()
    assert out == "" and "--json: expected -o DIR or --all FILE with it" in err and not (tmp_path / "o").exists()


def test_a_manifest_that_cannot_be_opened(arguments, tmp_path, capsys):
    assert main([*arguments, "--manifest", str(tmp_path / "none" / "m.jsonl")]) == ending.USAGE
    assert "m.jsonl" in capsys.readouterr().err


def test_remarks_are_told_as_embed_tells_them(tmp_path, arguments, capsys):
    """Once; again only if something is missing."""
    soundfile.write(tmp_path / "short.wav", np.ones(100) / 9, SR)
    arguments = ["detect", str(tmp_path / "short.wav"), *arguments[2:4], "-o", str(tmp_path / "o")]
    for count in (1, 0):
        assert main(arguments) == ending.OK
        assert capsys.readouterr().err.count("short.wav: warning: ") == count
