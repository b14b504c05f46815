"""From audio to embeddings: the steps of the pipeline, one after the other, batch by batch."""

from __future__ import annotations

import hashlib
import os
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._checks import check_bool, check_seconds
from .audio.framing import Framing, hop_length, whole_columns, windows
from .audio.reading import open_audio
from .audio.resample import resample
from .errors import EdgeL3Error
from .features.levels import level_spectrogram
from .features.log_mel import log_mel_spectrogram
from .network.columns import ColumnNetwork
from .network.forward import forward, workspace
from .network.running import embed_columns
from .network.threads import check_threads, in_order, one_blas_thread, spread

if TYPE_CHECKING:  # NumPy 1.19 has no such module
    from numpy.typing import NDArray

UNHEARD = 0.5  # share of the energy above the model's band; sentences have up to 0.1, birds and hisses 0.9
AUDIBLE = 1e-8  # mean square of samples: -80 dB; what is fainter is noise
BATCH_SAMPLES = 1 << 19  # samples under a batch, at most: they are in memory; fewer windows where they lie far apart


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

    def sha256(self) -> str:
        """Return the sha256 of the embedding's numbers: float32, little-endian, window by window.

        Of models of whole numbers, such as pico-64, it is the same on every machine.

        Examples
        --------
        >>> Embedding(np.zeros((1, 2), np.float32), np.zeros(1)).sha256()[:16]
        'af5570f5a1810b7a'
        """
        return hashlib.sha256(np.ascontiguousarray(self.embedding, "<f4").tobytes()).hexdigest()


def framing_for(network, hop_size, center):
    """Check `hop_size` and `center`, and return the `Framing` for a network."""
    window, hop_size = network.frontend.sr, check_seconds("hop_size", hop_size)
    hop = hop_length(hop_size, window)
    if isinstance(network, ColumnNetwork):
        hop = whole_columns(hop_size, network.column, window)
    batch = max(1, min(network.batch, BATCH_SAMPLES // hop))
    return Framing(window, hop, hop_size, window // 2 if check_bool("center", center) else 0, batch, *network.context)


def embed_audio(network, audio, sr=None, *, hop_size=0.1, center=True, threads=None):
    """Embed audio with a planned network; `edgel3_np.embed` describes the arguments.

    Returns
    -------
    embedding : Embedding
    remarks : list of str
        What is unusual about the audio. The caller warns.
    incomplete : bool
        Less or more was read than the headers of the audio promise.
    """
    framing, stats = framing_for(network, hop_size, center), SignalStats()
    embedding = np.concatenate(list(embedding_batches(network, audio, sr, framing, threads, stats)))
    remarks = stats.remarks(framing.window, name_of(audio))
    return Embedding(embedding, framing.timestamps(len(embedding))), remarks, bool(stats.missing)


def name_of(audio):
    """Return what messages call the audio: its path, or the name of an open file, if it has one."""
    name = audio if isinstance(audio, (str, os.PathLike)) else getattr(audio, "name", None)
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else "audio"


def embedding_batches(network, audio, sr, framing, threads, stats):
    """Embed audio batch by batch.

    Parameters
    ----------
    network : Network
    audio, sr, threads
        As for `edgel3_np.embed`.
    framing : Framing
    stats : SignalStats
        Gathers facts about the signal as it passes.

    Yields
    ------
    embedding : np.ndarray [shape=(b, dim), float32]
        In order. The BLAS stays at one thread until this generator is exhausted or closed.
    """

    def embed_batch(batch):
        with workspace(network) as work:
            return embed_windows(network, batch, work, framing.hop)  # (b, dim)

    with one_blas_thread() as active, open_audio(audio, sr, stats.notice) as (audio_sr, blocks):
        threads = check_threads(threads, active)
        batches = windows_of(network, blocks, audio_sr, framing, stats)
        head = list(islice(batches, 2))
        if len(head) == 1 and network.is_large:  # the threads share the strips of each layer
            with spread(threads) as apply, workspace(network, threads) as work:
                yield embed_windows(network, head[0], work, framing.hop, apply)
        else:
            yield from in_order(embed_batch, chain(head, batches), threads if len(head) > 1 else 1)


def windows_of(network, blocks, sr, framing, stats):
    """Cut a signal of any rate into windows with their context: yields (b, n), or None for each pause in `blocks`."""
    target = network.frontend.sr
    mono = stats.watch(resample(stats.arrive(blocks) if sr > target else blocks, sr, target, network.exact))
    return windows(mono, framing.window, framing.hop, framing.pad_left, framing.batch, framing.before, framing.after)


def embed_windows(network, batch, work, hop, apply=map, follows=False):
    """Embed windows that lie `hop` samples apart, with their context: (b, before + window + after) -> (b, dim).

    `follows` says that the windows come right behind the last ones that were computed with the same `work`. Then a
    network for streams computes nothing again.
    """
    if isinstance(network, ColumnNetwork):
        return check_finite(embed_columns(work, batch, hop, follows))
    features = spectrogram(network)(batch, network.frontend, network.bands, hop)  # (b, n_mels, n_frames)
    return check_finite(forward(work, features, apply))


def spectrogram(network):
    """Return the function that computes a network's input."""
    return level_spectrogram if network.exact else log_mel_spectrogram


def check_finite(embedding):
    """Return embeddings, or raise `EdgeL3Error` if they are not finite."""
    if not np.isfinite(embedding).all():
        raise EdgeL3Error("model: expected finite embeddings, found overflow: the weights look corrupt or untrained")
    return embedding


class SignalStats:
    """Facts about a signal, gathered as it passes: its length, whether there is sound in it, and what is missing."""

    def __init__(self):
        self.samples, self.sound, self.missing, self.others = 0, False, [], []
        self.arrived, self.energy, self.kept = 0, 0.0, 0.0  # before the rate is reduced: samples, energy; energy after

    def arrive(self, blocks):
        """Pass the blocks through before their rate is reduced to the model's."""
        for block in blocks:
            if block is not None:
                self.arrived, self.energy = self.arrived + len(block), self.energy + float(block @ block)
            yield block

    def notice(self, text, incomplete):
        """Take what the reader says about the source: that something is missing, or something else."""
        (self.missing if incomplete else self.others).append(text)

    def watch(self, blocks):
        """Pass the blocks through."""
        for block in blocks:
            if block is not None:
                self.samples += len(block)
                energy = float(block @ block)
                self.sound, self.kept = self.sound or energy > 0.0 or bool(block.any()), self.kept + energy
            yield block

    def remarks(self, window, name=""):
        """Return what is unusual about the whole signal: a list of texts, which begin with the name, if there is one.

        Raises
        ------
        EdgeL3Error
            There are no samples.
        """
        if not self.samples:
            found = "; ".join(["none: nothing to embed", *self.missing])
            raise EdgeL3Error(f"{name or 'audio'}: expected at least one sample, found {found}", kind="empty")
        remarks = self.missing + self.others
        if self.samples < window:
            remarks.append(f"{self.samples / window:.3f} s are shorter than a window of 1 s; zeros were added")
        if not self.sound:
            remarks.append("every sample is zero; silence was embedded")
        before, after = (energy / max(1, n) for energy, n in ((self.energy, self.arrived), (self.kept, self.samples)))
        if before - after > max(UNHEARD * before, AUDIBLE):
            above = f"{1 - after / before:.0%} of its energy lies above {window / 2000:g} kHz"
            remarks.append(f"{above}, which this model does not hear; see `edgel3-np models` for others")
        return [f"{name}: {remark}" if name else remark for remark in remarks]
