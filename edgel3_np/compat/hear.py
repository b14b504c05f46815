"""The interface of HEAR 2021 (Holistic Evaluation of Audio Representations), for its validator and its tasks.

    hear-validator edgel3_np.hear

Needs PyTorch (extra `hear`) for its tensors only: NumPy computes the embeddings, on the CPU and without gradients. The
rules are those of https://hearbenchmark.com/hear-api.html.
"""

import numpy as np

from .. import model as engine
from ..errors import EdgeL3Error
from ..network.columns import ColumnNetwork
from ..weights.registry import DEFAULT
from .shared import embed_recording

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)  # Hz, of HEAR's recordings
HOP, SCENE_HOP = 0.05, 0.1  # seconds; HEAR recommends at most 0.05 for timestamps


def load_model(model_file_path=""):
    """Load a model.

    Parameters
    ----------
    model_file_path : str
        Name of a model, or path of a weight file; by default pico-64.

    Returns
    -------
    model : torch.nn.Module
        Has no parameters. `sample_rate` (Hz) is the lowest of HEAR's rates that is not below the model's own, or
        HEAR's highest: 16000 for models of 8 kHz, 48000 for models of 48 kHz. Sounds at that rate are resampled.
        `scene_embedding_size` and `timestamp_embedding_size` are the model's embedding length.

    Raises
    ------
    EdgeL3Error
        The model does not exist, or its weight file is not valid.
    """
    import torch

    model = torch.nn.Module()
    model.wrapped = engine.load_model(model_file_path or DEFAULT)
    model.sample_rate = next((sr for sr in SAMPLE_RATES if sr >= model.wrapped.sr), SAMPLE_RATES[-1])
    model.scene_embedding_size = model.timestamp_embedding_size = model.wrapped.dim
    return model


def get_scene_embeddings(audio, model):
    """Compute one embedding per sound: the mean over its windows, which are 0.1 s apart.

    Parameters
    ----------
    audio : torch.Tensor [shape=(n_sounds, n_samples), floating point]
        Samples from -1 to 1, at `model.sample_rate`.
    model : torch.nn.Module
        From `load_model`.

    Returns
    -------
    embeddings : torch.Tensor [shape=(n_sounds, dim), float32]
        On the device of `audio`.

    Raises
    ------
    EdgeL3Error
        `audio` is not as described.

    Warns
    -----
    EdgeL3Warning
        A sound is shorter than a window, or all zeros; the message says which one.
    """
    means = []
    for index, sound in enumerate(_sounds(audio)):
        embedding, _ = _embed_sound(model, sound, SCENE_HOP, index)
        means.append(embedding.mean(axis=0, dtype=np.float64))
    return _tensor(means, audio)


def get_timestamp_embeddings(audio, model):
    """Compute embeddings of each sound every 50 ms, from its start to its end, each of the second around its timestamp.

    Parameters
    ----------
    audio, model
        As for `get_scene_embeddings`.

    Returns
    -------
    embeddings : torch.Tensor [shape=(n_sounds, n_timestamps, dim), float32]
        On the device of `audio`.
    timestamps : torch.Tensor [shape=(n_sounds, n_timestamps), float32]
        Milliseconds: 0, 50, 100 ..., the same for every sound; of a network for streams, which takes columns of a
        tenth of a second, 0, 100, 200 ...

    Raises
    ------
    EdgeL3Error
        `audio` is not as described.

    Warns
    -----
    EdgeL3Warning
        A sound is all zeros; the message says which one.
    """
    rows, seconds, hop = [], None, HOP
    if isinstance(model.wrapped.network, ColumnNetwork):
        hop = model.wrapped.network.column / model.wrapped.sr
    for index, sound in enumerate(_sounds(audio)):
        n, sr = len(sound), model.sample_rate
        # The last window ends with the signal: half a second of zeros allows windows centred on its last moments
        padded = np.pad(sound, (0, max(sr // 2, sr - n)))
        embedding, timestamps = _embed_sound(model, padded, hop, index)
        inside = timestamps <= n / sr + 1e-9
        rows.append(embedding[inside])
        seconds = timestamps[inside]
    return _tensor(rows, audio), _tensor([1000 * seconds] * len(rows), audio)


def _embed_sound(model, sound, hop_size, index):
    return embed_recording(model.wrapped, sound, model.sample_rate, hop_size=hop_size, label=f"recording {index}: ")


def _sounds(audio):
    """Return the tensor as an array of shape (n_sounds, n_samples), float32, or raise `EdgeL3Error`."""
    import torch

    if not isinstance(audio, torch.Tensor) or audio.ndim != 2 or 0 in audio.shape or not audio.is_floating_point():
        shape, kind = getattr(audio, "shape", "no shape"), getattr(audio, "dtype", type(audio).__name__)
        raise EdgeL3Error(
            "audio: expected a floating-point torch.Tensor of shape (n_sounds, n_samples), at least 1 x 1, found "
            f"{kind}, {shape}"
        )
    return audio.detach().to("cpu", torch.float32).numpy()


def _tensor(rows, audio):
    """Stack arrays into a float32 tensor on the device of `audio`."""
    import torch

    return torch.from_numpy(np.stack(rows).astype(np.float32)).to(audio.device)
