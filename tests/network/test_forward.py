import copy
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import factory
import numpy as np
import oracles
import pytest
from factory import random_log_mel

from edgel3_np.features.frontend import FrontEnd
from edgel3_np.network import direct, sparse, winograd
from edgel3_np.network import plan as planning
from edgel3_np.network.forward import SPARE, Workspace, forward, workspace
from edgel3_np.network.plan import plan_network
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
    "odd number of bands": {"frontend": FrontEnd(2000, 256, 50, 91)},
    "smallest map": {"frontend": SMALLEST},
    "wide map": {"frontend": FrontEnd(9001, 64, 9, 10)},
    "many bands": {"frontend": FrontEnd(2000, 1024, 250, 300)},
    "wide layers": {"filters": (24, 32, 48, 64, 64, 80, 96, 64)},
}
VARIANTS = [("direct", (1, 1)), ("rows", (1, 1)), ("sparse", (1, 1)), *(("winograd", tile) for tile in planning.TILES)]


def arrays_of(case, seed=0):
    """Return the arrays from which `factory.random_weights` makes a case, for the oracles."""
    return factory.random_arrays(seed=seed, **{key: value for key, value in CASES[case].items() if key != "frontend"})


def force(variant, monkeypatch):
    """Let the cost model find one variant best for every layer that can have it."""

    def estimate_cost(algorithm, tile, *_):
        return 1.0 if (algorithm, tile) == variant else 2.0 if algorithm == "winograd" else 3.0

    monkeypatch.setattr(planning, "estimate_cost", estimate_cost)


def make_strips_low(monkeypatch):
    """Cut maps into as many strips as there can be, so that several threads meet."""
    monkeypatch.setattr(winograd, "CACHE_FLOATS", 1)
    monkeypatch.setattr(winograd, "LANES", 1)
    monkeypatch.setattr(direct, "STRIP_FLOATS", 1)
    monkeypatch.setattr(sparse, "ROWS", 2)


def assert_near(found, log_mel, arrays, tolerance=1e-5):
    """Compare with the float64 network, window by window, relative to the largest number of its embedding."""
    for embedding, spectrogram in zip(found, log_mel):
        expected = oracles.forward(spectrogram, *arrays)
        assert np.abs(expected).max() > 0
        assert np.abs(embedding - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_the_unfolded_network_in_float64(case, seed):
    network = plan_network(factory.random_weights(seed=seed, **CASES[case]))
    log_mel = random_log_mel(network.frontend, 2, seed)
    assert_near(forward(Workspace(network), log_mel), log_mel, arrays_of(case, seed))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("case", ["relu", "odd maps", "odd everywhere", "smallest map"])
def test_each_algorithm_gives_the_same_network(variant, case, monkeypatch):
    """A network can be planned with one algorithm for every layer, be it good for it or not."""
    force(variant, monkeypatch)
    network = plan_network(factory.random_weights(**CASES[case]))
    able = [layer for layer in network.layers if not (layer.pool and variant[1][0] % 2 and variant[0] == "winograd")]
    assert {(layer.algorithm, layer.tile) for layer in able} == {variant}
    log_mel = random_log_mel(network.frontend, network.microbatch + 1)
    assert_near(forward(Workspace(network), log_mel)[-3:], log_mel[-3:], arrays_of(case))


@pytest.mark.parametrize("tile", planning.TILES, ids=str)
@pytest.mark.parametrize("case", ["relu", "odd maps", "odd everywhere", "smallest map", "wide map"])
def test_fused_layers(tile, case, monkeypatch):
    """The first two layers strip by strip: as exact as one after the other, and the same bytes in any batch."""

    def estimate_cost(algorithm, tiles, shape, *_):
        return 1.0 if (algorithm, tiles) == (("direct", (1, 1)) if shape[0] == 1 else ("winograd", tile)) else 2.0

    if tile[0] % 2:
        pytest.skip("a pool follows the second layer")
    monkeypatch.setattr(planning, "FUSED_FLOATS", 0)
    monkeypatch.setattr(planning, "estimate_cost", estimate_cost)
    make_strips_low(monkeypatch)
    network = plan_network(factory.random_weights(filters=(3, 4, 5, 6, 7, 8, 9, 10), **CASES[case]))
    assert network.fused and [layer.algorithm for layer in network.layers[:2]] == ["direct", "winograd"]
    log_mel, arrays = random_log_mel(network.frontend, 3), factory.random_arrays((3, 4, 5, 6, 7, 8, 9, 10))
    if "final_activation" in CASES[case]:
        arrays = factory.random_arrays((3, 4, 5, 6, 7, 8, 9, 10), CASES[case]["final_activation"])
    expected = forward(Workspace(network), log_mel)
    assert_near(expected, log_mel, arrays)
    alone = [forward(Workspace(network, 1), window[np.newaxis])[0] for window in log_mel]
    assert np.array(alone).tobytes() == expected.tobytes()
    with spread(3) as apply:
        work = Workspace(network, threads=3)
        for _ in range(2):
            assert forward(work, log_mel, apply).tobytes() == expected.tobytes()


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps", "odd number of bands", "wide map", "wide layers"])
def test_a_window_has_the_same_bytes_in_any_batch(case):
    """A window keeps its bytes alone, in batches of any size and order, and in a fresh workspace."""
    network = plan_network(factory.random_weights(**CASES[case]))
    log_mel, work = random_log_mel(network.frontend, 2 * network.microbatch + 3), Workspace(network)
    together = forward(work, log_mel)
    alone = [forward(Workspace(network), window[np.newaxis])[0] for window in log_mel]
    assert np.array(alone).tobytes() == together.tobytes()
    for sizes in ([1], [3, 4], [network.microbatch], [network.microbatch + 1, 2]):
        batches, first = [], 0
        while first < len(log_mel):
            size = sizes[len(batches) % len(sizes)]
            batches.append(forward(work, log_mel[first : first + size]))
            first += size
        assert np.concatenate(batches).tobytes() == together.tobytes()
    assert forward(work, log_mel[::-1])[::-1].tobytes() == together.tobytes()


@pytest.mark.parametrize("case", ["relu", "sparse", "odd maps", "linear", "wide layers"])
@pytest.mark.parametrize("threads", [2, 3])
def test_strips_on_threads_give_the_same_bytes(case, threads, monkeypatch):
    make_strips_low(monkeypatch)
    network = plan_network(factory.random_weights(**CASES[case]))
    assert max(len(layer.module.strips(layer)) for layer in network.layers) >= threads
    log_mel = random_log_mel(network.frontend, network.microbatch + 2)
    work, expected = Workspace(network, threads=threads), forward(Workspace(network), log_mel)
    with spread(threads) as apply:
        for _ in range(3):
            assert forward(work, log_mel, apply).tobytes() == expected.tobytes()


def test_workspaces_of_one_network_work_side_by_side():
    """Threads share the network, and each has a workspace."""
    network = plan_network(factory.random_weights(**CASES["wide layers"]))
    log_mel, results = random_log_mel(SEA, 9), []

    def work():
        results.append(forward(Workspace(network), log_mel).tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1 and len(results) == 4


def test_a_network_keeps_spare_workspaces():
    """One after the other they are used again; together each caller has its own; a failed one is dropped."""
    network = plan_network(factory.random_weights())
    with workspace(network) as first:
        pass
    with workspace(network) as again, workspace(network) as other:
        assert again is first and other is not first and not network.spare
    assert len(network.spare) == 2
    with pytest.raises(KeyboardInterrupt), workspace(network):
        raise KeyboardInterrupt
    assert len(network.spare) == 1
    with ExitStack() as stack:
        for _ in range(SPARE + 3):
            stack.enter_context(workspace(network))
    assert len(network.spare) == SPARE


def test_workspaces_for_several_threads(monkeypatch):
    """They do not displace those for one, and have scratch for as many threads as find work."""
    make_strips_low(monkeypatch)
    network = plan_network(factory.random_weights())
    strips = max(len(layer.module.strips(layer)) for layer in network.layers)
    with workspace(network) as single:
        pass
    with workspace(network, threads=2) as wide:
        assert len(wide.scratch) == 2 and network.spare == [single]
    assert network.spare == [single, wide]
    assert len(Workspace(network, threads=256).scratch) == strips < 256


def test_threads_never_share_a_workspace():
    """Many threads take turns, and every embedding is right."""
    network = plan_network(factory.random_weights())
    log_mel = random_log_mel(SEA, 24)
    expected = forward(Workspace(network), log_mel)

    def embed(number):
        with workspace(network) as work:
            return forward(work, log_mel[number : number + 1]).tobytes() == expected[number].tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(embed, [number % 24 for number in range(400)]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network)), replace])
def test_a_copy_of_a_network_has_workspaces_of_its_own(copied):
    network = plan_network(factory.random_weights())
    log_mel = random_log_mel(SEA, 3)
    with workspace(network) as work:
        expected = forward(work, log_mel)
    other = copied(network)
    assert network.spare and not other.spare
    with workspace(other) as work:
        assert work.network.layers is other.layers and forward(work, log_mel).tobytes() == expected.tobytes()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_workspace_remembers_nothing(variant, monkeypatch):
    """After a window of NaN, which fills all maps and the scratch, the next one has its usual bytes."""
    force(variant, monkeypatch)
    network = plan_network(factory.random_weights(**CASES["odd maps"]))
    log_mel, work = random_log_mel(ODD, 3), Workspace(network)
    expected = forward(work, log_mel).tobytes()
    nothing = np.full_like(random_log_mel(ODD, network.microbatch), np.nan)
    assert np.isnan(forward(work, nothing)).all()
    for scratch in work.scratch:
        scratch.array[...] = np.nan
    assert forward(work, log_mel).tobytes() == expected


@pytest.mark.parametrize("grid", [(1, 3), (2, 1), (2, 3)])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_pool_grid(grid, threads, monkeypatch):
    """The last map has 8 bands by 6 frames; the maxima of its parts are in the order mel, time, filters."""
    make_strips_low(monkeypatch)
    arrays = factory.random_arrays()
    network, log_mel = plan_network(factory.random_weights()._replace(pool_grid=grid)), random_log_mel(SEA, 3)
    with spread(threads) as apply:
        found = forward(Workspace(network, threads=threads), log_mel, apply)
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
    assert forward(Workspace(network), random_log_mel(SEA, 0)).shape == (0, 16)


def test_spare_workspaces_end_with_their_network():
    """At once, not when cycles are collected: a model that is loaded by name for each call would keep them all."""
    import gc
    import weakref

    network = plan_network(factory.random_weights())
    with workspace(network) as work:
        pass
    kept, gone = weakref.ref(work), gc.isenabled()
    gc.disable()
    try:
        del work
        assert kept() is network.spare[0]
        del network
        assert kept() is None
    finally:
        if gone:
            gc.enable()


def test_memory_does_not_grow_with_the_number_of_windows():
    network = plan_network(factory.random_weights())
    work, peaks = Workspace(network), []
    forward(work, random_log_mel(SEA, 40))
    for n in (40, 400):
        log_mel = random_log_mel(SEA, n)
        tracemalloc.start()
        forward(work, log_mel)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 360 * 16 * 4 + 10_000


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_overflow_is_quiet(variant, threads, monkeypatch):
    """With the largest weights that a file may hold, the embedding tells, not a warning on some thread."""
    force(variant, monkeypatch)
    make_strips_low(monkeypatch)
    weights = factory.random_weights()
    kernels = tuple(to_csr((1e6 * np.sign(to_dense(csr))).astype(np.float32)) for csr in weights.kernels)
    norms = [norm * np.array([[1e6], [1e6], [1e6], [0]], np.float32) for norm in weights.norms[1:]]
    network = plan_network(weights._replace(kernels=kernels, norms=(weights.norms[0], *norms)))
    with spread(threads) as apply:
        found = forward(Workspace(network, threads=threads), random_log_mel(SEA, 2), apply)
    assert not np.isfinite(found).any()
