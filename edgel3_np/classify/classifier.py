"""`Classifier`: from embeddings to a score for each class; how its file is read, without trust, and written.

A classifier is a compressed npz (no pickle) with these members; its content is untrusted, like that of a weight file:

================  ====================  ==========================================================
member            dtype, shape          content
================  ====================  ==========================================================
``metadata``      u1 (n,)               JSON: see `KEYS`
``mean``          f8 (dim,)             subtracted from an embedding
``scale``         f8 (dim,)             divides what is left
``coefficients``  f8 (classes, dim)     of the standardised embedding
``intercepts``    f8 (classes,)
``thresholds``    f8 (classes,)         scores from which on a class counts as present
================  ====================  ==========================================================
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .._files import read_file
from .._version import CONTRACT
from ..collections.gather import EmbeddingSpace, describe, space_of
from ..errors import EdgeL3Error
from ..weights.npz import Archive, write_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model import Model
    from ..pipeline import Embedding

FORMAT, FORMAT_VERSION = "edgel3_np classifier", 1
KEYS = {
    "format": "edgel3_np classifier",
    "format_version": "int: layout of the file",
    "contract": "int: version of the numeric contract of the embeddings",
    "model": "dict: name and sha256 of the model that makes the embeddings",
    "dim": "int: length of an embedding",
    "classes": "list of str: labels, all different",
    "report": "dict: how good the classifier is on recordings that it was not fitted on",
}
ARRAYS = ("mean", "scale", "coefficients", "intercepts", "thresholds")
MAX_FILE_BYTES, MAX_METADATA_BYTES = 32 << 20, 1 << 20
MAX_CLASSES, MAX_DIM, MAX_LABEL = 256, 8192, 100
MIN_SCALE = 1e-6  # so that no score overflows
AT_ONCE = 1 << 18  # numbers of embeddings that are scored at a time
FOLDER = "_classifiers"  # of a vendored copy


@dataclass(frozen=True, eq=False)
class Classifier:
    """What tells classes of sound apart, by the embeddings of one model.

    Several classes, or none, may be present at once: each has a score of its own, the sigmoid of an affine map of the
    standardised embedding.

    Parameters
    ----------
    classes : tuple of str
        Labels.
    thresholds : np.ndarray [shape=(classes,), float64]
        Scores from which on a class counts as present.
    model_name : str
        The model that makes the embeddings.
    model_sha256 : str
        Hash of its weight file.
    contract : int
        Version of the numeric contract of the embeddings.
    report : dict
        How good the classifier is on recordings that it was not fitted on; see `edgel3_np.classifier.train`.
    mean, scale : np.ndarray [shape=(dim,), float64]
        An embedding is standardised by them: `(embedding - mean) / scale`.
    coefficients : np.ndarray [shape=(classes, dim), float64]
    intercepts : np.ndarray [shape=(classes,), float64]
    sha256 : str
        Hash of the classifier's file; empty before it is written.

    Examples
    --------
    >>> import edgel3_np
    >>> model = edgel3_np.load_model()
    >>> classifier = Classifier(
    ...     ("loud", "soft"), np.array([0.5, 0.5]), model.name, model.sha256, model.provenance["contract"], {},
    ...     np.zeros(64), np.ones(64), np.stack([np.ones(64), -np.ones(64)]), np.zeros(2)
    ... )
    >>> sound = np.random.default_rng(0).standard_normal(16000)
    >>> classifier.predict(model.embed(sound, 8000, hop_size=0.5)).shape
    (4, 2)
    """

    classes: tuple[str, ...]
    thresholds: NDArray[np.float64]
    model_name: str
    model_sha256: str
    contract: int
    report: dict[str, Any] = field(repr=False)
    mean: NDArray[np.float64] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    coefficients: NDArray[np.float64] = field(repr=False)
    intercepts: NDArray[np.float64] = field(repr=False)
    sha256: str = ""

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Classifier:
        """Load a classifier from its file, as `load_classifier` does."""
        return load_classifier(path)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return len(self.mean)

    @property
    def space(self) -> EmbeddingSpace:
        """What the embeddings must be: of which model, numeric contract and length."""
        return EmbeddingSpace(self.model_sha256, self.contract, self.dim)

    def predict(self, embedding: Embedding) -> NDArray[np.float64]:
        """Score embeddings.

        Parameters
        ----------
        embedding : Embedding
            As `embed`, `Model.embed` and `Stream.feed` return it, with the classifier's model (see `check_model`). For
            events while a sound arrives, see `edgel3_np.classifier.EventStream`.

        Returns
        -------
        scores : np.ndarray [shape=(t, classes), float64]
            0 to 1. Those of a window have the same bytes whatever windows are scored with it.

        Raises
        ------
        EdgeL3Error
            It is no `Embedding`, or its vectors have another length than the classifier's.
        """
        found = getattr(embedding, "embedding", None)
        if not isinstance(found, np.ndarray):
            what = f"expected all that embed() returns (embedding and timestamps), found {type(embedding).__name__}"
            raise EdgeL3Error(f"predict: {what}")
        if found.ndim != 2 or found.shape[1] != self.dim:
            what = f"expected embeddings of shape (t, {self.dim}), from {self.model_name}, found {found.shape}"
            raise EdgeL3Error(f"predict: {what}; embed the sound with {self.model_name}")
        scores, rows = np.empty((len(found), len(self.classes))), max(1, AT_ONCE // self.dim)
        places, products = np.empty((2, min(rows, len(found)), self.dim))
        for first in range(0, len(found), rows):
            batch = found[first : first + rows]
            standard = np.subtract(batch, self.mean, out=places[: len(batch)])  # (b, dim)
            standard /= self.scale
            product = products[: len(batch)]
            for column, coefficients in enumerate(self.coefficients):
                # NumPy's own sum of a row: no other window, no BLAS and no place in memory has a part in it
                affine = (
                    np.add.reduce(np.multiply(standard, coefficients, out=product), axis=1) + self.intercepts[column]
                )
                scores[first : first + rows, column] = _logistic(affine)
        return scores

    def check_model(self, model: Model) -> None:
        """Raise `EdgeL3Error` unless a model makes the embeddings that this classifier takes."""
        self.check_space(space_of(model), f"model {model.name}")

    def check_space(self, space: EmbeddingSpace, name: str) -> None:
        """Raise `EdgeL3Error` unless embeddings are those of this classifier; messages call them `name`."""
        if space != self.space:
            wanted, found = describe(self.space, self.model_name), describe(space)
            raise EdgeL3Error(
                f"{name}: expected embeddings of {wanted}, for which the classifier was trained, "
                f"found {found}; take that model, or train the classifier again"
            )


def _logistic(x):
    """Return 1 / (1 + exp(-x)), shape (n,); a number does not depend on those beside it.

    NumPy 1.19 has two exponentials with other last bits. It takes the same one for any vector of two or more in place.
    """
    y = np.append(-x, 0.0)
    np.negative(np.logaddexp(0.0, y, out=y), out=y)
    return np.exp(y, out=y)[:-1]


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Load a classifier from its file, without trusting it.

    Parameters
    ----------
    path : str or Path
        The npz that `edgel3-np train` writes. In a copy that `tools/vendor.py` makes, a name without a directory and
        an ending is that of a classifier that came with the copy.

    Returns
    -------
    classifier : Classifier
        Its arrays are read-only.

    Raises
    ------
    EdgeL3Error
        The file cannot be read, or is not a classifier's. The message names the file, the member, what was expected
        and what was found.

    Examples
    --------
    >>> try:
    ...     load_classifier("nothing.npz")
    ... except EdgeL3Error as error:
    ...     print(error)
    nothing.npz: cannot be read: No such file or directory; expected a classifier that `edgel3-np train` wrote
    """
    try:
        return parse_classifier(read_file(find_classifier(path), MAX_FILE_BYTES), os.fsdecode(path))
    except EdgeL3Error as error:
        if "classifier" in str(error).replace(os.fsdecode(path), ""):
            raise
        raise EdgeL3Error(f"{error}; expected a classifier that `edgel3-np train` wrote", error.kind) from error


def find_classifier(path):
    """Return the path of a classifier, or the resource of one that came with this copy of the package."""
    name = os.fsdecode(path)
    if os.path.basename(name) != name or name.endswith(".npz") or os.path.lexists(name):
        return path
    from importlib.resources import files  # imported here: it takes a while

    vendored = files(__name__.rsplit(".", 2)[0]).joinpath(FOLDER).joinpath(f"{name}.npz")
    return vendored if vendored.is_file() else path


def parse_classifier(content: bytes, name: str) -> Classifier:
    """Do the same with the content of the file; messages call it `name`."""
    archive = Archive(content, name)
    archive.require(["metadata", *ARRAYS])
    said = _read_metadata(archive)
    dim, count = said["dim"], len(said["classes"])
    shapes = {"mean": (dim,), "scale": (dim,), "coefficients": (count, dim)}
    arrays = {key: archive.read(key, "<f8", shapes.get(key, (count,))) for key in ARRAYS}
    if not (arrays["scale"] >= MIN_SCALE).all():
        raise archive.error("scale", f"numbers of at least {MIN_SCALE:g}", arrays["scale"].min())
    thresholds = arrays["thresholds"]
    if not ((thresholds > 0) & (thresholds <= 1)).all():
        raise archive.error("thresholds", "numbers above 0, up to 1", f"{thresholds.min()} to {thresholds.max()}")
    return Classifier(
        classes=tuple(said["classes"]),
        model_name=said["model"]["name"],
        model_sha256=said["model"]["sha256"],
        contract=said["contract"],
        report=said["report"],
        sha256=hashlib.sha256(content).hexdigest(),
        **arrays,
    )


def save_classifier(file: str | os.PathLike[str] | BinaryIO, classifier: Classifier) -> None:
    """Write a classifier: the same bytes for the same classifier.

    Parameters
    ----------
    file : path or binary file
    classifier : Classifier
    """
    said = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "contract": classifier.contract,
        "model": {"name": classifier.model_name, "sha256": classifier.model_sha256},
        "dim": classifier.dim,
        "classes": list(classifier.classes),
        "report": classifier.report,
    }
    text = json.dumps(said, allow_nan=False).encode()
    if len(text) > MAX_METADATA_BYTES:
        what = f"expected at most {MAX_METADATA_BYTES} bytes of labels and report, found {len(text)}"
        raise EdgeL3Error(f"classifier: {what}; train with fewer classes")
    arrays = {key: np.asarray(getattr(classifier, key), np.float64) for key in ARRAYS}
    write_npz(file, {"metadata": np.frombuffer(text, np.uint8), **arrays})


def is_label(text):
    """Tell whether a text may be a label: printable, and not like an option of a command that it is handed to."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_LABEL
        and text.isprintable()
        and text == text.strip()
        and not text.startswith("-")
    )


def _read_metadata(archive):
    raw = archive.read("metadata", "|u1", (None,), max_items=MAX_METADATA_BYTES)
    try:
        said = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise archive.error("metadata", "JSON", error) from error

    def check(ok, key, expected):
        if not ok:
            found = said.get(key) if isinstance(said, dict) else None
            raise archive.error("metadata", f"{key}: {expected}", f"{found!r:.100}")

    check(isinstance(said, dict) and said.get("format") == FORMAT, "format", FORMAT)
    check(
        type(said.get("format_version")) is int and said["format_version"] == FORMAT_VERSION,
        "format_version",
        f"{FORMAT_VERSION} (train again, or use the version of edgel3_np that wrote the file)",
    )
    check(set(said) == set(KEYS), "keys", ", ".join(KEYS))
    check(type(said["contract"]) is int and 1 <= said["contract"] <= CONTRACT, "contract", f"1 to {CONTRACT}")
    model = said["model"] if isinstance(said["model"], dict) else {}
    check(set(model) == {"name", "sha256"} and _is_name(model["name"]), "model", "name and sha256 of a model")
    digest = model["sha256"]
    check(isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef"), "model", "a sha256")
    check(type(said["dim"]) is int and 1 <= said["dim"] <= MAX_DIM, "dim", f"a whole number from 1 to {MAX_DIM}")
    classes = said["classes"]
    check(isinstance(classes, list) and 1 <= len(classes) <= MAX_CLASSES, "classes", f"1 to {MAX_CLASSES} labels")
    check(
        all(map(is_label, classes)) and len(set(classes)) == len(classes),
        "classes",
        f"different labels of 1 to {MAX_LABEL} printable characters that do not begin with -",
    )
    check(isinstance(said["report"], dict), "report", "a dict")
    return said


def _is_name(text):
    return isinstance(text, str) and 0 < len(text) <= 64 and text.isprintable()
