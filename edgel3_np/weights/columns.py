"""The weight file of a network for streams: its format; how it is read, checked and written.

Such a network computes a stream once, column by column. A column is a tenth of a second, a window is ten of them. Eight
convolutions, the trunk, go over the stream; three more, the head, over the columns of a window. Its metadata has
``"stream": true`` in ``network``, and ``filters`` are 11. Its members are, with convolutions numbered 1 to 11:

=================  =================================  =============================================================
member             dtype, shape                       content
=================  =================================  =============================================================
``metadata``       u1 (n,)                            JSON: see `metadata.KEYS`
``conv1.weight``   i1 (mel, time, in, out)            whole weights; ``REACH`` has mel and time
``conv1.factor``   f4 (out,)                          above 0: what a sum of products is multiplied by
``conv1.bias``     f4 (out,), of conv9 (10, out)      is added to that: one for each filter, and column of a window
``silence``        f4 (out,)                          the embedding of a window of zeros
=================  =================================  =============================================================

The convolution after the trunk has two channels more than the trunk has filters: rows of levels, see
`features.columns`. A layer passes on

    level out = clip(round(sum of weight * level in * factor + bias), 0, TOP)

The sums are exact, as those of `integers`; the product and the addition round once each, in float32, and no machine can
do that differently. After the last convolution nothing is rounded or clipped at the top.
"""

from typing import NamedTuple

import numpy as np

from ..features.columns import COLUMNS
from ..features.frontend import FrontEnd
from .integers import EXACT, TOP, largest_sum
from .npz import write_npz

TRUNK, LAYERS = 8, 11  # convolutions: of the stream, and all
REACH = ((3, 3),) * 6 + ((3, 1),) * 2 + ((1, 3),) * 3  # mel bands and times under a weight of each
LEVEL_ROWS = 2  # channels that the head has besides the trunk's features
POSITIONED = 8  # index of the convolution with a bias for each column of a window


class ColumnWeights(NamedTuple):
    """Everything in the weight file of a network for streams.

    Parameters
    ----------
    name : str
    frontend : FrontEnd
    kernels : tuple of 11 np.ndarray [shape=(mel, time, in, out), int8]
    factors : tuple of 11 np.ndarray [shape=(out,), float32]
    biases : tuple of 11 np.ndarray [shape=(out,) or (10, out), float32]
    silence : np.ndarray [shape=(out,), float32]
    provenance : dict
        `source`, `license`, `citation` and `contract` of the metadata.
    sha256 : str
        Hash of the file; empty before the file is written.
    """

    name: str
    frontend: FrontEnd
    kernels: tuple
    factors: tuple
    biases: tuple
    silence: np.ndarray
    provenance: dict
    sha256: str = ""

    @property
    def filters(self):
        """Number of filters of each convolution."""
        return tuple(kernel.shape[3] for kernel in self.kernels)

    @property
    def dims(self):
        """Possible lengths of an embedding: one."""
        return self.filters[-1:]


def kernel_shapes(filters):
    """Return the shape (mel, time, in, out) of each kernel of a network for streams."""
    channels = [1, *filters[:-1]]
    channels[TRUNK] += LEVEL_ROWS
    return [(*reach, *sizes) for reach, sizes in zip(REACH, zip(channels, filters))]


def write_columns(file, weights, metadata):
    """Write a weight file: the same bytes for the same weights.

    Parameters
    ----------
    file : path or binary file
    weights : ColumnWeights
    metadata : bytes
    """
    arrays = {"metadata": np.frombuffer(metadata, np.uint8), "silence": weights.silence}
    for number, parts in enumerate(zip(weights.kernels, weights.factors, weights.biases), 1):
        arrays.update((f"conv{number}.{part}", array) for part, array in zip(("weight", "factor", "bias"), parts))
    write_npz(file, arrays)


def parse_columns(archive, metadata, sha256):
    """Read the members of a network for streams without trust.

    Parameters
    ----------
    archive : Archive
    metadata : Metadata
    sha256 : str

    Returns
    -------
    weights : ColumnWeights

    Raises
    ------
    EdgeL3Error
        A member is not what the format says, or a sum could reach 2**24, where float32 would round it.
    """
    parts = ("weight", "factor", "bias")
    names = [f"conv{number}" for number in range(1, LAYERS + 1)]
    archive.require(["metadata", "silence", *(f"{name}.{part}" for name in names for part in parts)])
    kernels, factors, biases = [], [], []
    for number, (name, shape) in enumerate(zip(names, kernel_shapes(metadata.filters))):
        kernels.append(archive.read(f"{name}.weight", "|i1", shape))
        factors.append(archive.read(f"{name}.factor", "<f4", shape[3:]))
        places = (COLUMNS, shape[3]) if number == POSITIONED else shape[3:]
        biases.append(archive.read(f"{name}.bias", "<f4", places))
        if not (factors[-1] > 0).all():
            raise archive.error(f"{name}.factor", "factors above 0", factors[-1].min())
        largest = largest_sum(kernels[-1].reshape(-1, shape[3]), np.zeros(shape[3]), 0, TOP)
        if largest.max() >= EXACT:
            found = f"{largest.max()} of filter {largest.argmax()}; its numbers would not be the same on every machine"
            raise archive.error(f"{name}.weight", f"sums of products below 2**24 = {EXACT}", found)
    silence = archive.read("silence", "<f4", metadata.filters[-1:])
    arrays = tuple(kernels), tuple(factors), tuple(biases), silence
    return ColumnWeights(metadata.name, metadata.frontend, *arrays, metadata.provenance, sha256)
