"""Install a released model: fetch its file, check it, convert it.

The file stays in memory until its hash is checked. Either a complete model is written, or nothing.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Callable

from .._files import read_file
from ..collections.atomic import atomic
from ..errors import EdgeL3Error
from ..weights.format import load_weights, parse_weights, save_weights
from ..weights.locate import PATH_VARIABLE, chosen_directories, user_directory
from ..weights.registry import DEFAULT
from .catalogue import FILES
from .convert import convert, git_blob_sha1
from .download import ALTERNATIVE, check_address, fetch
from .keras import import_h5py

MAX_BYTES = 128 << 20  # of a released file; the known ones have 4 to 17 MB


def install(
    name: str,
    *,
    source: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    url: str | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> Path:
    """Install a released model: fetch its file, compare its hash, convert it.

    Nothing is done if the directory already has the model, converted from that file. Needs h5py (extra `convert`).

    Parameters
    ----------
    name : str
        Name of a released model, such as `sea-64`.
    source : str or Path, optional
        The released file as it is downloaded (.h5.gz; an unpacked file has another hash), or a directory that holds it
        under its own name. Then no network is needed. By default it is downloaded.
    directory : str or Path, optional
        Where to put `<name>.npz`; made if it is missing. By default where `load_model` looks: the first directory of
        the environment variable `EDGEL3_NP_WEIGHTS`, otherwise a directory of the user's data
        (`weights.locate.user_directory`).
    url : str, optional
        Address (http or https) of a directory that holds the file, instead of the official one. The hash that the file
        must have stays the same.
    progress : callable, (int, int or None) -> None, optional
        Called during a download with the number of bytes received, and the size of the file if the server tells it.

    Returns
    -------
    path : Path
        The weight file.

    Raises
    ------
    EdgeL3Error
        There is no such model, no network or no h5py; the server does not have the file, or stalls; the file is not
        the released one; or the directory cannot be written. A file that was at `path` before is then still there.

    Examples
    --------
    >>> install("sea-65")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    edgel3_np.errors.EdgeL3Error: install: expected a released model (sparse-ft-53.5, ...), found 'sea-65'; ...
    """
    address, file = released_address(name, url)
    directory = _destination(directory)
    path = Path(directory, f"{name}.npz")
    if _is_converted_from(path, FILES[name].git_blob_sha1):
        return path
    import_h5py()  # before anything is downloaded in vain
    _make_writable(directory)
    if source is None:
        origin, content = address, fetch(address, MAX_BYTES, progress)
    else:
        origin = os.path.join(source, file) if os.path.isdir(source) else os.fspath(source)
        content = read_file(origin, MAX_BYTES)
    _check_hash(content, name, origin)
    weights, _, _ = convert(content, file, name)
    packed = io.BytesIO()
    save_weights(packed, weights)
    parse_weights(packed.getvalue(), str(path))  # a file that load_model would refuse is not written
    try:
        with atomic(path) as out:
            out.write(packed.getvalue())
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    return path


def released_address(name, url=None):
    """Return where a released file is downloaded from.

    Parameters
    ----------
    name : str
        Name of a released model.
    url : str, optional
        Address of a directory that holds the file, instead of the official one.

    Returns
    -------
    address : str
        Of the file.
    file : str
        Its name.

    Raises
    ------
    EdgeL3Error
        There is no such model, or `url` is not an address of http or https.
    """
    if name not in FILES:
        raise EdgeL3Error(
            f"install: expected a released model ({', '.join(FILES)}), found {name!r}; {DEFAULT} comes with the package"
        )
    base, file = FILES[name].address, FILES[name].name
    if url is not None:
        check_address(url)
        base = url.rstrip("/") + "/"
    return base + file, file


def _destination(directory):
    """Return the directory to install into, as an absolute path."""
    if directory is None:
        directory = next(iter(chosen_directories()), user_directory())
    if directory is None:
        raise EdgeL3Error(
            f"expected a home directory to install into, found none; name a directory (--to, or {PATH_VARIABLE})"
        )
    return os.path.abspath(directory)


def _make_writable(directory):
    """Make a directory if it is missing; raise `EdgeL3Error` unless files can be written there."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error.strerror) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _unwritable(directory, "permission denied, or a read-only file system")


def _unwritable(path, reason):
    return EdgeL3Error(f"{path}: cannot be written: {reason}; nothing was installed. Name another directory (--to)")


def _check_hash(content, name, origin):
    """Raise `EdgeL3Error` unless content is the released file of a model."""
    expected, found = FILES[name].git_blob_sha1, git_blob_sha1(content)
    if found != expected:
        raise EdgeL3Error(
            f"{origin}: expected the released file {FILES[name].name} as it is downloaded, gzipped (git blob "
            f"{expected}), found {len(content)} bytes with {found}: a damaged file, or another one, such as a message "
            f"of a proxy; nothing was installed. Try again, {ALTERNATIVE}"
        )


def _is_converted_from(path, git_blob):
    """Return whether a weight file is valid and was converted from the file with that hash."""
    try:
        return load_weights(path).provenance["source"].get("git_blob_sha1") == git_blob
    except EdgeL3Error:
        return False
