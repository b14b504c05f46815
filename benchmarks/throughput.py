#!/usr/bin/env python3
"""Measure how many recordings of a collection are embedded in a second of processor time, and where the time goes.

    python benchmarks/throughput.py

One process, one thread, pico-64, made recordings. *Together* is what `embed_files` does with short recordings; *one by
one* is what it does with long ones. Both are run in turn; figures are medians of the rounds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

from edgel3_np.collections import bundles, jobs
from edgel3_np.collections.embed import find_jobs, reports

KINDS = (("1 s at 8 kHz", 8000, 1, 1000), ("5 s at 44.1 kHz", 44100, 5, 150), ("1 h at 16 kHz", 16000, 3600, 1))
HOPS = (0.1, 1.0)
STEPS = {
    "_read": "reading, resampling, front end",
    "_embed": "network",
    "_encode": "encoding",
    "write_together": "writing",
}


def make(folder, sr, seconds, count):
    """Write recordings of smoothed noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        sound = np.convolve(rng.standard_normal(sr * seconds), np.ones(8) / 8, "same")
        soundfile.write(folder / f"{number:04}.wav", 0.1 * sound, sr)


def measure(sounds, hop, function, spent):
    """Embed a folder; return the seconds of processor and of the clock that it took."""
    with tempfile.TemporaryDirectory() as out:
        count, work, problems = find_jobs(sounds, out, hop_size=hop, threads=1)
        cpu, clock = time.process_time(), time.perf_counter()
        done = sum(report.status == "done" for report in reports(work, problems, function=function))
        spent["all"] += time.process_time() - cpu
        assert done == count
        return time.process_time() - cpu, time.perf_counter() - clock


def watch(spent):
    """Let the steps of a bundle add the processor time that they take to `spent`."""

    def watched(name, step):
        def timed(*given):
            start = time.process_time()
            result = step(*given)
            spent[name] += time.process_time() - start
            return result

        return timed

    for name in STEPS:
        setattr(bundles, name, watched(name, getattr(bundles, name)))


def main(arguments=None):
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    print("| recordings | hop, s | files a processor second | one by one | files a second | one by one | shares |")
    print("|---|---|---|---|---|---|---|")
    spent = defaultdict(float)
    watch(spent)
    for name, sr, seconds, count in KINDS:
        with tempfile.TemporaryDirectory() as sounds:
            make(Path(sounds), sr, seconds, count)
            for hop in HOPS:
                times = {None: [], jobs.embed_file: []}
                total = defaultdict(float)
                for _ in range(rounds):
                    for function, found in times.items():
                        spent.clear()
                        found.append(measure(sounds, hop, function, spent))
                        if function is None:
                            for key, value in spent.items():
                                total[key] += value
                columns = [statistics.median(item[place] for item in times[key]) for place in (0, 1) for key in times]
                parts = ", ".join(f"{text} {total[key] / total['all']:.0%}" for key, text in STEPS.items())
                rates = " | ".join(f"{count / value:.3g}" for value in columns)
                print(f"| {name} | {hop:g} | {rates} | {parts if count > 1 else ''} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
