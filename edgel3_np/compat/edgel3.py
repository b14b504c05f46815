"""The interface of the package edgel3: `import edgel3_np as edgel3`.

Names, defaults and order of arguments are those of edgel3 0.2.1 (Kumari et al., PAISE 2019).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EdgeL3Error
from ..model import Model, load_model
from ..weights.locate import find_model
from ..weights.registry import SPARSITIES
from .shared import (
    check_choice,
    check_model,
    check_path,
    check_verbose,
    embed_recording,
    embed_to_file,
    get_output_path,
    output_path,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..pipeline import Embedding

__all__ = ["get_embedding", "get_output_path", "load_embedding_model", "load_embedding_model_path", "process_file"]

CHOICES = {
    "model_type": ("sparse", "sea"),
    "emb_dim": (512, 256, 128, 64),
    "retrain_type": ("ft", "kd"),
    "sparsity": tuple(map(float, SPARSITIES)),
}


def get_embedding(
    audio: NDArray[Any],
    sr: float,
    model: Model | None = None,
    model_type: str = "sparse",
    emb_dim: int = 128,
    retrain_type: str = "ft",
    sparsity: float = 95.45,
    center: bool = True,
    hop_size: float = 0.1,
    verbose: int = 1,
) -> Embedding:
    """Embed samples, as `edgel3.get_embedding` does.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,) or (n, channels)]
        Samples.
    sr : int > 0
        Sampling rate, Hz.
    model : Model, optional
        From `load_embedding_model`; the next four options are then ignored.
    model_type : {'sparse', 'sea'}
        A pruned L3 network (48 kHz, embeddings of length 512), or an approximation of it for urban sound (8 kHz).
    emb_dim : {512, 256, 128, 64}
        Length of an embedding of a `sea` model.
    retrain_type : {'ft', 'kd'}
        How a `sparse` model was retrained after pruning: fine-tuning, or knowledge distillation.
    sparsity : {95.45, 53.5, 63.5, 72.3, 87.0}
        Percentage of zeros in a `sparse` model. The values 73.5, 81.0 and 90.5 of the paper exist as well.
    center : bool
        Centre window i on the time `i * hop_size`.
    hop_size : number > 0
        Seconds between windows.
    verbose : {0, 1}
        Checked but not used: nothing is ever printed.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32]
    timestamps : np.ndarray [shape=(t,), float64]
        Seconds.

    Raises
    ------
    EdgeL3Error
        An argument is not as described, or the model is not installed (the message says how to get it).

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
    model = _choose_model(model, model_type, emb_dim, retrain_type, sparsity)
    return embed_recording(model, audio, sr, hop_size=hop_size, center=center)


def process_file(
    filepath: str | os.PathLike[str],
    output_dir: str | os.PathLike[str] | None = None,
    suffix: str | None = None,
    model: Model | None = None,
    model_type: str = "sparse",
    emb_dim: int = 128,
    sparsity: float = 95.45,
    center: bool = True,
    hop_size: float = 0.1,
    verbose: int = True,
    retrain_type: str = "ft",
) -> None:
    """Embed a sound file into an npz with the arrays `embedding` and `timestamps`, as `edgel3.process_file` does.

    Parameters
    ----------
    filepath : str or Path
    output_dir : str or Path, optional
        Made if missing; by default the directory of the file.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`. An existing output is replaced.
    model : Model, optional
        This option and the following ones are those of `get_embedding`.
    model_type : {'sparse', 'sea'}
    emb_dim : {512, 256, 128, 64}
    sparsity : {95.45, 53.5, 63.5, 72.3, 87.0}
    center : bool
    hop_size : number > 0
        Seconds.
    verbose : {0, 1}
    retrain_type : {'ft', 'kd'}
        The last one, because upstream's function does not have it.

    Raises
    ------
    EdgeL3Error
        The file is missing or not audio, or an argument is not as described.

    Warns
    -----
    EdgeL3Warning
        The audio is shorter than a window, or all zeros.
    """
    check_verbose(verbose)
    check_path(filepath, "the path of a sound file")
    model = _choose_model(model, model_type, emb_dim, retrain_type, sparsity)
    embed_to_file(model, filepath, output_path(filepath, suffix, output_dir), hop_size, center)


def load_embedding_model(
    model_type: str = "sparse", emb_dim: int = 128, retrain_type: str = "ft", sparsity: float = 95.45
) -> Model:
    """Load a released model, chosen by the options of `edgel3.models.load_embedding_model`.

    Parameters
    ----------
    model_type, emb_dim, retrain_type, sparsity
        As for `get_embedding`.

    Returns
    -------
    model : Model

    Raises
    ------
    EdgeL3Error
        An option is not as described, or the model is not installed (the message says how to get it).
    """
    return load_model(edgel3_name(model_type, emb_dim, retrain_type, sparsity))


def load_embedding_model_path(
    model_type: str = "sparse", emb_dim: int = 128, retrain_type: str = "ft", sparsity: float = 95.45
) -> str:
    """Return the path of the weight file that `load_embedding_model` loads, as text."""
    return str(find_model(edgel3_name(model_type, emb_dim, retrain_type, sparsity)))


def edgel3_name(model_type, emb_dim, retrain_type, sparsity):
    """Return the name of the model that edgel3 chooses by these four options.

    Raises
    ------
    EdgeL3Error
        An option has none of its values.

    Examples
    --------
    >>> edgel3_name("sparse", 512, "ft", 95.45), edgel3_name("sea", 64, "ft", 95.45)
    ('sparse-ft-95.45', 'sea-64')
    """
    options = {"model_type": model_type, "emb_dim": emb_dim, "retrain_type": retrain_type, "sparsity": sparsity}
    for name, value in options.items():
        check_choice(name, value, CHOICES[name])
    return f"sea-{emb_dim}" if model_type == "sea" else f"sparse-{retrain_type}-{float(sparsity)}"


def _choose_model(model, *options):
    return load_embedding_model(*options) if model is None else check_model(model)
