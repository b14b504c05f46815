"""Write results: whole or not at all."""

import json
import os
import secrets
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
    temporary = os.path.join(directory, f".{name[:80]}.{secrets.token_hex(8)}.part")
    file = open(temporary, "xb")  # noqa: SIM115 closed below; not tempfile, whose files nobody else can read
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
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
