"""Put a page together: its data, its script and its style in one file, which can fetch nothing."""

import base64
import hashlib
import json
import os
from html import escape
from importlib.resources import files

from .._version import __version__
from ..collections.atomic import atomic
from ..collections.html import START
from ..collections.names import as_text
from ..errors import EdgeL3Error

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")  # in a URL
HEAD = """{start}
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none';
 img-src data:; media-src {media}; style-src '{style_hash}'; script-src '{script_hash}'">
<style>{style}</style></head>
<body><main><noscript>This page needs JavaScript, which this browser does not run.</noscript></main>
"""


def write_page(path, scripts, about, items, linked):
    """Write a page: completely or not at all.

    The script builds all that is seen, and puts names into the page as text, never as HTML. A policy in the page lets
    the browser run this script alone, and fetch nothing but recordings that are linked.

    Parameters
    ----------
    path : str
    scripts : list of str
        Files of this folder, in order.
    about : dict
        For JSON, with `title` and what else the script wants to know.
    items : iterable of dict
        For JSON. Each is written before the next is asked for.
    linked : bool
        The page plays recordings where they are.

    Returns
    -------
    size : int
        Bytes of the page.

    Raises
    ------
    EdgeL3Error
        The page cannot be written (kind `output`).
    """
    style, script = read_asset("style.css"), "\n".join(map(read_asset, scripts))
    head = HEAD.format(
        start=START,
        title=escape(about["title"]),
        media="blob: file: 'self'" if linked else "blob:",
        style=style,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    try:
        with atomic(path) as file:
            file.write(head.encode())
            file.write(_data("about", {**about, "version": __version__}))
            for item in items:
                file.write(_data("item", item))
            file.write(f"<script>{script}</script></body></html>\n".encode())
        return os.path.getsize(path)
    except OSError as error:
        raise EdgeL3Error(f"{path}: cannot be written: {error.strerror or error}", kind="output") from error


def read_asset(name):
    """Return the text of a file of this folder, such as `style.css`."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def relative_url(recording, page):
    """Return the URL of a recording, relative to the folder of the page.

    Parameters
    ----------
    recording, page : str

    Raises
    ------
    EdgeL3Error
        No file has such a name.

    Examples
    --------
    >>> relative_url("/sounds/a b#1.wav", "/pages/hits.html")
    './../sounds/a%20b%231.wav'
    """
    try:
        below = os.path.relpath(recording, os.path.dirname(os.path.abspath(page)))
    except ValueError:  # another drive of Windows
        return "file:///" + _quoted(os.path.abspath(recording))
    return "./" + _quoted(below)


def _quoted(path):
    try:
        data = os.fsencode(path.replace(os.sep, "/"))
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise EdgeL3Error(f"{as_text(path)}: expected the path of a recording, found no path") from error
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in data)


def by_recording(things):
    """Return the numbers of things that have the same `recording`, by recording, so that each is read once."""
    found = {}
    for number, thing in enumerate(things):
        found.setdefault(thing.recording, []).append(number)
    return found


def encoded(content):
    """Return bytes in base 64, as text."""
    return base64.b64encode(content).decode()


def _data(kind, value):
    """Return data as a script that is not run; no text in it ends the script, because no `<` is left."""
    text = json.dumps(value, sort_keys=True).replace("<", "\\u003c")
    return f'<script type="application/json" class="{kind}">{text}</script>\n'.encode()


def _hash(text):
    return f"sha256-{encoded(hashlib.sha256(text.encode()).digest())}"
