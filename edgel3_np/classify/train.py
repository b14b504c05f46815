"""Train a classifier: embed labelled recordings, fit, and test on recordings that were held out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._checks import check_seconds, check_whole
from ..collections.atomic import atomic, check_directory
from ..collections.embed import check_executor, reports
from ..collections.gather import list_paths
from ..errors import EdgeL3Error, warn
from ..model import cached_model
from ..network.threads import check_threads
from ..pipeline import framing_for
from ..weights.locate import is_path
from ..weights.registry import DEFAULT
from .classifier import MAX_CLASSES, Classifier, load_classifier, save_classifier
from .fit import fit_classifier, import_sklearn
from .labels import Labels, read_labels
from .tracks import BACKGROUND
from .windows import embedding_jobs, find_embeddings, pool_windows, space_of

if TYPE_CHECKING:
    from ..collections.jobs import Report


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

    The test of the report is a cross-validation by recording: seconds of one recording never stand on both sides, nor
    do recordings of one group, if a table has the column group (a day, a place, a source). A stretch with the same
    labels weighs the root of its length.

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
        the output cannot be written, or another file is there.

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
    import_sklearn()
    hop_size = check_seconds("hop_size", hop_size)
    check_executor(None, jobs, 1)
    check_threads(threads, 1)
    if output is not None:
        _check_output(output)
    notes: list[str] = []

    def report_problem(problem):
        if isinstance(problem, str):
            notes.append(problem)
            problem = EdgeL3Error(problem)
        (on_problem or (lambda error: warn(str(error))))(problem)

    name = os.path.abspath(os.fsdecode(model)) if is_path(model) else str(model)
    cached_model.cache_clear()  # the file may have changed since it was loaded
    loaded = cached_model(name, None if dim is None else check_whole("dim", dim))
    framing_for(loaded.network, hop_size, True)  # a network for streams has hops of its own
    found = read_labels(list_paths(labels), report_problem)
    classes = _classes_of(found)
    options = {
        "model": name,
        "sha256": loaded.sha256,
        "dim": dim,
        "hop_size": hop_size,
        "center": True,
        "threads": threads or (1 if jobs > 1 else None),
        "resume": True,
    }
    with _folder_of(embeddings) as folder:
        results = _embed(found, folder, loaded, options, jobs, report_problem, on_report)
        pool = pool_windows(found, results, classes, space_of(loaded))
    classifier = fit_classifier(classes, pool, loaded, notes, report_problem)
    return classifier if output is None else _save(output, classifier)


def _check_output(path):
    """Raise `EdgeL3Error` unless a classifier can be written at `path`, where nothing is but a classifier."""
    check_directory(path)
    if os.path.lexists(path):
        try:
            load_classifier(os.path.abspath(os.fsdecode(path)))
        except EdgeL3Error as error:
            what = "expected nothing, or a classifier that train wrote, found another file"
            raise EdgeL3Error(f"{os.fsdecode(path)}: {what}; choose another name, or move it", "invalid") from error


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


def _save(output, classifier):
    """Write a classifier, and return it as it is read back."""
    output = os.fsdecode(output)
    try:
        with atomic(output) as file:
            save_classifier(file, classifier)
    except OSError as error:
        raise EdgeL3Error(f"{output}: cannot be written: {error.strerror or error}", kind="output") from error
    return load_classifier(output)
