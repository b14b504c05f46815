"""The interface of HEAR 2021 (Holistic Evaluation of Audio Representations), for its validator and its tasks.

    hear-validator edgel3_np.hear

Needs PyTorch (extra `hear`), which only carries the tensors: the embeddings are computed in NumPy, on the CPU, without
gradients. The rules are those of https://hearbenchmark.com/hear-api.html.
"""

import numpy as np

from . import models
from .errors import EdgeL3Error
from .locate import DEFAULT

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)  # Hz: those in which HEAR's recordings come
HOP, SCENE_HOP = 0.05, 0.1  # seconds; HEAR suggests at most 0.05 for timestamps


def load_model(model_file_path=""):
    """Load a model.

    Parameters
    ----------
    model_file_path : str
        A model's name or the path of a weight file; by default pico-64.

    Returns
    -------
    model : torch.nn.Module
        Without parameters. Its `sample_rate` (Hz) is the smallest of HEAR's that has all that the model hears: 16000
        for models of 8 kHz, 48000 for those of 48 kHz; what is given at it is resampled. `scene_embedding_size` and
        `timestamp_embedding_size` are the model's length of an embedding.

    Raises
    ------
    EdgeL3Error
        There is no such model, or it is not valid.
    """
    import torch

    model = torch.nn.Module()
    model.wrapped = models.load_model(model_file_path or DEFAULT)
    model.sample_rate = next((sr for sr in SAMPLE_RATES if sr >= model.wrapped.sr), SAMPLE_RATES[-1])
    model.scene_embedding_size = model.timestamp_embedding_size = model.wrapped.dim
    return model


def get_scene_embeddings(audio, model):
    """One embedding for each sound: the mean over its windows, one every 0.1 s.

    Parameters
    ----------
    audio : torch.Tensor [shape=(n_sounds, n_samples), floating point]
        Within -1 and 1, at `model.sample_rate`.
    model : torch.nn.Module
        From `load_model`.

    Returns
    -------
    embeddings : torch.Tensor [shape=(n_sounds, dim), float32]
        On the device of `audio`.

    Raises
    ------
    EdgeL3Error
        The sounds are not as described.
    """
    means = [
        model.wrapped.embed(sound, model.sample_rate, hop_size=SCENE_HOP).embedding.mean(axis=0, dtype=np.float64)
        for sound in _sounds(audio)
    ]
    return _tensor(means, audio)


def get_timestamp_embeddings(audio, model):
    """Embeddings of each sound, one every 50 ms from its start to its end, each of the second around its timestamp.

    Parameters
    ----------
    audio, model
        As for `get_scene_embeddings`.

    Returns
    -------
    embeddings : torch.Tensor [shape=(n_sounds, n_timestamps, dim), float32]
        On the device of `audio`.
    timestamps : torch.Tensor [shape=(n_sounds, n_timestamps), float32]
        Milliseconds: 0, 50, 100 ..., the same for every sound.

    Raises
    ------
    EdgeL3Error
        The sounds are not as described.
    """
    rows, seconds = [], None
    for sound in _sounds(audio):
        n, sr = len(sound), model.sample_rate
        # windows end with the signal: half a second of zeros more, and they are centred on its last moments too
        padded = np.pad(sound, (0, max(sr // 2, sr - n)))
        embedding, timestamps = model.wrapped.embed(padded, sr, hop_size=HOP)
        inside = timestamps <= n / sr + 1e-9
        rows.append(embedding[inside])
        seconds = timestamps[inside]
    return _tensor(rows, audio), _tensor([1000 * seconds] * len(rows), audio)


def _sounds(audio):
    """Rows of a tensor: (n_sounds, n_samples), float32."""
    import torch

    if not isinstance(audio, torch.Tensor) or audio.ndim != 2 or 0 in audio.shape or not audio.is_floating_point():
        shape, kind = getattr(audio, "shape", "no shape"), getattr(audio, "dtype", type(audio).__name__)
        raise EdgeL3Error(
            "audio: expected a floating-point torch.Tensor of shape (n_sounds, n_samples), at least 1 x 1, found "
            f"{kind}, {shape}"
        )
    return audio.detach().to("cpu", torch.float32).numpy()


def _tensor(rows, audio):
    import torch

    return torch.from_numpy(np.stack(rows).astype(np.float32)).to(audio.device)
