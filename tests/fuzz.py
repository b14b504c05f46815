"""Seeded mutation fuzzing of all files that come from outside: sound files in every container, weights, classifiers.

    python tests/fuzz.py --formats WAV,NPZ,CLASSES --mutants 20000 --seed 7 --seconds 60
    python tests/fuzz.py --seed 7 --only WAV:123 --save bad.wav

A mutant is a function of seed, format and number (and of what this libsndfile writes). A child process embeds each
sound file with a tiny network, and a sound with each weight file (NPZ); it scores embeddings with each classifier
(CLASSES). Two outcomes are right: finite embeddings, or scores from 0 to 1; and `EdgeL3Error`. Everything else is a
failure: another exception, a numeric warning, a traceback on stderr, the death of the process, no answer for `WATCHDOG`
seconds, or more than `MEMORY` bytes beyond what good files need (measured where there is a /proc).
"""

import argparse
import faulthandler
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import namedtuple
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last: an installed package is found first
import factory
from mutants import CONTAINERS, FORMATS, mutant, recordings

import edgel3_np
from edgel3_np.weights.format import save_weights

WATCHDOG, MEMORY = 20.0, 256 << 20  # seconds, bytes
BATCH, SABOTAGED = 50, 3  # mutants in one request; number of the mutant that `sabotage` replaces
Result = namedtuple("Result", "format number outcome seconds reason")  # outcome: taken, refused or failure


# --- the child
def outcome_of(model, format, path, sabotage=""):
    """Return the outcome of a mutant, and the reason if it is a failure. `sabotage` is code that tests run instead."""
    try:
        if format == "CLASSES" and not sabotage:
            return outcome_of_classifier(edgel3_np.load_classifier(path))
        model = edgel3_np.load_model(path) if format == "NPZ" else model
        audio, sr = (np.ones(800), 8000) if format == "NPZ" else (path, None)
        found = eval(sabotage) if sabotage else model.embed(audio, sr, hop_size=1.0, threads=1).embedding
        if found.dtype == np.float32 and found.shape == (max(1, len(found)), model.dim) and np.isfinite(found).all():
            return "taken", ""
        return "failure", f"an embedding of shape {found.shape}, {found.dtype}, {np.isfinite(found).mean():.0%} finite"
    except edgel3_np.EdgeL3Error as error:
        hidden = isinstance(error.__cause__, (MemoryError, Warning)) or "malloc" in str(error)
        return ("failure", f"refused for another reason: {error}") if hidden else ("refused", "")
    except BaseException:
        return "failure", traceback.format_exc()


def outcome_of_classifier(classifier):
    """Return the outcome of a classifier that was loaded: it scores embeddings of any size."""
    rows = np.random.default_rng(0).standard_normal((4, classifier.dim)).astype(np.float32)
    rows[:3] = np.array([[0], [3e38], [-3e38]], np.float32)
    scores = classifier.predict(edgel3_np.Embedding(rows, np.arange(4.0)))
    if (
        scores.dtype == np.float64
        and scores.shape == (4, len(classifier.classes))
        and ((scores >= 0) & (scores <= 1)).all()
    ):
        return "taken", ""
    return "failure", f"scores of shape {scores.shape}, {scores.dtype}, {scores.min()} to {scores.max()}"


def child(directory, seed, sabotage):
    """Answer each line (format, first, last) of stdin with a line (outcome, seconds, reason) for each mutant."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # stdout becomes stderr, which is a file, because libraries write notes to both
    faulthandler.enable()
    warnings.simplefilter("error", RuntimeWarning)
    warnings.simplefilter("ignore", edgel3_np.EdgeL3Warning)
    model, path = edgel3_np.load_model(Path(directory) / "model.npz"), Path(directory) / "mutant.npz"
    for format in FORMATS:
        path.write_bytes(recordings(format)[0])
        assert outcome_of(model, format, path)[0] == "taken", f"a good {format} is not taken"
    with suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print('["ready", 0, ""]', file=answers, flush=True)
    for format, first, last in map(json.loads, sys.stdin):
        for number in range(first, last):
            path.write_bytes(mutant(seed, format, number))
            began = time.perf_counter()
            outcome, reason = outcome_of(model, format, path, sabotage if number == SABOTAGED else "")
            seconds = time.perf_counter() - began
            os.lseek(2, 0, os.SEEK_SET)
            notes = os.read(2, 1 << 20).decode(errors="replace")
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
            outcome, reason = ("failure", notes) if "Traceback" in notes else (outcome, reason)
            print(json.dumps([outcome, seconds, reason]), file=answers, flush=True)


# --- the parent
@contextmanager
def process(directory, seed, sabotage):
    """Start a child; yield a function that sends a request, and one that waits for the next answer."""
    command = [sys.executable, __file__, "--child", directory, "--seed", str(seed), "--sabotage", sabotage]
    env, lines = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}, queue.Queue()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def ask(batch):
        with suppress(OSError):  # the child has died, and the next answer says so
            os.write(running.stdin.fileno(), json.dumps(batch).encode() + b"\n")

    def answer(patience):
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            return "failure", patience, "hang"
        if line:
            return json.loads(line)
        status = running.wait()
        errors.seek(0)
        return "failure", 0.0, f"died, status {status}: {errors.read().decode(errors='replace')[-3000:]}"

    with ExitStack() as stack:
        errors = stack.enter_context(open(Path(directory) / "stderr", "w+b"))
        running = stack.enter_context(subprocess.Popen(command, stderr=errors, env=env, **pipes))
        reader = threading.Thread(target=lambda: [*map(lines.put, running.stdout), lines.put("")])
        reader.start()
        stack.callback(reader.join)
        stack.callback(running.kill)  # runs first, before the reader is joined
        yield ask, answer


def batches(mutants, formats=FORMATS):
    """Divide a number of mutants among the formats: a list of (format, first, last)."""
    share = [(name, mutants // len(formats) + (index < mutants % len(formats))) for index, name in enumerate(formats)]
    starts = range(0, max(count for _, count in share), BATCH)
    return [(name, first, min(first + BATCH, count)) for first in starts for name, count in share if first < count]


def run_batches(batches, seed=0, seconds=float("inf"), watchdog=WATCHDOG, sabotage=""):
    """Yield a `Result` for each mutant, for at most `seconds` seconds."""
    stop, left = time.monotonic() + seconds, list(batches)
    with tempfile.TemporaryDirectory() as directory:
        save_weights(Path(directory) / "model.npz", factory.random_weights())
        while left and time.monotonic() < stop:
            with process(directory, seed, sabotage) as (ask, answer):
                outcome, _, reason = answer(100)
                assert outcome == "ready", reason
                while left and time.monotonic() < stop and outcome != "failure":
                    (format, number, last), left = left[0], left[1:]
                    ask((format, number, last))
                    while number < last and outcome != "failure":
                        outcome, *rest = answer(watchdog)
                        yield Result(format, number, outcome, *rest)
                        number += 1
                    left = [(format, number, last), *left] if number < last else left


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--mutants", type=int, default=20000, help="mutants of all formats together (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--formats", default=",".join(FORMATS), help="some of %(default)s, separated by commas (default: all)"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds")
    parser.add_argument("--only", metavar="FORMAT:NUMBER", help="write and run only this mutant")
    parser.add_argument(
        "--save", help="file for the mutant of --only (default: one in the system's directory of temporary files)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--sabotage", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.seed, options.sabotage)
    formats, todo = options.formats.split(","), None
    if not set(formats) <= set(FORMATS):
        parser.error(f"--formats: expected some of {','.join(FORMATS)}, found {options.formats}")
    if options.only:
        format, number = options.only.split(":")
        path = Path(options.save or Path(tempfile.gettempdir()) / f"mutant-{options.seed}-{format}-{number}")
        path.write_bytes(mutant(options.seed, format, int(number)))
        print(path)
        formats, todo = [format], [(format, int(number), int(number) + 1)]
    results, shown = [], time.monotonic()
    for result in run_batches(todo or batches(options.mutants, formats), options.seed, options.seconds):
        results.append(result)
        if result.outcome == "failure":
            print(f"--seed {options.seed} --only {result.format}:{result.number}: {result.reason.strip()}\n")
        if sys.stderr.isatty() and time.monotonic() > shown + 3:
            print(f"{len(results)} mutants", file=sys.stderr)
            shown = time.monotonic()
    print(f"{'format':8}{'mutants':>9}{'taken':>10}{'refused':>9}{'failures':>10}{'slowest (s)':>13}")
    for format in formats:
        ours = [result for result in results if result.format == format]
        counts = [sum(result.outcome == name for result in ours) for name in ("taken", "refused", "failure")]
        slowest = max((result.seconds for result in ours), default=0)
        print("{:8}{:9}{:10}{:9}{:10}{:13.2f}".format(format, len(ours), *counts, slowest))
    for missing in sorted(set(CONTAINERS) - set(FORMATS)):
        print(f"{missing}: this libsndfile has no such format")
    return int(any(result.outcome == "failure" for result in results))


if __name__ == "__main__":
    sys.exit(main())
