"""Examples of sounds, and which of them a moment is most similar to."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..collections.find import SUFFIXES, find_files
from ..collections.gather import describe, embedding_space, space_of
from ..collections.names import printable
from ..collections.results import open_result
from ..errors import EdgeL3Error
from ..network.threads import one_blas_thread

HOP_SIZE = 0.1  # seconds between the windows of an example, so that few of them lie over its end


class Examples(NamedTuple):
    """Examples of sounds."""

    labels: list  # of str, n of them
    units: np.ndarray  # (n, dim), float64: mean embeddings, scaled to length 1


def load_examples(folder, model, on_problem):
    """Load examples of sounds: recordings, or files of embeddings that edgel3-np wrote.

    An example below a subfolder has the subfolder's name as its label, another one the name of its file without
    extension. Of a recording with embeddings beside it only the embeddings are read.

    Parameters
    ----------
    folder : str or Path
        Searched recursively.
    model : Model
    on_problem : callable, EdgeL3Error -> None
        Called for each file that is skipped: it cannot be read, or its embeddings come from another model.

    Returns
    -------
    examples : Examples

    Raises
    ------
    EdgeL3Error
        There is no such folder, or no example in it that can be used.

    Warns
    -----
    EdgeL3Warning
        As for `Model.embed`.
    """
    folder = os.fsdecode(folder)
    if not os.path.isdir(folder):
        raise EdgeL3Error(f"{folder}: expected a folder of examples, found none")
    results, unreadable, _ = find_files([folder], suffixes={".npz"})
    recordings, _, _ = find_files([folder])
    for path, reason in unreadable.items():
        on_problem(EdgeL3Error(f"{path}: cannot be listed: {reason}"))
    labels, units, done = [], [], set()
    for path, below in (*results.items(), *recordings.items()):
        whole, ending = os.path.splitext(path)
        is_result = ending.lower() == ".npz"
        if not is_result and done & {path, whole}:
            continue
        try:
            mean = _mean_of_result(path, model) if is_result else _mean_of_recording(path, model)
        except EdgeL3Error as error:
            on_problem(error)
            continue
        done.add(whole)
        labels.append(_label(below))
        units.append(mean / (np.sqrt(np.square(mean).sum()) or 1.0))
    if not units:
        what = "expected recordings, or embeddings (npz) of this model, found none that can be used"
        raise EdgeL3Error(f"{folder}: {what}")
    return Examples(labels, np.array(units))


def nearest(examples, embedding):
    """Return the label of the example that is most similar to an embedding, and the cosine of the two."""
    vector = embedding.astype(np.float64)  # (dim,)
    with one_blas_thread():
        cosines = examples.units @ vector / (np.sqrt(np.square(vector).sum()) or 1.0)  # (n,)
    best = int(cosines.argmax())
    return examples.labels[best], float(cosines[best])


def _label(below):
    """Return the label of an example, from its path below the folder."""
    first, *others = below.split(os.sep)
    if others:
        return printable(first)
    name = first[: -len(".npz")] if first.lower().endswith(".npz") else first
    stem, ending = os.path.splitext(name)
    return printable(stem if ending.lower() in SUFFIXES or name == first else name)


def _mean_of_result(path, model):
    with open_result(path) as result:
        found, here = embedding_space(result.provenance, path, result.dim), space_of(model)
        if found != here:
            what = f"expected embeddings of {describe(here, model.name)}, found {describe(found)}"
            raise EdgeL3Error(f"{path}: {what}; embed the example again")
        total, count = np.zeros(result.dim), 0
        for batch in result.embedding:
            total, count = total + batch.sum(axis=0, dtype=np.float64), count + len(batch)
    return total / count


def _mean_of_recording(path, model):
    embedding, _ = model.embed(path, hop_size=HOP_SIZE, center=False)
    return embedding.mean(axis=0, dtype=np.float64)
