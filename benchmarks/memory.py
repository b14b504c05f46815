#!/usr/bin/env python3
"""Measure the resident memory, over time, of a process that embeds a long generated recording (on Linux).

python benchmarks/memory.py                               # pico-64, 10 s to 10 minutes
python benchmarks/memory.py pico-64 36000 --sr 44100      # ten hours
python benchmarks/memory.py models/sparse-ft-95.45.npz 3600
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from edgel3_np import load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.environment import environment
from edgel3_np.diagnostics.timing import peak_memory, variables

BLOCK = 10  # seconds of generated audio, which the recording repeats
INTERVAL = 0.05  # seconds between measurements


def write_recording(path, sr, seconds):
    """Write a 16-bit WAV file, block by block."""
    block = synthesise(sr, float(BLOCK))
    with soundfile.SoundFile(path, "w", sr, 1, "PCM_16") as file:
        for _ in range(seconds // BLOCK):
            file.write(block)


def resident(pid):
    """Return the resident memory of a process now, in MiB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(path, output, model):
    """Embed a recording with the command line.

    Returns
    -------
    measured : list of (float, float)
        Seconds since the start, and MiB.
    peak : float
        Peak in MiB, as the system counts it.
    """
    command = [sys.executable, "-m", "edgel3_np", path, "-o", output, "-m", model, "-t", "1", "-q", "--no-resume"]
    process, start, measured = subprocess.Popen(command, env=variables()), time.monotonic(), []
    peak = 0.0
    while process.poll() is None:
        try:
            measured.append((time.monotonic() - start, resident(process.pid)))
            with open(f"/proc/{process.pid}/status") as file:
                peak = max([peak, *(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            break
        time.sleep(INTERVAL)
    if process.wait():
        raise RuntimeError(f"embedding failed with exit code {process.returncode}")
    return measured, peak


def main():
    """Print a table: the memory at each tenth of the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="pico-64")
    parser.add_argument("seconds", nargs="*", type=int, default=[10, 60, 600], help="lengths, multiples of ten")
    parser.add_argument("--sr", type=int, help="rate of the recording, Hz (default: the model's)")
    options = parser.parse_args()
    model = load_model(options.model)
    sr = options.sr or model.sr
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"import alone: {peak_memory():.0f} MiB. {model.name}, hop 1 s, {sr} Hz")
    print("MiB at each tenth of the time, and peak:")
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "long.wav"
            write_recording(path, sr, seconds)
            measured, peak = watch(str(path), directory, options.model)
        tenths = [measured[(len(measured) - 1) * part // 10][1] for part in range(1, 11)]
        print(
            f"{seconds:6} s in {measured[-1][0]:6.1f} s:", *(f"{value:4.0f}" for value in tenths), f"  peak {peak:.0f}"
        )


if __name__ == "__main__":
    main()
