import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgel3_np.audio.resample import MAX_DRIFT, _direct, _filter_bank, _inputs_of, _polyphase, resample

RATES = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000]


def whole(x, sr, new):
    parts = list(resample([x], sr, new))
    return np.concatenate(parts) if parts else np.zeros(0)


def test_the_oracle_agrees_with_sums_by_hand():
    """The sampling rate is halved; three outputs are computed by hand from the definition (step 256, gain 0.5)."""
    x = np.zeros(41)
    x[20] = 1.0
    y = oracles.resample(x, 2000, 1000)
    assert len(y) == 20
    assert y[10] == 0.5 * 0.9475937167399596  # the value in the middle of the table
    lobe = 0.5 * 0.9475937167399596 * np.sinc(0.9475937167399596) * np.kaiser(65537, 14.769656459379492)[32768 + 512]
    assert abs(y[9] - lobe) < 1e-12 and abs(y[11] - lobe) < 1e-12  # two samples away: one crossing


@pytest.mark.parametrize("new", [8000, 48000])
@pytest.mark.parametrize("sr", [*RATES, 44101, 12345, 7999])
def test_equal_to_the_slow_resampler(sr, new):
    if sr == new:
        pytest.skip("nothing to resample")
    x = np.random.default_rng(sr).standard_normal(int(sr * 0.11) + 77)
    expected = oracles.resample(x, sr, new)
    found = whole(x, sr, new)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("sr, new", [(44100, 8000), (44100, 48000), (48000, 8000)])
def test_equal_over_several_seconds(sr, new):
    """The signal is so long that rounding moves the running sum of time off whole numbers, up and down."""
    x = np.random.default_rng(0).standard_normal(3 * sr)
    expected = oracles.resample(x, sr, new)
    assert np.abs(whole(x, sr, new) - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("drift", [-1.0, -MAX_DRIFT, -1e-7, 0.0, 1e-7, MAX_DRIFT, 1.0])
@pytest.mark.parametrize("sr, new", [(44100, 8000), (44100, 48000), (16000, 48000), (11025, 8000)])
def test_drift_of_the_running_sum(sr, new, drift):
    """After a minute all drifts of a chunk are at their limit, and a bank of their own serves them. Before a time and
    after it slopes may differ: for 44.1 -> 48 kHz the wrong side would be off by 5e-8."""
    poly = _polyphase(sr, new)
    assert poly.drifts
    for first in (0, 7 * poly.outputs):
        t = np.arange(first, first + poly.outputs)
        time = t * poly.q // poly.p + (t * poly.q % poly.p / poly.p + drift)
        start, stop = _inputs_of(poly, first, poly.outputs)
        x = np.random.default_rng(first).standard_normal(stop - start + 1)
        expected = _direct(poly, x, first, time)
        found = _filter_bank(poly, x, first, time)
        assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["chirp_44k", "chirp_stereo", "short", "dog_bark"])
@pytest.mark.parametrize("model", ["sea-64", "sparse-ft-95.45"])
def test_golden_files(shared, name, model):
    import soundfile

    with np.load(shared / "golden" / f"{model}.npz") as golden:
        expected = dict(golden).get(f"{name}|resampled")  # absent if the rate is the same
    new = 8000 if model == "sea-64" else 48000
    x, sr = soundfile.read(next((shared / "audio").glob(f"{name}.*")), always_2d=True)
    if sr == new:
        pytest.skip("nothing to resample")
    found = whole(x.mean(axis=1), sr, new)[: len(expected)]
    assert found.shape == expected.shape
    # The golden stack decoded the Ogg file with another build of libvorbis, whose float32 samples differ from this
    # one's in the last bit (1.2e-7); resampling that build's own samples agrees to 2e-16. The WAV files test the
    # resampler alone.
    bound = 1e-8 if name != "dog_bark" else 3e-7
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("sr, new", [(44100, 8000), (8000, 48000), (44101, 8000), (16000, 8000)])
@pytest.mark.parametrize("size", [1, 17, 509, 4801, 44100])
def test_blocks_do_not_change_a_bit(sr, new, size):
    x = np.random.default_rng(size).standard_normal(3000 if size == 1 else 30000)
    blocks = [x[start : start + size] for start in range(0, len(x), size)]
    np.testing.assert_array_equal(np.concatenate(list(resample(blocks, sr, new))), whole(x, sr, new))


@settings(max_examples=40)
@given(st.integers(0, 700), st.sampled_from([(48000, 8000), (44100, 8000), (11025, 48000), (9999, 8000)]))
def test_lengths(n, rates):
    sr, new = rates
    x = np.ones(n)
    expected = oracles.resample(x, sr, new)
    found = whole(x, sr, new)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_lengths_around_a_group_of_outputs():
    poly = _polyphase(44100, 8000)
    chunk = poly.inputs * poly.groups
    for n in (chunk - 1, chunk, chunk + 1, 2 * chunk + 442):
        assert len(whole(np.ones(n), 44100, 8000)) == int(n * (8000 / 44100))


def test_same_rate_passes_the_blocks_through():
    block = np.ones(10)
    assert next(resample([block], 8000, 8000)) is block


def test_linear_in_its_input():
    x, y = np.random.default_rng(0).standard_normal((2, 5000))
    mixed = whole(2 * x - 3 * y, 44100, 8000)
    np.testing.assert_allclose(mixed, 2 * whole(x, 44100, 8000) - 3 * whole(y, 44100, 8000), atol=1e-12)


def test_a_sine_stays_a_sine():
    """Away from its ends, a sine of 1 kHz that goes from 48 to 96 kHz is exact to 1e-5."""
    t = np.arange(48000) / 48000
    found = whole(np.sin(2 * np.pi * 1000 * t), 48000, 96000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / 96000)
    assert np.abs(found - expected)[1000:-1000].max() < 1e-5


def test_odd_rates_need_little_memory():
    import tracemalloc

    x = np.zeros(44101 * 20)
    tracemalloc.start()
    total = sum(len(block) for block in resample([x[i : i + 4096] for i in range(0, len(x), 4096)], 44101, 8000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 160000
    assert peak < 40 << 20


@pytest.mark.parametrize("sr", [100, 101, 1_000_000, 999_983])
def test_extreme_rates(sr):
    x = np.random.default_rng(0).standard_normal(sr // 50 + 5)
    for new in (8000, 48000):
        found = whole(x, sr, new)
        assert len(found) == int(len(x) * (new / sr)) and np.isfinite(found).all()


@pytest.mark.parametrize("sr, new", [(44100, 8000), (48000, 8000), (22050, 48000), (8000, 48000), (11025, 8000)])
def test_most_weights_of_a_bank_are_used(sr, new):
    """A part of a group needs few more inputs than one of its outputs."""
    poly = _polyphase(sr, new)
    parts, columns = poly.bank[0], np.concatenate(poly.bank[1])
    assert sorted(columns) == list(range(len(columns))), "each column stands for one output, or its slope"
    for part in parts:
        assert len(part.weights) <= 1.3 * (poly.left + poly.right) + 2 and not part.weights.flags.writeable
    assert (poly.strides * poly.inputs >= max(len(part.weights) for part in parts)) and not poly.groups % poly.strides
