"""Tests of the reference network against the oracle of the tests, which shares no code with it."""

import factory
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.diagnostics import reference
from edgel3_np.diagnostics.reference import reference_embedding
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.weights.registry import SEA

FRONT_ENDS = [SEA, FrontEnd(4400, 512, 100, 33), FrontEnd(2000, 256, 250, 8), FrontEnd(3100, 256, 100, 29)]


@pytest.mark.parametrize("frontend", FRONT_ENDS)
@pytest.mark.parametrize("final_activation", ["relu", "linear"])
def test_equal_to_the_oracle(frontend, final_activation):
    weights = factory.random_weights(final_activation=final_activation, frontend=frontend)
    log_mel = factory.random_log_mel(frontend, 1)[0]
    expected = oracles.forward(log_mel, *factory.random_arrays(final_activation=final_activation))
    found = reference_embedding(log_mel, weights)
    assert found.dtype == np.float64 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_a_pool_grid_gives_the_maximum_of_each_part(grid):
    """The last map has 8 bands and 6 frames; maxima are ordered by mel, time, filters.

    The pool grid of the argument replaces that of the weights.
    """
    log_mel = factory.random_log_mel(SEA, 1)[0]
    last = oracles.last_map(log_mel, *factory.random_arrays())
    bands, times = np.array_split(np.arange(8), grid[0]), np.array_split(np.arange(6), grid[1])
    expected = np.concatenate([last[np.ix_(b, t)].max(axis=(0, 1)) for b in bands for t in times])
    weights = factory.random_weights()
    np.testing.assert_allclose(reference_embedding(log_mel, weights, grid), expected, rtol=1e-12)
    np.testing.assert_allclose(reference_embedding(log_mel, weights._replace(pool_grid=grid)), expected, rtol=1e-12)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_max_pool(rows, columns, height, width):
    """Each number is the maximum of one part; rows and columns that are left over are dropped."""
    x = np.random.default_rng(0).standard_normal((rows, columns, 2))
    found = reference.max_pool(x, height, width)
    assert found.shape == (rows // height, columns // width, 2)
    for i, j in np.ndindex(found.shape[:2]):
        part = x[i * height : (i + 1) * height, j * width : (j + 1) * width]
        assert (found[i, j] == part.max(axis=(0, 1))).all()


def test_the_reference_is_short_and_shares_no_code_with_the_fast_path():
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(reference))
    code = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            code.add(node.lineno)
    assert len(code) <= 90
    imports = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert {name for name in imports if not name.isupper()} == {"to_dense"}  # besides constants
