"""Step 4: write a trained student as a weight file of this package."""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from edgel3_np._version import CONTRACT
from edgel3_np.collections.atomic import atomic
from edgel3_np.weights.format import Weights, save_weights
from edgel3_np.weights.sparse import to_csr

from .network import FRONTEND, Network


def averaged(path):
    """Read the averaged network of a trainer's checkpoint, with pruned weights zero, in evaluation mode."""
    content = torch.load(path, weights_only=True)
    network = Network(content["filters"])
    network.load_state_dict(content["average"])
    with torch.no_grad():
        for conv, mask in zip(network.convs, content["masks"]):
            conv.weight.mul_(mask)
    return network.eval()


def to_weights(network, name, provenance, dtype=np.float16):
    """Turn a student in torch into the content of a weight file.

    Parameters
    ----------
    network : Network
    name : str
    provenance : dict
        `source` (dict of str), `license`, `citation`.
    dtype : np.float16 or np.float32
        Type of the kernels' values.

    Returns
    -------
    weights : Weights
    """

    def array(tensor):
        return tensor.detach().to(torch.float32).contiguous().numpy()

    norms = [
        np.stack([array(part) for part in (norm.weight, norm.bias, norm.running_mean, norm.running_var)])
        for norm in network.norms
    ]
    kernels = [array(conv.weight).transpose(2, 3, 1, 0) for conv in network.convs]  # (3, 3, in, out)
    return Weights(
        name=name,
        frontend=FRONTEND,
        final_activation="relu",
        kernels=tuple(to_csr(kernel, dtype) for kernel in kernels),
        biases=tuple(np.zeros(count, np.float32) for count in network.filters),
        norms=tuple(norms),
        mel=None,
        provenance={"contract": CONTRACT, **provenance},
    )


def write(path, weights):
    """Write a weight file, completely or not at all; return its size in bytes."""
    with atomic(path) as file:
        save_weights(file, weights)
    return os.stat(path).st_size


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.export", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="best.pt or last.pt of a run")
    parser.add_argument("output", type=Path, help="the npz to write")
    parser.add_argument("--name", default="pico-64")
    parser.add_argument("--float32", action="store_true", help="store the kernels' values in single precision")
    parser.add_argument("--license", default="MIT")
    parser.add_argument(
        "--citation",
        default="S. Srivastava, D. Roy, M. Cartwright, J. P. Bello, A. Arora: Specialized embedding approximation for "
        "edge intelligence, ICASSP 2021 (method, and the teacher)",
    )
    args = parser.parse_args()
    content = torch.load(args.checkpoint, weights_only=True)
    network = averaged(args.checkpoint)
    nonzero = sum(int(torch.count_nonzero(conv.weight)) for conv in network.convs)
    source = {
        "file": "trained by tools/distill: see weights/README.md",
        "teacher": "edgel3_sea_ust_audio_emb_64.h5",
        "teacher_sha256": "e8cd0eaac5d444c231d81940e30dc904ffed5cdafa632f7a5547142dc8283912",
        "windows": str(content["counters"]["windows"]),
        "minutes": f"{content['counters']['seconds'] / 60:.0f}",
        "seed": str(content["args"]["seed"]),
        "nonzero_weights": str(nonzero),
    }
    provenance = {"source": source, "license": args.license, "citation": args.citation}
    weights = to_weights(network, args.name, provenance, np.float32 if args.float32 else np.float16)
    size = write(args.output, weights)
    print(json.dumps({"bytes": size, "filters": network.filters, **source}), file=sys.stderr)


if __name__ == "__main__":
    main()
