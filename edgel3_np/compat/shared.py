"""What the interfaces share: checks of arguments, and embedding of recordings that messages can tell apart."""

from __future__ import annotations

import os
from numbers import Real

import numpy as np

from .._version import __version__
from ..collections.results import fingerprint, save_embedding
from ..errors import EdgeL3Error, warn
from ..model import Model
from ..pipeline import embed_audio


def embed_recording(model, audio, sr=None, *, hop_size=0.1, center=True, threads=None, label=""):
    """Embed one recording of several: like `Model.embed`, but errors and warnings say which recording they are about.

    Parameters
    ----------
    model : Model
    audio, sr, hop_size, center, threads
        As for `embed`.
    label : str
        Text that starts each message, such as `recording 3: `.

    Returns
    -------
    embedding : Embedding
    """
    return _embed(model, audio, sr, label, hop_size=hop_size, center=center, threads=threads)[0]


def _embed(model, audio, sr, label, **options):
    """Embed a recording and warn; return the embedding, the remarks, and whether something is missing."""
    try:
        embedding, remarks, incomplete = embed_audio(model.network, audio, sr, **options)
    except EdgeL3Error as error:
        if str(error).startswith(label):  # also if there is no label
            raise
        raise EdgeL3Error(f"{label}{error}", error.kind) from error
    for remark in remarks:
        warn(remark if remark.startswith(label) else f"{label}{remark}")
    return embedding, remarks, incomplete


def embed_to_file(model, filepath, output, hop_size, center, label=""):
    """Embed a sound file into an npz, whose directory is made if missing; `label` as for `embed_recording`."""
    (embedding, timestamps), remarks, incomplete = _embed(
        model, filepath, None, label, hop_size=hop_size, center=center
    )
    provenance = {"model": model.name, "version": __version__, **fingerprint(model, hop_size, center)}
    if remarks:
        provenance.update(remarks=remarks, incomplete=incomplete)
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    save_embedding(output, [embedding], lambda count, first: timestamps[first : first + count], provenance)


def get_output_path(
    filepath: str | os.PathLike[str], suffix: str, output_dir: str | os.PathLike[str] | None = None
) -> str:
    """Return the path of an output, as `edgel3.get_output_path` forms it.

    Parameters
    ----------
    filepath : str or Path
    suffix : str
        Such as `.npz`, or `new.npz` for `name_new.npz`.
    output_dir : str or Path, optional
        By default the directory of the file.

    Examples
    --------
    >>> get_output_path("sounds/a.wav", "new.npz", "out").replace(os.sep, "/")
    'out/a_new.npz'
    """
    filepath = os.fspath(filepath)
    base = os.path.splitext(os.path.basename(filepath))[0]
    directory = os.fspath(output_dir) if output_dir else os.path.dirname(filepath)
    return os.path.join(directory, base + ("" if suffix.startswith(".") else "_") + suffix)


def output_path(filepath, suffix, output_dir):
    """Return the path of the npz of a sound file: next to it or in a directory, with or without a suffix."""
    return get_output_path(filepath, f"{suffix or ''}.npz", output_dir)


def check_verbose(verbose):
    """Raise `EdgeL3Error` unless `verbose` is one of the values that edgel3 and openl3 accept."""
    check_choice("verbose", verbose, (True, False))


def check_path(filepath, expected):
    """Raise `EdgeL3Error` unless `filepath` is a path; `expected` says in words what the argument should be."""
    if not isinstance(filepath, (str, os.PathLike)):
        raise EdgeL3Error(f"filepath: expected {expected}, found {type(filepath).__name__}")


def check_choice(name, value, choices):
    """Raise `EdgeL3Error` unless an option has one of the values in `choices`."""
    if not isinstance(value, (str, Real, np.bool_)) or value not in choices:
        raise EdgeL3Error(f"{name}: expected {' or '.join(map(repr, choices))}, found {value!r}")


def check_model(model):
    """Return a model that is loaded, or raise `EdgeL3Error`."""
    if not isinstance(model, Model):
        raise EdgeL3Error(f"model: expected a loaded model (a Model) or None, found {type(model).__name__}")
    return model
