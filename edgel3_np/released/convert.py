"""Convert Keras weights files of edgel3 and OpenL3 (HDF5, gzipped or not) to `Weights`.

A file holds a whole model (`model.save`) or only its weights (`save_weights`); those of OpenL3's audio models hold no
front end. Layers are recognised by their order and shapes, as their numbers differ from file to file. Needs h5py (extra
`convert`).
"""

import hashlib
import os
import re

import numpy as np

from .._files import read_file
from .._version import CONTRACT
from ..errors import EdgeL3Error
from ..features.mel import mel_filterbank
from ..features.stft import hann_window
from ..weights.format import Weights
from ..weights.registry import OPENL3_FRONTENDS, RELEASED, SEA, SPARSE, SPARSITIES, openl3_name
from ..weights.sparse import to_csr
from .catalogue import CITATIONS, FILES, LICENSES
from .keras import MAX_H5_BYTES, check_config, read_layers, sort_layers, unpack

DFT_TOLERANCE = 1e-6  # absolute, of kernels up to 1; the released ones are within 6e-8


def git_blob_sha1(content):
    """Return the hash by which git names a file's content: 40 hexadecimal digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def check_front_end(front_end, path):
    """Compare the stored front end with the formulas.

    Parameters
    ----------
    front_end : list of 3 np.ndarray
        As `sort_layers` returns it.
    path : str or Path
        For messages.

    Returns
    -------
    frontend : FrontEnd
    mel : np.ndarray or None
        The stored mel filterbank; None if it equals the formula bit for bit.
    error : float
        Largest difference of the DFT kernels.

    Raises
    ------
    EdgeL3Error
        The stored front end is another one.
    """
    real, imaginary, mel = front_end
    n_fft = real.shape[0]
    for frontend in (SEA, SPARSE):
        if (frontend.n_fft, frontend.n_mels) == (n_fft, mel.shape[1]):
            break
    else:
        known = ", ".join(f"{f.n_fft} and {f.n_mels}" for f in (SEA, SPARSE))
        raise EdgeL3Error(f"{path}: expected n_fft and n_mels of {known}; found {n_fft} and {mel.shape[1]}")
    bins = 1 + n_fft // 2
    if real.shape != (n_fft, 1, 1, bins) or imaginary.shape != real.shape or mel.shape != (bins, frontend.n_mels):
        expected, found = [*2 * [(n_fft, 1, 1, bins)], (bins, frontend.n_mels)], [array.shape for array in front_end]
        raise EdgeL3Error(f"{path}: front end: expected shapes {expected}, found {found}")
    error = max(np.abs(a - b).max() for a, b in zip((real[:, 0, 0], imaginary[:, 0, 0]), dft_kernels(n_fft)))
    if not error <= DFT_TOLERANCE:
        raise EdgeL3Error(
            f"{path}: DFT kernels: expected cosines and sines under a periodic Hann window, to within {DFT_TOLERANCE}, "
            f"found a difference of {error:.3g}; this package does not compute other transforms"
        )
    return frontend, None if np.array_equal(mel, mel_filterbank(frontend)) else mel, error


def dft_kernels(n_fft):
    """Return the real and imaginary kernels of kapre's STFT layer: two arrays of shape (n_fft, 1 + n_fft // 2)."""
    time, hann = np.arange(n_fft), hann_window(n_fft)[:, np.newaxis]
    phase = 2 * np.pi * (np.outer(time, np.arange(1 + n_fft // 2)) % n_fft) / n_fft
    return hann * np.cos(phase), -hann * np.sin(phase)


def recognise(filename, frontend, filters, activation, path):
    """Return the name of a model of edgel3.

    The network tells the SEA models apart. The sparse models share one network: the file's name tells which it is.

    Parameters
    ----------
    filename : str
        Without directories.
    frontend : FrontEnd
    filters : tuple of 8 int
    activation : {'relu', 'linear'}
        Of the last convolution.
    path : str or Path
        For messages.

    Raises
    ------
    EdgeL3Error
        No released model has this network, or the file's name does not tell which sparse model it is.
    """
    network = (frontend, filters, activation)
    names = [name for name, released in RELEASED.items() if released[:3] == network]
    if not names:
        raise EdgeL3Error(
            f"{path}: expected the network of a released model, found filters {filters}, a {activation} last "
            f"convolution and {frontend.n_mels} mel bands; pass --name to convert it all the same"
        )
    if len(names) == 1:
        return names[0]
    match = re.search(r"(ft|kd).*sparsity_(" + "|".join(map(re.escape, SPARSITIES)) + r")(?!\d)", filename)
    if not match:
        raise EdgeL3Error(
            f"{path}: expected a file name that tells which sparse model this is, such as "
            f"edgel3_ft_audio_sparsity_95.45.h5, found {filename!r}; pass --name, such as --name sparse-ft-95.45"
        )
    return f"sparse-{match[1]}-{match[2]}"


def recognise_openl3(filename, name, path):
    """Return the name of an OpenL3 model: `name` if it is one, otherwise what the file's name tells.

    The weights do not tell: the models for the three spectrograms share one network, and the front end is not stored.
    """
    match = re.search(f"({'|'.join(OPENL3_FRONTENDS)})_(music|env)", filename)
    name = name or (openl3_name(match[1], match[2]) if match else None)
    if name not in FILES or FILES[name].family != "openl3":
        raise EdgeL3Error(
            f"{path}: expected a file name that tells which of OpenL3's models this is, such as "
            f"openl3_audio_mel256_music-v0_4_0.h5, found {filename!r}; pass --name, such as --name openl3-mel256-music"
        )
    return name


def convert_file(path, name=None, dtype=np.float32):
    """Read the file at `path` and `convert` it."""
    return convert(read_file(path, MAX_H5_BYTES), path, name, dtype)


def convert(raw, path, name=None, dtype=np.float32):
    """Convert the content of a Keras weights file to `Weights`.

    Parameters
    ----------
    raw : bytes
        The file, gzipped or not.
    path : str or Path
        For messages; its last part, the file's name, tells which model it is where the weights do not.
    name : str, optional
        The model's name, if neither tells.
    dtype : float32 or float16
        Of the stored kernels.

    Returns
    -------
    weights : Weights
    kernels : list of 8 np.ndarray [shape=(3, 3, in, out), float32]
        As the file holds them.
    dft_error : float or None
        Largest difference of the file's DFT kernels from the formulas; None if the file has none.

    Raises
    ------
    EdgeL3Error
        The file is not a Keras weights file, or holds another network or front end; or h5py is not installed.
    """
    layers, config = read_layers(unpack(raw, path), path)
    front_end, norms, convolutions = sort_layers(layers, path)
    check_config(config, path)
    file = os.path.basename(path)
    filters = tuple(kernel.shape[3] for kernel, _ in convolutions)
    activation, pool_grid = "relu" if len(norms) == 9 else "linear", (1, 1)
    if front_end is None:
        name, mel, dft_error = recognise_openl3(file, name, path), None, None
        family, frontend, pool_grid = "openl3", RELEASED[name].frontend, RELEASED[name].pool_grid
    else:
        frontend, mel, dft_error = check_front_end(front_end, path)
        family = "sea" if frontend == SEA else "sparse"
        name = name or recognise(file, frontend, filters, activation, path)
    if name in RELEASED and RELEASED[name] != (frontend, filters, activation, pool_grid):
        raise EdgeL3Error(f"{path}: expected the network of {name}, found filters {filters}, {frontend}")
    source = {"file": file, "sha256": hashlib.sha256(raw).hexdigest(), "git_blob_sha1": git_blob_sha1(raw)}
    provenance = {"contract": CONTRACT, "source": source, "license": LICENSES[family], "citation": CITATIONS[family]}
    weights = Weights(
        name=name,
        frontend=frontend,
        final_activation=activation,
        kernels=tuple(to_csr(kernel, dtype) for kernel, _ in convolutions),
        biases=tuple(bias for _, bias in convolutions),
        norms=tuple(np.stack(norm) for norm in norms),
        mel=mel,
        provenance=provenance,
        pool_grid=pool_grid,
    )
    return weights, [kernel for kernel, _ in convolutions], dft_error
