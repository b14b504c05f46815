"""`edgel3-np verify`: whether the installed models compute what they should, on this machine."""

import argparse
import sys
from typing import NamedTuple

import numpy as np

from .embedding import framing_of
from .errors import EdgeL3Error
from .locate import find_model, list_models
from .metadata import SHIPPED
from .models import load_model
from .stream import Stream
from .timing import FILE_SR, check, synthesise
from .weights import load_weights

HOP = 0.1  # seconds


class Check(NamedTuple):
    """One check of one model: what was checked, whether it is well, and what was found."""

    what: str
    ok: bool
    found: str


def checks(model):
    """Check a model: its file, its numbers, and that they depend on nothing that they should not.

    Parameters
    ----------
    model : str
        Name or path.

    Yields
    ------
    check : Check
        None follows one that leaves nothing to go on with.

    Examples
    --------
    >>> [check.ok for check in checks("pico-64")]
    [True, True, True, True, True]
    """
    try:
        weights = load_weights(find_model(model))
        pinned = SHIPPED.get(model, weights.sha256)
        where = "the one that came with this version" if model in SHIPPED else "none came with this version to compare"
        if weights.sha256 != pinned:
            where = f"expected {pinned}; install the package again"
        yield Check("weight file", weights.sha256 == pinned, f"sha256 {weights.sha256}, {where}")
        if weights.sha256 != pinned:
            return
        loaded, numbers = load_model(model), check(model)
        limit = numbers["limit"]
        for key, what in (("difference", "network against float64"), ("golden", "embedding against the golden one")):
            if numbers[key] is not None:  # most models come without a golden embedding
                text = f"relative difference {numbers[key]:.1e}, allowed {limit:.0e}"
                yield Check(what, numbers[key] <= limit, text)  # NaN is not
        yield from _same_bytes(loaded)
    except EdgeL3Error as error:
        yield Check("model", False, str(error))


def _same_bytes(model):
    """Whether a sound's embedding has the same bytes on one thread, on two, and in a stream."""
    pieces = 2 * framing_of(model.network, HOP, True).batch + 1  # windows: enough for both threads to have work
    sound = synthesise(FILE_SR, max(1.0, HOP * pieces))
    one, two = (model.embed(sound, FILE_SR, hop_size=HOP, threads=threads) for threads in (1, 2))
    with Stream(model, FILE_SR, hop_size=HOP) as stream:
        parts = list(stream.over(np.array_split(sound, 7)))
    streamed = [np.concatenate(arrays) for arrays in zip(*parts)]
    for what, other in (("2 threads against 1", two), ("stream against the whole", streamed)):
        same = all(a.tobytes() == b.tobytes() for a, b in zip(one, other))
        yield Check(what, same, "the same bytes" if same else f"other bytes, in {len(one.embedding)} windows")


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="edgel3-np verify",
        description="Check that models compute what they should here: their files, their numbers, and that the same "
        "sound gives the same bytes on any number of threads and in a stream.",
        epilog="Exit codes: 0 all is well, 1 a check failed, 2 no such model, 130 interrupted.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="name or path (default: all that are installed)")
    options = parser.parse_args(arguments)
    try:
        names = options.models or list(list_models())
        for name in names:
            find_model(name)
        failed = 0
        for name in names:
            for what, ok, found in checks(name):
                failed += not ok
                print(f"{'ok' if ok else 'failed':6}  {name}: {what}: {found}", flush=True)
    except EdgeL3Error as error:
        print(f"edgel3-np verify: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("edgel3-np verify: interrupted", file=sys.stderr)
        return 130
    if not names:
        print("edgel3-np verify: no models are installed: expected at least pico-64", file=sys.stderr)
    return 1 if failed or not names else 0
