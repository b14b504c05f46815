"""`Model`, loading one; and `embed`, which most people need and no more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .embedding import Embedding, embed_with
from .errors import EdgeL3Error
from .locate import DEFAULT, find_model
from .melspectrogram import FrontEnd
from .metadata import SHIPPED, edgel3_name
from .plan import Network, plan
from .weights import load_weights

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
    network : Network
    sha256 : str
        Of the weight file.
    provenance : Mapping
        `source`, `license`, `citation`, `contract`, as the weight file tells them.

    Examples
    --------
    >>> model = load_model()
    >>> model.name, model.dim
    ('pico-64', 64)
    """

    name: str
    network: Network
    sha256: str
    provenance: Mapping[str, Any]

    @property
    def frontend(self) -> FrontEnd:
        """Parameters of the front end."""
        return self.network.frontend

    @property
    def sr(self) -> int:
        """Sampling rate that the model works at, Hz; audio of other rates is resampled."""
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
        """Distance between the frames of the spectrogram, in samples (between windows, it is yours to choose)."""
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
        """Embed audio with this model: as the function `embed` does."""
        return embed_with(self.network, audio, sr, hop_size=hop_size, center=center, threads=threads)


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
    """Embed audio: one vector for each window of a second.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads, or without soundfile a WAV file (path, content or open file); or samples.
        Channels are averaged. Integer samples are scaled by their full scale.
    sr : int > 0, optional
        Sampling rate in Hz; needed with samples only. Resampled to the model's rate if it differs.
    model : str, Path or Model
        A model's name (see `list_models`), the path of a weight file, or a loaded model.
    dim : int, optional
        Length of an embedding, for models that have several; see `load_model`.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Centre window i on the time `i * hop_size`, by putting half a second of zeros in front. Otherwise it starts
        there.
    threads : int > 0, optional
        Threads to spread the windows over; by default the cores that this process may use, shared with other calls
        that run at the same time. The result has the same bytes for any number.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32]
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds. Together an `Embedding`, a named tuple.

    Raises
    ------
    EdgeL3Error
        Audio, option or model are not as described; the message says how.

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
    >>> noise = np.random.default_rng(0).standard_normal(2 * 44100)
    >>> embedding, timestamps = embed(noise, sr=44100)
    >>> embedding.shape, timestamps[:3]
    ((16, 64), array([0. , 0.1, 0.2]))
    """
    network = loaded(model, dim).network
    return embed_with(network, audio, sr, hop_size=hop_size, center=center, threads=threads)


def load_model(model: str | os.PathLike[str] = DEFAULT, dim: int | None = None) -> Model:
    """Load a model, by name or from a weight file.

    Parameters
    ----------
    model : str or Path
        A path of a weight file (anything with a directory in it or ending in `.npz`), or a name: looked for as
        `<name>.npz` in the directories of the environment variable `EDGEL3_NP_WEIGHTS`, then among the weights
        that came with the package, then where `python -m edgel3_np install` puts models.
    dim : int, optional
        Length of an embedding. OpenL3's models have 6144 (the default) or 512; all others have one length.

    Returns
    -------
    model : Model

    Raises
    ------
    EdgeL3Error
        There is no such model, or it has no embeddings of that length, or its file is not a valid weight file, or not
        the one that the package shipped.

    Examples
    --------
    >>> model = load_model("pico-64")
    >>> model.sr, model.dim, model.window
    (8000, 64, 8000)
    """
    path = find_model(model)
    weights = load_weights(path)
    # of a name only: what is at a path is the caller's business
    pinned = SHIPPED.get(model) if isinstance(model, str) else None
    if pinned not in (None, weights.sha256):
        raise EdgeL3Error(
            f"{path}: expected the {model} of this version of edgel3_np (sha256 {pinned}), found {weights.sha256}; "
            "install the package again, or pass the file's path to load it all the same"
        )
    provenance = MappingProxyType(weights.provenance)
    return Model(weights.name, plan(weights, dim), weights.sha256, provenance)


def loaded(model: str | os.PathLike[str] | Model, dim: int | None = None) -> Model:
    """A model that may be loaded already, and then must have been with that length of embedding, if it is given."""
    if not isinstance(model, Model):
        return load_model(model, dim)
    if dim not in (None, model.dim):
        raise EdgeL3Error(
            f"dim: expected {model.dim}, with which the model was loaded, found {dim!r}; load it with dim="
        )
    return model


def load_embedding_model(
    model_type: str = "sparse", emb_dim: int = 128, retrain_type: str = "ft", sparsity: float = 95.45
) -> Model:
    """Load a released model, by the options of `edgel3.models.load_embedding_model`.

    Parameters
    ----------
    model_type, emb_dim, retrain_type, sparsity
        As for `get_embedding`.

    Returns
    -------
    model : Model
    """
    return load_model(edgel3_name(model_type, emb_dim, retrain_type, sparsity))


def load_embedding_model_path(
    model_type: str = "sparse", emb_dim: int = 128, retrain_type: str = "ft", sparsity: float = 95.45
) -> str:
    """The path, as text, of the weight file that `load_embedding_model` loads."""
    return str(find_model(edgel3_name(model_type, emb_dim, retrain_type, sparsity)))
