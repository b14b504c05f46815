"""The bundled network for streams as a model: golden embeddings, the same bytes any way, times, errors."""

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import edgel3_np
from edgel3_np import EdgeL3Error, Stream, embed_files
from edgel3_np.diagnostics.checks import check_model

pytestmark = pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")
RECORDING = ROOT / "docs" / "demo" / "street.flac"
NAME = "pico-64-stream"


@pytest.fixture(scope="module")
def model():
    return edgel3_np.load_model(NAME)


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(4)
    loud = np.repeat(10 ** rng.uniform(-3, 0, 100), 800) * (np.repeat(rng.random(50), 1600) < 0.8)
    return rng.standard_normal(80_000) * loud


@pytest.mark.parametrize("hop_size, center", [(0.5, True), (1.1, False)])
def test_golden_embeddings(model, hop_size, center):
    """tools/make_golden.py computes them with the oracle for exactly these weights: the same bytes."""
    with np.load(ROOT / "tests" / "golden" / f"{NAME}.npz", allow_pickle=False) as golden:
        assert str(golden["sha256"]) == model.sha256
        expected = golden[f"center={int(center)}|hop={hop_size}"]
    found = model.embed(RECORDING, hop_size=hop_size, center=center)
    assert found.embedding.tobytes() == expected.astype("<f4").tobytes()
    np.testing.assert_array_equal(found.timestamps, np.arange(len(expected)) * hop_size)


def test_verify():
    assert [check.ok for check in check_model(NAME)] == [True] * 9


@pytest.mark.parametrize("hop_size", [0.1, 0.3, 1.0, 2.4, 2.5, 7.0])
@pytest.mark.parametrize("center", [True, False])
def test_windows_lie_as_those_of_other_models(model, sound, hop_size, center):
    found = model.embed(sound, 8000, hop_size=hop_size, center=center)
    other = edgel3_np.embed(sound, 8000, hop_size=hop_size, center=center)
    assert found.embedding.shape == other.embedding.shape
    np.testing.assert_array_equal(found.timestamps, other.timestamps)
    every = model.embed(sound, 8000, center=center).embedding[:: round(hop_size * 10)]
    assert found.embedding[: len(every)].tobytes() == every[: len(found.embedding)].tobytes()


def test_windows_that_are_not_centred_are_those_of_half_a_second_later(model, sound):
    centred, others = (model.embed(sound, 8000, center=center).embedding for center in (True, False))
    assert centred[5 : 5 + len(others)].tobytes() == others.tobytes()


@settings(max_examples=30)
@given(
    st.integers(1, 60_000), st.sampled_from([8000, 11025, 44100]), st.integers(1, 30), st.booleans(),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=4),
)  # fmt: skip
def test_a_stream_has_the_same_bytes_as_embed(model, sound, n, sr, columns, center, sizes):
    samples, sizes = sound[: max(n, -(-sr // 8000))], [max(size, n // 40) for size in sizes]
    options = {"hop_size": columns / 10, "center": center}
    expected, parts, start = model.embed(samples, sr, **options), [], 0
    with Stream(model, sr, **options) as stream:
        while start < len(samples):
            size = sizes[len(parts) % len(sizes)]
            parts.append(stream.feed(samples[start : start + size]))
            start += size
        parts.append(stream.flush())
    embedding, timestamps = (np.concatenate(part) for part in zip(*parts))
    assert embedding.tobytes() == expected.embedding.tobytes()
    assert timestamps.tobytes() == expected.timestamps.tobytes()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(model, threads, monkeypatch):
    from edgel3_np.network.columns import ColumnNetwork

    samples = np.random.default_rng(0).standard_normal(8000 * 60)
    expected = model.embed(samples, 8000, threads=1).embedding
    monkeypatch.setattr(ColumnNetwork, "batch", 37)
    assert model.embed(samples, 8000, threads=threads).embedding.tobytes() == expected.tobytes()


def test_the_delay_of_a_live_stream(model, sound):
    """An embedding comes with the sample 2,832 samples, 0.354 s, after its window's end, and not before."""
    with Stream(model, 8000, center=False) as stream:
        assert len(stream.feed(sound[: 8000 + 2831]).timestamps) == 0
        assert stream.feed(sound[8000 + 2831 : 8000 + 2832]).timestamps.tolist() == [0.0]
        assert len(stream.feed(sound[10832 : 10832 + 799]).timestamps) == 0
        assert len(stream.feed(sound[11631:11632]).timestamps) == 1


def test_what_lies_further_away_changes_nothing(model):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(60_000) * 0.1
    other = samples.copy()
    window = 30_000  # start of window 37.5 s / 0.1 s: a multiple of 800 is 29,600
    start = window // 800 * 800
    other[: start - 10_032] = rng.standard_normal(start - 10_032)
    other[start + 8000 + 2832 :] = rng.standard_normal(60_000 - start - 10_832)
    one, two = (model.embed(x, 8000, center=False).embedding for x in (samples, other))
    assert one[start // 800].tobytes() == two[start // 800].tobytes()
    assert one[start // 800 - 1].tobytes() != two[start // 800 - 1].tobytes()


def test_silence(model):
    from edgel3_np.weights.format import load_weights
    from edgel3_np.weights.locate import find_model

    silence = load_weights(find_model(NAME)).silence
    samples = np.zeros(40_000)
    assert (model.embed(samples, 8000).embedding == silence).all()
    samples[30_000] = 1e-30
    found = (model.embed(samples, 8000, center=False).embedding == silence).all(axis=1)
    holds = [start <= 30_000 < start + 8000 for start in range(0, 800 * len(found), 800)]
    assert [not quiet for quiet in found] == holds


@pytest.mark.parametrize("exponent", [-280, -30, 10, 300])
def test_loudness_changes_nothing(model, sound, exponent):
    expected = model.embed(sound, 8000).embedding
    assert model.embed(np.ldexp(sound, exponent), 8000).embedding.tobytes() == expected.tobytes()


def test_traces_count_as_zeros(model, sound):
    """Samples below 2**-300: floats could not tell their spectrum from nothing, so a machine might differ."""
    expected = model.embed(sound * (np.arange(len(sound)) % 3 == 0), 8000).embedding
    traces = np.where(np.arange(len(sound)) % 3 == 0, sound, np.ldexp(np.sign(sound), -301))
    assert model.embed(traces, 8000).embedding.tobytes() == expected.tobytes()
    silent = model.embed(np.zeros(9000), 8000).embedding
    with pytest.warns(edgel3_np.EdgeL3Warning, match="every sample is zero"):
        assert model.embed(np.full(9000, 2.0**-301), 8000).embedding.tobytes() == silent.tobytes()
    assert model.embed(np.full(9000, 2.0**-300), 8000).embedding.tobytes() != silent.tobytes()


@pytest.mark.parametrize("n", [1, 100, 799, 800, 801, 4000, 7999, 8000, 8001])
def test_short_signals(model, sound, n):
    """They are as if zeros followed."""
    found = model.embed(sound[:n], 8000).embedding
    longer = model.embed(np.concatenate([sound[:n], np.zeros(8000)]), 8000).embedding
    assert len(found) == 1 + max(0, -(-(n - 4000) // 800)) and found.tobytes() == longer[: len(found)].tobytes()


def test_empty_signals(model):
    with pytest.raises(EdgeL3Error, match="at least one sample"):
        model.embed(np.zeros(0), 8000)
    with pytest.raises(EdgeL3Error, match="at least one sample"):
        Stream(model, 8000).flush()


@pytest.mark.parametrize("hop_size", [0.25, 0.05, 0.15])
def test_other_hops_are_an_error(model, sound, hop_size, tmp_path):
    for call in (
        lambda: model.embed(sound, 8000, hop_size=hop_size),
        lambda: Stream(model, 8000, hop_size=hop_size),
        lambda: embed_files([RECORDING], tmp_path, model=NAME, hop_size=hop_size),
    ):
        with pytest.raises(EdgeL3Error, match=r"hop_size: expected a multiple of 0\.1 s"):
            call()


def test_memory_of_a_long_stream_stays_small(model):
    import tracemalloc

    block = np.random.default_rng(0).standard_normal(8000)
    with Stream(model, 8000) as stream:
        for _ in range(5):
            stream.feed(block)
        tracemalloc.start()
        for _ in range(60):
            stream.feed(block)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20  # the signal is 3.8 MB; what is kept of it is less


def test_collections(model, sound, tmp_path):
    """Short recordings, which other models bundle, have the bytes of `embed`, each on its own."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / "in" / f"{number}.wav", sound[number * 9000 :][: 5000 + 3000 * number] * 0.1, 8000)
    summary = embed_files([tmp_path / "in"], tmp_path / "out", model=NAME, jobs=1)
    assert summary.statuses == {"done": 4}
    for number in range(4):
        expected = model.embed(tmp_path / "in" / f"{number}.wav")
        with np.load(next((tmp_path / "out").rglob(f"{number}.npz"))) as found:
            assert found["embedding"].tobytes() == expected.embedding.tobytes()


def test_near_to_pico_64():
    """Both follow the same teacher."""
    one, two = (edgel3_np.embed(RECORDING, model=name).embedding for name in (NAME, "pico-64"))
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosine.mean() > 0.95
