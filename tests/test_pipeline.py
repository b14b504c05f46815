import io
import threading
import tracemalloc
import warnings

import factory
import numpy as np
import oracles
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import edgel3_np
from edgel3_np import EdgeL3Error, EdgeL3Warning, Embedding, pipeline
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.network import plan, winograd
from edgel3_np.pipeline import embed_audio
from edgel3_np.weights.registry import SEA


def by_hand(x, sr, hop_size=0.1, center=True):
    """Compute the embedding of the small model with the oracles of the whole pipeline."""
    x = x.mean(axis=1) if x.ndim == 2 else x
    x = x if sr == 8000 else oracles.resample(x, sr, 8000)
    windows = oracles.frame(x, 8000, int(hop_size * 8000), 4000 if center else 0)
    mel, arrays = mel_filterbank(SEA).astype(np.float64), factory.random_arrays()
    return np.array([oracles.forward(oracles.log_mel_spectrogram(w, SEA, mel), *arrays) for w in windows])


@pytest.mark.parametrize("sr, channels", [(8000, 1), (8000, 2), (22050, 1), (48000, 3)])
@pytest.mark.parametrize("hop_size, center", [(0.25, True), (0.4, False), (1.7, True)])
def test_pipeline_against_the_oracles(small_model, sr, channels, hop_size, center):
    n = int(1.6 * sr)
    t = np.arange(n)[:, np.newaxis] / sr
    x = 0.3 * np.sin(2 * np.pi * (150 + 400 * np.arange(channels)) * t) + 0.05 * np.random.default_rng(
        0
    ).standard_normal((n, channels))
    embedding, timestamps = small_model.embed(x, sr, hop_size=hop_size, center=center)
    expected = by_hand(x, sr, hop_size, center)
    assert embedding.shape == expected.shape and embedding.dtype == np.float32
    error = np.abs(embedding - expected).max(axis=1) / np.abs(expected).max(axis=1)
    # a spectrogram rounded to float32 (1e-7 of 80) costs some units in the last place of the embedding
    assert error.max() <= 1e-5
    np.testing.assert_array_equal(timestamps, np.arange(len(expected)) * hop_size)


def test_result_is_a_named_tuple(small_model, sweep):
    result = small_model.embed(sweep, 8000)
    assert isinstance(result, Embedding)
    embedding, timestamps = result
    assert result.embedding is embedding and result.timestamps is timestamps
    assert embedding.dtype == np.float32 and timestamps.dtype == np.float64
    assert embedding.shape == (len(timestamps), small_model.dim)


def test_every_way_to_name_the_model(small_model, small_npz, sweep):
    expected = small_model.embed(sweep, 8000).embedding.tobytes()
    for model in (small_model, small_npz, str(small_npz)):
        assert edgel3_np.embed(sweep, 8000, model=model).embedding.tobytes() == expected


def test_file_and_array_give_the_same(small_model, sweep, tmp_path):
    path = tmp_path / "sweep.wav"
    soundfile.write(path, sweep, 11025, subtype="DOUBLE")
    expected = small_model.embed(sweep, 11025).embedding.tobytes()
    with open(path, "rb") as file:
        for audio in (path, str(path), file, path.read_bytes(), io.BytesIO(path.read_bytes())):
            assert small_model.embed(audio).embedding.tobytes() == expected


@pytest.mark.parametrize("batch, samples", [(1, 1 << 22), (3, 1 << 22), (16, 1), (16, 3000), (64, 9000)])
def test_batches_do_not_change_a_bit(small_model, sweep, batch, samples, monkeypatch):
    """A batch may have any number of windows."""
    expected = small_model.embed(sweep, 8000, hop_size=0.05).embedding.tobytes()
    monkeypatch.setattr(plan.Network, "batch", batch)
    monkeypatch.setattr("edgel3_np.pipeline.BATCH_SAMPLES", samples)
    assert small_model.embed(sweep, 8000, hop_size=0.05).embedding.tobytes() == expected


@pytest.mark.parametrize("block_samples", [1, 100, 7777])
def test_blocks_do_not_change_a_bit(small_model, sweep, block_samples, monkeypatch):
    x = sweep[:12000]
    expected = small_model.embed(x, 11025).embedding.tobytes()
    monkeypatch.setattr("edgel3_np.audio.reading.BLOCK_SAMPLES", block_samples)
    assert small_model.embed(x, 11025).embedding.tobytes() == expected


def test_eight_threads_get_the_same_bytes(small_model, sweep):
    expected, found = small_model.embed(sweep, 8000).embedding.tobytes(), []
    run = lambda: found.append(small_model.embed(sweep, 8000).embedding.tobytes())  # noqa: E731
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


@settings(max_examples=15)
@given(st.integers(1, 20000), st.floats(0.05, 3), st.booleans())
def test_the_number_of_windows_is_right_and_values_are_finite(small_model, n, hop_size, center):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeL3Warning)
        embedding, timestamps = small_model.embed(np.ones(n), 8000, hop_size=hop_size, center=center)
    expected = oracles.frame(np.ones(n), 8000, int(hop_size * 8000), 4000 if center else 0)
    assert len(embedding) == len(expected) == len(timestamps)
    assert np.isfinite(embedding).all()


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_threads_do_not_change_a_bit(small_model, sweep, threads, monkeypatch):
    expected = small_model.embed(sweep, 8000, hop_size=0.03, threads=1).embedding.tobytes()
    monkeypatch.setattr(plan.Network, "batch", 7)  # several batches
    assert small_model.embed(sweep, 8000, hop_size=0.03, threads=threads).embedding.tobytes() == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [3000, 8000, 9000])
def test_threads_do_not_change_a_bit_of_one_batch(small_model, sweep, n, threads):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeL3Warning)
        expected = small_model.embed(sweep[:n], 8000, threads=1)
        found = small_model.embed(sweep[:n], 8000, threads=threads)
    assert found.embedding.tobytes() == expected.embedding.tobytes()
    assert len(found.embedding) <= 8


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_strips_of_a_window(sweep, threads, monkeypatch):
    """The network is large, and the recording has only one batch."""
    monkeypatch.setattr(plan, "SHARED", 0.0)
    monkeypatch.setattr(winograd, "CACHE_FLOATS", 1)
    network, spread, asked = plan.plan_network(factory.random_weights()), pipeline.spread, []
    monkeypatch.setattr(pipeline, "spread", lambda threads: asked.append(threads) or spread(threads))
    for n in (1000, 2500, 4000):  # one window, centred
        found, remarks, _ = embed_audio(network, sweep[:n], 8000, hop_size=10.0, threads=threads)
        expected, _, _ = embed_audio(network, sweep[:n], 8000, hop_size=10.0, threads=1)
        assert len(remarks) == 1 and "shorter" in remarks[0]
        assert found.embedding.shape == (1, 16)
        assert found.embedding.tobytes() == expected.embedding.tobytes()
    assert set(asked) == {1, threads}


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "2", 1000])
def test_wrong_threads(small_model, sweep, threads):
    with pytest.raises(EdgeL3Error, match="threads"):
        small_model.embed(sweep, 8000, threads=threads)


def test_channels_are_averaged(small_model, sweep):
    both = np.stack([1.5 * sweep, 0.5 * sweep], axis=1)
    mono = small_model.embed(both.mean(axis=1), 8000)
    assert small_model.embed(both, 8000).embedding.tobytes() == mono.embedding.tobytes()


def test_integers_of_full_scale(small_model, sweep):
    samples = np.round(sweep / np.abs(sweep).max() * 32767).astype(np.int16)
    expected = small_model.embed(samples / 32768.0, 8000)
    assert small_model.embed(samples, 8000).embedding.tobytes() == expected.embedding.tobytes()


def test_empty_audio_is_an_error(small_model, tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    for arguments in ((np.zeros(0), 8000), (np.zeros((0, 2)), 48000), (tmp_path / "empty.wav",)):
        with pytest.raises(EdgeL3Error, match="at least one sample"):
            small_model.embed(*arguments)


def test_resampled_to_nothing(small_model):
    """Five samples at 48 kHz are none at 8 kHz."""
    with pytest.raises(EdgeL3Error, match="at least one sample"):
        small_model.embed(np.ones(5), 48000)


def test_shorter_than_a_window_warns_and_works(small_model, sweep):
    with pytest.warns(EdgeL3Warning, match="0.500 s are shorter") as caught:
        embedding, timestamps = small_model.embed(sweep[:4000], 8000)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert embedding.shape == (1, 16) and timestamps.tolist() == [0.0]


def test_silence_warns_and_works(small_npz):
    with pytest.warns(EdgeL3Warning, match="every sample is zero") as caught:
        embedding, _ = edgel3_np.embed(np.zeros(16000), 8000, model=small_npz)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert embedding.shape == (16, 16) and np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding[5:11], np.repeat(embedding[5:6], 6, axis=0), rtol=1e-5)


def test_ordinary_audio_does_not_warn(small_model, sweep):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_model.embed(sweep, 8000)


@pytest.mark.parametrize("center", [0, 1, None, "yes", 1.0])
def test_center_must_be_true_or_false(small_model, sweep, center):
    with pytest.raises(EdgeL3Error, match="center"):
        small_model.embed(sweep, 8000, center=center)


def test_options_are_keywords(small_model, sweep):
    with pytest.raises(TypeError):
        small_model.embed(sweep, 8000, 0.5)
    with pytest.raises(TypeError):
        edgel3_np.embed(sweep, 8000, small_model)


def test_error_is_a_value_error():
    assert issubclass(EdgeL3Error, ValueError) and issubclass(EdgeL3Warning, UserWarning)


def test_weights_whose_embeddings_overflow_are_an_error(tmp_path, sweep):
    from edgel3_np.weights.format import save_weights
    from edgel3_np.weights.sparse import to_csr, to_dense

    weights = factory.random_weights()
    kernels = tuple(to_csr(np.full_like(to_dense(kernel), 9e5)) for kernel in weights.kernels)
    save_weights(tmp_path / "huge.npz", weights._replace(kernels=kernels))
    with pytest.raises(EdgeL3Error, match="overflow"):
        edgel3_np.embed(sweep, 8000, model=tmp_path / "huge.npz")


def test_hop_larger_than_a_window(small_model):
    """Each window equals that of its second of audio alone."""
    x = np.random.default_rng(2).standard_normal(8000 * 32)
    embedding, timestamps = small_model.embed(x, 8000, hop_size=10.0, center=False)
    assert timestamps.tolist() == [0.0, 10.0, 20.0, 30.0, 40.0]  # upstream's padding: the last window reaches the end
    for second, found in zip((0, 10, 20, 30), embedding):
        alone = small_model.embed(x[8000 * second : 8000 * (second + 1)], 8000, center=False).embedding
        np.testing.assert_allclose(found, alone[0], rtol=0, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("hop_size", [1.0, 5.0, 60.0])
def test_memory_is_bounded_at_any_hop(small_model, tmp_path, hop_size):
    """Twenty minutes would take 77 MB in float64, but only a few windows are in memory at a time."""
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8000, 1) as file:
        for second in range(1200):
            file.write(np.random.default_rng(second).standard_normal(8000) / 9)
    tracemalloc.start()
    embedding, _ = small_model.embed(tmp_path / "long.wav", hop_size=hop_size, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1200 / hop_size <= len(embedding) <= 1200 / hop_size + 1
    assert peak < 48 << 20


def test_a_hop_of_a_billion_seconds(small_model, sweep):
    embedding, timestamps = small_model.embed(sweep, 8000, hop_size=1e9)
    assert timestamps.tolist() == [0.0, 1e9]  # upstream's padding: a last window, of zeros, covers the end
    assert embedding.shape == (2, 16)


def test_loud_and_faint_audio_give_finite_numbers(small_model, sweep):
    for gain in (1e-300, 1e-12, 1e9, 1e99):
        assert np.isfinite(small_model.embed(gain * sweep, 8000).embedding).all()


def test_the_same_second_has_the_same_bytes_wherever_it_is(small_model):
    """In a recording, alone, and at another place of another recording."""
    rng = np.random.default_rng(7)
    second, before, after = rng.standard_normal(8000), rng.standard_normal(24_000), rng.standard_normal(13_000)
    alone = small_model.embed(second, 8000, center=False).embedding[0].tobytes()
    for start in (0, 8000, 24_000):
        x = np.concatenate([before[:start], second, after])
        found = small_model.embed(x, 8000, hop_size=1.0, center=False).embedding[start // 8000]
        assert found.tobytes() == alone
    found = small_model.embed(np.concatenate([before, second, after]), 8000, hop_size=0.1, center=False).embedding[30]
    assert found.tobytes() == alone
