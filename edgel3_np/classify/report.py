"""How good a classifier is: measured on windows of recordings that it was not fitted on, and put into words."""

import numpy as np

from .tracks import BACKGROUND

DEFAULT_THRESHOLD = 0.5  # of a class that could not be tested
LEAST_GAIN = 0.1  # of the way from guessing to no mistakes; a class with less is hardly recognised
FIGURES = ("precision", "recall", "average_precision")
NOTHING = "nothing"  # heading of the windows in which no class is predicted


def average_precision(scores, truth):
    """Return the average precision of scores, shape (n,), for a class that is present where `truth` says: 0 to 1.

    It is the mean, over the windows of the class, of the precision at a threshold that just lets the window in.
    Windows with equal scores come in together. None without a window of the class.
    """
    hits, taken, _ = _curve(scores, truth)
    if not len(hits) or not hits[-1]:
        return None
    steps = np.diff(hits, prepend=0)
    return float((steps * hits / taken).sum() / hits[-1])


def best_threshold(scores, truth):
    """Return the threshold with the largest F1, halfway to the next lower score; 0.5 without windows of both kinds."""
    hits, taken, values = _curve(scores, truth)
    if not len(hits) or not hits[-1] or hits[-1] == len(truth):
        return DEFAULT_THRESHOLD
    best = int((2 * hits / (taken + hits[-1])).argmax())
    lower = values[best + 1] if best + 1 < len(values) else 0.0
    return float(np.clip((values[best] + lower) / 2, 1e-6, 1.0))


def _curve(scores, truth):
    """Return, for each different score from the highest on: hits and windows with at least that score, the score."""
    order = np.argsort(-scores, kind="stable")
    values, right = scores[order], truth[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else np.zeros(0, int)
    return np.cumsum(right)[ends], ends + 1, values[ends]


def evaluate(classes, pool, scores, folds, count):
    """Describe how good a classifier is.

    The threshold of a class has the best F1 on all held-out windows. Precision and recall of a fold are those at the
    threshold that is best on the other folds, so that no window has a part in its own threshold.

    Parameters
    ----------
    classes : list of str
    pool : Pool
    scores : np.ndarray [shape=(n, classes), float]
        Of a classifier that was fitted without the window's fold; NaN where there is none.
    folds : np.ndarray [shape=(n,), int]
        Number of the fold of each window; -1 if it is in none.
    count : int
        Number of folds.

    Returns
    -------
    report : dict
        For JSON: `classes` (a dict for each: figures, their spread over folds, counts), `confusion` (a window with
        several labels or answers counts once for each pair), `recordings`, `windows`, `background` and `folds`.
    thresholds : np.ndarray [shape=(classes,), float64]
    """
    thresholds, told, answers = np.full(len(classes), DEFAULT_THRESHOLD), [], np.zeros(pool.present.shape, bool)
    for column, label in enumerate(classes):
        sure = ~pool.unsure[:, column]
        tested = sure & np.isfinite(scores[:, column])
        truth, found = pool.present[:, column], scores[:, column]
        about = {"label": label, "recordings": len(np.unique(pool.recording[truth])), "windows": int(truth.sum())}
        figures = []
        if truth[tested].any():
            thresholds[column] = best_threshold(found[tested], truth[tested])
            for fold in range(count):
                inside, others = tested & (folds == fold), tested & (folds != fold)
                threshold = best_threshold(found[others], truth[others])
                answers[inside, column] = found[inside] >= threshold
                figures.append(_figures(found[inside], truth[inside], answers[inside, column]))
            whole = _figures(found[tested], truth[tested], answers[tested, column])
            about["share"] = float(truth[tested].mean())
            if not is_recognised({**about, **whole}):  # the best F1 may be that of a class which is always heard
                thresholds[column] = max(thresholds[column], DEFAULT_THRESHOLD)
        else:
            whole = dict.fromkeys(FIGURES)
        spread = {key: _spread([figure[key] for figure in figures]) for key in FIGURES}
        told.append({**about, **whole, "threshold": float(thresholds[column]), "spread": spread, "folds": figures})
    report = {
        "classes": told,
        "confusion": _confusion(classes, pool, answers, scores),
        "recordings": len(np.unique(pool.recording)),
        "windows": len(pool.present),
        "background": int((~(pool.present | pool.unsure).any(axis=1)).sum()),
        "folds": count,
    }
    return report, thresholds


def is_recognised(about):
    """Tell whether a class is recognised better than by guessing, whose average precision is its share of the windows.

    Parameters
    ----------
    about : dict
        With `average_precision` and `share`.
    """
    return about["average_precision"] >= about["share"] + LEAST_GAIN * (1 - about["share"])


def _figures(scores, truth, answers):
    right = int((truth & answers).sum())
    return {
        "precision": right / int(answers.sum()) if answers.any() else None,
        "recall": right / int(truth.sum()) if truth.any() else None,
        "average_precision": average_precision(scores, truth),
    }


def _spread(values):
    """Return the standard deviation of the values that are not None; None of fewer than two."""
    values = [value for value in values if value is not None]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _confusion(classes, pool, answers, scores):
    """Count held-out windows by what is heard in them (rows) and what is predicted (columns)."""
    use = np.isfinite(scores).all(axis=1) & ~pool.unsure.any(axis=1)
    truth, found = pool.present[use], answers[use]
    table = np.zeros((len(classes) + 1, len(classes) + 1), int)
    for row in range(len(classes) + 1):
        heard = truth[:, row] if row < len(classes) else ~truth.any(axis=1)
        for column in range(len(classes)):
            # a window of two classes is not mistaken for either
            right = truth[:, column] if row != column else np.zeros(len(truth), bool)
            table[row, column] = (heard & found[:, column] & ~right).sum()
        table[row, -1] = (heard & ~found.any(axis=1)).sum()
    return {"rows": [*classes, BACKGROUND], "columns": [*classes, NOTHING], "windows": table.tolist()}


def format_report(report):
    """Return a report as text: a line for each class, and the confusion table.

    Parameters
    ----------
    report : dict
        As `evaluate` returns it.

    Returns
    -------
    lines : list of str
    """
    header = ["class", "recordings", "windows", "precision", "recall", "average precision", "threshold"]
    rows = [class_cells(about) for about in report["classes"]]
    lines = _columns([header, *rows])
    confusion = report["confusion"]
    if report["folds"]:
        header = ["heard \\ predicted", *confusion["columns"]]
        rows = [[name, *map(str, counts)] for name, counts in zip(confusion["rows"], confusion["windows"])]
        lines += ["", *_columns([header, *rows])]
    return lines


def class_cells(about):
    """Return what a table says of a class: label, counts, figures with their spread, threshold; all as text."""
    figures = [_with_spread(about[key], about["spread"][key]) for key in FIGURES]
    return [about["label"], str(about["recordings"]), str(about["windows"]), *figures, f"{about['threshold']:.2f}"]


def _with_spread(value, spread):
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ± {spread:.2f}" if spread is not None else "")


def _columns(rows):
    """Return rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
