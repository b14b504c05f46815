#!/usr/bin/env python3
"""Convert a Keras weights file of edgel3 or OpenL3 (HDF5) to the compressed sparse npz that edgel3_np loads.

    python tools/convert_weights.py edgel3_sea_ust_audio_emb_64.h5.gz -o weights/sea-64.npz

The file may have any origin; `python -m edgel3_np install` downloads and converts the official ones.
`edgel3_np/released/convert.py` describes the files that can be converted.

Needs h5py: `pip install h5py`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

try:
    import edgel3_np  # noqa: F401
except ImportError:  # a checkout that has not been installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgel3_np.collections.atomic import atomic
from edgel3_np.errors import EdgeL3Error
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.network.forward import Workspace, forward
from edgel3_np.network.plan import plan_network
from edgel3_np.released.catalogue import LAYER_SPARSITIES
from edgel3_np.released.convert import convert_file
from edgel3_np.weights.format import load_weights, save_weights
from edgel3_np.weights.sparse import to_csr, to_dense


def table(weights, kernels):
    """Yield the lines of a table: the sparsity of each layer, and the one in the EdgeL3 paper."""
    published = LAYER_SPARSITIES.get(weights.name.rpartition("-")[2], [None] * 8)
    yield f"{'layer':6} {'shape':>16} {'weights':>9} {'non-zero':>9} {'sparsity':>9} {'published':>9} {'bytes':>9}"
    totals = [0, 0, 0]
    for number, (kernel, csr, rate) in enumerate(zip(kernels, weights.kernels, published), 1):
        non_zero, size = np.count_nonzero(kernel), sum(part.nbytes for part in csr[:3])
        totals = [total + value for total, value in zip(totals, (kernel.size, non_zero, size))]
        rate = "" if rate is None else f"{rate} %"
        shape = "x".join(map(str, kernel.shape))
        sparsity = f"{100 * (1 - non_zero / kernel.size):.2f} %"
        yield f"conv{number:<2} {shape:>16} {kernel.size:>9} {non_zero:>9} {sparsity:>9} {rate:>9} {size:>9}"
    sparsity = f"{100 * (1 - totals[1] / totals[0]):.2f} %"
    overall = f"{weights.name.rpartition('-')[2]} %" if published[0] is not None else ""
    yield f"{'all':6} {'':>16} {totals[0]:>9} {totals[1]:>9} {sparsity:>9} {overall:>9} {totals[2]:>9}"


def rounding_error(exact, rounded):
    """Return the largest relative error of an embedding that rounded weights cause, over four generated sounds."""
    frontend = exact.frontend
    rng = np.random.default_rng(0)
    time = np.arange(frontend.sr) / frontend.sr
    noise = rng.standard_normal(frontend.sr)
    sweep = np.sin(2 * np.pi * (100 + frontend.sr / 5 * time) * time)
    sounds = np.stack([noise, np.cumsum(noise), sweep, sweep * (time % 0.25 < 0.05) + 0.01 * noise])
    results = []
    for network in map(plan_network, (exact, rounded)):
        log_mel = log_mel_spectrogram(sounds, frontend, network.bands)
        results.append(forward(Workspace(network), log_mel))
    return float((np.abs(results[1] - results[0]).max(axis=1) / np.abs(results[0]).max(axis=1)).max())


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="Keras weights file, .h5 or .h5.gz")
    parser.add_argument("-o", "--output", metavar="OUT.npz", help="file to write (default: <name>.npz here)")
    parser.add_argument("--name", help="the model's name, if the file does not tell it")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="of the stored kernels (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        weights, kernels, dft_error = convert_file(options.source, options.name, np.dtype(options.dtype))
        output = options.output or f"{weights.name}.npz"
        with atomic(output) as file:
            save_weights(file, weights)
        stored = load_weights(output)
    except EdgeL3Error as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot write {error.filename or options.output}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.source}: {weights.name}, {weights.frontend}")
    if dft_error is None:
        print("no front end in the file: the name decides which of OpenL3's it is")
    else:
        mel = (
            "equals the formula"
            if weights.mel is None
            else "differs from the formula in rounding and is kept as stored"
        )
        print(f"DFT kernels within {dft_error:.1e} of the formulas; the mel filterbank {mel}")
    print("\n".join(table(weights, kernels)))
    # pruning leaves many values of -0.0; adding 0.0 turns them into 0.0 and changes nothing else
    exact = all((k + 0.0).tobytes() == to_dense(c).tobytes() for k, c in zip(kernels, stored.kernels))
    if exact:
        print("round trip: the dense kernels equal the source bit for bit (except the sign of zeros)")
    elif options.dtype == "float16":
        error = rounding_error(weights._replace(kernels=tuple(map(to_csr, kernels))), stored)
        print(f"float16 changes an embedding by up to {error:.1e} of its largest value (four generated sounds)")
    else:
        print(f"{output}: the round trip failed; please report this as a bug", file=sys.stderr)
        return 1
    print(f"{output}: {Path(output).stat().st_size} bytes, sha256 {stored.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
