"""Tests of the similar command: `edgel3-np similar QUERY DIR ...`."""

import json
import os

import numpy as np
import pytest
import soundfile
from pages.test_assemble import data_of

import edgel3_np
from edgel3_np._version import CONTRACT
from edgel3_np.collections.results import save_embedding
from edgel3_np.collections.search import similar
from edgel3_np.commands.main import main

DIM = 5


@pytest.fixture
def collection(tmp_path):
    """Write forty files of embeddings into nested folders; return their paths."""
    rng, paths = np.random.default_rng(0), []
    for number in range(40):
        embedding = np.maximum(0, rng.standard_normal((rng.integers(1, 60), DIM)) + rng.standard_normal(DIM))
        paths.append(tmp_path / "c" / f"{number % 3}" / "d" / f"{number:02}.npz")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        provenance = {
            "model": "m",
            "weights_sha256": "a" * 64,
            "contract": CONTRACT,
            "options": {"dim": DIM, "hop_size": 0.1, "center": True},
            "input": {"name": f"{number:02}.wav", "bytes": 1, "mtime_ns": 2},
        }
        times = lambda count, first: np.arange(first, first + count) * 0.1  # noqa: E731
        save_embedding(paths[-1], [embedding.astype(np.float32)], times, provenance)
    return paths


@pytest.fixture
def recordings(small_npz, sweep, tmp_path):
    """Write three recordings and a folder of their embeddings: hop 0.25 s, not centred."""
    rng = np.random.default_rng(3)
    for name, signal in (("sweep", sweep), ("noise", rng.standard_normal(16000) / 9), ("back", sweep[::-1])):
        soundfile.write(tmp_path / f"{name}.wav", signal, 8000)
    options = {"model": small_npz, "hop_size": 0.25, "center": False}
    for report in edgel3_np.iter_files(tmp_path, tmp_path / "c", **options):
        assert report.status == "done"
    return tmp_path


def test_hits_are_printed(collection, tmp_path, capsys):
    query = str(collection[0])
    assert main(["similar", query, str(tmp_path / "c"), "--top", "3"]) == 0
    out, err = capsys.readouterr()
    hits = similar(query, tmp_path / "c", top=3)
    lines = out.splitlines()
    assert err == "" and lines[0].split() == ["score", "moment", "time", "recording"] and len(lines) == 4
    for line, hit in zip(lines[1:], hits):
        assert line.split() == [
            f"{hit.score:.4f}",
            f"{hit.moment:.4f}",
            f"{hit.time:.2f}",
            "s",
            hit.recording or hit.path,
        ]
    assert main(["similar", query, str(tmp_path / "c"), "--json", "--moments", "--at", "0.1-0.3", "--top", "4"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [hit._asdict() for hit in similar(query, tmp_path / "c", at=(0.1, 0.3), moments=True, top=4)]
    for hit in expected:
        hit.update({key: round(hit[key], 6) for key in ("score", "moment", "time")})
    assert found == expected
    assert main(["similar", query, str(tmp_path / "c"), "--moments", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0].split() == ["score", "time", "recording"] and len(lines[1].split()) == 4
    )  # the score stands there once


def test_what_is_searched_for_comes_first(collection, tmp_path, capsys):
    query, folder = str(collection[0]), str(tmp_path / "c")
    for arguments, message in (
        ([query, f"{folder}x"], "expected a directory of embeddings, an npz, or a part of a table; found nothing"),
        ([folder, query], "found a directory; the query comes first"),
        ([query, __file__], "found another file (the query comes first)"),
    ):
        assert main(["similar", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_no_other_recording_is_said(recordings, small_npz, capsys):
    for name in ("noise", "back"):
        (recordings / "c" / f"{name}.npz").unlink()
    query = str(recordings / "sweep.wav")
    assert main(["similar", query, str(recordings / "c"), "-m", str(small_npz)]) == 0
    assert "found no other recording in" in capsys.readouterr().err


def test_a_query_above_what_the_model_hears_is_a_warning(recordings, small_npz, capsys):
    soundfile.write(recordings / "high.wav", np.sin(np.arange(48000) * 0.8), 48000)
    assert main(["similar", str(recordings / "high.wav"), str(recordings / "c"), "-m", str(small_npz)]) == 0
    assert "warning: " in capsys.readouterr().err


def test_hits_name_recordings_and_their_sound_can_be_cut(recordings, small_npz, tmp_path, capsys):
    query, clips = str(recordings / "sweep.wav"), tmp_path / "clips"
    arguments = ["similar", query, str(recordings / "c"), "-m", str(small_npz), "--clips", str(clips)]
    assert main([*arguments, "--json"]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {hit["recording"] for hit in hits} == {str(recordings / "noise.wav"), str(recordings / "back.wav")}
    for hit in hits:
        sound, rate = soundfile.read(hit["clip"])
        whole, _ = soundfile.read(hit["recording"])
        start = round(hit["time"] * 8000)  # the windows of this collection begin at their times
        assert rate == 8000 and os.path.dirname(hit["clip"]) == str(clips)
        np.testing.assert_allclose(sound, whole[start : start + 8000], atol=1e-4)
    (recordings / "back.wav").unlink()
    assert main(arguments) == 1
    assert "no clip: " in capsys.readouterr().err


def test_exit_codes(collection, tmp_path, capsys):
    query, folder = str(collection[0]), tmp_path / "c"
    (folder / "0" / "bad\x1b[31m.npz").write_text("x")
    assert main(["similar", query, str(folder)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 11 and err.count("passed over: ") == 1
    assert "\x1b" not in out + err and "bad\\x1b[31m.npz" in err
    assert main(["similar", query, str(tmp_path / "missing")]) == 2
    soundfile.write(tmp_path / "a.wav", np.ones(100), 8000)
    assert main(["similar", str(tmp_path / "a.wav"), str(folder)]) == 2
    assert "cannot embed the query like this file, with 'm'" in capsys.readouterr().err
    for arguments in (
        ["similar"],
        ["similar", query],
        ["similar", query, str(folder), "--at", "x"],
        ["similar", query, str(folder), "--top", "0"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_an_unreadable_query(recordings, small_npz, capsys):
    (recordings / "text.wav").write_text("no sound")
    arguments = [str(recordings / "c"), "-m", str(small_npz)]
    assert main(["similar", str(recordings / "text.wav"), *arguments]) == 1
    assert main(["similar", str(recordings / "missing.wav"), *arguments]) == 1
    assert main(["similar", str(recordings / "sweep.wav"), *arguments]) == 0
    out, err = capsys.readouterr()
    assert err.count("edgel3-np similar: ") == 2 and len(out.splitlines()) == 3


def test_unreadable_files_are_not_wrong_usage(recordings, collection, small_npz, tmp_path, capsys):
    soundfile.write(tmp_path / "slow.wav", np.ones(100), 50)
    assert main(["similar", str(tmp_path / "slow.wav"), str(recordings / "c"), "-m", str(small_npz)]) == 1
    assert f"{tmp_path / 'slow.wav'}: expected a sampling rate from 100" in capsys.readouterr().err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.npz").write_text("x")
    soundfile.write(tmp_path / "sound.wav", np.ones(9000), 8000)
    for query in (collection[0], tmp_path / "sound.wav"):
        assert main(["similar", str(query), str(tmp_path / "bad")]) == 1
        assert str(tmp_path / "bad" / "x.npz") in capsys.readouterr().err


@pytest.mark.parametrize("change", ["cut", "missing", "foreign"])
def test_a_query_of_embeddings_that_is_damaged_is_not_wrong_usage(collection, tmp_path, capsys, change):
    query = tmp_path / "query.npz"
    if change == "cut":
        query.write_bytes(collection[0].read_bytes()[:-30])
    elif change == "foreign":
        np.savez(query, x=np.ones(3))
    assert main(["similar", str(query), str(tmp_path / "c")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"edgel3-np similar: {query}: ")


def test_an_interrupt(collection, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgel3_np.commands.similar.similar", interrupt)
    assert main(["similar", str(collection[0]), str(tmp_path / "c")]) == 130
    assert capsys.readouterr().err == "edgel3-np similar: interrupted\n"


def test_a_page_of_hits_holds_what_is_printed(recordings, small_npz, tmp_path, capsys):
    query, page = str(recordings / "sweep.wav"), tmp_path / "hits.html"
    arguments = ["similar", query, str(recordings / "c"), "-m", str(small_npz), "--html", str(page)]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    hits = [json.loads(line) for line in out.splitlines()]
    assert f"{page}: 2 hits, 0." in err
    data = data_of(page.read_text(encoding="utf-8"))
    assert data["about"][0]["title"] == "Recordings like sweep.wav" and data["about"][0]["labels"] == []
    by_number = {item["number"]: item for item in data["item"]}
    assert by_number[0]["path"] == query and (by_number[0]["start"], by_number[0]["end"]) == (0, None)
    for number, hit in enumerate(hits, 1):
        item = by_number[number]
        assert (item["path"], item["score"]) == (hit["recording"], hit["score"])
        assert item["start"] == pytest.approx(hit["time"]) and item["end"] == pytest.approx(hit["time"] + 1)
    own = str(recordings / "c" / "sweep.npz")
    assert main(["similar", own, *arguments[2:], "--moments", "--at", "1-1.5", "--link"]) == 0
    items = {item["number"]: item for item in data_of(page.read_text(encoding="utf-8"))["item"]}
    assert items[0]["path"] == query and (items[0]["start"], items[0]["end"]) == (0.5, 2.0) and items[0]["url"]
    (recordings / "back.wav").unlink()
    assert main(arguments) == 1
    assert "cannot be heard: " in capsys.readouterr().err
    assert main([*arguments[:-1], str(tmp_path / "hits.txt")]) == 2
    assert "expected a name that ends in .html" in capsys.readouterr().err
