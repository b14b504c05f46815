import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.network.maps import (
    PIECE,
    Arena,
    Scratch,
    embed_maxima,
    gapped_map,
    padded_map,
    pieces,
    plain_map,
    tiled_map,
)
from edgel3_np.network.tape import Tape, execute


@pytest.mark.parametrize(
    "x",
    [
        tiled_map(2, 7, 9, 3, 4, 12, Arena()),
        padded_map(2, 7, 9, 3, 15, Arena()),
        gapped_map(2, 7, 9, 3, Arena()),
        plain_map(2, 7, 9, 3, Arena()),
    ],
    ids=lambda x: x.layout,
)
def test_pixels_are_views_that_do_not_overlap(x):
    """Each pixel of the map has a place of its own in its array, and its window's part of it."""
    assert x.tiles.shape[:2] == (2, 7) and x.tiles.shape[4] == 3 and x.phases * x.tiles.shape[3] >= 9
    x.tiles[...] = np.arange(1, x.tiles.size + 1).reshape(x.tiles.shape)
    assert np.shares_memory(x.tiles, x.array)
    assert sorted(x.array[x.array > 0]) == list(range(1, x.tiles.size + 1))
    part = x.part(slice(1, 2))
    assert part.layout == x.layout and (part.tiles == x.tiles[1:]).all() and np.shares_memory(part.array, x.array[1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=5))
def test_scratch_hands_out_what_pieces_count(shapes):
    scratch = Scratch(pieces(*shapes), Arena())
    for _ in range(2):
        arrays = [scratch.take(*shape) for shape in shapes]
        for number, array in enumerate(arrays):
            array[...] = number
        assert all((array == number).all() for number, array in enumerate(arrays)), "they overlap"
        assert all(array.ctypes.data % 64 == 0 for array in arrays if array.size)
        with pytest.raises(ValueError, match="floats of scratch, found"):
            scratch.take(1)
        scratch.reset()


def test_an_arena_hands_out_zeros_from_cache_lines_on():
    """Small arrays lie side by side, large ones have a piece of their own, and none overlaps another."""
    arena, arrays = Arena(), []
    for number, size in enumerate((1, 15, 16, 17, 1000, PIECE // 3 - 1000, 10, PIECE, 0, 5), 1):
        array = arena.zeros(size, 3)
        assert array.shape == (size, 3) and array.dtype == np.float32 and not array.any()
        assert array.ctypes.data % 64 == 0
        array[...] = number
        arrays.append(array)
    assert all((array == number).all() for number, array in enumerate(arrays, 1))
    assert arrays[1].ctypes.data - arrays[0].ctypes.data == 64


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_maxima_of_a_grid(mel, time, wide, high, relu):
    """Parts of equal size; with ReLU, negative maxima are zero."""
    rng = np.random.default_rng(0)
    last = plain_map(2, time * high, mel * wide, 5, Arena())
    last.array[...] = rng.standard_normal(last.array.shape) - 1
    cells, out = np.empty((2, time, mel * wide * 5), np.float32), np.empty((2, time, mel, 5), np.float32)
    tape = Tape("embedding")
    embed_maxima(tape, last, relu, (mel, time), cells, out)
    execute(tape)
    for window, t, m in np.ndindex(2, time, mel):
        part = last.array[window, t * high : (t + 1) * high, m * wide : (m + 1) * wide].max(axis=(0, 1))
        assert (out[window, t, m] == (np.maximum(part, 0) if relu else part)).all()


def test_the_oracle_pools_as_the_package_does():
    """Odd edges are dropped."""
    x = np.arange(35.0).reshape(5, 7, 1)
    assert oracles.pool(x)[..., 0].tolist() == [[8, 10, 12], [22, 24, 26]]
