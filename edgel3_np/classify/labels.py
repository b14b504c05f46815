"""Find out what is heard in which recording: folders named like classes, tables, label tracks beside recordings."""

import hashlib
import os
from collections import Counter
from typing import NamedTuple

from .._files import open_regular
from ..collections.find import FOREIGN, SUFFIXES, find_files
from ..collections.summary import plural
from ..errors import EdgeL3Error
from .classifier import MAX_LABEL, is_label
from .tracks import BACKGROUND, Span, read_csv, read_text, read_track

WHOLE = (-float("inf"), float("inf"))
HASH_BYTES = 1 << 20  # read at a time


class Labels(NamedTuple):
    """Labelled recordings.

    Parameters
    ----------
    spans : dict of str to list of Span
        Of each recording, by its absolute path. A recording may have none: all of it is background. Recordings of which
        nothing is known are left out.
    names : dict of str to str
        Path of each recording below the folder of the labels, by which its embeddings are named.
    partial : frozenset of str
        Recordings whose sound without labels is of unknown kind. Of the others, it is background.
    groups : dict of str to str
        Recordings that belong together, so that a test holds out all of them: the name of the group, by path.
    """

    spans: dict
    names: dict
    partial: frozenset = frozenset()
    groups: dict = {}  # noqa: RUF012 never changed


def read_labels(paths, on_problem):
    """Read labels.

    Parameters
    ----------
    paths : list of (str or Path)
        Each is one of these:

        * a folder with a subfolder for each class, in which recordings lie, at any depth;
        * a CSV or TSV with the columns path (relative to the file), start, end (seconds) and label; without start and
          end, the label is that of the whole recording; with the column answer, which a page of hits writes, only the
          rows are known; the column group names what belongs together, such as a day or a place;
        * a folder of recordings with label tracks of Audacity (`.txt` with the name of its recording) or selection
          tables of Raven (`.txt` with the name of its recording, or a column `Begin Path` or `Begin File`);
        * a selection table of Raven with such a column.
    on_problem : callable, EdgeL3Error -> None
        Called for each file that is left out: it has no label, cannot be read, or is missing.

    Returns
    -------
    labels : Labels
        Copies of one recording are one recording, with the labels of all of them.

    Raises
    ------
    EdgeL3Error
        There are no labels, or a table is not as described.
    """
    labels = _merge([_read_one(os.path.abspath(os.fsdecode(path)), on_problem) for path in paths])
    if not labels.spans:
        raise EdgeL3Error(f"{', '.join(map(os.fsdecode, paths))}: expected answers of yes or no, found none")
    return labels


def _read_one(path, on_problem):
    ending = os.path.splitext(path)[1].lower()
    if ending in SUFFIXES | FOREIGN and os.path.isfile(path):
        what = "expected a folder of labelled recordings, or a table of labels, found a recording"
        raise EdgeL3Error(f"{path}: {what}")
    if os.path.isdir(path):
        labels = _of_folder(path, on_problem)
    elif ending in (".csv", ".tsv"):
        rows, answered = read_csv(path, read_text(path))
        labels = _of_rows(path, rows, on_problem)
        if answered:
            labels = labels._replace(partial=frozenset(labels.spans))
    else:
        rows = read_track(path, read_text(path))
        if not rows or not all(row.path for row in rows):
            what = "a folder, a CSV or TSV, or a selection table of Raven with the column Begin Path or Begin File"
            raise EdgeL3Error(f"{path}: expected {what}, found another file")
        labels = _of_rows(path, rows, on_problem)
    if not labels.spans:
        raise EdgeL3Error(
            f"{path}: expected labelled recordings, found none; see `edgel3-np train --help` for how labels are given"
        )
    if any(span.label == BACKGROUND for spans in labels.spans.values() for span in spans):
        labels = labels._replace(partial=frozenset(labels.spans))
    return labels


def _of_folder(folder, on_problem):
    found, unreadable, passed = find_files([folder])
    for path, reason in unreadable.items():
        on_problem(EdgeL3Error(f"{path}: cannot be listed: {reason}", kind="unreadable"))
    for path in passed:
        on_problem(EdgeL3Error(f"{path}: left out: libsndfile does not read it; convert it: ffmpeg -i X Y.wav"))
    tracks = _find_tracks(folder, found, on_problem)
    if tracks is not None:
        without = [path for path in found if path not in tracks]
        for path in without:
            on_problem(EdgeL3Error(f"{path}: left out: no label track lies beside it"))
        return Labels(tracks, {path: found.get(path) or _below(path, folder) for path in tracks})
    spans = {}
    for path, below in found.items():
        label = below.split(os.sep)[0].strip()
        if os.sep not in below:
            on_problem(EdgeL3Error(f"{path}: left out: expected it in a subfolder, whose name is its label"))
        elif not is_label(label):
            what = f"expected a folder named with 1 to {MAX_LABEL} printable characters, the first not -"
            on_problem(EdgeL3Error(f"{path}: left out: {what}"))
        else:
            spans[path] = [Span(*WHOLE, label)]
    return Labels(spans, {path: found[path] for path in spans})


def _find_tracks(folder, found, on_problem):
    """Return the spans of recordings that have label tracks, by path; None if there are no tracks at all."""
    stems, spans, any_track = {}, {}, False
    for path in found:
        stems.setdefault(os.path.splitext(path)[0], []).append(path)
    texts, _, _ = find_files([folder], suffixes={".txt"})
    for path in texts:
        beside = stems.get(os.path.splitext(path)[0], [])
        try:
            rows = read_track(path, read_text(path))
        except EdgeL3Error as error:
            if not beside:  # a text that has nothing to do with recordings
                continue
            raise EdgeL3Error(f"{error}; correct the labels, or move the file away") from error
        if rows is None or not (beside or any(row.path for row in rows)):
            continue
        any_track = True
        for recording in beside if not any(row.path for row in rows) else ():
            spans.setdefault(recording, [])
        for row in rows:
            for recording in [_resolve(row.path, path)] if row.path else beside:
                if _exists(recording):
                    spans.setdefault(recording, []).append(row.span)
                else:
                    on_problem(_missing(f"{path}: {row.path}", 1))
    return spans if any_track else None


def _of_rows(table, rows, on_problem):
    spans, groups, missing, folder = {}, {}, Counter(), os.path.dirname(table)
    for row in rows:
        recording = _resolve(row.path, table)
        if not _exists(recording):
            missing[row.path] += 1
            continue
        spans.setdefault(recording, []).append(row.span)
        if row.group and groups.setdefault(recording, row.group) != row.group:
            found = f"{groups[recording]!r} and {row.group!r}"
            raise EdgeL3Error(f"{table}: {row.path}: expected one group for a recording, found {found}")
    for path, count in missing.items():
        on_problem(_missing(f"{table}: {path}", count))
    return Labels(spans, {path: _below(path, folder) for path in spans}, groups=groups)


def _resolve(path, table):
    return os.path.normpath(os.path.join(os.path.dirname(table), path))


def _exists(recording):
    return "\0" not in recording and os.path.lexists(recording)


def _missing(name, count):
    what = f"expected a recording, found none (for {plural(count, 'label')}); if it has moved, correct the path"
    return EdgeL3Error(f"{name}: left out: {what}", kind="unreadable")


def _below(path, folder):
    """Return a relative path for a recording: below the folder, or below the root of the file system."""
    below = os.path.relpath(path, folder) if os.path.splitdrive(path)[0] == os.path.splitdrive(folder)[0] else os.pardir
    return os.path.splitdrive(path)[1].lstrip(os.sep) if below.split(os.sep)[0] == os.pardir else below


def _merge(found):
    """Make one of several `Labels`; files of one content are one recording, so that none is on both sides of a test.

    Sound without labels is background if one of them says so.
    """
    sizes = Counter()
    for path in {path for labels in found for path in labels.spans}:
        sizes[_size(path)] += 1
    spans, names, groups, first, whole = {}, {}, {}, {}, set()
    for labels in found:
        for path, said in labels.spans.items():
            size = _size(path)
            key = (size, _digest(path)) if size and sizes[size] > 1 else path
            kept = first.setdefault(key, path)
            names.setdefault(kept, labels.names[path])
            if path in labels.groups:
                groups.setdefault(kept, labels.groups[path])
            known = spans.setdefault(kept, [])
            known += [span for span in said if span not in known]
            if path not in labels.partial:
                whole.add(kept)
    useless = {path for path in spans if path not in whole and all(span.heard is None for span in spans[path])}
    spans = {path: said for path, said in spans.items() if path not in useless}
    return Labels(spans, {path: names[path] for path in spans}, frozenset(spans) - whole, groups)


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # embedding it tells what is wrong


def _digest(path):
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            for block in iter(lambda: file.read(HASH_BYTES), b""):
                digest.update(block)
    except (EdgeL3Error, OSError):
        return path
    return digest.hexdigest()
