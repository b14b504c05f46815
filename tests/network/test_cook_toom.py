import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.network.cook_toom import cook_toom

numbers = st.floats(-50, 50)


@given(st.integers(2, 6), st.lists(numbers, min_size=8, max_size=8), st.lists(numbers, min_size=3, max_size=3))
def test_it_is_a_correlation(m, inputs, kernel):
    """In float64, to its rounding."""
    bt, g, at = cook_toom(m)
    inputs, kernel = np.array(inputs[: m + 2]), np.array(kernel)
    found = at @ ((g @ kernel) * (bt @ inputs))
    np.testing.assert_allclose(found, np.correlate(inputs, kernel), rtol=0, atol=1e-10 * 50 * 50)


@pytest.mark.parametrize("m", range(2, 7))
def test_what_the_kernel_relies_on(m):
    """The outer inputs occur once, with a factor of one; a bias at the point 1 reaches every output."""
    bt, g, at = cook_toom(m)
    assert bt.shape == (m + 2, m + 2) and g.shape == (m + 2, 3) and at.shape == (m, m + 2)
    assert bt[:, 0].tolist() == [1.0, *[0.0] * (m + 1)] and bt[:, -1].tolist() == [*[0.0] * (m + 1), 1.0]
    assert (at[:, 1] == 1).all()
    for matrix in (bt, g, at):
        assert not matrix.flags.writeable


@pytest.mark.parametrize("m", [2, 4])
def test_the_matrices_of_the_paper_up_to_scales(m):
    """Lavin and Gray list F(2,3) and F(4,3): each row of BT is a multiple of theirs, or of a row for the other sign."""
    theirs = {
        2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        4: [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
    }[m]
    for row in cook_toom(m)[0]:
        assert any(np.linalg.matrix_rank(np.array([row, other]), tol=1e-9) == 1 for other in theirs)
