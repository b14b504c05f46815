import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupts import interrupt_at_line

from edgel3_np import EdgeL3Error, EdgeL3Warning, Stream

pytestmark = pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")


def streamed(model, x, sr, sizes, **options):
    """Feed a stream with blocks whose sizes cycle through `sizes`; return all results, joined."""
    stream, results, start, number = Stream(model, sr, **options), [], 0, 0
    while start < len(x):
        size = sizes[number % len(sizes)]
        results.append(stream.feed(x[start : start + size]))
        start, number = start + size, number + 1
    results.append(stream.flush())
    return np.concatenate([r.embedding for r in results]), np.concatenate([r.timestamps for r in results])


def equal(model, x, sr, sizes, **options):
    expected = model.embed(x, sr, **options)
    embedding, timestamps = streamed(model, x, sr, sizes, **options)
    assert embedding.tobytes() == expected.embedding.tobytes()
    assert timestamps.tobytes() == expected.timestamps.tobytes()


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(3).standard_normal(100_000)


@pytest.mark.parametrize("sr", [8000, 11025, 48000])
@pytest.mark.parametrize("size", [17, 160, 4801, 48000])
@pytest.mark.parametrize("center", [True, False])
def test_a_stream_has_the_same_bytes_as_embed(small_model, sound, sr, size, center):
    equal(
        small_model, sound[: 2 * sr + 123] if size > 17 else sound[: sr // 2], sr, [size], center=center, hop_size=0.25
    )


def test_single_samples(small_model, sound):
    equal(small_model, sound[:8500], 8000, [1], hop_size=0.03)
    equal(small_model, sound[:900], 22050, [1])


@pytest.mark.parametrize("n", [1, 7999, 8000, 8001, 8799, 8800, 8801, 11999, 12000, 12001, 15999, 16000, 16001])
@pytest.mark.parametrize("center", [True, False])
def test_lengths_around_every_boundary(small_model, sound, n, center):
    equal(small_model, sound[:n], 8000, [800, 1, 3999], center=center)


@pytest.mark.parametrize("hop_size", [0.07, 0.33333, 1.0, 1.7, 5.0])
def test_hops_that_do_not_divide_the_window_or_leave_gaps(small_model, sound, hop_size):
    equal(small_model, sound[:50_000], 16000, [1000, 7, 9999], hop_size=hop_size)


@settings(max_examples=25)
@given(
    st.integers(1, 30_000),
    st.sampled_from([8000, 9999, 22050, 48000, 4000]),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=4),
    st.floats(0.2, 2.5),
    st.booleans(),
)
def test_any_blocking(small_model, sound, n, sr, sizes, hop_size, center):
    if int(n * (8000 / sr)) == 0:
        return
    equal(small_model, sound[:n], sr, [max(size, n // 20) for size in sizes], hop_size=hop_size, center=center)


def test_an_embedding_comes_as_soon_as_its_window_is_complete(small_model, sound):
    """Without resampling, it comes with the last sample; with resampling, it comes after the tail of the filter."""
    stream = Stream(small_model, 8000, hop_size=0.5, center=False)
    assert len(stream.feed(sound[:7999]).timestamps) == 0
    assert stream.feed(sound[7999:8000]).timestamps.tolist() == [0.0]
    assert len(stream.feed(sound[8000:11999]).timestamps) == 0
    assert stream.feed(sound[11999:12000]).timestamps.tolist() == [0.5]
    stream = Stream(small_model, 48000, hop_size=0.5, center=False)
    tail = 32769 // 85  # taps of half of the filter from 48 to 8 kHz
    assert len(stream.feed(sound[: 47994 + tail]).timestamps) == 0
    assert stream.feed(sound[47994 + tail : 47995 + tail]).timestamps.tolist() == [0.0]


def test_kinds_of_samples(small_model, sound):
    x = np.round(sound[:20_000] * 3000).astype(np.int16)
    equal(small_model, np.stack([x, x[::-1]], axis=1), 8000, [999])


def test_blocks_may_be_overwritten_after_feeding(small_model, sound):
    expected = small_model.embed(sound[:16_000], 8000)
    stream, block, results = Stream(small_model, 8000), np.empty(1000), []
    for start in range(0, 16_000, 1000):
        block[:] = sound[start : start + 1000]
        results.append(stream.feed(block).embedding)
        block[:] = np.nan
    results.append(stream.flush().embedding)
    assert np.concatenate(results).tobytes() == expected.embedding.tobytes()


def test_over_an_iterator(small_model, sound):
    blocks = (sound[start : start + 3000] for start in range(0, 30_000, 3000))
    with Stream(small_model, 8000, hop_size=0.5) as stream:
        results = list(stream.over(blocks))
    assert all(len(result.timestamps) for result in results)
    expected = small_model.embed(sound[:30_000], 8000, hop_size=0.5)
    assert np.concatenate([result.embedding for result in results]).tobytes() == expected.embedding.tobytes()


def test_feeding_after_flush_is_an_error(small_model, sound):
    stream = Stream(small_model, 8000)
    stream.feed(sound[:9000])
    assert len(stream.flush().timestamps) > 0
    assert stream.flush().embedding.shape == (0, 16)
    with pytest.raises(EdgeL3Error, match="after flush"):
        stream.feed(sound[:10])
    with Stream(small_model, 8000) as stream:
        stream.feed(sound[:10])
    with pytest.raises(EdgeL3Error, match="after flush"):
        stream.feed(sound[:10])


def test_a_bad_block_is_refused_and_the_stream_goes_on(small_model, sound):
    expected = small_model.embed(sound[:16_000], 8000)
    stream = Stream(small_model, 8000)
    results = [stream.feed(sound[:10_000]).embedding]
    bad = sound[:100].copy()
    bad[50] = np.nan
    with pytest.raises(EdgeL3Error, match=r"at 1\.256250 s \(sample 10050\)"):
        stream.feed(bad)
    for wrong in ([0.0], np.zeros((2, 2, 2)), np.zeros(3, bool), None):
        with pytest.raises(EdgeL3Error, match="stream|audio"):
            stream.feed(wrong)
    results += [stream.feed(sound[10_000:16_000]).embedding, stream.flush().embedding]
    assert np.concatenate(results).tobytes() == expected.embedding.tobytes()


def test_flush_of_a_stream_without_samples(small_model):
    with pytest.raises(EdgeL3Error, match="at least one sample"):
        Stream(small_model, 8000).flush()


@pytest.mark.parametrize("options", [{"hop_size": 0}, {"center": 1}, {"sr": 0}])
def test_wrong_options(small_model, options):
    with pytest.raises(EdgeL3Error):
        Stream(small_model, **{"sr": 8000, **options})


def test_warnings_come_with_flush(small_model):
    stream = Stream(small_model, 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.feed(np.zeros(4000))
    with pytest.warns(EdgeL3Warning) as caught:
        stream.flush()
    assert [caught[0].filename, caught[1].filename] == [__file__, __file__]
    assert "shorter" in str(caught[0].message) and "zero" in str(caught[1].message)


def test_memory_stays_small(small_model):
    """A stream reads ten minutes of signal, and its hop leaves most of it out."""
    import tracemalloc

    stream, block = Stream(small_model, 8000, hop_size=60.0), np.ones(8000)
    stream.feed(block)
    tracemalloc.start()
    for _ in range(600):
        stream.feed(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20  # the signal would be 38 MB


def broken(monkeypatch, error, after=0):
    """Let one call of `embed_windows` raise, after `after` calls that work; later calls work again."""
    from edgel3_np import stream as module

    embed_windows, calls = module.embed_windows, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == after + 1:
            raise error
        return embed_windows(*arguments)

    monkeypatch.setattr(module, "embed_windows", fail)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RuntimeError("x")])
@pytest.mark.parametrize("then", ["feed", "flush", "over"])
def test_every_call_after_a_failure_is_an_error(small_model, sound, monkeypatch, error, then):
    """The failed call loses windows, so later embeddings would have wrong times."""
    broken(monkeypatch, error, after=1)
    stream = Stream(small_model, 8000)
    with pytest.raises(type(error)):
        stream.feed(sound[:20_000])  # the second batch fails
    calls = {
        "feed": lambda: stream.feed(sound[20_000:30_000]),
        "flush": stream.flush,
        "over": lambda: list(stream.over([sound[20_000:30_000]])),
    }
    for _ in range(2):
        with pytest.raises(EdgeL3Error, match="one that failed or still runs: windows are lost; make a new Stream"):
            calls[then]()


def test_a_second_flush_after_a_failed_one_is_an_error(small_model, sound, monkeypatch):
    stream = Stream(small_model, 8000)
    stream.feed(sound[:3000])
    broken(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        stream.flush()
    with pytest.raises(EdgeL3Error, match="windows are lost"):
        stream.flush()


def test_the_first_block_decides_how_many_channels_there_are(small_model, sound):
    with Stream(small_model, 8000) as stream:
        with pytest.raises(EdgeL3Error, match=r"expected blocks \(n, channels\), found \(1, 30\); pass block.T"):
            stream.feed(np.zeros((1, 30)))
        stream.feed(np.ones((100, 6)))
        stream.feed(np.ones((1, 6)))  # the last block of a recording may be short
        with pytest.raises(EdgeL3Error, match="expected 6 channels, as before, found 2"):
            stream.feed(np.ones((100, 2)))
        stream.feed(np.ones((9000, 6)))
        assert len(stream.flush().timestamps)


def test_wide_integers_that_hold_16_bits_are_a_warning(small_model, sound):
    blocks = np.array_split((3000 * sound).astype(np.int32), 7)
    stream = Stream(small_model, 8000)
    for block in blocks:
        stream.feed(block)
    with pytest.warns(EdgeL3Warning, match="pass samples.astype") as caught:
        stream.flush()
    assert len(caught) == 1
    stream = Stream(small_model, 8000)
    stream.feed((sound * 2**27).astype(np.int32))
    stream.flush()


def test_a_refused_block_does_not_change_the_stream(small_model, sound):
    """The whole block is checked before the stream takes any of it."""
    x, stream = sound[:20_000], Stream(small_model, 8000)
    parts = [stream.feed(x[:9000])]
    bad = x[9000:12000].copy()
    bad[5] = np.nan
    with pytest.raises(EdgeL3Error, match="finite"):
        stream.feed(bad)
    parts += [stream.feed(x[9000:]), stream.flush()]
    expected = small_model.embed(x, 8000)
    assert b"".join(part.embedding.tobytes() for part in parts) == expected.embedding.tobytes()
    assert b"".join(part.timestamps.tobytes() for part in parts) == expected.timestamps.tobytes()


@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_an_interrupt_at_any_line_of_feed_is_a_failure(small_model, kind):
    """Wherever a Ctrl-C arrives, either the call has not begun, or it is done, or every later call is an error."""

    def counts(module):  # not where a lock is held, which no signal breaks
        return "edgel3_np" in module and not module.endswith(".threads")

    block, refused, number = np.ones((500, 2), kind), 0, 0
    while True:
        number += 1
        stream = Stream(small_model, 8000)
        if not interrupt_at_line(number, lambda stream=stream: stream.feed(block), counts):
            break
        try:
            stream.feed(block)
        except EdgeL3Error:
            refused += 1
        else:
            assert stream._fed == 1000 or number <= 3
    assert number > 30 and refused > 20


def test_a_warning_that_is_an_error_does_not_lose_windows_silently(small_model, sound):
    stream = Stream(small_model, 8000)
    stream.feed(sound[:3000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(EdgeL3Warning, match="shorter than a window"):
            stream.flush()
    with pytest.raises(EdgeL3Error, match="windows are lost"):
        stream.flush()


def test_every_flush_of_an_empty_stream_is_an_error(small_model, sound):
    stream = Stream(small_model, 8000)
    for _ in range(2):
        with pytest.raises(EdgeL3Error, match="at least one sample"):
            stream.flush()
    assert len(stream.feed(sound[:9000]).timestamps) > 0  # nothing was lost


def test_a_stream_takes_the_name_of_a_model(small_npz, small_model, sound):
    for model in ("pico-64", small_npz):
        with Stream(model, 8000, hop_size=0.5) as stream:
            assert stream.feed(sound[:9000]).embedding.shape[1] == (64 if model == "pico-64" else small_model.dim)
    with pytest.raises(EdgeL3Error, match="no-such-model"):
        Stream("no-such-model", 8000)
