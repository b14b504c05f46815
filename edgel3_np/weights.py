"""The weight file: its format, and reading, checking and writing it.

A weight file is a compressed npz (no pickle) with these members; convolutions are numbered 1 to 8:

=================  =================================  =============================================================
member             dtype, shape                       content
=================  =================================  =============================================================
``metadata``       u1 (n,)                            JSON: see `METADATA`
``conv1.data``     f4 or f2 (nnz,)                    kernel as a CSR matrix of shape (9 * in, out): rows in the order
``conv1.indices``  u1 or u2 (nnz,)                    (dy, dx, in), columns out
``conv1.indptr``   u1, u2 or u4 (9 * in + 1,)         (both of the smallest type that holds them)
``conv1.bias``     f4 (out,)                          bias
``norm0``          f4 (4, 1)                          input batch norm: gamma, beta, moving mean, moving variance
``norm1`` ...      f4 (4, out)                        batch norm after convolution 1 ...; none after a linear last one
``mel``            f4 (1 + n_fft // 2, n_mels)        only if the source's mel matrix is not the formula's, bit for bit
=================  =================================  =============================================================

Nothing is folded: batch norms are stored as they were trained, so that the file can be turned back into its source bit
for bit (float32; but zeros come back as +0.0, while pruning leaves half of them as -0.0). They are folded into the kernels, in float64, when a network is planned.
"""

import hashlib
import json
from typing import NamedTuple, Optional

import numpy as np

from .errors import EdgeL3Error
from .melspectrogram import FrontEnd
from .npz import Archive, read_file, write_npz

FORMAT, FORMAT_VERSION = "edgel3_np weights", 1
CONTRACT = 1  # version of the numbers that this package computes; a change of numbers raises it
METADATA = {
    "format": "edgel3_np weights",
    "format_version": "int: layout of this file",
    "contract": "int: version of the numeric contract the file was made for",
    "name": "str: the model's name, such as sparse-ft-95.45",
    "frontend": "dict: sr, n_fft, hop_length, n_mels",
    "network": "dict: filters (a list of 8), final_activation (relu or linear)",
    "source": "dict of str: file, sha256, and what else tells where the weights come from",
    "license": "str",
    "citation": "str",
}
MAX_FILE_BYTES = 64 << 20  # the largest network here, dense, takes 25 MB
MAX_METADATA_BYTES = 1 << 16
MAX_FILTERS, MAX_MAP = 512, 1 << 16  # MAX_MAP: bands x frames of a window
_LIMITS = {"sr": (1000, 192_000), "n_fft": (16, 8192), "hop_length": (1, 8192), "n_mels": (8, 512)}

SEA, SPARSE = FrontEnd(8000, 1024, 160, 64), FrontEnd(48000, 2048, 242, 256)
_L3 = (64, 64, 128, 128, 256, 256, 512, 512)
SPARSITIES = ("53.5", "63.5", "72.3", "73.5", "81.0", "87.0", "90.5", "95.45")
# name: (front end, filters, activation of the last convolution). A file of one of these names must hold that network.
RELEASED = {f"sparse-{how}-{rate}": (SPARSE, _L3, "linear") for how in ("ft", "kd") for rate in SPARSITIES}
RELEASED["sea-512"] = (SEA, _L3, "relu")
RELEASED["sea-256"] = (SEA, (32, 32, 64, 64, 128, 128, 256, 256), "relu")
RELEASED["sea-128"] = (SEA, (32, 32, 64, 64, 128, 128, 128, 128), "relu")
RELEASED["sea-64"] = (SEA, (32, 32, 64, 64, 128, 128, 64, 64), "relu")


class CSR(NamedTuple):
    """A sparse matrix by rows, as in scipy.sparse: row i has `data[indptr[i]:indptr[i + 1]]` at columns `indices[...]`."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple


class Weights(NamedTuple):
    """Everything in a weight file.

    Parameters
    ----------
    name : str
    frontend : FrontEnd
    final_activation : 'relu' or 'linear'
    kernels : tuple of 8 CSR [shape=(9 * in, out)]
    biases : tuple of 8 np.ndarray [shape=(out,), float32]
    norms : tuple of 9 or 8 np.ndarray [shape=(4, out), float32]
        Gamma, beta, moving mean, moving variance of the input and of each convolution that has a batch norm.
    mel : np.ndarray [shape=(bins, n_mels), float32] or None
        None where it is `mel_filters(frontend)`.
    provenance : dict
        `source`, `license`, `citation`, `contract` of the metadata.
    sha256 : str
        Of the file read; empty before it is written.
    """

    name: str
    frontend: FrontEnd
    final_activation: str
    kernels: tuple
    biases: tuple
    norms: tuple
    mel: Optional[np.ndarray]
    provenance: dict
    sha256: str = ""

    @property
    def filters(self):
        return tuple(kernel.shape[1] for kernel in self.kernels)


def to_csr(kernel, dtype=np.float32):
    """Turn a convolution kernel into the form in which it is stored.

    Parameters
    ----------
    kernel : np.ndarray [shape=(3, 3, in, out), float32]
    dtype : float32 or float16
        Of the values stored. What float16 rounds to zero is dropped.

    Returns
    -------
    matrix : CSR [shape=(9 * in, out)]
        With the smallest unsigned index types that hold its indices.
    """
    matrix = np.ascontiguousarray(kernel, np.float32).reshape(-1, kernel.shape[3]).astype(dtype)
    rows, columns = np.nonzero(matrix)
    indptr = np.searchsorted(rows, np.arange(len(matrix) + 1))
    smallest = np.min_scalar_type
    return CSR(
        matrix[rows, columns],
        columns.astype(smallest(matrix.shape[1] - 1)),
        indptr.astype(smallest(int(indptr[-1]))),
        matrix.shape,
    )


def to_dense(matrix):
    """The kernel that `to_csr` was given: shape (3, 3, in, out), float32. Zeros are +0.0."""
    dense = np.zeros(matrix.shape, np.float32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr.astype(np.int64)))
    dense[rows, matrix.indices] = matrix.data
    return dense.reshape(3, 3, -1, matrix.shape[1])


def save_weights(file, weights):
    """Write a weight file: the same bytes for the same weights.

    Parameters
    ----------
    file : path or binary file
    weights : Weights
    """
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": weights.name,
        "frontend": weights.frontend._asdict(),
        "network": {"filters": list(weights.filters), "final_activation": weights.final_activation},
        **weights.provenance,
    }
    arrays = {"metadata": np.frombuffer(json.dumps(metadata).encode(), np.uint8)}
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases), 1):
        for part in ("data", "indices", "indptr"):
            arrays[f"conv{number}.{part}"] = getattr(kernel, part)
        arrays[f"conv{number}.bias"] = bias
    arrays.update((f"norm{number}", norm) for number, norm in enumerate(weights.norms))
    if weights.mel is not None:
        arrays["mel"] = weights.mel
    write_npz(file, arrays)


def load_weights(path):
    """Read a weight file, trusting nothing in it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    weights : Weights
        Arrays are read-only.

    Raises
    ------
    EdgeL3Error
        The file cannot be read or is not exactly what the format says; the message names file, member, what was
        expected and what was found.
    """
    name = str(path)
    content = read_file(path, MAX_FILE_BYTES)
    return parse_weights(content, name)


def parse_weights(content, name):
    """The same for the file's content, `bytes`; `name` is for messages."""
    archive = Archive(content, name)
    metadata = _read_metadata(archive)
    frontend = FrontEnd(**metadata["frontend"])
    filters, final_activation = metadata["network"]["filters"], metadata["network"]["final_activation"]
    n_norms = 9 if final_activation == "relu" else 8
    needed = ["metadata"] + [f"norm{number}" for number in range(n_norms)]
    needed += [f"conv{n}.{part}" for n in range(1, 9) for part in ("data", "indices", "indptr", "bias")]
    archive.require(needed, ("mel",))
    norms = tuple(archive.read(f"norm{n}", "<f4", (4, c)) for n, c in enumerate([1, *filters][:n_norms]))
    for number, norm in enumerate(norms):
        if (norm[3] < 0).any():
            raise archive.error(f"norm{number}", "variances of at least 0", norm[3].min())
    mel = archive.read("mel", "<f4", (1 + frontend.n_fft // 2, frontend.n_mels)) if "mel" in archive else None
    if mel is not None and (mel < 0).any():
        raise archive.error("mel", "values of at least 0", mel.min())
    return Weights(
        name=metadata["name"],
        frontend=frontend,
        final_activation=final_activation,
        kernels=tuple(_read_csr(archive, f"conv{n}", (9 * c, out)) for n, c, out in zip(range(1, 9), [1, *filters], filters)),
        biases=tuple(archive.read(f"conv{n}.bias", "<f4", (out,)) for n, out in enumerate(filters, 1)),
        norms=norms,
        mel=mel,
        provenance={key: metadata[key] for key in ("contract", "source", "license", "citation")},
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _read_csr(archive, name, shape):
    """Read one CSR matrix and check every index: a product with a bad one would crash the interpreter."""
    data = archive.read(f"{name}.data", "<f4 <f2", (None,), max_items=shape[0] * shape[1])
    indices = archive.read(f"{name}.indices", "|u1 <u2", data.shape)
    indptr = archive.read(f"{name}.indptr", "|u1 <u2 <u4", (shape[0] + 1,))
    steps = np.diff(indptr.astype(np.int64))
    if indptr[0] != 0 or indptr[-1] != len(data) or (steps < 0).any():
        raise archive.error(f"{name}.indptr", f"0 ... {len(data)}, never falling", f"{indptr[0]} ... {indptr[-1]}, or falling")
    if len(indices) and indices.max() >= shape[1]:
        raise archive.error(f"{name}.indices", f"columns below {shape[1]}", indices.max())
    first = np.zeros(len(indices) + 1, bool)
    first[indptr[:-1]] = True
    if not (first[1:-1] | (np.diff(indices.astype(np.int64)) > 0)).all():
        raise archive.error(f"{name}.indices", "columns that rise along each row", "one repeated or out of order")
    return CSR(data, indices, indptr, shape)


def _read_metadata(archive):
    raw = archive.read("metadata", "|u1", (None,), max_items=MAX_METADATA_BYTES)
    try:
        metadata = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise archive.error("metadata", "JSON", error) from error

    def check(ok, key, expected):
        if not ok:
            raise archive.error("metadata", f"{key}: {expected}", f"{found(key)!r:.100}")

    def found(key):
        value = metadata
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def is_int(value, low, high):
        return type(value) is int and low <= value <= high

    check(isinstance(metadata, dict) and found("format") == FORMAT, "format", FORMAT)
    check(
        found("format_version") == FORMAT_VERSION,
        "format_version",
        f"{FORMAT_VERSION} (convert the model again, or use the version of edgel3_np that wrote it)",
    )
    check(set(metadata) == set(METADATA), "keys", ", ".join(METADATA))
    name = metadata["name"]
    check(isinstance(name, str) and 0 < len(name) <= 64 and name.isprintable(), "name", "1 to 64 printable characters")
    check(is_int(metadata["contract"], 1, CONTRACT), "contract", f"1 to {CONTRACT}")
    check(isinstance(found("frontend"), dict) and set(found("frontend")) == set(_LIMITS), "frontend", ", ".join(_LIMITS))
    for key, (low, high) in _LIMITS.items():
        check(is_int(metadata["frontend"][key], low, high), f"frontend.{key}", f"a whole number from {low} to {high}")
    frontend = FrontEnd(**metadata["frontend"])
    check(
        frontend.hop_length <= frontend.n_fft
        and frontend.n_frames >= 8
        and frontend.n_frames * frontend.n_mels <= MAX_MAP,
        "frontend.hop_length",
        f"at most n_fft, and 8 frames to {MAX_MAP} / n_mels frames in a second",
    )
    filters, activation = found("network.filters"), found("network.final_activation")
    check(
        isinstance(filters, list) and len(filters) == 8 and all(is_int(f, 1, MAX_FILTERS) for f in filters),
        "network.filters",
        f"8 whole numbers from 1 to {MAX_FILTERS}",
    )
    check(activation in ("relu", "linear"), "network.final_activation", "relu or linear")
    source = metadata["source"]
    check(
        isinstance(source, dict) and all(isinstance(value, str) for value in source.values()),
        "source",
        "a dict of strings",
    )
    for key in ("license", "citation"):
        check(isinstance(metadata[key], str), key, "a string")
    if name in RELEASED:
        network = (frontend, tuple(filters), activation)
        check(network == RELEASED[name], "network", f"that of {name}: {RELEASED[name]}")
    return metadata
