"""The weight file: its format; how it is read, checked and written.

A weight file is a compressed npz (no pickle) with these members; convolutions are numbered 1 to 8:

=================  =================================  =============================================================
member             dtype, shape                       content
=================  =================================  =============================================================
``metadata``       u1 (n,)                            JSON: see `metadata.KEYS`
``conv1.data``     f4 or f2 (nnz,)                    kernel as a CSR matrix of shape (9 * in, out): rows in the order
``conv1.indices``  u1 or u2 (nnz,)                    (dy, dx, in), columns out
``conv1.indptr``   u1, u2 or u4 (9 * in + 1,)         (both of the smallest type that holds them)
``conv1.bias``     f4 (out,)                          bias
``norm0``          f4 (4, 1)                          input batch norm: gamma, beta, moving mean, moving variance
``norm1`` ...      f4 (4, out)                        batch norm after convolution 1 ...; none after a linear last one
``mel``            f4 (1 + n_fft // 2, n_mels)        only if the source's mel matrix is not the formula's, bit for bit
=================  =================================  =============================================================

A network of whole numbers (`integers`; its metadata has ``zero``) has no batch norms, and instead:

=================  =================================  =============================================================
``conv1.data``     i2 (nnz,)                          weights, times ``2**shift`` of their filter
``conv1.bias``     i4 (out,)                          bias, times ``2**shift``
``conv1.shift``    i1 (out,)                          from -20 to 40
=================  =================================  =============================================================

A file of which some sum of products could reach 2**24, where float32 would round it, is refused.

In the others nothing is folded: batch norms are stored as they were trained, so that the file can be turned back into
its source bit for bit (in float32; zeros come back as +0.0, although pruning leaves half of them as -0.0). They are
folded into the kernels, in float64, when a network is planned.

The file of a network for streams is described in `columns`.
"""

import hashlib
from typing import NamedTuple, Optional

import numpy as np

from .._files import read_file
from ..features.frontend import FrontEnd
from .columns import ColumnWeights, parse_columns, write_columns
from .integers import EXACT, SHIFTS, TOP, input_range, largest_sum
from .metadata import Metadata, read_metadata, write_metadata
from .npz import Archive, write_npz
from .sparse import CSR, to_matrix

MAX_FILE_BYTES = 64 << 20  # the largest of these networks, dense, takes 25 MB
BATCH_NORM_EPSILON = 1e-3  # the same in every batch norm
POOLED = (2, 4, 6)  # a max-pool follows these convolutions


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
        Gamma, beta, moving mean and moving variance of the input and of each convolution with a batch norm.
    mel : np.ndarray [shape=(bins, n_mels), float32] or None
        None means `mel_filterbank(frontend)`.
    provenance : dict
        `source`, `license`, `citation` and `contract` of the metadata.
    pool_grid : tuple of int (mel, time)
        An embedding is the maxima of so many parts of the last map along mel bands and time, instead of the one maximum
        of the whole map: OpenL3's long embeddings.
    sha256 : str
        Hash of the file; empty before the file is written.
    zero : int or None
        Of a network of whole numbers: the level of the input's padding. Then the data of `kernels` is int16, `biases`
        are int32, and there are no `norms`.
    shifts : tuple of 8 np.ndarray [shape=(out,), int8]
        Of a network of whole numbers: exponents, see `integers`. Otherwise empty.
    """

    name: str
    frontend: FrontEnd
    final_activation: str
    kernels: tuple
    biases: tuple
    norms: tuple
    mel: Optional[np.ndarray]
    provenance: dict
    pool_grid: tuple = (1, 1)
    sha256: str = ""
    zero: Optional[int] = None
    shifts: tuple = ()

    @property
    def filters(self):
        """Number of filters of each convolution."""
        return tuple(kernel.shape[1] for kernel in self.kernels)

    @property
    def dims(self):
        """Possible lengths of an embedding, the default first: with the pool grid, and without."""
        bands, times = self.pool_grid
        return tuple(dict.fromkeys((self.filters[-1] * bands * times, self.filters[-1])))


def save_weights(file, weights):
    """Write a weight file: the same bytes for the same weights.

    Parameters
    ----------
    file : path or binary file
    weights : Weights or ColumnWeights
    """
    if isinstance(weights, ColumnWeights):
        described = weights.name, weights.frontend, weights.filters, "relu", (1, 1), weights.provenance, None, True
        write_columns(file, weights, write_metadata(Metadata(*described)))
        return
    described = {field: getattr(weights, field) for field in Metadata._fields[:-1]}
    arrays = {"metadata": np.frombuffer(write_metadata(Metadata(**described)), np.uint8)}
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases), 1):
        for part in ("data", "indices", "indptr"):
            arrays[f"conv{number}.{part}"] = getattr(kernel, part)
        arrays[f"conv{number}.bias"] = bias
    arrays.update((f"conv{number}.shift", shift) for number, shift in enumerate(weights.shifts, 1))
    arrays.update((f"norm{number}", norm) for number, norm in enumerate(weights.norms))
    if weights.mel is not None:
        arrays["mel"] = weights.mel
    write_npz(file, arrays)


def load_weights(path):
    """Read a weight file without trust.

    Parameters
    ----------
    path : str, Path or Traversable
        A Traversable is a file among a package's resources, as `list_models` returns it.

    Returns
    -------
    weights : Weights, or ColumnWeights of a network for streams
        The arrays are read-only.

    Raises
    ------
    EdgeL3Error
        The file cannot be read or is not exactly what the format says. The message names the file, the member, what was
        expected and what was found.
    """
    return parse_weights(read_file(path, MAX_FILE_BYTES), str(path))


def parse_weights(content, name):
    """Do the same with the content of the file, `bytes`; messages call it `name`."""
    archive = Archive(content, name)
    metadata = read_metadata(archive)
    if metadata.stream:
        return parse_columns(archive, metadata, hashlib.sha256(content).hexdigest())
    frontend, filters, whole = metadata.frontend, metadata.filters, metadata.zero is not None
    shapes = list(zip([1, *filters], filters))  # (in, out)
    n_norms = 0 if whole else 9 if metadata.final_activation == "relu" else 8
    parts = ("data", "indices", "indptr", "bias", *(["shift"] if whole else []))
    needed = ["metadata"] + [f"norm{number}" for number in range(n_norms)]
    archive.require([*needed, *(f"conv{n}.{part}" for n in range(1, 9) for part in parts)], ("mel",))
    norms = tuple(archive.read(f"norm{n}", "<f4", (4, c)) for n, c in enumerate([1, *filters][:n_norms]))
    for number, norm in enumerate(norms):
        if (norm[3] < 0).any():
            raise archive.error(f"norm{number}", "variances of at least 0", norm[3].min())
    mel = archive.read("mel", "<f4", (1 + frontend.n_fft // 2, frontend.n_mels)) if "mel" in archive else None
    if mel is not None and (mel < 0).any():
        raise archive.error("mel", "values of at least 0", mel.min())
    data, bias = ("<i2", "<i4") if whole else ("<f4 <f2", "<f4")
    weights = Weights(
        name=metadata.name,
        frontend=frontend,
        final_activation=metadata.final_activation,
        kernels=tuple(
            _read_csr(archive, f"conv{n}", data, (9 * shape[0], shape[1])) for n, shape in enumerate(shapes, 1)
        ),
        biases=tuple(archive.read(f"conv{n}.bias", bias, (out,)) for n, out in enumerate(filters, 1)),
        norms=norms,
        mel=mel,
        provenance=metadata.provenance,
        pool_grid=metadata.pool_grid,
        sha256=hashlib.sha256(content).hexdigest(),
        zero=metadata.zero,
        shifts=tuple(archive.read(f"conv{n}.shift", "|i1", (out,)) for n, out in enumerate(filters, 1))
        if whole
        else (),
    )
    if whole:
        _check_sums(archive, weights)
    return weights


def _check_sums(archive, weights):
    """Raise `EdgeL3Error` unless float32 holds every sum of a network of whole numbers."""
    for number, (kernel, bias, shift) in enumerate(zip(weights.kernels, weights.biases, weights.shifts), 1):
        if shift.min() < SHIFTS[0] or shift.max() > SHIFTS[1]:
            found = f"{shift.min()} to {shift.max()}"
            raise archive.error(f"conv{number}.shift", f"{SHIFTS[0]} to {SHIFTS[1]}", found)
        low, high = input_range(weights.zero) if number == 1 else (0, TOP)
        largest = largest_sum(to_matrix(kernel), bias, low, high)
        if largest.max() >= EXACT:
            found = f"{largest.max()} of filter {largest.argmax()}; its numbers would not be the same on every machine"
            raise archive.error(f"conv{number}.data", f"sums of products below 2**24 = {EXACT}", found)


def _read_csr(archive, name, dtypes, shape):
    """Read one CSR matrix and check every index: a product with a bad one would crash the interpreter."""
    data = archive.read(f"{name}.data", dtypes, (None,), max_items=shape[0] * shape[1])
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
        raise archive.error(f"{name}.indices", "columns that rise along each row", "a repeated or misplaced one")
    return CSR(data, indices, indptr, shape)
