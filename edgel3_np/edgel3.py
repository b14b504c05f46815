"""The interface of the package edgel3 on our engine: `import edgel3_np as edgel3`.

Names, defaults and order of arguments are those of edgel3 0.2.1 (Kumari et al., PAISE 2019).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import models
from .embedding import Embedding
from .errors import EdgeL3Error
from .jobs import made_by
from .output import save_embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray


def get_embedding(
    audio: NDArray[Any],
    sr: float,
    model: models.Model | None = None,
    model_type: str = "sparse",
    emb_dim: int = 128,
    retrain_type: str = "ft",
    sparsity: float = 95.45,
    center: bool = True,
    hop_size: float = 0.1,
    verbose: int = 1,
) -> Embedding:
    """Embed samples as `edgel3.get_embedding` does.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,) or (n, channels)]
    sr : int > 0
        Sampling rate, Hz.
    model : Model, optional
        From `models.load_embedding_model`; then the next four are ignored.
    model_type : {'sparse', 'sea'}
        A pruned L3 network, 48 kHz and 512 numbers; or an approximation of it for urban sound, 8 kHz.
    emb_dim : {512, 256, 128, 64}
        Length of an embedding of a `sea` model.
    retrain_type : {'ft', 'kd'}
        How a `sparse` model was trained again: fine-tuning, or knowledge distillation.
    sparsity : {95.45, 53.5, 63.5, 72.3, 87.0}
        Percentage of zeros in a `sparse` model. Also 73.5, 81.0 and 90.5, of which the paper tells.
    center : bool
        Centre window i on the time `i * hop_size`.
    hop_size : number > 0
        Seconds between windows.
    verbose : {0, 1}
        Checked and not used: nothing is printed.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32]
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds.

    Raises
    ------
    EdgeL3Error
        Something is not as described, or the model is not installed (the message tells how to get it).

    Warns
    -----
    EdgeL3Warning
        The audio is shorter than a window, or all zeros. It is embedded all the same.
    """
    check_verbose(verbose)
    if not isinstance(audio, np.ndarray):
        raise EdgeL3Error(
            f"audio: expected an array of samples, found {type(audio).__name__}; embed() and process_file() take files"
        )
    model = _model(model, model_type, emb_dim, retrain_type, sparsity)
    return model.embed(audio, sr, hop_size=hop_size, center=center)


def process_file(
    filepath: str | os.PathLike[str],
    output_dir: str | os.PathLike[str] | None = None,
    suffix: str | None = None,
    model: models.Model | None = None,
    model_type: str = "sparse",
    emb_dim: int = 128,
    sparsity: float = 95.45,
    center: bool = True,
    hop_size: float = 0.1,
    verbose: int = True,
    retrain_type: str = "ft",
) -> None:
    """Embed a sound file as `edgel3.process_file` does, into an npz with the arrays `embedding` and `timestamps`.

    Parameters
    ----------
    filepath : str or Path
    output_dir : str or Path, optional
        Made if missing; next to the file by default.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`. An output that is there already is replaced.
    model : Model, optional
        This and what follows: as for `get_embedding`.
    model_type : {'sparse', 'sea'}
    emb_dim : {512, 256, 128, 64}
    sparsity : {95.45, 53.5, 63.5, 72.3, 87.0}
    center : bool
    hop_size : number > 0
        Seconds.
    verbose : bool
    retrain_type : {'ft', 'kd'}
        Not among upstream's arguments, so the last.

    Raises
    ------
    EdgeL3Error
        The file is missing or no sound file, or an argument is not as described.
    """
    check_verbose(verbose)
    if not isinstance(filepath, (str, os.PathLike)):
        raise EdgeL3Error(f"filepath: expected the path of a sound file, found {type(filepath).__name__}")
    model = _model(model, model_type, emb_dim, retrain_type, sparsity)
    embed_to_file(model, filepath, output_path(filepath, suffix, output_dir), hop_size, center)


def get_output_path(
    filepath: str | os.PathLike[str], suffix: str, output_dir: str | os.PathLike[str] | None = None
) -> str:
    """Path of an output, as `edgel3.get_output_path` forms it.

    Parameters
    ----------
    filepath : str or Path
    suffix : str
        Such as `.npz`, or `new.npz` for `name_new.npz`.
    output_dir : str or Path, optional
        By default the file's own directory.

    Examples
    --------
    >>> get_output_path("sounds/a.wav", "new.npz", "out").replace(os.sep, "/")
    'out/a_new.npz'
    """
    filepath = os.fspath(filepath)
    base = os.path.splitext(os.path.basename(filepath))[0]
    directory = os.fspath(output_dir) if output_dir else os.path.dirname(filepath)
    return os.path.join(directory, base + ("" if suffix.startswith(".") else "_") + suffix)


def output_path(filepath, suffix, output_dir):
    """Where the embeddings of a file go: next to it or into a directory, with or without a suffix."""
    return get_output_path(filepath, f"{suffix or ''}.npz", output_dir)


def embed_to_file(model, filepath, output, hop_size, center):
    """Embed a sound file into an npz, whose directory is made if missing."""
    from . import __version__

    embedding, timestamps = model.embed(filepath, hop_size=hop_size, center=center)
    provenance = {"model": model.name, "version": __version__, **made_by(model, hop_size, center)}
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    save_embedding(output, [embedding], lambda count, first: timestamps[first : first + count], provenance)


def check_verbose(verbose):
    """Raise an error unless upstreams would take it."""
    if verbose not in (0, 1):
        raise EdgeL3Error(f"verbose: expected True or False, found {verbose!r}")


def check_model(model):
    """Return a loaded model, or raise an error."""
    if not isinstance(model, models.Model):
        raise EdgeL3Error(f"model: expected a loaded model (a Model) or None, found {type(model).__name__}")
    return model


def _model(model, *options):
    return models.load_embedding_model(*options) if model is None else check_model(model)
