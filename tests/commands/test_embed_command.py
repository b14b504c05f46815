"""Tests of the embed command: `edgel3-np INPUT ...`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import factory
import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np._version import CONTRACT
from edgel3_np.commands import embed, ending
from edgel3_np.weights.format import save_weights
from edgel3_np.weights.locate import PATH_VARIABLE


@pytest.fixture
def sounds(tmp_path, sweep):
    """Make a directory with two recordings, a text file, and a subdirectory with a third recording."""
    directory = tmp_path / "sounds"
    (directory / "deeper").mkdir(parents=True)
    soundfile.write(directory / "a.wav", sweep, 8000)
    soundfile.write(directory / "b.FLAC", sweep[:9000], 8000)
    soundfile.write(directory / "deeper" / "c.wav", sweep, 8000)
    (directory / "notes.txt").write_text("no audio")
    return directory


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}


def test_a_file_is_embedded_next_to_itself(sounds, small_npz, small_model, capsys):
    assert embed.main([str(sounds / "a.wav"), "--model", str(small_npz)]) == ending.OK
    expected = small_model.embed(sounds / "a.wav")
    with np.load(sounds / "a.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["embedding"], expected.embedding)
        np.testing.assert_array_equal(archive["timestamps"], expected.timestamps)
        provenance = json.loads(archive["provenance"].item())
    info = (sounds / "a.wav").stat()
    assert provenance == {
        "embedding_sha256": expected.sha256(),
        "input": {"name": "a.wav", "bytes": info.st_size, "mtime_ns": info.st_mtime_ns, "root": str(sounds)},
        "model": "small",
        "weights_sha256": small_model.sha256,
        "version": edgel3_np.__version__,
        "contract": CONTRACT,
        "options": {"dim": 16, "hop_size": 0.1, "center": True},
    }
    captured = capsys.readouterr()
    assert captured.out == "" and "1 done" in captured.err


def test_options(sounds, small_npz, small_model, capsys):
    arguments = [str(sounds / "a.wav"), "-m", str(small_npz), "-o", str(sounds / "out" / "new"), "-x", "small"]
    assert embed.main([*arguments, "-t", "0.5", "-n", "-q"]) == ending.OK
    expected = small_model.embed(sounds / "a.wav", hop_size=0.5, center=False)
    with np.load(sounds / "out" / "new" / "a_small.npz") as archive:
        np.testing.assert_array_equal(archive["embedding"], expected.embedding)
        assert json.loads(archive["provenance"].item())["options"] == {"dim": 16, "hop_size": 0.5, "center": False}
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_directory_gives_its_audio_files_only(sounds, small_npz):
    assert embed.main([str(sounds), "-m", str(small_npz), "-q", "--no-recursive"]) == ending.OK
    assert sorted(path.name for path in sounds.glob("*.npz")) == ["a.npz", "b.npz"]
    assert not list((sounds / "deeper").glob("*.npz"))
    assert embed.main([str(sounds), "-m", str(small_npz), "-q"]) == ending.OK
    assert [path.name for path in (sounds / "deeper").glob("*.npz")] == ["c.npz"]


def test_a_directory_without_recordings_says_what_there_is(tmp_path, sweep, small_npz, capsys):
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    (tmp_path / "below").mkdir()
    soundfile.write(tmp_path / "below" / "c.wav", sweep, 8000)
    assert embed.main([str(tmp_path), "-m", str(small_npz), "--no-recursive"]) == ending.NO_INPUTS
    err = capsys.readouterr().err
    assert "found 2 .txt, 1 .wav, 1 folder; leave out --no-recursive" in err
    (tmp_path / "nothing").mkdir()
    assert embed.main([str(tmp_path / "nothing"), "-m", str(small_npz)]) == ending.NO_INPUTS
    assert "found nothing" in capsys.readouterr().err


def test_one_bad_file_is_reported_and_the_rest_done(sounds, small_npz, capsys):
    (sounds / "aa.wav").write_bytes(b"not audio")
    soundfile.write(sounds / "ab.wav", np.zeros(0), 8000)
    assert embed.main([str(sounds), "-m", str(small_npz)]) == ending.FAILED
    err = capsys.readouterr().err
    assert "aa.wav" in err and "libsndfile" in err and "ab.wav: audio: expected at least one sample" in err
    assert "5 files: 3 done, 0 skipped, 2 failed" in err and "failures: 1 not audio, 1 empty" in err
    assert sorted(path.name for path in sounds.glob("*.npz")) == ["a.npz", "b.npz"]
    assert not list(sounds.glob(".*"))


def test_two_inputs_of_one_name_do_not_overwrite(sounds, small_npz):
    (sounds / "a.flac").write_bytes((sounds / "b.FLAC").read_bytes())
    assert embed.main([str(sounds), "-m", str(small_npz), "-q"]) == ending.OK
    assert sorted(path.name for path in sounds.glob("*.npz")) == ["a.flac.npz", "a.wav.npz", "b.npz"]


def test_outputs_of_a_tree_mirror_it(sounds, tmp_path, small_npz, capsys):
    out = tmp_path / "out"
    assert embed.main([str(sounds), "-r", "-o", str(out), "-m", str(small_npz), "--jobs", "2"]) == ending.OK
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.npz")) == ["a.npz", "b.npz", "deeper/c.npz"]
    assert "3 files: 3 done, 0 skipped, 0 failed" in capsys.readouterr().err


def test_json_manifest_and_resume(sounds, tmp_path, small_npz, capsys):
    (sounds / "bad.wav").write_bytes(b"no sound")
    manifest = tmp_path / "manifest.jsonl"
    arguments = [str(sounds), "-m", str(small_npz), "-q", "--json", "--manifest", str(manifest)]
    assert embed.main(arguments) == ending.FAILED
    out, err = capsys.readouterr()
    reports = [json.loads(line) for line in out.splitlines()]
    assert [report["status"] for report in reports] == ["done", "done", "failed", "done"]
    assert reports[0]["windows"] == len(np.load(sounds / "a.npz")["embedding"]) and reports[2]["kind"] == "not audio"
    assert reports[0]["seconds"] == 17003 / 8000
    assert "failures: 1 not audio" in err
    assert embed.main([*arguments, "--no-progress"]) == ending.FAILED
    again = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert again == ["skipped", "skipped", "failed", "skipped"]
    assert embed.main([*arguments, "--no-resume"]) == ending.FAILED
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [
        "done",
        "done",
        "failed",
        "done",
    ]
    assert len([json.loads(line) for line in manifest.read_text().splitlines()]) == 12


def test_strict_stops_at_the_first_failure(sounds, small_npz, capsys):
    (sounds / "aa.wav").write_bytes(b"no sound")
    assert embed.main([str(sounds), "-m", str(small_npz), "--strict"]) == ending.FAILED
    assert sorted(path.name for path in sounds.glob("*.npz")) == ["a.npz"]
    assert "2 files: 1 done, 0 skipped, 1 failed" in capsys.readouterr().err


def test_shards_are_a_partition(sounds, tmp_path, small_npz):
    names = []
    for part in (1, 2, 3):
        out = tmp_path / str(part)
        code = embed.main([str(sounds), "-r", "-q", "-o", str(out), "-m", str(small_npz), "--shard", f"{part}/3"])
        names += [str(path.relative_to(out)) for path in out.rglob("*.npz")]
        assert code == (ending.OK if out.exists() else ending.NO_INPUTS)
    assert sorted(names) == ["a.npz", "b.npz", "deeper/c.npz"]


def test_progress_is_shown_if_asked_for(sounds, small_npz, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    arguments = [str(sounds), "-m", str(small_npz)]
    assert embed.main([*arguments, "--progress"]) == ending.OK
    assert "3/3" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr("edgel3_np.commands.progress.EVERY", 0.0)
    assert embed.main([*arguments, "--progress"]) == ending.OK
    assert "1 of 3 files" in capsys.readouterr().err
    assert embed.main([*arguments, "--progress", "-q"]) == ending.OK
    assert capsys.readouterr().err == ""


def test_warnings_name_the_file(sounds, small_npz, capsys):
    for name in ("short1.wav", "short2.wav"):
        soundfile.write(sounds / name, np.ones(100) / 2, 8000)
    assert embed.main([str(sounds / "short1.wav"), str(sounds / "short2.wav"), "-m", str(small_npz)]) == ending.OK
    err = capsys.readouterr().err
    assert "short1.wav: warning" in err and "short2.wav: warning" in err


def test_a_directory_without_audio_files(tmp_path, small_npz, capsys):
    assert embed.main([str(tmp_path), "-m", str(small_npz)]) == ending.NO_INPUTS == 255
    assert "no audio files" in capsys.readouterr().err


def test_missing_input_is_a_failure(tmp_path, small_npz, capsys):
    assert embed.main([str(tmp_path / "none.wav"), "-m", str(small_npz)]) == ending.FAILED
    assert "none.wav: cannot be read: No such file" in capsys.readouterr().err


def test_an_output_directory_that_is_a_file(sounds, small_npz, capsys):
    assert embed.main([str(sounds / "a.wav"), "-m", str(small_npz), "-o", str(sounds / "notes.txt")]) == ending.FAILED
    assert "notes.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.wav", "--hop-size", "0"],
        ["a.wav", "-t", "-1"],
        ["a.wav", "-t", "nan"],
        ["a.wav", "-t", "x"],
        ["a.wav", "-e", "100"],
        ["a.wav", "-sp", "12"],
        ["a.wav", "--model-type", "dense"],
        ["a.wav", "--nonsense"],
        ["a.wav", "--jobs", "0"],
        ["a.wav", "--threads", "two"],
        ["a.wav", "--shard", "3/2"],
        ["a.wav", "--shard", "0/2"],
        ["a.wav", "--shard", "1"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        embed.main(arguments)
    assert caught.value.code == ending.USAGE
    assert "usage" in capsys.readouterr().err


def test_files_that_cannot_be_written(sounds, small_npz, capsys):
    arguments = [str(sounds), "-m", str(small_npz)]
    assert embed.main([*arguments, "--manifest", str(sounds / "none" / "m.jsonl")]) == ending.USAGE
    assert "m.jsonl" in capsys.readouterr().err
    assert embed.main([*arguments, "--suffix", "a/b"]) == ending.USAGE
    assert "suffix" in capsys.readouterr().err


def test_a_manifest_that_cannot_be_written_to_the_end(sounds, small_npz, capsys):
    """The disk is full; the command prints one line and no traceback."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    assert embed.main([str(sounds), "-m", str(small_npz), "--manifest", "/dev/full"]) == ending.FAILED
    assert capsys.readouterr().err == "edgel3-np: [Errno 28] No space left on device\n"


def test_control_characters_in_names_are_escaped(sounds, small_npz, sweep, capsys):
    (sounds / "bad\x1b[31m.wav").write_text("no sound")
    soundfile.write(sounds / "short\x1b[31m.wav", sweep[:99], 8000)
    assert embed.main([str(sounds), "-m", str(small_npz)]) == ending.FAILED
    (sounds / "empty\x1b[31m").mkdir()
    assert embed.main([str(sounds / "empty\x1b[31m"), "-m", str(small_npz)]) == ending.NO_INPUTS
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert all(f"{name}\\x1b[31m" in err for name in ("bad", "short", "empty"))


def test_interrupted_before_anything_is_done(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(embed, "find_jobs", interrupt)
    assert embed.main(["a.wav"]) == ending.INTERRUPTED
    assert capsys.readouterr().err == "edgel3-np: interrupted\n"


def test_a_model_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, "/no/such")
    assert embed.main(["a.wav", "-m", "sea-64"]) == ending.USAGE
    assert "python -m edgel3_np install sea-64" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, name",
    [
        ([], "pico-64"),
        (["-m", "x.npz"], "x.npz"),
        (["--model-type", "sparse"], "sparse-ft-95.45"),
        (["-mtype", "sparse", "-retrain", "kd", "-sp", "53.5"], "sparse-kd-53.5"),
        (["--model-sparsity", "87.0"], "sparse-ft-87.0"),
        (["-mtype", "sea"], "sea-128"),
        (["-sp", "87"], "sparse-ft-87.0"),
        (["-sp", "95.450"], "sparse-ft-95.45"),
        (["--model-type", "sea", "--emb-dim", "64"], "sea-64"),
        (["-mtype", "sea", "-e", "128"], "sea-128"),
        (["-i", "mel128"], "openl3-mel128-music"),
        (["--content-type", "env"], "openl3-mel256-env"),
        (["--input-repr", "linear", "-c", "music"], "openl3-linear-music"),
    ],
)
def test_options_of_upstream_name_models(arguments, name):
    assert embed.model_name(embed.build_parser().parse_args(["a.wav", *arguments])) == name


@pytest.mark.parametrize("more", [["-e", "64"], ["-i", "linear"], ["-c", "env", "-e", "64"]])
def test_two_ways_of_naming_models_at_once(more, capsys):
    named = [] if len(more) > 2 else ["-m", "pico-64"]
    assert embed.main(["a.wav", *named, *more]) == ending.USAGE
    err = capsys.readouterr().err
    assert "expected one way to name a model" in err and ("found --model, " in err) is bool(named)
    assert all({"-e": "--emb-dim", "-i": "--input-repr", "-c": "--content-type"}[flag] in err for flag in more[::2])


def test_lengths_of_embeddings(sounds, tmp_path, capsys):
    """A model may have several lengths; a result of another length is computed again."""
    path = tmp_path / "grid.npz"
    save_weights(path, factory.random_weights()._replace(pool_grid=(2, 3)))
    arguments = [str(sounds / "a.wav"), "-m", str(path), "-o", str(tmp_path / "out")]
    for flag, dim in (("--dim", "16"), ("-as", "96"), ("--audio-embedding-size", "16"), (None, "96")):
        assert embed.main([*arguments, *([flag, dim] if flag else [])]) == ending.OK
        assert "1 done" in capsys.readouterr().err
        with np.load(tmp_path / "out" / "a.npz") as archive:
            assert archive["embedding"].shape[1] == int(dim)
    assert embed.main([*arguments, "--dim", "64"]) == ending.USAGE
    assert "expected 96 or 16" in capsys.readouterr().err


def test_audio_that_is_passed_over_alone_is_no_success(tmp_path, small_npz, capsys):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    assert embed.main([str(tmp_path), "-m", str(small_npz)]) == ending.NO_INPUTS
    assert "passed over: 1 .m4a" in capsys.readouterr().err


def test_options_between_inputs(sounds, small_npz, capsys):
    arguments = [str(sounds / "a.wav"), "--json", str(sounds / "b.FLAC"), "-m", str(small_npz)]
    assert embed.main(arguments) == ending.OK and len(capsys.readouterr().out.splitlines()) == 2


def test_standard_input_is_refused_in_words(capsys, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        embed.main(["-", "-m", str(small_npz)])
    assert "found - (standard input): write it to a file, or use `listen -`" in capsys.readouterr().err


def test_a_second_run_repeats_what_is_missing(sounds, small_npz, capsys):
    content = (sounds / "a.wav").read_bytes()
    (sounds / "a.wav").write_bytes(content[: len(content) // 2])
    for status in ("done", "skipped"):
        assert embed.main([str(sounds / "a.wav"), "-m", str(small_npz), "--json"]) == ending.OK
        out, err = capsys.readouterr()
        report = json.loads(out)
        assert report["status"] == status and report["incomplete"] and len(report["remarks"]) == 1
        assert f"a.wav: warning: {report['remarks'][0]}" in err and not report["remarks"][0].startswith("audio")
    assert embed.main([str(sounds / "a.wav"), "-m", str(small_npz), "--json", "--strict"]) == ending.FAILED
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "incomplete" and report["incomplete"] and "strict refuses it" in report["reason"]


def test_list_models(small_npz, monkeypatch, capsys):
    monkeypatch.setenv(PATH_VARIABLE, str(small_npz.parent))
    assert embed.main(["--list-models"]) == ending.OK
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("small"))
    assert line.split()[1:6] == ["8", "kHz", "16", "29", "kB"] and str(small_npz) in line


def test_list_models_is_a_hidden_option():
    assert "--list-models" not in embed.build_parser().format_help()


def test_list_models_lists_broken_files(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.npz").write_bytes(b"x")
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    assert embed.main(["--list-models"]) == ending.OK
    assert "broken" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted(sounds, small_npz, sweep, jobs):
    """After Ctrl-C, finished outputs stay, no partial file and no process is left, and the exit code is right."""
    for number in range(40):
        soundfile.write(sounds / f"x{number:02}.wav", np.tile(sweep, 10), 8000)
    program = subprocess.Popen(
        [sys.executable, "-m", "edgel3_np", str(sounds), "-m", str(small_npz), "-t", "0.01", "--jobs", jobs],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in a shell's background ignore it
    )
    while not list(sounds.glob("*.npz")):
        assert program.poll() is None
        time.sleep(0.01)
    os.killpg(program.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, err = program.communicate(timeout=100)
    assert program.returncode == ending.INTERRUPTED, err
    assert "interrupted" in err and "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(program.pid, 0)  # no process is left
    done = list(sounds.glob("*.npz"))
    assert 0 < len(done) < 42
    for path in done:
        with np.load(path) as archive:
            assert len(archive["embedding"]) == len(archive["timestamps"]) > 0
    assert not list(sounds.glob(".*"))
