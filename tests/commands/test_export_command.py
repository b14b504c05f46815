"""Tests of the export command: `edgel3-np export PATH ... -o FILE`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from collection_files import DIM, save

import edgel3_np
from edgel3_np.commands.main import main


@pytest.fixture
def folder(tmp_path):
    """Write six files of embeddings; return their folder."""
    for number in range(6):
        source = {"name": f"{'ab'[number % 2]}/{number}.wav"}
        save(tmp_path / "c" / f"{number}.npz", np.full((3, DIM), number), input=source)
    return tmp_path / "c"


@pytest.mark.parametrize("name", ["all.parquet", "all.csv", "all.npy"])
def test_tables_are_written(folder, tmp_path, capsys, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    assert main(["export", str(folder), "-o", str(tmp_path / name)]) == 0
    out, err = capsys.readouterr()
    index = [str(tmp_path / "all.index.csv")] if name.endswith("npy") else []
    assert out.splitlines() == [str(tmp_path / name), *index]
    assert err == "edgel3-np export: 6 recordings, 18 embeddings\n"
    assert all(os.path.getsize(path) for path in out.splitlines())


def test_labels(folder, tmp_path, capsys):
    output = tmp_path / "all.csv"
    files = [str(folder / "0.npz"), str(folder / "3.npz")]
    assert main(["export", *files, "-o", str(output), "--labels", "folder"]) == 0
    lines = output.read_text().splitlines()
    assert lines[0] == "path,time,label,e0,e1,e2,e3,e4" and len(lines) == 7
    assert lines[1] == '"a/0.wav",0.0,"a",0.0,0.0,0.0,0.0,0.0'
    assert lines[6] == '"b/3.wav",0.2,"b",3.0,3.0,3.0,3.0,3.0'


def test_exit_codes(folder, tmp_path, capsys):
    (folder / "bad\x1b[31m.npz").write_text("x")
    assert main(["export", str(folder), "-o", str(tmp_path / "all.csv")]) == 1
    out, err = capsys.readouterr()
    assert err.count("passed over: ") == 1 and "\x1b" not in err and "bad\\x1b[31m.npz" in err
    assert "6 recordings, 18 embeddings" in err and out == f"{tmp_path / 'all.csv'}\n"
    assert main(["export", str(folder), "-o", str(tmp_path / "missing" / "all.csv")]) == 1
    assert capsys.readouterr().err.endswith("missing/all.csv: cannot be written: No such file or directory\n")
    (tmp_path / "none").mkdir()
    save(folder / "other.npz", np.ones((2, DIM)), weights_sha256="b" * 64)
    for arguments, message in (
        ([folder, "-o", tmp_path / "all.xlsx"], "expected a name that ends in .parquet, .csv or .npy, found '.xlsx'"),
        ([tmp_path / "none", "-o", tmp_path / "x.csv"], "found none; make them with `edgel3-np RECORDINGS -o DIREC"),
        ([tmp_path / "missing", "-o", tmp_path / "x.csv"], "found none; make them"),
        ([folder, "-o", tmp_path / "x.csv"], "other.npz: expected embeddings of one model"),
    ):
        assert main(["export", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.splitlines()[-1].startswith("edgel3-np export: ") and message in err
    for arguments in (["export"], ["export", str(folder)], ["export", "-o", "x.csv"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert not (tmp_path / "x.csv").exists()
    (tmp_path / "none" / "x.npz").write_text("x")
    assert main(["export", str(tmp_path / "none"), "-o", str(tmp_path / "x.csv")]) == 1


def test_without_pyarrow(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(folder), "-o", str(tmp_path / "all.parquet")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "pip install pyarrow" in err


def test_progress_on_a_terminal(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("edgel3_np.commands.progress.EVERY", 0)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["export", str(folder), "-o", str(tmp_path / "all.csv")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7 and all(line.startswith("all.csv: ") for line in lines[:6])


def test_an_interrupt_leaves_nothing(folder, tmp_path):
    """The signal comes while a table is being written."""
    code = (
        "import sys, time\n"
        "from edgel3_np.collections import export\n"
        "from edgel3_np.commands.main import main\n"
        "keep = export._keep\n"
        "def slow(place, embedding):\n"
        "    if place.path.endswith('4.npz'):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    return keep(place, embedding)\n"
        "export._keep = slow\n"
        "sys.exit(main(['export', *sys.argv[1:]]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    command = [sys.executable, "-c", code, str(folder), "-o", str(tmp_path / "all.npy")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "edgel3-np export: interrupted; nothing is written\n")
    assert os.listdir(tmp_path) == ["c"]
