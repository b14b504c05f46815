#!/usr/bin/env python3
"""Time the index of a collection and searches with it, on made embeddings.

    python benchmarks/search.py                         # 50,000 recordings of 100 windows: 2.6 GB of disk
    python benchmarks/search.py --recordings 5000
    python benchmarks/search.py --recordings 100000 --approximate    # 10 million windows: 6 GB; needs faiss-cpu
    python benchmarks/search.py --of embeddings/ --approximate       # a collection of yours; its index is written

The hits with the index are compared with those without it. With --approximate, the last line tells which share of the
ten best moments an approximate search finds (recall).
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import edgel3_np
from edgel3_np.collections.atomic import write_together
from edgel3_np.collections.results import fingerprint, result_bytes
from edgel3_np.index import update_index
from edgel3_np.similar import similar

HOP, FOLDER = 0.1, 500  # seconds; recordings of a folder


def make(folder, recordings, windows):
    """Write files of embeddings that lie around fifty centres."""
    model, rng = edgel3_np.load_model(), np.random.default_rng(0)
    centres = rng.standard_normal((50, model.dim))
    made = {"model": model.name, "version": "made", **fingerprint(model, HOP, True)}
    for first in range(0, recordings, FOLDER):
        place, contents = folder / f"{first // FOLDER:05}", {}
        place.mkdir()
        for number in range(first, min(first + FOLDER, recordings)):
            centre = centres[number % len(centres)] + 0.7 * rng.standard_normal(model.dim)
            embedding = np.maximum(0, centre + rng.standard_normal((windows, model.dim))).astype(np.float32)
            source = {"name": f"{number}.wav", "root": "/made", "bytes": number, "mtime_ns": number}
            contents[str(place / f"{number:07}.npz")] = result_bytes(
                embedding, HOP * np.arange(windows), {**made, "input": source}
            )
        assert not write_together(contents)


def timed(work):
    """Return what `work` returns, and the seconds that it takes: of the clock, of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - clock, time.process_time() - cpu


def main(arguments=None):
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=50_000)
    parser.add_argument("--windows", type=int, default=100, help="of a recording")
    parser.add_argument("--queries", type=int, default=9)
    parser.add_argument("--of", type=Path, metavar="DIR", help="a collection of embeddings, instead of made ones")
    parser.add_argument("--approximate", action="store_true", help="write inverted lists, and search with them too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = options.of or Path(name)
        if options.of is None:
            make(folder, options.recordings, options.windows)
        files = sorted(folder.rglob("*.npz"))
        files = files[:: max(1, len(files) // options.queries)][: options.queries]
        if not files:
            parser.error(f"--of: expected a collection of npz files, found none in {folder}")
        done, clock, cpu = timed(lambda: update_index(folder))
        print(f"{done.files} files, {done.windows} windows: indexed in {clock:.1f} s, {cpu:.1f} s of the processor")
        done, clock, cpu = timed(lambda: update_index(folder))
        print(f"again, with nothing new: {clock:.1f} s")
        for moments in (False, True):
            times = []
            for query in files:
                hits, clock, _ = timed(lambda query=query, moments=moments: similar(query, folder, moments=moments))
                times.append(clock)
            exact, slow, _ = timed(
                lambda query=query, moments=moments: similar(query, folder, moments=moments, index=False)
            )
            assert hits == exact
            what = "moments" if moments else "recordings"
            span = f"{min(times):.3f} to {max(times):.3f}"
            print(f"{what}: {statistics.median(times):.3f} s ({span}); without the index {slow:.1f} s")
        if options.approximate:
            _, clock, cpu = timed(lambda: update_index(folder, approximate=True))
            print(f"inverted lists: {clock:.1f} s, {cpu:.1f} s of the processor")
            times, found = [], []
            for query in files:
                exact = similar(query, folder, moments=True)
                hits, clock, _ = timed(lambda query=query: similar(query, folder, moments=True, approximate=True))
                times.append(clock)
                found.append(len(set(hits) & set(exact)) / len(exact))
            span = f"{min(times):.3f} to {max(times):.3f}"
            print(f"approximate: {statistics.median(times):.3f} s ({span}); recall {np.mean(found):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
