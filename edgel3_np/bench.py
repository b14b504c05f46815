"""`python -m edgel3_np.bench`: time models on this machine. `edgel3-np bench` does the same."""

import sys

__all__ = ["main"]

if __name__ == "__main__":
    from .__main__ import run

    sys.exit(run("main", ["bench", *sys.argv[1:]]))
else:
    from .commands.bench import main
