"""`Model`, how to load one, and `embed`: all that most people need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import EdgeL3Error, warn
from .features.frontend import FrontEnd
from .network.columns import ColumnNetwork, plan_columns
from .network.plan import Network, check_dim, plan_network
from .pipeline import Embedding, embed_audio
from .weights.columns import ColumnWeights
from .weights.format import load_weights
from .weights.locate import find_model
from .weights.registry import DEFAULT, check_bundled

if TYPE_CHECKING:
    from typing import BinaryIO, Union

    from numpy.typing import NDArray

    Audio = Union[str, os.PathLike[Any], bytes, bytearray, memoryview, BinaryIO, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to embed audio: read-only, and safe to share between threads.

    Parameters
    ----------
    name : str
    network : Network or ColumnNetwork
    sha256 : str
        Hash of the weight file.
    provenance : Mapping
        `source`, `license`, `citation` and `contract`, as the weight file gives them.

    Examples
    --------
    >>> model = load_model()
    >>> model.name, model.dim
    ('pico-64', 64)
    """

    name: str
    network: Network | ColumnNetwork = field(repr=False)
    sha256: str
    provenance: Mapping[str, Any] = field(repr=False)

    @property
    def frontend(self) -> FrontEnd:
        """Parameters of the front end."""
        return self.network.frontend

    @property
    def sr(self) -> int:
        """Sampling rate of the model, Hz. Audio of another rate is resampled."""
        return self.frontend.sr

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.network.dim

    @property
    def window(self) -> int:
        """Length of a window: one second, in samples."""
        return self.frontend.sr

    @property
    def hop(self) -> int:
        """Distance between frames of the spectrogram, in samples. (`hop_size` is the one between windows.)"""
        return self.frontend.hop_length

    def embed(
        self,
        audio: Audio,
        sr: float | None = None,
        *,
        hop_size: float = 0.1,
        center: bool = True,
        threads: int | None = None,
    ) -> Embedding:
        """Embed audio with this model, as the function `embed` does."""
        embedding, remarks, _ = embed_audio(self.network, audio, sr, hop_size=hop_size, center=center, threads=threads)
        for remark in remarks:
            warn(remark)
        return embedding


def embed(
    audio: Audio,
    sr: float | None = None,
    *,
    model: str | os.PathLike[str] | Model = DEFAULT,
    dim: int | None = None,
    hop_size: float = 0.1,
    center: bool = True,
    threads: int | None = None,
) -> Embedding:
    """Embed audio: one vector for each window of one second.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads, or without soundfile a WAV file (path, content or open file); or samples.
        Channels are averaged. Integer samples are scaled by their full scale.
    sr : int > 0, optional
        Sampling rate in Hz; only samples need it. Audio of another rate than the model's is resampled.
    model : str, Path or Model
        A model's name (see `list_models`), the path of a weight file, or a loaded model.
    dim : int, optional
        Length of an embedding, for models that have several; see `load_model`.
    hop_size : number > 0
        Seconds between windows; of a network for streams a multiple of 0.1.
    center : bool
        Centre window i on the time `i * hop_size`, with half a second of zeros before the audio. Otherwise it starts
        there.
    threads : int > 0, optional
        Threads that share the windows; by default the cores that this process may use, divided between calls that run
        at the same time. The result has the same bytes for any number.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32]
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds. The two are an `Embedding`, a named tuple.

    Raises
    ------
    EdgeL3Error
        The audio, an option or the model is not as described. The message says how.

    Warns
    -----
    EdgeL3Warning
        The audio is shorter than a window, or all zeros. It is embedded all the same.

    References
    ----------
    S. Kumari, D. Roy, M. Cartwright, J. P. Bello, A. Arora, "EdgeL3: Compressing L3-Net for Mote Scale Urban Noise
    Monitoring", PAISE 2019.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(2 * 44100) / 20)  # two seconds of 351 Hz
    >>> embedding, timestamps = embed(tone, sr=44100)
    >>> embedding.shape, timestamps[:3]
    ((16, 64), array([0. , 0.1, 0.2]))
    """
    return as_model(model, dim).embed(audio, sr, hop_size=hop_size, center=center, threads=threads)


def load_model(model: str | os.PathLike[str] = DEFAULT, dim: int | None = None) -> Model:
    """Load a model, by name or from a weight file.

    Parameters
    ----------
    model : str or Path
        The path of a weight file (anything that has a directory in it or ends in `.npz`), or a name. `<name>.npz` is
        looked for in the directories of the environment variable `EDGEL3_NP_WEIGHTS`, then among the weights that come
        with the package, then where `python -m edgel3_np install` puts models.
    dim : int, optional
        Length of an embedding. OpenL3's models have 6144 (the default) or 512; all others have one length.

    Returns
    -------
    model : Model

    Raises
    ------
    EdgeL3Error
        There is no such model, it has no embeddings of this length, its file is not a valid weight file, or the file
        is not the one that comes with this version.

    Examples
    --------
    >>> model = load_model("pico-64")
    >>> model.sr, model.dim, model.window
    (8000, 64, 8000)
    """
    path = find_model(model)
    weights = load_weights(path)
    if isinstance(model, str):  # a name; what lies at a path is the caller's business
        check_bundled(model, weights.sha256, path)
    return build_model(weights, dim)


def build_model(weights, dim=None):
    """Turn `Weights` into a `Model`; `dim` is that of `load_model`."""
    check_dim(weights, dim)
    network = plan_columns(weights) if isinstance(weights, ColumnWeights) else plan_network(weights, dim)
    return Model(weights.name, network, weights.sha256, MappingProxyType(weights.provenance))


@lru_cache(maxsize=1)
def cached_model(name, dim=None):
    """Return `load_model(name, dim)`; the last model is kept, so a worker loads it once."""
    return load_model(name, dim)


def as_model(model: str | os.PathLike[str] | Model, dim: int | None = None) -> Model:
    """Return a `Model` as it is, and load a name or path.

    Raises
    ------
    EdgeL3Error
        The model is loaded already, with another length of an embedding than `dim`; or as for `load_model`.
    """
    if not isinstance(model, Model):
        return load_model(model, dim)
    if dim not in (None, model.dim):
        raise EdgeL3Error(
            f"dim: expected {model.dim}, with which the model was loaded, found {dim!r}; load it with dim="
        )
    return model
