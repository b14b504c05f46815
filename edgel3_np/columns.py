"""Columns of a picture, gathered from a stream: bounded, however long it is."""

from collections import deque
from itertools import chain

import numpy as np

from .embedding import Seen
from .framing import windows
from .melspectrogram import levels

COLUMNS = 2000  # at most; even
WINDOWS = 4  # of the spectrogram, computed at a time


class Columns:
    """Columns of a picture: items put together, `size` to each, twice as many whenever there are too many columns."""

    def __init__(self, combine, empty):
        self.combine, self.empty, self.size, self.count, self.columns = combine, empty, 1, 0, None

    def add(self, items):
        """Take more items: (n, ...)."""
        if self.columns is None:
            self.columns = np.full((COLUMNS, *items.shape[1:]), self.empty, np.float32)
        while len(items):
            if self.count == COLUMNS * self.size:
                self.columns[: COLUMNS // 2] = self.combine(self.columns[::2], self.columns[1::2])
                self.columns[COLUMNS // 2 :] = self.empty
                self.size *= 2
            some, items = np.split(items, [COLUMNS * self.size - self.count])
            column = np.arange(self.count, self.count + len(some)) // self.size
            starts = np.flatnonzero(np.diff(column, prepend=-1))
            places = column[starts]
            self.columns[places] = self.combine(self.columns[places], self.combine.reduceat(some, starts, axis=0))
            self.count += len(some)

    def result(self):
        """The columns: (n, ...), float32."""
        return self.columns[: -(-self.count // self.size)]

    def mean(self):
        """Their means, if they were added up: (n, ...)."""
        columns = self.result()
        counts = np.full(len(columns), float(self.size), np.float32)
        counts[-1] = self.count - (len(columns) - 1) * self.size
        return columns / counts.reshape(-1, *[1] * (columns.ndim - 1))


class Signal:
    """What the picture needs of a signal at the model's rate, gathered as it passes."""

    def __init__(self, network):
        self.frontend, self.bands, self.seen = network.frontend, network.bands, Seen()
        self.remarks = self.seen.remarks
        self.lowest, self.highest = Columns(np.minimum, np.inf), Columns(np.maximum, -np.inf)
        self.level = Columns(np.add, 0.0)  # of frames, (n_mels,) each

    def watch(self, blocks):
        """Pass the blocks through."""
        queue = deque()
        frames = self._frames(queue)
        for block in chain(self.seen.watch(blocks), [None]):
            last = block is None  # a recording has no pauses: this is its end
            if not last:
                self.lowest.add(block)
                self.highest.add(block)
            queue.append(np.zeros(self.frontend.sr) if last else block)
            for part in frames:
                if part is None:
                    break
                self.level.add(part[: -(-self.seen.samples // self.frontend.hop_length) - self.level.count])
            if not last:
                yield block

    def _frames(self, queue):
        """Levels of frames of the whole signal, one a hop, frame k centred on hop k: (n, n_mels), or None for now."""
        sr, n_fft, hop, n_mels = self.frontend[:4]
        first, last = self.frontend.inner  # frames at a window's ends have zeros in them: windows overlap without these
        if last <= first:
            first, last = 0, self.frontend.n_frames
        before = first * hop - self.frontend.front + n_fft // 2 - hop // 2

        def arrivals():
            while True:
                yield queue.popleft() if queue else None

        for piece in windows(arrivals(), sr, (last - first) * hop, before, WINDOWS):
            if piece is None:
                yield None
            else:
                yield levels(piece, self.frontend, self.bands)[:, first:last].reshape(-1, n_mels)
