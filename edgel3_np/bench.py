"""`python -m edgel3_np.bench`: time models on this machine. `edgel3-np bench` does the same."""

import sys

from .commands.bench import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
