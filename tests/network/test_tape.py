import numpy as np
import pytest

from edgel3_np.network.tape import Tape, execute


def test_each_method_records_the_function_of_its_name():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 3)).astype(np.float32)
    expected = {
        "matmul": a @ b,
        "multiply": a * b,
        "add": a + b,
        "maximum": np.maximum(a, b),
        "relu": np.maximum(a, 0),
        "copy": a,
    }
    for name, result in expected.items():
        tape, out = Tape("conv1"), np.zeros((3, 3), np.float32)
        getattr(tape, name)(a, *([] if name in ("relu", "copy") else [b]), out=out)
        assert not out.any(), "a call was made when it was recorded"
        execute(tape)
        np.testing.assert_allclose(out, result, rtol=1e-6)
    tape, out = Tape("conv1"), np.zeros(3, np.float32)
    tape.max(a, 1, out=out)
    tape.call(lambda x, y, out: np.add(out, 2 * x, out=out), out, None, out)
    execute(tape)
    np.testing.assert_allclose(out, 3 * a.max(axis=1), rtol=1e-6)


def test_calls_run_in_order_on_the_current_contents_of_the_buffers():
    tape, x, y = Tape("conv1"), np.array([1.0, -2.0]), np.zeros(2)
    tape.add(x, 1.0, out=x)
    tape.relu(x, out=y)
    for expected in ([2, 0], [3, 0], [4, 1]):
        execute(tape)
        assert y.tolist() == expected


def test_a_call_that_fails_names_its_layer():
    tape = Tape("conv7")
    tape.add(np.zeros(3), np.zeros(4), out=np.zeros(3))
    with pytest.raises(RuntimeError, match="conv7: .*broadcast"):
        execute(tape)


def test_overflow_is_quiet():
    tape, x = Tape("conv1"), np.full(2, 3e38, np.float32)
    tape.add(x, x, out=x)
    tape.add(x, np.float32(-np.inf), out=x)
    execute(tape)
    assert np.isnan(x).all()


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
@pytest.mark.parametrize("strided", [False, True])
def test_levels_are_rounded_and_cut(axes, strided):
    """In place and into another array, whatever lies next to what in memory."""
    start = np.random.default_rng(0).uniform(-300, 600, (3, 4, 10)).astype(np.float32)
    start[0, 0, :6] = [0.5, 1.5, 254.5, 255.5, -0.5, 2.5]
    expected = np.clip(np.rint(start), 0, 255).transpose(axes)
    a, room = start.copy().transpose(axes), np.full((12, 12, 12), 7, np.float32)
    out = room[tuple(slice(1, 1 + n) for n in a.shape)] if strided else np.empty(a.shape, np.float32)
    tape = Tape("test")
    tape.levels(a, out=out)
    execute(tape)
    np.testing.assert_array_equal(out, expected)
    assert (room == 7).sum() == room.size - strided * out.size + strided * (expected == 7).sum()
    again, tape = start.copy().transpose(axes), Tape("test")
    tape.levels(again, out=again)
    execute(tape)
    np.testing.assert_array_equal(again, expected)
