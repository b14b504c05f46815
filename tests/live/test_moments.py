"""Tests of embedding sound while it arrives: the same bytes as `embed`, and the right times and levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error, EdgeL3Warning
from edgel3_np.live.moments import Block, first_seconds, moments

pytestmark = pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")


@pytest.fixture(scope="module")
def sound():
    x = np.random.default_rng(3).standard_normal(60_000) / 9
    return x * np.linspace(0.1, 1.0, len(x))


def blocks_of(x, size, lost=0):
    for start in range(0, len(x), size):
        yield Block(x[start : start + size], lost if start == 0 else 0)


def level_of(x):
    return 10 * np.log10(np.mean(x**2))


def check(model, x, sr, size, hop_size):
    expected = model.embed(x, sr, hop_size=hop_size, center=False)
    found = list(moments(model, blocks_of(x, size), sr, hop_size=hop_size))
    assert np.array([moment.time for moment in found]).tobytes() == expected.timestamps.tobytes()
    assert b"".join(moment.embedding.tobytes() for moment in found) == expected.embedding.tobytes()
    ends = [0, *(round((time + 1) * sr) for time in expected.timestamps)]
    for moment, start, end in zip(found, ends, ends[1:]):
        assert moment.level == pytest.approx(level_of(x[start:end]), abs=1e-9)
    assert ends[-2] < len(x) <= ends[-1] + 1  # every sample is in one of them


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("hop_size", [0.1, 0.33333, 1.0, 1.7])
def test_bytes_times_and_levels(small_model, sound, sr, hop_size):
    check(small_model, sound, sr, 777, hop_size)


@settings(max_examples=25)
@given(st.integers(100, 30_000), st.sampled_from([8000, 9999, 16000]), st.integers(50, 20_000), st.floats(0.2, 2.5))
def test_any_blocking(small_model, sound, n, sr, size, hop_size):
    check(small_model, sound[:n], sr, max(size, n // 50), hop_size)


def test_a_moment_comes_as_soon_as_its_window_is_complete(small_model, sound):
    taken = []
    blocks = (taken.append(number) or block for number, block in enumerate(blocks_of(sound, 2000)))
    found = moments(small_model, blocks, 8000, hop_size=0.5)
    assert next(found).time == 0.0 and len(taken) == 4
    assert next(found).time == 0.5 and len(taken) == 6


def test_a_window_never_lies_over_a_gap(small_model, sound):
    """What lies between two gaps is embedded like a recording, and its time is that of its place."""
    first, second = sound[:20_000], sound[20_000:41_000]
    found = list(moments(small_model, [*blocks_of(first, 900), *blocks_of(second, 900, lost=4000)], 8000, hop_size=0.5))
    expected = [small_model.embed(part, 8000, hop_size=0.5, center=False) for part in (first, second)]
    times = np.concatenate([expected[0].timestamps, expected[1].timestamps + 24_000 / 8000])
    assert [moment.time for moment in found] == pytest.approx(times.tolist())
    assert b"".join(moment.embedding.tobytes() for moment in found) == b"".join(
        part.embedding.tobytes() for part in expected
    )
    assert found[4].level == pytest.approx(level_of(second[:8000]))  # the first window behind the gap


def test_samples_that_are_lost_at_the_start_count(small_model, sound):
    assert next(moments(small_model, blocks_of(sound, 9000, lost=2000), 8000, hop_size=1.0)).time == 0.25


def test_silence_and_short_sound(small_model):
    with pytest.warns(EdgeL3Warning) as caught:
        (moment,) = moments(small_model, [Block(np.zeros(800))], 8000, hop_size=1.0)
    assert moment.time == 0 and moment.level == -np.inf and len(caught) == 2
    (moment,) = moments(small_model, [Block(np.full(1000, 0.5))], 8000, hop_size=0.1)
    assert moment.level == pytest.approx(-6.0206, abs=1e-4)


def test_full_scale_is_0_dB(small_model):
    sine = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    levels = [next(moments(small_model, [Block(x)], 8000, hop_size=1.0)).level for x in (np.sign(sine + 0.1), sine)]
    assert levels == pytest.approx([0.0, -3.0103], abs=1e-3)


def test_hops_shorter_than_a_sample_repeat_the_level(small_model, sound):
    found = list(moments(small_model, [Block(sound[:120])], 100, hop_size=0.004))
    assert len(found) > 40 and all(np.isfinite(moment.level) for moment in found)


def test_no_blocks_and_a_wrong_hop(small_model, sound):
    assert list(moments(small_model, [], 8000, hop_size=1.0)) == []
    with pytest.raises(EdgeL3Error, match="hop_size"):
        list(moments(small_model, blocks_of(sound, 100), 8000, hop_size=0))


@pytest.mark.parametrize("seconds, count", [(1e-9, 1), (0.1, 800), (0.15, 1200), (1.0, 8000), (9.0, 60_000)])
@pytest.mark.parametrize("size", [1, 799, 800, 100_000])
def test_the_first_seconds(sound, seconds, count, size):
    if size == 1 and count > 8000:
        return
    found = np.concatenate([block.samples for block in first_seconds(blocks_of(sound, size), 8000, seconds)])
    assert found.tobytes() == sound[:count].tobytes()


def test_the_first_seconds_take_no_block_too_many_and_count_what_is_lost(sound):
    blocks = blocks_of(sound, 800)
    assert len(list(first_seconds(blocks, 8000, 0.2))) == 2
    assert next(blocks).samples.tobytes() == sound[1600:2400].tobytes()
    gap = [Block(sound[:800]), Block(sound[:800], lost=800), Block(sound[:800])]
    assert [len(block.samples) for block in first_seconds(gap, 8000, 0.25)] == [800, 400]
    assert [len(block.samples) for block in first_seconds(gap, 8000, 0.15)] == [800]


def test_memory_stays_small(small_model):
    """Ten minutes of sound between two windows."""
    import tracemalloc

    block = Block(np.ones(8000))
    tracemalloc.start()
    assert len(list(moments(small_model, (block for _ in range(601)), 8000, hop_size=600.0))) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # the sound would be 38 MB
