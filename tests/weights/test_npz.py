"""Tests of reading archives without trust; `test_format` tests whole weight files and attacks on them."""

import io
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgel3_np import EdgeL3Error
from edgel3_np.weights import npz
from edgel3_np.weights.npz import Archive, parse_header, write_npz


def archive(**members):
    content = io.BytesIO()
    write_npz(content, members)
    return Archive(content.getvalue(), "here")


DTYPES = st.sampled_from(["<f4", "<f2", "|u1", "<u2", "<u4"])
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)


@given(arrays.arrays(DTYPES, SHAPES, elements=st.integers(0, 200)))
def test_what_is_written_is_read(array):
    found = archive(x=array).read("x", array.dtype.str, array.shape)
    assert found.dtype == array.dtype.newbyteorder("=") and found.shape == array.shape and (found == array).all()
    assert not found.flags.writeable


def test_the_same_bytes_for_the_same_arrays(monkeypatch):
    contents = []
    for day in ((1980, 1, 1), (2026, 5, 4)):
        monkeypatch.setattr("time.localtime", lambda *_, day=day: (*day, 0, 0, 0, 0, 0, 0))
        content = io.BytesIO()
        write_npz(content, {"a": np.arange(5), "b": np.ones((2, 2), np.float32)})
        contents.append(content.getvalue())
    assert contents[0] == contents[1]


def test_numpy_reads_the_archive():
    content = io.BytesIO()
    write_npz(content, {"a": np.arange(5), "b": np.ones((2, 2), np.float32, order="F")})
    content.seek(0)
    with np.load(content, allow_pickle=False) as found:
        assert sorted(found.files) == ["a", "b"] and found["a"].tolist() == list(range(5)) and found["b"].sum() == 4


@pytest.mark.parametrize(
    "dtypes, shape, most, message",
    [
        ("<f8", (4,), None, "expected dtype <f8, found <f4"),
        ("<f8 <f2", (4,), None, "expected dtype <f8 or <f2, found <f4"),
        ("<f4", (5,), None, r"expected shape \(5,\), found shape \(4,\)"),
        ("<f4", (2, 2), None, r"expected shape \(2, 2\), found shape \(4,\)"),
        ("<f4", (None,), 3, r"expected shape \(3 or fewer,\), found shape \(4,\)"),
    ],
)
def test_arrays_that_are_not_as_expected(dtypes, shape, most, message):
    with pytest.raises(EdgeL3Error, match=f"here: member 'x': {message}"):
        archive(x=np.ones(4, np.float32)).read("x", dtypes, shape, most)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e6])
def test_values_that_are_too_large_for_weights(value):
    with pytest.raises(EdgeL3Error, match="expected finite values within 1e"):
        archive(x=np.array([0, value], np.float32)).read("x", "<f4", (2,))


@pytest.mark.parametrize("code, bits", [("f2", 0x7C01), ("f4", 0x7F800001), ("f8", 0x7FF0000000000001)])
@pytest.mark.parametrize("order", "<>")
def test_a_signalling_nan_is_refused_without_a_warning(code, bits, order):
    for count in (1, 3, 100):
        values = np.full(count, bits, f"{order}u{code[1]}").view(order + code)
        file = io.BytesIO()
        np.lib.format.write_array(file, values, version=(1, 0))
        with np.errstate(all="raise"), pytest.raises(EdgeL3Error, match="expected finite values"):
            Archive(zipped(("x.npy", file.getvalue())), "here").read("x", f"<{code}", (count,))


def test_numbers_beyond_float32_are_compared_as_they_are():
    for value, is_good in ((1e6, True), (1e6 + 1e-6, False), (1e300, False), (1e-300, True)):
        with np.errstate(all="raise"):
            try:
                archive(x=np.array([value])).read("x", "<f8", (1,))
            except EdgeL3Error:
                assert not is_good
            else:
                assert is_good


def test_missing_and_unknown_members():
    found = archive(a=np.ones(1, np.float32), b=np.ones(1, np.float32))
    assert "a" in found and "c" not in found
    found.require(["a"], ["b"])
    with pytest.raises(EdgeL3Error, match="here: missing member 'c': expected it, found 2 others"):
        found.require(["a", "c"], ["b"])
    with pytest.raises(EdgeL3Error, match="here: unknown member 'b'"):
        found.require(["a"])
    with pytest.raises(EdgeL3Error, match="here: missing member 'c'"):
        found.read("c", "<f4", (1,))


def zipped(*members, method=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of equal names
        with zipfile.ZipFile(content, "w", method) as file:
            for name, data in members:
                file.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "expected an npz"),
        (b"PK\x03\x04 and no more", "expected an npz"),
        (zipped(("a.npy", b"1"), ("a.npy", b"2")), "member 'a': expected one member of that name, found two"),
        (zipped(("a.npy", b"1"), ("a", b"2")), "member 'a': expected one member of that name, found two"),
        (zipped(("a.npy", b"1" * 100), method=zipfile.ZIP_BZIP2), "member 'a': expected a stored or deflated member"),
    ],
)
def test_content_that_is_no_archive(content, message):
    with pytest.raises(EdgeL3Error, match=f"here: {message}"):
        Archive(content, "here")


def test_a_lack_of_memory_is_not_a_damaged_file(monkeypatch):
    found = archive(x=np.ones(4, np.float32))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(npz, "parse_header", fail)
    with pytest.raises(MemoryError):
        found.read("x", "<f4", (4,))
    monkeypatch.setattr(npz.zipfile, "ZipFile", fail)
    with pytest.raises(MemoryError):
        archive(x=np.ones(4, np.float32))


def test_big_endian_arrays_are_read():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = io.BytesIO()
    np.lib.format.write_array(file, values.astype(">f4"), version=(1, 0))
    found = Archive(zipped(("x.npy", file.getvalue())), "here").read("x", "<f4", (2, 3))
    assert found.dtype == np.float32 and found.dtype.isnative and not found.flags.writeable
    np.testing.assert_array_equal(found, values)


def test_arrays_are_written_little_endian():
    """So a file has the same bytes, whatever machine writes it."""
    values, files = np.arange(6, dtype=np.float32), [io.BytesIO(), io.BytesIO()]
    for file, order in zip(files, "<>"):
        write_npz(file, {"x": values.astype(f"{order}f4"), "y": values.astype(f"{order}u2"), "z": np.uint8([1])})
    assert files[0].getvalue() == files[1].getvalue()
    with np.load(io.BytesIO(files[0].getvalue())) as archive:
        assert archive["x"].dtype.str == "<f4" and archive["y"].dtype.str == "<u2"


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "|u1", "<f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_headers(dtype, shape):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.zeros(shape, dtype), version=(1, 0))
    if shape == ():
        with pytest.raises(ValueError, match="header"):  # no weight is a scalar
            parse_header(file.getvalue())
    else:
        found, size, length = parse_header(file.getvalue())
        assert (found, size) == (dtype, shape)
        assert length + np.zeros(shape, dtype).nbytes == len(file.getvalue())


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1234567890123,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),), }",
        "",
    ],
)
def test_headers_that_are_refused(header):
    text = header.encode().ljust(100) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with pytest.raises(ValueError, match="a header other than"):
        parse_header(start)
    with pytest.raises(EdgeL3Error, match="member 'x': expected a readable npy array, found a header other than"):
        Archive(zipped(("x.npy", start)), "here").read("x", "<f4", (3,))
