#!/usr/bin/env python3
"""Peak memory of a process that embeds audio of several lengths with a hop of one second (on Linux)."""

import sys
import tempfile
from pathlib import Path

import soundfile

from edgel3_np import load_model
from edgel3_np.timing import environment, peak_memory, synthesise

LENGTHS = (10, 60, 600)  # seconds, multiples of ten


def main():
    """Print a table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "pico-64"
    model = load_model(name)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"{model.name}: import alone {peak_memory():.0f} MiB")
    with tempfile.TemporaryDirectory() as directory:
        for seconds in map(int, sys.argv[2:] or LENGTHS):
            path = Path(directory) / f"{seconds}.wav"
            block = synthesise(model.sr, 10.0)
            with soundfile.SoundFile(path, "w", model.sr, 1, "PCM_16") as file:
                for _ in range(seconds // 10):
                    file.write(block)
            print(f"{model.name}: {seconds:4} s at {model.sr} Hz: peak {peak_memory(str(path), name):.0f} MiB")


if __name__ == "__main__":
    main()
