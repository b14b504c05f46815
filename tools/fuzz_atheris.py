"""Coverage-guided fuzzing, with atheris, of what reads files: the loaders of weights and classifiers, the audio reader.

    python tools/fuzz_atheris.py weights --seconds 60
    python tools/fuzz_atheris.py classifiers --seconds 60
    python tools/fuzz_atheris.py audio --seconds 60

Only `edgel3_np` is instrumented, neither libsndfile nor zipfile. Any exception except `EdgeL3Error` counts as a crash;
so do a numeric warning, 20 s without an end, and 1 GiB of memory. Only the first `MAX_BLOCKS` blocks of a sound are
read, because a few bytes may declare hours of silence. Inputs that crash are written to the working directory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections import deque
from itertools import islice
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]  # last: an installed package is found first
with atheris.instrument_imports(include=["edgel3_np"]):
    import edgel3_np
    import edgel3_np.audio.reading
    import edgel3_np.classify.classifier
    import edgel3_np.pipeline

import mutants
import soundfile  # noqa: F401 imported here, so that the first input does not have to

MAX_BLOCKS = 20  # each block has 2 MiB
MAX_BYTES = 1 << 15


def read_weights(content, path):
    path.write_bytes(content)
    edgel3_np.load_model(path)


def read_classifier(content, path):
    edgel3_np.classify.classifier.parse_classifier(content, "input")


def read_audio(content, path):
    with edgel3_np.audio.reading.open_audio(content) as (_, blocks):
        for _ in islice(blocks, MAX_BLOCKS):
            pass


SOUNDS = [name for name in mutants.FORMATS if name not in mutants.ARCHIVES]
TARGETS = {  # what reads an input, and the formats of the good files
    "weights": (read_weights, ["NPZ"]),
    "classifiers": (read_classifier, ["CLASSES"]),
    "audio": (read_audio, SOUNDS),
}


def fuzz(target, directory, flags):
    """Fuzz a target. This never returns: libFuzzer ends the process."""
    warnings.simplefilter("error", RuntimeWarning)
    read, path = TARGETS[target][0], directory / "input.npz"

    def test_one_input(content):
        try:
            read(content, path)
        except edgel3_np.EdgeL3Error as error:
            if isinstance(error.__cause__, (MemoryError, Warning)):
                raise error.__cause__ from error

    atheris.Setup([sys.argv[0], *flags, str(directory / "corpus")], test_one_input)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: a different one each time")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        flags = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-max_len={MAX_BYTES}"]
        fuzz(options.target, options.child, [*flags, "-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"])
    memory = "/dev/shm"  # in memory, because each input of the loader is written to a file
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as directory:
        (Path(directory) / "corpus").mkdir()
        for name in TARGETS[options.target][1]:
            for number, content in enumerate(mutants.recordings(name)):
                (Path(directory) / "corpus" / f"{name}-{number}").write_bytes(content)
        command = [sys.executable, *sys.argv, "--child", directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
            last = deque(child.stdout, maxlen=60)  # decoders write thousands of notes
    for line in last:
        if child.returncode or line.startswith(b"stat::"):
            print(line.decode(errors="replace").rstrip())
    return child.returncode


if __name__ == "__main__":
    sys.exit(main())
