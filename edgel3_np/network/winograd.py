"""Winograd's F(mr,3) along rows times F(mc,3) along columns, on channels that lie side by side.

The map is `tiled`: rows lie plain, columns in `mc` phases. In turn, for a strip of rows of tiles:

1. rows: BT (mr + 2, mr + 2) times the rows under a row of tiles, where they lie in the map
   -> a[window, row of tiles, point of rows, phase, tile, channel]
2. columns: BT (mc + 2, mc) times the phases of a tile, plus what the two neighbouring columns add
   -> v[point of rows, point of columns, window, lane, channel]; a lane is one tile of the strip
3. products: v (lanes, channels) times weights (channels, filters), for each point and window; most time goes here
   -> m[point of rows, point of columns, window, lane, filter]
4. columns: AT (mc, mc + 2) times m -> z[window, row of tiles, point of rows, phase, tile, filter]
5. rows: AT (mr, mr + 2) times z -> pixels

Steps 2 to 4 take a few rows of points at a time, so that v and m stay in the cache.
"""

import numpy as np

from .cook_toom import cook_toom
from .maps import activate, clear_columns, finish, pieces, strided, tiled_map

PRODUCT = 1_000_000  # multiplications of a product below which OpenBLAS does not copy its factors first
LANES = 64  # lanes of a product that are worth a pass over the weights, about
OVERRUN = 6  # rows below a map that the layer before may write, and then fills with zeros
CACHE_FLOATS = 1 << 18  # floats of factors and results that stay in the cache


def _matrices(m):
    bt, g, at = cook_toom(m)
    return bt.astype(np.float32), g, at.astype(np.float32)


def pack(kernel, bias, layer):
    """Return the weights of each point, (chunks, points of rows, points of columns, channels, chunk), and the bias."""
    channels, filters = kernel.shape[2:]
    mr, mc = layer.tile
    chunks = _chunks(layer)
    points = np.empty((chunks, mr + 2, mc + 2, channels, filters // chunks), np.float32)
    for row, factors in enumerate(cook_toom(mr)[1]):  # row by row: in float64 all points take much memory
        some = np.tensordot(cook_toom(mc)[1], np.tensordot(factors, kernel, 1), 1)
        points[:, row] = some.reshape(mc + 2, channels, chunks, -1).transpose(2, 0, 1, 3)
    return points, bias.astype(np.float32)


def _chunks(layer):
    """Return into how many parts of equal size the filters are cut, so that products stay below `PRODUCT`."""
    lanes = _strip_tiles(layer) * -(-layer.shape[2] // layer.tile[1])
    for chunks in (1, 2, 4, 8):
        if layer.filters % chunks == 0 and lanes * layer.shape[0] * layer.filters // chunks <= PRODUCT:
            return chunks
    return 1


def _needed_rows(layer):
    height = layer.shape[1]
    return height // 2 * 2 if layer.pool else height


def _strip_tiles(layer):
    """Return the rows of tiles of a strip; an even number of rows of pixels if a pool follows."""
    channels, _, width = layer.shape
    (mr, mc), every = layer.tile, -(-_needed_rows(layer) // layer.tile[0])
    lane = (mr + 2) * mc * (channels + layer.filters)  # floats of one tile in `a` and in `z`
    most = max(1, CACHE_FLOATS // (lane * -(-width // mc)), -(-LANES * mc // width))
    strips = -(-every // most)
    tall = -(-every // strips)
    return tall + (tall % 2 if layer.pool and mr % 2 else 0)


def new_map(layer, windows, arena):
    """Return an input map."""
    channels, height, width = layer.shape
    mr, mc = layer.tile
    rows = max(height, -(-_needed_rows(layer) // mr) * mr)
    return tiled_map(windows, height, width, channels, mc, rows + 2 + OVERRUN, arena)


def strip_map(layer, arena):
    """Return an input map for the strips of one window, one after the other, from the row above a strip on."""
    channels, _, width = layer.shape
    mr, mc = layer.tile
    rows = _strip_tiles(layer) * mr + 2
    return tiled_map(1, rows, width, channels, mc, rows + 1, arena)


def strips(layer):
    """Return the strips."""
    needed, rows = _needed_rows(layer), _strip_tiles(layer) * layer.tile[0]
    return [slice(first, min(first + rows, needed)) for first in range(0, needed, rows)]


def choose_group(layer):
    """Return how many rows of points are computed at a time, so that factors and results stay in the cache."""
    channels, _, width = layer.shape
    mr, mc = layer.tile
    row = (mc + 2) * _strip_tiles(layer) * -(-width // mc) * (channels + layer.filters)
    return max(1, min(mr + 2, CACHE_FLOATS // row))


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    channels, _, width = layer.shape
    (mr, mc), k, tiles = layer.tile, _strip_tiles(layer), -(-width // layer.tile[1])
    lane = windows, k, tiles
    both = [((mr + 2) * mc, *lane, n) for n in (channels, layer.filters)]  # a and z
    both += [(layer.group * (mc + 2), *lane, n) for n in (channels, layer.filters)]  # v and m
    return pieces(*both, (mr * mc, *lane, layer.filters))


def record(tape, layer, x, out, scratch, strip):
    """Record a strip of all windows."""
    channels, _, width = layer.shape
    (mr, mc), b, filters = layer.tile, len(x.array), layer.filters
    points, tiles = mr + 2, -(-width // mc)
    first, k = strip.start, -(-(strip.stop - strip.start) // mr)
    a, z = (scratch.take(b, k, points, mc, tiles * n) for n in (channels, filters))
    buffers = [scratch.take(layer.group, mc + 2, b, k, tiles * n) for n in (channels, filters)]
    bt, _, at = _matrices(mr)
    _transform_rows(tape, bt, x.array[:, first - x.top :], a)
    for start in range(0, points, layer.group):
        v, m = (buffer[: points - start] for buffer in buffers)
        some = slice(start, start + len(v))
        _transform_columns(tape, mc, channels, a[:, :, some], v)
        _multiply(tape, layer, v, some, m)
        tape.matmul(_matrices(mc)[2], m.transpose(2, 3, 0, 1, 4), out=z[:, :, some])
    if out.layout == "tiled" and out.phases == mc and not layer.pool:
        _write_rows(tape, layer, at, z, first, out)
    else:
        y = scratch.take(b, k, mr, mc, tiles * filters)
        tape.matmul(at, z.swapaxes(2, 3), out=y.swapaxes(2, 3))
        finish(tape, layer, y.reshape(b, k * mr, mc, tiles, filters).swapaxes(1, 2), first, out)


def _transform_rows(tape, bt, x, a):
    """Record step 1: rows of a map (b, rows, mc, tiles, channels) -> a (b, k, points, mc, tiles * channels).

    Phase by phase: products with longer rows are half as fast once they leave the cache.
    """
    b, k, points, mc, lane = a.shape
    run = mc * lane
    for window in range(b):  # the rows under each row of tiles, of each phase
        tall = strided(x[window], (k, mc, points, lane), ((points - 2) * run, lane, run, 1))
        tape.matmul(bt, tall, out=a[window].swapaxes(1, 2))


def _transform_columns(tape, mc, channels, a, v):
    """Record step 2: a (b, k, points, mc, tiles * channels) -> v (points, mc + 2, b, k, tiles * channels)."""
    tape.matmul(_matrices(mc)[0][:, 1:-1], a, out=v.transpose(2, 3, 0, 1, 4))
    a = a.transpose(2, 0, 1, 3, 4)  # (points, b, k, mc, tiles * channels)
    if a.shape[-1] > channels:  # there is more than one tile: the columns 0 and mc + 1 belong to its neighbours
        tape.add(v[:, 0, ..., channels:], a[..., mc - 1, :-channels], out=v[:, 0, ..., channels:])
        tape.add(v[:, -1, ..., :-channels], a[..., 0, channels:], out=v[:, -1, ..., :-channels])


def _multiply(tape, layer, v, some, m):
    """Record step 3: v (points, mc + 2, b, k, tiles * channels) -> m (points, mc + 2, b, k, tiles * filters)."""
    weights, bias = layer.weights
    channels, filters, chunk = layer.shape[0], layer.filters, weights.shape[-1]
    v = v.reshape(*v.shape[:3], -1, channels)  # (points, mc + 2, b, lanes, channels)
    m = m.reshape(*m.shape[:3], -1, filters)
    for number, part in enumerate(weights[:, some]):  # (points, mc + 2, channels, chunk)
        tape.matmul(v, part[:, :, np.newaxis], out=m[..., number * chunk : (number + 1) * chunk])
    if some.start <= 1 < some.stop:  # a summand at the point (1, 1) reaches every pixel
        point = m[1 - some.start, 1].reshape(-1, filters)
        tape.add(point, bias, out=point)


def _write_rows(tape, layer, at_rows, z, first, out):
    """Record the last step straight into a map of the same phases: its rows lie as the products leave them."""
    b, k, points, mc, lane = z.shape
    rows = k * (points - 2)
    target = out.array[:, 1 + first : 1 + first + rows]  # (b, rows, mc, tiles, filters)
    _, height, width = layer.shape
    inside = target[:, : height - first]
    for window in range(b):
        pixels = target[window].reshape(k, points - 2, mc, lane)
        tape.matmul(at_rows, z[window].swapaxes(1, 2), out=pixels.swapaxes(1, 2))
    activate(tape, layer, inside, inside)
    tape.copy(0.0, out=target[:, height - first :]) if rows > height - first else None
    clear_columns(tape, target, width)
