"""Tests of the reader of Parquet: it reads what pyarrow writes, and refuses everything else."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np.collections.parquet import format as parquet_format
from edgel3_np.collections.parquet.format import Column, read_footer

arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
import pyarrow.parquet as pq  # noqa: E402

OPTIONS = {"compression": "none", "use_dictionary": ["path"]}


def written(count=5000, dim=3, group=2000, **options):
    """Write a table as `writer` does; return its content and its numbers."""
    rng = np.random.default_rng(count)
    embedding = rng.standard_normal((count, dim)).astype(np.float32)
    time = rng.random(count)
    columns = {
        "path": arrow.array([f"{number % 7}.wav" for number in range(count)]),
        "time": arrow.array(time),
        "embedding": arrow.FixedSizeListArray.from_arrays(arrow.array(embedding.ravel()), dim),
    }
    file = io.BytesIO()
    pq.write_table(arrow.table(columns), file, row_group_size=group, **{**OPTIONS, **options})
    return file.getvalue(), time, embedding


def columns_of(content, dim=3):
    """Return the columns `time` and `embedding` of each row group."""
    file, size = io.BytesIO(content), len(content)
    for rows, chunks in read_footer(file, size).groups:
        yield Column(file, size, chunks.get(b"time", {}), "<f8", rows), rows, 1
        yield Column(file, size, chunks.get(b"embedding", {}), "<f4", rows * dim), rows, dim


def read_all(content, dim=3):
    read = [column.read(0, rows * width) for column, rows, width in columns_of(content, dim)]
    return np.concatenate(read[::2]), np.concatenate(read[1::2]).reshape(-1, dim)


@pytest.mark.parametrize("options", [{}, {"data_page_size": 999}, {"version": "1.0"}, {"write_statistics": False}])
def test_what_pyarrow_writes_is_read(options):
    content, time, embedding = written(**options)
    found = read_all(content)
    np.testing.assert_array_equal(found[0], time)
    np.testing.assert_array_equal(found[1], embedding)
    assert found[1].dtype == np.float32


@given(st.integers(0, 1999), st.integers(0, 1999))
def test_any_rows_can_be_read(one, other):
    content, _, embedding = written(2000, 3, 2000, data_page_size=500)
    start, end = sorted((one, other))
    (_, (column, _, _)) = columns_of(content)
    np.testing.assert_array_equal(column.read(3 * start, 3 * (end - start)).reshape(-1, 3), embedding[start:end])


def test_rows_outside_a_column_are_refused():
    (column, rows, _), *_ = columns_of(written()[0])
    for start, count in ((-1, 2), (rows, 1), (0, rows + 1), (5, -1)):
        with pytest.raises(ValueError, match="outside"):
            column.read(start, count)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"use_dictionary": True},
        {"data_page_version": "2.0"},
        {"use_byte_stream_split": ["time", "embedding.list.element"], "use_dictionary": False},
    ],
)
def test_other_encodings_are_refused(options):
    content, *_ = written(**options)
    with pytest.raises(ValueError, match="codec|dictionary|another kind"):
        read_all(content)


def test_missing_values_and_other_types_are_refused():
    for columns in (
        {"time": arrow.array([1.0, None, 2.0]), "embedding": arrow.array([[1.0], [2.0], [3.0]])},
        {"time": arrow.array([1, 2, 3]), "embedding": arrow.array([[1.0], [2.0], [3.0]])},
        {"time": arrow.array([1.0, 2, 3]), "embedding": arrow.array([[1.0], [2.0], [3.0]])},
        {"time": arrow.array([1.0, 2, 3]), "embedding": arrow.array([[1.0], [], [3.0]], arrow.list_(arrow.float32()))},
        {"time": arrow.array([1.0, np.nan, 3]), "embedding": arrow.array([[1.0]] * 3, arrow.list_(arrow.float32()))},
    ):
        file = io.BytesIO()
        pq.write_table(arrow.table(columns), file, **{**OPTIONS, "use_dictionary": False})
        with pytest.raises(ValueError):
            read_all(file.getvalue(), 1)


def test_a_flipped_bit_is_noticed():
    if "write_page_checksum" not in pq.write_table.__code__.co_varnames:
        pytest.skip("this pyarrow writes no checksums")
    content, *_ = written(write_page_checksum=True)
    (chunk,) = {columns[b"embedding"][9] for _, columns in read_footer(io.BytesIO(content), len(content)).groups[:1]}
    changed = content[: chunk + 900] + bytes([content[chunk + 900] ^ 1]) + content[chunk + 901 :]
    with pytest.raises(ValueError, match="checksum"):
        read_all(changed)


def test_mutants_are_read_or_refused():
    """Whatever stands in a file, the error is a `ValueError`, and no more numbers come than are in the file."""
    content, *_ = written(300, 3, 100, data_page_size=300)
    rng, refused = np.random.default_rng(0), 0
    for turn in range(1500):
        changed = bytearray(content)
        low = len(content) - 2000 if turn % 2 else 0
        for place in rng.integers(low, len(content), rng.integers(1, 5)):
            changed[place] = rng.integers(256)
        if turn % 5 == 0:
            del changed[rng.integers(len(changed)) :]
        try:
            time, embedding = read_all(bytes(changed))
            assert len(embedding) * 12 <= len(content) and len(time) * 8 <= len(content)
        except ValueError:
            refused += 1
    assert 500 < refused < 1500


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def footer(content):
    return b"PAR1" + content + len(content).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    "content",
    [
        b"\x19\xfc" + varint(1 << 40),  # a list of 2**40 structures
        b"\x19\xf1" + varint(1 << 18) + bytes(1 << 18),  # a list of more values than are allowed
        b"\x11" * (1 << 22),  # fields that are true, of which each takes one byte
        b"\x12" * (1 << 22),
        (b"\x19\xf1" + varint(1000) + bytes(1000)) * 1000,  # lists of truth values
        b"\x1c" * 10_000,  # structures in structures
        b"\x18" + varint(1 << 35),  # a text of 32 GiB
        b"\x15" + b"\xff" * 50,  # a number without an end
        b"\x1b\x00",  # a map, of which there is none
        b"\x1f",  # an unknown type
    ],
)
def test_hostile_footers_take_no_memory(content):
    import tracemalloc

    whole = footer(content)
    tracemalloc.start()
    with pytest.raises(ValueError):
        read_footer(io.BytesIO(whole), len(whole))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_files_that_are_none_are_refused():
    content, *_ = written(10)
    for other in (b"", b"PAR1", b"PAR1PAR1", content[:-1], content[:-5], b"x" * 100, b"PAR1" + b"\xff" * 8 + b"PAR1"):
        with pytest.raises(ValueError):
            read_footer(io.BytesIO(other), len(other))


def test_pages_of_impossible_sizes_are_refused(monkeypatch):
    content, *_ = written(data_page_size=100)
    for name, value in (("MAX_PAGE_BYTES", 50), ("MAX_PAGES", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(parquet_format, name, value)
            with pytest.raises(ValueError, match="impossible size, or too many"):
                read_all(content)
