#!/usr/bin/env python3
"""Compare the time of pico-64, a network of whole numbers, with that of the float network that it was made from.

    python benchmarks/exact.py

One thread. Both networks run in processes of their own, which take turns, and are started anew several times: how a
process lies in memory changes the time of a window by a few hundredths. Each start gives the median ratio of its
rounds; printed are the median of the starts, and the smallest and largest.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edgel3_np import load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.environment import environment
from edgel3_np.diagnostics.timing import variables

WHOLE, FLOAT = "pico-64", str(Path(__file__).resolve().parents[1] / "tools" / "distill" / "pico-64.float.npz")
CASES = {  # name: sampling rate, seconds, hop in seconds, calls of a round
    "one window at 8 kHz": (8000, 1, 1.0, 40),
    "30 s at 8 kHz, hop 0.1 s": (8000, 30, 0.1, 1),
    "30 s at 8 kHz, hop 1 s": (8000, 30, 1.0, 3),
    "30 s at 44.1 kHz, hop 0.1 s": (44100, 30, 0.1, 1),
    "30 s at 48 kHz, hop 1 s": (48000, 30, 1.0, 2),
}


def serve(path):
    """Load a model, and answer each name of a case, a line, with the seconds of one of its calls."""
    model, sounds = load_model(path), {}
    for line in sys.stdin:
        sr, seconds, hop, calls = CASES[line.strip()]
        if (sr, seconds) not in sounds:
            sounds[sr, seconds] = synthesise(sr, float(seconds))
        start = time.perf_counter()
        for _ in range(calls):
            model.embed(sounds[sr, seconds], sr, hop_size=hop, center=False, threads=1)
        print((time.perf_counter() - start) / calls, flush=True)


def ask(server, case):
    """Return the seconds of a case in the process of a server."""
    print(case, file=server.stdin, flush=True)
    return float(server.stdout.readline())


def ratios(rounds):
    """Start both servers, and return the median ratio of each case."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "universal_newlines": True, "env": variables()}
    servers = [subprocess.Popen([sys.executable, __file__, "--serve", path], **pipes) for path in (WHOLE, FLOAT)]
    found = {}
    for case in CASES:
        times = [[ask(server, case) for server in servers] for _ in range(rounds + 1)][1:]
        found[case] = statistics.median(whole / plain for whole, plain in times)
    for server in servers:
        server.communicate()
    return found


def main(arguments=None):
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-r", "--rounds", type=int, default=15, help="in each start (default: %(default)s)")
    parser.add_argument("-s", "--starts", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return 0
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    found = [ratios(options.rounds) for _ in range(options.starts)]
    print(f"\n| case | whole numbers / float, {options.starts} starts of {options.rounds} rounds |\n|---|---|")
    for case in CASES:
        values = [each[case] for each in found]
        print(f"| {case} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
