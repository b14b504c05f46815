"""The audio interface of the package openl3: `from edgel3_np import openl3`.

Names, defaults and order of arguments are those of openl3 0.4.2 (Cramer et al., ICASSP 2019). Images and video are not
supported.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_whole
from ..audio.samples import check_sr
from ..errors import EdgeL3Error, EdgeL3Warning
from ..model import load_model
from ..weights.registry import openl3_name
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

__all__ = ["get_audio_embedding", "get_output_path", "load_audio_embedding_model", "models", "process_audio_file"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model import Model

OpenL3Error, OpenL3Warning = EdgeL3Error, EdgeL3Warning
CHOICES = {
    "input_repr": ("mel256", "mel128", "linear"),
    "content_type": ("music", "env"),
    "embedding_size": (6144, 512),
    "frontend": ("kapre",),
}


def load_audio_embedding_model(
    input_repr: str | None = "mel256", content_type: str = "music", embedding_size: int = 6144, frontend: str = "kapre"
) -> Model:
    """Load one of OpenL3's audio models.

    Parameters
    ----------
    input_repr : {'mel256', 'mel128', 'linear'}
        Spectrogram. None stands for `mel256`.
    content_type : {'music', 'env'}
        Training data: music, or environmental sounds.
    embedding_size : {6144, 512}
    frontend : {'kapre'}
        The spectrogram is computed as kapre does; there is no other front end.

    Returns
    -------
    model : Model

    Raises
    ------
    EdgeL3Error
        An option has none of these values, or the model is not installed (the message says how to get it).
    """
    input_repr = "mel256" if input_repr is None else input_repr
    options = {
        "input_repr": input_repr,
        "content_type": content_type,
        "embedding_size": embedding_size,
        "frontend": frontend,
    }
    for name, value in options.items():
        check_choice(name, value, CHOICES[name])
    return load_model(openl3_name(input_repr, content_type), embedding_size)


models = SimpleNamespace(load_audio_embedding_model=load_audio_embedding_model)


def get_audio_embedding(
    audio: NDArray[Any] | list[NDArray[Any]],
    sr: float | list[float],
    model: Model | None = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    frontend: str = "kapre",
    verbose: bool = True,
) -> tuple[Any, Any]:
    """Embed samples, as `openl3.get_audio_embedding` does.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,) or (n, channels)], or list of them
        Samples of one recording, or of several.
    sr : int > 0, or list of int
        Sampling rates, Hz: one for all recordings, or one for each.
    model : Model, optional
        A loaded model; the next three options and `frontend` are then ignored.
    input_repr, content_type, embedding_size
        As for `load_audio_embedding_model`.
    center : bool
        Centre window i on the time `i * hop_size`.
    hop_size : number > 0
        Seconds between windows.
    batch_size : int > 0
        Checked but not used: memory is bounded in any case.
    frontend : {'kapre'}
    verbose : bool
        Checked but not used: nothing is ever printed.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32], or list of them
    timestamps : np.ndarray [shape=(t,), float64], or list of them
        Seconds. Both are lists if `audio` is a list.

    Raises
    ------
    EdgeL3Error
        An argument is not as described. `OpenL3Error` is another name of this class. If `audio` is a list, the message
        says which recording is wrong.

    Warns
    -----
    EdgeL3Warning
        A recording is shorter than a window, or all zeros. It is embedded all the same. If `audio` is a list, the
        message says which one.
    """
    _check_unused(batch_size, verbose)
    if isinstance(audio, list):
        recordings = audio
    elif isinstance(audio, np.ndarray):
        recordings = [audio]
    else:
        raise EdgeL3Error(f"audio: expected an array or a list of arrays, found {type(audio).__name__}")
    rates = sr if isinstance(sr, list) else [sr] * len(recordings)
    if len(rates) != len(recordings):
        raise EdgeL3Error(f"sr: expected one rate, or {len(recordings)}, one for each array; found {len(rates)}")
    for recording, rate in zip(recordings, rates):
        if not isinstance(recording, np.ndarray):
            raise EdgeL3Error(f"audio: expected a list of arrays, found {type(recording).__name__} in it")
        check_sr(rate)
    model = _choose_model(model, input_repr, content_type, embedding_size, frontend)
    if not isinstance(audio, list):
        return tuple(embed_recording(model, audio, rates[0], hop_size=hop_size, center=center))
    results = [
        embed_recording(model, recording, rate, hop_size=hop_size, center=center, label=f"recording {index}: ")
        for index, (recording, rate) in enumerate(zip(recordings, rates))
    ]
    return [result.embedding for result in results], [result.timestamps for result in results]


def process_audio_file(
    filepath: str | os.PathLike[str] | list[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None = None,
    suffix: str | None = None,
    model: Model | None = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    overwrite: bool = False,
    frontend: str = "kapre",
    verbose: bool = True,
) -> None:
    """Embed sound files as `openl3.process_audio_file` does, each into an npz with `embedding` and `timestamps`.

    Parameters
    ----------
    filepath : str or Path, or list of them
    output_dir : str or Path, optional
        Made if missing; by default the directory of each file.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`.
    overwrite : bool
        Replace existing outputs. By default, files whose output exists are skipped.
    model, input_repr, content_type, embedding_size, center, hop_size, batch_size, frontend, verbose
        As for `get_audio_embedding`.

    Raises
    ------
    EdgeL3Error
        A file is missing or not audio. The first such file ends the call; outputs that are written already stay.

    Warns
    -----
    EdgeL3Warning
        A recording is shorter than a window, or all zeros. If `filepath` is a list, the message names the file.
    """
    _check_unused(batch_size, verbose)
    paths = filepath if isinstance(filepath, list) else [filepath]
    for path in paths:
        check_path(path, "a path or a list of paths")
    model = _choose_model(model, input_repr, content_type, embedding_size, frontend)
    for path in paths:
        output = output_path(path, suffix, output_dir)
        if overwrite or not os.path.exists(output):
            label = f"{os.fspath(path)}: " if isinstance(filepath, list) else ""
            embed_to_file(model, path, output, hop_size, center, label)


def _check_unused(batch_size, verbose):
    """Check the options that have no effect here."""
    check_whole("batch_size", batch_size)
    check_verbose(verbose)


def _choose_model(model, *options):
    return load_audio_embedding_model(*options) if model is None else check_model(model)
