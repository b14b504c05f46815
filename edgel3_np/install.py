"""Fetch the released models, check and convert them: `python -m edgel3_np install NAME`.

A file is held in memory until its hash is found right; what is written is a whole model, or nothing.
"""

import argparse
import io
import os
import sys
from pathlib import Path

from .convert import convert, git_blob, import_h5py
from .download import ELSEWHERE, check_address, fetch
from .errors import EdgeL3Error
from .locate import DEFAULT, PATH_VARIABLE, chosen_directories, list_models, user_directory
from .metadata import BLOBS, LICENSES, released_file
from .npz import read_file
from .output import atomic
from .progress import transfer
from .weights import load_weights, parse_weights, save_weights

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
MAX_BYTES = 128 << 20  # of a released file; those seen have 4 to 17 MB


def install(name, *, source=None, directory=None, url=None, progress=None):
    """Install a released model: fetch its file, compare its hash, convert it.

    Nothing is done if the directory has that model already, made from that file. Needs h5py (extra `convert`).

    Parameters
    ----------
    name : str
        Of a released model, such as `sea-64`.
    source : str or Path, optional
        The released file, as it was downloaded elsewhere (.h5.gz: only that can be verified), or a directory that holds
        it under its own name. Then no network is needed. By default it is downloaded.
    directory : str or Path, optional
        Where to put `<name>.npz`; made if missing. By default where `load_model` looks: the first directory of the
        environment variable `EDGEL3_NP_WEIGHTS`, otherwise one for the user's data (`locate.user_directory`).
    url : str, optional
        Address (http or https) of a directory that holds the file, instead of the official one. The hash stays.
    progress : callable, (int, int or None) -> None, optional
        Called during a download with the bytes that are here, and the size of the file where the server tells it.

    Returns
    -------
    path : Path
        The weight file.

    Raises
    ------
    EdgeL3Error
        No such model; no network, or a server that does not have the file, or stalls; another file than the released
        one; a directory that cannot be written; no h5py. What was at `path` before is still there.

    Examples
    --------
    >>> install("sea-65")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    edgel3_np.errors.EdgeL3Error: install: expected a released model (sparse-ft-53.5, ...), found 'sea-65'; ...
    """
    address, file = _official(name, url)
    directory = _destination(directory)
    path = Path(directory, f"{name}.npz")
    if _is_made_of(path, BLOBS[name]):
        return path
    import_h5py()  # before anything is downloaded in vain
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error.strerror) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _unwritable(directory, "permission denied, or a read-only file system")
    origin = address if source is None else os.path.join(source, file) if os.path.isdir(source) else os.fspath(source)
    content = fetch(address, MAX_BYTES, progress) if source is None else read_file(origin, MAX_BYTES)
    if git_blob(content) != BLOBS[name]:
        raise EdgeL3Error(
            f"{origin}: expected the released file {file} as it is downloaded, gzipped (git blob {BLOBS[name]}), found "
            f"{len(content)} bytes with {git_blob(content)}: damaged, or another file, such as a message of a proxy; "
            f"nothing was installed. Try again, {ELSEWHERE}"
        )
    weights, _, _ = convert(content, file, name)
    packed = io.BytesIO()
    save_weights(packed, weights)
    parse_weights(packed.getvalue(), str(path))  # what load_model would refuse is not written
    try:
        with atomic(path) as out:
            out.write(packed.getvalue())
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    return path


def _official(name, url):
    """Address of a released file, and its name."""
    if name not in BLOBS:
        raise EdgeL3Error(
            f"install: expected a released model ({', '.join(BLOBS)}), found {name!r}; {DEFAULT} comes with the package"
        )
    base, file = released_file(name)
    if url is not None:
        check_address(url)
        base = url.rstrip("/") + "/"
    return base + file, file


def _destination(directory):
    """The directory to install into, absolute."""
    if directory is None:
        directory = next(iter(chosen_directories()), user_directory())
    if directory is None:
        raise EdgeL3Error(
            f"expected a home directory to install into, found none; name a directory (--to, or {PATH_VARIABLE})"
        )
    return os.path.abspath(directory)


def _unwritable(path, reason):
    return EdgeL3Error(f"{path}: cannot be written: {reason}; nothing was installed. Name another directory (--to)")


def _is_made_of(path, blob):
    """Whether a weight file is whole, and was converted from the file of that hash."""
    try:
        return load_weights(path).provenance["source"].get("git_blob_sha1") == blob
    except EdgeL3Error:
        return False


def main(arguments=None):
    """Run `edgel3-np install`; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="edgel3-np install",
        description="Fetch released models, check that they are the released ones, convert them, and put them where "
        "edgel3_np finds them. Prints the path of each.",
        epilog=f"Default directory: the first of {PATH_VARIABLE}, otherwise {user_directory()}. Proxies are taken from "
        "https_proxy and http_proxy. A machine without h5py can use the npz that another one made. "
        "Exit codes: 0 installed, 1 failed, 2 wrong usage, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a released model, such as sea-64")
    parser.add_argument("--list", action="store_true", help="print the released models and which are installed")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--from",
        dest="source",
        metavar="FILE|DIR",
        help="take the released file (.h5.gz, as it is downloaded), or those in a directory; no network is needed",
    )
    where.add_argument("--url", metavar="BASE", help="download from this address instead of the official one")
    parser.add_argument("--to", dest="directory", metavar="DIR", help="where to put the models")
    options = parser.parse_args(arguments)
    if options.list:
        have = list_models()
        for name in BLOBS:
            state = f"{have[name]} ({have[name].stat().st_size} bytes)" if name in have else "not installed"
            print(f"{name:20} {LICENSES[name.partition('-')[0]]:60} {state}")
        return OK
    if not options.names:
        parser.error("expected at least one NAME of a released model; --list prints them")
    try:
        for name in options.names:
            _official(name, options.url)
    except EdgeL3Error as error:
        parser.error(str(error))
    if len(options.names) > 1 and options.source is not None and not os.path.isdir(options.source):
        parser.error("--from: expected a directory that holds the files of all models named, found something else")
    try:
        for name in options.names:
            with transfer(name, sys.stderr.isatty()) as update:
                path = install(
                    name, source=options.source, directory=options.directory, url=options.url, progress=update
                )
            print(path, flush=True)
            licence = LICENSES[name.partition("-")[0]]
            print(f"edgel3-np install: {name}: {path.stat().st_size} bytes; {licence}", file=sys.stderr)
            found = list_models().get(name)
            if not found or os.path.abspath(found) != str(path):
                instead = f"finds {found} first" if found else "does not look there"
                print(
                    f'edgel3-np install: load_model("{name}") {instead}: pass the path, or set {PATH_VARIABLE}',
                    file=sys.stderr,
                )
    except EdgeL3Error as error:
        print(f"edgel3-np install: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("edgel3-np install: interrupted; what is installed is whole", file=sys.stderr)
        return INTERRUPTED
    return OK
