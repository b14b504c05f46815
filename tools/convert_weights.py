#!/usr/bin/env python3
"""Convert a Keras weights file of edgel3 (HDF5) to the compressed sparse npz that edgel3_np loads.

    python tools/convert_weights.py edgel3_sea_ust_audio_emb_64.h5.gz -o weights/sea-64.npz

Reads whole models (`model.save`) and weights alone (`save_weights`), gzipped or not; of edgel3, and of OpenL3's audio
models, which hold no front end. Layers are told by order and shape, never by number.

Needs h5py: `pip install edgel3_np[convert]`.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import sys
from pathlib import Path

import numpy as np

try:
    import edgel3_np  # noqa: F401
except ImportError:  # a checkout that has not been installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgel3_np.errors import EdgeL3Error
from edgel3_np.melspectrogram import mel_filters, melspectrogram
from edgel3_np.metadata import CITATIONS, CONTRACT, LICENSES, OPENL3, PUBLISHED, RELEASED, SEA, SPARSE
from edgel3_np.network import forward, workspace
from edgel3_np.output import atomic
from edgel3_np.plan import EPSILON, plan
from edgel3_np.weights import Weights, load_weights, save_weights, to_csr, to_dense

MAX_H5_BYTES = 256 << 20
DFT_TOLERANCE = 1e-6  # of kernels up to 1; the released ones are within 6e-8


def read_source(path):
    """Return the HDF5 file's bytes (unpacked if gzipped) and the sha256 of `path` as it is."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise EdgeL3Error(f"{path}: cannot be read: {error.strerror}") from error
    content = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as file:
                content = file.read(MAX_H5_BYTES + 1)
        except (OSError, EOFError, gzip.zlib.error) as error:
            raise EdgeL3Error(f"{path}: expected a whole gzip file, found: {error}; download it again") from error
    if len(content) > MAX_H5_BYTES:
        raise EdgeL3Error(f"{path}: expected at most {MAX_H5_BYTES} bytes unpacked, found more")
    return content, hashlib.sha256(raw).hexdigest()


def read_layers(content, path):
    """Read the layers that have weights.

    Returns
    -------
    layers : list of (str, list of np.ndarray)
        Name and arrays, in the order of the file.
    config : dict or None
        The Keras `model_config`, where the file has one.
    """
    import h5py

    def text(value):
        return value.decode() if isinstance(value, bytes) else str(value)

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            group = file.get("model_weights", file)
            layers = []
            for name in map(text, group.attrs["layer_names"]):
                arrays = [np.asarray(group[name][text(key)]) for key in group[name].attrs.get("weight_names", ())]
                if arrays:
                    layers.append((name, arrays))
            config = json.loads(text(file.attrs["model_config"])) if "model_config" in file.attrs else None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise EdgeL3Error(f"{path}: expected weights saved by Keras (HDF5), found: {error}") from error
    return layers, config


def sort_layers(layers, path):
    """Tell front end, batch norms and convolutions apart by shape, and check that they follow each other as they must.

    Returns
    -------
    front : list of 3 np.ndarray, or None
        Real and imaginary DFT kernels, mel matrix; OpenL3's files hold none.
    norms, convolutions : list
        Arrays of each batch norm, and of each convolution, in order.
    """
    kinds, sorted_layers = "", {"m": [], "n": [], "c": []}
    for name, arrays in layers:
        shapes = [array.shape for array in arrays]
        if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
            raise EdgeL3Error(f"{path}: layer {name}: expected finite float32 weights, found others")
        if len(shapes) == 3 and [len(shape) for shape in shapes] == [4, 4, 2]:
            kind = "m"
        elif len(shapes) == 4 and len(set(shapes)) == 1 and len(shapes[0]) == 1:
            kind = "n"
        elif len(shapes) == 2 and shapes[0][:2] == (3, 3) and len(shapes[0]) == 4 and shapes[1] == shapes[0][3:]:
            kind = "c"
        else:
            raise EdgeL3Error(
                f"{path}: layer {name}: expected a spectrogram, a batch norm or a 3x3 convolution, found {shapes}"
            )
        kinds += kind
        sorted_layers[kind].append(arrays)
    if kinds not in ("mn" + 8 * "cn", "mn" + 7 * "cn" + "c", "n" + 7 * "cn" + "c"):
        raise EdgeL3Error(
            f"{path}: expected a spectrogram (not in OpenL3's), a batch norm, and 8 convolutions each with a batch "
            f"norm (but perhaps the last), found (m: spectrogram, n: norm, c: convolution) '{kinds}'; this is no audio "
            "model of edgel3 or OpenL3"
        )
    norms, convolutions = sorted_layers["n"], sorted_layers["c"]
    channels = 1
    for number, (kernel, bias) in enumerate(convolutions, 1):
        if kernel.shape[2] != channels:
            raise EdgeL3Error(f"{path}: conv{number}: expected {channels} input channels, found {kernel.shape[2]}")
        channels = kernel.shape[3]
        if number < len(norms) and norms[number][0].shape != bias.shape:
            raise EdgeL3Error(f"{path}: batch norm after conv{number}: expected {channels} channels, found others")
    if norms[0][0].shape != (1,):
        raise EdgeL3Error(f"{path}: input batch norm: expected 1 channel, found shape {norms[0][0].shape}")
    return sorted_layers["m"][0] if kinds[0] == "m" else None, norms, convolutions


def check_front_end(front, path):
    """Compare the stored front end with the formulas.

    Returns
    -------
    frontend : FrontEnd
    mel : np.ndarray or None
        The stored mel matrix, if it is not the formula's bit for bit.
    error : float
        Largest difference of the DFT kernels.
    """
    real, imaginary, mel = front
    n_fft = real.shape[0]
    for frontend in (SEA, SPARSE):
        if (frontend.n_fft, frontend.n_mels) == (n_fft, mel.shape[1]):
            break
    else:
        known = ", ".join(f"{f.n_fft} and {f.n_mels}" for f in (SEA, SPARSE))
        raise EdgeL3Error(f"{path}: expected n_fft and n_mels of {known}; found {n_fft} and {mel.shape[1]}")
    bins = 1 + n_fft // 2
    if real.shape != (n_fft, 1, 1, bins) or imaginary.shape != real.shape or mel.shape != (bins, frontend.n_mels):
        raise EdgeL3Error(f"{path}: front end: found shapes {[array.shape for array in front]}, which do not fit")
    error = max(np.abs(a - b).max() for a, b in zip((real[:, 0, 0], imaginary[:, 0, 0]), dft_kernels(n_fft)))
    if not error <= DFT_TOLERANCE:
        raise EdgeL3Error(
            f"{path}: DFT kernels: expected cosines and sines under a periodic Hann window to {DFT_TOLERANCE}, found a "
            f"difference of {error:.3g}; a model with another transform would be computed wrongly"
        )
    return frontend, None if np.array_equal(mel, mel_filters(frontend)) else mel, error


def dft_kernels(n_fft):
    """Real and imaginary kernels of kapre's STFT layer: two arrays of shape (n_fft, 1 + n_fft // 2)."""
    time = np.arange(n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / n_fft)
    phase = 2 * np.pi * (np.outer(time, np.arange(1 + n_fft // 2)) % n_fft) / n_fft
    return hann[:, np.newaxis] * np.cos(phase), -hann[:, np.newaxis] * np.sin(phase)


def check_config(config, path):
    """Refuse a model whose configuration says that it computes something else than we do."""
    for layer in config["config"]["layers"] if config else ():
        settings = layer["config"]
        if layer["class_name"] == "BatchNormalization" and abs(settings["epsilon"] - EPSILON) > 1e-9:
            raise EdgeL3Error(f"{path}: {layer['name']}: expected epsilon {EPSILON}, found {settings['epsilon']}")
        if layer["class_name"] == "Conv2D" and (settings["padding"] != "same" or list(settings["strides"]) != [1, 1]):
            raise EdgeL3Error(f"{path}: {layer['name']}: expected padding 'same' and stride 1, found others")


def recognise(filename, frontend, filters, activation, path):
    """Name the model: by its network, and for sparse models by its file's name, for nothing in the weights tells."""
    names = [name for name, network in RELEASED.items() if network[:3] == (frontend, filters, activation)]
    if not names:
        raise EdgeL3Error(
            f"{path}: expected the network of a released model, found filters {filters}, a {activation} last "
            f"convolution and {frontend.n_mels} mel bands; pass --name to convert it all the same"
        )
    if len(names) == 1:
        return names[0]
    match = re.search(r"(ft|kd).*sparsity_(" + "|".join(map(re.escape, PUBLISHED)) + r")(?!\d)", filename)
    if not match:
        raise EdgeL3Error(
            f"{path}: a sparse network, but its file name does not tell which (as edgel3_ft_audio_sparsity_95.45.h5 "
            "does); pass --name, such as --name sparse-ft-95.45"
        )
    return f"sparse-{match[1]}-{match[2]}"


def recognise_openl3(filename, name, path):
    """Name an OpenL3 model, by its file's name: nothing in the weights tells what spectrograms they are for."""
    match = re.search(f"({'|'.join(OPENL3)})_(music|env)", filename)
    name = name or (f"openl3-{match[1]}-{match[2]}" if match else None)
    if name not in RELEASED or not name.startswith("openl3-"):
        raise EdgeL3Error(
            f"{path}: OpenL3's weights, but its file name does not tell which (as openl3_audio_mel256_music-v0_4_0.h5 "
            "does); pass --name, such as --name openl3-mel256-music"
        )
    return name


def convert(path, name=None, dtype=np.float32):
    """Read a Keras file and return `Weights`, the dense kernels, and the largest difference of its DFT kernels."""
    content, sha256 = read_source(path)
    layers, config = read_layers(content, path)
    front, norms, convolutions = sort_layers(layers, path)
    check_config(config, path)
    filters = tuple(kernel.shape[3] for kernel, _ in convolutions)
    activation, grid, mel, dft_error = "relu" if len(norms) == 9 else "linear", (1, 1), None, None
    if front is None:
        name = recognise_openl3(Path(path).name, name, path)
        frontend, _, _, grid = RELEASED[name]
    else:
        frontend, mel, dft_error = check_front_end(front, path)
        name = name or recognise(Path(path).name, frontend, filters, activation, path)
    network = (frontend, filters, activation, grid)
    if RELEASED.get(name, network) != network:
        raise EdgeL3Error(f"{path}: expected the network of {name}, found filters {filters}, {frontend}")
    family = "openl3" if front is None else "sea" if frontend == SEA else "sparse"
    provenance = {
        "contract": CONTRACT,
        "source": {"file": Path(path).name, "sha256": sha256},
        "license": LICENSES[family],
        "citation": CITATIONS[family],
    }
    weights = Weights(
        name,
        frontend,
        activation,
        tuple(to_csr(kernel, dtype) for kernel, _ in convolutions),
        tuple(bias for _, bias in convolutions),
        tuple(np.stack(norm) for norm in norms),
        mel,
        provenance,
        grid,
    )
    return weights, [kernel for kernel, _ in convolutions], dft_error


def table(weights, kernels):
    """Lines of the table that `main` prints."""
    published = PUBLISHED.get(weights.name.rpartition("-")[2], [None] * 8)
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
    """Largest relative error of an embedding that rounding the weights causes, over four windows of made-up sound."""
    frontend = exact.frontend
    rng = np.random.default_rng(0)
    time = np.arange(frontend.sr) / frontend.sr
    noise = rng.standard_normal(frontend.sr)
    sweep = np.sin(2 * np.pi * (100 + frontend.sr / 5 * time) * time)
    sounds = np.stack([noise, np.cumsum(noise), sweep, sweep * (time % 0.25 < 0.05) + 0.01 * noise])
    results = []
    for network in (plan(exact), plan(rounded)):
        results.append(forward(network, melspectrogram(sounds, frontend, network.bands), workspace(network)))
    return float((np.abs(results[1] - results[0]).max(axis=1) / np.abs(results[0]).max(axis=1)).max())


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="Keras weights file, .h5 or .h5.gz")
    parser.add_argument("-o", "--output", metavar="OUT.npz", help="file to write (default: <name>.npz here)")
    parser.add_argument("--name", help="the model's name, where the file does not tell")
    parser.add_argument(
        "--dtype", choices=["float32", "float16"], default="float32", help="of kernels stored (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        weights, kernels, dft_error = convert(options.source, options.name, np.dtype(options.dtype))
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
        print("no front end in the file: OpenL3's, by its name")
    else:
        print(f"DFT kernels within {dft_error:.1e} of the formulas; mel matrix ", end="")
        print("equal to the formula" if weights.mel is None else "differs from the formula in rounding: kept as stored")
    print("\n".join(table(weights, kernels)))
    # adding 0.0 turns -0.0, of which pruning leaves many, into 0.0 and changes nothing else
    exact = all((k + 0.0).tobytes() == to_dense(c).tobytes() for k, c in zip(kernels, stored.kernels))
    if exact:
        print("round trip: dense kernels equal to the source bit for bit (but for the sign of zeros)")
    elif options.dtype == "float16":
        error = rounding_error(weights._replace(kernels=tuple(map(to_csr, kernels))), stored)
        print(f"float16 changes an embedding by up to {error:.1e} of its largest value (four made-up sounds)")
    else:
        print(f"{output}: round trip failed; this is a bug", file=sys.stderr)
        return 1
    print(f"{output}: {Path(output).stat().st_size} bytes, sha256 {stored.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
