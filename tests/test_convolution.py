import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgel3_np import convolution


def padded(x):
    """(height, width, channels) -> (channels, height + 2, width + 2), with the border of zeros."""
    return np.pad(x.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1))).astype(np.float32)


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(convolution.KERNELS)),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_kernels_against_nine_shifted_products(kernel, channels, filters, height, width, density, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((height, width, channels)).astype(np.float32)
    weights = rng.standard_normal((3, 3, channels, filters)) * (rng.random((3, 3, channels, filters)) < density)
    weights = weights.astype(np.float32)
    columns = convolution.im2col(padded(x), 0, height, np.empty(9 * channels * height * width, np.float32))
    prepared = convolution.prepare(kernel, weights.reshape(-1, filters).T)
    out = np.empty((filters, height * width), np.float32)
    found = convolution.KERNELS[kernel](prepared, columns, out).reshape(filters, height, width)
    expected = oracles.convolve(x, weights).transpose(2, 0, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8), st.data())
def test_im2col_of_some_rows_is_part_of_the_whole(channels, height, width, data):
    top = data.draw(st.integers(0, height - 1))
    bottom = data.draw(st.integers(top + 1, height))
    x = padded(np.random.default_rng(0).standard_normal((height, width, channels)))
    space = np.empty(9 * channels * height * width, np.float32)
    every = convolution.im2col(x, 0, height, space).copy().reshape(-1, height, width)
    some = convolution.im2col(x, top, bottom, space).reshape(-1, bottom - top, width)
    np.testing.assert_array_equal(some, every[:, top:bottom])


def test_columns_are_in_the_order_dy_dx_channel():
    x = np.arange(2 * 5 * 5, dtype=np.float32).reshape(2, 5, 5)
    columns = convolution.im2col(x, 0, 3, np.empty(9 * 2 * 9, np.float32))
    for row, (dy, dx, channel) in enumerate(np.ndindex(3, 3, 2)):
        np.testing.assert_array_equal(columns[row], x[channel, dy : dy + 3, dx : dx + 3].ravel())


def test_the_rule_takes_sparse_products_for_sparse_layers():
    assert convolution.choose_kernel(0.0) == "sparse"
    assert convolution.choose_kernel(convolution.SPARSE_BELOW - 1e-9) == "sparse"
    assert convolution.choose_kernel(convolution.SPARSE_BELOW) == "dense"
    assert convolution.choose_kernel(1.0) == "dense"


@pytest.mark.parametrize("kernel", sorted(convolution.KERNELS))
def test_prepared_weights_are_read_only(kernel):
    prepared = convolution.prepare(kernel, np.eye(4, 9))
    with pytest.raises(ValueError, match="read-only"):
        getattr(prepared, "data" if kernel == "sparse" else "T")[0] = 1.0


def test_sparse_weights_hold_no_zeros():
    weights = np.zeros((3, 9))
    weights[1, 2] = 5.0
    assert convolution.prepare("sparse", weights).nnz == 1
