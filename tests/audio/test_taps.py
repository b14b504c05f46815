"""The resampler of whole numbers, against integers of Python: any rate, any blocks, any loudness."""

from fractions import Fraction

import numpy as np
import oracles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgel3_np.audio.resample import LIMB_BITS, SAMPLE_BITS, _limbs, _polyphase, resample
from edgel3_np.audio.taps import (
    BETA,
    ENTRIES,
    ROLLOFF,
    TABLE_BITS,
    TAP_BITS,
    ZERO_CROSSINGS,
    taps,
    whole_table,
    whole_taps,
)

RATES = [4000, 6000, 7999, 11025, 12345, 16000, 22050, 32000, 44100, 48000, 96000, 192000]


def whole(x, sr, new=8000):
    return np.concatenate([np.zeros(0), *resample([x], sr, new, True)])


@pytest.mark.parametrize("sr", [*RATES, 44101])
def test_equal_to_integers(sr):
    x = np.random.default_rng(sr).uniform(-2, 2, int(sr * 0.05) + 7)
    np.testing.assert_array_equal(whole(x, sr), oracles.whole_resample(x, sr, 8000))


@pytest.mark.parametrize("new", [2000, 48000, 192000])
def test_equal_to_integers_at_other_targets(new):
    x = np.random.default_rng(new).uniform(-2, 2, 500)
    np.testing.assert_array_equal(whole(x, 44100, new), oracles.whole_resample(x, 44100, new))


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.sampled_from([6000, 16000, 44100, 44101]))
@settings(max_examples=25)
def test_any_blocks_give_the_same_bytes(sizes, sr):
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal(size) * 10 ** rng.uniform(-8, 12) for size in sizes]
    pauses = [part for block in blocks for part in (block, None)]
    found = [part for part in resample(pauses, sr, 8000, True) if part is not None]
    assert np.concatenate([np.zeros(0), *found]).tobytes() == whole(np.concatenate(blocks), sr).tobytes()
    assert sum(map(len, found)) == sum(sizes) * 8000 // sr


@pytest.mark.parametrize("loudness", [1e-9, 1e-4, 1.0, 1e3, 1e9, 1e30, 1e100])
@pytest.mark.parametrize("sr", [16000, 44100])
def test_near_to_resampy_at_any_loudness(sr, loudness):
    """But for rounding, and for whole times, where resampy's running sum may fall on the other side of the table."""
    x = loudness * np.random.default_rng(0).standard_normal(sr // 2)
    found, expected = whole(x, sr), oracles.resample(x, sr, 8000)
    assert np.abs(found - expected[: len(found)]).max() <= 2e-3 * np.abs(x).max() + 2.0**-SAMPLE_BITS


def test_a_loud_sample_changes_nothing_that_it_does_not_reach():
    x = np.random.default_rng(0).standard_normal(44100)
    loud = x.copy()
    loud[40000] = 1e40
    reach = 40000 * 8000 // 44100 - 200
    assert whole(loud, 44100)[:reach].tobytes() == whole(x, 44100)[:reach].tobytes()


@given(st.floats(-1e100, 1e100), st.floats(-3, 3))
@example(2.0, 1.9999999999)
@example(2.0**-28, -2.0)
def test_limbs_are_whole_short_and_add_up(a, b):
    x = np.array([a, b])
    limbs = _limbs(x)
    for unit, limb in limbs:
        multiples = [Fraction(float(value)) / Fraction(unit) for value in limb]
        assert all(value.denominator == 1 and abs(value) <= 2**LIMB_BITS for value in multiples)
    total = [sum(Fraction(float(limb[i])) for _, limb in limbs) for i in range(2)]
    assert all(abs(t - Fraction(float(value))) <= Fraction(1, 2 ** (SAMPLE_BITS + 1)) for t, value in zip(total, x))
    assert _limbs(x[1:])[0][1][0] == limbs[0][1][1] or abs(b) >= 2  # whatever is beside it


@given(st.integers(100, 1_000_000), st.sampled_from([2000, 8000, 44100, 192000]))
@example(44101, 8000)
def test_no_sum_reaches_2_to_53(sr, new):
    """A sum of taps times samples of `LIMB_BITS`, in units of both: whatever the rates."""
    if new / sr < 1 / 512 or sr == new:
        return
    poly = _polyphase(sr, new, True)._replace(bank=None)
    rest = np.unique(np.linspace(0, poly.p - 1, 20).astype(np.int64))
    weights = whole_taps(poly, rest)
    assert (np.ldexp(weights, TAP_BITS) % 1 == 0).all()
    assert np.abs(weights).sum(axis=1).max() * 2.0 ** (TAP_BITS + LIMB_BITS) < 2.0**53
    np.testing.assert_allclose(weights, taps(poly, rest / poly.p), atol=2.0**-TAP_BITS)


def test_the_table_is_rounded_the_same_everywhere():
    """Each entry with 120 bits: none is nearer to the middle between two whole numbers than 2**-19.

    Floats are wrong by less than 2**-24 there. The Bessel function is its series, sines and the root are integers.
    """
    bits, n = 120, ZERO_CROSSINGS * ENTRIES
    one = 1 << bits
    rolloff, beta = (Fraction(value) for value in (ROLLOFF, BETA))
    pi = 4 * (4 * _arctan(5, one) - _arctan(239, one))

    def bessel(square):  # of the argument, in units of `one`
        term = total = one
        for k in range(1, 60):
            term = term * square // (4 * k * k * one)
            total += term
        return total

    largest, nearest, table = bessel(int(beta * beta * one)), Fraction(1), whole_table()
    for i in range(0, n + 1, 7):  # every seventh of 32769: the whole takes a minute
        x = Fraction(i, n)
        window = Fraction(bessel(int(beta * beta * (1 - x * x) * one)), largest)
        angle = rolloff * Fraction(i, ENTRIES) * pi  # in units of `one`
        sinc = Fraction(_sine(int(angle), pi, one)) / angle if i else Fraction(1)
        value = window * rolloff * sinc * 2**TABLE_BITS
        assert round(value) == table[i]
        nearest = min(nearest, abs(value - (value.numerator // value.denominator) - Fraction(1, 2)))
    assert nearest > Fraction(1, 2**19)


def _arctan(denominator, one):
    term, total, k = one // denominator, 0, 0
    while term:
        total += (-1) ** k * term // (2 * k + 1)
        term //= denominator * denominator
        k += 1
    return total


def _sine(angle, pi, one):
    turns, angle = divmod(angle, pi)
    term, total, k = angle, 0, 1
    while term:
        total += term
        term = -term * angle // one * angle // (one * (k + 1) * (k + 2))
        k += 2
        if abs(term) <= 1:
            break
    return -total if turns % 2 else total


@given(
    st.sampled_from([16000, 11025, 44100, 22050, 96000, 5000]),
    st.lists(st.integers(1, 9000), min_size=1, max_size=5),
    st.sampled_from([0.1, 100.0]),
)
def test_any_blocks_of_a_sound_give_the_same_bytes(sr, sizes, loud):
    """Only the groups of outputs that are new are computed, and loud samples elsewhere change nothing."""
    x = np.random.default_rng(len(sizes)).standard_normal(30_000) * 0.1
    x[15_000] = loud
    whole = np.concatenate(list(resample([x], sr, 8000, True)))
    cuts = np.cumsum(np.resize(sizes, 200))
    blocks = [item for block in np.split(x, cuts[cuts < len(x)]) for item in (block, None)]
    parts = [part for part in resample(blocks, sr, 8000, True) if part is not None]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
