"""Plan a network: fold its batch norms, and choose the algorithm and the tiles of each layer that should be fastest."""

from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import EdgeL3Error
from ..features.frontend import FrontEnd
from ..features.mel import mel_bands, mel_filterbank
from ..weights.format import BATCH_NORM_EPSILON, POOLED
from ..weights.sparse import to_dense
from . import whole
from .algorithms import ALGORITHMS
from .maps import PIECE, Arena
from .threads import one_blas_thread

# The cost model: what one thread does in a microsecond, as measured with AVX-512 (see benchmarks/RESULTS.md). Nothing
# is timed when a model is loaded, so a model has the same algorithms, and gives the same bytes, every time.
PRODUCT_RATE, LANES_HALF = 150e3, 1.5  # FLOP of products in the cache; lanes of a product that reaches half of it
DIRECT_RATE = 110e3  # FLOP of products that read all neighbours
SPARSE_RATE = 13e3  # FLOP of sparse products
MOVE_RATE, GATHER_RATE = 4e3, 2e3  # floats out of a transform, a sum or a maximum; floats gathered by im2col
WEIGHT_RATE = 8e3  # floats of weights that are read for each window
CALL, PRODUCT = 1.0, 0.15  # a NumPy call; one product of a batch of them
MICROBATCH, MICROBATCH_FLOATS = 8, 5 << 19  # windows that go through the layers together; floats of the largest map
SHARED = 10e3  # microseconds of work that are worth sharing between threads
FUSED_FLOATS = 1 << 19  # floats of the first map from which on it is worth not to have it
TILES = ((2, 2), (3, 2), (2, 4), (3, 4), (4, 4), (6, 4), (4, 6), (5, 6), (6, 6))  # of winograd: rows, columns


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution with all that follows it: bias, ReLU and max-pool.

    Parameters
    ----------
    name : str
        `conv1` ... `conv8`.
    algorithm : str
        A key of `algorithms.ALGORITHMS`.
    tile : tuple of int (rows, columns)
        Pixels that `winograd` computes together; (1, 1) for the others.
    shape : tuple
        (channels, frames, columns) of the map that comes in.
    filters : int
    relu : bool
    pool : bool
        A 2x2 max-pool of stride 2 follows; odd edges are dropped.
    density : float
        Share of the weights that are not zero, 0 to 1.
    cost : float
        Time that the cost model expects, in microseconds a window on one thread.
    weights : tuple of np.ndarray, np.ndarray or tuple of csc_matrix
        As the algorithm's `pack` returns them, with bias and batch norm.
    exact : bool
        Weights and levels are whole, and no sum is rounded, so the order of the sums is free.
    levels : bool
        What follows the convolution is rounded to whole levels, from 0 to `integers.TOP`.
    reach : tuple of int (frames, columns)
        Size of the kernel. Only `patches` has others than (3, 3).
    pool_rows : int
        Frames that the pool takes together, 1 or 2. Only `rows` and `patches` know 1.
    affine : tuple of np.ndarray (factor, bias), optional
        A sum is multiplied by the one, and the other is added, before all that follows; float32.
    """

    name: str
    algorithm: str
    tile: tuple
    shape: tuple
    filters: int
    relu: bool
    pool: bool
    density: float
    cost: float
    weights: Any = None
    exact: bool = False
    levels: bool = False
    reach: tuple = (3, 3)
    pool_rows: int = 2
    affine: Any = None

    @property
    def module(self):
        """The algorithm's module."""
        return ALGORITHMS[self.algorithm]

    @property
    def group(self):
        """Rows of points that `winograd` computes at a time: as many as stay in the cache."""
        return self.module.choose_group(self)

    @property
    def operations(self):
        """Floating-point operations of the dense convolution of a window: two for each product with a weight."""
        channels, frames, columns = self.shape
        return 2 * self.reach[0] * self.reach[1] * channels * self.filters * frames * columns


@dataclass(frozen=True, eq=False)
class Network:
    """A planned network, safe to share between threads: read-only but for its spare workspaces.

    Parameters
    ----------
    frontend : FrontEnd
    bands : tuple of MelBand
        The mel filterbank.
    scale, shift : np.float32
        Batch norm of the input. It is not folded into the first convolution, whose zero padding comes after it.
    layers : tuple of Layer
    fused : bool
        Whether the first two layers go strip by strip together, because the map between them is large.
    microbatch : int
        Windows that go through the layers together. It decides about speed only.
    pool_grid : tuple of int (mel, time)
        Parts of the last map whose maxima are the embedding.
    exact : bool
        All products are of whole numbers, and the input is the levels of `features.levels`: the same bytes everywhere.
    spare : list of Workspace
        Workspaces that no forward pass uses now, for the next one. They hold nothing that a result depends on.
    """

    frontend: FrontEnd
    bands: tuple
    scale: np.float32
    shift: np.float32
    layers: tuple
    fused: bool
    microbatch: int
    pool_grid: tuple
    exact: bool
    spare: list = field(default_factory=list, init=False, repr=False)

    def __getstate__(self):
        """Leave the workspaces behind: in a copy, buffers would no longer be what the tapes work on."""
        return {**self.__dict__, "spare": []}

    context = (0, 0)  # samples before a window, and behind it, that its embedding depends on besides

    @property
    def dim(self):
        """Length of an embedding."""
        return self.layers[-1].filters * self.pool_grid[0] * self.pool_grid[1]

    @property
    def batch(self):
        """Windows that go through the pipeline together: of small networks two microbatches, which share frames."""
        return self.microbatch if self.is_large else 2 * self.microbatch

    @property
    def is_large(self):
        """Whether one window is work enough for several threads."""
        return sum(layer.cost for layer in self.layers) > SHARED


def check_dim(weights, dim):
    """Raise `EdgeL3Error` if a model has no embeddings of the length `dim`; None stands for the first it has."""
    if dim is not None and not (isinstance(dim, Integral) and not isinstance(dim, bool) and dim in weights.dims):
        expected = " or ".join(map(str, weights.dims))
        raise EdgeL3Error(f"dim: expected {expected} for {weights.name}, found {dim!r}")


def plan_network(weights, dim=None):
    """Turn `Weights` into a `Network`: fold batch norms in float64 and choose the algorithm of each layer.

    Parameters
    ----------
    weights : Weights
    dim : int, optional
        Length of an embedding, one of `weights.dims`; the first by default.

    Raises
    ------
    EdgeL3Error
        The model has no embeddings of this length.
    """
    check_dim(weights, dim)
    frontend = weights.frontend
    bands = mel_bands(mel_filterbank(frontend) if weights.mel is None else weights.mel)
    exact = weights.zero is not None
    scale, shift = ([1.0], [-weights.zero]) if exact else input_affine(weights)
    with one_blas_thread():  # products of weights must not depend on the number of threads either
        arena = Arena()
        layers = [
            replace(layer, weights=settle(layer.module.pack(kernel, bias, layer), arena))
            for layer, (kernel, bias) in zip(
                choose_layers(weights), (whole.folded_kernels if exact else fold_batch_norms)(weights)
            )
        ]
    first, second = layers[:2]
    fused = first.algorithm == "direct" and second.algorithm == "winograd" and np.prod(second.shape) >= FUSED_FLOATS
    largest = max(MICROBATCH_FLOATS // MICROBATCH, *(np.prod(layer.shape) for layer in layers[2 * fused :]))
    pool_grid = (1, 1) if dim == weights.filters[-1] else weights.pool_grid
    return Network(
        frontend,
        bands,
        np.float32(scale[0]),
        np.float32(shift[0]),
        tuple(layers),
        bool(fused),
        max(1, int(MICROBATCH_FLOATS // largest)),
        pool_grid,
        exact,
    )


def settle(weights, arena):
    """Return packed weights, read-only, the small arrays side by side in an arena."""
    if isinstance(weights, tuple):
        return tuple(settle(part, arena) for part in weights)
    if not isinstance(weights, np.ndarray):  # a sparse matrix
        weights.data, weights.indices, weights.indptr = settle((weights.data, weights.indices, weights.indptr), arena)
        return weights
    if weights.dtype == np.float32 and weights.size < PIECE:
        place = arena.zeros(*weights.shape)
        place[...] = weights
        weights = place
    weights.setflags(write=False)
    return weights


def choose_layers(weights):
    """Choose the algorithm of each layer: `rows` for none or some of the first, then the cheapest for each.

    Parameters
    ----------
    weights : Weights

    Returns
    -------
    layers : list of Layer
        Without weights.
    """
    shapes, options = _shapes(weights.frontend, weights.filters), []
    for number, (csr, shape) in enumerate(zip(weights.kernels, shapes), 1):
        density = len(csr.data) / (csr.shape[0] * csr.shape[1])
        common = {"shape": shape, "filters": csr.shape[1], "pool": number in POOLED, "density": density}
        relu, exact = number < 8 or weights.final_activation == "relu", weights.zero is not None
        common.update(name=f"conv{number}", relu=relu, exact=exact, levels=exact and number < 8)
        candidates = [("rows", (1, 1)), ("direct", (1, 1)), ("sparse", (1, 1))]
        if not exact:
            candidates += [("winograd", tile) for tile in TILES]
        elif number > 1 and whole.fits_quads(csr, weights.biases[number - 1]):
            candidates += [("quads", (2, 2))]
        options.append(
            [
                Layer(
                    algorithm=algorithm,
                    tile=tile,
                    cost=estimate_cost(algorithm, tile, shape, csr.shape[1], density),
                    **common,
                )
                for algorithm, tile in candidates
                if algorithm != "winograd" or number not in POOLED or tile[0] % 2 == 0
            ]
        )
    best = [min(candidates[1:], key=lambda layer: layer.cost) for candidates in options]
    plans = [[candidates[0] for candidates in options[:count]] + best[count:] for count in range(len(best) + 1)]
    return min(plans, key=lambda layers: sum(layer.cost for layer in layers))


def fold_batch_norms(weights):
    """Fold batch norms into the convolutions that they follow.

    Parameters
    ----------
    weights : Weights

    Yields
    ------
    kernel : np.ndarray [shape=(3, 3, in, out), float64]
        Along frames, mel bands, channels, filters. (In files mel bands come first; in maps here frames do.)
    bias : np.ndarray [shape=(out,), float64]
    """
    for csr, bias, norm in zip(weights.kernels, weights.biases, [*weights.norms[1:], None]):
        kernel, bias = to_dense(csr).astype(np.float64).transpose(1, 0, 2, 3), bias.astype(np.float64)
        if norm is not None:
            scale, shift = _affine(norm)
            kernel, bias = kernel * scale, bias * scale + shift
        yield kernel, bias


def input_affine(weights):
    """Return scale and shift of the input's batch norm, each of shape (1,), float64."""
    return _affine(weights.norms[0])


def _affine(norm):
    """Return scale and shift of a batch norm in inference."""
    gamma, beta, mean, variance = norm.astype(np.float64)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def _shapes(frontend, filters):
    """Return (channels, frames, columns) of the map that goes into each convolution."""
    frames, columns, shapes = frontend.n_frames, frontend.n_mels, []
    for number, channels in enumerate((1, *filters[:-1]), 1):
        shapes.append((channels, frames, columns))
        if number in POOLED:
            frames, columns = frames // 2, columns // 2
    return shapes


def estimate_cost(algorithm, tile, shape, filters, density):
    """Estimate how long an algorithm takes for one layer of one window: the cost model.

    Parameters
    ----------
    algorithm : str
        A key of `algorithms.ALGORITHMS`.
    tile : tuple of int (rows, columns)
    shape : tuple
        (channels, frames, columns).
    filters : int
    density : float
        Share of the weights that are not zero, 0 to 1.

    Returns
    -------
    cost : float
        Microseconds on one thread.
    """
    channels, frames, columns = shape
    pixels, strips = frames * columns, -(-frames // 8)
    cost = operations(algorithm, tile, shape, filters, density)
    if algorithm == "rows":
        return cost / DIRECT_RATE + pixels * (3 * channels + 2 * filters) / MOVE_RATE + 5 * CALL + frames * PRODUCT
    if algorithm == "sparse":
        return cost / SPARSE_RATE + pixels * (3 * channels + 2 * filters) / MOVE_RATE + 8 * strips * CALL
    if algorithm == "direct":
        return cost / DIRECT_RATE + pixels * (9 * channels / GATHER_RATE + filters / MOVE_RATE) + 4 * strips * CALL
    (mr, mc), rows, lanes = tile, -(-frames // tile[0]), -(-columns // tile[1])
    points, tiles = (mr + 2) * (mc + 2), rows * lanes
    cost *= (1 + LANES_HALF / tiles) / PRODUCT_RATE
    moved = tiles * ((points + (mr + 2) * mc) * (channels + filters) + mr * mc * filters)
    calls = 10 * CALL + (points + 2 * rows * (mr + 2)) * PRODUCT
    return cost + moved / MOVE_RATE + points * channels * filters / WEIGHT_RATE + calls


def operations(algorithm, tile, shape, filters, density):
    """Return the floating-point operations of the products of an algorithm; the arguments are as in `estimate_cost`."""
    channels, frames, columns = shape
    if algorithm in ("winograd", "quads"):
        (mr, mc), tiles = tile, -(-frames // tile[0]) * -(-columns // tile[1])
        return 2 * (mr + 2) * (mc + 2) * channels * filters * tiles
    return 18 * channels * filters * frames * columns * (density if algorithm == "sparse" else 1)
