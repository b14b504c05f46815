import numpy as np
import oracles
import pytest
from factory import random_weights

from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.network.plan import plan_network
from edgel3_np.plotting.timebins import MAX_BINS, SignalBins, TimeBins
from edgel3_np.weights.registry import OPENL3_FRONTENDS, SEA, SPARSE

FRONTENDS = [SEA, SPARSE, OPENL3_FRONTENDS["linear"], OPENL3_FRONTENDS["mel128"], FrontEnd(1000, 2048, 20, 64)]


def watched(network, signal, block=777):
    """Return a `SignalBins` that has watched a signal."""
    bins = SignalBins(network)
    passed = list(bins.watch(signal[i : i + block] for i in range(0, len(signal), block)))
    np.testing.assert_array_equal(np.concatenate(passed), signal)
    return bins


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_frames_of_any_front_end_lie_side_by_side(frontend):
    """A click appears in the frames around it and in no others, also where windows meet."""
    network = plan_network(random_weights(frontend=frontend))
    sr, hop = frontend.sr, frontend.hop_length
    for at in (0.4, 0.93, 1.0, 1.99, 2.2):
        signal = np.zeros(int(2.3 * sr))
        signal[int(at * sr)] = 1.0
        level = watched(network, signal, 4001).level.mean()
        assert len(level) == -(-len(signal) // hop)
        loud = level.max(axis=1)
        if frontend.n_fft < sr:
            assert abs(int(loud.argmax()) - at * sr / hop) <= 2
            heard = np.flatnonzero(loud > loud.max() - 30)
            assert np.ptp(heard) + 1 == len(heard) <= frontend.n_fft / hop + 1


def test_the_frames_agree_with_the_oracle(small_model, sweep):
    level = watched(small_model.network, sweep).level.mean()
    expected = oracles.log_mel_spectrogram(sweep[:8000], SEA, mel_filterbank(SEA).astype(float))
    expected = np.asarray(expected)
    expected = expected if expected.shape == (50, 64) else expected.T
    difference = level[3:47] - expected[3:47]
    assert np.ptp(difference[expected[3:47] > -79]) < 1e-3


def test_extremes_and_stats_of_a_signal(small_model, sweep):
    bins = watched(small_model.network, sweep)
    assert (bins.stats.samples, bins.stats.sound) == (len(sweep), True)
    size = bins.lowest.items_per_bin
    groups = [sweep[i : i + size] for i in range(0, len(sweep), size)]
    np.testing.assert_array_equal(bins.lowest.result(), np.float32([group.min() for group in groups]))
    np.testing.assert_array_equal(bins.highest.result(), np.float32([group.max() for group in groups]))


@pytest.mark.parametrize("count", [1, 2, 1999, 2000, 2001, 4000, 7777, 40_001])
def test_bins_keep_means_and_extremes(count):
    rng = np.random.default_rng(count)
    items = rng.standard_normal((count, 3))
    added, lowest, highest = TimeBins(np.add, 0.0), TimeBins(np.minimum, np.inf), TimeBins(np.maximum, -np.inf)
    parts = np.split(items, np.sort(rng.integers(0, count + 1, 9)))
    for bins in (added, lowest, highest):
        for part in parts:
            bins.add(part)
    size = added.items_per_bin
    assert added.count == count and size & (size - 1) == 0
    assert len(added.mean()) == -(-count // size) <= MAX_BINS and (size == 1 or len(added.mean()) > MAX_BINS // 2)
    groups = [items[i : i + size] for i in range(0, count, size)]
    np.testing.assert_allclose(added.mean(), [group.mean(axis=0) for group in groups], atol=1e-5)
    np.testing.assert_array_equal(lowest.result(), np.float32([group.min(axis=0) for group in groups]))
    np.testing.assert_array_equal(highest.result(), np.float32([group.max(axis=0) for group in groups]))
