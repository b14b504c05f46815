import socket
import threading

import numpy as np
import pytest
import server

from edgel3_np import EdgeL3Error
from edgel3_np.released import download
from edgel3_np.released.download import fetch

pytestmark = pytest.mark.network
CONTENT = np.random.default_rng(0).bytes(300_000)
MOST = 1 << 20


@pytest.fixture(scope="module")
def running():
    with server.serve(CONTENT) as state:
        yield state


@pytest.fixture
def served(running, monkeypatch):
    """Clear the server's requests, remove proxies, and make the waiting between tries short."""
    running.requests.clear()
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "WAIT", 0.001)
    return running


@pytest.mark.parametrize("how", ["good", "http1", "chunked"])
def test_a_good_file(served, how):
    seen = []
    assert fetch(f"{served.url}/{how}/x", MOST, lambda done, total: seen.append((done, total))) == CONTENT
    assert served.requests == [(f"/{how}/x", None)]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen}) and seen[-1][0] == len(CONTENT)
    assert {total for _, total in seen} == {len(CONTENT) if how == "good" else None}


def test_a_broken_download_is_resumed(served):
    assert fetch(f"{served.url}/pieces/x", MOST) == CONTENT
    third = len(CONTENT) // 3 + 1
    assert [extent for _, extent in served.requests] == [None, f"bytes={third}-", f"bytes={2 * third}-"]


@pytest.mark.parametrize("how, tries", [("anew", 2), ("recovering", 3)])
def test_servers_without_ranges_and_busy_ones(served, how, tries):
    assert fetch(f"{served.url}/{how}/x", MOST) == CONTENT
    assert len(served.requests) == tries


@pytest.mark.parametrize("how", ["truncated", "halfchunked", "shifted"])
def test_a_file_that_never_arrives_completely(served, how):
    with pytest.raises(EdgeL3Error, match=f"/{how}/x: cannot be downloaded: .*--from"):
        fetch(f"{served.url}/{how}/x", MOST)
    assert len(served.requests) == download.TRIES


@pytest.mark.parametrize("how, tries", [("stalled", download.TRIES), ("silent", 1)])
def test_a_stalled_server(served, monkeypatch, how, tries):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(EdgeL3Error, match="stalled: expected some data within 0.2 s"):
        fetch(f"{served.url}/{how}/x", MOST)
    assert len(served.requests) == tries


def test_a_server_that_sends_single_bytes(served, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(download, "MIN_RATE", 10_000)
    monkeypatch.setattr(download, "TRIES", 2)
    with pytest.raises(EdgeL3Error, match="stalled"):
        fetch(f"{served.url}/drip/x", MOST)
    assert len(served.requests) == 2


@pytest.mark.parametrize("how", ["huge", "endless"])
def test_no_more_is_read_than_allowed(served, how):
    with pytest.raises(EdgeL3Error, match=f"expected a file of at most {MOST} bytes, found a larger one"):
        fetch(f"{served.url}/{how}/x", MOST)
    assert len(served.requests) == 1
    assert fetch(f"{served.url}/good/x", len(CONTENT)) == CONTENT
    with pytest.raises(EdgeL3Error, match="a larger one"):
        fetch(f"{served.url}/http1/x", len(CONTENT) - 1)


@pytest.mark.parametrize(
    "how, message",
    [
        ("missing", "found the answer 404 .*it may have moved: name its new address .--url"),
        ("busy", "found the answer 503 .*try again later"),
        ("nonsense", "cannot be downloaded: "),
        ("loop", "found the answer 302"),
        ("moved/302/missing", "404"),
        ("moved/302/file:///etc/passwd", "expected an address that begins with https:// or http://, found 'file:"),
        ("moved/302/ftp://127.0.0.1", "expected an address that begins with https:// or http://, found 'ftp:"),
        ("moved/302/data:,hello", "expected an address that begins with https:// or http://, found 'data:"),
    ],
)
def test_answers_that_are_not_the_file(served, how, message):
    with pytest.raises(EdgeL3Error, match=message):
        fetch(f"{served.url}/{how}/x", MOST)
    assert len(served.requests) == {"loop": download.MAX_REDIRECTIONS + 1, "moved/302/missing": 2}.get(how, 1)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirections(served, code):
    assert fetch(f"{served.url}/moved/{code}/moved/302/good/x", MOST) == CONTENT
    assert fetch(f"{served.url}/moved/{code}/{served.url}/pieces/x", MOST) == CONTENT  # every part is redirected
    assert len(served.requests) == 3 + 6


def test_the_body_of_a_redirection_is_not_read(served):
    assert fetch(f"{served.url}/flood/x", MOST) == CONTENT


def test_a_proxy_is_used(served, monkeypatch):
    monkeypatch.setenv("http_proxy", served.url)
    assert fetch("http://models.invalid/good/x", MOST) == CONTENT
    assert served.requests == [("http://models.invalid/good/x", None)]


def test_no_such_server(served, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EdgeL3Error, match="refused.*check network and proxy"):
        fetch(f"http://127.0.0.1:{port}/x", MOST)

    def no_name(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(EdgeL3Error, match="name cannot be looked up .Name or service not known.: no network"):
        fetch("https://models.invalid/x", MOST)


@pytest.mark.parametrize(
    "address", ["http://a..b/x", "http://127.0.0.1:x/", "http://127.0.0.1/\r\nHost: x", "http://[x/"]
)
def test_malformed_addresses(served, address):
    with pytest.raises(EdgeL3Error, match="cannot be downloaded|begins with"):
        fetch(address, MOST)


def test_a_server_that_does_not_speak_tls(served):
    with pytest.raises(EdgeL3Error, match="cannot be downloaded: .*SSL"):
        fetch(f"{served.url.replace('http:', 'https:')}/good/x", MOST)


def test_no_thread_is_left():
    with server.serve(b"x") as state:
        assert fetch(f"{state.url}/good/x", 1) == b"x"
        count = threading.active_count()
    assert threading.active_count() < count


def test_an_error_of_the_callers_progress_is_raised_as_it_is(served):
    def progress(done, total):
        raise ValueError("my own fault")

    with pytest.raises(ValueError, match="my own fault"):
        fetch(f"{served.url}/good/x", MOST, progress)
    assert len(served.requests) == 1
