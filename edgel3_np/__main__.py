"""`python -m edgel3_np`: the command line."""

import sys
from importlib import import_module
from importlib.util import find_spec


def run(command="main", arguments=None):
    """Run a command line of `commands/`, with the arguments that are typed or with others; return its exit code."""
    if find_spec(".commands", __package__) is None:  # a vendored copy may have the engine only
        sys.stderr.write(f"{__package__}: the command line is not in this copy; install edgel3_np, or vendor it too\n")
        return 2
    return import_module(f".commands.{command}", __package__).main(arguments)


if __name__ == "__main__":
    sys.exit(run())
