"""OpenL3's interface for audio, on our engine: `from edgel3_np import openl3`.

Names, defaults and order of arguments are those of openl3 0.4.2 (Cramer et al., ICASSP 2019). Images and video are not
in this package. `python -m edgel3_np.openl3 audio FILE ...` is OpenL3's command line.
"""

from __future__ import annotations

import os
import sys
from numbers import Integral
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio import check_sr
from .edgel3 import check_model, check_verbose, embed_to_file, get_output_path, output_path
from .errors import EdgeL3Error, EdgeL3Warning
from .models import load_model

__all__ = ["get_audio_embedding", "get_output_path", "load_audio_embedding_model", "models", "process_audio_file"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .models import Model

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
        Spectrogram. None: `mel256`.
    content_type : {'music', 'env'}
        What it was trained on: music, or environmental sounds.
    embedding_size : {6144, 512}
    frontend : {'kapre'}
        The spectrogram is computed as kapre does; there is no other here.

    Returns
    -------
    model : Model

    Raises
    ------
    EdgeL3Error
        An option is none of these, or the model is not installed (the message tells how to get it).
    """
    input_repr = "mel256" if input_repr is None else input_repr
    options = {
        "input_repr": input_repr,
        "content_type": content_type,
        "embedding_size": embedding_size,
        "frontend": frontend,
    }
    for name, value in options.items():
        if isinstance(value, bool) or value not in CHOICES[name]:
            raise EdgeL3Error(f"{name}: expected {' or '.join(map(repr, CHOICES[name]))}, found {value!r}")
    return load_model(f"openl3-{input_repr}-{content_type}", embedding_size)


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
    """Embed audio as `openl3.get_audio_embedding` does.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,) or (n, channels)], or list of them
    sr : int > 0, or list of int
        Sampling rates, Hz; one for all, or one each.
    model : Model, optional
        Loaded model; then the next three are ignored.
    input_repr, content_type, embedding_size
        As for `load_audio_embedding_model`.
    center : bool
        Centre window i on the time `i * hop_size`.
    hop_size : number > 0
        Seconds between windows.
    batch_size : int > 0
        Checked and not used: memory is bounded whatever it is.
    frontend : {'kapre'}
    verbose : bool
        Checked and not used: nothing is printed.

    Returns
    -------
    embedding : np.ndarray [shape=(t, dim), float32], or list of them
    timestamps : np.ndarray [shape=(t,), float64], or list of them
        Lists for a list.

    Raises
    ------
    EdgeL3Error
        Which is `OpenL3Error` too.
    """
    _check(batch_size, verbose)
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
    model = _model(model, input_repr, content_type, embedding_size, frontend)
    results = [model.embed(x, rate, hop_size=hop_size, center=center) for x, rate in zip(recordings, rates)]
    if not isinstance(audio, list):
        return results[0].embedding, results[0].timestamps
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
        Made if missing; next to each file by default.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`.
    overwrite : bool
        Write outputs anew that are there already; otherwise those files are passed over.
    model, input_repr, content_type, embedding_size, center, hop_size, batch_size, frontend, verbose
        As for `get_audio_embedding`.

    Raises
    ------
    EdgeL3Error
        A file is missing or no sound file: the first of them ends the call, and what was done before stays.
    """
    _check(batch_size, verbose)
    paths = filepath if isinstance(filepath, list) else [filepath]
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise EdgeL3Error(f"filepath: expected a path or a list of paths, found {type(path).__name__}")
    model = _model(model, input_repr, content_type, embedding_size, frontend)
    for path in paths:
        output = output_path(path, suffix, output_dir)
        if overwrite or not os.path.exists(output):
            embed_to_file(model, path, output, hop_size, center)


def _check(batch_size, verbose):
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise EdgeL3Error(f"batch_size: expected a whole number above 0, found {batch_size!r}")
    check_verbose(verbose)


def _model(model, input_repr, content_type, embedding_size, frontend):
    if model is None:
        return load_audio_embedding_model(input_repr, content_type, embedding_size, frontend)
    return check_model(model)


def main(arguments: list[str] | None = None) -> int:
    """OpenL3's command line: a word, `audio`, and then options that ours knows too. Returns the exit code."""
    from .cli import USAGE
    from .cli import main as command

    arguments = sys.argv[1:] if arguments is None else list(arguments)
    modality = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    if modality in ("image", "video"):
        sys.stderr.write(f"openl3: {modality} is not in this package: expected audio\n")
        return USAGE
    if modality not in ("audio", None):
        arguments.insert(0, modality)
    return command(["--input-repr", "mel256", *arguments])


if __name__ == "__main__":
    sys.exit(main())
