"""Fit a classifier to the windows of labelled recordings, and test it on recordings that are held out."""

from __future__ import annotations

import warnings

import numpy as np

from .._version import CONTRACT
from ..errors import EdgeL3Error
from .classifier import MIN_SCALE, Classifier
from .report import evaluate, is_recognised
from .tracks import BACKGROUND

TOTAL = 200.0  # weight of all windows together, whatever their number: the larger, the weaker is the regularisation
ITERATIONS = 1000
FOLDS = 5  # at most
FEW_RECORDINGS, FEW_WINDOWS = 5, 50  # with fewer, a class is said to have few examples
SMALLEST_SCALE = 1e-3  # of the largest; dimensions that vary less hardly count


def import_sklearn():
    """Return what is needed of scikit-learn; raise `EdgeL3Error` if it is not installed."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
    except ImportError as error:
        raise EdgeL3Error(
            f"train: expected scikit-learn 1.0 or newer, but it cannot be imported ({error}); "
            "pip install scikit-learn; to use a classifier it is not needed"
        ) from error
    return LogisticRegression, GroupKFold, StratifiedGroupKFold


def fit_classifier(classes, pool, model, notes=(), say=lambda text: None) -> Classifier:
    """Fit a classifier to windows, and test it on recordings that are held out.

    Parameters
    ----------
    classes : list of str
    pool : Pool
    model : Model
        It made the embeddings.
    notes : list of str
        For the report; `say` adds to it.
    say : callable, str -> None
        Called with what is wanting, in words.

    Returns
    -------
    classifier : Classifier
    """
    if pool.contradicted:
        say(f"{pool.contradicted} windows are left out: one label says that a class is heard, another that it is not")
    known = pool.present.any(axis=0)
    for label in (label for label, is_known in zip(classes, known) if not is_known):
        say(f"{label}: left out: no window lies in its labels")
    classes = [label for label, is_known in zip(classes, known) if is_known]
    pool = pool._replace(present=pool.present[:, known], unsure=pool.unsure[:, known])
    for column, label in enumerate(classes):
        if not (~pool.present[:, column] & ~pool.unsure[:, column]).any():
            what = f"expected sound in which {label} is not heard, found none"
            raise EdgeL3Error(f"labels: {what}; add a class, or recordings labelled {BACKGROUND}")
    if not classes:
        raise EdgeL3Error("labels: expected labels in which windows lie, found none; do the times fit the recordings?")
    _say_what_is_few(classes, pool, say)
    scores, folds, count = _held_out(pool, say)
    report, thresholds = evaluate(classes, pool, scores, folds, count)
    for about in report["classes"]:
        if about["average_precision"] is None:
            say(f"{about['label']}: could not be tested on held-out recordings; its threshold is {about['threshold']}")
        elif not is_recognised(about):
            found, chance, threshold = about["average_precision"], about["share"], about["threshold"]
            what = f"average precision {found:.2f}, where guessing has {chance:.2f}; its threshold is {threshold:.2f}"
            say(f"{about['label']}: hardly recognised on held-out recordings: {what}")
    mean, scale, coefficients, intercepts = _fit(pool, np.ones(len(pool.present), bool), say)
    return Classifier(
        classes=tuple(classes),
        thresholds=thresholds,
        model_name=model.name,
        model_sha256=model.sha256,
        contract=CONTRACT,
        report={**report, "notes": list(notes)},
        mean=mean,
        scale=scale,
        coefficients=coefficients,
        intercepts=intercepts,
    )


def _say_what_is_few(classes, pool, say):
    for column, label in enumerate(classes):
        truth = pool.present[:, column]
        recordings, windows = len(np.unique(pool.recording[truth])), int(truth.sum())
        if recordings < FEW_RECORDINGS or windows < FEW_WINDOWS:
            say(
                f"{label}: few examples: {recordings} recordings, {windows} windows; its figures mean little below "
                f"{FEW_RECORDINGS} recordings and {FEW_WINDOWS} windows"
            )


def _held_out(pool, say):
    """Score each window by a classifier that was fitted without its recording, and without the others of its group.

    Returns
    -------
    scores : np.ndarray [shape=(n, classes), float64]
        NaN where there is no such classifier.
    folds : np.ndarray [shape=(n,), int]
    count : int
        Number of folds; 0 if there is one recording only.
    """
    _, GroupKFold, StratifiedGroupKFold = import_sklearn()
    scores = np.full(pool.present.shape, np.nan)
    folds, count = np.full(len(scores), -1), min(FOLDS, len(np.unique(pool.group)))
    if count < 2:
        say("all windows are of one recording, or of one group: nothing can be held out, so nothing is tested")
        return scores, folds, 0
    _, kinds = np.unique(pool.present, axis=0, return_inverse=True)
    kinds = np.ravel(kinds)
    if np.bincount(kinds).max() < count:
        splitter = GroupKFold(count)
    else:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes of few recordings, of which we tell
        splits = list(splitter.split(pool.embedding, kinds, pool.group))
    for fold, (fitted, tested) in enumerate(splits):
        chosen = np.zeros(len(scores), bool)
        chosen[fitted], folds[tested] = True, fold
        if chosen.any() and len(tested):
            mean, scale, coefficients, intercepts = _fit(pool, chosen, lambda text: None)
            standard = (pool.embedding[tested] - mean) / scale
            known = np.isfinite(intercepts)
            affine = standard @ coefficients[known].T + intercepts[known]
            scores[np.ix_(tested, known)] = np.exp(-np.logaddexp(0.0, -affine))
    return scores, folds, count


def _fit(pool, chosen, say):
    """Fit all classes to the chosen windows, shape (n,), bool.

    Returns
    -------
    mean, scale : np.ndarray [shape=(dim,), float64]
    coefficients : np.ndarray [shape=(classes, dim), float64]
        NaN for a class of which there are no examples, or nothing else, among the chosen windows.
    intercepts : np.ndarray [shape=(classes,), float64]
    """
    embedding, stretch = pool.embedding[chosen], stretches(pool)[chosen]
    each = weights(stretch)
    mean = np.average(embedding.astype(np.float64), axis=0, weights=each)
    scale = np.sqrt(np.average((embedding - mean) ** 2, axis=0, weights=each))
    scale = np.maximum(scale, max(SMALLEST_SCALE * scale.max(), MIN_SCALE))
    standard = (embedding - mean) / scale
    count = pool.present.shape[1]
    coefficients, intercepts = np.full((count, len(mean)), np.nan), np.full(count, np.nan)
    for column in range(count):
        sure, truth = ~pool.unsure[chosen, column], pool.present[chosen, column]
        if truth[sure].any() and not truth[sure].all():
            coefficients[column], intercepts[column] = _fit_class(standard[sure], truth[sure], stretch[sure], say)
    return mean, scale, coefficients, intercepts


def _fit_class(standard, truth, stretch, say):
    """Fit one class: its coefficients and its intercept. All of its presence weighs as much as all of its absence."""
    LogisticRegression, _, _ = import_sklearn()
    each = np.empty(len(truth))
    for side in (truth, ~truth):
        part = weights(stretch[side])
        each[side] = 0.5 * TOTAL * part / part.sum()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = LogisticRegression(C=1.0, max_iter=ITERATIONS).fit(standard, truth, sample_weight=each)
    if any("converge" in str(warning.message) for warning in caught):
        say(f"the fit has not converged after {ITERATIONS} steps: more examples may help")
    return fitted.coef_[0], fitted.intercept_[0]


def stretches(pool):
    """Number the stretches of windows of one recording that have the same labels: shape (n,), int."""
    rows = np.column_stack([pool.recording, pool.present, pool.unsure])
    return np.cumsum(np.append(False, (rows[1:] != rows[:-1]).any(axis=1)))


def weights(stretch):
    """Return weights of windows, shape (n,), with which a stretch weighs the root of its length; their mean is 1.

    Neighbouring windows say nearly the same: without weights, a recording of a minute would count as much as thirty of
    two seconds. With equal weights, twenty answers in one long recording would count as little as one clip.

    Examples
    --------
    >>> weights(np.array([7, 7, 7, 7, 9])).round(2).tolist()
    [0.83, 0.83, 0.83, 0.83, 1.67]
    """
    _, place, counts = np.unique(stretch, return_inverse=True, return_counts=True)
    found = 1 / np.sqrt(counts[place])
    return found / found.mean()
