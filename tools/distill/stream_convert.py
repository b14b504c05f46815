"""Write a trained network for streams, from `stream_export`, as a weight file of this package.

    python -m tools.distill.stream_convert tools/distill/pico-64-stream.npz weights/pico-64-stream.npz

No number changes. (To round the weights to multiples of powers of two, as those of pico-64 are, was tried: with 8 bits
the mean cosine to the teacher falls by .0004 on val, and 9 bits do not fit into 200 kB.)
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from edgel3_np._version import CONTRACT
from edgel3_np.collections.atomic import atomic
from edgel3_np.weights.columns import POSITIONED, ColumnWeights
from edgel3_np.weights.format import save_weights

from .audio import FRONTEND
from .stream_reference import read

SOURCE = {
    "file": "trained by tools/distill: see weights/README.md",
    "teacher": "edgel3_sea_ust_audio_emb_64.h5",
    "teacher_sha256": "e8cd0eaac5d444c231d81940e30dc904ffed5cdafa632f7a5547142dc8283912",
}
CITATION = (
    "S. Srivastava, D. Roy, M. Cartwright, J. P. Bello, A. Arora: Specialized embedding approximation for edge "
    "intelligence, ICASSP 2021 (method, and the teacher)"
)


def to_weights(path, name="pico-64-stream"):
    """Return the `ColumnWeights` of an npz of `stream_export`."""
    layers, silence = read(path)
    source = {**SOURCE, "trained_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    biases = (layer.bias.T if index == POSITIONED else layer.bias[:, 0] for index, layer in enumerate(layers))
    return ColumnWeights(
        name,
        FRONTEND,
        tuple(np.ascontiguousarray(layer.weight.transpose(2, 3, 1, 0)) for layer in layers),
        tuple(layer.factor for layer in layers),
        tuple(map(np.ascontiguousarray, biases)),
        silence,
        {"contract": CONTRACT, "source": source, "license": "MIT", "citation": CITATION},
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.stream_convert", description=__doc__.splitlines()[0])
    parser.add_argument("trained", type=Path, help="npz from stream_export")
    parser.add_argument("output", type=Path, help="the npz to write")
    args = parser.parse_args()
    with atomic(args.output) as file:
        save_weights(file, to_weights(args.trained))
    sha256 = hashlib.sha256(args.output.read_bytes()).hexdigest()
    print(json.dumps({"bytes": args.output.stat().st_size, "sha256": sha256}), file=sys.stderr)


if __name__ == "__main__":
    main()
