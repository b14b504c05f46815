"""Models by name: finding, loading and listing them; and `embed`, which most people need and no more."""

import glob
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .embedding import embed_with
from .errors import EdgeL3Error
from .melspectrogram import FrontEnd
from .metadata import RELEASED, SHIPPED, edgel3_name, released_file
from .plan import Network, plan
from .weights import load_weights

DEFAULT = "pico-64"
PATH_VARIABLE = "EDGEL3_NP_WEIGHTS"


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
    provenance: Mapping

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

    def embed(self, audio, sr=None, *, hop_size=0.1, center=True, threads=None):
        """Embed audio with this model: as the function `embed` does."""
        return embed_with(self.network, audio, sr, hop_size=hop_size, center=center, threads=threads)


def embed(audio, sr=None, *, model=DEFAULT, dim=None, hop_size=0.1, center=True, threads=None):
    """Embed audio: one vector for each window of a second.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads (path, content or open file), or samples. Channels are averaged. Integer
        samples are scaled by their full scale.
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
    if not isinstance(model, Model):
        model = load_model(model, dim)
    elif dim not in (None, model.dim):
        raise EdgeL3Error(
            f"dim: expected {model.dim}, with which the model was loaded, found {dim!r}; load it with dim="
        )
    return embed_with(model.network, audio, sr, hop_size=hop_size, center=center, threads=threads)


def load_model(model=DEFAULT, dim=None):
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
    pinned = SHIPPED.get(model)  # of a name only: what is at a path is the caller's business
    if pinned not in (None, weights.sha256):
        raise EdgeL3Error(
            f"{path}: expected the {model} of this version of edgel3_np (sha256 {pinned}), found {weights.sha256}; "
            "install the package again, or pass the file's path to load it all the same"
        )
    provenance = MappingProxyType(weights.provenance)
    return Model(weights.name, plan(weights, dim), weights.sha256, provenance)


def load_embedding_model(model_type="sparse", emb_dim=128, retrain_type="ft", sparsity=95.45):
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


def load_embedding_model_path(model_type="sparse", emb_dim=128, retrain_type="ft", sparsity=95.45):
    """The path, as text, of the weight file that `load_embedding_model` loads."""
    return find_model(edgel3_name(model_type, emb_dim, retrain_type, sparsity))


def list_models():
    """Models that can be loaded by name.

    Returns
    -------
    models : dict of str to Path
        Names and weight files, first of that name in search order. The files have not been read.
    """
    from pathlib import Path  # here: it takes a while to import

    return {name: Path(path) for name, path in _installed().items()}


def _installed():
    found = {}
    for directory in _directories():
        for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.npz"))):
            found.setdefault(os.path.basename(path)[: -len(".npz")], path)
    return found


def is_path(model):
    """Whether a model is given by the path of its weight file, not by name."""
    if not isinstance(model, (str, os.PathLike)) or not str(model):
        raise EdgeL3Error(f"model: expected a model's name or the path of a weight file, found {model!r}")
    text = os.fsdecode(model)
    return isinstance(model, os.PathLike) or os.path.basename(text) != text or text.endswith(".npz")


def find_model(model):
    """The path of a model given by name or path, as text."""
    if is_path(model):
        return os.fsdecode(model)
    text, installed = model, _installed()
    if text in installed:
        return installed[text]
    have = ", ".join(installed) or "none"
    where = f"in a directory that the environment variable {PATH_VARIABLE} names, or pass its path as the model"
    if text in RELEASED:
        address, file = released_file(text)
        raise EdgeL3Error(
            f"model: {text} is a released model that is not installed (installed: {have}). Get it with "
            f"`python -m {__package__} install {text}`, which downloads and converts {address}{file}; or put "
            f"{text}.npz {where}"
        )
    if text == DEFAULT:
        raise EdgeL3Error(
            f"model: {DEFAULT} does not come with this copy of edgel3_np (installed: {have}); name another model "
            f"(model=...), or put {DEFAULT}.npz {where}"
        )
    raise EdgeL3Error(
        f"model: expected an installed model ({have}), a released one ({', '.join(RELEASED)}) or the path of an npz, "
        f"found {text!r}"
    )


def _directories():
    """Where named models are looked for, in order."""
    package = os.path.dirname(os.path.abspath(__file__))
    directories = [*chosen_directories(), os.path.join(package, "_weights")]
    checkout = os.path.dirname(package)
    if os.path.isfile(os.path.join(checkout, "setup.cfg")):  # that has not been installed
        directories.append(os.path.join(checkout, "weights"))
    user = user_directory()  # last: what came with a program is not replaced by what its user installed for others
    return directories + [user] if user else directories


def chosen_directories():
    """Those of the environment variable."""
    return [part for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]


def user_directory():
    """The directory of models that one user has on this machine; None where no home directory is known."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
        elif sys.platform == "darwin":
            base = os.path.join(home, "Library", "Application Support")
        else:
            base = os.path.join(home, ".local", "share")
    return os.path.join(base, "edgel3_np") if os.path.isabs(base) else None
