"""From audio to embeddings: the pipeline, block by block."""

import warnings
from typing import NamedTuple

import numpy as np

from . import parallel
from .audio import open_audio
from .errors import EdgeL3Error, EdgeL3Warning
from .framing import hop_length, timestamps, windows
from .melspectrogram import melspectrogram
from .network import forward, workspace
from .resample import resample

BATCH_SAMPLES = 1 << 17  # samples in, and under, a batch of windows, about: bounds memory at any length of audio


class Embedding(NamedTuple):
    """Embeddings of a recording.

    Parameters
    ----------
    embedding : np.ndarray [shape=(t, dim), float32]
        One vector per window.
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds: the middle of each window if windows are centred, otherwise its start.
    """

    embedding: np.ndarray
    timestamps: np.ndarray


def embed_with(network, audio, sr=None, *, hop_size=0.1, center=True, threads=None):
    """Embed audio with a planned network; see `edgel3_np.embed`, which loads it first."""
    if not isinstance(center, (bool, np.bool_)):
        raise EdgeL3Error(f"center: expected True or False, found {center!r}")
    rate = network.frontend.sr
    window, hop, front = rate, hop_length(hop_size, rate), rate // 2 if center else 0
    batch = max(1, BATCH_SAMPLES // max(window, hop))
    seen, spare = {"samples": 0, "sound": False}, []  # spare: workspaces not in use

    def embed_piece(piece):
        work = spare.pop() if spare else workspace(network)
        logmel = melspectrogram(piece, network.frontend, network.mel)  # (b, n_mels, n_frames)
        embedding = forward(network, logmel, work)  # (b, dim)
        spare.append(work)
        return embedding

    with parallel.one_blas_thread() as active, open_audio(audio, sr) as (audio_sr, blocks):
        threads = parallel.check_threads(threads, active)
        mono = _watch(resample(blocks, audio_sr, rate), seen)
        parts = list(parallel.in_order(embed_piece, windows(mono, window, hop, front, batch), threads))
    if not seen["samples"]:
        raise EdgeL3Error("audio: expected at least one sample, found none: nothing to embed")
    if seen["samples"] < window:
        _warn(f"audio: {seen['samples'] / rate:.3f} s are shorter than a window of 1 s; zeros were added")
    if not seen["sound"]:
        _warn("audio: every sample is zero; silence was embedded")
    embedding = np.concatenate(parts)
    if not np.isfinite(embedding).all():
        raise EdgeL3Error("model: expected finite embeddings, found overflow: its weights are no trained network's")
    return Embedding(embedding, timestamps(len(embedding), hop, hop_size, rate))


def _watch(blocks, seen):
    """Pass blocks through, noting how long the signal is and whether there is any."""
    for block in blocks:
        seen["samples"] += len(block)
        seen["sound"] = seen["sound"] or bool(block.any())
        yield block


def _warn(message):
    warnings.warn(message, EdgeL3Warning, stacklevel=4)
