"""The entry point of `edgel3-np` and `python -m edgel3_np`: it hands the command line to one of the commands."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from importlib import import_module

from .ending import OK, USAGE, finish, tell
from .options import COMMANDS

PROGRAM = "edgel3-np"
OVERVIEW = f"""usage: {PROGRAM} COMMAND ...
       {PROGRAM} INPUT ...     the same as `{PROGRAM} embed INPUT ...`

Turn sound into embeddings (vectors), and use them.

commands, each with its own --help:
{chr(10).join(f"  {name:9}{purpose}" for name, purpose in COMMANDS.items())}

examples:
  {PROGRAM} recordings/ -o embeddings/        # embed every recording of a folder, with its subfolders
  {PROGRAM} similar bark.wav embeddings/      # find what sounds like bark.wav
  {PROGRAM} plot bark.wav -o bark.png         # draw a recording and its embeddings

To embed a file that is called like a command, write ./plot. `{PROGRAM} --version` prints the version.
"""


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
        The command's exit code; 2 if there is no such command, or if this copy of the package lacks a part that the
        command needs.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["help"] and not os.path.lexists("help"):
        arguments = [*arguments[1:2], "--help"]
    if arguments[:1] in (["-h"], ["--help"]):
        return finish(PROGRAM, _print_overview)
    if not arguments:
        sys.stderr.write(f"{PROGRAM}: error: expected a command, or the path of a recording\n{OVERVIEW}")
        return USAGE
    first = arguments[0]
    is_path = first.startswith("-") or os.path.lexists(first) or os.path.dirname(first)
    close = [] if is_path else get_close_matches(first, COMMANDS, 1)
    if close and first not in COMMANDS:
        tell(
            PROGRAM,
            f'error: expected a command or the path of a recording, found {first!r}; did you mean "{close[0]}"?',
        )
        return USAGE
    if first not in COMMANDS and not is_path and "." not in first:
        tell(PROGRAM, f"error: expected a command ({', '.join(COMMANDS)}) or the path of a recording, found {first!r}")
        return USAGE
    name = arguments.pop(0) if first in COMMANDS else "embed"
    try:
        return import_module(f".{name}", __package__).main(arguments)
    except ModuleNotFoundError as error:
        package, missing = __package__.rpartition(".")[0], error.name or ""
        if not missing.startswith(f"{package}."):
            raise
        part = missing[len(package) + 1 :].partition(".")[0]
        tell(
            PROGRAM,
            f"{name}: expected the part {part}, which is not in this copy; add it (tools/vendor.py --with {part}), or "
            "install edgel3_np",
        )
        return USAGE


def _print_overview():
    sys.stdout.write(OVERVIEW)
    return OK
