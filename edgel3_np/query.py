"""What a search asks for: the mean embedding of a recording, or of a part of it."""

import os
from contextlib import suppress
from numbers import Real
from typing import NamedTuple

import numpy as np

from .errors import EdgeL3Error
from .locate import is_path
from .metadata import CONTRACT
from .models import Model, load_model
from .output import open_result, read_provenance

APART = 1.0 - 1e-6  # seconds: windows that are nearer to each other than they are long share sound


class Query(NamedTuple):
    unit: np.ndarray  # (dim,), float64: its mean embedding, of length 1 (or 0)
    made: tuple  # what other embeddings must be made with, as `made_with` says it
    source: object  # which recording it is, as `source_of` says it
    file: tuple  # its device and number there
    span: tuple  # seconds of it that are asked about: first and last


def made_with(provenance, path, found=None):
    """What embeddings must share to be compared: weights, contract and length, which must be that `found`, if it is."""
    options, sha256, contract = (provenance.get(key) for key in ("options", "weights_sha256", "contract"))
    dim = options.get("dim") if isinstance(options, dict) else None
    if not (isinstance(sha256, str) and isinstance(contract, int) and isinstance(dim, int)):
        raise EdgeL3Error(f"{path}: expected a provenance with weights_sha256, contract and options.dim, found none")
    if found not in (None, dim):
        raise EdgeL3Error(f"{path}: expected embeddings of length {dim}, as its provenance says, found {found}")
    return sha256, contract, dim


def words(made):
    return f"length {made[2]}, numeric contract {made[1]}, weights' sha256 {made[0][:16]!r}"


def source_of(provenance):
    """Which recording embeddings are of: its name, size and time; None if they do not tell."""
    source = provenance.get("input")
    if not isinstance(source, dict) or not isinstance(source.get("name"), str):
        return None
    return os.path.basename(source["name"]), source.get("bytes"), source.get("mtime_ns")


def file_of(path):
    """Which file it is, by whatever name."""
    info = os.stat(path)
    return info.st_dev, info.st_ino


def read_query(path, at):
    """The query that a file of embeddings is."""
    with open_result(path) as result:
        embedding, timestamps = np.concatenate(list(result.embedding)), result.timestamps()
        made, source = made_with(result.provenance, path, result.dim), source_of(result.provenance)
    return _query(embedding, timestamps, at, made, source, path)


def embed_query(path, at, files, model):
    """The query that a recording is, embedded as the first of these files that can be read was."""
    for first in files:
        provenance = read_provenance(first)
        with suppress(EdgeL3Error):
            made = made_with(provenance or {}, first)
            break
    else:
        raise nothing_in(files)
    options = provenance["options"]
    name = provenance.get("model") if model is None else model
    try:
        if model is None and is_path(name):  # a file that nobody vouches for does not say what to open
            raise EdgeL3Error("that is no model's name")
        loaded = name if isinstance(name, Model) else load_model(name, made[2])
    except EdgeL3Error as error:
        what = f"cannot embed the query as this was, with {name!r}: {error}"
        raise EdgeL3Error(f"{first}: {what}; or name the model that it was made with") from error
    here = loaded.sha256, CONTRACT, loaded.dim
    if made != here:
        raise EdgeL3Error(
            f"{first}: expected embeddings of the {loaded.name} that is here ({words(here)}), found {words(made)}; "
            "embed the collection again, or name the model that it was made with"
        )
    embedding, timestamps = loaded.embed(path, hop_size=options.get("hop_size"), center=options.get("center"))
    info = os.stat(path)
    return _query(embedding, timestamps, at, made, (os.path.basename(path), info.st_size, info.st_mtime_ns), path)


def nothing_in(paths):
    """The error that there is nothing to search."""
    where = ", ".join(map(os.fsdecode, paths)) or "no files"
    return EdgeL3Error(f"{where}: expected embeddings (npz), found none; make them: edgel3-np RECORDINGS -o FOLDER")


def _query(embedding, timestamps, at, made, source, path):
    """The mean of the embeddings that are asked about."""
    span, chosen = (-np.inf, np.inf), slice(None)
    if at is not None:
        ends = at if isinstance(at, (tuple, list)) else (at, at)
        if len(ends) != 2 or not all(isinstance(end, Real) and end == end for end in ends) or ends[0] > ends[1]:
            raise EdgeL3Error(f"at: expected a time in seconds, or the first and the last, found {at!r}")
        chosen = np.flatnonzero((timestamps >= ends[0]) & (timestamps <= ends[1]))
        if not len(chosen):
            chosen = np.abs(timestamps - (ends[0] + ends[1]) / 2).argmin()[np.newaxis]
        span = float(timestamps[chosen[0]]), float(timestamps[chosen[-1]])
        if span[1] < ends[0] - APART or span[0] > ends[1] + APART:
            found = f"found {at!r}, and windows from {timestamps[0]:g} to {timestamps[-1]:g} s"
            raise EdgeL3Error(f"at: expected a time within {path}, {found}")
    mean = embedding[chosen].mean(axis=0, dtype=np.float64)
    return Query(mean / (np.linalg.norm(mean) or 1.0), made, source, file_of(path), span)
