import numpy as np
import pytest

from edgel3_np import EdgeL3Error, embed
from edgel3_np._checks import check_bool, check_seconds, check_whole


@pytest.mark.parametrize("value", [1, 7, np.int8(7), np.uint64(9), 10**30])
def test_whole_numbers(value):
    found = check_whole("n", value)
    assert found == value and type(found) is int


@pytest.mark.parametrize("value", [0, -1, True, False, np.bool_(True), 1.0, np.float32(2), "3", None, [1], 1 + 0j])
def test_values_that_are_no_whole_number(value):
    with pytest.raises(EdgeL3Error, match=r"^n: expected a whole number above 0, found "):
        check_whole("n", value)


def test_bounds_of_whole_numbers():
    assert check_whole("n", 0, 0, 5) == 0 and check_whole("n", 5, 0, 5) == 5
    with pytest.raises(EdgeL3Error, match="n: expected a whole number from 0 to 5, or None, found 6"):
        check_whole("n", 6, 0, 5, ", or None")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("text", ["0.7", "0.35", "0.1", "1.0"])
def test_seconds_of_any_precision_are_the_same_decimal_number(dtype, text):
    found = check_seconds("s", dtype(text))
    assert type(found) is float
    assert found == float(text)


@pytest.mark.parametrize("value", [1, 0.1, np.int32(3), 1e9, 5e-324])
def test_seconds(value):
    assert check_seconds("s", value) == float(value)


@pytest.mark.parametrize(
    "value", [0, -1.0, np.inf, np.nan, 1.1e9, True, "1", None, np.array([1.0]), np.float32(np.nan)]
)
def test_values_that_are_no_number_of_seconds(value):
    with pytest.raises(EdgeL3Error, match="^s: expected a .*number of seconds"):
        check_seconds("s", value)


def test_bools():
    assert check_bool("b", np.bool_(False)) is False and check_bool("b", True) is True
    with pytest.raises(EdgeL3Error, match="b: expected True or False, found 1"):
        check_bool("b", 1)


@pytest.mark.parametrize("hop_size", [0.7, 0.35, 0.1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_a_hop_of_any_precision_gives_the_same_windows(hop_size, dtype):
    """In float32, 0.7 s of 48 kHz are 33599.999 or 33600 samples, depending on the version of NumPy."""
    sound = np.random.default_rng(0).standard_normal(60_000)
    expected, found = (embed(sound, 8000, hop_size=value) for value in (hop_size, dtype(hop_size)))
    assert found.embedding.tobytes() == expected.embedding.tobytes()
    assert found.timestamps.tobytes() == expected.timestamps.tobytes()


def test_seconds_do_not_depend_on_how_numpy_prints():
    with np.printoptions(precision=2, legacy="1.13"):
        assert check_seconds("hop_size", np.float32(1 / 3)) == 0.33333334
