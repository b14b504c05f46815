"""Write results: whole or not at all."""

import json
import os
import tempfile
from contextlib import contextmanager

import numpy as np

from .npz import write_npz


@contextmanager
def atomic(path):
    """Open a new file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    Parameters
    ----------
    path : str or Path
        In an existing directory.

    Yields
    ------
    file : binary file
        Temporary, in the same directory.
    """
    directory, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{name[:80]}.", suffix=".part", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 would hide results from the group
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save_embedding(path, result, provenance):
    """Write an `Embedding` as an npz with the arrays `embedding`, `timestamps` and `provenance` (a JSON string).

    Parameters
    ----------
    path : str or Path
    result : Embedding
    provenance : dict
        What made it: model, weights_sha256, version, contract, options.
    """
    arrays = {**result._asdict(), "provenance": np.array(json.dumps(provenance))}
    with atomic(path) as file:
        write_npz(file, arrays)
