"""The entry point of `edgel3-np` and `python -m edgel3_np`: it hands the command line to one of the commands."""

from __future__ import annotations

import sys
from importlib import import_module

from .ending import USAGE, tell
from .options import COMMANDS


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    If the first argument is one of `COMMANDS`, the rest belongs to the command of that name; otherwise all of them
    belong to the embed command.

    Parameters
    ----------
    arguments : list of str, optional
        By default `sys.argv[1:]`.

    Returns
    -------
    code : int
        The command's exit code; 2 if this copy of the package lacks a part that the command needs.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "embed"
    try:
        return import_module(f".{name}", __package__).main(arguments)
    except ModuleNotFoundError as error:
        package, missing = __package__.rpartition(".")[0], error.name or ""
        if not missing.startswith(f"{package}."):
            raise
        part = missing[len(package) + 1 :].partition(".")[0]
        tell(
            "edgel3-np",
            f"{name}: expected the part {part}, which is not in this copy; add it (tools/vendor.py --with {part}), or "
            "install edgel3_np",
        )
        return USAGE
