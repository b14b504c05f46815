#!/usr/bin/env python3
"""Write the API reference of the docstrings, with pdoc: `python tools/make_api.py DIRECTORY`."""

import sys
from pathlib import Path

import pdoc

import edgel3_np

DOORS = ("bench", "edgel3", "embedder", "hear", "install", "models", "openl3", "plot", "similar")


def main():
    """Write the pages of the package and of its doors."""
    directory = Path(sys.argv[1])
    for name in edgel3_np.__all__:
        getattr(edgel3_np, name)  # pdoc does not see names that are imported when they are first used
    pdoc.render.configure(docformat="numpy")
    pdoc.pdoc("edgel3_np", *(f"edgel3_np.{door}" for door in DOORS), output_directory=directory)
    print(f"wrote {directory / 'index.html'}", file=sys.stderr)


if __name__ == "__main__":
    main()
