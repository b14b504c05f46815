"""Weight files to time: random values in the structures and sparsities of the released models."""

import numpy as np

from edgel3_np import list_models
from edgel3_np._version import CONTRACT
from edgel3_np.released.catalogue import LAYER_SPARSITIES
from edgel3_np.weights.format import Weights, save_weights
from edgel3_np.weights.registry import OPENL3_FRONTENDS, RELEASED
from edgel3_np.weights.sparse import to_csr

# name: (released model with the same structure, percentage of zeros in each layer)
PATTERNS = {
    "sparse-95.45": ("sparse-ft-95.45", LAYER_SPARSITIES["95.45"]),
    "sparse-87.0": ("sparse-ft-95.45", LAYER_SPARSITIES["87.0"]),
    "sparse-dense": ("sparse-ft-95.45", (0,) * 8),
    "sea-64": ("sea-64", (0,) * 8),
    **{f"openl3-{representation}": (f"openl3-{representation}-env", (0,) * 8) for representation in OPENL3_FRONTENDS},
}

NAMES = ["pico-64", "pico-64 / sea-64", *PATTERNS]


def write(name, folder):
    """Return the path of a network's weight file, which is made in a folder unless the package comes with it."""
    if name not in PATTERNS:
        return list_models()[name]
    path = folder / f"{name}.npz"
    if not path.exists():
        make(name, path)
    return path


def random_kernel(rng, channels, filters, zeros):
    """Return a kernel, (3, 3, in, out), whose outputs are about as large as its inputs."""
    kernel = rng.standard_normal((3, 3, channels, filters)) * np.sqrt(2 / (9 * channels * (1 - zeros / 100)))
    return (kernel * (rng.random(kernel.shape) >= zeros / 100)).astype(np.float32)


def make(name, path):
    """Write the weight file of a pattern: the same bytes every time."""
    structure, zeros = PATTERNS[name]
    frontend, filters, activation, _ = RELEASED[structure]
    rng, channels = np.random.default_rng(0), (1, *filters[:-1])
    kernels = [random_kernel(rng, *shape) for shape in zip(channels, filters, zeros)]
    norms = [np.ones((4, count), np.float32) for count in (1, *filters)]
    for norm in norms:
        norm[1:3] = 0.0  # no shift, no mean
    norms[0][2:] = [[-30.0], [400.0]]  # about the mean and variance of a log-mel spectrogram
    if activation == "linear":
        norms.pop()
    biases = [np.full(count, 0.01, np.float32) for count in filters]
    provenance = {"contract": CONTRACT, "license": "MIT", "citation": "none"}
    provenance["source"] = {"file": f"benchmarks/networks.py {name}", "sha256": "none"}
    kernels = tuple(map(to_csr, kernels))
    save_weights(path, Weights(name, frontend, activation, kernels, tuple(biases), tuple(norms), None, provenance))
