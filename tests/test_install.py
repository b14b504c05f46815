import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import factory
import numpy as np
import pytest
import server

pytest.importorskip("h5py", reason="the installer needs h5py (extra `convert`)")

import edgel3_np
from edgel3_np import EdgeL3Error, cli, download, load_model, progress
from edgel3_np.convert import git_blob
from edgel3_np.install import MAX_BYTES, install, main
from edgel3_np.locate import PATH_VARIABLE
from edgel3_np.metadata import BLOBS, LICENSES, RELEASED, released_file
from edgel3_np.weights import load_weights, save_weights, to_dense

pytestmark = pytest.mark.network
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")
FILE = "edgel3_sea_ust_audio_emb_64.h5.gz"


@pytest.fixture(scope="module")
def arrays():
    return factory.random_arrays(RELEASED["sea-64"][1], density=0.1)


@pytest.fixture(scope="module")
def running(arrays, tmp_path_factory):
    """A server that has a stand-in for the released file of `sea-64`."""
    path = tmp_path_factory.mktemp("keras") / "a.h5"
    factory.write_keras(path, arrays)
    with server.serve(gzip.compress(path.read_bytes(), 1, mtime=0)) as state:
        yield state


@pytest.fixture
def served(running, tmp_path, monkeypatch):
    """The server, with nothing asked of it yet; its file is what `sea-64` is pinned to, and no model is installed."""
    running.requests.clear()
    running.asked.clear()
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(BLOBS, "sea-64", git_blob(running.content))
    monkeypatch.setattr(download, "WAIT", 0.001)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return running


@pytest.fixture
def source(served, tmp_path):
    """The file as it is downloaded, in a directory of its own."""
    path = tmp_path / "downloads" / FILE
    path.parent.mkdir()
    path.write_bytes(served.content)
    return path


def check(path, arrays):
    weights = load_weights(path)
    assert weights.name == "sea-64"
    for found, expected in zip(weights.kernels, arrays[0]):
        assert to_dense(found).tobytes() == (expected + 0.0).tobytes()


@pytest.mark.parametrize("how", ["good", "http1", "pieces", "anew", "moved/302/good", "moved/308/pieces"])
def test_downloaded_converted_and_found(served, arrays, tmp_path, how):
    with pytest.raises(EdgeL3Error, match="install sea-64"):
        load_model("sea-64")
    path = install("sea-64", url=f"{served.url}/{how}/")
    assert path == tmp_path / "data" / "edgel3_np" / "sea-64.npz" and os.listdir(path.parent) == [path.name]
    check(path, arrays)
    model = load_model("sea-64")
    assert model.dim == 64 and model.provenance["source"]["git_blob_sha1"] == BLOBS["sea-64"]
    assert model.provenance["source"]["file"] == FILE and model.provenance["license"] == LICENSES["sea"]
    assert served.requests[-1][0].endswith(f"/{FILE}")


@pytest.mark.parametrize(
    "how, message",
    [
        ("truncated", "cannot be downloaded: the connection ended after"),
        ("corrupted", "expected the released file .*damaged"),
        ("portal", "found 36 bytes with .*nothing was installed"),
        ("shifted", "cannot be downloaded"),
        ("stalled", "stalled"),
        ("silent", "stalled"),
        ("missing", "404"),
        ("moved/301/missing", "404"),
        ("moved/302/file:///etc", "begins with https"),
        ("busy", "503"),
        ("huge", f"at most {MAX_BYTES} bytes, found a larger one"),
        ("nonsense", "cannot be downloaded"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_fails_leaves_no_trace_and_does_not_poison_the_next_try(served, arrays, monkeypatch, how, message, before):
    patience = download.TIMEOUT
    monkeypatch.setattr(download, "TIMEOUT", 0.2 if how in ("stalled", "silent") else patience)
    monkeypatch.setattr(download, "TRIES", 3)
    directory = Path(os.environ["XDG_DATA_HOME"], "edgel3_np")
    if before:  # another model of that name
        directory.mkdir(parents=True)
        save_weights(directory / "sea-64.npz", factory.random_weights(name="other"))
    held = [path.read_bytes() for path in directory.glob("*")]
    with pytest.raises(EdgeL3Error, match=message) as caught:
        install("sea-64", url=f"{served.url}/{how}")
    assert FILE in str(caught.value) or "begins with" in str(caught.value)
    assert [path.read_bytes() for path in directory.glob("*")] == held and len(held) == before
    monkeypatch.setattr(download, "TIMEOUT", patience)
    check(install("sea-64", url=f"{served.url}/good"), arrays)
    assert os.listdir(directory) == ["sea-64.npz"]


def test_what_is_there_is_not_fetched_again(served, arrays):
    path = install("sea-64", url=f"{served.url}/good")
    content, count = path.read_bytes(), len(served.requests)
    assert install("sea-64", url=f"{served.url}/good") == path and len(served.requests) == count
    path.write_bytes(content[:-100])
    assert install("sea-64", url=f"{served.url}/good").read_bytes() == content and len(served.requests) == count + 1


def test_the_official_address_is_asked(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("edgel3_np.install.fetch", lambda address, *rest: asked.append(address) or b"")
    for name in BLOBS:
        with pytest.raises(EdgeL3Error, match="expected the released file"):
            install(name, directory=tmp_path)
    assert asked == ["".join(released_file(name)) for name in BLOBS] and set(BLOBS) == set(RELEASED)
    assert all(address.startswith("https://github.com/") for address in asked)


def test_through_a_proxy(served, arrays, monkeypatch):
    monkeypatch.setenv("http_proxy", served.url)
    check(install("sea-64", url="http://models.invalid/good"), arrays)


@pytest.mark.parametrize("kind", ["file", "directory", "another name"])
def test_from_a_file_without_a_network(source, arrays, served, tmp_path, kind):
    if kind == "another name":
        source = source.rename(tmp_path / "downloads" / "download(1)")
    path = install("sea-64", source=source.parent if kind == "directory" else source, directory=tmp_path / "new" / "to")
    assert path == tmp_path / "new" / "to" / "sea-64.npz" and not served.requests
    check(path, arrays)
    assert source.read_bytes() == served.content


def test_sources_that_are_not_the_file(source, served, tmp_path):
    unpacked = tmp_path / "unpacked.h5"
    unpacked.write_bytes(gzip.decompress(served.content))
    for path, message in {
        unpacked: "as it is downloaded, gzipped",
        tmp_path / "none": "none: cannot be read: No such file",
        tmp_path: f"{FILE}: cannot be read: No such file",
    }.items():
        with pytest.raises(EdgeL3Error, match=message):
            install("sea-64", source=path)
    with pytest.raises(EdgeL3Error, match="expected the released file edgel3_sea_ust_audio_emb_128"):
        install("sea-128", source=source)
    assert not served.requests and not list(Path(os.environ["XDG_DATA_HOME"]).rglob("*.*"))


def test_a_file_that_has_the_hash_but_not_the_network(served, tmp_path, monkeypatch):
    factory.write_keras(tmp_path / "a.h5", factory.random_arrays())
    monkeypatch.setitem(BLOBS, "sea-64", git_blob((tmp_path / "a.h5").read_bytes()))
    with pytest.raises(EdgeL3Error, match="expected the network of sea-64"):
        install("sea-64", source=tmp_path / "a.h5", directory=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_what_could_not_be_loaded_is_not_written(arrays, tmp_path, monkeypatch):
    kernels, biases, norms = arrays
    factory.write_keras(tmp_path / "a.h5", (kernels, [bias + np.float32(1e7) for bias in biases], norms))
    monkeypatch.setitem(BLOBS, "sea-64", git_blob((tmp_path / "a.h5").read_bytes()))
    with pytest.raises(EdgeL3Error, match="conv1.bias': expected finite values within"):
        install("sea-64", source=tmp_path / "a.h5", directory=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_the_first_directory_of_the_variable(source, tmp_path, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join(["", str(tmp_path / "1"), str(tmp_path / "2")]))
    assert install("sea-64", source=source) == tmp_path / "1" / "sea-64.npz"
    assert load_model("sea-64").dim == 64


def test_nowhere_to_install(source, monkeypatch):
    monkeypatch.setattr("edgel3_np.install.user_directory", lambda: None)
    with pytest.raises(EdgeL3Error, match="expected a home directory to install into"):
        install("sea-64", source=source)


def test_directories_that_cannot_be_written(served, source, tmp_path, monkeypatch):
    """They are found out before anything is downloaded."""
    for place in (source, source / "sub", Path("/proc/none")) if sys.platform == "linux" else (source,):
        with pytest.raises(EdgeL3Error, match="cannot be written: .*--to"):
            install("sea-64", url=f"{served.url}/good", directory=place)
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may write everywhere
    with pytest.raises(EdgeL3Error, match="permission denied, or a read-only file system"):
        install("sea-64", url=f"{served.url}/good")
    assert not served.requests


def test_without_h5py_nothing_is_downloaded(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EdgeL3Error, match="pip install h5py"):
        install("sea-64", url=f"{served.url}/good")
    assert not served.requests


@pytest.mark.parametrize("name", ["sea-65", "pico-64", "", None, "../sea-64"])
def test_models_that_are_not_released(name):
    with pytest.raises(EdgeL3Error, match="expected a released model .sparse-ft-53.5, .*openl3-mel256-music.*found"):
        install(name)


@pytest.mark.parametrize("url", ["", "models", "ftp://127.0.0.1", "file:///tmp", "http:///x"])
def test_addresses_that_are_none(url):
    with pytest.raises(EdgeL3Error, match="expected an address that begins with https://"):
        install("sea-64", url=url)


# --- the command line


def command(served, *arguments, code="", **options):
    """The command line in a process of its own, for which the stand-in is the released file."""
    code += (
        "import sys; from edgel3_np import cli, download, metadata\n"
        f"metadata.BLOBS['sea-64'] = {git_blob(served.content)!r}\n"
        "sys.exit(cli.main(['install', *sys.argv[1:]]))\n"
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


def test_command(served, arrays, tmp_path, capsys):
    assert cli.main(["install", "sea-64", "--url", f"{served.url}/good"]) == cli.OK
    captured = capsys.readouterr()
    path = Path(captured.out.strip())
    check(path, arrays)
    assert captured.err == f"edgel3-np install: sea-64: {path.stat().st_size} bytes; {LICENSES['sea']}\n"
    assert main(["--list"]) == cli.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(BLOBS)
    assert [line.split()[0] for line in lines if "not installed" not in line] == ["sea-64"]
    assert str(path) in "".join(lines) and LICENSES["openl3"] in lines[-1]


def test_command_says_where_it_went_wrong(served, source, tmp_path, capsys):
    assert main(["sea-64", "--url", f"{served.url}/missing"]) == cli.SOME_FAILED
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
        assert caught.value.code == cli.USAGE
    err = capsys.readouterr().err
    assert (
        "(sparse-ft-53.5, " in err and "found 'sea-65'; pico-64 comes" in err and "--from: expected a directory" in err
    )


def test_command_says_if_the_model_will_not_be_found(source, tmp_path, capsys, monkeypatch):
    assert main(["sea-64", "--from", str(source), "--to", str(tmp_path / "a")]) == cli.OK
    assert 'load_model("sea-64") does not look there' in capsys.readouterr().err
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "a"))
    assert main(["sea-64", "--from", str(source), "--to", str(tmp_path / "b")]) == cli.OK
    assert f"finds {tmp_path / 'a' / 'sea-64.npz'} first" in capsys.readouterr().err


@posix
def test_command_interrupted(served, tmp_path):
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # background jobs of a shell ignore it
    running = command(served, "sea-64", "--url", f"{served.url}/stalled", "--to", tmp_path / "out", **heed)
    assert served.asked.wait(60)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (cli.INTERRUPTED, "") and "interrupted" in err and "Traceback" not in err
    assert os.listdir(tmp_path / "out") == []


@posix
def test_command_with_no_space(served, source, tmp_path):
    """Files may have 9,000 bytes, in place of a disk that is full."""
    import resource

    out = tmp_path / "out"
    out.mkdir()
    (out / "sea-64.npz").write_bytes(b"what was there before")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))}
    running = command(served, "sea-64", "--from", source, "--to", out, **limit)
    _, err = running.communicate(timeout=60)
    assert running.returncode == cli.SOME_FAILED and "cannot be written: File too large" in err
    assert [path.read_bytes() for path in out.iterdir()] == [b"what was there before"]


@posix
def test_two_at_once(served, arrays, tmp_path):
    both = [command(served, "sea-64", "--url", f"{served.url}/pieces", "--to", tmp_path / "out") for _ in range(2)]
    for running in both:
        _, err = running.communicate(timeout=60)
        assert running.returncode == cli.OK, err
    check(tmp_path / "out" / "sea-64.npz", arrays)
    assert os.listdir(tmp_path / "out") == ["sea-64.npz"]


@pytest.mark.parametrize("bar", [True, False])
def test_progress(bar, capsys, monkeypatch):
    if bar:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(progress, "EVERY", 0)
    with progress.transfer("sea-64", True) as update:
        pass
    assert capsys.readouterr().err == ""  # nothing came, nothing to show
    with progress.transfer("sea-64", True) as update:
        for done, total in ((1_000_000, 4_000_000), (500_000, None), (4_000_000, 4_000_000)):
            update(done, total)
    captured = capsys.readouterr()
    assert captured.out == "" and ("100%" if bar else "sea-64: 1.0 MB of 4.0 MB\nsea-64: 0.5 MB\n") in captured.err
    with progress.transfer("sea-64", False) as update:
        update(1, 2)
    assert capsys.readouterr().err == ""


# --- the reference files


def test_a_file_of_the_release(shared, tmp_path):
    """The one that there is, with the hash that is pinned, as it is."""
    path = install("sea-64", source=shared / "weights", directory=tmp_path)
    assert sum(np.count_nonzero(kernel.data) for kernel in load_weights(path).kernels) == 396_576
