"""Pool the windows of labelled recordings: the embedding of each, and which classes are heard in it."""

import os
from typing import NamedTuple

import numpy as np

from ..collections.find import find_files, name_outputs, output_names, stat_file
from ..collections.gather import embedding_space, is_centred, space_of
from ..collections.jobs import Job
from ..collections.results import open_result, read_provenance, recording_of
from ..errors import EdgeL3Error
from .events import TOLERANCE, WINDOW
from .tracks import BACKGROUND

ENOUGH = 0.5  # seconds of a label in a window, with which it is one of that class; all of the label, if it is shorter


class Pool(NamedTuple):
    """The windows of labelled recordings.

    Parameters
    ----------
    embedding : np.ndarray [shape=(n, dim), float32]
    present : np.ndarray [shape=(n, classes), bool]
        The class is heard in the window.
    unsure : np.ndarray [shape=(n, classes), bool]
        The window is neither an example of the class nor of its absence: less of a label lies in it than `ENOUGH`, or
        nobody is sure.
    recording : np.ndarray [shape=(n,), int]
        Number of the recording.
    group : np.ndarray [shape=(n,), int]
        Number of its group.
    contradicted : int
        Windows in which one label says that a class is heard and another that it is not: they are unsure.
    """

    embedding: np.ndarray
    present: np.ndarray
    unsure: np.ndarray
    recording: np.ndarray
    group: np.ndarray
    contradicted: int = 0


def mark_windows(spans, timestamps, center, classes):
    """Tell which classes are heard in each window of a recording.

    A window belongs to a class if at least half a second of a label lies in it, or the whole label, if that is shorter:
    a bark of 0.2 s makes examples too. Where a class is said not to be heard, the window belongs to none, unless
    another label says so. Where nobody is sure of a class, the window is no example of it or of its absence.

    Parameters
    ----------
    spans : list of Span
    timestamps : np.ndarray [shape=(t,), float64]
    center : bool
        Timestamps are the middles of windows; otherwise their starts.
    classes : list of str
        Without the background.

    Returns
    -------
    present, unsure, contradicted : np.ndarray [shape=(t, classes), bool]
        As in `Pool`; what is contradicted is unsure too.
    labelled : np.ndarray [shape=(t,), bool]
        The window lies in a label, be it one of background, or one that is not heard.
    """
    starts = timestamps - (WINDOW / 2 if center else 0.0)
    present, touched, absent = np.zeros((3, len(starts), len(classes)), bool)
    labelled, column = np.zeros(len(starts), bool), {label: number for number, label in enumerate(classes)}
    for span in spans:
        overlap = np.minimum(starts + WINDOW, span.end) - np.maximum(starts, span.start)
        inside = overlap >= min(ENOUGH, span.end - span.start) - TOLERANCE
        if span.heard is not None:
            labelled |= inside
        if span.label == BACKGROUND:
            continue
        if span.heard:
            present[:, column[span.label]] |= inside
        if span.heard is False:
            absent[:, column[span.label]] |= inside
        else:
            touched[:, column[span.label]] |= overlap > TOLERANCE
    contradicted = present & absent
    return present & ~absent, (touched & ~present & ~absent) | contradicted, contradicted, labelled


def pool_windows(labels, results, classes, space):
    """Read the embeddings of labelled recordings.

    Of recordings that are labelled in part, only windows with labels count; windows without are background elsewhere.

    Parameters
    ----------
    labels : Labels
    results : dict of str to str
        Files of embeddings, by the path of their recording.
    classes : list of str
        Without the background.
    space : EmbeddingSpace
        What all embeddings must have in common.

    Returns
    -------
    pool : Pool
        Recordings have their place in `results` as their number.

    Raises
    ------
    EdgeL3Error
        A file of embeddings cannot be read, or is of another model.
    """
    parts, groups, disputed = [], {}, 0
    for number, (recording, path) in enumerate(results.items()):
        with open_result(path) as result:
            if embedding_space(result.provenance, path, result.dim) != space:
                raise EdgeL3Error(f"{path}: expected embeddings of the model at hand, found others; run again")
            center = is_centred(result.provenance)
            timestamps = result.timestamps()
            present, unsure, contradicted, labelled = mark_windows(labels.spans[recording], timestamps, center, classes)
            keep = labelled if recording in labels.partial else np.ones(len(timestamps), bool)
            embedding = np.concatenate(list(result.embedding))[keep]
            disputed += int(contradicted.any(axis=1).sum())
        group = groups.setdefault(labels.groups.get(recording, recording), len(groups))
        numbers = np.full(len(embedding), number), np.full(len(embedding), group)
        parts.append((embedding, present[keep], unsure[keep], *numbers))
    return Pool(*map(np.concatenate, zip(*parts)), contradicted=disputed)


def find_embeddings(recordings, folder, model):
    """Find files of embeddings that are of these recordings and this model, wherever they lie in a folder.

    A recording is recognised by its name, size and modification time, as a second run of `edgel3-np` recognises it.

    Parameters
    ----------
    recordings : iterable of str
        Absolute paths.
    folder : str
    model : Model

    Returns
    -------
    found : dict of str to str
        Files of embeddings, by recording.
    """
    wanted, found = {}, {}
    for path in recordings:
        try:
            info = stat_file(path)
        except EdgeL3Error:
            continue  # embedding it tells what is wrong
        wanted.setdefault((os.path.basename(path), info.st_size, info.st_mtime_ns), []).append(path)
    results, _, _ = find_files([folder], suffixes={".npz"}) if os.path.isdir(folder) else ({}, {}, [])
    for path in results:
        provenance = read_provenance(path) or {}
        source = provenance.get("input")
        try:
            if embedding_space(provenance, path) != space_of(model):
                continue
            key = os.path.basename(str(source["name"])), source.get("bytes"), source.get("mtime_ns")
            same = wanted.get(key, [])
        except (EdgeL3Error, KeyError, TypeError, AttributeError):  # untrusted
            continue
        whole = os.path.normpath(recording_of(provenance) or "")
        same = same if len(same) == 1 else [recording for recording in same if recording == whole]
        for recording in same:
            found.setdefault(recording, path)
    return found


def embedding_jobs(recordings, taken, folder, options):
    """Return the jobs that embed recordings into a folder, in a tree like theirs.

    Parameters
    ----------
    recordings : dict of str to str
        Names below the folder of the labels, by path.
    taken : iterable of str
        Files that must not be replaced.
    folder : str
    options : dict
        The remaining fields of `Job`.

    Returns
    -------
    jobs : list of Job
    """
    folder, taken = os.path.abspath(folder), set(taken)
    outputs = name_outputs(recordings, folder)
    jobs = []
    for path, name in recordings.items():
        output = outputs[path] if outputs[path] not in taken else output_names(path, name, folder)[2]
        source = os.path.normpath(path[: len(path) - len(name)]) if path.endswith(name) else os.path.dirname(path)
        below = os.path.relpath(path, source).replace(os.sep, "/")
        jobs.append(Job(input=path, output=output, root=folder, source=source, name=below, **options))
    return jobs
