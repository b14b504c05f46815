"""The report of a classifier as a page of HTML that needs nothing else."""

from html import escape

from ..collections.html import START
from .report import class_cells

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #8888; padding: .25rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td.right { font-weight: bold; }
"""
HEADINGS = ("class", "recordings", "windows", "precision", "recall", "average precision", "threshold")


def format_page(classifier):
    """Return the report of a classifier as HTML; every text in it is escaped.

    Parameters
    ----------
    classifier : Classifier
        As `train` returns it.

    Returns
    -------
    page : str
    """
    report = classifier.report
    rows = [class_cells(about) for about in report["classes"]]
    confusion = report["confusion"]
    tested = f"{report['folds']} folds of whole recordings" if report["folds"] else "no folds: there is one recording"
    shares = zip(confusion["rows"], confusion["windows"])
    parts = [
        f"<h1>Classifier of {escape(', '.join(classifier.classes))}</h1>",
        f"<p>Embeddings of {escape(classifier.model_name)} (sha256 {escape(classifier.model_sha256[:16])}). "
        f"{report['windows']} windows of {report['recordings']} recordings, {report['background']} of them background; "
        f"tested with {tested}.</p>",
        _table(HEADINGS, rows),
        "<p>Figures are those of windows of recordings that the classifier was not fitted on, ± their standard "
        "deviation over the folds. The threshold has the best F1 on these windows.</p>",
        "<h2>What is taken for what</h2>",
        _table(["heard \\ predicted", *confusion["columns"]], [[name, *counts] for name, counts in shares], True),
        "<p>Windows; one of several classes counts once for each.</p>",
    ]
    if report["notes"]:
        notes = "".join(f"<li>{escape(note)}</li>" for note in report["notes"])
        parts += ["<h2>What is wanting</h2>", f"<ul>{notes}</ul>"]
    head = f"\n<title>Classifier</title><style>{STYLE}</style>"
    return f"{START}{head}</head><body>\n{chr(10).join(parts)}\n</body></html>\n"


def _table(headings, rows, is_square=False):
    """Return a table; in a square one, the cells in which row and column are of one class are bold."""
    lines = ["<table><thead><tr>", *(f"<th scope='col'>{escape(str(text))}</th>" for text in headings), "</tr></thead>"]
    for number, row in enumerate(rows, 1):
        cells = [f"<th scope='row'>{escape(str(row[0]))}</th>"]
        for column, cell in enumerate(row[1:], 1):
            mark = " class='right'" if is_square and column == number else ""
            cells.append(f"<td{mark}>{escape(str(cell))}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])
