"""Step 5: turn a trained student into a network of whole numbers, without more training.

    python -m tools.distill.quantise tools/distill/pico-64.float.npz weights/pico-64.npz --cache ~/distill

Batch norms are folded. The spectrogram has 256 levels, in steps of 80/255; so has each map between layers. Its step is
chosen such that three activations in a hundred thousand lie above, in windows drawn from the training audio like those
of training (512, seed 0). The file records these activations, so it can be made again without the audio (a test does).
The weights have up to ten bits, and a scale for each filter that is a power of two: as many bits as leave every sum
exact, also those of `quads`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from edgel3_np._version import CONTRACT
from edgel3_np.collections.atomic import atomic
from edgel3_np.features.log_mel import TOP_DB
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.network import quads
from edgel3_np.network.plan import fold_batch_norms, input_affine
from edgel3_np.weights.format import POOLED, load_weights, save_weights
from edgel3_np.weights.integers import TOP, WEIGHT_BITS, input_range, quantise
from edgel3_np.weights.sparse import to_csr

from .audio import FRONTEND, PACKAGES, read_packages
from .shards import draw, load_training_clips, log_mel

WINDOWS, SEED, ABOVE = 512, 0, 3e-5  # of the calibration; share of the activations that may lie above the top level
STEP = TOP_DB / TOP  # of the spectrogram's levels


def calibration_windows(cache, packages, count=WINDOWS, seed=SEED):
    """Draw windows as step 2 does for training: log-mel spectrograms (count, 64, 50), float32."""
    clips, chances = load_training_clips(cache, packages)
    rng = np.random.default_rng(seed)
    seconds = np.stack([draw(clips, chances, rng) for _ in range(count)])
    return log_mel(seconds, mel_filterbank(FRONTEND).astype(np.float64), np.float32)


def top_activations(path, logmel, above=ABOVE):
    """Return for each layer but the last the activation that a share `above` of all is larger than: 7 float."""
    import torch
    from torch.nn import functional

    from .network import load_network

    network, maps = load_network(path), [[] for _ in range(7)]
    for start in range(0, len(logmel), 64):
        x = network.norms[0](torch.from_numpy(logmel[start : start + 64])[:, None])
        for number in range(1, 8):
            x = functional.relu(network.norms[number](network.convs[number - 1](x)))
            x = functional.max_pool2d(x, 2) if number in POOLED else x
            maps[number - 1].append(x.numpy().ravel())
    return [float(np.quantile(np.concatenate(parts), 1 - above)) for parts in maps]


def to_whole(weights, tops, made=None, bits=WEIGHT_BITS):
    """Turn the weights of a student into whole numbers.

    Parameters
    ----------
    weights : Weights
        With batch norms, and a ReLU after the last convolution or not.
    tops : list of 7 float
        Activations that become the top level.
    made : dict of str, optional
        What the provenance tells about it.
    bits : int
        Of a weight.

    Returns
    -------
    whole : Weights
    """
    scale, shift = (float(value[0]) for value in input_affine(weights))
    unit = scale * STEP  # what one level of the input stands for, behind the batch norm
    nearest = (TOP_DB - shift / scale) / STEP  # the level that the batch norm takes to zero, as the padding has it
    zero = int(np.clip(np.rint(nearest), 0, TOP))
    layers = []
    for number, ((kernel, bias), top) in enumerate(zip(fold_batch_norms(weights), [*tops, TOP]), 1):
        if number == 1:  # what the rounding of the zero adds to every input
            bias = bias + (zero - nearest) * unit * kernel.sum(axis=(0, 1, 2))
        low, high = input_range(zero) if number == 1 else (0, TOP)
        kernel, out = kernel.transpose(1, 0, 2, 3), top / TOP  # as files have it: mel bands first
        matrix = kernel.reshape(-1, kernel.shape[3]) * (unit / out)

        def sums_of_tiles(whole, offset, shape=kernel.shape):
            return quads.largest_sum(whole.reshape(shape).transpose(1, 0, 2, 3), offset)

        largest = sums_of_tiles if number > 1 else None
        whole, offset, shifts = quantise(matrix, bias / out, low, high, bits, largest)
        layers.append((to_csr(whole.reshape(kernel.shape), np.int16), offset, shifts))
        unit = out
    kernels, biases, shifts = zip(*layers)
    source = {**weights.provenance["source"], "quantised_from_sha256": weights.sha256, **(made or {})}
    provenance = {**weights.provenance, "contract": CONTRACT, "source": source}
    weights = weights._replace(provenance=provenance)
    return weights._replace(kernels=kernels, biases=biases, norms=(), sha256="", zero=zero, shifts=shifts)


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.quantise", description=__doc__.splitlines()[0])
    parser.add_argument("student", type=Path, help="weight file of the student, as step 4 writes it")
    parser.add_argument("output", type=Path, help="the npz to write")
    parser.add_argument("--cache", type=Path, required=True, help="folder with the decoded audio")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    weights = load_weights(args.student)
    logmel = calibration_windows(args.cache, read_packages(args.packages), args.windows, args.seed)
    tops = top_activations(args.student, logmel)
    calibration = f"{args.windows} windows of the training packages, seed {args.seed}"
    made = {"calibration": calibration, "top_activations": json.dumps(tops)}
    with atomic(args.output) as file:
        save_weights(file, to_whole(weights, tops, made))
    print(json.dumps({"bytes": args.output.stat().st_size, **made}), file=sys.stderr)


if __name__ == "__main__":
    main()
