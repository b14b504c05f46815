"""Find weight files: from a model's name to the path of its file."""

from __future__ import annotations

import glob
import os
import re
import sys
from typing import TYPE_CHECKING

from .._files import open_regular
from ..errors import EdgeL3Error
from .registry import DEFAULT, RELEASED

if TYPE_CHECKING:
    from pathlib import Path

PATH_VARIABLE = "EDGEL3_NP_WEIGHTS"
_PACKAGE = __name__.rsplit(".", 2)[0]  # not __package__, which Python 3.9 does not set inside a zip file
_OURS = re.compile(rb"^name *= *edgel3_np *$", re.MULTILINE)  # in setup.cfg
_MAX_CFG_BYTES = 1 << 16


def list_models() -> dict[str, Path]:
    """Return the models that can be loaded by name.

    Returns
    -------
    models : dict of str to Path
        Names and weight files. If several directories have a file of one name, the first in search order counts. The
        files are not read. If the package is inside a zip file, its own models are `Traversable`s of
        `importlib.resources`, which work much like a Path.

    Examples
    --------
    >>> "pico-64" in list_models()
    True
    """
    from pathlib import Path  # imported here: it takes a while

    return {name: Path(path) if isinstance(path, str) else path for name, path in _installed().items()}


def _installed():
    found = {}
    for directory in directories():
        if isinstance(directory, str):
            files = sorted(glob.glob(os.path.join(glob.escape(directory), "*.npz")))
            named = [(os.path.basename(path), path) for path in files]
        else:
            named = sorted((file.name, file) for file in directory.iterdir() if file.name.endswith(".npz"))
        for name, file in named:
            found.setdefault(name[: -len(".npz")], file)
    return found


def is_path(model):
    """Return whether a model is given by the path of its weight file, not by name."""
    if not isinstance(model, (str, os.PathLike)) or not str(model):
        raise EdgeL3Error(f"model: expected a model's name or the path of a weight file, found {model!r}")
    text = os.fsdecode(model)
    return isinstance(model, os.PathLike) or os.path.basename(text) != text or text.endswith(".npz")


def find_model(model):
    """Return the weight file of a model.

    Parameters
    ----------
    model : str, Path or Traversable
        A model's name, or its weight file, which is returned as it is.

    Returns
    -------
    path : str or Traversable

    Raises
    ------
    EdgeL3Error
        No model of this name is installed. The message says how to get it.
    """
    if _is_resource(model):
        return model
    if is_path(model):
        return os.fsdecode(model)
    installed = _installed()
    if model in installed:
        return installed[model]
    have = ", ".join(installed) or "none"
    where = f"in a directory that the environment variable {PATH_VARIABLE} names, or pass its path as the model"
    if model in RELEASED:
        raise EdgeL3Error(
            f"model: {model} is a released model that is not installed (installed: {have}). Get it with "
            f"`python -m {_PACKAGE} install {model}`, or put {model}.npz {where}"
        )
    if model == DEFAULT:
        raise EdgeL3Error(
            f"model: {DEFAULT} does not come with this copy of edgel3_np (installed: {have}); name another model "
            f"(model=...), or put {DEFAULT}.npz {where}"
        )
    raise EdgeL3Error(
        f"model: expected an installed model ({have}), a released one ({', '.join(RELEASED)}) or the path of an npz, "
        f"found {model!r}"
    )


def _is_resource(model):
    return hasattr(model, "open") and not isinstance(model, os.PathLike)


def directories():
    """Return where named models are looked for, in order.

    Returns
    -------
    directories : list of (str or Traversable)
        The directories of the environment variable, those of the package (Traversables if it is inside a zip file), and
        the user's, which comes last: a program's own models are not replaced by what its user installs for others.
    """
    from importlib.resources import files  # imported here: it takes a while

    package, found = files(_PACKAGE), chosen_directories()
    if isinstance(package, os.PathLike):
        found.append(os.path.join(package, "_weights"))
        checkout = os.path.dirname(package)
        if _is_our_checkout(checkout):
            found.append(os.path.join(checkout, "weights"))
    else:
        bundled = package.joinpath("_weights")
        found += [bundled] if bundled.is_dir() else []
    user = user_directory()
    return [*found, user] if user else found


def _is_our_checkout(directory):
    """Return whether a directory is a checkout of this project: the `weights` of another one are none of ours."""
    try:
        with open_regular(os.path.join(directory, "setup.cfg")) as file:
            return _OURS.search(file.read(_MAX_CFG_BYTES)) is not None
    except (EdgeL3Error, OSError):
        return False


def chosen_directories():
    """Return the directories that the environment variable names."""
    return [part for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]


def user_directory():
    """Return the directory of the user's models on this machine; None where no home directory is known."""
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
