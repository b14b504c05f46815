"""Versions, hardware and installed models, as a problem report needs them."""

import platform
from importlib import import_module

from .._files import read_file
from .._version import CONTRACT, __version__
from ..errors import EdgeL3Error
from ..network.threads import blas_name, check_threads
from ..weights.format import MAX_FILE_BYTES, parse_weights
from ..weights.locate import list_models
from ..weights.registry import is_bundled


def environment():
    """Return versions and hardware.

    Returns
    -------
    facts : dict
        By name, such as `numpy`, `blas` or `cpu`: a text; `contract` and `cores` are whole numbers.
    """
    return {
        "edgel3_np": __version__,
        "contract": CONTRACT,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "scipy": _version("scipy"),
        "soundfile": _version("soundfile"),
        "libsndfile": _version("soundfile", "__libsndfile_version__"),
        "blas": blas_name(),
        "cpu": _cpu_name(),
        "cores": check_threads(None, 1),
        "system": platform.platform(),
    }


def _cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(name, attribute="__version__"):
    try:
        return str(getattr(import_module(name), attribute))
    except ImportError:
        return "not installed"
    except OSError:  # of soundfile
        return "cannot load its library, libsndfile"


def describe_models():
    """Describe each installed model.

    Returns
    -------
    models : list of dict
        `name`, `path`, and either `bytes`, `sha256`, `sr` (Hz), `dims` (lengths of an embedding) and `shipped` (whether
        the file is the one that comes with this version; None if no model of that name does), or `error`.
    """
    return [{"name": name, "path": str(path), **_describe(name, path)} for name, path in list_models().items()]


def _describe(name, path):
    try:
        content = read_file(path, MAX_FILE_BYTES)
        weights = parse_weights(content, str(path))
    except EdgeL3Error as error:
        return {"error": str(error)}
    return {
        "bytes": len(content),
        "sha256": weights.sha256,
        "sr": weights.frontend.sr,
        "dims": list(weights.dims),
        "shipped": is_bundled(name, weights.sha256),
    }
