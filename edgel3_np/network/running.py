"""The forward pass of a network for streams: each column of a stream goes through the trunk once.

A map begins with the last two rows of the stream so far, its tail, and what comes next is written behind them. So an
algorithm that takes a row above a map and a row below it computes a layer without knowing, and what comes out is late
by a row: the row above the first was in the tail, and the row below the last comes next time. The four layers of frames
are late by four frames in all; the maxima over the five frames of a column wait for the fifth. Two layers of columns
follow that are late by a column each. So the features of a column are there when the third column behind it has come.

The head goes over the ten columns of a window, with zeros around them. What features add to the sums of its first layer
is the same in all windows, and is computed once a column.

Every sum is exact, so no byte depends on how many columns come together.
"""

from copy import copy
from dataclasses import replace

import numpy as np

from ..features import columns as features
from ..features.columns import COLUMNS, FRAMES
from ..weights.columns import TRUNK
from .columns import BEFORE, BY_ROW, CONTEXT, LATE
from .maps import Arena, Map, Scratch, activate, strided
from .rows import GAP, shift
from .tape import Tape, play

PIECE, PIECE_FLOATS = 32, 1 << 20  # columns that go through the trunk together; floats of their largest map: the cache
MOST = 64  # columns in which windows end that are computed together
TAIL = 2  # rows of a map that came before


class Run:
    """The buffers of a forward pass, the calls on them, and what is remembered of the stream so far.

    Parameters
    ----------
    network : ColumnNetwork
    """

    def __init__(self, network):
        self.piece = piece = _columns_together(network.layers[:TRUNK])
        arena, layers = Arena(), [_times(layer, piece) for layer in network.layers[:TRUNK]]
        layers += [_times(layer, MOST) for layer in network.layers[TRUNK:]]
        self.network = copy(network)  # a copy has no spare workspaces: this one would be among them
        self.scratch = Scratch(max(layer.module.scratch_size(layer, 1) for layer in layers), arena)
        self.maps = [layer.module.new_map(layer, 1, arena).array for layer in layers]
        (_, frames, bands), after, last = layers[0].shape, layers[BY_ROW].shape, layers[TRUNK - 1]
        first, end = layers[TRUNK], layers[-1]
        self.input = arena.zeros(1, frames, 1, bands + GAP)
        self.frames = arena.zeros(1, 1 + frames, after[0], after[2])  # what comes before the maxima of columns
        self.columns = arena.zeros(piece, after[0], after[2])
        self.last = arena.zeros(1, piece, last.shape[2], last.filters)
        self.found = arena.zeros(piece, last.filters)  # features
        self.features = arena.zeros(MOST + COLUMNS, last.filters)  # of the columns of windows
        self.taps = arena.zeros(MOST + COLUMNS, 3, first.filters)
        self.sums = arena.zeros(1, MOST, COLUMNS, first.filters)
        self.end = arena.zeros(1, MOST, COLUMNS, end.filters)
        self.embedding = arena.zeros(MOST, end.filters)
        self._trunk, self._head = {}, {}
        self.forget()

    def forget(self):
        """Begin another stream. Maps keep their tails, which the first windows are too far behind to see."""
        self.heard, self.known = features.NOTHING, np.empty((0, self.found.shape[1]), np.float32)

    def trunk(self, levels):
        """Return the features of columns, from the third before the new ones on.

        Parameters
        ----------
        levels : np.ndarray [shape=(5 * n, n_mels), float32]
            Of new columns.

        Returns
        -------
        features : np.ndarray [shape=(n, features), float32]
        """
        parts, start, count = [], 0, len(levels) // FRAMES
        while start < count:
            n = min(self.piece, 1 << (count - start).bit_length() - 1)  # few sizes, so few tapes
            self.input[0, : n * FRAMES, 0, :-GAP] = levels[start * FRAMES : (start + n) * FRAMES]
            if n not in self._trunk:
                self._trunk[n] = record_trunk(self, n)
            for tape in self._trunk[n]:
                play(tape)
            parts.append(self.found[:n].copy())
            start += n
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def head(self, known, rows, step):
        """Return the embeddings of windows.

        Parameters
        ----------
        known : np.ndarray [shape=(10 + (b - 1) * step, features), float32]
            Features of their columns.
        rows : np.ndarray [shape=(b, 10, 2), float32]
            The levels of columns relative to those of windows.
        step : int > 0
            Columns between windows.

        Returns
        -------
        embedding : np.ndarray [shape=(b, dim), float32]
        """
        key = len(rows), step if len(rows) > 1 else 1
        if key not in self._head:
            self._head[key] = record_head(self, *key)
        self.features[: len(known)] = known
        self.maps[TRUNK][0, : len(rows), 1:-1] = rows
        for tape in self._head[key]:
            play(tape)
        return self.embedding[: len(rows)]


def _columns_together(trunk):
    """Return how many columns go through a trunk together: a power of two."""
    floats = max(np.prod(layer.shape) * layer.reach[0] * layer.reach[1] for layer in trunk)
    return min(PIECE, 1 << max(0, int(PIECE_FLOATS // floats).bit_length() - 1))


def _times(layer, n):
    """Return a layer for `n` columns, or windows in the head."""
    channels, rows, width = layer.shape
    return replace(layer, shape=(channels, n * rows, width))


def record_trunk(run, n):
    """Record the trunk for `n` columns, from `run.input` to `run.found`: a tape for each layer."""
    tape = Tape("input")
    shift(tape, run.input[:, : n * FRAMES], run.maps[0][:, 1 : TAIL + n * FRAMES])
    tapes = [tape]
    for index, (layer, array) in enumerate(zip(run.network.layers[:TRUNK], run.maps)):
        layer, tape = _times(layer, n), Tape(layer.name)
        rows, tail = layer.shape[1], layer.reach[0] - 1
        x, out = Map("", array[:, : rows + tail], None), _after(run, index, n)
        run.scratch.reset()
        layer.module.record(tape, layer, x, out, run.scratch, slice(0, rows))
        if tail:
            tape.copy(array[:, rows : rows + tail], out=array[:, :tail])
        if index == BY_ROW - 1:
            _record_columns(tape, run, n)
        tapes.append(tape)
    tape.max(run.last[0, :n], 1, out=run.found[:n])
    return tapes


def _after(run, index, n):
    """Return the map that a layer of the trunk writes `n` columns into."""
    frames = n * FRAMES
    if index < BY_ROW - 1:
        return Map("shifted", run.maps[index + 1][:, 1 : TAIL + frames], None)
    if index == BY_ROW - 1:
        return Map("channels", run.frames[:, 1 : 1 + frames], None)
    if index == TRUNK - 1:
        return Map("plain", run.last, run.last[:, :n, np.newaxis])
    return Map("padded", run.maps[index + 1], _inside(run, index + 1, n))


def _inside(run, index, n):
    """Return where the new rows of a map lie that has channels side by side: (1, n, 1, width, channels)."""
    tail = run.network.layers[index].reach[0] - 1
    return run.maps[index][:, tail : tail + n, np.newaxis, 1:-1]


def _record_columns(tape, run, n):
    """Record the maxima over the frames of columns. The first frame of the last column waits for the others."""
    frames, columns = run.frames, run.columns[:n]
    tape.max(frames[0, : n * FRAMES].reshape(n, FRAMES, -1), 1, out=columns.reshape(n, -1))
    tape.copy(columns.swapaxes(1, 2), out=_inside(run, BY_ROW, n)[0, :, 0])
    tape.copy(frames[:, n * FRAMES], out=frames[:, 0])


def record_head(run, b, step):
    """Record the head for `b` windows that are `step` columns apart, from `run.features` to `run.embedding`."""
    layers, tapes = run.network.layers[TRUNK:], []
    for index, layer in enumerate(layers, TRUNK):
        tape, x = Tape(layer.name), Map("padded", run.maps[index][:, :b], None)
        out = run.end[:, :b, np.newaxis] if layer is layers[-1] else _inside(run, index + 1, b)
        run.scratch.reset()
        if index == TRUNK:
            _record_first(tape, run, layer, x, out, step)
        else:
            layer.module.record(tape, _times(layer, b), x, Map("padded", run.maps[index], out), run.scratch, None)
        tapes.append(tape)
    tapes[-1].max(run.end[0, :b], 1, out=run.embedding[:b])
    return tapes


def _record_first(tape, run, layer, x, out, step):
    """Record the first layer of the head: products with rows of levels, and those of features, wherever they are."""
    b = len(x.array[0])
    sums, count, row = run.sums[:, :b], COLUMNS + (b - 1) * step, 3 * layer.filters
    plain = replace(_times(layer, b), levels=False, relu=False, affine=None)
    layer.module.record(tape, plain, x, Map("plain", sums, sums[:, :, np.newaxis]), run.scratch, None)
    tape.matmul(run.features[:count], run.network.taps, out=run.taps[:count].reshape(count, row))
    shape, strides = (1, b, COLUMNS, layer.filters), (0, step * row, row, 1)
    before, here, after = (strided(run.taps[:, tap], shape, strides) for tap in range(3))
    tape.add(sums, here, out=sums)
    tape.add(sums[:, :, 1:], before[:, :, :-1], out=sums[:, :, 1:])
    tape.add(sums[:, :, :-1], after[:, :, 1:], out=sums[:, :, :-1])
    activate(tape, layer, sums, out[:, :, 0])


def embed_columns(run, windows, hop, follows=False):
    """Compute the embeddings of windows of a stream.

    Parameters
    ----------
    run : Run
    windows : np.ndarray [shape=(b, n), float64]
        A view of one signal: each row is a window with its context, `hop` samples behind the one before.
    hop : int > 0
        A multiple of the samples of a column.
    follows : bool
        The first window is the one behind the last that this `run` computed.

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    step = hop // run.network.column
    apart = step >= CONTEXT  # windows have no column in common, and others may lie between
    few, embedding = 1 if apart else MOST // step, np.empty((len(windows), run.network.dim), np.float32)
    for first in range(0, len(windows), few):
        part = slice(first, first + few)
        embedding[part] = _embed(run, windows[part], step, not apart and (follows or first > 0))
    return embedding


def _embed(run, windows, step, follows):
    """Compute the embeddings of few windows."""
    network, b = run.network, len(windows)
    (n_fft, length), column, bands = network.frontend[1:3], network.column, network.bands
    if not follows:
        run.forget()
    count, known = CONTEXT + (b - 1) * step, CONTEXT - step if follows else 0  # columns: all, and those of before
    samples, margin = count * column + n_fft - length, (n_fft - length) // 2
    signal = windows[0] if b == 1 else strided(windows, (samples,), (1,))
    before = run.heard[:, run.heard.shape[1] - known :]
    levels, run.heard = features.hear(signal, before, network.frontend, bands)
    run.known = np.concatenate([run.known, run.trunk(levels)])[-(COLUMNS + (b - 1) * step) :]
    ends = np.arange(BEFORE + COLUMNS - 1, count - LATE, step)
    rows = features.distances(signal, run.heard, ends, network.frontend, bands)
    embedding = run.head(run.known, rows, step)
    own = signal[BEFORE * column + margin :][: len(run.known) * column]
    sounding = own.reshape(-1, column).any(axis=1)
    if not sounding.all():
        silent = ~strided(sounding, (b, COLUMNS), (step, 1)).any(axis=1)
        embedding[silent] = network.silence
    return embedding
