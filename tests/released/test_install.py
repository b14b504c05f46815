import gzip
import os
import sys
from pathlib import Path

import factory
import numpy as np
import pytest
import server

pytest.importorskip("h5py", reason="the installer needs h5py (extra `convert`)")

from edgel3_np import EdgeL3Error, load_model
from edgel3_np.released import download
from edgel3_np.released.catalogue import FILES, LICENSES
from edgel3_np.released.convert import git_blob_sha1
from edgel3_np.released.install import MAX_BYTES, install
from edgel3_np.weights.format import load_weights, save_weights
from edgel3_np.weights.locate import PATH_VARIABLE
from edgel3_np.weights.registry import RELEASED
from edgel3_np.weights.sparse import to_dense

pytestmark = pytest.mark.network
FILE = "edgel3_sea_ust_audio_emb_64.h5.gz"


def pin(monkeypatch, content):
    """Let a file count as the released one of `sea-64`."""
    monkeypatch.setitem(FILES, "sea-64", FILES["sea-64"]._replace(git_blob_sha1=git_blob_sha1(content)))


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
    pin(monkeypatch, running.content)
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


@pytest.mark.parametrize("how", ["good", "http1", "pieces", "anew", "moved/302/good", "moved/308/pieces"])
def test_downloaded_converted_and_found(served, arrays, tmp_path, how):
    with pytest.raises(EdgeL3Error, match="install sea-64"):
        load_model("sea-64")
    path = install("sea-64", url=f"{served.url}/{how}/")
    assert path == tmp_path / "data" / "edgel3_np" / "sea-64.npz" and os.listdir(path.parent) == [path.name]
    check(path, arrays)
    model = load_model("sea-64")
    assert model.dim == 64 and model.provenance["source"]["git_blob_sha1"] == FILES["sea-64"].git_blob_sha1
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
def test_a_failure_leaves_no_trace_and_does_not_harm_the_next_try(served, arrays, monkeypatch, how, message, before):
    patience = download.TIMEOUT
    monkeypatch.setattr(download, "TIMEOUT", 0.2 if how in ("stalled", "silent") else patience)
    monkeypatch.setattr(download, "TRIES", 3)
    directory = Path(os.environ["XDG_DATA_HOME"], "edgel3_np")
    if before:  # another model has that name
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


def test_an_installed_model_is_not_fetched_again(served, arrays):
    path = install("sea-64", url=f"{served.url}/good")
    content, count = path.read_bytes(), len(served.requests)
    assert install("sea-64", url=f"{served.url}/good") == path and len(served.requests) == count
    path.write_bytes(content[:-100])
    assert install("sea-64", url=f"{served.url}/good").read_bytes() == content and len(served.requests) == count + 1


def test_the_official_address_is_asked(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("edgel3_np.released.install.fetch", lambda address, *rest: asked.append(address) or b"")
    for name in FILES:
        with pytest.raises(EdgeL3Error, match="expected the released file"):
            install(name, directory=tmp_path)
    assert asked == [file.address + file.name for file in FILES.values()]
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
    pin(monkeypatch, (tmp_path / "a.h5").read_bytes())
    with pytest.raises(EdgeL3Error, match="expected the network of sea-64"):
        install("sea-64", source=tmp_path / "a.h5", directory=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_model_that_could_not_be_loaded_is_not_written(arrays, tmp_path, monkeypatch):
    kernels, biases, norms = arrays
    factory.write_keras(tmp_path / "a.h5", (kernels, [bias + np.float32(1e7) for bias in biases], norms))
    pin(monkeypatch, (tmp_path / "a.h5").read_bytes())
    with pytest.raises(EdgeL3Error, match="conv1.bias': expected finite values within"):
        install("sea-64", source=tmp_path / "a.h5", directory=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_the_first_directory_of_the_variable(source, tmp_path, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join(["", str(tmp_path / "1"), str(tmp_path / "2")]))
    assert install("sea-64", source=source) == tmp_path / "1" / "sea-64.npz"
    assert load_model("sea-64").dim == 64


def test_nowhere_to_install(source, monkeypatch):
    monkeypatch.setattr("edgel3_np.released.install.user_directory", lambda: None)
    with pytest.raises(EdgeL3Error, match="expected a home directory to install into"):
        install("sea-64", source=source)


def test_directories_that_cannot_be_written(served, source, tmp_path, monkeypatch):
    """The check comes before anything is downloaded."""
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
def test_malformed_addresses(url):
    with pytest.raises(EdgeL3Error, match="expected an address that begins with https://"):
        install("sea-64", url=url)


def test_the_public_module():
    from edgel3_np import install as door

    assert door.install is install


# --- the reference files


def test_a_file_of_the_release(shared, tmp_path):
    """The reference material has one released file, unchanged, with the hash of the registry."""
    path = install("sea-64", source=shared / "weights", directory=tmp_path)
    assert sum(np.count_nonzero(kernel.data) for kernel in load_weights(path).kernels) == 396_576
