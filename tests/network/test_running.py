"""The network for streams: each window as the oracle computes it by itself, however windows come together."""

import pickle

import factory
import numpy as np
import oracles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.audio.framing import windows
from edgel3_np.features.columns import NOTHING, distances, hear
from edgel3_np.model import build_model
from edgel3_np.network import running, whole
from edgel3_np.network.columns import plan_columns
from edgel3_np.network.running import Run, embed_columns
from edgel3_np.pipeline import framing_for
from edgel3_np.weights.format import load_weights
from edgel3_np.weights.locate import find_model

FILTERS = {
    "small": factory.STREAM,
    "one of each": (1,) * 11,
    "odd": (3, 5, 7, 9, 11, 13, 5, 3, 17, 19, 21),
}


def sound_of(count, seed=0):
    """Make noise of so many tenths of a second that changes its loudness, with silence in it."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(10 ** rng.uniform(-4, 0, count), 800) * (np.repeat(rng.random(count), 800) < 0.8)
    return rng.standard_normal(800 * count) * loud


def views(network, sound, step=1, center=True):
    """Return all windows of a sound with their context, (b, n), and the hop in samples."""
    framing = framing_for(network, step / 10, center)
    extent = framing.window, framing.hop, framing.pad_left, 10_000 // step, framing.before, framing.after
    return next(windows([sound], *extent)), framing.hop


@pytest.fixture(scope="module", params=FILTERS)
def weights(request):
    return factory.column_weights(FILTERS[request.param], seed=len(request.param))


@pytest.mark.parametrize("step, center", [(1, True), (3, False), (10, True), (26, False)])
def test_equal_to_the_oracle(weights, step, center):
    network, sound = plan_columns(weights), sound_of(60)
    batch, hop = views(network, sound, step, center)
    expected = oracles.stream_embeddings(sound, weights, step, center)
    found = embed_columns(Run(network), batch, hop)
    assert found.dtype == np.float32 and found.tobytes() == expected.astype(np.float32).tobytes()
    assert expected.std(axis=0).max() > 1 or weights.filters[-1] == 1


def test_equal_to_the_oracle_for_the_bundled_network():
    weights, sound = load_weights(find_model("pico-64-stream")), sound_of(30, 5)
    network = plan_columns(weights)
    batch, hop = views(network, sound)
    expected = oracles.stream_embeddings(sound, weights)
    assert embed_columns(Run(network), batch, hop).tobytes() == expected.tobytes()


def test_equal_to_the_reference_of_the_training_tools():
    """It runs the convolutions over the whole stream, between zero maps, and begins ten columns before the signal."""
    from conftest import ROOT

    if not hasattr(np.lib.stride_tricks, "sliding_window_view"):
        pytest.skip("the training tools need NumPy 1.20")
    reference = pytest.importorskip("tools.distill.stream_reference")
    trained = reference.read(ROOT / "tools" / "distill" / "pico-64-stream.npz")
    network, sound = plan_columns(load_weights(find_model("pico-64-stream"))), sound_of(90, 7)
    for n in (len(sound), 30_123, 1, 799, 4001):
        batch, hop = views(network, sound[:n])
        expected = reference.embed(trained, sound[:n])
        assert embed_columns(Run(network), batch, hop).tobytes() == expected.tobytes()


def test_the_network_on_one_screen(weights):
    network, sound = plan_columns(weights), sound_of(40, 3)
    batch, hop = views(network, sound, 5)
    found = embed_columns(Run(network), batch, hop)
    for window, embedding in zip(batch, found):
        if window[network.context[0] :][:8000].any():
            levels, heard = hear(np.array(window), NOTHING, network.frontend, network.bands)
            rows = distances(window, heard, np.array([21]), network.frontend, network.bands)
            assert whole.embed_stream(levels[np.newaxis], rows, weights)[0].tobytes() == embedding.tobytes()


@settings(max_examples=40)
@given(
    st.integers(1, 150), st.sampled_from([1, 1, 2, 5, 12, 24, 25, 30]), st.lists(st.integers(1, 90), min_size=1),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(150, 1, [64, 1, 16, 65], 0)
@example(40, 24, [1], 1)
def test_windows_that_follow(count, step, parts, seed):
    """Whether a run goes on or begins again, and however many windows come together: the same bytes."""
    network = plan_columns(factory.column_weights())
    batch, hop = views(network, sound_of(count, seed), step)
    expected = embed_columns(Run(network), batch, hop)
    going, found, start = Run(network), [], 0
    embed_columns(going, views(network, sound_of(3, 1))[0], 800)  # it has seen another stream before
    while start < len(batch):
        part = batch[start : start + parts[len(found) % len(parts)]]
        found.append(embed_columns(going, part, hop, follows=bool(found)))
        start += len(part)
    assert np.concatenate(found).tobytes() == expected.tobytes()
    alone = [
        embed_columns(going, batch[number : number + 1], hop)[0] for number in (0, len(batch) // 2, -1 % len(batch))
    ]
    assert [one.tobytes() for one in alone] == [expected[n].tobytes() for n in (0, len(batch) // 2, -1)]


@pytest.mark.parametrize("piece, most", [(1, 3), (2, 25), (8, 1), (64, 200)])
def test_the_size_of_pieces_does_not_matter(piece, most, monkeypatch):
    network = plan_columns(factory.column_weights())
    batch, hop = views(network, sound_of(150, 2), 1)
    expected = embed_columns(Run(network), batch, hop)
    monkeypatch.setattr(running, "PIECE", piece)
    monkeypatch.setattr(running, "MOST", most)
    assert embed_columns(Run(network), batch, hop).tobytes() == expected.tobytes()


def test_large_networks_take_few_columns_at_a_time():
    assert Run(plan_columns(load_weights(find_model("pico-64-stream")))).piece == 32
    assert Run(plan_columns(factory.column_weights((64, 64, 64, 64, 256, 256, 256, 256, 8, 8, 8)))).piece < 16


def test_what_a_window_depends_on():
    """The first and the last sample that are promised matter somewhere, and none beyond them."""
    network = plan_columns(factory.column_weights(seed=2))
    before, after = network.context
    assert (before, after) == (10_032, 2_832)
    sound = np.random.default_rng(0).standard_normal(before + 8000 + after) * 0.1
    loud = sound.copy()
    loud[1:800] *= 1e4  # the level of the first column
    late = sound.copy()
    late[-200:-1] *= 1e4
    base, *others = (embed_columns(Run(network), x[np.newaxis], 800) for x in (sound, loud, late))
    assert all(not np.array_equal(base, other) for other in others)


def test_a_network_travels_without_its_workspaces():
    model = build_model(factory.column_weights())
    sound = sound_of(12)
    expected = model.embed(sound, 8000).embedding
    assert model.network.spare
    copy = pickle.loads(pickle.dumps(model.network))
    assert not copy.spare and copy.dim == 16
    batch, hop = views(copy, sound)
    assert embed_columns(Run(copy), batch, hop).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "hop_size, near",
    [(0.25, "0.2 and 0.3"), (0.05, "0.1"), (1.05, "1 and 1.1"), (0.33333, "0.3 and 0.4"), (0.001, "0.1")],
)
def test_other_hops_are_an_error_that_names_the_next(hop_size, near):
    with pytest.raises(
        EdgeL3Error, match=rf"hop_size: expected a multiple of 0.1 s .*the next: {near}\), found {hop_size}"
    ):
        framing_for(plan_columns(factory.column_weights()), hop_size, True)


def test_every_multiple_of_a_tenth_is_a_hop():
    network = plan_columns(factory.column_weights())
    for number in range(1, 2000):
        assert (
            framing_for(network, number / 10, True).hop == framing_for(network, number * 0.1, True).hop == number * 800
        )
