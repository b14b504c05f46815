#!/usr/bin/env python3
"""Compare what networks cost in a stream: files from end to end, a hop of a live stream, and a day of listening.

    python benchmarks/live.py

One thread. The models take turns in one run, round after round; figures are processor time, medians of the rounds, and
ratios are of the same round. Joules are an estimate: seconds of processor time times `--watts`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from edgel3_np import Stream, load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.environment import environment

BASE, NEW = "pico-64", "pico-64-stream"
RATES, SECONDS = (8000, 44100), 60  # of files
HOPS, LIVE_RATE, BLOCK = (0.1, 1.0), 16000, 0.1  # a day of listening; BLOCK: seconds that arrive together
DAY, WARM, LEAST = 86_400, 3.0, 1.0  # seconds: of a day, of sound before the clock starts, of processor time of a round


def paired(functions, rounds):
    """Time functions in turn: a list of dicts, name -> seconds of processor time."""
    for function in functions.values():
        function()
    found = []
    for _ in range(rounds):
        times = {}
        for name, function in functions.items():
            start = time.process_time()
            function()
            times[name] = time.process_time() - start
        found.append(times)
    return found


def row(times, name, scale):
    """Return median and range of one function's times as text."""
    values = [scale * each[name] for each in times]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def files(rounds):
    """Yield the lines of a table: files to embeddings at a hop of 0.1 s."""
    models = {name: load_model(name) for name in (BASE, NEW)}
    yield f"| file of {SECONDS} s, hop 0.1 s | {BASE}: ms a second | {NEW}: ms a second | ratio |"
    yield "|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        for sr in RATES:
            path = Path(folder) / f"{sr}.wav"
            soundfile.write(path, synthesise(sr, float(SECONDS)), sr, subtype="PCM_16")
            calls = {name: partial(model.embed, path, threads=1) for name, model in models.items()}
            times = paired(calls, rounds)
            ratios = [each[BASE] / each[NEW] for each in times]
            cells = [row(times, name, 1e3 / SECONDS) for name in (BASE, NEW)]
            cells.append(f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})")
            yield f"| {sr} Hz | {' | '.join(cells)} |"


def listener(model, sr, hop, seconds):
    """Return a function that feeds a live stream so many seconds in blocks, after a warm-up."""
    blocks = np.array_split(synthesise(sr, 10.0), round(10 / BLOCK))
    stream = Stream(model, sr, hop_size=hop, center=False)
    for number in range(round(WARM / BLOCK)):
        stream.feed(blocks[number % len(blocks)])

    def listen():
        for number in range(round(seconds / BLOCK)):
            stream.feed(blocks[number % len(blocks)])

    return listen


def listening(names, sr, hop, rounds):
    """Return seconds of processor time for a second of sound: dict of name -> list, one for each round."""
    calls, lengths = {}, {}
    for name in names:
        model = load_model(name)
        once = listener(model, sr, hop, 2.0)
        start = time.process_time()
        once()
        cost = (time.process_time() - start) / 2
        lengths[name] = min(60.0, max(5.0, LEAST / cost))
        calls[name] = listener(model, sr, hop, lengths[name])
    times = paired(calls, rounds)
    return {name: [each[name] / lengths[name] for each in times] for name in names}


def hops(rounds):
    """Yield the lines of a table: a hop of a live stream at the model's rate."""
    found = listening([BASE, NEW], 8000, 0.1, rounds)
    yield "| live stream at 8000 Hz, hop 0.1 s | ms a hop | part of one core |"
    yield "|---|---|---|"
    for name, costs in found.items():
        low, middle, high = (100 * cost for cost in (min(costs), statistics.median(costs), max(costs)))
        yield f"| {name} | {middle:.3f} ({low:.3f} to {high:.3f}) | {middle:.2f} % |"
    ratios = [one / two for one, two in zip(found[BASE], found[NEW])]
    yield f"\nratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def days(paths, watts, rounds):
    """Yield the lines of a table: a day of listening at 16 kHz."""
    yield f"| a day of {LIVE_RATE} Hz | hop | processor time | part of one core | estimated energy at {watts:g} W |"
    yield "|---|---|---|---|---|"
    for hop in HOPS:
        found = listening(paths, LIVE_RATE, hop, rounds)
        for name, costs in found.items():
            cost = statistics.median(costs)
            duration = f"{DAY * cost:.0f} s" if DAY * cost < 3600 else f"{DAY * cost / 3600:.1f} h"
            what = Path(name).stem if Path(name).suffix == ".npz" else name
            yield f"| {what} | {hop:g} s | {duration} | {100 * cost:.2f} % | {DAY * cost * watts / 1e3:.2g} kJ |"


def main(arguments=None):
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-r", "--rounds", type=int, default=9)
    parser.add_argument("-w", "--watts", type=float, default=10.0, help="of a busy core (default: %(default)s)")
    parser.add_argument("-m", "--models", nargs="*", default=[], help="more models for the days: names or weight files")
    parser.add_argument("--only", choices=("files", "hops", "days"))
    options = parser.parse_args(arguments)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    parts = {
        "files": lambda: files(options.rounds),
        "hops": lambda: hops(options.rounds),
        "days": lambda: days([BASE, NEW, *options.models], options.watts, max(3, options.rounds // 3)),
    }
    for name, make in parts.items():
        if options.only in (None, name):
            print()
            for line in make():
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
