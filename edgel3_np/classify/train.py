"""Train a classifier: embed labelled recordings, fit, and test on recordings that were held out."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._checks import check_seconds, check_whole
from .._version import CONTRACT
from ..collections.atomic import atomic
from ..collections.embed import check_executor, reports
from ..collections.gather import list_paths
from ..errors import EdgeL3Error, warn
from ..model import cached_model
from ..network.threads import check_threads
from ..weights.locate import is_path
from ..weights.registry import DEFAULT
from .classifier import MAX_CLASSES, MIN_SCALE, Classifier, load_classifier, save_classifier
from .labels import Labels, read_labels
from .report import evaluate
from .tracks import BACKGROUND
from .windows import embedding_jobs, find_embeddings, pool_windows, space_of

if TYPE_CHECKING:
    from ..collections.jobs import Report

STRENGTH = 0.1  # scikit-learn's C: strong, because neighbouring windows say nearly the same
ITERATIONS = 1000
FOLDS = 5  # at most
FEW_RECORDINGS, FEW_WINDOWS = 5, 50  # with fewer, a class is said to have few examples
SMALLEST_SCALE = 1e-3  # of the largest; dimensions that vary less hardly count


def train(
    labels: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    *,
    model: str | os.PathLike[str] = DEFAULT,
    dim: int | None = None,
    embeddings: str | os.PathLike[str] | None = None,
    hop_size: float = 0.1,
    jobs: int = 1,
    threads: int | None = None,
    on_problem: Callable[[EdgeL3Error], object] | None = None,
    on_report: Callable[[Report], object] | None = None,
) -> Classifier:
    """Train a classifier with labelled recordings; this needs scikit-learn (extra `train-classifier`).

    Each class is told from everything else by logistic regression of standardised embeddings, so that several classes,
    or none, may be present at once. Sound with the label `background` is an example of no class. If nothing in a
    folder or table has that label, all sound of its recordings that has none is background.

    The test of the report is a cross-validation by recording: seconds of one recording never stand on both sides.

    Parameters
    ----------
    labels : str or Path, or iterable of them
        A folder with a subfolder for each class; a CSV or TSV with the columns path, start, end (seconds) and label; or
        a folder of recordings with label tracks of Audacity or selection tables of Raven beside them. In a table with
        the column answer (yes, no, unsure), as a page of hits saves it, only the rows are known. Several are taken
        together.
    output : str or Path, optional
        File to write, in an existing directory; None: the classifier is returned only.
    model : str or Path
        Name of a model, or path of a weight file.
    dim : int, optional
        Length of an embedding, as for `load_model`.
    embeddings : str or Path, optional
        Folder of embeddings. Those of the same recordings and model are used, whatever their hop; what is missing is
        added. By default nothing is kept.
    hop_size : number > 0
        Seconds between windows of recordings that are embedded.
    jobs : int > 0
        Processes that embed.
    threads : int > 0, optional
        Threads per recording, as for `embed_files`.
    on_problem : callable, EdgeL3Error -> None, optional
        Called for each recording that is left out, and each class that has few examples. By default each is an
        `EdgeL3Warning`.
    on_report : callable, Report -> None, optional
        Called with the report of each recording that is embedded.

    Returns
    -------
    classifier : Classifier
        Its `report` is a dict for JSON: `classes` has for each class the label, precision, recall, average_precision
        (None if it could not be tested), their `spread` (standard deviation over folds), the threshold, and the numbers
        of its recordings and windows; `confusion` has rows, columns and windows; `notes` says what is wanting.

    Raises
    ------
    EdgeL3Error
        scikit-learn is not installed; an option is not as described; the labels cannot be read, or tell nothing apart;
        the output cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for number in range(6):
    ...     tone = np.sin(np.arange(24000) * (1 + number))
    ...     for kind, sound in (("hiss", rng.standard_normal(24000)), ("tone", tone)):
    ...         os.makedirs(os.path.join(folder, kind), exist_ok=True)
    ...         soundfile.write(os.path.join(folder, kind, f"{number}.wav"), 0.1 * sound, 8000)
    >>> classifier = train(folder, None)
    >>> classifier.classes, [about["recordings"] for about in classifier.report["classes"]]
    (('hiss', 'tone'), [6, 6])
    """
    _import_sklearn()
    check_seconds("hop_size", hop_size)
    check_executor(None, jobs, 1)
    check_threads(threads, 1)
    if output is not None and not os.path.isdir(os.path.dirname(os.path.abspath(os.fsdecode(output)))):
        raise EdgeL3Error(f"{os.fsdecode(output)}: expected a name in an existing directory, found no such directory")
    notes: list[str] = []

    def report_problem(problem):
        if isinstance(problem, str):
            notes.append(problem)
            problem = EdgeL3Error(problem)
        (on_problem or (lambda error: warn(str(error))))(problem)

    name = os.path.abspath(os.fsdecode(model)) if is_path(model) else str(model)
    cached_model.cache_clear()  # the file may have changed since it was loaded
    loaded = cached_model(name, None if dim is None else check_whole("dim", dim))
    found = read_labels(list_paths(labels), report_problem)
    classes = _classes_of(found)
    options = {
        "model": name,
        "sha256": loaded.sha256,
        "dim": dim,
        "hop_size": check_seconds("hop_size", hop_size),
        "center": True,
        "threads": threads or (1 if jobs > 1 else None),
        "resume": True,
    }
    with _folder_of(embeddings) as folder:
        results = _embed(found, folder, loaded, options, jobs, report_problem, on_report)
        pool = pool_windows(found, results, classes, space_of(loaded))
    classifier = fit_classifier(classes, pool, loaded, notes, report_problem)
    return classifier if output is None else _save(output, classifier)


def _import_sklearn():
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


def _classes_of(labels: Labels) -> list[str]:
    named = {span.label for spans in labels.spans.values() for span in spans}
    classes = sorted(named - {BACKGROUND})
    if not 1 <= len(classes) <= MAX_CLASSES:
        found = f"{len(classes)}" if classes else f"{', '.join(sorted(named)) or 'no label'}"
        raise EdgeL3Error(f"labels: expected 1 to {MAX_CLASSES} classes besides {BACKGROUND}, found {found}")
    return classes


@contextmanager
def _folder_of(embeddings):
    if embeddings is not None:
        yield os.path.abspath(os.fsdecode(embeddings))
        return
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def _embed(labels, folder, model, options, jobs, report_problem, on_report):
    """Return the file of embeddings of each recording; embed what is missing, and leave out what cannot be embedded."""
    results = find_embeddings(labels.spans, folder, model)
    missing = {path: name for path, name in labels.names.items() if path not in results}
    work = embedding_jobs(missing, results.values(), folder, options)
    for report in reports(iter(work), [], jobs=jobs, on_report=on_report):
        if report.status == "failed":
            report_problem(EdgeL3Error(f"left out: {report.reason}", kind=report.kind))
        else:
            results[report.input] = report.output
    if not results:
        raise EdgeL3Error("labels: expected recordings that can be embedded, found none")
    return {path: results[path] for path in labels.spans if path in results}  # the same order for any number of jobs


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
        if about["precision"] is None and about["recall"] is None:
            say(f"{about['label']}: could not be tested on held-out recordings; its threshold is {about['threshold']}")
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
    """Score each window by a classifier that was fitted without its recording.

    Returns
    -------
    scores : np.ndarray [shape=(n, classes), float64]
        NaN where there is no such classifier.
    folds : np.ndarray [shape=(n,), int]
    count : int
        Number of folds; 0 if there is one recording only.
    """
    _, GroupKFold, StratifiedGroupKFold = _import_sklearn()
    scores = np.full(pool.present.shape, np.nan)
    folds, count = np.full(len(scores), -1), min(FOLDS, len(np.unique(pool.recording)))
    if count < 2:
        say("all windows are of one recording: nothing can be held out, so nothing is tested")
        return scores, folds, 0
    _, kinds = np.unique(pool.present, axis=0, return_inverse=True)
    kinds = np.ravel(kinds)
    if np.bincount(kinds).max() < count:
        splitter = GroupKFold(count)
    else:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes of few recordings, of which we tell
        splits = list(splitter.split(pool.embedding, kinds, pool.recording))
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
    LogisticRegression, _, _ = _import_sklearn()
    embedding = pool.embedding[chosen]
    mean, scale = embedding.mean(axis=0, dtype=np.float64), embedding.std(axis=0, dtype=np.float64)
    scale = np.maximum(scale, max(SMALLEST_SCALE * scale.max(), MIN_SCALE))
    standard = (embedding - mean) / scale
    count = pool.present.shape[1]
    coefficients, intercepts = np.full((count, len(mean)), np.nan), np.full(count, np.nan)
    make = partial(LogisticRegression, C=STRENGTH, class_weight="balanced", max_iter=ITERATIONS)
    for column in range(count):
        sure, truth = ~pool.unsure[chosen, column], pool.present[chosen, column]
        if truth[sure].any() and not truth[sure].all():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fitted = make().fit(standard[sure], truth[sure])
            if any("converge" in str(warning.message) for warning in caught):
                say(f"the fit has not converged after {ITERATIONS} steps: more examples may help")
            coefficients[column], intercepts[column] = fitted.coef_[0], fitted.intercept_[0]
    return mean, scale, coefficients, intercepts


def _save(output, classifier):
    """Write a classifier, and return it as it is read back."""
    output = os.fsdecode(output)
    try:
        with atomic(output) as file:
            save_classifier(file, classifier)
    except OSError as error:
        raise EdgeL3Error(f"{output}: cannot be written: {error.strerror or error}", kind="output") from error
    return load_classifier(output)
