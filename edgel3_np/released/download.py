"""Download a file over http or https. No other module knows the network, and only `install` uses this one."""

import re
import socket
import time
from http.client import HTTPException
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urljoin

from .._version import __version__
from ..errors import EdgeL3Error

CHUNK_BYTES = 1 << 16
TIMEOUT = 30.0  # seconds to wait for the server
MIN_RATE = 200  # bytes a second on average over `TIMEOUT`; a slower server counts as stalled
TRIES, WAIT = 5, 1.0  # of a download that has begun; seconds before the second try, doubled before each further one
MAX_REDIRECTIONS = 5
ALTERNATIVE = "or get the file in another way and pass it (--from)"


def check_address(address):
    """Raise `EdgeL3Error` unless an address is one of http or https."""
    if not re.match(r"https?://[^/\s]", address):
        raise EdgeL3Error(f"expected an address that begins with https:// or http://, found {address!r}")


def fetch(address, max_bytes, progress=None):
    """Download a file. If the connection breaks off, resume where it ended, a few times.

    Parameters
    ----------
    address : str
        An address of http or https; redirections must lead to such addresses too. The environment names the proxies.
    max_bytes : int
        A larger file is refused.
    progress : callable, (int, int or None) -> None, optional
        Called with the number of bytes received, and the size of the file if the server tells it.

    Returns
    -------
    content : bytes
        Unchecked: compare its hash.

    Raises
    ------
    EdgeL3Error
        The file cannot be downloaded, or is larger than `max_bytes`; the message says why.
    """
    content, tries = bytearray(), 1
    received = _receive(address, content, max_bytes)
    while True:
        try:
            state = next(received, None)
        except EdgeL3Error:
            raise
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a malformed address
            if not content or tries == TRIES:  # a download that does not even begin is not tried again
                raise EdgeL3Error(f"{address}: {_reason(error)}") from error
            time.sleep(WAIT * 2 ** (tries - 1))
            tries, received = tries + 1, _receive(address, content, max_bytes)
            continue
        if state is None:
            return bytes(content)
        if progress is not None:  # out here: an error of the caller's is not one of the network
            progress(*state)


def _receive(address, content, max_bytes):
    """Append the missing part of a file to `content`; yield bytes so far, and the size of the file or None."""
    with _open(address, len(content)) as response:
        extent = response.headers.get("Content-Range", "")
        if response.status != 206 or not extent.startswith(f"bytes {len(content)}-"):
            content.clear()  # the server starts from the beginning
        total = None if response.length is None else len(content) + response.length
        mark, since = len(content), time.monotonic()
        while True:
            if max(len(content), total or 0) > max_bytes:
                raise EdgeL3Error(f"{address}: expected a file of at most {max_bytes} bytes, found a larger one")
            chunk = response.read1(CHUNK_BYTES)
            if not chunk:
                break
            content += chunk
            yield len(content), total
            now = time.monotonic()
            if now - since >= TIMEOUT:
                if len(content) - mark < MIN_RATE * TIMEOUT:
                    raise TimeoutError
                mark, since = len(content), now
    if total is not None and len(content) < total:
        raise ConnectionError(f"the connection ended after {len(content)} of {total} bytes")


def _open(address, start):
    """Return the response to a request for a file from byte `start` on.

    Redirections are followed here: urllib reads the whole body of a redirection, however long, and does not know 308.
    """
    headers = {"User-Agent": f"edgel3_np/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = _make_opener()
    for redirections_left in reversed(range(MAX_REDIRECTIONS + 1)):
        try:
            return opener.open(request.Request(address, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            moved = error.code in (301, 302, 303, 307, 308) and "Location" in error.headers
            if not moved or not redirections_left:
                raise
            address = urljoin(address, error.headers["Location"])
            check_address(address)
    raise AssertionError("unreachable")


def _make_opener():
    """Return an opener for http and https with the environment's proxies, which follows no redirection."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        getattr(request, "HTTPSHandler", request.UnknownHandler)(),  # missing where Python is built without ssl
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error):
    """Return why a download failed, and what to do."""
    cause = getattr(error, "reason", error)
    if isinstance(error, HTTPError):
        advice = "it may have moved: name its new address (--url)" if error.code in (404, 410) else "try again later"
        return f"expected the file, found the answer {error.code} ({error.reason}); {advice}, {ALTERNATIVE}"
    if isinstance(cause, socket.gaierror):
        return f"the server's name cannot be looked up ({cause.strerror}): no network? Try again, {ALTERNATIVE}"
    if isinstance(cause, (TimeoutError, socket.timeout)):
        return f"stalled: expected some data within {TIMEOUT:g} s, found next to none; try again, {ALTERNATIVE}"
    return (
        f"cannot be downloaded: {cause or type(cause).__name__}; check network and proxy and try again, {ALTERNATIVE}"
    )
