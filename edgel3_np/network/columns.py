"""A planned network for streams: which algorithm computes each of its layers, and with what weights."""

from dataclasses import dataclass, field, replace

import numpy as np

from ..features.columns import COLUMNS, FRAMES
from ..features.frontend import FrontEnd
from ..features.mel import mel_bands, mel_filterbank
from ..weights.columns import POSITIONED, TRUNK
from ..weights.format import POOLED
from .maps import Arena
from .plan import DIRECT_RATE, Layer, settle

LATE = 3  # columns that come before the features of a column are complete
BEFORE = 12  # columns before a window that its embedding depends on: 3 that layers see, 9 for the level of the first
CONTEXT = BEFORE + COLUMNS + LATE  # columns with all that a window depends on
BATCH, STREAMED = 512, 8  # windows that go through the pipeline together: of a recording, of a stream
BY_ROW = 4  # layers of frames, with few channels; a column is one row of the later ones


@dataclass(frozen=True, eq=False)
class ColumnNetwork:
    """A network for streams, safe to share between threads: read-only but for its spare workspaces.

    Parameters
    ----------
    frontend : FrontEnd
    bands : tuple of MelBand
        The mel filterbank.
    layers : tuple of 11 Layer
        Of a column, or of a window in the head. The head's first layer is that of the rows of levels alone.
    taps : np.ndarray [shape=(features, 3 * filters), float32]
        The head's first layer for the features of a column: what they add to the column behind, to their own, and to
        the one before.
    silence : np.ndarray [shape=(dim,), float32]
        The embedding of a window of zeros.
    spare : list of Run
        Workspaces that no forward pass uses now. They hold nothing that a result depends on.
    """

    frontend: FrontEnd
    bands: tuple
    layers: tuple
    taps: np.ndarray
    silence: np.ndarray
    spare: list = field(default_factory=list, init=False, repr=False)

    exact = True  # all sums are of whole numbers: the same bytes everywhere
    is_large = False  # a window is not work enough for several threads
    batch, microbatch = BATCH, STREAMED

    def __getstate__(self):
        """Leave the workspaces behind: in a copy, buffers would no longer be what the tapes work on."""
        return {**self.__dict__, "spare": []}

    @property
    def dim(self):
        """Length of an embedding."""
        return self.layers[-1].filters

    @property
    def column(self):
        """Samples of a column. The distance between windows is a multiple."""
        return FRAMES * self.frontend.hop_length

    @property
    def context(self):
        """Samples before a window, and behind it, that its embedding depends on."""
        margin = (self.frontend.n_fft - self.frontend.hop_length) // 2  # of a frame around its own samples
        return BEFORE * self.column + margin, LATE * self.column + margin


def plan_columns(weights):
    """Turn `ColumnWeights` into a `ColumnNetwork`.

    There is nothing to choose: `rows` is the fastest for few channels, `patches` for many.
    """
    layers, width, arena, features = [], weights.frontend.n_mels, Arena(), weights.filters[TRUNK - 1]
    for number, (kernel, factor, bias) in enumerate(zip(weights.kernels, weights.factors, weights.biases), 1):
        head, by_row = number > TRUNK, number <= BY_ROW
        if number == POSITIONED + 1:  # its features have weights of their own
            taps = kernel[0, :, :features].transpose(1, 0, 2).reshape(features, -1).astype(np.float32)
            kernel = kernel[:, :, features:]
        if not head:
            kernel = kernel.transpose(1, 0, 2, 3)  # mel bands come first in files, frames in maps
        rows, (tall, wide, channels, filters) = FRAMES if by_row else 1, kernel.shape
        layer = Layer(
            name=f"conv{number}",
            algorithm="rows" if by_row else "patches",
            tile=(1, 1),
            shape=(channels, rows, COLUMNS if head else width),
            filters=filters,
            relu=True,
            pool=number in POOLED,
            density=np.count_nonzero(kernel) / kernel.size,
            cost=2 * kernel.size * rows * (COLUMNS if head else width) / DIRECT_RATE,
            exact=True,
            levels=number < len(weights.kernels),
            reach=(tall, wide),
            pool_rows=1,
            affine=(factor, bias + np.float32(0.0)),  # then no sum is a negative zero
        )
        packed = layer.module.pack(kernel.astype(np.float64), np.zeros(filters), layer)
        layers.append(replace(layer, weights=settle(packed, arena)))
        width //= 2 if layer.pool else 1
    bands = mel_bands(mel_filterbank(weights.frontend))
    return ColumnNetwork(weights.frontend, bands, tuple(layers), settle(taps, arena), weights.silence)
