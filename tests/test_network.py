import factory
import numpy as np
import oracles
import pytest

from edgel3_np.melspectrogram import FrontEnd
from edgel3_np.metadata import SEA
from edgel3_np.network import forward, plan, strips, workspace

CASES = {
    "relu": {},
    "linear": {"final_activation": "linear"},
    "sparse": {"density": 0.05, "filters": (16, 16, 24, 24, 32, 32, 40, 48)},
    "mixed": {"density": 0.5, "filters": (1, 2, 3, 4, 5, 6, 7, 9)},
    "odd maps": {"frontend": FrontEnd(4400, 512, 100, 33)},
    "smallest map": {"frontend": FrontEnd(2000, 256, 250, 8)},
    "wide map": {"frontend": FrontEnd(9001, 64, 9, 10)},
}


def random_logmel(frontend, n, seed=0):
    rng = np.random.default_rng(seed)
    return -80 * rng.random((n, frontend.n_mels, frontend.n_frames)).astype(np.float32) ** 2


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_the_unfolded_network_in_float64(case, seed):
    weights = factory.random_weights(seed=seed, **CASES[case])
    arguments = {key: value for key, value in CASES[case].items() if key != "frontend"}
    arrays = factory.random_arrays(seed=seed, **arguments)
    network = plan(weights)
    logmel = random_logmel(network.frontend, 2, seed)
    found = forward(network, logmel, workspace(network))
    for embedding, spectrogram in zip(found, logmel):
        expected = oracles.forward(spectrogram, *arrays)
        assert np.abs(expected).max() > 0
        assert np.abs(embedding - expected).max() <= 1e-5 * np.abs(expected).max()


def test_kernels_give_the_same_network():
    """One network planned with each kernel for every layer."""
    from edgel3_np import convolution

    weights = factory.random_weights(density=0.3)
    logmel, found = random_logmel(SEA, 2), []
    for threshold in (0.0, 2.0):
        old, convolution.SPARSE_BELOW = convolution.SPARSE_BELOW, threshold
        try:
            network = plan(weights)
        finally:
            convolution.SPARSE_BELOW = old
        assert {layer.kernel for layer in network.layers} == {"dense" if threshold == 0 else "sparse"}
        found.append(forward(network, logmel, workspace(network)))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5 * np.abs(found[0]).max())


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps"])
def test_a_window_has_the_same_bytes_in_any_batch(case):
    network = plan(factory.random_weights(**CASES[case]))
    logmel = random_logmel(network.frontend, 7)
    work = workspace(network)
    together = forward(network, logmel, work)
    for split in ([1] * 7, [3, 4], [6, 1]):
        parts = np.split(logmel, np.cumsum(split)[:-1])
        assert b"".join(forward(network, part, work).tobytes() for part in parts) == together.tobytes()
    assert forward(network, logmel[::-1], work)[::-1].tobytes() == together.tobytes()
    assert forward(network, logmel, workspace(network)).tobytes() == together.tobytes()


def test_strips_join_to_the_whole_layer(monkeypatch):
    """Layer by layer, whatever the height of a strip, against the float64 convolution."""
    weights = factory.random_weights()
    kernels, biases, norms = factory.random_arrays()
    network = plan(weights)
    x = np.random.default_rng(0).standard_normal((16, 13, 4)).astype(np.float32)
    layer = network.layers[1]  # pools
    expected = oracles.convolve(x, kernels[1]) + biases[1]
    expected = oracles.pool(np.maximum(oracles.batch_norm(expected, norms[2]), 0)).transpose(2, 0, 1)
    from dataclasses import replace

    layer = replace(layer, shape=(4, 16, 13))
    monkeypatch.setattr("edgel3_np.network.WORK_SPACE", 0)
    for columns in (26, 52, 100, 1000):
        monkeypatch.setattr("edgel3_np.network.COLUMNS", columns)
        work = workspace(replace(network, layers=(layer,)))
        work.maps[0][:, 1:-1, 1:-1] = x.transpose(2, 0, 1)
        found = np.concatenate([part.copy() for _, part in strips(layer, work.maps[0], work)], axis=1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_no_windows_no_embeddings():
    network = plan(factory.random_weights())
    assert forward(network, random_logmel(SEA, 0), workspace(network)).shape == (0, 16)


def test_a_plan_is_the_same_every_time():
    weights = factory.random_weights(density=0.1)
    first, second = plan(weights), plan(weights)
    for a, b in zip(first.layers, second.layers):
        assert a.kernel == b.kernel and a.bias.tobytes() == b.bias.tobytes()


def test_memory_does_not_grow_with_the_number_of_windows():
    import tracemalloc

    network = plan(factory.random_weights())
    work, peaks = workspace(network), []
    for n in (2, 40):
        logmel = random_logmel(SEA, n)
        tracemalloc.start()
        forward(network, logmel, work)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 40 * 16 * 4 + 10_000  # the embeddings themselves
