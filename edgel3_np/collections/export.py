"""Export a collection of embeddings as one table in a file: Parquet, CSV or npy, written recording by recording."""

import json
import os
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..errors import EdgeL3Error, warn
from .atomic import atomic
from .gather import (
    check_labels,
    check_space,
    embedding_space,
    find_results,
    list_paths,
    nothing_found,
    read_recordings,
)
from .names import as_text
from .parquet.part import NAME
from .sources import Place, is_part, open_place, provenance_of

PIECE_BYTES = 1 << 20  # of rows that are written at a time
GROUP_BYTES = 1 << 24  # of rows, about, in a row group of Parquet: they are in memory
HEADER_BYTES = 128  # of an npy file


class Exported(NamedTuple):
    """What an export has written.

    Parameters
    ----------
    files : tuple of str
        Paths of the files.
    recordings, windows : int
        How many recordings and embeddings are in them.
    """

    files: tuple
    recordings: int
    windows: int


def export(paths, output, *, labels=None, on_problem=None, progress=None):
    """Write the embeddings of a collection into one table, with a row for each window.

    Memory does not grow with the collection, except by the names of its files. The output appears when it is complete.

    The ending of `output` chooses the format:

    * `.parquet`: the columns `path` (string), `time` (double, seconds), `label` (string, if asked for) and `embedding`
      (a list of `dim` floats). The metadata of the schema have, under `edgel3_np`, the model, weights_sha256, contract
      and options as JSON; what differs between files is null. Needs pyarrow (extra `parquet`).
    * `.csv`: the columns `path`, `time`, `label` (if asked for) and `e0`, `e1`, ..., in UTF-8. Numbers have the fewest
      digits that give back the same float.
    * `.npy`: the embeddings alone, shape (n, dim), float32, which `np.load` can map into memory. A second file, whose
      name ends in `.index.csv` instead, has path, time and label of each row.

    `path` is the recording, as in `edgel3_np.load`; bytes of it that are no text have backslash escapes.

    Parameters
    ----------
    paths : str or Path, or iterable of them
        Files and directories of embeddings, as for `edgel3_np.load`.
    output : str or Path
        In an existing directory. A file of this name is replaced.
    labels : 'folder' or None
        As for `edgel3_np.load`.
    on_problem : callable, EdgeL3Error -> None, optional
        Called for each file that is skipped because it cannot be read or was not written by `edgel3_np`. By default
        each such file is an `EdgeL3Warning`.
    progress : callable, (int, int) -> None, optional
        Called with the bytes of the files that are done, and of all files.

    Returns
    -------
    exported : Exported

    Raises
    ------
    EdgeL3Error
        An option is not as described; `output` is a file of embeddings; pyarrow is not installed; there are no
        embeddings, or embeddings of several models; the output cannot be written (kind `output`); a file changes while
        it is read. What was at `output` before is still there.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from edgel3_np import embed_files
    >>> folder = tempfile.mkdtemp()
    >>> soundfile.write(os.path.join(folder, "a.wav"), np.random.default_rng(0).standard_normal(16000) / 9, 8000)
    >>> summary = embed_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5)
    >>> export(os.path.join(folder, "embeddings"), os.path.join(folder, "all.npy")).windows
    4
    >>> np.load(os.path.join(folder, "all.npy")).shape
    (4, 64)
    """
    check_labels(labels)
    write, output = check_output(output), os.fsdecode(output)
    paths = list_paths(paths)
    files, skipped = find_results(paths)
    if NAME.fullmatch(os.path.basename(output)) or any(map(partial(_is_same, output), files)):
        raise EdgeL3Error(f"{output}: expected another name than that of embeddings; nothing is written")
    report = on_problem or (lambda problem: warn(str(problem)))
    for problem in skipped:
        report(problem)
    about = _common_provenance(files)
    counts = [0, 0]
    counted = _counted(read_recordings(_tracked(files, progress), _keep, report), counts)
    with closing(counted) as recordings, _output_errors(output):
        first = next(recordings, None)
        if first is None:
            raise nothing_found(paths, files)
        written = write(output, chain([first], recordings), first.dim, labels is not None, about)
    return Exported(written, *counts)


def _is_same(output, path):
    try:
        return os.path.samefile(output, path)
    except OSError:
        return False


def check_output(output):
    """Return the function that writes the format of an output; raise `EdgeL3Error` if there is none, or no pyarrow."""
    ending = os.path.splitext(os.fsdecode(output))[1].lower()
    if ending not in WRITERS:
        expected = "a name that ends in .parquet, .csv or .npy"
        raise EdgeL3Error(f"{os.fsdecode(output)}: expected {expected}, found {ending or 'no ending'!r}")
    if ending == ".parquet":
        import_parquet()
    return WRITERS[ending]


def import_parquet(otherwise="write .csv or .npy"):
    """Return the module pyarrow, with `pyarrow.parquet`; raise `EdgeL3Error`, which names another way, without it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise EdgeL3Error(
            f"Parquet: expected pyarrow, but it cannot be imported ({error}); pip install pyarrow, or {otherwise}"
        ) from error
    return pyarrow


def _common_provenance(files):
    """Return what the provenances of files agree on; None stands for what differs.

    Raises `EdgeL3Error` if they name several models: nothing is written in vain.
    """
    common, agreed, wanted = {}, {}, None
    for path in files:
        found = provenance_of(path) or {}
        try:
            space = embedding_space(found, path)
            if space != wanted:
                with open_place(Place(path, 0 if is_part(path) else None)) as result:  # whether the provenance is true
                    embedding_space(result.provenance, path, result.dim)
        except EdgeL3Error:
            continue  # reading all of it tells what is wrong
        wanted = wanted or space
        check_space(space, wanted, path)
        about = {key: _plain(found.get(key)) for key in ("model", "weights_sha256", "contract")}
        options = {key: _plain(value) for key, value in found["options"].items()}
        common, agreed = (common, agreed) if common else (about, options)
        common, agreed = _agreed(common, about), _agreed(agreed, options)
    return {**common, "options": agreed}


def _plain(value):
    """Return a number, a text or a truth value; None for anything else, which no file of ours has."""
    return value if isinstance(value, (str, int, float)) else None


def _agreed(one, other):
    return {key: value if other.get(key) == value else None for key, value in one.items()}


def _tracked(files, progress):
    """Yield files, and tell how many bytes are done."""
    sizes = list(map(_size, files)) if progress else []
    done, total = 0, sum(sizes)
    for number, path in enumerate(files):
        yield path
        if progress:
            done += sizes[number]
            progress(done, total)


def _size(path):
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def _counted(recordings, counts):
    for recording in recordings:
        counts[0] += 1
        counts[1] += len(recording.time)
        yield recording


def _keep(place, embedding):
    """Read the embeddings of a recording to their end; return them, from memory or from the file again."""
    first = next(embedding)
    more = sum(map(len, embedding))
    return _again(place, len(first) + more, first.shape[1]) if more else [first]


def _again(place, left, dim):
    """Yield embeddings, shape (left, dim) in all, that have been read once and are too many to be kept."""
    with open_place(place) as result:
        for part in result.embedding:
            left -= len(part)
            if left < 0 or result.dim != dim:
                left = -1
                break
            yield part
    if left:
        raise EdgeL3Error(f"{place.path}: the file changed while it was read; run again", kind="changed")


@contextmanager
def _output_errors(output):
    """Turn errors of the system, which name a temporary file, into an `EdgeL3Error`. Errors of reading are such."""
    try:
        yield
    except BrokenPipeError:  # of a callback that prints
        raise
    except OSError as error:
        raise EdgeL3Error(f"{output}: cannot be written: {error.strerror or error}", kind="output") from error


def _row_bytes(recording):
    return 4 * recording.dim + len(recording.path) + len(recording.label)


def _pieces(recording):
    """Yield times, shape (b,), and embeddings, shape (b, dim), of the rows of a recording, `PIECE_BYTES` at a time."""
    step, start = max(1, PIECE_BYTES // _row_bytes(recording)), 0
    for part in recording.parts:
        for first in range(0, len(part), step):
            piece = part[first : first + step]
            yield recording.time[start : start + len(piece)], piece
            start += len(piece)


def _write_parquet(output, recordings, width, labelled, about):
    arrow = import_parquet()
    names = ["path", *(["label"] if labelled else [])]
    schema = parquet_schema(arrow, width, labelled, {"edgel3_np": json.dumps(about)})
    options = {"compression": "zstd" if arrow.Codec.is_available("zstd") else "none", "use_dictionary": names}
    with atomic(output) as file, arrow.parquet.ParquetWriter(file, schema, **options) as writer:
        for paths, times, texts, embedding in _groups(recordings):
            values = arrow.array(np.concatenate(embedding).reshape(-1))
            columns = [arrow.array(paths, arrow.string()), arrow.array(np.concatenate(times))]
            columns += [arrow.array(texts, arrow.string())] if labelled else []
            columns.append(arrow.FixedSizeListArray.from_arrays(values, width))
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
    return (output,)


def parquet_schema(arrow, width, labelled, metadata):
    """Return the schema of a table with a row for each window; `arrow` is the module pyarrow."""
    names = ["path", "time", *(["label"] if labelled else []), "embedding"]
    kinds = {"time": arrow.float64(), "embedding": arrow.list_(arrow.float32(), width)}
    return arrow.schema([(name, kinds.get(name, arrow.string())) for name in names], metadata)


def _groups(recordings):
    """Yield rows of several recordings, about `GROUP_BYTES` of them: paths, times, labels and embeddings, as lists.

    Those of times and embeddings hold pieces, the others an element for each row.
    """
    held, size = ([], [], [], []), 0
    for recording in recordings:
        texts = as_text(recording.path), as_text(recording.label)
        for times, piece in _pieces(recording):
            rows = [texts[0]] * len(piece), [times], [texts[1]] * len(piece), [piece]
            for column, more in zip(held, rows):
                column.extend(more)
            size += _row_bytes(recording) * len(piece)
            if size >= GROUP_BYTES:
                yield held
                held, size = ([], [], [], []), 0
    if size:
        yield held


def _write_csv(output, recordings, width, labelled, about):
    with atomic(output) as file:
        file.write(_header(labelled, [f"e{number}" for number in range(width)]))
        for recording in recordings:
            path, label = _quoted(recording, labelled)
            for times, piece in _pieces(recording):
                rows = zip(times.tolist(), piece.astype("S32").tolist())
                file.writelines(b"%s,%r%s,%s\n" % (path, time, label, b",".join(row)) for time, row in rows)
    return (output,)


def _write_npy(output, recordings, width, labelled, about):
    index, count = os.path.splitext(output)[0] + ".index.csv", 0
    with atomic(index) as lines, atomic(output) as file:
        lines.write(_header(labelled))
        file.write(bytes(HEADER_BYTES))
        for recording in recordings:
            path, label = _quoted(recording, labelled)
            for times, piece in _pieces(recording):
                file.write(np.ascontiguousarray(piece, "<f4").tobytes())
                lines.writelines(b"%s,%r%s\n" % (path, time, label) for time in times.tolist())
                count += len(piece)
        lines.flush()
        os.fsync(lines.fileno())  # now, so that both files appear at nearly the same time
        file.seek(0)
        file.write(_npy_header(count, width))
    return output, index


def _npy_header(count, width):
    """Return the first `HEADER_BYTES` bytes of an npy file, whose length does not depend on the shape."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {width}), }}"
    return b"\x93NUMPY\x01\x00v\x00" + text.encode().ljust(HEADER_BYTES - 11) + b"\n"


def _header(labelled, more=()):
    return (",".join(["path", "time", *(["label"] if labelled else []), *more]) + "\n").encode()


def _quoted(recording, labelled):
    """Return the path, and the label after a comma, as a CSV file has them; no label is nothing."""
    path, label = ('"' + as_text(text).replace('"', '""') + '"' for text in (recording.path, recording.label))
    return path.encode(), f",{label}".encode() if labelled else b""


WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".npy": _write_npy}
