"""Tests of how `main` chooses a command, and of copies of the package that lack parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import edgel3_np
from edgel3_np.commands import bench, ending, openl3, options
from edgel3_np.commands.main import main

LACKING = {  # each command, and a part of the package that it needs
    "bench": "diagnostics",
    "detect": "classify",
    "info": "diagnostics",
    "install": "released",
    "listen": "live",
    "models": "diagnostics",
    "plot": "plotting",
    "similar": "collections",
    "train": "classify",
    "verify": "diagnostics",
    "embed": "collections",
}


def run_python(*arguments, **more):
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    environment.pop("PYTHONUNBUFFERED", None)  # with it, argparse ignores that nobody reads its help
    flags = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 100, **more}
    return subprocess.run([sys.executable, "-W", "error", *map(str, arguments)], env=environment, **flags)


@pytest.mark.parametrize("name", options.COMMANDS)
def test_a_first_word_names_a_command(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0 and capsys.readouterr().out.startswith(f"usage: edgel3-np {name} ")


def test_without_the_name_of_a_command_it_is_the_embed_command(capsys):
    for arguments in (["./plot", "--help"], ["--model", "x", "-h"], ["embed", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith("usage: edgel3-np embed [-h]") and "INPUT" in out


def test_the_overview(capsys):
    for arguments in (["--help"], ["-h", "plot"]):
        assert main(arguments) == ending.OK
        out = capsys.readouterr().out
        assert out.startswith("usage: edgel3-np COMMAND ...")
        assert all(f"  {name} " in out and purpose in out for name, purpose in options.COMMANDS.items())
    assert main([]) == ending.USAGE
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("edgel3-np: error: expected a command, or the path of a recording\nusage: ")


@pytest.mark.parametrize("typed, meant", [("similiar", "similar"), ("plott", "plot"), ("instal", "install")])
def test_a_command_that_is_misspelt(typed, meant, capsys, tmp_path, monkeypatch):
    assert main([typed, "a.wav"]) == ending.USAGE
    assert capsys.readouterr().err == (
        f"edgel3-np: error: expected a command or the path of a recording, found '{typed}'; did you mean \"{meant}\"?\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / typed).mkdir()  # a path of that name is no mistake
    assert main([typed]) == ending.NO_INPUTS
    assert f"no audio files in {typed}" in capsys.readouterr().err


def test_errors_come_before_the_usage_and_name_the_option_that_is_meant(capsys):
    for arguments, message in (
        (["plot", "a.wav", "--hopsize", "3"], 'unrecognized arguments: --hopsize 3; did you mean "--hop-size"?'),
        (["embed", "a.wav", "--recursiv"], 'unrecognized arguments: --recursiv; did you mean "--recursive"?'),
        (["embed", "a.wav", "--hop", "1"], 'unrecognized arguments: --hop 1; did you mean "--hop-size"?'),
        (["embed", "a.wav", "-hop-size", "1"], 'unrecognized arguments: -hop-size; did you mean "--hop-size"?'),
        (["similar", "a.wav", "b", "--zzz"], "unrecognized arguments: --zzz"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        first, second = capsys.readouterr().err.splitlines()[:2]
        assert stopped.value.code == ending.USAGE
        assert first == f"edgel3-np {arguments[0]}: error: {message}" and second.startswith("usage: ")


def test_help_is_a_word_too(capsys):
    assert main(["help"]) == ending.OK and capsys.readouterr().out.startswith("usage: edgel3-np COMMAND")
    with pytest.raises(SystemExit):
        main(["help", "plot"])
    assert capsys.readouterr().out.startswith("usage: edgel3-np plot")


def test_a_word_that_is_neither_command_nor_path(capsys):
    assert main(["search", "a.wav"]) == ending.USAGE
    assert "expected a command (embed, bench, " in capsys.readouterr().err


@pytest.mark.parametrize("name", options.COMMANDS)
def test_help_has_examples(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert f"examples:\n  edgel3-np {'' if name == 'embed' else name}" in capsys.readouterr().out


def test_the_arguments_of_the_process_are_the_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["edgel3-np", "info", "--json"])
    assert main() == ending.OK
    assert json.loads(capsys.readouterr().out)["environment"]["edgel3_np"] == edgel3_np.__version__
    arguments = ["info", "--json"]
    assert main(arguments) == ending.OK and arguments == ["info", "--json"]  # the list is not changed


@pytest.mark.parametrize("name", LACKING)
def test_a_command_whose_part_is_missing_says_so(name, monkeypatch, capsys):
    part = LACKING[name]
    for module in [module for module in sys.modules if f"{module}.".startswith(f"edgel3_np.{part}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, f"edgel3_np.{part}", None)
    monkeypatch.delitem(sys.modules, f"edgel3_np.commands.{name}", raising=False)
    assert main([name, "--help"]) == ending.USAGE
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(
        f"edgel3-np: {name}: expected the part {part}, which is not in this copy; add it"
    )


def test_an_import_error_of_another_package_is_raised(monkeypatch):
    from edgel3_np.commands import info

    def absent():
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(info, "environment", absent)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        main(["info"])


def test_as_a_program(tmp_path, sweep, small_npz):
    sound = tmp_path / "a.wav"
    soundfile.write(sound, sweep, 8000)
    version = run_python("-m", "edgel3_np", "--version")
    assert version.returncode == 0 and edgel3_np.__version__ in version.stdout
    assert "commands, each" in run_python("-m", "edgel3_np", "--help").stdout
    done = run_python("-m", "edgel3_np", sound, "--model", small_npz)
    assert (done.returncode, done.stdout) == (0, "") and (tmp_path / "a.npz").is_file()
    assert run_python("-m", "edgel3_np").returncode == 2


@pytest.mark.parametrize("arguments", [["edgel3_np.bench"], ["edgel3_np", "bench"]])
def test_both_ways_to_start_the_bench(arguments, small_npz):
    ran = run_python("-m", *arguments, "-m", small_npz, "--plan", "-r", "1", "--json")
    assert ran.returncode == 0 and ran.stderr == f"edgel3-np bench: timing {small_npz} ...\n"
    assert [report["model"] for report in json.loads(ran.stdout)["reports"]] == ["small"]
    ran = run_python("-m", *arguments, "--json", "--md")
    assert ran.returncode == 2 and ran.stderr.startswith("edgel3-np bench: error: ")


def test_the_bench_can_be_called_by_its_old_name():
    from edgel3_np.bench import main as old_name

    assert old_name is bench.main


def test_openl3s_command_line_as_a_program(tmp_path):
    ran = run_python("-m", "edgel3_np.openl3", "video", "a.mp4")
    assert ran.returncode == 2 and "which is not in this package" in ran.stderr
    ran = run_python("-m", "edgel3_np.openl3", "audio", "--help")
    assert ran.returncode == 0 and "--input-repr" in ran.stdout


@pytest.mark.parametrize(
    "typed, handed_over",
    [
        (["audio", "a.wav"], ["a.wav"]),
        (["a.wav", "b.wav"], ["a.wav", "b.wav"]),
        (["audio", "a.wav", "-i", "linear"], ["a.wav", "-i", "linear"]),
        (["-i", "mel128", "a.wav"], ["-i", "mel128", "a.wav"]),
        (["audio", "audio"], ["audio"]),
        ([], []),
    ],
)
def test_openl3s_command_line(typed, handed_over, monkeypatch):
    seen = []
    monkeypatch.setattr(openl3.embed, "main", lambda arguments, program: seen.append(arguments) or 0)
    assert openl3.main(typed) == 0 and seen == [["--input-repr", "mel256", *handed_over]]


def test_openl3_has_only_the_audio_command(capsys):
    for modality in ("image", "video"):
        assert openl3.main([modality, "a.mp4"]) == ending.USAGE
        assert f"openl3: expected audio, found {modality}, which is not in this package" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize(
    "arguments", [["info"], ["--list-models"], ["--json", "a.wav", "b.wav"], ["--help"], ["verify"], ["similar", "-h"]]
)
def test_output_that_nobody_reads(arguments, tmp_path, sweep):
    """This happens in `edgel3-np info | head -1`."""
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, sweep, 8000)
    read, write = os.pipe()
    os.close(read)
    ran = run_python("-m", "edgel3_np", *arguments, stdout=write, cwd=tmp_path)
    os.close(write)
    assert ran.returncode == ending.NO_READER and "Traceback" not in ran.stderr and "Broken" not in ran.stderr
