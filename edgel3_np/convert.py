"""Turn Keras weights files of edgel3 and OpenL3 (HDF5, gzipped or not) into `Weights`.

Reads whole models (`model.save`) and weights alone (`save_weights`); OpenL3's audio models hold no front end. Layers
are told by order and shape, never by number. Needs h5py (extra `convert`).
"""

import gzip
import hashlib
import io
import json
import os
import re

import numpy as np

from .errors import EdgeL3Error
from .melspectrogram import mel_filters
from .metadata import CITATIONS, CONTRACT, LICENSES, OPENL3, PUBLISHED, RELEASED, SEA, SPARSE
from .npz import read_file
from .plan import EPSILON
from .weights import Weights, to_csr

MAX_H5_BYTES = 256 << 20
DFT_TOLERANCE = 1e-6  # of kernels up to 1; the released ones are within 6e-8


def import_h5py():
    """The module h5py; `EdgeL3Error` where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise EdgeL3Error(
            "expected h5py, which reads the released files (HDF5), found that it cannot be imported; run "
            "`pip install h5py`, or install this package with its extra `convert`"
        ) from error
    return h5py


def unpack(raw, path):
    """The HDF5 file's bytes: `raw` itself, or what it unpacks to if it is gzipped."""
    content = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as file:
                content = file.read(MAX_H5_BYTES + 1)
        except (OSError, EOFError, gzip.zlib.error) as error:
            raise EdgeL3Error(f"{path}: expected a whole gzip file, found: {error}; download it again") from error
    if len(content) > MAX_H5_BYTES:
        raise EdgeL3Error(f"{path}: expected at most {MAX_H5_BYTES} bytes unpacked, found more")
    return content


def git_blob(content):
    """Git's hash of a file, which names the released files: 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_layers(content, path):
    """Read the layers that have weights.

    Returns
    -------
    layers : list of (str, list of np.ndarray)
        Name and arrays, in the order of the file.
    config : dict or None
        The Keras `model_config`, where the file has one.
    """
    h5py = import_h5py()

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


def convert_file(path, name=None, dtype=np.float32):
    """The same as `convert`, of the file at `path`."""
    return convert(read_file(path, MAX_H5_BYTES), path, name, dtype)


def convert(raw, path, name=None, dtype=np.float32):
    """Turn the content of a Keras weights file into `Weights`.

    Parameters
    ----------
    raw : bytes
        The file, gzipped or not.
    path : str or Path
        For messages; its last part, the file's name, tells which model it is where the weights do not.
    name : str, optional
        The model's name, where neither tells.
    dtype : float32 or float16
        Of the kernels stored.

    Returns
    -------
    weights : Weights
    kernels : list of 8 np.ndarray [shape=(3, 3, in, out), float32]
        As they are in the file.
    dft_error : float or None
        Largest difference of the file's DFT kernels from the formulas; None if it has none.

    Raises
    ------
    EdgeL3Error
        It is not such a file, or holds another network or front end; or h5py is not installed.
    """
    layers, config = read_layers(unpack(raw, path), path)
    front, norms, convolutions = sort_layers(layers, path)
    check_config(config, path)
    file = os.path.basename(path)
    filters = tuple(kernel.shape[3] for kernel, _ in convolutions)
    activation, grid, mel, dft_error = "relu" if len(norms) == 9 else "linear", (1, 1), None, None
    if front is None:
        name = recognise_openl3(file, name, path)
        frontend, _, _, grid = RELEASED[name]
    else:
        frontend, mel, dft_error = check_front_end(front, path)
        name = name or recognise(file, frontend, filters, activation, path)
    network = (frontend, filters, activation, grid)
    if RELEASED.get(name, network) != network:
        raise EdgeL3Error(f"{path}: expected the network of {name}, found filters {filters}, {frontend}")
    family = "openl3" if front is None else "sea" if frontend == SEA else "sparse"
    provenance = {
        "contract": CONTRACT,
        "source": {"file": file, "sha256": hashlib.sha256(raw).hexdigest(), "git_blob_sha1": git_blob(raw)},
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
