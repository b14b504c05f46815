"""Gather files of embeddings: find them, check that one model made them, and say which recording each is from."""

import os
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

import numpy as np

from .._version import CONTRACT
from ..errors import EdgeL3Error
from ..weights.registry import BUNDLED_SHA256
from .find import find_files
from .parquet.part import NAME
from .results import recording_of
from .sources import ENDINGS, is_part, read_results

MAX_NAME = 4096  # characters of a recording's path, which is repeated in each of its rows


class EmbeddingSpace(NamedTuple):
    """What embeddings must have in common to be comparable.

    Parameters
    ----------
    sha256 : str
        Of the weight file.
    contract : int
        Version of the numeric contract.
    dim : int
        Length of an embedding.
    """

    sha256: str
    contract: int
    dim: int


class Recording(NamedTuple):
    """The embeddings of one recording, and what a table says about each of them.

    Parameters
    ----------
    path : str
        The recording; the file of embeddings, if that does not tell its recording.
    label : str
        Name of the folder that holds the recording; empty if the file of embeddings does not tell one.
    time : np.ndarray [shape=(n,), float64]
        Timestamps, seconds.
    dim : int
        Length of an embedding.
    parts : iterable of np.ndarray [shape=(b, dim), float32]
        Embeddings.
    center : bool
        Timestamps are the middles of windows; otherwise their starts.
    """

    path: str
    label: str
    time: np.ndarray
    dim: int
    parts: Iterable
    center: bool


def list_paths(paths):
    """Return a path, or an iterable of paths, as a list."""
    return [paths] if isinstance(paths, (str, bytes, os.PathLike)) else list(paths)


def find_results(paths):
    """Find the files of embeddings among paths, and below those that are directories.

    Parameters
    ----------
    paths : list of (str or Path)

    Returns
    -------
    files : list of str
        In order, and as they are to be shown.
    problems : list of EdgeL3Error
        For each link that leads out of its directory, and each directory that cannot be listed.
    """
    files, problems = {}, []
    for entry in map(os.fsdecode, paths):
        found, unreadable, _ = find_files([entry], suffixes=set(ENDINGS))
        folder = os.path.join(os.path.realpath(entry), "") if os.path.isdir(entry) else None
        for absolute, below in found.items():
            shown = os.path.join(entry, below) if folder else entry
            if folder and is_part(below) and not NAME.fullmatch(os.path.basename(below)):
                continue  # another table, such as an exported one
            if folder and os.path.islink(absolute) and not os.path.realpath(absolute).startswith(folder):
                what = "expected a file inside this directory, found a link that leads out of it"
                problems.append(EdgeL3Error(f"{shown}: {what}"))
            else:
                files.setdefault(absolute, shown)
        problems += [EdgeL3Error(f"{path}: cannot be listed: {reason}") for path, reason in unreadable.items()]
    return list(files.values()), problems


def embedding_space(provenance, path, found=None):
    """Return the `EmbeddingSpace` of a file of embeddings, from its provenance.

    Parameters
    ----------
    provenance : dict
    path : str
        Of the file, for messages.
    found : int, optional
        Length of the embeddings in the file, which must be the one that the provenance says.

    Raises
    ------
    EdgeL3Error
        The provenance is incomplete or wrong (kind `damaged`).
    """
    options, sha256, contract = (provenance.get(key) for key in ("options", "weights_sha256", "contract"))
    dim = options.get("dim") if isinstance(options, dict) else None
    if not (isinstance(sha256, str) and type(contract) is int and type(dim) is int):
        what = "a provenance with weights_sha256, contract and options.dim"
        raise EdgeL3Error(f"{path}: expected {what}, found none", kind="damaged")
    if found not in (None, dim):
        what = f"embeddings of length {dim}, as the provenance says"
        raise EdgeL3Error(f"{path}: expected {what}, found {found}", kind="damaged")
    return EmbeddingSpace(sha256, contract, dim)


def space_of(model):
    """Return the `EmbeddingSpace` of a model's embeddings."""
    return EmbeddingSpace(model.sha256, CONTRACT, model.dim)


def describe(space, name=""):
    """Return an `EmbeddingSpace` in words, for messages: with the name of its model, if that is given or bundled."""
    name = name or "".join(name for name, sha256 in BUNDLED_SHA256.items() if sha256 == space.sha256)
    numbers = f"length {space.dim}, numeric contract {space.contract}, weights' sha256 {space.sha256[:16]!r}"
    return f"{name} ({numbers})" if name else numbers


def check_space(space, wanted, path):
    """Raise `EdgeL3Error` unless the `EmbeddingSpace` of a file is the wanted one."""
    if space != wanted:
        raise EdgeL3Error(
            f"{path}: expected embeddings of one model, {describe(wanted)}, found {describe(space)}; "
            "name directories of one model at a time"
        )


def read_recordings(files, keep, report):
    """Yield each `Recording` in files of embeddings, in order. All must come from one model.

    Parameters
    ----------
    files : list of str
        As `find_results` returns them.
    keep : callable, (Place, iterator of np.ndarray) -> iterable of np.ndarray
        Reads the embeddings of a recording to their end, which checks them, and returns its `parts`.
    report : callable, EdgeL3Error -> None
        Called for each file that is skipped, because it cannot be read or was not written by `edgel3_np`.

    Raises
    ------
    EdgeL3Error
        Files come from several models.
    """
    wanted = None
    for path in files:
        for recording, space in _recordings_of(path, keep, report):
            wanted = wanted or space
            check_space(space, wanted, path)
            yield recording


def _recordings_of(path, keep, report):
    """Yield each `Recording` in a file, and its `EmbeddingSpace`; report what ends that."""
    with closing(read_results(path)) as results:
        while True:
            try:
                place, result = next(results, (None, None))
                if place is None:
                    return
                space = embedding_space(result.provenance, path, result.dim)
                name, label = name_recording(result.provenance, path)
                time, parts = result.timestamps(), keep(place, result.embedding)
            except EdgeL3Error as error:
                report(error)
                return
            yield Recording(name, label, time, space.dim, parts, is_centred(result.provenance)), space


def is_centred(provenance):
    """Tell whether timestamps are the middles of windows; otherwise they are their starts."""
    options = provenance.get("options")
    return not (isinstance(options, dict) and options.get("center") is False)


def name_recording(provenance, path):
    """Return the path and the label of a recording, from the provenance of its file of embeddings.

    Raises
    ------
    EdgeL3Error
        The path is longer than any file's (kind `damaged`).

    Examples
    --------
    >>> name_recording({"input": {"name": "birds/owl/7.wav"}}, "7.npz")
    ('birds/owl/7.wav', 'owl')
    >>> name_recording({}, "7.npz")
    ('7.npz', '')
    """
    whole = recording_of(provenance)
    if not whole:
        return path, ""
    if len(whole) > MAX_NAME:
        what = f"a provenance with a path of at most {MAX_NAME} characters"
        raise EdgeL3Error(f"{path}: expected {what}, found {len(whole)}", kind="damaged")
    return whole, provenance["input"]["name"].rpartition("/")[0].rpartition("/")[2]


def check_labels(labels):
    """Raise `EdgeL3Error` unless `labels` is 'folder' or None."""
    if labels not in ("folder", None):
        raise EdgeL3Error(f"labels: expected 'folder', or None for no labels, found {labels!r}")


def nothing_found(paths, files):
    """Return the error that there are no embeddings below these paths, or in these files that were found there."""
    where = ", ".join(map(os.fsdecode, paths)) or "no files are given"
    what = (
        "expected embeddings (npz, or parts of a table), found none; make them with `edgel3-np RECORDINGS -o DIRECTORY`"
    )
    return EdgeL3Error(f"{where}: {what}", kind="damaged" if any(map(os.path.lexists, files)) else "invalid")
