"""Tests of the export of a collection: tables are read back with the programs that users have."""

import json
import os
import sys
import warnings

import numpy as np
import pytest
from collection_files import DIM, hostile, provenance, save, times
from interrupts import interrupt_at_line

import edgel3_np
from edgel3_np.collections import export as module
from edgel3_np.collections.export import Exported, export
from edgel3_np.collections.results import save_embedding

FORMATS = ["all.parquet", "all.csv", "all.npy"]


@pytest.fixture(params=FORMATS)
def name(request):
    """Return the name of an output of each format."""
    if request.param.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    return request.param


@pytest.fixture
def folder(tmp_path):
    """Write nine files of embeddings, whose numbers have all exponents; return their folder."""
    rng = np.random.default_rng(0)
    for number in range(9):
        scale = 10.0 ** rng.integers(-38, 38, (rng.integers(1, 40), DIM))
        embedding = (rng.standard_normal(scale.shape) * scale).astype(np.float32)
        source = {"name": f'{"ab"[number // 5]}, "x"/{number}\r\n.wav'}
        save(tmp_path / "c" / "d" / f"{number}.npz", embedding, input=source)
    return tmp_path / "c"


def csv_rows(path):
    import csv

    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def check_rows(table, path, time, label, embedding):
    """Compare what a program has read with what `load` returns."""
    assert list(path) == list(table.path)
    assert label is None or list(label) == list(table.label)
    np.testing.assert_array_equal(np.asarray(time, np.float64), table.time)
    found = np.asarray(embedding)
    assert found.dtype == np.float32 and found.tobytes() == table.embedding.tobytes()


@pytest.fixture
def parquet(folder, tmp_path):
    """Export the nine files, in several row groups; return the path."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_BYTES", 300)
        patch.setattr(module, "GROUP_BYTES", 1500)
        export(folder, tmp_path / "all.parquet", labels="folder")
    return str(tmp_path / "all.parquet")


def test_parquet_in_pyarrow(folder, parquet):
    arrow = pytest.importorskip("pyarrow.parquet")
    table, found = edgel3_np.load(folder, labels="folder"), arrow.read_table(parquet)
    assert found.schema.names == ["path", "time", "label", "embedding"]
    types = [str(kind) for kind in found.schema.types]
    assert types[:3] == ["string", "double", "string"] and types[3].startswith("fixed_size_list<")
    assert types[3].endswith(f"float>[{DIM}]") or types[3].endswith(f"float not null>[{DIM}]")
    vectors = np.array(found["embedding"].to_pylist(), np.float32)
    check_rows(table, found["path"].to_pylist(), found["time"], found["label"].to_pylist(), vectors)
    groups = arrow.read_metadata(parquet)
    assert 2 < groups.num_row_groups < len(table.time) / 2
    said = json.loads(found.schema.metadata[b"edgel3_np"])
    assert said == {key: provenance("x")[key] for key in ("model", "weights_sha256", "contract", "options")}


def test_parquet_in_pandas(folder, parquet):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.read_parquet(parquet)
    vectors = np.stack(list(frame.embedding))
    check_rows(edgel3_np.load(folder, labels="folder"), frame.path, frame.time, frame.label, vectors)


def test_parquet_in_polars(folder, parquet):
    polars = pytest.importorskip("polars", reason="needs polars")
    frame = polars.read_parquet(parquet)
    assert frame.schema["embedding"] == polars.Array(polars.Float32, DIM)
    vectors = frame["embedding"].to_numpy()
    check_rows(edgel3_np.load(folder, labels="folder"), frame["path"], frame["time"], frame["label"], vectors)


def test_parquet_in_duckdb(folder, parquet):
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT path, time, label, embedding FROM read_parquet(?)", [parquet]).fetchall()
        said = connection.execute(
            "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'edgel3_np'", [parquet]
        ).fetchone()
    path, time, label, embedding = zip(*rows)
    check_rows(edgel3_np.load(folder, labels="folder"), path, time, label, np.array(embedding, np.float32))
    assert json.loads(said[0])["options"]["hop_size"] == 0.1


@pytest.mark.parametrize("labels", [None, "folder"])
def test_csv(folder, tmp_path, labels):
    written = export(folder, tmp_path / "all.csv", labels=labels)
    table = edgel3_np.load(folder, labels="folder")
    assert written == Exported((str(tmp_path / "all.csv"),), 9, len(table.time))
    header, rows = csv_rows(tmp_path / "all.csv")
    columns = ["path", "time", *(["label"] if labels else []), *(f"e{number}" for number in range(DIM))]
    assert header == columns
    path, time, *rest = zip(*rows)
    label = rest.pop(0) if labels else None
    check_rows(table, path, [float(text) for text in time], label, np.array(rest, np.float32).T.copy())
    assert all(text == str(np.float32(text)) for column in rest for text in column)  # no digit too many
    if labels is None:
        pandas = pytest.importorskip("pandas", reason="needs pandas")
        frame = pandas.read_csv(tmp_path / "all.csv", dtype=dict.fromkeys(columns[2:], np.float32))
        np.testing.assert_array_equal(frame[columns[2:]].to_numpy(), table.embedding)
        assert list(frame.path) == list(table.path)


@pytest.mark.parametrize("labels", [None, "folder"])
def test_npy_and_its_index(folder, tmp_path, labels, monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 100)
    written = export(folder, tmp_path / "all.npy", labels=labels)
    table, (header, rows) = edgel3_np.load(folder, labels="folder"), csv_rows(tmp_path / "all.index.csv")
    assert written.files == (str(tmp_path / "all.npy"), str(tmp_path / "all.index.csv"))
    assert header == ["path", "time", *(["label"] if labels else [])]
    path, time, *label = zip(*rows)
    mapped = np.load(tmp_path / "all.npy", mmap_mode="r")
    check_rows(table, path, [float(text) for text in time], label[0] if labels else None, mapped)


def test_a_file_of_several_parts_is_read_again(tmp_path, name, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(3):
        save(tmp_path / "c" / f"{number}.npz", rng.random((20, DIM)))
    export(tmp_path / "c", tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    monkeypatch.setattr("edgel3_np.collections.results.CHUNK_FLOATS", 3 * DIM)
    (tmp_path / "again").mkdir()
    export(tmp_path / "c", tmp_path / "again" / name)
    assert (tmp_path / "again" / name).read_bytes() == whole


@pytest.mark.parametrize("rows, dim", [(19, DIM), (21, DIM), (20, DIM + 1), (1, DIM)])
def test_a_file_that_changes_while_it_is_read(tmp_path, name, monkeypatch, rows, dim):
    monkeypatch.setattr("edgel3_np.collections.results.CHUNK_FLOATS", 3 * DIM)
    path = save(tmp_path / "c" / "a.npz", np.ones((20, DIM)))
    again = module._again

    def change(*arguments):
        save(path, np.ones((rows, dim)))
        yield from again(*arguments)

    monkeypatch.setattr(module, "_again", change)
    (tmp_path / name).write_text("before")
    with pytest.raises(edgel3_np.EdgeL3Error, match="a.npz: the file changed while it was read; run again"):
        export(tmp_path / "c", tmp_path / name)
    assert (tmp_path / name).read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == sorted(["c", name])


def test_broken_and_hostile_files_are_skipped(tmp_path, name):
    names, problems = hostile(tmp_path / "c"), []
    written = export(tmp_path / "c", tmp_path / name, on_problem=problems.append)
    assert written[1:] == (1, 30)
    assert {next(name for name in names if f"/{name}:" in str(problem)) for problem in problems} == names
    assert len(problems) == len(names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(tmp_path / "c", tmp_path / name)
    assert len(caught) == len(names) and {warning.filename for warning in caught} == {__file__}


def test_damage_at_the_end_of_a_file_leaves_none_of_its_rows(tmp_path, name, monkeypatch):
    """The checksum of a file is known at its end. Rows that are written cannot be taken back."""
    monkeypatch.setattr("edgel3_np.collections.results.CHUNK_FLOATS", 3 * DIM)
    for letter in "abc":
        save(tmp_path / "c" / f"{letter}.npz", np.full((50, DIM), ord(letter)))
    content = (tmp_path / "c" / "b.npz").read_bytes()
    place = content.index(np.full(DIM, ord("b"), "<f4").tobytes()) + 4 * DIM * 50 - 1
    (tmp_path / "c" / "b.npz").write_bytes(content[:place] + b"\0" + content[place + 1 :])
    with pytest.warns(edgel3_np.EdgeL3Warning, match="b.npz: .*CRC"):
        assert export(tmp_path / "c", tmp_path / name)[1:] == (2, 100)


def test_two_models_and_nothing_is_written(tmp_path, name):
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    save(tmp_path / "c" / "b.npz", np.ones((2, DIM)), weights_sha256="b" * 64)
    with pytest.raises(edgel3_np.EdgeL3Error, match=r"b.npz: expected embeddings of one model"):
        export(tmp_path / "c", tmp_path / name)
    assert os.listdir(tmp_path) == ["c"]


def test_metadata_of_what_files_agree_on(tmp_path):
    arrow = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    options = {"dim": DIM, "hop_size": 0.5, "center": True, "odd": ["a list"]}
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    save(tmp_path / "c" / "b.npz", np.ones((2, DIM)), options=options, model="other")
    export(tmp_path / "c", tmp_path / "all.parquet")
    said = json.loads(arrow.read_schema(tmp_path / "all.parquet").metadata[b"edgel3_np"])
    assert said["model"] is None and said["weights_sha256"] == "a" * 64
    assert said["options"] == {"dim": DIM, "hop_size": None, "center": True}
    export(tmp_path / "c" / "b.npz", tmp_path / "all.parquet")
    said = json.loads(arrow.read_schema(tmp_path / "all.parquet").metadata[b"edgel3_np"])
    assert said["model"] == "other" and said["options"] == {**options, "odd": None}


def test_names_that_are_no_text(tmp_path, name):
    save(tmp_path / "c" / "a.npz", np.ones((1, DIM)), input={"name": os.fsdecode(b"caf\xe9/\xff\xc3\xa9.wav")})
    save(tmp_path / "c" / "b.npz", np.ones((1, DIM)), input={"name": "half \ud800\0.wav"})
    export(tmp_path / "c", tmp_path / name, labels="folder")
    expected = [("caf\\xe9/\\xff\u00e9.wav", "caf\\xe9"), ("half \\ud800\0.wav", "")]
    if name.endswith("parquet"):
        found = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / name).to_pydict()
        assert list(zip(found["path"], found["label"])) == expected
    else:
        text = (tmp_path / name.replace("npy", "index.csv")).read_text(encoding="utf-8")
        first, second = text.splitlines()[1:]
        assert first.startswith(f'"{expected[0][0]}",0.0,"caf\\xe9"')
        assert second.startswith(f'"{expected[1][0]}",0.0,""')


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_an_output_whose_name_is_no_text(tmp_path, folder, name):
    output = os.path.join(os.fsencode(tmp_path), b"\xff" + os.fsencode(name))
    assert export(folder, output).files[0] == os.fsdecode(output)
    assert os.path.getsize(output) > 100


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupted pyarrow says so
def test_an_interrupt_at_any_line_leaves_nothing(tmp_path, name):
    for letter in "ab":
        save(tmp_path / "c" / f"{letter}.npz", np.ones((3, DIM)))
    number = 0

    def ours(module):  # not the lines that give a file its name: npy has two files, and one comes first
        return module.startswith("edgel3_np.collections") and not module.endswith(".atomic")

    while True:
        number += 1
        (tmp_path / str(number)).mkdir()
        call = lambda: export(tmp_path / "c", tmp_path / str(number) / name)  # noqa: B023, E731
        if not interrupt_at_line(number, call, ours):
            break
        left = os.listdir(tmp_path / str(number))
        done = {name, *(["all.index.csv"] if name.endswith("npy") else [])}  # the interrupt came after the end
        assert left == [] or set(left) == done
    assert number > 100


def test_an_output_that_cannot_be_written(folder, tmp_path, name):
    for output in (tmp_path / "missing" / name, tmp_path / "c" / "d" / "0.npz" / name):
        with pytest.raises(edgel3_np.EdgeL3Error, match=f"{name}: cannot be written: N") as caught:
            export(folder, output)
        assert caught.value.kind == "output"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk(folder, tmp_path, name, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def full(path):
        with open("/dev/full", "wb") as file:
            yield file
            file.flush()

    monkeypatch.setattr(module, "atomic", full)
    with pytest.raises(edgel3_np.EdgeL3Error, match=f"{name}: cannot be written: No space left"):
        export(folder, tmp_path / name)


def test_embeddings_are_not_replaced(tmp_path):
    """Neither by the name of a part, nor under another name of the same file."""
    source = save(tmp_path / "c" / "a.npz", np.ones((3, DIM)))
    content = source.read_bytes()
    os.link(source, tmp_path / "a.npy")
    for output in (tmp_path / "a.npy", tmp_path / "part-1-of-1-00000.parquet"):
        with pytest.raises(edgel3_np.EdgeL3Error, match="expected another name than that of embeddings"):
            export(tmp_path / "c", output)
    assert source.read_bytes() == content and sorted(os.listdir(tmp_path)) == ["a.npy", "c"]


def test_wrong_arguments(folder, tmp_path):
    (tmp_path / "none").mkdir()
    for arguments, options, message in (
        ((folder, tmp_path / "all.xlsx"), {}, r"all.xlsx: expected a name that ends in .parquet, .csv or .npy, found"),
        ((folder, tmp_path / "all"), {}, "all: expected a name that ends in .*, found 'no ending'"),
        ((folder, tmp_path / "all.csv"), {"labels": "file"}, "labels: expected 'folder'"),
        (
            (tmp_path / "none", tmp_path / "all.csv"),
            {},
            "expected embeddings .npz, or parts of a table., found none; make",
        ),
        (([], tmp_path / "all.npy"), {}, "no files are given: expected embeddings"),
    ):
        with pytest.raises(edgel3_np.EdgeL3Error, match=message):
            export(*arguments, **options)
    assert sorted(os.listdir(tmp_path)) == ["c", "none"]


def test_without_pyarrow(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r"Parquet: expected pyarrow, but .*; pip install pyarrow, or write .csv or .npy"
    with pytest.raises(edgel3_np.EdgeL3Error, match=message):
        export(folder, tmp_path / "all.parquet")
    assert export(folder, tmp_path / "ALL.NPY").recordings == 9


def test_progress_in_bytes(folder, tmp_path):
    (folder / "d" / "x.npz").write_text("x")
    seen = []
    with pytest.warns(edgel3_np.EdgeL3Warning):
        export(folder, tmp_path / "all.csv", progress=lambda done, total: seen.append((done, total)))
    total = sum(path.stat().st_size for path in folder.rglob("?.npz"))
    assert len(seen) == 10 and seen == sorted(seen)
    assert {number for _, number in seen} == {total} and seen[-1][0] == total


def test_memory_does_not_grow_with_the_collection(tmp_path, name, monkeypatch):
    import tracemalloc

    monkeypatch.setattr("edgel3_np.collections.results.CHUNK_FLOATS", 1 << 16)
    monkeypatch.setattr(module, "PIECE_BYTES", 1 << 16)
    monkeypatch.setattr(module, "GROUP_BYTES", 1 << 18)
    row = np.random.default_rng(0).random((100, 500)).astype(np.float32)
    (tmp_path / "c").mkdir()
    for number in range(64):  # two files of 3 MB, and small ones, 12 MB in all
        rows = [row] * (15 if number < 2 else 0) + [row[:20]]
        save_embedding(tmp_path / "c" / f"{number}.npz", rows, times, provenance(f"{number}", dim=500))
    export(tmp_path / "c" / "9.npz", tmp_path / name)  # imports what it needs
    tracemalloc.start()
    assert export(tmp_path / "c", tmp_path / name).windows == 3000 + 64 * 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_long_name_takes_no_memory(tmp_path, name):
    """Of a file of one dimension: a row has four bytes of embedding, and four thousand of path."""
    import tracemalloc

    said = provenance("x", dim=1, input={"name": "x" * 4096})
    save_embedding(tmp_path / "a.npz", [np.ones((20_000, 1), np.float32)], times, said)
    tracemalloc.start()
    export(tmp_path / "a.npz", tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
