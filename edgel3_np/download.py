"""Download a file over http or https: the only module that knows the network, and only `install` uses it."""

import re
import socket
import time
from http.client import HTTPException
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urljoin

from . import __version__
from .errors import EdgeL3Error

CHUNK_BYTES = 1 << 16
TIMEOUT = 30.0  # seconds without a word from the server
LEAST_RATE = 200  # bytes a second over so long; slower counts as silence
TRIES, WAIT = 5, 1.0  # of a download that had begun; seconds before the second try, then twice as many each time
REDIRECTIONS = 5
ELSEWHERE = "or get the file in another way and pass it (--from)"


def check_address(address):
    """Raise `EdgeL3Error` unless it is one of http or https."""
    if not re.match(r"https?://[^/\s]", address):
        raise EdgeL3Error(f"expected an address that begins with https:// or http://, found {address!r}")


def fetch(address, max_bytes, progress=None):
    """Download a file; where that breaks off, go on from there, a few times.

    Parameters
    ----------
    address : str
        http or https; so are the addresses that it may redirect to. Proxies are those of the environment.
    max_bytes : int
        No more is read.
    progress : callable, (int, int or None) -> None, optional
        Called with the bytes that are here, and the size of the file where the server tells it.

    Returns
    -------
    content : bytes
        Unchecked: compare its hash.

    Raises
    ------
    EdgeL3Error
        It cannot be had, or is larger; the message says why.
    """
    content, tries = bytearray(), 1
    while True:
        try:
            _receive(address, content, max_bytes, progress or (lambda done, total: None))
            return bytes(content)
        except EdgeL3Error:
            raise
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that cannot be one
            if not content or tries == TRIES:  # what does not even begin is not tried again
                raise EdgeL3Error(f"{address}: {_reason(error)}") from error
        time.sleep(WAIT * 2 ** (tries - 1))
        tries += 1


def _receive(address, content, max_bytes, progress):
    """Append to `content` what is missing of a file."""
    with _open(address, len(content)) as response:
        extent = response.headers.get("Content-Range", "")
        if response.status != 206 or not extent.startswith(f"bytes {len(content)}-"):
            content.clear()  # the server begins anew
        total = None if response.length is None else len(content) + response.length
        mark, since = len(content), time.monotonic()
        while True:
            if max(len(content), total or 0) > max_bytes:
                raise EdgeL3Error(f"{address}: expected a file of at most {max_bytes} bytes, found a larger one")
            chunk = response.read1(CHUNK_BYTES)
            if not chunk:
                break
            content += chunk
            progress(len(content), total)
            now = time.monotonic()
            if now - since >= TIMEOUT:
                if len(content) - mark < LEAST_RATE * TIMEOUT:
                    raise TimeoutError
                mark, since = len(content), now
    if total is not None and len(content) < total:
        raise ConnectionError(f"the connection ended after {len(content)} of {total} bytes")


def _open(address, start):
    """The response to a request for a file from byte `start` on.

    Redirections are followed here: urllib would read all that comes with one, however much, and does not know 308.
    """
    headers = {"User-Agent": f"edgel3_np/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        getattr(request, "HTTPSHandler", request.UnknownHandler)(),  # missing where Python has no ssl
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    for left in reversed(range(REDIRECTIONS + 1)):
        try:
            return opener.open(request.Request(address, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if error.code not in (301, 302, 303, 307, 308) or "Location" not in error.headers or not left:
                raise
            address = urljoin(address, error.headers["Location"])
            check_address(address)
    raise AssertionError("unreachable")


def _reason(error):
    """Why a download failed, and what to do."""
    cause = getattr(error, "reason", error)
    if isinstance(error, HTTPError):
        moved = "it may have moved: name its new place (--url)" if error.code in (404, 410) else "try again later"
        return f"expected the file, found the answer {error.code} ({error.reason}); {moved}, {ELSEWHERE}"
    if isinstance(cause, socket.gaierror):
        return f"the server's name cannot be looked up ({cause.strerror}): no network? Try again, {ELSEWHERE}"
    if isinstance(cause, (TimeoutError, socket.timeout)):
        return f"stalled: expected some data within {TIMEOUT:g} s, found none to speak of; try again, {ELSEWHERE}"
    return f"cannot be downloaded: {cause or type(cause).__name__}; check network and proxy and try again, {ELSEWHERE}"
