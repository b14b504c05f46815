"""Networks of whole numbers: the fast path, the plain functions and int64 give the same numbers, to the bit."""

import random

import numpy as np
import oracles
import pytest
from factory import SMALL, random_levels, whole_weights
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.features.frontend import FrontEnd
from edgel3_np.network import plan as planning
from edgel3_np.network import quads, whole
from edgel3_np.network.forward import Workspace, forward
from edgel3_np.network.plan import plan_network
from edgel3_np.network.threads import spread
from edgel3_np.weights.format import load_weights
from edgel3_np.weights.integers import EXACT, TOP
from edgel3_np.weights.locate import find_model
from edgel3_np.weights.registry import SEA
from edgel3_np.weights.sparse import to_csr, to_dense

CASES = {
    "sea": {},
    "linear": {"final_activation": "linear"},
    "sparse": {"density": 0.1},
    "odd maps": {"frontend": FrontEnd(4400, 512, 100, 33)},
    "odd everywhere": {"frontend": FrontEnd(3100, 256, 100, 29), "final_activation": "linear"},
    "smallest map": {"frontend": FrontEnd(2000, 256, 250, 8)},
    "many channels": {"filters": (8, 8, 16, 16, 64, 96, 96, 64), "frontend": FrontEnd(4000, 512, 250, 24)},
}
VARIANTS = [("direct", (1, 1)), ("rows", (1, 1)), ("sparse", (1, 1)), ("quads", (2, 2))]


def expected(levels, weights):
    return np.array([oracles.whole_forward(window, weights) for window in levels])


def same(a, b):
    return a.shape == b.shape and (np.asarray(a, np.float64) == b).all()


@pytest.mark.parametrize("case", CASES)
def test_equal_to_integers(case):
    weights = whole_weights(**CASES[case])
    levels = random_levels(weights.frontend, 3)
    reference = expected(levels, weights)
    assert np.ptp(reference) > 0
    assert same(whole.embed_levels(levels, weights), reference)
    assert same(forward(Workspace(plan_network(weights)), levels), reference)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("case", ["sea", "odd maps", "odd everywhere", "smallest map"])
def test_every_algorithm_in_any_batch_on_any_threads(variant, case, monkeypatch):
    def estimate_cost(algorithm, tile, *_):
        return 1.0 if (algorithm, tile) == variant else 2.0 if algorithm == "direct" else 3.0

    monkeypatch.setattr(planning, "estimate_cost", estimate_cost)
    weights = whole_weights(**CASES[case])
    network = plan_network(weights)
    first = 1 if variant[0] == "quads" else 0  # whose levels have both signs
    assert {(layer.algorithm, layer.tile) for layer in network.layers[first:]} == {variant}
    levels = random_levels(weights.frontend, network.microbatch + 1)
    found = forward(Workspace(network), levels)
    assert same(found[-2:], expected(levels[-2:], weights))
    for windows in (1, 3):
        assert forward(Workspace(network, windows), levels).tobytes() == found.tobytes()
    with spread(3) as apply:
        assert forward(Workspace(network, threads=3), levels, apply).tobytes() == found.tobytes()


def test_algorithms_follow_each_other_in_any_order(monkeypatch):
    """Each writes into the map of each: what comes next has other places for channels and columns."""
    pairs = set()
    for seed in range(40):
        weights = whole_weights(**CASES[("sea", "odd maps", "many channels", "odd everywhere")[seed % 4]])

        def estimate_cost(algorithm, tile, *given, seed=seed):
            return random.Random(f"{seed} {algorithm} {given}").random()

        monkeypatch.setattr(planning, "estimate_cost", estimate_cost)
        network = plan_network(weights)
        names = [layer.algorithm for layer in network.layers]
        pairs.update(zip(names, names[1:]))
        levels = random_levels(weights.frontend, 2)
        assert same(forward(Workspace(network), levels), whole.embed_levels(levels, weights)), names
    others = {"direct", "sparse", "quads"}
    assert pairs >= {(first, second) for first in {"rows", *others} for second in others}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_at_the_bound(variant, sign, monkeypatch):
    """The levels for which a filter's sum is largest, with weights that bring it as near to 2**24 as it may come."""

    def estimate_cost(algorithm, tile, *_):
        return 1.0 if (algorithm, tile) == variant else 2.0

    monkeypatch.setattr(planning, "estimate_cost", estimate_cost)
    frontend, filters = FrontEnd(2000, 256, 250, 8), (2, 40, 2, 2, 2, 2, 2, 2)
    weights = whole_weights(filters, frontend=frontend, bits=15)
    kernel = sign * to_dense(weights.kernels[1])
    weights = weights._replace(
        kernels=(weights.kernels[0], to_csr(kernel, np.int16), *weights.kernels[2:]),
        shifts=(weights.shifts[0], *weights.shifts[1:]),
    )
    network = plan_network(weights)
    largest = quads.largest_sum(kernel.transpose(1, 0, 2, 3), weights.biases[1])
    assert EXACT / 4 < largest.max() < EXACT
    levels = np.stack([np.full((8, 8), value, np.float32) for value in (0, TOP, 170)])
    levels = np.concatenate([levels, TOP * (random_levels(frontend, 5) > 127)])
    assert same(forward(Workspace(network), levels.astype(np.float32)), expected(levels, weights))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_no_sum_of_a_small_tile_is_larger(seed, channels):
    """Random and extreme levels: every sum over some channels of a product, and of one, two or three of them."""
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-50, 51, (3, 3, channels, 1)).astype(np.float64)
    bias = rng.integers(-300, 301, 1)
    bound = quads.largest_sum(kernel, bias)[0] / 4  # in units of a quarter
    bt, g, at = quads.BT, quads.G, quads.AT
    points = np.einsum("ij,jkc,lk->ilc", g, kernel[..., 0], g)
    found = 0.0
    for _ in range(20):
        tile = rng.integers(0, 2, (4, 4, channels)) * TOP
        if rng.random() < 0.5:  # the worst for one point
            i, j = rng.integers(0, 4, 2)
            tile = TOP * (np.einsum("a,b,c->abc", bt[i], bt[j], points[i, j]) > 0)
        products = points * np.einsum("ij,jkc,lk->ilc", bt, tile, bt)
        rising, falling = np.maximum(products, 0).sum(axis=2), np.maximum(-products, 0).sum(axis=2)
        found = max(found, rising.max(), falling.max())
        sums = products.sum(axis=2)
        sums[1, 1] += bias[0]
        columns = sums[:, np.newaxis] * at  # (row point, output, column point)
        found = max(found, *_some(columns))
        found = max(found, *_some((columns.sum(axis=2)[np.newaxis] * at[:, :, np.newaxis]).swapaxes(1, 2)))
        assert (points * 4 % 1 == 0).all() and (products * 4 % 1 == 0).all()
    assert found <= bound


def _some(terms):
    """Return the magnitudes of sums of one, two or all of the terms along the last axis."""
    n = terms.shape[-1]
    pairs = [np.abs(terms[..., i] + terms[..., j]).max() for i in range(n) for j in range(i)]
    return [np.abs(terms).max(), np.abs(terms.sum(axis=-1)).max(), *pairs]


def test_weights_too_large_for_small_tiles_are_multiplied_as_they_are():
    weights = whole_weights(largest=None, **CASES["many channels"])
    network = plan_network(weights)
    too_large = [
        quads.largest_sum(to_dense(kernel).transpose(1, 0, 2, 3), bias).max() >= EXACT
        for kernel, bias in zip(weights.kernels, weights.biases)
    ]
    assert any(too_large)
    assert not any(layer.algorithm == "quads" and large for layer, large in zip(network.layers, too_large))
    levels = random_levels(weights.frontend, 1)
    assert same(forward(Workspace(network), levels), expected(levels, weights))


@pytest.mark.parametrize(
    "kernel, padding, pool", [((3, 3), (0, 0), (2, 1)), ((3, 1), (1, 0), (2, 5)), ((1, 3), (0, 1), (1, 1))]
)
def test_layers_of_other_shapes(kernel, padding, pool):
    """As a network over a stream has them: no padding, pools that are not square, kernels along one axis."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 11, 13, 4)).astype(np.float32)
    weights, bias = rng.integers(-9, 9, (*kernel, 4, 5)), rng.integers(-99, 99, 5)
    found = whole.max_pool(whole.convolve(x, weights.astype(np.float32), bias, padding), pool)
    padded = np.pad(x.astype(np.int64), ((0, 0), *((n, n) for n in padding), (0, 0)))
    rows, columns = (size - n + 1 for size, n in zip(padded.shape[1:3], kernel))
    sums = np.zeros((2, rows, columns, 5), np.int64) + bias
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            sums += padded[:, i : i + rows, j : j + columns] @ weights[i, j]
    tall, wide = rows // pool[0], columns // pool[1]
    for i in range(tall):
        for j in range(wide):
            part = sums[:, i * pool[0] : (i + 1) * pool[0], j * pool[1] : (j + 1) * pool[1]]
            np.testing.assert_array_equal(found[:, i, j], part.max(axis=(1, 2)))
    assert found.shape == (2, tall, wide, 5)


@given(st.integers(-(2**24) + 1, 2**24 - 1), st.integers(-3, 24))
def test_rounding_is_that_of_integers(total, shift):
    found = whole.to_levels(np.array([[total]], np.float32), np.array([shift], np.int8))
    assert found == np.clip(oracles.nearest(np.array([[total]]), shift), 0, TOP)


def test_pico_64_is_such_a_network():
    weights = load_weights(find_model("pico-64"))
    network = plan_network(weights)
    assert network.exact and [layer.levels for layer in network.layers] == [True] * 7 + [False]
    assert {layer.algorithm for layer in network.layers} == {"rows", "quads"}
    levels = random_levels(SEA, 2)
    reference = expected(levels, weights)
    assert same(forward(Workspace(network), levels), reference) and same(whole.embed_levels(levels, weights), reference)


def test_filters_of_the_factory_are_small():
    assert whole_weights().filters == SMALL
