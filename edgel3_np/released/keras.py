"""Read Keras weights files (HDF5, gzipped or not): the layers of an audio model of edgel3 or OpenL3. Needs h5py."""

import gzip
import io
import json

import numpy as np

from ..errors import EdgeL3Error
from ..weights.format import BATCH_NORM_EPSILON

MAX_H5_BYTES = 256 << 20


def import_h5py():
    """Return the module h5py, or raise `EdgeL3Error` if it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise EdgeL3Error(
            "expected h5py, which reads the released files (HDF5), but it cannot be imported; run `pip install h5py`, "
            "or install this package with its extra `convert`"
        ) from error
    return h5py


def unpack(raw, path):
    """Return the bytes of the HDF5 file: `raw` itself or, if that is gzipped, what it unpacks to."""
    content = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as file:
                content = file.read(MAX_H5_BYTES + 1)
        except (OSError, EOFError, gzip.zlib.error) as error:
            raise EdgeL3Error(f"{path}: expected a complete gzip file, found: {error}; download it again") from error
    if len(content) > MAX_H5_BYTES:
        raise EdgeL3Error(f"{path}: expected at most {MAX_H5_BYTES} bytes after unpacking, found more")
    return content


def read_layers(content, path):
    """Read the layers that have weights.

    Parameters
    ----------
    content : bytes
        An HDF5 file.
    path : str or Path
        For messages.

    Returns
    -------
    layers : list of (str, list of np.ndarray)
        Name and arrays, in the order of the file.
    config : dict or None
        The Keras `model_config`, if the file has one.

    Raises
    ------
    EdgeL3Error
        The file was not saved by Keras, or h5py is not installed.
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
    """Sort layers into front end, batch norms and convolutions.

    Parameters
    ----------
    layers : list of (str, list of np.ndarray)
        As `read_layers` returns them.
    path : str or Path
        For messages.

    Returns
    -------
    front_end : list of 3 np.ndarray, or None
        Real and imaginary DFT kernels, mel filterbank; None for OpenL3's files.
    norms, convolutions : list of list of np.ndarray
        Arrays of each batch norm and of each convolution, in order.

    Raises
    ------
    EdgeL3Error
        The layers, their order or their shapes are not those of an audio model of edgel3 or OpenL3.
    """
    kinds, arrays_of = "", {"m": [], "n": [], "c": []}
    for name, arrays in layers:
        kind = _layer_kind(name, arrays, path)
        kinds += kind
        arrays_of[kind].append(arrays)
    if kinds not in ("mn" + 8 * "cn", "mn" + 7 * "cn" + "c", "n" + 7 * "cn" + "c"):
        raise EdgeL3Error(
            f"{path}: expected a spectrogram (except in OpenL3's files), a batch norm, and 8 convolutions, each with a "
            f"batch norm (the last one perhaps without), found (m: spectrogram, n: norm, c: convolution) '{kinds}'; "
            "this is not an audio model of edgel3 or OpenL3"
        )
    norms, convolutions = arrays_of["n"], arrays_of["c"]
    _check_channels(norms, convolutions, path)
    return arrays_of["m"][0] if kinds[0] == "m" else None, norms, convolutions


def check_config(config, path):
    """Raise `EdgeL3Error` if a model's configuration asks for something that this package does not compute."""
    try:
        for layer in config["config"]["layers"] if config else ():
            _check_layer(layer["class_name"], layer["config"], f"{path}: {layer['name']}")
    except (KeyError, TypeError, AttributeError) as error:
        raise EdgeL3Error(f"{path}: expected a model configuration of Keras, found one without {error}") from error


def _check_layer(class_name, settings, where):
    if class_name == "BatchNormalization" and not abs(settings["epsilon"] - BATCH_NORM_EPSILON) <= 1e-9:
        raise EdgeL3Error(f"{where}: expected epsilon {BATCH_NORM_EPSILON}, found {settings['epsilon']}")
    if class_name == "Conv2D" and (settings["padding"] != "same" or list(settings["strides"]) != [1, 1]):
        found = f"{settings['padding']!r} and {settings['strides']}"
        raise EdgeL3Error(f"{where}: expected padding 'same' and stride 1, found {found}")


def _layer_kind(name, arrays, path):
    """Return m for a spectrogram, n for a batch norm, c for a 3x3 convolution."""
    shapes = [array.shape for array in arrays]
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
        raise EdgeL3Error(f"{path}: layer {name}: expected finite float32 weights, found others")
    if len(shapes) == 3 and [len(shape) for shape in shapes] == [4, 4, 2]:
        return "m"
    if len(shapes) == 4 and len(set(shapes)) == 1 and len(shapes[0]) == 1:
        return "n"
    if len(shapes) == 2 and shapes[0][:2] == (3, 3) and len(shapes[0]) == 4 and shapes[1] == shapes[0][3:]:
        return "c"
    raise EdgeL3Error(
        f"{path}: layer {name}: expected a spectrogram, a batch norm or a 3x3 convolution, found shapes {shapes}"
    )


def _check_channels(norms, convolutions, path):
    """Raise `EdgeL3Error` unless each layer has as many channels as the one before it puts out."""
    channels = 1
    for number, (kernel, bias) in enumerate(convolutions, 1):
        if kernel.shape[2] != channels:
            raise EdgeL3Error(f"{path}: conv{number}: expected {channels} input channels, found {kernel.shape[2]}")
        channels = kernel.shape[3]
        if number < len(norms) and norms[number][0].shape != bias.shape:
            found = len(norms[number][0])
            raise EdgeL3Error(f"{path}: batch norm after conv{number}: expected {channels} channels, found {found}")
    if norms[0][0].shape != (1,):
        raise EdgeL3Error(f"{path}: input batch norm: expected 1 channel, found shape {norms[0][0].shape}")
