"""Tests of parts as sources of embeddings: readers take them beside npz files, and refuse those that are hostile."""

import base64
import io
import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest
from collection_files import DIM, hostile_parts, provenance, save, save_part, times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.collections import results, sources
from edgel3_np.collections.export import export
from edgel3_np.collections.gather import find_results, read_recordings
from edgel3_np.collections.indexing import update_index
from edgel3_np.collections.parquet import part as part_module
from edgel3_np.collections.parquet.part import Entries, Entry, open_part, pack_entries
from edgel3_np.collections.search import similar
from edgel3_np.collections.sources import Opened, Place, open_place, provenance_of, read_results

pytest.importorskip("pyarrow", reason="needs pyarrow")


def embeddings(count=12, seed=0):
    """Make embeddings of recordings, by name."""
    rng = np.random.default_rng(seed)
    return {
        f"{'ab'[number % 2]}/{number}.wav": rng.standard_normal((rng.integers(1, 30), DIM)).astype(np.float32)
        for number in range(count)
    }


@pytest.fixture
def both(tmp_path):
    """Write the same embeddings as npz files and as three parts; return the two folders."""
    found = embeddings()
    for name, embedding in found.items():
        source = {"name": name, "root": "/r", "bytes": 1, "mtime_ns": 2}
        save(tmp_path / "npz" / name.replace(".wav", ".npz"), embedding, input=source)
    for number in range(3):
        save_part(tmp_path / "parts" / f"part-1-of-1-{number:05}.parquet", dict(list(found.items())[4 * number :][:4]))
    return tmp_path / "npz", tmp_path / "parts"


def rows(table):
    return sorted(zip(table.path, table.time.tolist(), map(bytes, table.embedding), table.label))


def test_load_reads_both_forms(both, tmp_path):
    one, other = (edgel3_np.load(folder, labels="folder") for folder in both)
    assert rows(one) == rows(other) and set(one.label) == {"a", "b"}
    together = edgel3_np.load(both, labels="folder")
    assert rows(together) == sorted(rows(one) + rows(other))
    single = edgel3_np.load(both[1] / "part-1-of-1-00001.parquet")
    assert len(set(single.path)) == 4


@pytest.mark.parametrize("name", ["all.csv", "all.npy", "all.parquet"])
def test_export_reads_both_forms(both, tmp_path, name):
    contents = []
    for folder in both:
        export(folder, tmp_path / name, labels="folder")
        table = (tmp_path / name).read_bytes()
        contents.append(sorted(table.split(b"\n")) if name.endswith("csv") else len(table))
    assert contents[0] == contents[1] or name.endswith("parquet")
    if name.endswith("parquet"):
        import pyarrow.parquet as pq

        assert pq.read_metadata(tmp_path / name).num_rows == len(edgel3_np.load(both[0]).time)
        said = json.loads(pq.read_schema(tmp_path / name).metadata[b"edgel3_np"])
        assert said == {key: provenance("x")[key] for key in ("model", "weights_sha256", "contract", "options")}


def test_an_exported_table_in_the_folder_is_no_part(both):
    expected = rows(edgel3_np.load(both[1], labels="folder"))
    export(both[1], both[1] / "all.parquet")
    assert rows(edgel3_np.load(both[1], labels="folder")) == expected
    with (
        pytest.raises(EdgeL3Error, match="all.parquet: expected embeddings"),
        pytest.warns(edgel3_np.EdgeL3Warning, match="found: Parquet without recordings, such as an exported table"),
    ):
        edgel3_np.load(both[1] / "all.parquet")


def query(tmp_path):
    return save(tmp_path / "query.npz", np.random.default_rng(99).standard_normal((9, DIM)))


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("top", [1, 4, 100])
def test_hits_are_those_of_npz_files_with_an_index_and_without(both, tmp_path, moments, top):
    wanted = query(tmp_path)
    one, other = (similar(wanted, folder, top=top, moments=moments) for folder in both)
    assert [hit[:3] + hit[4:] for hit in one] == [hit[:3] + hit[4:] for hit in other]
    assert {os.path.dirname(hit.path) for hit in other} == {str(both[1])}
    for folder in (*both, tmp_path):
        update_index(folder)
        found = similar(wanted, folder, top=top, moments=moments)
        assert found == similar(wanted, folder, top=top, moments=moments, index=False) and found


@pytest.mark.parametrize("seed", range(3))
def test_an_index_of_both_forms_that_changes(tmp_path, seed):
    """Parts and files that come, change and go: hits are always those of the exact search."""
    rng, folder, wanted = np.random.default_rng(seed), tmp_path / "c", query(tmp_path)
    for turn in range(5):
        for number in rng.integers(0, 6, 3):
            path = folder / f"part-1-of-1-{number:05}.parquet"
            if path.exists() and rng.random() < 0.3:
                path.unlink()
            else:
                save_part(path, embeddings(rng.integers(1, 9), 10 * turn + number))
            save(folder / f"{number}.npz", rng.standard_normal((5, DIM)))
        if turn != 3:
            update_index(folder)
        for moments in (True, False):
            problems = []
            options = {"moments": moments, "top": 7, "on_problem": problems.append}
            if turn == 3:
                with pytest.warns(edgel3_np.EdgeL3Warning, match="stale"):
                    found = similar(wanted, folder, **options)
            else:
                found = similar(wanted, folder, **options)
            assert found == similar(wanted, folder, index=False, **options)
            assert not problems


def test_a_search_keeps_few_parts_open(both, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_OPEN", 1)
    update_index(both[1])
    wanted = query(tmp_path)
    assert similar(wanted, both[1], top=99) == similar(wanted, both[1], top=99, index=False)
    opened = Opened()
    files = sorted(both[1].glob("*.parquet"))
    assert [opened.result(Place(str(path), 1)).dim for path in files * 2] == [DIM] * 6
    assert len(opened._files) == 1
    opened.close()
    assert not opened._files


def test_a_part_is_no_query(both):
    part = both[1] / "part-1-of-1-00000.parquet"
    with pytest.raises(EdgeL3Error, match="expected a recording or its embeddings .npz., found a table"):
        similar(part, both[1])


def test_results_are_those_of_an_npz(both, tmp_path):
    (number, result), *_ = read_results(str(both[1] / "part-1-of-1-00000.parquet"))
    assert number == Place(str(both[1] / "part-1-of-1-00000.parquet"), 0)
    part, whole = both[1] / "part-1-of-1-00000.parquet", both[0] / "a" / "0.npz"
    with open_place(Place(str(part), 0)) as found, open_place(Place(str(whole))) as expected:
        assert expected.provenance.pop("embedding_sha256")  # which a table does not have
        assert found.provenance == expected.provenance and found.dim == expected.dim
        assert np.concatenate(list(found.embedding)).tobytes() == np.concatenate(list(expected.embedding)).tobytes()
        assert found.timestamps().tolist() == expected.timestamps().tolist()
    with pytest.raises(EdgeL3Error, match="expected at least 5 recordings, found 4"), open_place(Place(str(part), 4)):
        pass
    assert provenance_of(part) == {key: value for key, value in provenance("x").items() if key != "input"}
    assert provenance_of(tmp_path / "none.parquet") is None


def test_a_recording_in_several_row_groups(tmp_path, monkeypatch):
    embedding = np.random.default_rng(0).standard_normal((1000, DIM)).astype(np.float32)
    path = save_part(tmp_path / "part-1-of-1-00000.parquet", {"long.wav": embedding}, group=130)
    expected = save(tmp_path / "npz" / "long.npz", embedding)
    monkeypatch.setattr(part_module, "CHUNK_FLOATS", 77 * DIM)
    monkeypatch.setattr(results, "CHUNK_FLOATS", 77 * DIM)
    with open_place(Place(str(path), 0)) as found, open_place(Place(str(expected))) as whole:
        for one, other in zip(found.embedding, whole.embedding):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found.timestamps(), times(1000))
    export(path, tmp_path / "all.npy")  # it is read twice
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), embedding)


def test_entries_are_packed_and_read_back():
    entries = [
        Entry("a/1.wav", "/r", 5, -3, 2),
        Entry("\udcff.wav", "/s\udcff", 2**60, 10**18, 1, ("short", "silent"), True),
        Entry("b", "", 0, 0, 7, ("short",)),
    ]
    found = Entries(pack_entries(entries), "x", 10)
    assert [found[number] for number in range(len(found))] == entries
    assert list(found.names()) == [entry.name for entry in entries]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=9), min_size=1),
    st.lists(st.text(max_size=9), min_size=1),
    st.integers(1, 150),
    st.integers(40, 150),
)
def test_what_readers_refuse_is_not_written(monkeypatch, names, texts, most_names, most_said):
    monkeypatch.setattr(part_module, "MAX_NAMES_BYTES", most_names)
    monkeypatch.setattr(part_module, "MAX_SAID_BYTES", most_said)
    monkeypatch.setattr(part_module, "MAX_RECORDINGS", 9)
    rng = np.random.default_rng(len(names))
    entries = [Entry(name, rng.choice(texts), 1, 2, 1, (str(rng.choice(texts)),)) for name in names]
    entries = [entry._replace(root=str(entry.root)) for entry in entries]
    try:
        content = pack_entries(entries)
    except EdgeL3Error as error:
        assert error.kind == "output" and "expected at most" in str(error)
        with monkeypatch.context() as patch:
            for name in ("MAX_NAMES_BYTES", "MAX_SAID_BYTES", "MAX_RECORDINGS"):
                patch.setattr(part_module, name, 1 << 20)
            content = pack_entries(entries)
        with pytest.raises((ValueError, EdgeL3Error)):
            Entries(content, "x", len(entries))
        return
    found = Entries(content, "x", len(entries))
    assert [found[number] for number in range(len(found))] == entries


@pytest.mark.parametrize(
    "change",
    [
        {"said": np.frombuffer(b'{"format": 1, "roots": [' + b"[]," * 5_500_000 + b"[]]}", np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": [' + b"{}," * 300_000 + b"{}]}", np.uint8)},
        {"names": np.zeros(1 << 24, np.uint8)},
        {"names": np.zeros(1 << 23, np.uint8)},
        {"windows": np.ones(1 << 24, np.uint64)},
    ],
    ids=["16 MB of lists", "1 MB of objects", "16 MB of names", "8 MB of names", "128 MB of windows"],
)
def test_entries_that_are_larger_than_they_look_take_no_memory(change):
    content = repacked(pack_entries([Entry("a", "", 1, 2, 1)]), np.savez_compressed, **change)
    assert len(content) < 300_000
    tracemalloc.start()
    with pytest.raises((ValueError, EdgeL3Error)):
        Entries(content, "x", 1 << 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20


def test_messages_say_what_to_do_with_a_damaged_part(both, tmp_path):
    """Every reader's message does; but nobody is told to remove a table that is no part."""
    path = both[1] / "part-1-of-1-00001.parquet"
    export(path, tmp_path / "all.parquet")
    content = path.read_bytes()
    for damaged in (b"", content[:-9], content[:40] + bytes(len(content) // 3) + content[40 + len(content) // 3 :]):
        path.write_bytes(damaged)
        with pytest.raises(EdgeL3Error, match="; remove it, and embed its recordings again$"):
            for _, result in read_results(str(path)):
                list(result.embedding)
        with pytest.raises(EdgeL3Error) as caught:
            list(read_results(str(tmp_path / "all.parquet")))
        assert "remove" not in str(caught.value)


def repacked(content, save=np.savez, **changes):
    arrays = {**np.load(io.BytesIO(base64.b64decode(content))), **changes}
    file = io.BytesIO()
    save(file, **{key: array for key, array in arrays.items() if array is not None})
    return base64.b64encode(file.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        {"said": np.frombuffer(b"{", np.uint8)},
        {"said": np.frombuffer(b"[" * 9999, np.uint8)},
        {"said": np.frombuffer(b'{"format": 2, "roots": [""], "notes": [[false, []]]}', np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": [5], "notes": [[false, []]]}', np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": [], "notes": [[false, []]]}', np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": [""], "notes": [[5, []]]}', np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": [""], "notes": [[true, [5]]]}', np.uint8)},
        {"said": np.frombuffer(b'{"format": 1, "roots": "a", "notes": {"a": 1}}', np.uint8)},
        {"said": None},
        {"names": np.frombuffer(b"a\0b\0c", np.uint8)},
        {"names": np.frombuffer(b"a\0b", np.uint8)},
        {"names": np.zeros(99, np.uint8)},
        {"windows": np.array([2, 9], np.uint64)},
        {"windows": np.array([0, 10], np.uint64)},
        {"windows": np.array([2**63 + 20, 2**63 - 10], np.uint64)},
        {"windows": np.array([2, 8])},
        {"windows": np.array([10], np.uint64)},
        {"root": np.array([0, 1], np.uint64)},
        {"note": np.array([0, 2**63], np.uint64)},
        {"bytes": np.array([{}, {}], object)},
    ],
    ids=repr,
)
def test_entries_that_lie_are_refused(change):
    content = pack_entries([Entry("a", "", 1, 2, 2), Entry("b", "", 1, 2, 8)])
    Entries(content, "x", 10)
    with pytest.raises((ValueError, EdgeL3Error, RecursionError)):
        Entries(repacked(content, **change), "x", 10)
    for other in (b"", b"?", content[:-8], base64.b64encode(b"x" * 99)):
        with pytest.raises((ValueError, EdgeL3Error)):
            Entries(other, "x", 10)


def test_hostile_parts_are_named_and_the_others_are_read(tmp_path):
    """None of them takes memory, and no reader stops at them."""
    names = hostile_parts(tmp_path / "c")
    good = embeddings()
    save_part(tmp_path / "c" / "part-2-of-2-00000.parquet", good)
    wanted, expected = query(tmp_path), sum(map(len, good.values()))

    def check(problems):
        texts = list(map(str, problems))
        assert len(texts) == len(names)
        for name in names:
            assert sum(f"{name}: " in text for text in texts) == 1, name

    files, problems = find_results([tmp_path / "c"])
    assert not problems and len(files) == len(names) + 1
    tracemalloc.start()
    problems = []
    found = list(read_recordings(files, lambda place, parts: sum(map(len, parts)), problems.append))
    assert sum(recording.parts for recording in found) == expected
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    check(problems)
    with pytest.warns(edgel3_np.EdgeL3Warning) as caught:
        assert len(edgel3_np.load(tmp_path / "c").time) == expected
    check([warning.message for warning in caught])
    problems = []
    assert export(tmp_path / "c", tmp_path / "all.npy", on_problem=problems.append).windows == expected
    check(problems)
    problems = []
    assert len(similar(wanted, tmp_path / "c", top=99, on_problem=problems.append)) == len(good)
    check(problems)
    problems = []
    done = update_index(tmp_path / "c", on_problem=problems.append)
    assert (done.windows, done.failed) == (expected, len(names))
    check(problems)
    problems = []
    assert len(similar(wanted, tmp_path / "c", top=99, on_problem=problems.append)) == len(good)
    check(problems)


def test_a_part_that_is_damaged_after_it_was_indexed_is_named_once(both, tmp_path):
    update_index(both[1])
    path = both[1] / "part-1-of-1-00001.parquet"
    info, content = path.stat(), path.read_bytes()
    with open(path, "r+b") as file:  # in place: the folder's time stays
        file.write(bytes(len(content) - 8))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    problems = []
    found = similar(query(tmp_path), both[1], top=99, on_problem=problems.append)
    assert len(found) == 8 and len(problems) == 1 and "00001.parquet: expected a part of a table" in str(problems[0])


def test_a_part_of_another_model_is_refused(both):
    save_part(both[1] / "part-1-of-1-00007.parquet", embeddings(2), sha256="b" * 64)
    with pytest.raises(EdgeL3Error, match="expected embeddings of one model"):
        edgel3_np.load(both[1])


def test_parts_are_read_without_pyarrow(both, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert rows(edgel3_np.load(both[1], labels="folder")) == rows(edgel3_np.load(both[0], labels="folder"))
    assert similar(query(tmp_path), both[1])
    with pytest.raises(EdgeL3Error, match="expected pyarrow, but it cannot be imported"):
        edgel3_np.iter_files(tmp_path, tmp_path / "out", format="parquet")


def test_a_part_of_a_moved_folder_is_read(both, tmp_path):
    shutil.move(both[1], tmp_path / "moved")
    with open_part(tmp_path / "moved" / "part-1-of-1-00000.parquet") as part:
        assert len(part.entries) == 4 and part.about["model"] == "m"
