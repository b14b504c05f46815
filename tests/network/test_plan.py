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
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.network import plan as planning
from edgel3_np.network.forward import strip_starts, workspace
from edgel3_np.network.kernels import ALGORITHMS, scratch_size
from edgel3_np.network.plan import (
    choose_microbatch,
    choose_pairs,
    estimate_cost,
    fold_batch_norms,
    operations,
    plan_network,
    tiles,
)
from edgel3_np.weights.registry import RELEASED, SEA, SPARSE
from edgel3_np.weights.sparse import to_dense

SHAPES = st.lists(st.tuples(st.integers(1, 512), st.integers(1, 400), st.integers(1, 512)), min_size=1, max_size=8)


def layer_shapes(name):
    """(channels, frames, columns) and filters of each layer of a released model."""
    frontend, filters, *_ = RELEASED[name].network
    return list(zip(planning._shapes(frontend, filters), filters))


def choice(shape, filters, density):
    return min(ALGORITHMS, key=lambda kernel: estimate_cost(kernel, shape, filters, density))


def parts(weights):
    """Bytes of what `prepare` makes."""
    arrays = weights if isinstance(weights, tuple) else [weights.data, getattr(weights, "indices", np.zeros(0))]
    return [bytes(memoryview(array).cast("B")) for array in arrays]


@pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
def test_a_plan_is_the_same_every_time(density):
    weights = factory.random_weights(density=density, filters=(16, 16, 24, 24, 32, 32, 40, 48))
    first, second = plan_network(weights), plan_network(weights)
    assert (first.microbatch, first.scale, first.shift) == (second.microbatch, second.scale, second.shift)
    for a, b in zip(first.layers, second.layers):
        assert (a.algorithm, a.pairs, a.cost) == (b.algorithm, b.pairs, b.cost)
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
        assert (
            layer.cost == min(estimate_cost(name, layer.shape, layer.filters, layer.density) for name in ALGORITHMS) > 0
        )


TELL = """
import hashlib, sys
sys.path += sys.argv[1:]
import factory, edgel3_np, test_plan
from edgel3_np.network.plan import plan_network
from edgel3_np.weights.registry import RELEASED
for weights in (factory.random_weights(RELEASED["sea-64"].filters), factory.random_weights(density=0.01)):
    network = plan_network(weights)
    for layer in network.layers:
        digest = hashlib.sha256(b"".join(test_plan.parts(layer.weights))).hexdigest()
        print(layer.name, layer.algorithm, layer.pairs, network.microbatch, digest)
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
    assert len(lines) == 16 and {line.split()[1] for line in lines} == set(ALGORITHMS)


@given(st.integers(1, 2000))
def test_tiles_cover_the_columns(columns):
    assert 4 * (tiles(columns) - 1) < columns <= 4 * tiles(columns)


@given(SHAPES)
def test_blocks_are_as_long_as_products_want_and_memory_allows(shapes):
    microbatch = choose_microbatch(shapes)
    floats = max(channels * (frames + frames % 2 + 2) * 4 * tiles(columns) for channels, frames, columns in shapes)
    lanes = microbatch * min(tiles(columns) for _, _, columns in shapes)
    assert 1 <= microbatch <= planning.MICROBATCH
    assert microbatch == 1 or microbatch * floats <= planning.MICROBATCH_FLOATS
    assert microbatch == 1 or lanes < planning.LANES + lanes // microbatch  # no longer than wanted
    more = (microbatch + 1) * max(channels * (frames + 3) * 4 * tiles(columns) for channels, frames, columns in shapes)
    assert (
        microbatch == planning.MICROBATCH or lanes >= planning.LANES or more > planning.MICROBATCH_FLOATS
    )  # nor shorter than need be


@given(st.integers(1, 512), st.integers(1, 512), st.integers(1, 400), st.integers(1, 2000))
def test_strips_cover_all_rows_in_nearly_equal_heights(channels, filters, frames, lanes):
    pairs, every = choose_pairs(channels, filters, frames, lanes), -(-frames // 2)
    strips = -(-every // pairs)
    assert 1 <= pairs <= every
    assert (strips - 1) * pairs < every <= strips * pairs
    assert strips * (pairs - 1) < every  # a lower one would not do with as many strips
    shortest = -(-planning.STRIP_LANES // lanes)  # for products that are long enough
    assert pairs <= shortest or 24 * max(channels, filters) * lanes * pairs <= planning.STRIP_FLOATS


@pytest.mark.parametrize("name", ["sea-64", "sea-512", "sparse-ft-95.45"])
def test_scratch_of_released_models_is_bounded(name):
    shapes = layer_shapes(name)
    microbatch = choose_microbatch([shape for shape, _ in shapes])
    for (channels, frames, columns), filters in shapes:
        lanes = microbatch * tiles(columns)
        size = scratch_size(channels, filters, lanes, choose_pairs(channels, filters, frames, lanes))
        assert size <= 4 * planning.STRIP_FLOATS


@pytest.mark.parametrize("threads", [1, 3])
def test_a_workspace_keeps_to_the_plan(threads, monkeypatch):
    """Maps of the sizes that bound the microbatch; every strip in just one thread's share."""
    monkeypatch.setattr(planning, "STRIP_FLOATS", 20_000)
    network = plan_network(factory.random_weights(frontend=FrontEnd(4400, 512, 100, 33)))
    work = workspace(network, threads)
    for layer, x, shares in zip(network.layers, work.maps, work.tapes):
        channels, frames, columns = layer.shape
        assert x.shape == (frames + 2 + frames % 2, 4, channels, tiles(columns) * network.microbatch)
        assert x.size <= planning.MICROBATCH_FLOATS or network.microbatch == 1
        assert len(shares) == min(threads, len(strip_starts(layer))) and all(shares)
    last = network.layers[-1]
    assert work.maxima.shape == (-(-last.shape[1] // 2), last.filters, tiles(last.shape[2]), network.microbatch)


@given(
    st.sampled_from(sorted(ALGORITHMS)),
    st.tuples(st.integers(1, 512), st.integers(1, 400), st.integers(1, 512)),
    st.integers(1, 512),
    st.floats(0, 1),
)
def test_estimates_are_positive_and_grow_with_the_work(kernel, shape, filters, density):
    channels, frames, columns = shape
    cost = estimate_cost(kernel, shape, filters, density)
    assert 0 < cost < np.inf
    assert estimate_cost(kernel, (channels, 2 * frames, columns), filters, density) == pytest.approx(2 * cost)
    assert estimate_cost(kernel, (channels + 1, frames, columns), filters, density) > cost * (1 - 1e-12)
    assert estimate_cost(kernel, shape, filters + 1, density) >= cost
    assert estimate_cost(kernel, shape, filters, density / 2) <= cost


def test_operations():
    """Two a multiplication: nine of each channel and filter for each pixel; fewer for Winograd's, more for `direct`."""
    layer = plan_network(factory.random_weights(density=0.5)).layers[3]
    assert layer.operations == 2 * 9 * 6 * 8 * 25 * 32
    arguments = (layer.shape, layer.filters, 1.0)
    counts = {kernel: operations(kernel, *arguments) / layer.operations for kernel in ALGORITHMS}
    assert counts == pytest.approx({"direct": 2, "sparse": 1, "winograd_1d": 1 / 2, "winograd_2d": 1 / 3})
    assert operations("sparse", layer.shape, layer.filters, 0.25) == layer.operations / 4


def test_the_cost_model_chooses_what_was_measured():
    """Coarsely: what every machine agrees on."""
    for name in ("sea-64", "sea-512", "sparse-ft-95.45"):
        (first, filters), *others = layer_shapes(name)
        assert choice(first, filters, 1.0) == "direct"  # of one channel: nothing to save by transforming it
        for shape, filters in others:
            assert choice(shape, filters, 1.0).startswith("winograd")
            assert choice(shape, filters, 0.005) == "sparse"
            if min(shape[0], filters) >= 256:
                assert choice(shape, filters, 1.0) == "winograd_2d"


@pytest.mark.parametrize("frontend", [SEA, SPARSE])
def test_very_sparse_layers_get_the_sparse_kernel(frontend):
    weights = factory.random_weights(filters=(8, 64, 64, 64, 64, 64, 64, 64), density=0.01, frontend=frontend)
    assert [layer.algorithm for layer in plan_network(weights).layers[2:]] == ["sparse"] * 6


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
