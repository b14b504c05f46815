"""Write events: as CSV, as a label track of Audacity, as a selection table of Raven, as lines of JSON, as Parquet."""

import csv
import io
import json
import os

from .._files import open_regular
from ..collections.export import import_parquet
from ..collections.names import as_text, printable
from ..errors import EdgeL3Error

COLUMNS = ("path", "start", "end", "label", "score")
DIGITS = 6  # of seconds and of scores
RAVEN = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Label", "Score", "Begin Path", "File Offset (s)"),
)
SCORES = b"time,"  # the beginning of a file of scores
GROUP = 100_000  # rows of Parquet that are written at a time


def rows_of(recording, found):
    """Yield the rows of a table: the path of the recording as text, start, end, label and score of each event."""
    path = as_text(recording)
    for event in found:
        yield (path, *(round(time, DIGITS) for time in event[:2]), event.label, round(event.score, DIGITS))


def _csv_line(cells):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _write_csv(file, rows, top):
    file.write(_csv_line(COLUMNS))
    file.writelines(map(_csv_line, rows))


def _write_audacity(file, rows, top):
    file.writelines(f"{start:.6f}\t{end:.6f}\t{label}\n".encode() for _, start, end, label, _ in rows)


def _write_raven(file, rows, top):
    file.write(("\t".join(RAVEN) + "\n").encode())
    for number, (path, start, end, label, score) in enumerate(rows, 1):
        times = f"{start:.6f}\t{end:.6f}\t0.0\t{top:.1f}"
        line = f"{number}\tSpectrogram 1\t1\t{times}\t{label}\t{score:.6f}\t{printable(path)}\t{start:.6f}\n"
        file.write(line.encode())


def _write_jsonl(file, rows, top):
    file.writelines(f"{json.dumps(dict(zip(COLUMNS, row)))}\n".encode() for row in rows)


def _write_parquet(file, rows, top):
    arrow = import_parquet()
    kinds = [arrow.string(), arrow.float64(), arrow.float64(), arrow.string(), arrow.float64()]
    schema = arrow.schema(list(zip(COLUMNS, kinds)))
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        group = []
        for row in rows:
            group.append(row)
            if len(group) == GROUP:
                writer.write_table(_arrow_table(arrow, schema, group))
                group = []
        writer.write_table(_arrow_table(arrow, schema, group))


def _arrow_table(arrow, schema, rows):
    columns = zip(*rows) if rows else [()] * len(COLUMNS)
    return arrow.Table.from_arrays(
        [arrow.array(column, kind) for column, kind in zip(columns, schema.types)], schema=schema
    )


FORMATS = {  # the ending of each, and what writes it: callable (binary file, rows, highest frequency in Hz)
    "csv": (".csv", _write_csv),
    "audacity": (".txt", _write_audacity),
    "raven": (".txt", _write_raven),
    "jsonl": (".jsonl", _write_jsonl),
    "parquet": (".parquet", _write_parquet),
}
TABLES = ("csv", "jsonl", "parquet")  # formats that say which recording an event is of


def check_format(name):
    """Raise `EdgeL3Error` unless `name` is one of `FORMATS`, and what it needs is installed."""
    if name not in FORMATS:
        raise EdgeL3Error(f"format: expected {', '.join(FORMATS)}, found {name!r}")
    if name == "parquet":
        import_parquet()


def format_of(path):
    """Return the format of a table of many recordings, by the ending of its name."""
    ending = os.path.splitext(os.fsdecode(path))[1].lower()
    name = next((name for name in TABLES if FORMATS[name][0] == ending), None)
    if name is None:
        endings = ", ".join(FORMATS[name][0] for name in TABLES)
        raise EdgeL3Error(
            f"{os.fsdecode(path)}: expected a name that ends in {endings}, found {ending or 'no ending'!r}"
        )
    check_format(name)
    return name


def is_scores(path):
    """Tell whether a file begins like one that `write_scores` writes."""
    try:
        with open_regular(path) as file:
            return file.read(len(SCORES)) == SCORES
    except (EdgeL3Error, OSError):
        return False


def write_scores(file, classes, timestamps, scores):
    """Write the scores of windows as CSV: a column `time`, and one for each class.

    Parameters
    ----------
    file : binary file
    classes : sequence of str
    timestamps : np.ndarray [shape=(t,), float64]
    scores : np.ndarray [shape=(t, classes), float64]
    """
    file.write(_csv_line(["time", *classes]))
    for time, row in zip(timestamps.tolist(), scores.tolist()):
        file.write(",".join([f"{round(time, DIGITS)!r}", *(f"{score:.{DIGITS}f}" for score in row)]).encode() + b"\n")
