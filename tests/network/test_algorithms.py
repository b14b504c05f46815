"""Every algorithm, and what follows it, against the definition in float64: any shape, any layout of the next map."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgel3_np.network.algorithms import ALGORITHMS
from edgel3_np.network.maps import Arena, Scratch, plain_map
from edgel3_np.network.plan import TILES, Layer
from edgel3_np.network.rows import shift
from edgel3_np.network.tape import Tape, execute

VARIANTS = [(name, tile) for name in ALGORITHMS for tile in (TILES if name == "winograd" else [(1, 1)])]
SEED = st.integers(0, 2**32 - 1)


def make_layer(algorithm, tile, shape, filters, pool=False, relu=True, density=1.0, seed=0):
    """Make a layer with random weights; return it, its kernel (3, 3, in, out) and its bias in float64."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((3, 3, shape[0], filters)) * (rng.random((3, 3, shape[0], filters)) < density)
    kernel, bias = kernel.astype(np.float32).astype(np.float64), rng.standard_normal(filters)
    layer = Layer("conv", algorithm, tile, shape, filters, relu, pool, density, 0.0)
    return replace(layer, weights=layer.module.pack(kernel, bias, layer)), kernel, bias


def fill(x, pixels):
    """Write pixels (windows, rows, columns, channels) into an input map of any layout."""
    if x.layout == "shifted":
        windows, rows, columns, channels = pixels.shape
        y = np.zeros((windows, rows, channels, x.array.shape[3]), np.float32)
        y[..., :columns] = pixels.transpose(0, 1, 3, 2)
        tape = Tape("input")
        shift(tape, y, x.array)
        execute(tape)
    else:
        for column in range(pixels.shape[2]):
            x.tiles[:, :, column % x.phases, column // x.phases] = pixels[:, :, column]


def pixels_of(x, width):
    """Return the pixels (windows, rows, columns, channels) of a map."""
    return np.stack([x.tiles[:, :, column % x.phases, column // x.phases] for column in range(width)], axis=2)


def outside(x, width):
    """Return what lies around and between the pixels of a map: everything else must stay zero, or one."""
    rest = x.array.copy()
    copy = type(x)(x.layout, rest, np.lib.stride_tricks.as_strided(rest, (0,), (4,)))
    if x.layout == "plain":
        return np.zeros(1)
    if x.layout == "padded":
        rest[:, 1 : 1 + x.tiles.shape[1], 1 : 1 + width] = 0.0
    elif x.layout == "gapped":
        channels, height = x.tiles.shape[4], x.tiles.shape[1]
        size = channels * (height + 2) * (width + 1)
        rest[:, :size].reshape(len(rest), channels, height + 2, width + 1)[:, :, 1:-1, 1:] = 0.0
    elif x.layout == "tiled":
        for column in range(width):
            rest[:, 1 : 1 + x.tiles.shape[1], column % x.phases, column // x.phases] = 0.0
    del copy
    return rest


def follow(layer, kernel, bias, maps):
    """Return what the definition makes of maps, in float64: convolution, ReLU and pool."""
    results = []
    for pixels in maps:
        y = oracles.convolve(pixels, kernel) + bias
        y = np.maximum(y, 0.0) if layer.relu else y
        results.append(oracles.pool(y) if layer.pool else y)
    return np.array(results)


def record(layer, x, out, threads=1, scratch=None):
    """Record all strips of a layer; return the tape of each thread."""
    spaces = scratch or [Scratch(layer.module.scratch_size(layer, len(x.array)), Arena()) for _ in range(threads)]
    tapes = [Tape("conv") for _ in spaces]
    for number, strip in enumerate(layer.module.strips(layer)):
        spaces[number % len(spaces)].reset()
        layer.module.record(tapes[number % len(spaces)], layer, x, out, spaces[number % len(spaces)], strip)
    return tapes


def next_map(layer, variant, windows):
    """Return the map that a layer of this variant, or the embedding, takes after `layer`."""
    _, height, width = layer.shape
    height, width = (height // 2, width // 2) if layer.pool else (height, width)
    if variant is None:
        return plain_map(windows, height, width, layer.filters, Arena())
    following, _, _ = make_layer(*variant, (layer.filters, height, width), 3)
    return following.module.new_map(following, windows, Arena())


def tolerance(layer, kernel, bias, maps):
    """Return the error that rounding may cause: a part of the largest sum of absolute values for a pixel.

    Winograd's transforms spread each weight over all points, so there the largest of the nine counts for all of them.
    """
    size = np.abs(kernel)
    size = np.broadcast_to(size.max(axis=(0, 1)), size.shape) if layer.algorithm == "winograd" else size
    total = max((oracles.convolve(abs(pixels), size) + abs(bias)).max() for pixels in maps)
    return (1e-5 if layer.algorithm == "winograd" else 1e-6) * total


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))


@settings(max_examples=400)
@given(
    st.sampled_from(VARIANTS), st.sampled_from([*VARIANTS, None]), SHAPES, st.integers(1, 9), st.integers(1, 3),
    st.booleans(), st.booleans(), st.floats(0, 1), SEED,
)  # fmt: skip
@example(("winograd", (6, 6)), ("winograd", (6, 6)), (3, 1, 1), 2, 1, False, True, 1.0, 0)
@example(("winograd", (5, 6)), ("winograd", (6, 6)), (3, 48, 64), 4, 2, False, True, 1.0, 0)
@example(("winograd", (6, 4)), ("winograd", (3, 2)), (8, 13, 17), 8, 2, True, False, 1.0, 0)
@example(("rows", (1, 1)), ("rows", (1, 1)), (1, 50, 64), 8, 1, True, True, 1.0, 0)
@example(("sparse", (1, 1)), ("winograd", (6, 6)), (4, 9, 7), 5, 2, True, True, 0.1, 0)
def test_a_layer_into_the_next_map(variant, following, shape, filters, windows, pool, relu, density, seed):
    """All shapes, odd ones too, from each algorithm into the layout of each; the zeros around the pixels stay zeros."""
    if following == ("rows", (1, 1)) and variant[0] != "rows":
        return  # the plan uses rows for the first layers only
    if pool and (min(shape[1:]) < 2 or variant[0] == "winograd" and variant[1][0] % 2):
        return  # nothing is left after a pool; rows of tiles of odd height straddle it
    layer, kernel, bias = make_layer(*variant, shape, filters, pool, relu, density, seed)
    maps = np.random.default_rng(seed).standard_normal((windows, *shape[1:], shape[0])).astype(np.float32)
    x, out = layer.module.new_map(layer, windows, Arena()), next_map(layer, following, windows)
    fill(x, maps)
    (tape,) = record(layer, x, out)
    for _ in range(2):  # the second time on what the first has left
        execute(tape)
        expected = follow(layer, kernel, bias, maps)
        found = pixels_of(out, expected.shape[2])
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(layer, kernel, bias, maps))
        if out.layout not in ("shifted",):
            assert not outside(out, expected.shape[2]).any()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_wide_layers(variant):
    """As many channels and filters as real layers have: within some units of float32 of the largest pixel."""
    layer, kernel, bias = make_layer(*variant, (64, 24, 32), 48, relu=False)
    maps = np.random.default_rng(0).standard_normal((1, 24, 32, 64)).astype(np.float32)
    x, out = layer.module.new_map(layer, 1, Arena()), next_map(layer, None, 1)
    fill(x, maps)
    execute(record(layer, x, out)[0])
    expected = follow(layer, kernel, bias, maps)
    error = np.abs(pixels_of(out, 32) - expected).max() / np.abs(expected).max()
    largest = {(6, 6): 2e-5, (5, 6): 2e-5, (6, 4): 1e-5, (4, 6): 1e-5}.get(variant[1], 5e-6)
    assert error <= largest


@settings(max_examples=60)
@given(st.sampled_from(VARIANTS), SHAPES, st.integers(1, 9), st.integers(2, 5), st.booleans(), SEED)
def test_a_window_has_the_same_bytes_alone_and_among_others(variant, shape, filters, windows, pool, seed):
    """`quads` puts all windows into one product, which is exact for whole numbers alone."""
    if pool and (min(shape[1:]) < 2 or variant[0] == "winograd" and variant[1][0] % 2):
        return
    layer, kernel, bias = make_layer(*variant, shape, filters, pool, seed=seed)
    maps = np.random.default_rng(seed).standard_normal((windows, *shape[1:], shape[0])).astype(np.float32)
    if variant[0] == "quads":
        layer = replace(layer, weights=layer.module.pack(np.rint(9 * kernel), np.rint(9 * bias), layer))
        maps = np.rint(99 * np.abs(maps))
    results = []
    for some in (slice(None), *(slice(i, i + 1) for i in range(windows)), slice(1, None)):
        x, out = layer.module.new_map(layer, len(maps[some]), Arena()), next_map(layer, None, len(maps[some]))
        fill(x, maps[some])
        execute(record(layer, x, out)[0])
        results.append(out.array.copy())
    together, *alone, others = results
    assert b"".join(result.tobytes() for result in alone) == together.tobytes()
    assert others.tobytes() == together[1:].tobytes()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("threads", [2, 3])
def test_strips_of_several_threads_give_the_same_bytes(variant, threads):
    """Each thread has a scratch of its own; the strips lie beside each other in the next map."""
    layer, _, _ = make_layer(*variant, (16, 96, 120), 16, pool=variant[1][0] % 2 == 0)
    maps = np.random.default_rng(0).standard_normal((1, 96, 120, 16)).astype(np.float32)
    results = []
    for count in (1, threads):
        x, out = layer.module.new_map(layer, 1, Arena()), next_map(layer, ("winograd", (6, 6)), 1)
        fill(x, maps)
        tapes = record(layer, x, out, count)
        assert count == 1 or variant[0] in ("patches", "rows", "quads") or sum(bool(tape.calls) for tape in tapes) >= 2
        for tape in tapes[::-1]:  # in any order
            execute(tape)
        results.append(out.array.tobytes())
    assert results[0] == results[1]


@settings(max_examples=60)
@given(st.sampled_from(VARIANTS), SHAPES, st.integers(1, 9), st.integers(1, 3), SEED)
def test_the_scratch_asked_for_is_enough_and_may_hold_anything(variant, shape, filters, windows, seed):
    layer, _, _ = make_layer(*variant, shape, filters, seed=seed)
    maps = np.random.default_rng(seed).standard_normal((windows, *shape[1:], shape[0])).astype(np.float32)
    results = []
    for value in (0.0, np.nan):
        scratch = Scratch(layer.module.scratch_size(layer, windows), Arena())
        scratch.array[...] = value
        x, out = layer.module.new_map(layer, windows, Arena()), next_map(layer, None, windows)
        fill(x, maps)
        before = x.array.copy()
        execute(record(layer, x, out, scratch=[scratch])[0])
        assert x.array.tobytes() == before.tobytes(), "the input map was changed"
        results.append(out.array.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_window_that_overflows_does_not_reach_its_neighbours(variant):
    layer, _, _ = make_layer(*variant, (3, 13, 17), 4)
    maps = np.random.default_rng(0).standard_normal((3, 13, 17, 3)).astype(np.float32)
    results = []
    for value in (1.0, np.nan):
        maps[1] *= value
        x, out = layer.module.new_map(layer, 3, Arena()), next_map(layer, None, 3)
        fill(x, maps)
        execute(record(layer, x, out)[0])
        results.append(out.array.copy())
    assert np.isnan(results[1][1]).all()
    assert results[0][[0, 2]].tobytes() == results[1][[0, 2]].tobytes()


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0, 1), SEED)
def test_sparse_weights_hold_no_zeros(channels, filters, density, seed):
    layer, kernel, _ = make_layer("sparse", (1, 1), (channels, 5, 5), filters, density=density, seed=seed)
    matrices, _ = layer.weights
    assert sum(matrix.nnz for matrix in matrices) == np.count_nonzero(kernel)
    assert all(matrix.has_sorted_indices and matrix.dtype == np.float32 for matrix in matrices)


def test_algorithms_have_one_signature():
    import inspect

    for name in ("pack", "new_map", "strips", "scratch_size", "record"):
        signatures = {str(inspect.signature(getattr(module, name))) for module in ALGORITHMS.values()}
        assert len(signatures) == 1, name
