"""Maps between layers: how they lie in memory, and what follows a convolution (pool, ReLU, the way into the next map).

Rows of a map are frames, columns are mel bands. Each algorithm wants its input in a layout of its own:

* `tiled`, for `winograd`: x[window, row, phase, tile, channel], where column = tile * phases + phase. Rows of zeros lie
  above and below the map, and columns of zeros fill the last tile.
* `padded`, for `direct`: x[window, row, column, channel], with zeros around the map.
* `gapped`, for `sparse`: x[window, channel, row * (width + 1) + column], with one column of zeros between rows.
* `shifted`, for `rows`: described there.
* `plain`: x[window, row, column, channel], for the last map, whose maxima are the embedding.
* `channels`: x[window, row, channel, column], for what takes maxima over rows.

The window is the outermost axis in all of them, so each window is one piece of memory.
"""

from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

PIECE, HUGE_PAGE = 1 << 20, 1 << 19  # floats


class Map(NamedTuple):
    """A map in memory: the input of a layer, or the last map."""

    layout: str
    array: np.ndarray  # everything, with zeros around and between
    tiles: np.ndarray  # view (windows, height, phases, tiles, channels) of the pixels; phases is 1 unless it is tiled
    top: int = 0  # number of the first row of `tiles`; not 0 if this is a strip of a map

    @property
    def phases(self):
        """Number of phases that the columns are divided into."""
        return self.tiles.shape[2]

    def part(self, windows):
        """Return the map of some of the windows, a slice."""
        return self._replace(array=self.array[windows], tiles=self.tiles[windows])


def tiled_map(windows, height, width, channels, phases, rows, arena):
    """Return a `tiled` map of zeros, with `rows` rows in all, the one above the map included."""
    array = arena.zeros(windows, rows, phases, -(-width // phases), channels)
    return Map("tiled", array, array[:, 1 : 1 + height])


def padded_map(windows, height, width, channels, columns, arena):
    """Return a `padded` map of zeros, with `columns` columns in all, the one left of the map included."""
    array = arena.zeros(windows, height + 2, columns, channels)
    return Map("padded", array, array[:, 1 : 1 + height, np.newaxis, 1 : 1 + width])


def gapped_map(windows, height, width, channels, arena):
    """Return a `gapped` map of zeros, with slack behind it for columns that are read past its end."""
    pitch, size = width + 1, channels * (height + 2) * (width + 1)
    array = arena.zeros(windows, size + 3 * pitch)
    pixels = array[:, :size].reshape(windows, channels, height + 2, pitch)[
        :, :, 1:-1, 1:
    ]  # (b, channels, height, width)
    return Map("gapped", array, pixels.transpose(0, 2, 3, 1)[:, :, np.newaxis])


def plain_map(windows, height, width, channels, arena):
    """Return a `plain` map."""
    array = arena.zeros(windows, height, width, channels)
    return Map("plain", array, array[:, :, np.newaxis])


class Arena:
    """Float32 zeros out of few large pieces of memory, each array from a cache line on.

    NumPy asks Linux to back pieces of 4 MiB and more with huge pages, and pages that are never touched cost nothing. On
    small pages a window that comes alone spends up to a third of its time looking up addresses.
    """

    def __init__(self):
        self.piece, self.used = np.empty(0, np.float32), 0

    def zeros(self, *shape):
        """Return zeros in this shape."""
        size, start = int(np.prod(shape)), self.used
        if start + size > len(self.piece):
            length, start = max(size, PIECE), 0
            raw = np.zeros(length + HUGE_PAGE, np.float32)
            self.piece = raw[-(raw.ctypes.data // 4) % HUGE_PAGE :][:length]
        self.used = start + -(-size // 16) * 16
        return self.piece[start : start + size].reshape(shape)


class Scratch:
    """Work space of one thread, handed out from the start again for each layer, so that it stays in the cache."""

    def __init__(self, size, arena):
        self.array, self.used = arena.zeros(size), 0

    def take(self, *shape):
        """Return the next free floats in this shape. They hold anything."""
        size, start = int(np.prod(shape)), self.used
        self.used = start + -(-size // 16) * 16
        if self.used > len(self.array):
            raise ValueError(f"expected at most {len(self.array)} floats of scratch, found {self.used}")
        return self.array[start : start + size].reshape(shape)

    def reset(self):
        """Start from the beginning again."""
        self.used = 0


def pieces(*shapes):
    """Return how many floats `Scratch.take` needs for arrays of these shapes."""
    return sum(-(-int(np.prod(shape)) // 16) * 16 for shape in shapes)


def finish(tape, layer, y, first, out):
    """Record what follows a convolution: max-pool, activation, and the way into the next map.

    Parameters
    ----------
    tape : Tape
    layer : Layer
    y : np.ndarray [shape=(windows, phases, rows, tiles, filters)]
        Some rows of the convolution, column = tile * phases + phase, with any strides; overwritten. Rows and columns
        beyond the map may hold anything. Before a pool `phases` is even.
    first : int >= 0
        Number of its first row; even before a pool.
    out : Map
        The next map.
    """
    _, height, width = layer.shape
    if layer.pool:
        y, height = y[:, :, : (height - first) // 2 * 2], height // 2
        tape.maximum(y[:, :, ::2], y[:, :, 1::2], out=y[:, :, ::2])
        y = y[:, :, ::2]
        tape.maximum(y[:, ::2], y[:, 1::2], out=y[:, ::2])
        y, first, width = y[:, ::2], first // 2, width // 2
    y = y[:, :, : height - first]
    first -= out.top
    rows, afterwards = out.tiles[:, first : first + y.shape[2]], out.layout == "tiled"
    for source, target in columns_of(y, rows, width):
        tape.copy(source, out=target) if afterwards else activate(tape, layer, source, target)
    if afterwards:  # one pass over whole rows is faster than one that jumps
        activate(tape, layer, rows, rows)


def activate(tape, layer, y, out, run=1):
    """Record the activation of a layer, from `y` to `out`: whole levels, ReLU or none.

    Parameters
    ----------
    tape : Tape
    layer : Layer
        If it has an `affine`, that comes first, in place.
    y, out : np.ndarray [shape=(..., filters * run)]
    run : int > 0
        Pixels of a filter that lie side by side.
    """
    if layer.affine is not None:  # two calls, each of which rounds once
        factor, bias = (np.repeat(part, run, axis=-1) for part in layer.affine)
        tape.multiply(y, factor, out=y)
        tape.add(y, bias, out=y)
    if layer.levels:
        tape.levels(y, out=out)
    elif layer.relu:
        tape.relu(y, out=out)
    elif y is not out:
        tape.copy(y, out=out)


def columns_of(y, tiles, width):
    """Yield pairs of views with equal shapes, of `y` (b, phases, rows, tiles, filters) and of the tiles of a map."""
    h, m = y.shape[1], tiles.shape[2]
    if h == m:  # the same phases: whole tiles, and what is left of the last one
        whole, rest = width // m, width % m
        if whole:
            yield y[:, :, :, :whole], tiles[:, :, :, :whole].swapaxes(1, 2)
        if rest:
            yield y[:, :rest, :, whole], tiles[:, :, :rest, whole].swapaxes(1, 2)
        return
    step = h * m // gcd(h, m)  # columns so far apart have the same phase in both
    for column in range(min(step, width)):
        count = len(range(column, width, step))
        source = y[:, column % h, :, column // h :: step // h]
        yield source[:, :, :count], tiles[:, :, column % m, column // m :: step // m][:, :, :count]


def clear_columns(tape, tiles, width):
    """Record zeros in the columns of (..., phases, tiles, filters) from `width` on: the last tile is not full."""
    phases, count = tiles.shape[-3:-1]
    for column in range(width, phases * count):
        tape.copy(0.0, out=tiles[..., column % phases, column // phases, :])


def embed_maxima(tape, last, relu, pool_grid, cells, out):
    """Record the embedding: the maximum of each part of the last map, of equal heights and widths.

    Parameters
    ----------
    tape : Tape
    last : Map
        `plain`: (windows, height, width, filters).
    relu : bool
    pool_grid : tuple of int (mel, time)
    cells : np.ndarray [shape=(windows, time, width * filters)]
        Work space.
    out : np.ndarray [shape=(windows, time, mel, filters)]
    """
    mel, time = pool_grid
    b, height, width, filters = last.array.shape
    rows, columns = height // time, width // mel
    tape.max(last.array[:, : time * rows].reshape(b, time, rows, width * filters), 2, out=cells)
    parts = cells.reshape(b, time, width, filters)[:, :, : mel * columns]
    tape.max(parts.reshape(b, time, mel, columns, filters), 3, out=out)
    if relu:
        tape.relu(out, out=out)


def strided(x, shape, strides):
    """Return a view of an array; strides are counted in items."""
    return as_strided(x, shape, [stride * x.itemsize for stride in strides])
