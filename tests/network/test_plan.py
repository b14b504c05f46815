import os
import subprocess
import sys
from pathlib import Path

import factory
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgel3_np
from edgel3_np.network import plan as planning
from edgel3_np.network.plan import choose_layers, estimate_cost, fold_batch_norms, operations, plan_network
from edgel3_np.weights.registry import RELEASED, SEA, SPARSE
from edgel3_np.weights.sparse import to_dense

VARIANTS = [("direct", (1, 1)), ("rows", (1, 1)), ("sparse", (1, 1)), *(("winograd", tile) for tile in planning.TILES)]


def random_like(name, density=1.0):
    """Make random weights with the network of a released model."""
    released = RELEASED[name]
    return factory.random_weights(
        released.filters, released.final_activation, density, frontend=released.frontend, name="like"
    )


def parts(weights):
    """Return the bytes of packed weights."""
    if isinstance(weights, tuple):
        return [part for member in weights for part in parts(member)]
    arrays = [weights] if isinstance(weights, np.ndarray) else [weights.data, weights.indices, weights.indptr]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
def test_a_plan_is_the_same_every_time(density):
    weights = factory.random_weights(density=density, filters=(16, 16, 24, 24, 32, 32, 40, 48))
    first, second = plan_network(weights), plan_network(weights)
    for name in ("microbatch", "fused", "scale", "shift", "pool_grid"):
        assert getattr(first, name) == getattr(second, name)
    for a, b in zip(first.layers, second.layers):
        assert (a.algorithm, a.tile, a.cost) == (b.algorithm, b.tile, b.cost)
        assert parts(a.weights) == parts(b.weights)


def test_what_a_plan_says_of_its_layers():
    network = plan_network(factory.random_weights(density=0.25, final_activation="linear"))
    assert network.dim == 16 and network.frontend == SEA
    assert [layer.name for layer in network.layers] == [f"conv{number}" for number in range(1, 9)]
    assert [layer.pool for layer in network.layers] == [number in (2, 4, 6) for number in range(1, 9)]
    assert [layer.relu for layer in network.layers] == [True] * 7 + [False]
    assert [layer.shape[0] for layer in network.layers] == [1, *factory.SMALL[:-1]]
    assert [layer.shape[1:] for layer in network.layers[::2]] == [(50, 64), (25, 32), (12, 16), (6, 8)]
    for layer, kernel in zip(network.layers, factory.random_arrays(density=0.25)[0]):
        assert layer.density == np.count_nonzero(kernel) / kernel.size
        cost = estimate_cost(layer.algorithm, layer.tile, layer.shape, layer.filters, layer.density)
        assert layer.cost == cost > 0


@pytest.mark.parametrize("name", ["sea-64", "sea-512", "sparse-ft-95.45", "openl3-linear-env", "openl3-mel128-env"])
def test_plans_of_released_networks(name):
    """Rows come first or not at all; a pool follows tiles of even height."""
    network = plan_network(random_like(name))
    names = [layer.algorithm for layer in network.layers]
    count = names.count("rows")
    assert names[:count] == ["rows"] * count
    assert all(layer.tile[0] % 2 == 0 for layer in network.layers if layer.pool and layer.algorithm == "winograd")
    assert network.is_large == network.fused == (network.frontend.sr == 48000)
    assert 1 <= network.microbatch <= planning.MICROBATCH
    maps = [np.prod(layer.shape) for layer in network.layers[2 * network.fused :]]
    assert network.microbatch == 1 or network.microbatch * max(maps) <= planning.MICROBATCH_FLOATS


TELL = """
import hashlib, sys
sys.path += sys.argv[1:]
import factory, test_plan
from edgel3_np.network.plan import plan_network
for weights in (test_plan.random_like("sea-64"), factory.random_weights(filters=(8,) + 7 * (48,), density=0.01)):
    network = plan_network(weights)
    for layer in network.layers:
        digest = hashlib.sha256(b"".join(test_plan.parts(layer.weights))).hexdigest()
        print(layer.name, layer.algorithm, layer.tile, network.microbatch, network.fused, digest)
"""


def test_the_environment_does_not_change_a_plan():
    """The cost model is no measurement, and weights are multiplied on one thread: the same plan in any process."""
    found = set()
    for threads in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
        environment.update(OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads, PYTHONHASHSEED=threads)
        command = [sys.executable, "-c", TELL, str(Path(__file__).parent), str(Path(__file__).parent.parent)]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
        assert ran.returncode == 0, ran.stderr
        found.add(ran.stdout)
    assert len(found) == 1
    lines = found.pop().splitlines()
    assert len(lines) == 16 and {"rows", "winograd", "sparse"} <= {line.split()[1] for line in lines}


@given(
    st.sampled_from(VARIANTS),
    st.tuples(st.integers(1, 512), st.integers(1, 400), st.integers(1, 512)),
    st.integers(1, 512),
    st.floats(0, 1),
)
def test_estimates_are_positive_and_grow_with_the_work(variant, shape, filters, density):
    channels, frames, columns = shape
    cost = estimate_cost(*variant, shape, filters, density)
    assert 0 < cost < np.inf
    assert estimate_cost(*variant, (channels, 2 * frames, columns), filters, density) >= cost
    assert estimate_cost(*variant, (channels + 1, frames, columns), filters, density) >= cost
    assert estimate_cost(*variant, shape, filters + 1, density) >= cost
    assert estimate_cost(*variant, shape, filters, density / 2) <= cost


def test_operations():
    """There are two for each product with a weight: nine weights of each channel and filter for each pixel."""
    layer = plan_network(factory.random_weights(density=0.5)).layers[3]
    assert layer.operations == 2 * 9 * 6 * 8 * 25 * 32
    arguments = ((8, 48, 48), 16, 1.0)
    dense = operations("direct", (1, 1), *arguments)
    assert operations("rows", (1, 1), *arguments) == dense == 18 * 8 * 16 * 48 * 48
    assert operations("sparse", (1, 1), *arguments[:2], 0.25) == dense / 4
    for mr, mc in planning.TILES:
        if 48 % mr == 48 % mc == 0:
            found = operations("winograd", (mr, mc), *arguments)
            assert found == pytest.approx(dense * (mr + 2) * (mc + 2) / (9 * mr * mc))


def test_the_cost_model_chooses_what_was_measured():
    """These choices hold on every machine: large dense layers multiply less, very sparse ones use their zeros."""
    for name in ("sea-512", "sparse-ft-95.45", "openl3-mel128-env"):
        for layer in choose_layers(random_like(name))[2:]:
            assert layer.algorithm == "winograd"
        for layer in choose_layers(random_like(name, 0.005))[4:]:
            assert layer.algorithm == "sparse"
    assert [layer.algorithm for layer in choose_layers(factory.random_weights())[:4]] == ["rows"] * 4


@pytest.mark.parametrize("frontend", [SEA, SPARSE])
def test_very_sparse_layers_get_the_sparse_algorithm(frontend):
    weights = factory.random_weights(filters=(64,) + 7 * (128,), density=0.004, frontend=frontend)
    assert [layer.algorithm for layer in plan_network(weights).layers[4:]] == ["sparse"] * 4


@pytest.mark.parametrize("final_activation", ["relu", "linear"])
def test_fold_then_convolve_is_convolve_then_batch_norm(final_activation):
    """In float64; maps of the package have frames along rows, those of files and of the oracles mel bands."""
    weights = factory.random_weights(density=0.5, final_activation=final_activation)
    folded = list(fold_batch_norms(weights))
    assert len(folded) == 8
    norms = [*weights.norms[1:], None]
    for (folded_kernel, bias), csr, plain_bias, norm in zip(folded, weights.kernels, weights.biases, norms):
        kernel = to_dense(csr)
        assert folded_kernel.shape == kernel.shape and folded_kernel.dtype == bias.dtype == np.float64
        x = np.random.default_rng(0).standard_normal((7, 9, kernel.shape[2]))  # bands, frames
        expected = oracles.convolve(x, kernel) + plain_bias.astype(np.float64)
        expected = expected if norm is None else oracles.batch_norm(expected, norm)
        found = oracles.convolve(x.transpose(1, 0, 2), folded_kernel).transpose(1, 0, 2) + bias
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_input_norm_is_a_factor_and_an_offset():
    """Not folded: a padding of zeros follows it."""
    weights = factory.random_weights()
    network, log_mel = plan_network(weights), factory.random_log_mel(SEA, 1)
    found = log_mel * network.scale + network.shift
    assert network.scale.dtype == network.shift.dtype == np.float32
    np.testing.assert_allclose(found, oracles.batch_norm(log_mel.astype(np.float64), weights.norms[0]), atol=1e-5)
