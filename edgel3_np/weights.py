"""The weight file: its format, and reading, checking and writing it.

A weight file is a compressed npz (no pickle) with these members; convolutions are numbered 1 to 8:

=================  =================================  =============================================================
member             dtype, shape                       content
=================  =================================  =============================================================
``metadata``       u1 (n,)                            JSON: see `metadata.METADATA`
``conv1.data``     f4 or f2 (nnz,)                    kernel as a CSR matrix of shape (9 * in, out): rows in the order
``conv1.indices``  u1 or u2 (nnz,)                    (dy, dx, in), columns out
``conv1.indptr``   u1, u2 or u4 (9 * in + 1,)         (both of the smallest type that holds them)
``conv1.bias``     f4 (out,)                          bias
``norm0``          f4 (4, 1)                          input batch norm: gamma, beta, moving mean, moving variance
``norm1`` ...      f4 (4, out)                        batch norm after convolution 1 ...; none after a linear last one
``mel``            f4 (1 + n_fft // 2, n_mels)        only if the source's mel matrix is not the formula's, bit for bit
=================  =================================  =============================================================

Nothing is folded: batch norms are stored as they were trained, so that the file can be turned back into its source bit
for bit (float32; but zeros come back as +0.0, while pruning leaves half of them as -0.0). They are folded into the
kernels, in float64, when a network is planned.
"""

import hashlib
import json
from typing import NamedTuple, Optional

import numpy as np

from .melspectrogram import FrontEnd
from .metadata import FORMAT, FORMAT_VERSION, read_metadata
from .npz import Archive, read_file, write_npz

MAX_FILE_BYTES = 64 << 20  # the largest network here, dense, takes 25 MB


class CSR(NamedTuple):
    """A sparse matrix by rows, as in scipy.sparse: `data[indptr[i]:indptr[i + 1]]` stand in row i."""

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
    grid : tuple of int (mel, time)
        Besides by its maximum, the last map can be summed up by the maxima of so many parts of it along mel bands and
        time: OpenL3's long embeddings.
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
    grid: tuple = (1, 1)
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
        "frontend": {
            key: value
            for key, value in weights.frontend._asdict().items()
            if value != FrontEnd._field_defaults.get(key)
        },
        "network": {"filters": list(weights.filters), "final_activation": weights.final_activation},
        **weights.provenance,
    }
    if weights.grid != (1, 1):
        metadata["network"]["grid"] = list(weights.grid)
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
        Or a file among a package's resources, as `list_models` returns it.

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
    metadata = read_metadata(archive)
    frontend = FrontEnd(**metadata["frontend"])
    filters, final_activation = metadata["network"]["filters"], metadata["network"]["final_activation"]
    shapes = list(zip([1, *filters], filters))  # (in, out)
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
        kernels=tuple(_read_csr(archive, f"conv{n}", (9 * shape[0], shape[1])) for n, shape in enumerate(shapes, 1)),
        biases=tuple(archive.read(f"conv{n}.bias", "<f4", (out,)) for n, out in enumerate(filters, 1)),
        norms=norms,
        mel=mel,
        provenance={key: metadata[key] for key in ("contract", "source", "license", "citation")},
        grid=tuple(metadata["network"].get("grid", (1, 1))),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _read_csr(archive, name, shape):
    """Read one CSR matrix and check every index: a product with a bad one would crash the interpreter."""
    data = archive.read(f"{name}.data", "<f4 <f2", (None,), max_items=shape[0] * shape[1])
    indices = archive.read(f"{name}.indices", "|u1 <u2", data.shape)
    indptr = archive.read(f"{name}.indptr", "|u1 <u2 <u4", (shape[0] + 1,))
    steps = np.diff(indptr.astype(np.int64))
    if indptr[0] != 0 or indptr[-1] != len(data) or (steps < 0).any():
        found = f"{indptr[0]} ... {indptr[-1]}" + (", falling in between" if (steps < 0).any() else "")
        raise archive.error(f"{name}.indptr", f"0 ... {len(data)}, never falling", found)
    if len(indices) and indices.max() >= shape[1]:
        raise archive.error(f"{name}.indices", f"columns below {shape[1]}", indices.max())
    first = np.zeros(len(indices) + 1, bool)
    first[indptr[:-1]] = True
    if not (first[1:-1] | (np.diff(indices.astype(np.int64)) > 0)).all():
        raise archive.error(f"{name}.indices", "columns that rise along each row", "one repeated or out of order")
    return CSR(data, indices, indptr, shape)
