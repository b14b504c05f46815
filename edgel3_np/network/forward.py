"""The forward pass: from log-mel spectrograms to embeddings, layer by layer, strip by strip."""

from contextlib import contextmanager
from copy import copy

import numpy as np

from . import winograd
from .columns import ColumnNetwork
from .maps import Arena, Scratch, embed_maxima, plain_map
from .rows import GAP, shift
from .running import Run
from .tape import Tape, execute, play

SPARE = 4  # workspaces that a network keeps
SCRATCH_FLOATS = 1 << 21  # floats of scratch that a strip may take for several windows
EXACT_FLOATS = 1 << 18  # of layers whose small tiles take more for each window: what stays in the cache


class Workspace:
    """The buffers of a forward pass, and the calls on them. One forward pass at a time may use it.

    A microbatch of windows goes through the layers together: each call does the work of all of them, and each weight is
    read once. Tapes are recorded when they are first needed.

    Parameters
    ----------
    network : Network
    windows : int > 0, optional
        Windows that go together, at most; by default `network.microbatch`.
    threads : int > 0
        Threads that share the strips of a layer: no more than there are strips.
    """

    def __init__(self, network, windows=None, threads=1):
        windows, layers, arena = windows or network.microbatch, network.layers, Arena()
        threads = useful_threads(network, threads)
        sizes = [layer.module.scratch_size(layer, _together(layer, windows)) for layer in layers]
        last, fused = layers[-1], network.fused
        self.network = copy(network)  # a copy has no spare workspaces: this one would be among them
        self.windows = windows
        self.log_mel = arena.zeros(windows, network.frontend.n_frames, network.frontend.n_mels).swapaxes(1, 2)
        self.embedding = arena.zeros(windows, network.dim)
        self.scratch = [Scratch(max(sizes), arena) for _ in range(threads)]
        self.strip_maps = [winograd.strip_map(layers[1], arena) if fused else None for _ in range(threads)]
        self.maps = [
            None if fused and number == 1 else layer.module.new_map(layer, windows, arena)
            for number, layer in enumerate(layers)
        ]
        self.maps.append(plain_map(windows, *last.shape[1:], last.filters, arena))
        self._tapes = {}

    def tapes(self, windows):
        """Return the tapes that take `log_mel` of so many windows to `embedding`: a list for each layer."""
        if windows not in self._tapes:
            some, layers = slice(windows), self.network.layers
            maps = [x and x.part(some) for x in self.maps]
            steps = [[_record_input(self.network, self.log_mel[some], maps[0])]]
            if self.network.fused:
                steps += [_record_fused(layers[:2], maps[0], maps[2], self.scratch, self.strip_maps)]
            for layer, x, out in list(zip(layers, maps, maps[1:]))[2 * self.network.fused :]:
                steps += [_record_layer(layer, x, out, self.scratch)]
            self._tapes[windows] = [*steps, [_record_embedding(self.network, maps[-1], self.embedding[some])]]
        return self._tapes[windows]


def new_workspace(network, windows=None, threads=1):
    """Return the workspace that a network needs: a `Workspace`, or the `Run` of a network for streams."""
    return Run(network) if isinstance(network, ColumnNetwork) else Workspace(network, windows, threads)


@contextmanager
def workspace(network, threads=1):
    """Yield a workspace that nothing else uses: a spare one of the network, or a new one.

    Some are kept, so that one window after the other costs no new memory; they end with the network.
    """
    try:
        work = network.spare.pop()  # one step: threads cannot get the same one
        if isinstance(work, Workspace) and len(work.scratch) != useful_threads(network, threads):
            network.spare.insert(0, work)
            work = new_workspace(network, threads=threads)
    except IndexError:
        work = new_workspace(network, threads=threads)
    yield work
    network.spare.append(work)  # after an error it is dropped, for what it holds may be half written
    del network.spare[:-SPARE]


def useful_threads(network, threads):
    """Return how many of the threads find a strip in some layer."""
    return threads if threads == 1 else min(threads, max(len(layer.module.strips(layer)) for layer in network.layers))


def _record_input(network, log_mel, x):
    """Record the batch norm of the input, and its way into the first map."""
    tape = Tape("input")
    if not network.exact:  # there it is one
        tape.multiply(log_mel, network.scale, out=log_mel)
    tape.add(log_mel, network.shift, out=log_mel)
    if x.layout == "shifted":
        b, n_mels, n_frames = log_mel.shape
        y = np.zeros((b, n_frames, 1, n_mels + GAP), np.float32)
        tape.copy(log_mel.swapaxes(1, 2), out=y[:, :, 0, :n_mels])
        shift(tape, y, x.array)
    else:
        for phase in range(x.phases):
            columns = log_mel[:, phase :: x.phases].swapaxes(1, 2)  # (b, n_frames, columns)
            tape.copy(columns, out=x.tiles[:, :, phase, : columns.shape[2], 0])
    return tape


def _record_layer(layer, x, out, scratch):
    """Record a layer: a tape for each thread, with the strips that it takes."""
    windows, tapes = len(x.array), [Tape(layer.name) for _ in scratch]
    together = _together(layer, windows)
    for index, strip in enumerate(layer.module.strips(layer)):
        thread = index % len(scratch)
        for window in range(0, windows, together):
            some = slice(window, window + together)
            scratch[thread].reset()
            layer.module.record(tapes[thread], layer, x.part(some), out.part(some), scratch[thread], strip)
    return [tape for tape in tapes if tape.calls]


def _together(layer, windows):
    """Return how many windows go through a strip together: of large layers fewer than a microbatch."""
    floats = EXACT_FLOATS if layer.exact else SCRATCH_FLOATS
    return min(windows, max(1, floats // max(1, layer.module.scratch_size(layer, 1))))


def _record_fused(layers, x, out, scratch, strip_maps):
    """Record two layers as one: what is between them exists only for one strip of one window, and stays in the cache.

    Each thread has a strip map. The first layer computes its rows, with those above and below, and the second layer its
    strip.
    """
    (first, second), height = layers, layers[1].shape[1]
    few = first.module.strips(first)[0].stop  # rows that its scratch suffices for
    tapes = [Tape(f"{first.name} and {second.name}") for _ in scratch]
    for index, strip in enumerate(second.module.strips(second)):
        thread = index % len(scratch)
        between = strip_maps[thread]._replace(top=strip.start - 1)
        rows = slice(max(0, strip.start - 1), min(height, strip.start - 1 + between.tiles.shape[1]))
        for window in range(len(x.array)):
            one = slice(window, window + 1)
            for outside in (slice(0, rows.start - between.top), slice(rows.stop - between.top, None)):
                tapes[thread].copy(0.0, out=between.tiles[:, outside])
            for start in range(rows.start, rows.stop, few):
                scratch[thread].reset()
                some = slice(start, min(start + few, rows.stop))
                first.module.record(tapes[thread], first, x.part(one), between, scratch[thread], some)
            scratch[thread].reset()
            second.module.record(tapes[thread], second, between, out.part(one), scratch[thread], strip)
    return [tape for tape in tapes if tape.calls]


def _record_embedding(network, last, embedding):
    """Record the maxima of the last map, (windows, height, width, filters), into `embedding` (windows, dim)."""
    (mel, time), (windows, _, width, filters) = network.pool_grid, last.array.shape
    tape = Tape("embedding")
    cells = np.empty((windows, time, width * filters), np.float32)
    maxima = np.empty((windows, time, mel, filters), np.float32)
    embed_maxima(tape, last, network.layers[-1].relu, network.pool_grid, cells, maxima)
    tape.copy(maxima.swapaxes(1, 2), out=embedding.reshape(windows, mel, time, filters))
    return tape


def forward(work, log_mel, apply=map):
    """Compute the embeddings of a batch of spectrograms.

    Every product and sum belongs to one window, and one window alone determines its shape. So an embedding has the same
    bytes in any batch, on any number of threads, with any BLAS that computes the same product the same way twice.

    Parameters
    ----------
    work : Workspace
    log_mel : np.ndarray [shape=(b, n_mels, n_frames), float32]
    apply : callable
        A function like `map`; it applies `execute` to the tapes of a layer.

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    embedding, start = np.empty((len(log_mel), work.network.dim), np.float32), 0
    while start < len(log_mel):
        windows = min(work.windows, 1 << (len(log_mel) - start).bit_length() - 1)  # few sizes, so few tapes
        work.log_mel[:windows] = log_mel[start : start + windows]
        with np.errstate(all="ignore"):  # of absurd weights; the caller checks the embeddings
            _play(work.tapes(windows), apply)
        embedding[start : start + windows] = work.embedding[:windows]
        start += windows
    return embedding


def _play(layers, apply):
    """Play the tapes of each layer, after those of the layer before."""
    for tapes in layers:
        if len(tapes) == 1:
            play(tapes[0])
        else:
            for _ in apply(execute, tapes):
                pass
