import shutil

import numpy as np
import pytest

from edgel3_np import list_models, load_model
from edgel3_np.commands import main as cli
from edgel3_np.commands import verify
from edgel3_np.weights.locate import PATH_VARIABLE


def run(capsys, *arguments):
    """Run the command; return its exit code, lines of output and messages."""
    code = cli.main(["verify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a directory that is searched first, with a copy of the bundled model and its golden embedding."""
    path = list_models()["pico-64"]
    for suffix in (".npz", ".golden.npy"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    return tmp_path


def test_the_installed_models_are_right(capsys):
    code, lines, messages = run(capsys)
    assert code == 0 and messages == ""
    for name in ("pico-64", "pico-64-stream"):
        own = [line.partition(":")[2] for line in lines if f" {name}: " in line]
        assert len(own) == 9 and all(line.startswith("ok ") for line in lines)
        for text in ("came with this version", "whole numbers", "golden", "2 threads", "stream", "as everywhere"):
            assert sum(text in line for line in own) == 1


def test_a_model_without_golden_embedding(small_npz, capsys):
    code, lines, _ = run(capsys, small_npz)
    assert code == 0 and len(lines) == 7 and "not named as one of those" in lines[0]


def test_a_tampered_weight_file(folder, small_npz, capsys):
    """The weight file is valid, but it is not the one that belongs to its name."""
    shutil.copy(small_npz, folder / "pico-64.npz")
    code, lines, _ = run(capsys, "pico-64")
    assert code == 1 and len(lines) == 1 and lines[0].startswith("failed  pico-64: weight file: sha256")
    assert load_model(small_npz).sha256 in lines[0] and "install the package again" in lines[0]


@pytest.mark.parametrize("position", [0, 1000, 100_000, -1])
def test_a_flipped_bit(folder, position, capsys):
    content = bytearray((folder / "pico-64.npz").read_bytes())
    content[position] ^= 16
    (folder / "pico-64.npz").write_bytes(content)
    code, lines, _ = run(capsys, "pico-64")
    assert code == 1 and lines[-1].startswith("failed  pico-64:")


def test_a_wrong_golden_embedding(folder, capsys):
    golden = folder / "pico-64.golden.npy"
    np.save(golden, np.load(golden) * np.float32(1.001))
    code, lines, _ = run(capsys, "pico-64")
    failed = [line for line in lines if line.startswith("failed")]
    assert code == 1 and len(lines) == 9 and len(failed) == 1 and "golden one: relative difference 1.0e-03" in failed[0]


@pytest.mark.parametrize(
    "array",
    [np.ones(63, np.float32), np.ones(64), np.ones((1, 64), np.float32), np.float32(1), b"", b"\x93NUMPY\x01\x00"],
    ids=str,
)
def test_a_damaged_golden_embedding(folder, array, capsys):
    golden = folder / "pico-64.golden.npy"
    if isinstance(array, bytes):
        golden.write_bytes(array)
    else:
        np.save(golden, array)
    code, lines, _ = run(capsys, "pico-64")
    assert code == 1 and str(golden) in lines[-1] and "expected" in lines[-1]


def test_a_broken_file_does_not_end_the_run(folder, capsys):
    (folder / "another.npz").write_bytes(b"PK")
    code, lines, _ = run(capsys)
    assert code == 1 and lines[0].startswith("failed  another: model: ") and len(lines) == 19


def test_no_such_model(capsys):
    code, lines, messages = run(capsys, "pico-64", "nosuch")
    assert code == 2 and lines == [] and "nosuch" in messages


def test_no_models(monkeypatch, capsys):
    monkeypatch.setattr(verify, "list_models", dict)
    code, lines, messages = run(capsys)
    assert code == 1 and lines == [] and "no models" in messages


def test_an_interruption(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "check_model", interrupt)
    code, _, messages = run(capsys, "pico-64")
    assert code == 130 and "interrupted" in messages
