#!/usr/bin/env python3
"""Write the API reference of the docstrings, with pdoc: `python tools/make_api.py DIRECTORY`."""

import sys
from pathlib import Path

import pdoc

import edgel3_np

DOORS = ("similar", "plot", "embedder", "install", "edgel3", "openl3", "hear", "models", "bench")
FIRST = ("embed", "embed_files", "load", "Stream", "load_model")  # in the order in which people need them


def main():
    """Write the pages of the package and of its doors."""
    directory = Path(sys.argv[1])
    for name in edgel3_np.__all__:
        getattr(edgel3_np, name)  # pdoc does not see names that are imported when they are first used
    edgel3_np.__all__.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    links = "".join(f"* `edgel3_np.{door}`: {summary(door)}\n" for door in DOORS)
    edgel3_np.__doc__ += f"\n\nBegin with `embed`. Other modules for users:\n\n{links}"
    pdoc.render.configure(docformat="numpy")
    pdoc.pdoc("edgel3_np", *(f"edgel3_np.{door}" for door in DOORS), output_directory=directory)
    print(f"wrote {directory / 'index.html'}", file=sys.stderr)


def summary(door):
    """Return the first line of what a module says of itself."""
    module = getattr(__import__(f"edgel3_np.{door}"), door)
    return (sys.modules[f"edgel3_np.{door}"].__doc__ or module.__doc__).splitlines()[0]


if __name__ == "__main__":
    main()
