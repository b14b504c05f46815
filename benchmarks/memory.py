#!/usr/bin/env python3
"""Peak memory of a process that embeds audio of several lengths with a hop of one second (on Linux)."""

import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

from edgel3_np import load_model
from edgel3_np.bench import environment, synthesise

LENGTHS = (10, 60, 600)  # seconds


def peak(*arguments):
    """Peak resident memory of `python -c ...`, in MiB."""
    code = "import sys, edgel3_np\n"
    code += "if len(sys.argv) > 1: edgel3_np.embed(sys.argv[1], model=sys.argv[2], hop_size=1.0)\n"
    # not getrusage, whose peak a child inherits from its parent
    code += "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(ran.stdout) / 1024


def main():
    """Print a table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "pico-64"
    model = load_model(name)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"{model.name}: import alone {peak():.0f} MiB")
    with tempfile.TemporaryDirectory() as directory:
        for seconds in LENGTHS:
            path = Path(directory) / f"{seconds}.wav"
            block = synthesise(model.sr, 10.0)
            with soundfile.SoundFile(path, "w", model.sr, 1, "PCM_16") as file:
                for _ in range(seconds // 10):
                    file.write(block)
            print(f"{model.name}: {seconds:4} s at {model.sr} Hz: peak {peak(str(path), name):.0f} MiB")


if __name__ == "__main__":
    main()
