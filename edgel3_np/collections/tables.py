"""Load a collection of embeddings as one table in memory: arrays with a row for each window."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import EdgeL3Error, warn
from .gather import check_labels, find_results, list_paths, nothing_found, read_recordings
from .names import as_text

if TYPE_CHECKING:  # NumPy 1.19 has no such module
    from numpy.typing import NDArray


class Table(NamedTuple):
    """Embeddings of a collection: row i of each array belongs to window i.

    Parameters
    ----------
    embedding : np.ndarray [shape=(n, dim), float32]
        One vector per window.
    path : np.ndarray [shape=(n,), object]
        The recording, as a str: its path below the directory that was embedded. If a file of embeddings does not tell
        its recording, the path of that file. (The rows of a recording share one str, so a row takes 8 bytes.)
    time : np.ndarray [shape=(n,), float64]
        Timestamp of the window, seconds.
    label : np.ndarray [shape=(n,), object] or None
        Label of the recording, as a str; None if no labels were asked for.
    """

    embedding: NDArray[np.float32]
    path: NDArray[np.object_]
    time: NDArray[np.float64]
    label: NDArray[np.object_] | None = None

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name: `embedding`, `path`, `time` and, if there are labels, `label`. Nothing is copied.

        Examples
        --------
        >>> sorted(Table(np.zeros((2, 64), np.float32), np.array(["a", "b"], object), np.zeros(2)).to_dict())
        ['embedding', 'path', 'time']
        """
        return {name: array for name, array in self._asdict().items() if array is not None}

    def to_pandas(self) -> Any:
        """Return a data frame of pandas, which must be installed.

        Its columns are `path`, `time`, `label` (if there are labels), and a column of float32 for each dimension:
        `e0`, `e1`, ... scikit-learn takes `frame.filter(regex=r"^e\\\\d")`. Bytes of a name that are no text have
        backslash escapes.

        Returns
        -------
        frame : pandas.DataFrame
            A copy.

        Raises
        ------
        EdgeL3Error
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            what = f"to_pandas: expected pandas, but it cannot be imported ({error}); pip install pandas"
            raise EdgeL3Error(what) from error
        names = [f"e{number}" for number in range(self.embedding.shape[1])]
        frame = pandas.DataFrame(self.embedding.copy(), columns=names)
        columns = {"path": _texts(self.path), "time": self.time}
        if self.label is not None:
            columns["label"] = _texts(self.label)
        for place, (name, column) in enumerate(columns.items()):
            frame.insert(place, name, column)
        return frame


def load(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, labels: str | None = None) -> Table:
    """Load the embeddings of a collection, of one file or of many, as one table.

    Embeddings and times of all files are in memory, and the embeddings twice while they are put together. `edgel3-np
    export` writes a table of any size.

    Parameters
    ----------
    paths : str or Path, or iterable of them
        Files of embeddings (npz, or parts of a table) that `edgel3-np` or `embed_files` wrote, and directories, which
        are searched for such files recursively (links that lead out of them and names with a leading dot are ignored).
        All files must come from one model.
    labels : 'folder' or None
        Label each recording with the name of the folder that holds it, below the directory that was embedded; a
        recording that lies in that directory itself gets the label ''.

    Returns
    -------
    table : Table
        Files in the order of their names, and the windows of each in the order of time.

    Raises
    ------
    EdgeL3Error
        There are no embeddings, or embeddings of several models; `labels` is not as described.

    Warns
    -----
    EdgeL3Warning
        A file is skipped: it cannot be read, is damaged, or was not written by `edgel3_np`.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from edgel3_np import embed_files
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for kind in ("rain", "wind"):
    ...     os.mkdir(os.path.join(folder, kind))
    ...     soundfile.write(os.path.join(folder, kind, "1.wav"), rng.standard_normal(16000) / 9, 8000)
    >>> summary = embed_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5)
    >>> table = load(os.path.join(folder, "embeddings"), labels="folder")
    >>> table.embedding.shape, list(table.label)
    ((8, 64), ['rain', 'rain', 'rain', 'rain', 'wind', 'wind', 'wind', 'wind'])
    >>> table.time[:4]
    array([0. , 0.5, 1. , 1.5])
    """
    check_labels(labels)
    paths = list_paths(paths)
    files, skipped = find_results(paths)
    found = list(read_recordings(files, lambda place, parts: list(parts), skipped.append))
    for problem in skipped:
        warn(str(problem))
    if not found:
        raise nothing_found(paths, files)
    return Table(
        np.concatenate([part for recording in found for part in recording.parts]),
        _repeated([recording.path for recording in found], found),
        np.concatenate([recording.time for recording in found]),
        None if labels is None else _repeated([recording.label for recording in found], found),
    )


def _repeated(texts, found):
    """Return each text once for each window of its recording: shape (n,), references to the same str."""
    return np.repeat(np.array(texts, object), [len(recording.time) for recording in found])


def _texts(names):
    """Return names, shape (n,), as a list of what any program can read."""
    texts = {name: as_text(name) for name in set(names)}
    return [texts[name] for name in names]
