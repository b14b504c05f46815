"""Make random networks, their Keras files, and maps in the layout of the algorithms."""

import json

import numpy as np

from edgel3_np._version import CONTRACT
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.network import quads
from edgel3_np.weights.columns import ColumnWeights, kernel_shapes
from edgel3_np.weights.format import Weights
from edgel3_np.weights.integers import TOP, input_range, quantise
from edgel3_np.weights.registry import SEA
from edgel3_np.weights.sparse import to_csr

SMALL = (4, 4, 6, 8, 8, 10, 12, 16)
PROVENANCE = {
    "contract": CONTRACT,
    "source": {"file": "none", "sha256": "none"},
    "license": "MIT",
    "citation": "none",
}


def random_arrays(filters=SMALL, final_activation="relu", density=1.0, seed=0):
    """Make random kernels, biases and batch norms.

    Returns
    -------
    kernels : list of np.ndarray [shape=(3, 3, in, out), float32]
    biases : list of np.ndarray [shape=(out,), float32]
    norms : list of np.ndarray [shape=(4, out), float32]
    """
    rng = np.random.default_rng(seed)
    kernels, biases, norms, channels = [], [], [_random_norm(rng, 1)], 1
    norms[0][2:] = [[-30.0], [400.0]]  # about the mean and variance of a log-mel spectrogram
    for number, out in enumerate(filters, 1):
        kernel = rng.standard_normal((3, 3, channels, out)) * np.sqrt(2 / (9 * channels * density))
        kernel *= rng.random(kernel.shape) < density  # leaves zeros of both signs, as pruning does
        kernels.append(kernel.astype(np.float32))
        biases.append((0.1 * rng.standard_normal(out)).astype(np.float32))
        if number < 8 or final_activation == "relu":
            norms.append(_random_norm(rng, out))
        channels = out
    return kernels, biases, norms


def _random_norm(rng, n):
    gamma = rng.uniform(0.5, 1.5, n) * rng.choice([-1, 1], n, p=[0.1, 0.9])
    return np.stack([gamma, 0.1 * rng.standard_normal(n), 0.2 * rng.standard_normal(n), rng.uniform(0.5, 2, n)]).astype(
        np.float32
    )


def random_weights(filters=SMALL, final_activation="relu", density=1.0, seed=0, frontend=SEA, name="small"):
    """Make the `Weights` of a random network."""
    kernels, biases, norms = random_arrays(filters, final_activation, density, seed)
    kernels = tuple(to_csr(kernel) for kernel in kernels)
    return Weights(name, frontend, final_activation, kernels, tuple(biases), tuple(norms), None, PROVENANCE)


def whole_weights(
    filters=SMALL, final_activation="relu", density=1.0, seed=0, frontend=SEA, largest=quads.largest_sum, bits=10
):
    """Make the `Weights` of a random network of whole numbers.

    Its activations use all levels. `largest` is what must stay exact besides plain sums, of kernels as `plan` has them.
    """
    rng, layers, channels = np.random.default_rng(seed), [], 1
    for number, out in enumerate(filters, 1):
        matrix = rng.standard_normal((9 * channels, out)) * np.sqrt(2 / (9 * channels * density))
        matrix *= (rng.random(matrix.shape) < density) * 10 ** rng.uniform(-0.1, 0.1, out)
        bounds = input_range(170) if number == 1 else (0, TOP)
        shape = 3, 3, channels, out

        def bound(whole, offset, shape=shape):
            return largest(whole.reshape(shape).transpose(1, 0, 2, 3), offset)

        use = bound if largest and number > 1 else None
        whole, offset, shift = quantise(matrix, rng.uniform(-20, 60, out), *bounds, bits=bits, largest=use)
        layers.append((to_csr(whole.reshape(shape), np.int16), offset, shift))
        channels = out
    kernels, biases, shifts = zip(*layers)
    return Weights("whole", frontend, final_activation, kernels, biases, (), None, PROVENANCE, zero=170, shifts=shifts)


STREAM = (4, 4, 6, 8, 8, 10, 12, 9, 10, 7, 16)


def column_weights(filters=STREAM, seed=0, frontend=SEA):
    """Make the `ColumnWeights` of a random network for streams, whose activations use all levels."""
    rng, kernels, factors, biases = np.random.default_rng(seed), [], [], []
    for number, shape in enumerate(kernel_shapes(filters)):
        kernel = rng.integers(-127, 128, shape, np.int8)
        kernel[..., :2] = 127 if seed % 2 else kernel[..., :2]  # filters that are far from zero
        spread = 74 * np.sqrt(np.prod(shape[:3])) * 10 ** rng.uniform(-0.2, 0.2, shape[3])
        kernels.append(kernel)
        factors.append((1 / spread).astype(np.float32))
        biases.append(rng.uniform(0, 90, (10, shape[3]) if number == 8 else shape[3]).astype(np.float32))
    silence = rng.uniform(0, 3, filters[-1]).astype(np.float32)
    return ColumnWeights("columns", frontend, tuple(kernels), tuple(factors), tuple(biases), silence, PROVENANCE)


def random_levels(frontend, n, seed=0):
    """Make random spectrograms in levels: shape (n, n_mels, n_frames), float32."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, TOP + 1, (n, frontend.n_mels, frontend.n_frames)).astype(np.float32)


def random_log_mel(frontend, n, seed=0):
    """Make random spectrograms with the range of real ones: shape (n, n_mels, n_frames), float32."""
    rng = np.random.default_rng(seed)
    return -80 * rng.random((n, frontend.n_mels, frontend.n_frames)).astype(np.float32) ** 2


def write_keras(path, arrays, frontend=SEA, whole_model=True, first_number=1, front=None):
    """Write a Keras HDF5 file as edgel3's models are saved.

    Parameters
    ----------
    path : str or Path
    arrays : tuple
        From `random_arrays`.
    frontend : FrontEnd
    whole_model : bool
        Whether the file is as `model.save` writes it; otherwise it is as `save_weights` writes it.
    first_number : int
        First of the layers' numbers, which depend on the session that saves them.
    front : list of np.ndarray, optional
        Real and imaginary kernels and mel matrix; by default, those of the formulas. If it is empty, there is no such
        layer, as in OpenL3's files.
    """
    import h5py

    kernels, biases, norms = arrays
    front = keras_front_end(frontend) if front is None else front
    layers = [("input_1", []), ("melspectrogram_1", list(zip(("real_kernels", "imag_kernels", "Variable"), front)))]
    layers = layers if front else layers[:1]
    config = [{"class_name": "InputLayer", "name": "input_1", "config": {}}]
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    for number in range(9):
        if number:
            name = f"conv2d_{first_number + number - 1}" if number < 8 else "audio_embedding_layer"
            layers.append((name, [("kernel", kernels[number - 1]), ("bias", biases[number - 1])]))
            settings = {"padding": "same", "strides": [1, 1]}
            config.append({"class_name": "Conv2D", "name": name, "config": settings})
        if number < len(norms):
            name = f"batch_normalization_{first_number + number}"
            layers.append((name, list(zip(names, norms[number]))))
            config.append({"class_name": "BatchNormalization", "name": name, "config": {"epsilon": 0.001}})
            layers.append((f"activation_{first_number + number}", []))
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.3.1"
        root = file
        if whole_model:
            file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"layers": config}}).encode()
            root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, parts in layers:
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part, _ in parts]
            for part, array in parts:
                group.create_dataset(f"{name}/{part}:0", data=array)


def keras_front_end(frontend):
    """Compute what the spectrogram layer stores.

    These are real and imaginary kernels, both (n_fft, 1, 1, bins), and the mel matrix (bins, n_mels).
    """
    time, bins = np.arange(frontend.n_fft), np.arange(1 + frontend.n_fft // 2)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / frontend.n_fft)
    waves = np.exp(-2j * np.pi * np.outer(time, bins) / frontend.n_fft) * hann[:, np.newaxis]
    shape = (frontend.n_fft, 1, 1, len(bins))
    real, imaginary = waves.real.reshape(shape), waves.imag.reshape(shape)
    return [real.astype(np.float32), imaginary.astype(np.float32), mel_filterbank(FrontEnd(*frontend))]
