#!/usr/bin/env python3
"""Time edgel3_np against other engines on the same networks, side by side, and write RESULTS.md.

    pip install ".[bench]"
    python benchmarks/compare.py

Each installed engine runs in its own process, one at a time, round after round, with the batch size and the layout that
suit it best. With many windows, edgel3_np is timed from audio to embedding, and the other engines get finished
spectrograms; all engines use all cores. One window is timed so too, and once more for the networks alone, with one
thread each. Before anything is timed, each must agree with edgel3_np to 1e-4 of an embedding's largest value.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import curves
import networks
import numpy as np
import pipeline
import startup
from engines import AGREE, AGREE_WHOLE, installed

from edgel3_np import load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.environment import environment
from edgel3_np.diagnostics.timing import measure, time_layers, variables
from edgel3_np.pipeline import spectrogram

HERE = Path(__file__).resolve().parent
BY_HAND = "## Large collections"  # from here on, RESULTS.md is kept
OURS = {"edgel3_np, hop 1 s": 1.0, "edgel3_np, hop 0.1 s": 0.1}
ALONE = "edgel3_np, network alone"


class Worker:
    """An engine in another process."""

    def __init__(self, engine):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "engines.py"), engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            env={**variables(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def ask(self, **request):
        """Send a request and wait for its answer."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[-1]}: its process ended; run it by hand to see why")
        return json.loads(line)

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def say(text):
    """Print a message on stderr."""
    print(text, file=sys.stderr, flush=True)


def windows_for(model):
    """Return how many windows to time at once: a power of two, at least 8, of about half a second of work."""
    cost = sum(layer.cost for layer in model.network.layers)
    return max(8, 1 << max(3, int(np.log2(0.6e6 / cost))))


def compare(ours, theirs, rounds, directory):
    """Time every other engine on one network, and edgel3_np on the same network or another one.

    Parameters
    ----------
    ours, theirs : Path
        Weight files.
    rounds : int > 0
    directory : Path
        Directory for temporary files.

    Returns
    -------
    n : int
        Windows timed at once.
    many, one, alone : dict
        Milliseconds a window of each run in each round: for n windows at once; for one; and for the network alone, with
        one window and one thread.
    """
    model, other = load_model(ours), load_model(theirs)
    n = windows_for(model)
    audio = synthesise(model.sr, float(n)).reshape(n, model.sr)
    network, parts = other.network, np.array_split(audio, -(-n // 8))
    log_mel = np.concatenate([spectrogram(network)(part, network.frontend, network.bands) for part in parts])
    files = {key: str(directory / f"{key}.npy") for key in ("audio", "log_mel", "out")}
    np.save(files["audio"], audio)
    np.save(files["log_mel"], log_mel)
    with start_workers(ours, theirs, None, files) as workers:
        runs = [(engine, workers[engine], None) for engine in installed()]
        runs += [(name, workers["edgel3_np"], hop) for name, hop in OURS.items()]
        many, one = interleave(runs, n, rounds), interleave(runs[:-1], 1, rounds)
    if ours != theirs:
        return n, many, one, None
    with start_workers(ours, theirs, 1, files) as workers:
        runs = [(engine, workers[engine], None) for engine in installed()]
        return n, many, one, interleave([*runs, (ALONE, workers["edgel3_np"], None)], 1, rounds)


@contextmanager
def start_workers(ours, theirs, threads, files):
    """Start the processes of all engines, and compare what they compute: yields {name: Worker}."""
    workers, outputs = {}, {}
    try:
        for engine in ("edgel3_np", *installed()):
            workers[engine] = Worker(engine)
            workers[engine].ask(load=str(ours if engine == "edgel3_np" else theirs), threads=threads, **files)
            outputs[engine] = np.load(files["out"])
            if ours == theirs:
                agree = AGREE_WHOLE if load_model(ours).network.exact else AGREE
                check(engine, outputs[engine], outputs["edgel3_np"], agree)
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def check(engine, found, expected, agree=AGREE):
    """Raise an error unless an engine computes the same embeddings as edgel3_np, or nearly."""
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    say(f"  {engine}: relative difference {difference:.1e}")
    if not difference <= agree:
        raise RuntimeError(
            f"{engine}: expected embeddings within {agree} of those of edgel3_np, found {difference:.1e}"
        )


def interleave(runs, n, rounds):
    """Time all runs in turn, round after round, after one round to warm up: {name: [ms a window in each round]}."""
    times = {name: [] for name, _, _ in runs}
    for number in range(rounds + 1):
        for name, worker, hop in runs:
            time.sleep(0.05)  # until the threads of the previous engine stop spinning
            ms = worker.ask(time=n, hop=hop)["ms"] / n
            if number:
                times[name].append(ms)
    return times


def fastest(times):
    """Return the other engine with the smallest median."""
    return min((name for name in times if name not in (*OURS, ALONE)), key=lambda name: statistics.median(times[name]))


def spread(values):
    """Format the median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratio(times, ours):
    """Format the time of the fastest other engine over ours, round by round: above 1, edgel3_np is faster."""
    return spread([a / b for a, b in zip(times[fastest(times)], times[ours])])


def sgemm_peak():
    """Measure large float32 products on all cores, in GFLOP/s."""
    x = np.ones((1536, 1536), np.float32)
    return 2 * len(x) ** 3 / measure(lambda: x @ x, 12)["min"] / 1e6


def table(heads, rows):
    """Yield the lines of a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def speed_table(results, which, ours):
    """Yield a table: milliseconds a window of every engine, and the ratio of the fastest other engine to edgel3_np."""
    engines = installed()
    rows = []
    for name, result in results.items():
        times = result[which]
        if times is None:
            continue
        cells = [spread(times[run]) for run in (*engines, *ours)]
        rows.append([name, *cells, fastest(times), *(f"**{ratio(times, run)}**" for run in ours)])
    heads = ["network", *engines, *ours, "fastest opponent", *(f"ratio, {run[11:]}" for run in ours)]
    return table(heads, rows)


def limit_table(results, layers, peak):
    """Yield a table: how close each network comes to the machine's limit."""
    rows = []
    for name, plan in layers.items():
        took = statistics.median(results[name][1]["edgel3_np, hop 0.1 s"])
        dense = sum(layer["effective"] * layer["measured"] for layer in plan) / 1e6  # GFLOP
        nonzero = sum(layer["effective"] * layer["measured"] * layer["density"] / 100 for layer in plan) / 1e6
        cells = (f"{dense:.3f}", f"{took:.2f}", f"{1e3 * dense / took:.0f}", f"{1e3 * dense / took / peak:.2f}")
        rows.append([name, *cells, f"{1e3 * nonzero / peak:.2f}"])
    heads = ["network", "dense GFLOP a window", "ms a window", "effective GFLOP/s", "of the sgemm peak"]
    return table([*heads, "ms, non-zero operations at the peak"], rows)


def report(results, layers, starts, ways, pictures, peak, options):
    """Yield the lines of RESULTS.md."""
    facts = {**environment(), **installed()}
    many, one = list(OURS), list(OURS)[:1]
    yield "# Results"
    yield ""
    yield "Written by `python benchmarks/compare.py`, which says what is timed and how; do not edit, but for the last"
    yield f"section, *{BY_HAND[3:]}*, which it keeps."
    yield ""
    yield "* " + "\n* ".join(f"{key}: {value}" for key, value in facts.items())
    yield f"* sgemm, 1536 x 1536, all cores: {peak:.0f} GFLOP/s"
    yield ""
    yield "Cells are medians, with the range of the rounds. A ratio is the time of the fastest opponent over that of"
    yield f"edgel3_np in the same round ({options.rounds} rounds): above 1, edgel3_np is faster. Its time includes the"
    yield "front end, theirs does not."
    yield ""
    yield "## Many windows: ms a window"
    yield ""
    counts = ", ".join(f"{name} {result[0]}" for name, result in results.items())
    yield f"Windows at once: {counts}. `pico-64 / sea-64` is pico-64 on edgel3_np against sea-64 on the others."
    yield ""
    yield from speed_table(results, 1, many)
    yield ""
    yield "## One window, model loaded: ms"
    yield ""
    yield from speed_table(results, 2, one)
    yield ""
    yield "## One window, the networks alone, one thread each: ms"
    yield ""
    yield from speed_table(results, 3, [ALONE])
    yield ""
    if ways:
        yield "## From a file of ten minutes to embeddings, one thread each: s"
        yield ""
        yield "pico-64, against soundfile, soxr (HQ), our front end and onnxruntime (`benchmarks/pipeline.py`)."
        yield ""
        rows = [
            [
                f"{sr} Hz",
                f"{hop:g} s",
                spread(theirs),
                spread(own),
                f"**{spread([a / b for a, b in zip(theirs, own)])}**",
            ]
            for sr, hop, theirs, own in ways
        ]
        yield from table(["rate of the file", "hop", "soundfile + soxr + onnxruntime", "edgel3_np", "ratio"], rows)
        yield ""
    yield "## From the start of a process to the first embedding of a file of one second: s"
    yield ""
    yield "pico-64; the files are in the system's cache. The other scripts (`benchmarks/startup.py`) read with"
    yield "soundfile and compute one spectrogram with NumPy; that of edgel3_np is `edgel3_np.embed(path)`."
    yield ""
    ours = starts["edgel3_np"]
    rows = [[name, spread(took), spread([a / b for a, b in zip(took, ours)])] for name, took in starts.items()]
    yield from table(["script", "s", "ratio"], rows)
    yield ""
    yield "## Distance to the limit"
    yield ""
    yield from limit_table(results, layers, peak)
    for name, plan in layers.items():
        yield ""
        yield f"## Layers of {name}, one thread"
        yield ""
        heads = ["layer", "algorithm", "density %", "estimated us", "measured us"]
        heads += ["GFLOP/s as if dense", "real GFLOP/s"]
        keys = ("density", "estimated", "measured", "effective", "real")
        yield from table(
            heads, [[row["layer"], row["algorithm"], *(f"{row[key]:.0f}" for key in keys)] for row in plan]
        )
    for title, path, lines in pictures:
        yield ""
        yield f"## {title}"
        yield ""
        yield f"![{title}]({path})"
        yield ""
        yield from lines


def kept(path):
    """Return the part of a file that is written by hand: the section `BY_HAND` to the end, or nothing."""
    _, mark, rest = (path.read_text("utf-8") if path.is_file() else "").partition(f"\n{BY_HAND}\n")
    return mark + rest


def main(arguments=None):
    """Time everything and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--rounds", type=int, default=9, help="timed rounds, after one to warm up (default: 9)")
    parser.add_argument(
        "-n", "--network", action="append", choices=networks.NAMES, help="time only these networks, and draw no curves"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=HERE / "RESULTS.md", help="file to write (default: next to this script)"
    )
    options = parser.parse_args(arguments)
    if options.output.is_dir() or not options.output.resolve().parent.is_dir():  # check this before the long timing
        parser.error(f"--output: expected a file in an existing folder, found {options.output}")
    if not installed():
        parser.error('expected another engine to compare with, found none; install them: pip install ".[bench]"')
    if options.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, found {options.rounds}")
    peak, results, layers = sgemm_peak(), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in options.network or networks.NAMES:
            say(f"{name} ...")
            ours, _, theirs = name.partition(" / ")
            ours, theirs = networks.write(ours, folder), networks.write(theirs or ours, folder)
            results[name] = compare(ours, theirs, options.rounds, folder)
            if ours == theirs:
                layers[name] = time_layers(load_model(ours).network, 5)
        say("start of a process ...")
        starts = startup.compare(options.rounds, folder)
        say("from a file to embeddings ...")
        ways = list(pipeline.compare(options.rounds, folder)) if pipeline.installed() else []
        pictures = [] if options.network else curves.draw(options.output.parent, folder, say)
    text = "\n".join(report(results, layers, starts, ways, pictures, peak, options)) + "\n"
    options.output.write_text(text + kept(options.output), "utf-8")
    say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
