#!/usr/bin/env python3
"""Embed very many clips under a memory limit, with broken ones among them, two kills and a full disk in between.

    python benchmarks/soak.py                       # 200,000 clips of one second, 1 % of them broken
    python benchmarks/soak.py --count 5000

At the end every good clip must have its embeddings once, and every broken one its report; the memory of the largest
process is printed. Linux only. The part with the full disk needs root, for the outputs then lie in a small file system
of their own (tmpfs).
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

import edgel3_np
from edgel3_np.collections.results import open_result

SR, JOBS, HOP = 8000, 2, 1.0
BROKEN = ("empty", "text", "header", "nan", "no samples")  # kinds of broken clips, in turn
EVERY = 100  # one of so many clips is broken
LIMIT = 1 << 30  # bytes of address space that a process may take
KILLS, FULL = (0.2, 0.4), 0.6  # shares of the outputs at which the run is killed, and the disk is full
SAMPLE = 500  # outputs that are compared with what the model computes


def clip(number):
    """Make a second of noise whose seed is the number of the clip: shape (SR,), float64."""
    return 0.1 * np.random.default_rng(number).standard_normal(SR)


def kind_of(number):
    """Return how a clip is broken; None if it is whole."""
    return BROKEN[number // EVERY % len(BROKEN)] if number % EVERY == EVERY // 2 else None


def make_clips(folder, count):
    """Write the clips: 1,000 in a folder."""
    for number in range(count):
        path = folder / f"{number // 1000:04}" / f"{number:07}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = kind_of(number)
        if kind in (None, "header"):
            soundfile.write(path, clip(number), SR)
        if kind == "header":
            path.write_bytes(path.read_bytes()[:30])
        elif kind == "nan":
            soundfile.write(path, np.full(SR, np.nan), SR, subtype="FLOAT")
        elif kind == "no samples":
            soundfile.write(path, np.zeros(0), SR)
        elif kind is not None:
            path.write_bytes(b"" if kind == "empty" else b"this is no sound\n" * 20)


class Run:
    """One run of the command over the clips, in a process group of its own, with a limit on memory."""

    def __init__(self, sounds, out, manifest):
        command = [
            sys.executable,
            "-m",
            "edgel3_np",
            str(sounds),
            "-o",
            str(out),
            "-t",
            str(HOP),
            "-j",
            str(JOBS),
            "-q",
        ]
        self.peaks, self.out = [], out
        self.process = subprocess.Popen(
            [*command, "--manifest", str(manifest)],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
        )

    def outputs(self):
        """Return how many outputs there are."""
        return sum(len(names) for _, _, names in os.walk(self.out))

    def memory(self):
        """Return the resident memory of the largest process of the group, bytes."""
        largest = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            if int(fields[2]) == self.process.pid:  # its group
                largest = max(largest, int(fields[21]) * resource.getpagesize())
        return largest

    def wait_for(self, outputs):
        """Wait until there are so many outputs, or the run has ended; note the memory."""
        while self.process.poll() is None and self.outputs() < outputs:
            self.peaks.append(self.memory())
            time.sleep(2.0)

    def kill(self):
        """Kill all processes of the run, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def fill(folder):
    """Fill the file system of a folder; return the file that does."""
    ballast = folder.parent / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return ballast


def check(sounds, out, manifests, count):
    """Return what is wrong at the end: a list of texts; and counts of the reports' kinds."""
    model, problems, kinds = edgel3_np.load_model(), [], Counter()
    last = {}
    for manifest in manifests:
        for line in manifest.read_text().splitlines():
            try:
                report = json.loads(line)
            except ValueError:
                continue  # the line that a kill has cut
            last[os.path.relpath(report["input"], sounds)] = report
    found = {os.path.relpath(os.path.join(where, name), out) for where, _, names in os.walk(out) for name in names}
    expected = {f"{number // 1000:04}/{number:07}" for number in range(count) if kind_of(number) is None}
    problems += [f"missing: {name}" for name in sorted(expected - {name[:-4] for name in found})]
    problems += [f"not expected: {name}" for name in sorted(found - {f"{name}.npz" for name in expected})]
    for number in range(count):
        report = last.get(f"{number // 1000:04}/{number:07}.wav")
        kinds[report["kind"] or report["status"] if report else "no report"] += 1
        if (kind_of(number) is not None) != (report is not None and report["status"] == "failed"):
            problems.append(f"clip {number}, {kind_of(number) or 'whole'}: {report and report['status']}")
    for number in np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False).tolist():
        if kind_of(number) is None:
            path = out / f"{number // 1000:04}" / f"{number:07}.npz"
            with open_result(path) as result:
                embedding = np.concatenate(list(result.embedding))
            if (
                embedding.tobytes()
                != model.embed(sounds / f"{path.parent.name}/{path.stem}.wav", hop_size=HOP)[0].tobytes()
            ):
                problems.append(f"other bytes: {path}")
    return problems, kinds


def soak(folder, count):
    """Do everything; return the problems."""
    sounds, small, start = folder / "sounds", folder / "small", time.monotonic()
    small.mkdir()
    size = f"size={(count * 6144 >> 20) + 64}m,nr_inodes={count * 3}"
    is_small = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", small], stderr=subprocess.DEVNULL).returncode == 0
    )
    out, manifests = small / "out", []
    try:
        make_clips(sounds, count)
        print(f"{count} clips made in {time.monotonic() - start:.0f} s", flush=True)
        for number, share in enumerate([*KILLS, *([FULL] if is_small else []), 1.1]):
            start, before = time.monotonic(), sum(len(names) for _, _, names in os.walk(out))
            manifests.append(folder / f"{number}.jsonl")
            run, what = Run(sounds, out, manifests[-1]), "to its end"
            run.wait_for(share * count)
            if share in KILLS:
                run.kill()
                what = "killed"
            elif share == FULL:
                ballast = fill(out)
                run.wait_for(2 * count)
                ballast.unlink()
                what = "disk full"
            run.process.wait()
            made, seconds = run.outputs() - before, time.monotonic() - start
            quarter = max(1, len(run.peaks) // 4)
            first, last = (max(part, default=0) >> 20 for part in (run.peaks[:quarter], run.peaks[-quarter:]))
            ended = f"run {number + 1}: {what}, exit code {run.process.returncode}, {made} outputs in {seconds:.0f} s"
            print(f"{ended}, memory at most {first} MiB in the first quarter, {last} MiB in the last", flush=True)
        problems, kinds = check(sounds, out, manifests, count)
        print("last reports: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
        if not is_small:
            print("the disk was not filled: that needs root")
        return problems
    finally:
        if is_small:
            subprocess.run(["umount", small])


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000, help="clips (default: %(default)s)")
    parser.add_argument("--folder", help="where everything is written (default: the folder of temporary files)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        problems = soak(folder, options.count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:20]:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
