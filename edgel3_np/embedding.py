"""From audio to embeddings: the pipeline, block by block."""

from __future__ import annotations

import warnings
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import parallel
from .audio import open_audio
from .errors import EdgeL3Error, EdgeL3Warning
from .framing import hop_length, timestamps, windows
from .melspectrogram import melspectrogram
from .network import forward, workspace
from .resample import resample

if TYPE_CHECKING:  # NumPy 1.19 has no such module
    from numpy.typing import NDArray

# Windows in a piece of work: a few blocks, so that windows that overlap can share their frames; fewer where they lie
# far apart: the samples under a piece are held in memory
BLOCKS, SAMPLES = 2, 1 << 19


class Embedding(NamedTuple):
    """Embeddings of a recording, or of a part of it.

    Parameters
    ----------
    embedding : np.ndarray [shape=(t, dim), float32]
        One vector per window.
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds: the middle of each window if windows are centred, otherwise its start.
    """

    embedding: NDArray[np.float32]
    timestamps: NDArray[np.float64]


class Framing(NamedTuple):
    """How windows lie over a signal: checked, and in samples at the model's rate."""

    window: int
    hop: int
    hop_size: float  # seconds, as asked for
    front: int  # zeros before the signal
    batch: int  # windows computed at a time

    def timestamps(self, count, first=0):
        """Times of windows, seconds: shape (count,); see `framing.timestamps`."""
        return timestamps(count, self.hop, self.hop_size, self.window, first)


def framing_of(network, hop_size, center):
    """Check `hop_size` and `center` and return the `Framing` for a network."""
    if not isinstance(center, (bool, np.bool_)):
        raise EdgeL3Error(f"center: expected True or False, found {center!r}")
    window = network.frontend.sr
    hop = hop_length(hop_size, window)
    batch = max(1, min(BLOCKS * network.block, SAMPLES // hop))
    return Framing(window, hop, hop_size, window // 2 if center else 0, batch)


def embed_with(network, audio, sr=None, *, hop_size=0.1, center=True, threads=None):
    """Embed audio with a planned network; see `edgel3_np.embed`, which loads it first."""
    framing, seen = framing_of(network, hop_size, center), Seen()
    embedding = np.concatenate(list(embed_pieces(network, audio, sr, framing, threads, seen)))
    for remark in seen.remarks(framing.window):
        warnings.warn(remark, EdgeL3Warning, stacklevel=3)
    return Embedding(embedding, framing.timestamps(len(embedding)))


def embed_pieces(network, audio, sr, framing, threads, seen):
    """Embed audio piece by piece.

    Parameters
    ----------
    network : Network
    audio, sr, threads
        As for `edgel3_np.embed`.
    framing : Framing
    seen : Seen
        Told of the signal as it passes.

    Yields
    ------
    embedding : np.ndarray [shape=(b, dim), float32]
        In order. Whoever asks for the next one soon holds the BLAS to one thread no longer than needed.
    """
    spare = []  # workspaces not in use

    def embed_piece(numbered):
        index, piece = numbered
        work = spare.pop() if spare else workspace(network)
        embedding = embed_windows(network, piece, work, framing.hop, index * framing.batch)  # (b, dim)
        spare.append(work)
        return embedding

    with parallel.one_blas_thread() as active, open_audio(audio, sr) as (audio_sr, blocks):
        threads = parallel.check_threads(threads, active)
        pieces = windows_of(network, blocks, audio_sr, framing, seen)
        head = list(islice(pieces, 2))
        if len(head) == network.block == 1:  # no windows to share out: threads share the strips of each layer
            with parallel.spread(threads) as apply:
                yield embed_windows(network, head[0], workspace(network, threads), framing.hop, apply=apply)
        else:
            threads = threads if len(head) > 1 else 1
            yield from parallel.in_order(embed_piece, enumerate(chain(head, pieces)), threads)


def windows_of(network, blocks, sr, framing, seen):
    """Windows of a signal at any rate: pieces of shape (b, window), or None for each pause in `blocks`."""
    mono = seen.watch(resample(blocks, sr, network.frontend.sr))
    return windows(mono, framing.window, framing.hop, framing.front, framing.batch)


def embed_windows(network, piece, work, hop, first=0, apply=map):
    """Embeddings of windows `hop` samples apart, numbered from `first` on: (b, window) -> (b, dim)."""
    logmel = melspectrogram(piece, network.frontend, network.bands, hop)  # (b, n_mels, n_frames)
    embedding = forward(network, logmel, work, apply, first)
    if not np.isfinite(embedding).all():
        raise EdgeL3Error("model: expected finite embeddings, found overflow: its weights are no trained network's")
    return embedding


class Seen:
    """What has been seen of a signal that passes: how long it is, and whether there is any sound in it."""

    def __init__(self):
        self.samples, self.sound = 0, False

    def watch(self, blocks):
        """Pass the blocks through."""
        for block in blocks:
            if block is not None:
                self.samples += len(block)
                self.sound = self.sound or bool(block.any())
            yield block

    def remarks(self, window):
        """What to warn of at the signal's end: a list of texts. Raises `EdgeL3Error` if there was no sample at all."""
        if not self.samples:
            raise EdgeL3Error("audio: expected at least one sample, found none: nothing to embed", kind="empty")
        remarks = []
        if self.samples < window:
            remarks.append(f"audio: {self.samples / window:.3f} s are shorter than a window of 1 s; zeros were added")
        if not self.sound:
            remarks.append("audio: every sample is zero; silence was embedded")
        return remarks
