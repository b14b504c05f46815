"""The forward pass: from log-mel spectrograms to embeddings, layer by layer, strip by strip."""

import numpy as np

from .maps import Scratch, embed_maxima, plain_map, zeros
from .rows import GAP, shift
from .tape import Tape, execute


class Workspace:
    """The buffers of a forward pass, and the calls on them. One forward pass at a time may use it.

    Layers before `network.late` go window by window, so that their maps stay in the cache. The others take up to
    `network.microbatch` windows at once, so that each weight is read once for all of them. Tapes are recorded when they
    are first needed.

    Parameters
    ----------
    network : Network
    threads : int > 0
        Threads that share the strips of a layer.
    """

    def __init__(self, network, threads=1):
        layers, late, windows = network.layers, network.late, network.microbatch
        counts = [1 if number < late else windows for number in range(len(layers))]
        sizes = [layer.module.scratch_size(layer, count) for layer, count in zip(layers, counts)]
        last = layers[-1]
        self.network = network
        self.maps = [layer.module.new_map(layer, count) for layer, count in zip(layers, counts)]
        self.maps.append(plain_map(windows, *last.shape[1:], last.filters))
        self.scratch = [Scratch(max(sizes)) for _ in range(threads)]
        self.log_mel = zeros(1, network.frontend.n_mels, network.frontend.n_frames)
        self.embedding = np.empty((windows, network.dim), np.float32)
        self._early, self._late = {}, {}

    def early(self, window):
        """Return the tapes that take `log_mel` to the place of a window in the first late map, layer by layer."""
        if window not in self._early:
            maps = [*self.maps[: self.network.late], self.maps[self.network.late].part(slice(window, window + 1))]
            tapes = [_record_layer(*step, self.scratch) for step in zip(self.network.layers, maps, maps[1:])]
            self._early[window] = [[_record_input(self.network, self.log_mel, maps[0])], *tapes]
        return self._early[window]

    def late(self, windows):
        """Return the tapes that take the first so many places of the first late map to `embedding`, layer by layer."""
        if windows not in self._late:
            late, part = self.network.late, slice(windows)
            maps = [x.part(part) for x in self.maps[late:]]
            tapes = [_record_layer(*step, self.scratch) for step in zip(self.network.layers[late:], maps, maps[1:])]
            self._late[windows] = [*tapes, [_record_embedding(self.network, maps[-1], self.embedding[part])]]
        return self._late[windows]


def _record_input(network, log_mel, x):
    """Record the batch norm of the input, and its way into the first map."""
    tape = Tape("input")
    tape.multiply(log_mel, network.scale, out=log_mel)
    tape.add(log_mel, network.shift, out=log_mel)
    if x.layout == "shifted":
        b, n_mels, n_frames = log_mel.shape
        y = zeros(b, n_frames, 1, n_mels + GAP)
        tape.copy(log_mel.swapaxes(1, 2), out=y[:, :, 0, :n_mels])
        shift(tape, y, x.array)
    else:
        for phase in range(x.phases):
            columns = log_mel[:, phase :: x.phases].swapaxes(1, 2)  # (1, n_frames, columns)
            tape.copy(columns, out=x.tiles[:, :, phase, : columns.shape[2], 0])
    return tape


def _record_layer(layer, x, out, scratch):
    """Record a layer: a tape for each thread, with the strips that it takes."""
    tapes = [Tape(layer.name) for _ in scratch]
    for index, first in enumerate(layer.module.strip_starts(layer)):
        thread = index % len(scratch)
        scratch[thread].reset()
        layer.module.record(tapes[thread], layer, x, out, scratch[thread], first)
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
        windows = work.network.microbatch if start + work.network.microbatch <= len(log_mel) else 1
        for window in range(windows):
            work.log_mel[0] = log_mel[start + window]
            _execute(work.early(window), apply)
        _execute(work.late(windows), apply)
        embedding[start : start + windows] = work.embedding[:windows]
        start += windows
    return embedding


def _execute(layers, apply):
    """Execute the tapes of each layer, after those of the layer before."""
    for tapes in layers:
        if len(tapes) == 1:
            execute(tapes[0])
        else:
            for _ in apply(execute, tapes):
                pass
