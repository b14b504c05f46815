import tracemalloc

import factory
import numpy as np
import oracles
import pytest
from factory import random_log_mel

from edgel3_np.features.frontend import FrontEnd
from edgel3_np.network import plan as planning
from edgel3_np.network.forward import forward, pack_input, strip_starts, workspace
from edgel3_np.network.kernels import ALGORITHMS
from edgel3_np.network.plan import plan_network
from edgel3_np.network.tape import execute
from edgel3_np.network.threads import spread
from edgel3_np.weights.registry import SEA
from edgel3_np.weights.sparse import to_csr, to_dense

ODD, SMALLEST = FrontEnd(4400, 512, 100, 33), FrontEnd(2000, 256, 250, 8)
CASES = {
    "relu": {},
    "linear": {"final_activation": "linear"},
    "sparse": {"density": 0.05, "filters": (16, 16, 24, 24, 32, 32, 40, 48)},
    "mixed": {"density": 0.5, "filters": (1, 2, 3, 4, 5, 6, 7, 9)},
    "odd maps": {"frontend": ODD},
    "odd everywhere": {"frontend": FrontEnd(3100, 256, 100, 29), "final_activation": "linear"},  # 31 x 29, 15 x 14, ...
    "blocks of odd length": {"frontend": FrontEnd(2000, 256, 50, 91)},
    "smallest map": {"frontend": SMALLEST},
    "wide map": {"frontend": FrontEnd(9001, 64, 9, 10)},
    "many bands": {"frontend": FrontEnd(2000, 1024, 250, 300)},
}


def arrays_of(case, seed=0):
    """What `factory.random_weights` made a case of, for the oracles."""
    return factory.random_arrays(seed=seed, **{key: value for key, value in CASES[case].items() if key != "frontend"})


def force(kernel, monkeypatch):
    """Let the cost model find one kernel best for every layer."""
    monkeypatch.setattr(planning, "estimate_cost", lambda name, *_: float(name != kernel))


def assert_near(found, log_mel, arrays):
    """To 1e-5 of the largest number of the float64 network's embedding, for each window."""
    for embedding, spectrogram in zip(found, log_mel):
        expected = oracles.forward(spectrogram, *arrays)
        assert np.abs(expected).max() > 0
        assert np.abs(embedding - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_the_unfolded_network_in_float64(case, seed):
    network = plan_network(factory.random_weights(seed=seed, **CASES[case]))
    log_mel = random_log_mel(network.frontend, 2, seed)
    assert_near(forward(network, log_mel, workspace(network)), log_mel, arrays_of(case, seed))


@pytest.mark.parametrize("kernel", sorted(ALGORITHMS))
@pytest.mark.parametrize("case", ["relu", "odd maps", "odd everywhere", "smallest map"])
def test_each_kernel_gives_the_same_network(kernel, case, monkeypatch):
    """One network planned with one kernel for every layer, be it good for it or not."""
    force(kernel, monkeypatch)
    network = plan_network(factory.random_weights(**CASES[case]))
    assert {layer.algorithm for layer in network.layers} == {kernel}
    log_mel = random_log_mel(network.frontend, network.microbatch + 1)
    assert_near(forward(network, log_mel, workspace(network))[-3:], log_mel[-3:], arrays_of(case))


@pytest.mark.parametrize("floats, columns", [(0, 1), (20_000, 1), (60_000, 64), (1 << 20, 64), (1 << 30, 64)])
@pytest.mark.parametrize("kernel", ["direct", "winograd_1d", "winograd_2d"])
def test_strips_of_any_height(floats, columns, kernel, monkeypatch):
    monkeypatch.setattr(planning, "STRIP_FLOATS", floats)
    monkeypatch.setattr(planning, "STRIP_LANES", columns)
    force(kernel, monkeypatch)
    network = plan_network(factory.random_weights(**CASES["odd maps"]))
    strips = len(strip_starts(network.layers[1]))
    assert strips == 22 if floats == 0 else strips == 1 if floats == 1 << 30 else 1 <= strips <= 22  # of 44 rows
    log_mel = random_log_mel(network.frontend, 1)
    assert_near(forward(network, log_mel, workspace(network)), log_mel, arrays_of("odd maps"))


@pytest.mark.parametrize("case", ["odd everywhere", "odd maps", "smallest map", "wide map"])
@pytest.mark.parametrize("floats", [0, 1 << 20])
def test_each_layer_against_the_float64_convolution(case, floats, monkeypatch):
    """Strip by strip into the next map, with pool and ReLU; around that map, zeros, whatever was there before."""
    monkeypatch.setattr(planning, "STRIP_FLOATS", floats)
    network = plan_network(factory.random_weights(**CASES[case]))
    kernels, biases, norms = arrays_of(case)
    work, microbatch = workspace(network), network.microbatch
    for number, (layer, kernel, bias) in enumerate(zip(network.layers, kernels, biases), 1):
        channels, frames, columns = layer.shape
        maps = np.random.default_rng(number).standard_normal((3, frames, columns, channels)).astype(np.float32)
        for x in work.maps:
            x[...] = np.nan
        x = work.maps[number - 1]
        x[...] = 0.0
        x[1 : 1 + frames] = factory.tile(np.resize(maps, (microbatch, *maps.shape[1:])))
        for tape in work.tapes[number - 1]:
            execute(tape)
        expected = []
        for x in maps:  # frames are rows here, columns in the oracles
            y = oracles.convolve(x, kernel.transpose(1, 0, 2, 3)) + bias
            y = np.maximum(oracles.batch_norm(y, norms[number]), 0.0) if layer.relu else y
            expected.append(oracles.pool(y) if layer.pool else y)
        expected = np.resize(expected, (microbatch, *expected[0].shape))
        tolerance = 2e-6 * np.abs(expected).max()
        if number == 8:
            found = work.maxima.max(axis=(0, 2)).T
            np.testing.assert_allclose(found, expected.max(axis=(1, 2)), rtol=0, atol=tolerance)
            break
        out, (rows, columns) = work.maps[number], expected.shape[1:3]
        found = factory.untile(out, out.shape[3] // microbatch * 4, microbatch)
        np.testing.assert_allclose(found[:, 1 : 1 + rows, :columns], expected, rtol=0, atol=tolerance)
        found[:, 1 : 1 + rows, :columns] = 0.0
        assert not found.any()


def test_entering():
    """Frames to rows, bands to columns; missing windows, and those that were there before, are zeros."""
    network = plan_network(factory.random_weights(**CASES["odd maps"]))
    log_mel, x = random_log_mel(ODD, network.microbatch), workspace(network).maps[0]
    x[...] = np.nan
    pack_input(x, log_mel, network.microbatch)
    first = factory.untile(x, 33, network.microbatch)[:, 1:-1, :, 0]
    np.testing.assert_array_equal(first, log_mel.swapaxes(1, 2))
    pack_input(x, log_mel[:2], network.microbatch)
    found = factory.untile(x, 36, network.microbatch)
    np.testing.assert_array_equal(found[:2, 1:-1, :33, 0], log_mel[:2].swapaxes(1, 2))
    assert not found[2:].any() and not found[:, [0, -1]].any() and not found[:, :, 33:].any()


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps", "blocks of odd length", "wide map"])
def test_bytes_do_not_depend_on_other_windows(case):
    """Nor on the workspace, fresh or used: only on the window and its place in the microbatch."""
    network = plan_network(factory.random_weights(**CASES[case]))
    microbatch = network.microbatch
    log_mel = random_log_mel(network.frontend, 2 * microbatch + 3)
    work = workspace(network)
    together = forward(network, log_mel, work)
    parts = [log_mel[start : start + microbatch] for start in range(0, len(log_mel), microbatch)]
    assert b"".join(forward(network, part, work).tobytes() for part in parts[::-1][::-1]) == together.tobytes()
    assert b"".join(forward(network, part, work).tobytes() for part in parts[::-1]) == b"".join(
        together[start : start + microbatch].tobytes() for start in range(0, len(log_mel), microbatch)[::-1]
    )
    assert forward(network, log_mel, workspace(network)).tobytes() == together.tobytes()
    for place in range(microbatch):
        others = random_log_mel(network.frontend, microbatch, seed=place + 1)
        others[place] = log_mel[place]
        assert forward(network, others, work)[place].tobytes() == together[place].tobytes()
        others[:] = 0.0
        others[place] = log_mel[microbatch + place]
        assert forward(network, others, work)[place].tobytes() == together[microbatch + place].tobytes()


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps", "blocks of odd length"])
def test_a_window_has_the_same_bytes_in_any_batch(case):
    """Given its number in the signal, which says where in its microbatch it goes."""
    network = plan_network(factory.random_weights(**CASES[case]))
    log_mel, work = random_log_mel(network.frontend, 2 * network.microbatch + 3), workspace(network)
    together = forward(network, log_mel, work)
    for sizes in ([1], [3, 4], [network.microbatch], [network.microbatch + 1, 2]):
        parts, first = [], 0
        while first < len(log_mel):
            size = sizes[len(parts) % len(sizes)]
            parts.append(forward(network, log_mel[first : first + size], work, first=first))
            first += size
        assert np.concatenate(parts).tobytes() == together.tobytes()


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps", "linear"])
@pytest.mark.parametrize("threads", [2, 3])
def test_strips_on_threads_give_the_same_bytes(case, threads, monkeypatch):
    monkeypatch.setattr(planning, "STRIP_FLOATS", 20_000)  # several strips, so that threads meet
    network = plan_network(factory.random_weights(**CASES[case]))
    assert len(strip_starts(network.layers[0])) > threads
    log_mel = random_log_mel(network.frontend, network.microbatch + 2)
    work, expected = workspace(network, threads), forward(network, log_mel, workspace(network))
    with spread(threads) as apply:
        for _ in range(3):
            assert forward(network, log_mel, work, apply).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kernel", sorted(ALGORITHMS))
def test_a_workspace_remembers_nothing(kernel, monkeypatch):
    """Even when all of its maps and its scratch were full of what is no number."""
    force(kernel, monkeypatch)
    network = plan_network(factory.random_weights(**CASES["odd maps"]))
    log_mel, work = random_log_mel(ODD, 3), workspace(network)
    expected = forward(network, log_mel, work).tobytes()
    assert np.isnan(forward(network, np.full_like(random_log_mel(ODD, network.microbatch), np.nan), work)).all()
    assert forward(network, log_mel, work).tobytes() == expected


@pytest.mark.parametrize("grid", [(1, 3), (2, 1), (2, 3)])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_grid_of_maxima(grid, threads, monkeypatch):
    """Of 8 columns by 6 rows: in the order mel, time, filters."""
    monkeypatch.setattr(planning, "STRIP_FLOATS", 0)
    arrays = factory.random_arrays()
    network, log_mel = plan_network(factory.random_weights()._replace(pool_grid=grid)), random_log_mel(SEA, 3)
    with spread(threads) as apply:
        found = forward(network, log_mel, workspace(network, threads), apply)
    for window, spectrogram in zip(found, log_mel):
        last = oracles.last_map(spectrogram, *arrays)
        assert last.shape == (8, 6, 16)
        expected = [
            last[m * 8 // grid[0] : (m + 1) * 8 // grid[0], t * 6 // grid[1] : (t + 1) * 6 // grid[1], f].max()
            for m in range(grid[0])
            for t in range(grid[1])
            for f in range(16)
        ]
        np.testing.assert_allclose(window, expected, atol=5e-5 * np.abs(expected).max())


def test_no_windows_no_embeddings():
    network = plan_network(factory.random_weights())
    assert forward(network, random_log_mel(SEA, 0), workspace(network)).shape == (0, 16)


def test_memory_does_not_grow_with_the_number_of_windows():
    network = plan_network(factory.random_weights())
    work, peaks = workspace(network), []
    for n in (2, 40):
        log_mel = random_log_mel(SEA, n)
        forward(network, log_mel, work)
        tracemalloc.start()
        forward(network, log_mel, work)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    microbatch = (
        4 * network.microbatch * SEA.n_mels * SEA.n_frames
    )  # bytes of a whole microbatch's spectrograms, normed and laid out
    assert peaks[1] < peaks[0] + 40 * 16 * 4 + 2 * microbatch + 10_000


@pytest.mark.parametrize("kernel", sorted(ALGORITHMS))
@pytest.mark.parametrize("threads", [1, 3])
def test_overflow_is_quiet(kernel, threads, monkeypatch):
    """Weights that are the largest that a file may hold: what comes out tells, not a warning on some thread."""
    force(kernel, monkeypatch)
    monkeypatch.setattr(planning, "STRIP_FLOATS", 0)
    weights = factory.random_weights()
    kernels = tuple(to_csr((1e6 * np.sign(to_dense(csr))).astype(np.float32)) for csr in weights.kernels)
    norms = [norm * np.array([[1e6], [1e6], [1e6], [0]], np.float32) for norm in weights.norms[1:]]
    network = plan_network(weights._replace(kernels=kernels, norms=(weights.norms[0], *norms)))
    with spread(threads) as apply:
        found = forward(network, random_log_mel(SEA, 2), workspace(network, threads), apply)
    assert not np.isfinite(found).any()
