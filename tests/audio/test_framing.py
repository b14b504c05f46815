import itertools

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.audio.framing import count_windows, hop_length, spans, timestamps, windows


def cut(x, sizes):
    """Cut x into blocks whose sizes cycle through `sizes`."""
    start, blocks = 0, []
    while start < len(x):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(x[start : start + size])
        start += size
    return blocks


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@given(st.integers(0, 300), sizes, st.integers(1, 50), st.integers(1, 80), st.integers(-30, 30))
def test_spans_are_slices_of_the_padded_signal(n, sizes, step, extent, first):
    x = np.arange(1.0, n + 1)
    padded = np.concatenate([np.zeros(100), x, np.zeros(1000)])
    pieces = spans(cut(x, sizes), lambda i: (first + i * step, first + i * step + extent))
    for index in range(8):
        piece = next(pieces)
        start = 100 + first + index * step
        np.testing.assert_array_equal(piece.samples(), padded[start : start + extent])
        assert piece.number == index and not piece.paused
        assert piece.end >= min(n, first + index * step + extent)
        if first + index * step + extent > n:
            assert piece.ended and piece.end == n


@given(st.integers(0, 300), sizes, st.integers(1, 50), st.integers(1, 80))
def test_a_paused_span_comes_again_when_it_is_complete(n, sizes, step, extent):
    x = np.arange(1.0, n + 1)
    blocks = [item for block in cut(x, sizes) for item in (None, block)]
    whole = list(itertools.islice(spans(cut(x, sizes), lambda i: (i * step, i * step + extent)), 8))
    index = 0
    for piece in itertools.islice(spans(blocks, lambda i: (i * step, i * step + extent)), 400):
        if index == 8:
            break
        assert piece.number == index
        if piece.paused:
            known = max(0, min(extent, piece.end - index * step))
            np.testing.assert_array_equal(piece.samples()[:known], whole[index].samples()[:known])
            assert known < extent and not piece.samples()[known:].any()
        else:
            np.testing.assert_array_equal(piece.samples(), whole[index].samples())
            index += 1
    assert index == 8


def test_spans_keep_few_blocks_in_memory():
    """The signal has 1000 blocks, and a block is freed when no later span needs it."""
    import weakref

    alive = [0]

    def blocks():
        for _ in range(1000):
            block = np.zeros(100)
            alive[0] += 1
            weakref.finalize(block, lambda: alive.__setitem__(0, alive[0] - 1))
            yield block
            del block

    pieces = spans(blocks(), lambda i: (i * 150, i * 150 + 300))
    most = 0
    for _ in range(600):
        next(pieces)
        most = max(most, alive[0])
    assert most <= 6


@given(st.integers(0, 200), sizes, st.integers(1, 40), st.integers(1, 70), st.integers(0, 20), st.integers(1, 7))
def test_windows_equal_those_of_upstream(n, sizes, window, hop, front, batch):
    x = np.random.default_rng(n).standard_normal(n)
    pieces = list(windows(cut(x, sizes), window, hop, front, batch))
    expected = oracles.frame(x, window, hop, front)
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    assert all(len(piece) == batch for piece in pieces[:-1])
    assert count_windows(n, window, hop, front) == len(expected)


@pytest.mark.parametrize("n", [0, 1, 7999, 8000, 8001, 8799, 8800, 8801, 15999, 16000, 16001])
@pytest.mark.parametrize("front", [0, 4000])
def test_the_number_of_windows_at_boundary_lengths(n, front):
    expected = oracles.frame(np.ones(n), 8000, 800, front)
    assert count_windows(n, 8000, 800, front) == len(expected)


def test_five_seconds_have_46_windows():
    assert count_windows(5 * 8000, 8000, 800, 4000) == 46


def test_windows_are_read_only():
    piece = next(windows([np.ones(100)], 10, 5, 0, 4))
    with pytest.raises(ValueError, match="read-only"):
        piece[0, 0] = 1


def test_hop_is_truncated_as_upstream_does():
    assert hop_length(0.33333, 8000) == 2666
    assert hop_length(np.float32(0.5), 48000) == 24000
    assert hop_length(2, 8000) == 16000


@pytest.mark.parametrize("hop_size", [0, -0.1, 1e10, np.nan, np.inf, "0.1", None, True, 1e-9, [0.1]])
def test_wrong_hops(hop_size):
    with pytest.raises(EdgeL3Error, match="hop_size"):
        hop_length(hop_size, 8000)


def test_timestamps_equal_those_of_upstream_bit_for_bit():
    np.testing.assert_array_equal(timestamps(50, 800, 0.1, 8000), np.arange(50) * 0.1)


def test_timestamps_beyond_32_bits():
    """At 46,000 s of 48 kHz, the number of a sample needs more than 32 bits."""
    assert timestamps(1, 4800, 0.1, 48000, 460_000)[0] == 46_000.0
    assert timestamps(1, 3, 1e-4, 48000, 10**9)[0] == 10**9 * 3 / 48000


def test_a_hop_of_hours():
    """The stride of such a hop does not fit into 32 bits; no window lies there."""
    batches = windows([np.ones(4)], 4, 1 << 40, 0, 1)
    np.testing.assert_array_equal(next(batches), np.ones((1, 4)))


def test_timestamps_follow_a_hop_that_is_truncated_to_whole_samples():
    hop = hop_length(0.33333, 8000)  # 2666 samples, 0.33325 s
    times = timestamps(1000, hop, 0.33333, 8000)
    true = np.arange(1000) * hop / 8000
    assert np.abs(times - true).max() <= 1 / 8000
    np.testing.assert_array_equal(times[500:], true[500:])
    np.testing.assert_array_equal(times[:2], [0, 0.33333])
