"""Reduce a signal of any length to a bounded number of bins in time, as it arrives."""

from collections import deque
from itertools import chain

import numpy as np

from ..audio.framing import windows
from ..features.log_mel import mel_level
from ..pipeline import SignalStats

MAX_BINS = 2000  # even
BATCH = 4  # windows whose spectra are computed at once


class TimeBins:
    """Items in order of time, reduced to at most `MAX_BINS` bins of equally many items.

    Whenever the bins are full, neighbours are merged in pairs, and each bin takes twice as many items from then on.

    Parameters
    ----------
    ufunc : np.ufunc
        Combines the items of a bin: `np.add`, `np.minimum` or `np.maximum`.
    identity : float
        Its identity, such as 0 for `np.add`.

    Attributes
    ----------
    count : int
        Items so far.
    items_per_bin : int
        A power of two.
    """

    def __init__(self, ufunc, identity):
        self.ufunc, self.identity = ufunc, identity
        self.count, self.items_per_bin, self._bins = 0, 1, None

    def add(self, items):
        """Take more items.

        Parameters
        ----------
        items : np.ndarray [shape=(n, ...)]
        """
        if self._bins is None:
            self._bins = np.full((MAX_BINS, *items.shape[1:]), self.identity, np.float32)
        while len(items):
            if self.count == MAX_BINS * self.items_per_bin:
                self._merge_pairs()
            now, items = np.split(items, [MAX_BINS * self.items_per_bin - self.count])
            numbers = np.arange(self.count, self.count + len(now), dtype=np.int64) // self.items_per_bin  # bin of each
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))  # first item of each bin
            bins = numbers[starts]
            self._bins[bins] = self.ufunc(self._bins[bins], self.ufunc.reduceat(now, starts, axis=0))
            self.count += len(now)

    def _merge_pairs(self):
        half = MAX_BINS // 2
        self._bins[:half] = self.ufunc(self._bins[::2], self._bins[1::2])
        self._bins[half:] = self.identity
        self.items_per_bin *= 2

    def result(self):
        """Return the bins.

        Returns
        -------
        bins : np.ndarray [shape=(n_bins, ...), float32]
            Each is the combination of its items; the last may hold fewer of them than the others.
        """
        return self._bins[: -(-self.count // self.items_per_bin)]

    def mean(self):
        """Return the mean of each bin's items, if the ufunc is `np.add`: shape (n_bins, ...), float32."""
        bins = self.result()
        counts = np.full(len(bins), float(self.items_per_bin), np.float32)
        counts[-1] = self.count - (len(bins) - 1) * self.items_per_bin
        return bins / counts.reshape(-1, *[1] * (bins.ndim - 1))


class SignalBins:
    """Extremes and mel levels of a signal at the model's rate, gathered while it passes through the pipeline.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    stats : SignalStats
    lowest, highest : TimeBins
        Of the samples.
    level : TimeBins
        Sums over frames of the mel level, (n_mels,) each: frame k is centred on sample `k * hop_length`.
    """

    def __init__(self, network):
        self.frontend, self.bands, self.stats = network.frontend, network.bands, SignalStats()
        self.remarks, self.notice, self.arrive = self.stats.remarks, self.stats.notice, self.stats.arrive
        self.lowest, self.highest = TimeBins(np.minimum, np.inf), TimeBins(np.maximum, -np.inf)
        self.level = TimeBins(np.add, 0.0)

    def watch(self, blocks):
        """Yield the blocks of a recording, which has no pauses, as they are."""
        queue = deque()
        batches = self._mel_levels(queue)
        for block in chain(self.stats.watch(blocks), [None]):
            ended = block is None
            if not ended:
                self.lowest.add(block)
                self.highest.add(block)
            queue.append(np.zeros(self.frontend.sr) if ended else block)  # the last frames reach beyond the end
            for levels in batches:
                if levels is None:
                    break
                n_frames = -(-self.stats.samples // self.frontend.hop_length)
                self.level.add(levels[: n_frames - self.level.count])
            if not ended:
                yield block

    def _mel_levels(self, queue):
        """Yield mel levels of the frames of the whole signal: (n, n_mels), or None while the queue is empty."""
        sr, n_fft, hop_length, n_mels = self.frontend[:4]
        # Frames that reach over an end of their window contain zeros: windows overlap so that none of those is needed.
        first, last = self.frontend.whole_frames
        if last <= first:
            first, last = 0, self.frontend.n_frames
        pad_left = first * hop_length - self.frontend.pad_left + n_fft // 2 - hop_length // 2

        def arrivals():
            while True:
                yield queue.popleft() if queue else None

        for batch in windows(arrivals(), sr, (last - first) * hop_length, pad_left, BATCH):
            if batch is None:
                yield None
            else:
                yield mel_level(batch, self.frontend, self.bands)[:, first:last].reshape(-1, n_mels)
