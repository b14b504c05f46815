"""Tests of `check_dist` with correct and with wrong wheels and sdists."""

import io
import shutil
import subprocess
import tarfile
import zipfile

import check_dist
import pytest
from check_dist import ROOT

from edgel3_np.weights.registry import BUNDLED_SHA256

CODE = {".py", ".js", ".css"}


def make_wheel(folder, without=(), more=(), **contents):
    """Write a correct wheel, or one without some members, with more members, or with other contents."""
    code = (path for path in (ROOT / "edgel3_np").rglob("*.*") if path.suffix in CODE)
    names = {path.relative_to(ROOT).as_posix(): path for path in code}
    names.update({f"edgel3_np/_weights/{path.name}": path for path in (ROOT / "weights").iterdir() if path.is_file()})
    info = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    names.update(dict.fromkeys(["edgel3_np/py.typed", *(f"edgel3_np-1.dist-info/{name}" for name in info), *more]))
    with zipfile.ZipFile(folder / "edgel3_np-1-py3-none-any.whl", "w") as archive:
        for name, path in names.items():
            if name not in without:
                content = path.read_bytes() if path else b""
                archive.writestr(name, contents.get(name.rpartition("/")[2].partition(".")[0], content))


def make_sdist(folder, names):
    with tarfile.open(folder / "edgel3_np-1.tar.gz", "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"edgel3_np-1/{name}"), io.BytesIO())


@pytest.fixture
def tracked():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return listed.stdout.split()


def test_a_correct_wheel_and_a_correct_sdist(tmp_path, tracked, capsys):
    make_wheel(tmp_path)
    make_sdist(tmp_path, [*(set(tracked) - {".gitignore"}), "PKG-INFO", "edgel3_np.egg-info/SOURCES.txt"])
    assert check_dist.main([str(tmp_path)]) == 0
    assert "edgel3_np-1.tar.gz: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "wheel, message",
    [
        ({"without": ["edgel3_np/py.typed"]}, "expected edgel3_np/py.typed, found none"),
        ({"without": ["edgel3_np/audio/reading.py"]}, "expected edgel3_np/audio/reading.py, found none"),
        ({"more": ["edgel3_np/audio/other.py"]}, "expected no edgel3_np/audio/other.py, found one"),
        ({"without": ["edgel3_np/_weights/pico-64.npz"]}, "expected edgel3_np/_weights/pico-64.npz"),
        ({"without": ["edgel3_np-1.dist-info/licenses/LICENSE"]}, "expected edgel3_np-1.dist-info/licenses/LICENSE"),
        ({"more": ["tests/test_audio.py"]}, "expected no tests/test_audio.py"),
        ({"pico-64": b"other"}, f"expected sha256 {BUNDLED_SHA256['pico-64']}"),
    ],
)
def test_wrong_wheels(tmp_path, tracked, capsys, wheel, message):
    make_wheel(tmp_path, **wheel)
    make_sdist(tmp_path, [name for name in tracked if name != ".gitignore"])
    assert check_dist.main([str(tmp_path)]) == 1 and message in capsys.readouterr().err


def test_wrong_sdists(tmp_path, tracked, capsys):
    make_wheel(tmp_path)
    make_sdist(tmp_path, [name for name in tracked if name not in (".gitignore", "setup.cfg")] + ["secret"])
    assert check_dist.main([str(tmp_path)]) == 1
    messages = capsys.readouterr().err
    assert "expected setup.cfg, found none" in messages and "expected no secret" in messages


def test_a_folder_without_a_wheel_and_an_sdist(tmp_path, capsys):
    assert check_dist.main([str(tmp_path)]) == 1 and "found 0 and 0" in capsys.readouterr().err
