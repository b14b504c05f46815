"""Write a trained network for streams as integers: the npz that `stream_reference` reads."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from edgel3_np.collections.atomic import atomic

from .audio import FRONTEND
from .network import load_network
from .stream_network import INPUT_SCALE, load_average
from .stream_reference import TRUNK, Integers, Layer, largest_sums


def to_layers(network):
    """Return the layers of a network in torch that works with integers, as `stream_reference` has them."""
    layers, scale = [], INPUT_SCALE
    with torch.no_grad():
        for layer in network.layers():
            weight, factor, bias = layer.constants(scale)
            layers.append(
                Layer(weight.numpy().astype(np.int8), factor.flatten().numpy(), bias.flatten(1).contiguous().numpy())
            )
            scale = layer.log_scale.exp()
    return tuple(layers)


def silence(teacher):
    """Return the teacher's embedding of a window of zeros, whose spectrogram is zero: shape (dim,)."""
    with torch.no_grad():
        return teacher(torch.zeros(1, 1, FRONTEND.n_mels, FRONTEND.n_frames))[0].numpy()


def write(path, integers):
    """Write the npz, completely or not at all; return its size in bytes."""
    content = {"silence": integers.silence}
    for i, layer in enumerate(integers.layers):
        content.update({f"{part}{i}": value for part, value in layer._asdict().items()})
    with atomic(path) as file:
        np.savez_compressed(file, **content)
    return Path(path).stat().st_size


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.stream_export", description=__doc__.splitlines()[0])
    parser.add_argument("averages", type=Path, help="averages.pt of a run")
    parser.add_argument("name", help="which of its networks; it must have one causal view")
    parser.add_argument("output", type=Path, help="the npz to write")
    parser.add_argument("--teacher", type=Path, required=True, help="SEA-64, as h5 or npz")
    args = parser.parse_args()
    network = load_average(args.averages, args.name)
    structure = network.structure
    if not (network.integer() and structure.causal and structure.views == "loud" and structure.time_pool == 3):
        raise SystemExit(f"{args.name}: expected a network of integers with one causal view, found {structure}")
    integers = Integers(to_layers(network), silence(load_network(args.teacher)))
    sums = largest_sums(integers)
    if max(sums) >= 2**24:
        raise SystemExit(f"expected sums below 2^24, found {max(sums):.0f}")
    size = write(args.output, integers)
    weights = sum(layer.weight.size for layer in integers.layers)
    used = [f"{value / 2**24:.2f}" for value in sums]
    print(json.dumps({"bytes": size, "weights": weights, "trunk": TRUNK, "sums": " ".join(used)}), file=sys.stderr)


if __name__ == "__main__":
    main()
