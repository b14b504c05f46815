import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import factory
import pytest
import server

pytest.importorskip("h5py", reason="the installer needs h5py (extra `convert`)")

import edgel3_np
from edgel3_np.commands import main as cli
from edgel3_np.commands.ending import FAILED, INTERRUPTED, OK, USAGE
from edgel3_np.commands.install import main
from edgel3_np.released import download
from edgel3_np.released.catalogue import FILES, LICENSES
from edgel3_np.released.convert import git_blob_sha1
from edgel3_np.weights.format import load_weights
from edgel3_np.weights.locate import PATH_VARIABLE
from edgel3_np.weights.registry import RELEASED
from edgel3_np.weights.sparse import to_dense

pytestmark = pytest.mark.network
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")
FILE = "edgel3_sea_ust_audio_emb_64.h5.gz"


@pytest.fixture(scope="module")
def arrays():
    return factory.random_arrays(RELEASED["sea-64"].filters, density=0.1)


@pytest.fixture(scope="module")
def running(arrays, tmp_path_factory):
    """Serve a file that stands for the released one of `sea-64`."""
    path = tmp_path_factory.mktemp("keras") / "a.h5"
    factory.write_keras(path, arrays)
    with server.serve(gzip.compress(path.read_bytes(), 1, mtime=0)) as state:
        yield state


@pytest.fixture
def served(running, tmp_path, monkeypatch):
    """Clear the server's requests, and let its file count as the released one of `sea-64`; no model is installed."""
    running.requests.clear()
    running.asked.clear()
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    pinned = FILES["sea-64"]._replace(git_blob_sha1=git_blob_sha1(running.content))
    monkeypatch.setitem(FILES, "sea-64", pinned)
    monkeypatch.setattr(download, "WAIT", 0.001)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return running


@pytest.fixture
def source(served, tmp_path):
    """Write the file, as it is downloaded, into a directory of its own; return its path."""
    path = tmp_path / "downloads" / FILE
    path.parent.mkdir()
    path.write_bytes(served.content)
    return path


def check(path, arrays):
    weights = load_weights(path)
    assert weights.name == "sea-64"
    for found, expected in zip(weights.kernels, arrays[0]):
        assert to_dense(found).tobytes() == (expected + 0.0).tobytes()


def command(served, *arguments, code="", **options):
    """Start the command in a new process, for which the served file is the released one."""
    code += (
        "import sys; from edgel3_np.commands import main\n"
        "from edgel3_np.released.catalogue import FILES\n"
        f"pinned = FILES['sea-64']._replace(git_blob_sha1={git_blob_sha1(served.content)!r})\n"
        "FILES['sea-64'] = pinned\n"
        "sys.exit(main.main(['install', *sys.argv[1:]]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def test_a_model_is_installed(served, arrays, tmp_path, capsys):
    assert cli.main(["install", "sea-64", "--url", f"{served.url}/good"]) == OK
    captured = capsys.readouterr()
    path = Path(captured.out.strip())
    check(path, arrays)
    assert captured.err == f"edgel3-np install: sea-64: {path.stat().st_size} bytes; {LICENSES['sea']}\n"
    assert main(["--list"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"name", "pico-64", *FILES}
    assert str(path) in "".join(lines) and lines[-1].split()[0] == "openl3-mel256-music" and lines[-1].endswith(" no")


def test_errors(served, source, tmp_path, capsys):
    assert main(["sea-64", "--url", f"{served.url}/missing"]) == FAILED
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("edgel3-np install: http") and "404" in captured.err
    wrongs = (
        ["sea-65"],
        [],
        ["sea-64", "--url", "x"],
        ["sea-64", "--url", "http://x", "--from", "y"],
        ["sea-64", "sea-128", "--from", str(source)],
    )
    for wrong in wrongs:
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == USAGE
    err = capsys.readouterr().err
    assert (
        "(sparse-ft-53.5, " in err and "found 'sea-65'; pico-64 comes" in err and "--from: expected a directory" in err
    )


def test_a_model_in_a_place_where_it_is_not_found(source, tmp_path, capsys, monkeypatch):
    assert main(["sea-64", "--from", str(source), "--to", str(tmp_path / "a")]) == OK
    assert 'load_model("sea-64") does not look there' in capsys.readouterr().err
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "a"))
    assert main(["sea-64", "--from", str(source), "--to", str(tmp_path / "b")]) == OK
    assert f"finds {tmp_path / 'a' / 'sea-64.npz'} first" in capsys.readouterr().err


@posix
def test_an_interruption(served, tmp_path):
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # background jobs of a shell ignore it
    running = command(served, "sea-64", "--url", f"{served.url}/stalled", "--to", tmp_path / "out", **heed)
    assert served.asked.wait(60)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (INTERRUPTED, "") and "interrupted" in err and "Traceback" not in err
    assert os.listdir(tmp_path / "out") == []


@posix
def test_a_full_disk(served, source, tmp_path):
    """A limit of 9,000 bytes per file stands for a full disk."""
    import resource

    out = tmp_path / "out"
    out.mkdir()
    (out / "sea-64.npz").write_bytes(b"what was there before")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))}
    running = command(served, "sea-64", "--from", source, "--to", out, **limit)
    _, err = running.communicate(timeout=60)
    assert running.returncode == FAILED and "cannot be written: File too large" in err
    assert [path.read_bytes() for path in out.iterdir()] == [b"what was there before"]


@posix
def test_two_installations_at_once(served, arrays, tmp_path):
    both = [command(served, "sea-64", "--url", f"{served.url}/pieces", "--to", tmp_path / "out") for _ in range(2)]
    for running in both:
        _, err = running.communicate(timeout=60)
        assert running.returncode == OK, err
    check(tmp_path / "out" / "sea-64.npz", arrays)
    assert os.listdir(tmp_path / "out") == ["sea-64.npz"]
