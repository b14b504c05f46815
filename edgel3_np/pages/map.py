"""A map of a collection: each recording, or moment, is a point; similar ones lie near each other, and a click plays."""

import os
from collections import Counter
from typing import NamedTuple

import numpy as np

from .._files import open_regular
from ..collections.clips import read_parts
from ..collections.gather import read_recordings
from ..collections.names import as_text
from ..errors import EdgeL3Error
from ..network.threads import one_blas_thread
from .assemble import by_recording, encoded, relative_url, write_page
from .media import encode_clip

SCRIPTS = ["page.js", "player.js", "map.js"]
METHODS = ("pca", "umap")
NEIGHBOURS = 15  # of UMAP, its default
SECOND = 1.0  # length of a window, and of what a point plays
HIGHEST_SR = 16000  # Hz, of clips in the page
GROUPS = 9  # groups with colours of their own; the rest shares one


class Point(NamedTuple):
    """A recording, or a moment of one, on the map.

    Parameters
    ----------
    recording : str
        Its path.
    group : str
        What its colour says: the name of its folder.
    time : float
        Start of the second that it plays: the most typical of a recording, or the moment.
    vector : np.ndarray [shape=(dim,), float64]
        The mean embedding, or that of the moment, scaled to length 1.
    """

    recording: str
    group: str
    time: float
    vector: np.ndarray


def gather_points(files, *, moments=False, most=1000, report):
    """Read the points of a collection: at most `most`, which are evenly spaced.

    Parameters
    ----------
    files : list of str
        As `find_results` returns them.
    moments : bool
        A point is a window, not a recording.
    most : int > 1
    report : callable, EdgeL3Error -> None
        Called for each file that is skipped.

    Returns
    -------
    points : list of Point
    count : int
        Recordings, or windows, that there are.

    Raises
    ------
    EdgeL3Error
        Files come from several models.
    """
    kept, step, count = [], 1, 0
    for recording in read_recordings(files, lambda place, parts: np.concatenate(list(parts)), report):
        vectors, starts = _points_of(recording, moments)
        number = -count % step
        while number < len(starts):
            kept.append(Point(recording.path, recording.label, max(0.0, float(starts[number])), vectors[number].copy()))
            if len(kept) > most:
                kept, step = kept[::2], 2 * step
            number += step - (count + number) % step
        count += len(starts)
    return kept, count


def _points_of(recording, moments):
    """Return the vectors, shape (n, dim), and the starts in seconds, shape (n,), of a recording's points."""
    embedding = recording.parts.astype(np.float64)  # (t, dim)
    unit = embedding / (np.linalg.norm(embedding, axis=1, keepdims=True) + 1e-300)
    starts = recording.time - (SECOND / 2 if recording.center else 0.0)
    if not moments:
        mean = embedding.mean(axis=0)
        mean /= np.linalg.norm(mean) or 1.0
        unit, starts = mean[np.newaxis], starts[np.argmax((unit * mean).sum(axis=1)), np.newaxis]
    return unit, starts


def place(vectors, method="pca"):
    """Return where vectors lie on the map.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, dim), float64]
    method : {'pca', 'umap'}
        `pca`: the two directions in which the vectors differ most. `umap`: UMAP of cosines (McInnes et al., 2018),
        which keeps neighbours together; it needs umap-learn.

    Returns
    -------
    places : np.ndarray [shape=(n, 2), float64]
    share : float or None
        Of the variance that the two directions hold; None for `umap`.

    Raises
    ------
    EdgeL3Error
        umap-learn is not installed, or there are fewer than four vectors for it.

    Examples
    --------
    >>> places, share = place(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 0]]))
    >>> places.round(6).tolist(), round(share, 6)
    ([[-1.0, -0.5], [1.0, -0.5], [-1.0, 0.5], [1.0, 0.5]], 1.0)
    """
    if method == "umap":
        return _umap(vectors), None
    centred = vectors - vectors.mean(axis=0)
    with one_blas_thread():
        _, strengths, directions = np.linalg.svd(centred, full_matrices=False)
        directions = directions[:2]
        largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
        places = centred @ (directions * np.sign(largest)[:, np.newaxis]).T
    places = np.pad(places, [(0, 0), (0, 2 - places.shape[1])])
    variance = strengths**2
    return places + 0.0, float(variance[:2].sum() / (variance.sum() or 1.0))


def check_method(method):
    """Raise `EdgeL3Error` if the package of a method is missing."""
    if method == "umap":
        _import_umap()


def _import_umap():
    try:
        import umap
    except ImportError as error:
        raise EdgeL3Error(
            f"umap: expected umap-learn, but it cannot be imported ({error}); pip install umap-learn"
        ) from error
    return umap


def _umap(vectors):
    umap = _import_umap()
    if len(vectors) < 4:
        raise EdgeL3Error(f"umap: expected at least 4 points, found {len(vectors)}; take pca")
    neighbours = min(NEIGHBOURS, len(vectors) - 1)
    model = umap.UMAP(n_components=2, n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1)
    return np.asarray(model.fit_transform(vectors), np.float64)


def write_map(path, points, places, *, title, notes=(), link=False, on_problem, on_point=lambda: None):
    """Write a map as a page of HTML.

    Parameters
    ----------
    path : str or Path
        It ends in `.html`.
    points : list of Point
    places : np.ndarray [shape=(n, 2), float64]
    title : str
    notes : sequence of str
        Lines below the map.
    link : bool
        Play the recordings where they are, instead of copying a second of each into the page.
    on_problem : callable, EdgeL3Error -> None
        Called for each recording that cannot be read: its points are on the map, but cannot be heard.
    on_point : callable, optional
        Called after each point.

    Returns
    -------
    size : int
        Bytes of the page.

    Raises
    ------
    EdgeL3Error
        The page cannot be written (kind `output`).
    """
    path = os.fsdecode(path)
    groups = Counter(as_text(point.group) for point in points)
    coloured = [name for name, _ in sorted(groups.items(), key=lambda item: (-item[1], item[0]))[:GROUPS]]
    shown = [as_text(point.group) if as_text(point.group) in coloured else None for point in points]
    about = {"title": as_text(title), "notes": list(map(as_text, notes)), "groups": coloured, "other": None in shown}
    low, size = places.min(axis=0), max(float(np.ptp(places, axis=0).max()), 1e-12)
    items = _items(path, points, (places - low) / size, shown, link, on_problem, on_point)
    return write_page(path, SCRIPTS, about, items, link)


def _items(path, points, places, shown, link, on_problem, on_point):
    """Yield what the script wants to know of each point; each recording is read once."""
    for recording, numbers in by_recording(points).items():
        sounds, problem = {}, "the recording has no sound here"
        try:
            sounds = dict(_sounds(path, recording, numbers, points, link))
        except EdgeL3Error as error:
            on_problem(error)
            problem = as_text(str(error))
        for number in numbers:
            point, (x, y) = points[number], places[number]
            item = {"number": number, "path": as_text(recording), "group": as_text(point.group), "shown": shown[number]}
            place = {"begin": round(point.time, 6), "x": round(x, 5), "y": round(y, 5)}
            yield {**item, **place, **sounds.get(number, {"problem": problem})}
            on_point()


def _sounds(path, recording, numbers, points, link):
    """Yield the number of each point that can be heard, and its sound or where that is."""
    if recording.lower().endswith(".npz"):
        raise EdgeL3Error(f"{recording}: the recording is unknown: its embeddings do not name it")
    if link:
        with open_regular(recording, "a recording"):
            yield from ((number, {"url": relative_url(recording, path)}) for number in numbers)
        return
    spans = [(points[number].time, points[number].time + SECOND) for number in numbers]
    for place, part, sr in read_parts(recording, spans):
        if len(part):
            yield numbers[place], {"clip": encoded(encode_clip(part, sr, HIGHEST_SR))}
