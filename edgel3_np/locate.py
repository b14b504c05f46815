"""Where weight files are: from names of models to paths."""

from __future__ import annotations

import glob
import os
import sys
from typing import TYPE_CHECKING

from .errors import EdgeL3Error
from .metadata import RELEASED, released_file

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "pico-64"
PATH_VARIABLE = "EDGEL3_NP_WEIGHTS"


def list_models() -> dict[str, Path]:
    """Models that can be loaded by name.

    Returns
    -------
    models : dict of str to Path
        Names and weight files, first of that name in search order. The files have not been read. If the package is
        inside a zip file, its own are something like a Path: a `Traversable` of `importlib.resources`.
    """
    from pathlib import Path  # here: it takes a while to import

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
    """Whether a model is given by the path of its weight file, not by name."""
    if not isinstance(model, (str, os.PathLike)) or not str(model):
        raise EdgeL3Error(f"model: expected a model's name or the path of a weight file, found {model!r}")
    text = os.fsdecode(model)
    return isinstance(model, os.PathLike) or os.path.basename(text) != text or text.endswith(".npz")


def find_model(model):
    """The path of a model given by name or path, as text; or the package's resource that it is."""
    if _is_resource(model):
        return model
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


def _is_resource(model):
    return hasattr(model, "open") and not isinstance(model, os.PathLike)


def directories():
    """Where named models are looked for, in order: paths; and of a package inside a zip file, what stands for one."""
    from importlib.resources import files  # here: it takes a while to import

    package, found = files(__package__), chosen_directories()
    if isinstance(package, os.PathLike):
        found.append(os.path.join(package, "_weights"))
        checkout = os.path.dirname(package)
        if os.path.isfile(os.path.join(checkout, "setup.cfg")):  # that has not been installed
            found.append(os.path.join(checkout, "weights"))
    else:
        shipped = package.joinpath("_weights")
        found += [shipped] if shipped.is_dir() else []
    user = user_directory()  # last: what came with a program is not replaced by what its user installed for others
    return [*found, user] if user else found


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
