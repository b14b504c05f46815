"""Read tables of labels: CSV and TSV, label tracks of Audacity, selection tables of Raven. All are untrusted text."""

import csv
import io
import math
from typing import NamedTuple, Optional

from .._files import open_regular
from ..collections.results import MAX_TIME
from ..errors import EdgeL3Error
from .classifier import MAX_LABEL, is_label

MAX_TABLE_BYTES = 64 << 20
TABLE = "a table of labels"
BACKGROUND = "background"  # the label of sound in which no class is heard
RAVEN = ("begin time (s)", "end time (s)")  # columns that every selection table has, in lower case
RAVEN_LABELS = ("label", "annotation", "class", "species", "common name", "sound type", "call type", "tag", "tags")
REQUIRED = ("path", "label")  # columns of a CSV; start and end may be missing, or empty: the whole recording
ANSWERS = {"yes": True, "no": False, "unsure": None, "": None}  # of a page of hits: is the label heard?


class Span(NamedTuple):
    """A stretch of a recording that has a label."""

    start: float  # seconds; -inf and inf: the whole recording
    end: float
    label: str
    heard: Optional[bool] = True  # False: somebody has listened, and it is not heard; None: nobody is sure


class Row(NamedTuple):
    """A line of a table: a label, and the recording that it belongs to, as the table names it."""

    path: str  # relative to the folder of the table; empty: the recording of the table's name
    span: Span
    group: str = ""  # what the recording belongs to; empty: to nothing else


def read_text(path):
    """Return the text of a table, in UTF-8 with or without a byte order mark; `EdgeL3Error` if it is none."""
    with open_regular(path, TABLE) as file:
        content = file.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise EdgeL3Error(f"{path}: expected {TABLE} of at most {MAX_TABLE_BYTES} bytes, found more")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EdgeL3Error(f"{path}: expected {TABLE} in UTF-8, found other bytes ({error}); convert it") from error


def read_csv(path, text):
    """Read a table with the columns path and label, and perhaps start and end (seconds).

    Commas, tabs or semicolons separate columns, as the first line does. The column `answer`, if there is one, says yes,
    no, unsure or nothing to the label; the column `group` names what a recording belongs to. Other columns are of no
    interest.

    Returns
    -------
    rows : list of Row
    answered : bool
        There is a column `answer`.

    Raises
    ------
    EdgeL3Error
        A column is missing, or a line is not as described. The message tells which.
    """
    header, lines = _table(path, text, next((mark for mark in "\t;," if mark in text.partition("\n")[0]), ","))
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        what = "the columns path, start, end and label in the first line"
        raise EdgeL3Error(f"{path}: expected {what}, found {', '.join(header)[:200] or 'nothing'}")
    rows = []
    for where, cells in lines:
        if not cells["path"].strip():
            raise EdgeL3Error(f"{where}: expected the path of a recording, found nothing")
        start, end = (cells.get(key, "").strip() for key in ("start", "end"))
        if not start and not end:
            start, end = "-inf", "inf"
        answer = cells.get("answer", "yes").strip().lower()
        if answer not in ANSWERS:
            raise EdgeL3Error(f"{where}: expected the answer yes, no, unsure or nothing, found {answer[:100]!r}")
        span = _span(where, start, end, cells["label"])
        heard = ANSWERS[answer]
        if heard or span.label != BACKGROUND:  # "not background" tells of no class
            rows.append(Row(cells["path"], span._replace(heard=heard), cells.get("group", "").strip()))
    return rows, "answer" in header


def read_track(path, text):
    """Read a label track of Audacity: start, end and label in each line, with tabs; or a selection table of Raven.

    Returns
    -------
    rows : list of Row or None
        None: it is neither.
    """
    first = text.partition("\n")[0].lower()
    if all(name in first for name in RAVEN):
        return _read_raven(path, text)
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split("\t")
        if not line.strip() or cells[0] == "\\":  # the frequencies of the label before
            continue
        if len(cells) < 2 or not _is_time(cells[0]) or not _is_time(cells[1]):
            if not rows:
                return None
            raise EdgeL3Error(f"{path}, line {number}: expected start, end and label with tabs, found {line[:100]!r}")
        rows.append(Row("", _span(f"{path}, line {number}", *cells[:2], "\t".join(cells[2:]))))
    return rows


def _read_raven(path, text):
    header, lines = _table(path, text, "\t")
    column = next((name for name in RAVEN_LABELS if name in header), None)
    if column is None:
        what = f"a column of labels ({', '.join(RAVEN_LABELS)})"
        raise EdgeL3Error(f"{path}: expected {what}, found the columns {', '.join(header)[:300]}")
    rows = []
    for where, cells in lines:
        start, end = (cells[name].strip() for name in RAVEN)
        offset = cells.get("file offset (s)", "").strip()
        if offset and all(map(_is_time, (offset, start, end))):  # the others count from the first of many files
            start, end = offset, repr(_number(offset) + _number(end) - _number(start))
        recording = cells.get("begin path", "").strip() or cells.get("begin file", "").strip()
        rows.append(Row(recording, _span(where, start, end, cells[column])))
    return rows


def _table(path, text, mark):
    """Return the names of columns, in lower case, and an iterator of (where, cells by name) of each line."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
    except csv.Error as error:
        raise EdgeL3Error(f"{path}, line 1: expected columns, found: {error}") from error
    return header, _lines(path, header, lines)


def _lines(path, header, lines):
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                where = f"{path}, line {lines.line_num}"
                if len(cells) < len(header):
                    raise EdgeL3Error(f"{where}: expected {len(header)} columns, as in line 1, found {len(cells)}")
                yield where, dict(zip(header, cells))
    except csv.Error as error:
        raise EdgeL3Error(f"{path}, line {lines.line_num}: expected columns, found: {error}") from error


def _number(text):
    return float(text.strip().replace(",", "."))


def _is_time(text):
    try:
        return math.isfinite(_number(text))
    except ValueError:
        return False


def _span(where, start, end, label):
    label = label.strip()
    if not is_label(label):
        what = f"a label of 1 to {MAX_LABEL} printable characters that does not begin with -"
        raise EdgeL3Error(f"{where}: expected {what}, found {label[:200]!r}")
    try:
        first, last = _number(start), _number(end)
    except ValueError:
        first, last = math.nan, math.nan
    whole = (first, last) == (-math.inf, math.inf) and (start, end) == ("-inf", "inf")
    if not whole and not 0 <= first <= last <= MAX_TIME:  # false of NaN as well
        found = f"{start[:50]!r} and {end[:50]!r}"
        raise EdgeL3Error(f"{where}: expected start and end in seconds, 0 <= start <= end, found {found}")
    return Span(first, last, label)
