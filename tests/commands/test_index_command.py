import os

import numpy as np
import pytest
import soundfile
from collection_files import DIM, save

from edgel3_np.collections import matrices
from edgel3_np.collections.index import FOLDER, open_index
from edgel3_np.commands.main import main


def test_it_says_what_it_has_done(tmp_path, capsys):
    for number in range(3):
        save(tmp_path / "c" / f"{number}.npz", np.random.default_rng(number).random((4, DIM)))
    assert main(["index", str(tmp_path / "c")]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("c: 3 files, 12 embeddings; 3 read, 0 as before, 0 gone, 0 failed\n")
    (tmp_path / "c" / "bad\x1b.npz").write_text("x")
    (tmp_path / "c" / "1.npz").unlink()
    assert main(["index", str(tmp_path / "c")]) == 1
    err = capsys.readouterr().err
    assert "passed over: " in err and "\x1b" not in err
    assert "2 files, 8 embeddings; 0 read, 2 as before, 1 gone, 1 failed" in err


def test_a_stale_index_is_a_warning_of_similar(tmp_path, capsys):
    for number in range(3):
        save(tmp_path / "c" / f"{number}.npz", np.random.default_rng(number).random((4, DIM)))
    assert main(["index", str(tmp_path / "c")]) == 0
    save(tmp_path / "c" / "4.npz", np.ones((2, DIM)))
    capsys.readouterr()
    assert main(["similar", str(tmp_path / "c" / "0.npz"), str(tmp_path / "c")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "warning: " in err and "index is stale (new or changed files: 1, gone: 0)" in err
    assert f"bring it up to date: edgel3-np index {tmp_path / 'c'}" in err


def test_embed_with_index(tmp_path, capsys):
    rng, out = np.random.default_rng(0), str(tmp_path / "o")
    (tmp_path / "s").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "s" / f"{name}.wav", rng.standard_normal(16000) / 9, 8000)
    assert main(["embed", str(tmp_path / "s"), "-o", out, "--index", "-t", "0.5"]) == 0
    assert "o: 2 files, 8 embeddings; 2 read, 0 as before" in capsys.readouterr().err
    soundfile.write(tmp_path / "s" / "c.wav", rng.standard_normal(16000) / 9, 8000)
    assert main(["embed", str(tmp_path / "s"), "-o", out, "--index", "-t", "0.5", "-q"]) == 0
    assert capsys.readouterr().err == "" and len(open_index(out).names) == 3
    with pytest.raises(SystemExit) as end:
        main(["embed", str(tmp_path / "s"), "--index"])
    assert end.value.code == 2 and "--index: expected -o DIR with it, found none" in capsys.readouterr().err


def test_what_is_wrong(tmp_path, capsys, monkeypatch):
    assert main(["index", str(tmp_path / "no")]) == 2
    assert "no: expected a directory of embeddings, found none" in capsys.readouterr().err
    save(tmp_path / "c" / "1.npz", np.ones((2, DIM)))
    save(tmp_path / "c" / "2.npz", np.ones((2, DIM)), weights_sha256="b" * 64)
    assert main(["index", str(tmp_path / "c")]) == 2
    assert "expected embeddings of one model" in capsys.readouterr().err
    os.unlink(tmp_path / "c" / "2.npz")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(matrices, "_append_file", interrupt)
    assert main(["index", str(tmp_path / "c")]) == 130
    assert "interrupted; what was read until then is in the index" in capsys.readouterr().err
    assert (tmp_path / "c" / FOLDER).is_dir()
