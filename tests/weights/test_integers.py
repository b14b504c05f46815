import io
from itertools import product

import numpy as np
import pytest
from factory import whole_weights
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.weights.format import load_weights, parse_weights, save_weights
from edgel3_np.weights.integers import EXACT, TOP, input_range, largest_sum, quantise
from edgel3_np.weights.locate import find_model
from edgel3_np.weights.sparse import to_csr, to_dense, to_matrix

SEED = st.integers(0, 2**32 - 1)


@given(SEED, st.integers(1, 4), st.sampled_from([(0, 3), (-2, 5), (-7, 0)]))
def test_no_sum_of_any_products_is_larger(seed, n, bounds):
    """Every level at either bound, every part of the products and the bias, in every combination."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.integers(-9, 10, n), int(rng.integers(-20, 21))
    found = 0
    for levels in product(*[[*bounds, 0]] * n):
        terms = [*(weights * levels), bias]
        found = max(found, sum(term for term in terms if term > 0), -sum(term for term in terms if term < 0))
    assert largest_sum(weights[:, np.newaxis], np.array([bias]), *bounds) == [found]


@given(SEED, st.integers(1, 40), st.integers(2, 10), st.sampled_from([(0, TOP), input_range(180)]))
def test_rounded_weights_are_near_and_as_fine_as_they_may_be(seed, n, bits, bounds):
    rng = np.random.default_rng(seed)
    matrix, bias = rng.standard_normal((n, 5)) * 10 ** rng.uniform(-4, 2, 5), rng.standard_normal(5)
    matrix[rng.random(matrix.shape) < 0.5] = 0
    whole, offset, shift = quantise(matrix, bias, *bounds, bits=bits)
    assert (whole.dtype, offset.dtype, shift.dtype) == (np.int16, np.int32, np.int8)
    exponents = shift.astype(np.intc)
    assert (np.abs(np.ldexp(matrix, exponents) - whole) <= 0.5).all()
    assert (largest_sum(whole, offset, *bounds) < EXACT).all() and np.abs(whole).max() <= 2 ** (bits - 1)
    finer = np.rint(np.ldexp(matrix, exponents + 1)), np.rint(np.ldexp(bias, exponents + 1))
    over = (largest_sum(*finer, *bounds) >= EXACT) | (np.abs(finer[0]).max(axis=0) > 2 ** (bits - 1))
    assert (over | ~whole.any(axis=0)).all()


def test_rounded_weights_obey_another_bound():
    matrix, bias = np.full((4, 2), 0.7), np.zeros(2)
    free = quantise(matrix, bias, 0, TOP)[2]
    bound = quantise(matrix, bias, 0, TOP, largest=lambda whole, offset: np.array([1, 2 * EXACT * (whole[0, 1] > 9)]))[
        2
    ]
    assert bound[0] == free[0] and bound[1] < free[1]


def content_of(weights):
    file = io.BytesIO()
    save_weights(file, weights)
    return file.getvalue()


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_network_of_whole_numbers_is_saved_and_loaded(activation):
    weights = whole_weights(final_activation=activation)
    content = content_of(weights)
    loaded = parse_weights(content, "there")
    assert content_of(loaded) == content and loaded.norms == () and loaded.zero == weights.zero
    for number in range(8):
        assert loaded.kernels[number].data.dtype == np.int16 and loaded.biases[number].dtype == np.int32
        np.testing.assert_array_equal(to_dense(loaded.kernels[number]), to_dense(weights.kernels[number]))
        np.testing.assert_array_equal(loaded.biases[number], weights.biases[number])
        np.testing.assert_array_equal(loaded.shifts[number], weights.shifts[number])


@pytest.mark.parametrize("layer", [1, 2, 8])
def test_a_file_whose_sums_float32_cannot_hold_is_refused(layer):
    """Exactly at 2**24 - 1 a file is accepted, one more and it is not; the message names layer, filter and figure."""
    weights = whole_weights()
    kernel = np.zeros_like(to_dense(weights.kernels[layer - 1]))
    rest = [bias.copy() for bias in weights.biases]
    for bias, ok in ((EXACT - 1 - 255 * 7, True), (EXACT - 255 * 7, False)):
        kernel[1, 1, 0, 2] = 7
        kernel[1, 1, 0, 1] = -3
        rest[layer - 1] = np.zeros_like(rest[layer - 1])
        rest[layer - 1][2] = bias
        zero = 0 if layer == 1 else weights.zero
        kernels = [*weights.kernels[: layer - 1], to_csr(kernel, np.int16), *weights.kernels[layer:]]
        content = content_of(weights._replace(kernels=tuple(kernels), biases=tuple(rest), zero=zero))
        if ok:
            parse_weights(content, "there")
        else:
            with pytest.raises(EdgeL3Error, match=rf"conv{layer}.data.*2\*\*24.*found 16777216 of filter 2"):
                parse_weights(content, "there")


def test_other_files_that_are_refused():
    weights = whole_weights()
    shifts = (weights.shifts[0] + np.int8(100), *weights.shifts[1:])
    with pytest.raises(EdgeL3Error, match=r"conv1.shift': expected -20 to 40"):
        parse_weights(content_of(weights._replace(shifts=shifts)), "there")
    with pytest.raises(EdgeL3Error, match=r"network.zero: a whole number from 0 to 255, found 256"):
        parse_weights(content_of(weights._replace(zero=256)), "there")
    with pytest.raises(EdgeL3Error, match=r"conv1.data': expected dtype <i2, found <f4"):
        kernels = tuple(kernel._replace(data=kernel.data.astype(np.float32)) for kernel in weights.kernels)
        parse_weights(content_of(weights._replace(kernels=kernels)), "there")
    with pytest.raises(EdgeL3Error, match="missing member 'conv1.shift'"):
        parse_weights(content_of(weights._replace(shifts=())), "there")
    with pytest.raises(EdgeL3Error, match="power for a network of whole numbers"):
        parse_weights(content_of(weights._replace(frontend=weights.frontend._replace(spectrum="magnitude"))), "there")
    with pytest.raises(EdgeL3Error, match="a power of two for a network of whole numbers"):
        parse_weights(content_of(weights._replace(frontend=weights.frontend._replace(n_fft=1000))), "there")


def test_the_bounds_of_pico_64_are_those_of_the_document():
    """docs/exact.md has them, as a part of 2**24."""
    from conftest import ROOT

    weights = load_weights(find_model("pico-64"))
    found = []
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases), 1):
        bounds = input_range(weights.zero) if number == 1 else (0, TOP)
        found.append(largest_sum(to_matrix(kernel), bias, *bounds).max() / EXACT)
    text = (ROOT / "docs" / "exact.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| largest sum of a filter"))
    assert [float(cell) for cell in row.strip("| ").split("|")[1:]] == [round(value, 3) for value in found]
