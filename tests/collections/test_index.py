"""Tests of the index: what it finds is what a search without it finds, to the bit, whatever has happened to it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from collection_files import DIM, hostile, save
from hypothesis import given
from hypothesis import strategies as st

import edgel3_np
from edgel3_np import EdgeL3Error, EdgeL3Warning
from edgel3_np.collections import index as index_module
from edgel3_np.collections import indexing, matrices, search
from edgel3_np.collections.index import FOLDER, TABLE, _maxima, bounds, is_fresh, open_index
from edgel3_np.collections.indexing import update_index
from edgel3_np.collections.search import similar


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Tests that do not say otherwise take file times as settled: they change names, sizes or times that differ."""
    monkeypatch.setattr(indexing, "SETTLED", 0.03)


def fill(folder, count=30, seed=0, dim=DIM):
    """Write files of embeddings in nested folders; return their paths."""
    rng = np.random.default_rng(seed)
    return [
        save(
            folder / f"{number % 3}" / "d" / f"{number:03}.npz",
            np.maximum(0, rng.standard_normal((rng.integers(1, 60), dim)) + 2 * rng.standard_normal(dim)),
        )
        for number in range(count)
    ]


@pytest.fixture
def collection(tmp_path):
    files = fill(tmp_path / "c")
    update_index(tmp_path / "c")
    return files


def both(query, folder, **options):
    """Search with the index and without it; return what both find, which is equal, and the files that were read."""
    read, real = [], search.search_file
    problems = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "search_file", lambda path, *more: read.append(path) or real(path, *more))
        found = similar(query, folder, on_problem=problems[0].append, **options)
    assert found == similar(query, folder, on_problem=problems[1].append, index=False, **options)
    assert sorted(map(str, problems[0])) == sorted(map(str, problems[1]))
    return found, read


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("top", [1, 3, 10, 29, 500])
def test_hits_are_those_of_the_exact_search(collection, tmp_path, top, moments):
    for query in collection[:3]:
        found, read = both(query, tmp_path / "c", top=top, moments=moments)
        assert found and len(read) <= len(collection)
        assert top > 3 or len(read) < len(collection)
        both(query, tmp_path / "c", top=top, moments=moments, at=(0.2, 0.9))


@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans(), st.sampled_from([1, 3, 64, 512]))
def test_bounds_are_never_too_low_and_hardly_too_high(seed, count, moments, dim):
    """Also for embeddings that are nearly equal, tiny or huge, where float32 rounds most."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-30, 30, (count, 1))
    rows = (scale * (1 + 10.0 ** rng.integers(-8, 1) * rng.standard_normal((count, dim)))).astype(np.float32)
    unit = rng.standard_normal(dim)
    unit /= np.linalg.norm(unit)
    wide = rows.astype(np.float64)
    cosines = wide @ unit / np.linalg.norm(wide, axis=1)
    stored = matrices._units(wide)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "cosines_of", lambda path, count, query: stored @ query)
        every = np.arange(count)
        space = edgel3_np.collections.gather.EmbeddingSpace("a", 1, dim)
        index = index_module.Index(
            "", space, [], every, every, every, every * 0 + 1, every, "", "", (count, count), {}, []
        )
        found = bounds(index, unit, moments)
    assert (found >= cosines).all() and (found <= cosines + 3 * (dim + 4) * 2.0**-24).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=12), st.integers(0, 3), st.randoms())
def test_maxima_of_parts_in_any_order_with_gaps(parts, rest, random):
    firsts, counts, place = [], [], 0
    for gap, count in parts:
        firsts.append(place + gap)
        counts.append(count)
        place += gap + count
    values = np.random.default_rng(len(parts)).permutation(place + rest).astype(np.float32)
    order = list(range(len(parts)))
    random.shuffle(order)
    firsts, counts = np.array(firsts, int)[order], np.array(counts, int)[order]
    expected = [values[first : first + count].max() for first, count in zip(firsts, counts)]
    assert _maxima(values, firsts, counts).tolist() == expected


def test_only_what_has_changed_is_read(collection, tmp_path):
    folder = tmp_path / "c"
    assert update_index(folder)[2:] == (0, 30, 0, 0)
    save(collection[4], np.random.default_rng(9).random((7, DIM)))
    save(folder / "new" / "n.npz", np.random.default_rng(8).random((9, DIM)))
    collection[7].unlink()
    shutil.rmtree(folder / "2")
    done = update_index(folder)
    assert (done.read, done.kept, done.gone, done.files) == (2, 18, 11, 20)
    assert is_fresh(open_index(folder))
    assert done.windows == sum(
        len(np.load(path)["embedding"]) for path in folder.rglob("*.npz") if FOLDER not in path.parts
    )
    both(collection[0], folder)


def test_rows_of_files_that_are_gone_are_reclaimed(tmp_path):
    folder = tmp_path / "c"
    files = fill(folder, 12)
    for turn in range(6):
        for number, path in enumerate(files):
            save(path, np.random.default_rng(100 * turn + number).random((20, DIM)))
        update_index(folder)
        index = open_index(folder)
        assert index.rows[0] <= 2.6 * 12 * 20
        assert len(list((folder / FOLDER).glob("*.f32"))) == 2
        both(files[0], folder)
    files[0].unlink()
    for path in files[3:]:
        path.unlink()
    assert update_index(folder).files == 2 and open_index(folder).rows == (40, 2)


def test_a_stale_index_says_so_and_finds_the_same(collection, tmp_path):
    folder = tmp_path / "c"
    copy = np.load(collection[0])["embedding"]
    save(folder / "0" / "d" / "twin.npz", copy + np.float32(1e-3))
    save(collection[5], copy + np.float32(1e-2))
    collection[6].unlink()
    for moments in (True, False):
        with pytest.warns(EdgeL3Warning, match=r"index is stale \(new or changed files: 2, gone: 1\)"):
            found, read = both(collection[0], folder, top=3, moments=moments)
        assert moments or {Path(hit.path).name for hit in found} >= {"twin.npz", "005.npz"}
        assert len(read) < 15
    update_index(folder)
    both(collection[0], folder, top=3)  # a warning would fail


def test_a_new_folder_and_a_change_below_are_noticed(collection, tmp_path):
    folder = tmp_path / "c"
    assert is_fresh(open_index(folder))
    (folder / "1" / "e").mkdir()
    assert not is_fresh(open_index(folder))
    both(collection[0], folder)  # nothing to find in it: no warning
    update_index(folder)
    assert is_fresh(open_index(folder))
    save(folder / "1" / "e" / "x.npz", np.ones((3, DIM)))
    with pytest.warns(EdgeL3Warning, match=r"\(new or changed files: 1, gone: 0\)"):
        similar(collection[0], folder)


def test_a_folder_that_changes_while_it_is_indexed_is_never_taken_for_fresh(tmp_path, monkeypatch):
    files = fill(tmp_path / "c")
    real = indexing.find_results

    def find(paths):
        found = real(paths)
        save(tmp_path / "c" / "0" / "d" / "late.npz", np.ones((3, DIM)))
        return found

    monkeypatch.setattr(indexing, "find_results", find)
    assert update_index(tmp_path / "c").files == 30
    assert not is_fresh(open_index(tmp_path / "c"))
    with pytest.warns(EdgeL3Warning, match=r"\(new or changed files: 1"):
        both(files[0], tmp_path / "c")
    monkeypatch.undo()
    monkeypatch.setattr(indexing, "SETTLED", 60.0)  # directories that have just changed
    monkeypatch.setattr(indexing.time, "sleep", lambda seconds: None)
    assert update_index(tmp_path / "c").files == 31 and not is_fresh(open_index(tmp_path / "c"))
    both(files[0], tmp_path / "c")


def test_files_that_cannot_be_read_are_said_each_time(tmp_path):
    names, problems = hostile(tmp_path / "c"), []
    files = fill(tmp_path / "c" / "good")
    done = update_index(tmp_path / "c", on_problem=problems.append)
    assert done.files == 31 and done.failed == len(names) == len(problems)
    found, _ = both(files[0], tmp_path / "c")
    assert len(found) == 10
    again = []
    assert update_index(tmp_path / "c", on_problem=again.append).kept == 31
    assert sorted(map(str, again)) == sorted(map(str, problems))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        update_index(tmp_path / "c")
    assert sorted(str(warning.message) for warning in caught) == sorted(map(str, problems))


def test_embeddings_of_two_models(tmp_path):
    files = fill(tmp_path / "c")
    update_index(tmp_path / "c")
    before = (tmp_path / "c" / FOLDER / TABLE).read_bytes()
    save(tmp_path / "c" / "z.npz", np.ones((3, DIM)), weights_sha256="b" * 64)
    with pytest.raises(EdgeL3Error, match=r"z.npz: expected embeddings of one model"):
        update_index(tmp_path / "c")
    assert (tmp_path / "c" / FOLDER / TABLE).read_bytes() == before
    with pytest.raises(EdgeL3Error, match=r"z.npz: expected embeddings of one model"):
        similar(files[0], tmp_path / "c")
    other = save(tmp_path / "other.npz", np.ones((3, DIM)), weights_sha256="b" * 64)
    (tmp_path / "c" / "z.npz").unlink()
    update_index(tmp_path / "c")
    with pytest.raises(EdgeL3Error, match=r"expected embeddings of one model"):
        similar(other, tmp_path / "c")


def test_several_paths(collection, tmp_path):
    folder, other = tmp_path / "c", tmp_path / "o"
    more = fill(other, 8, seed=3)
    for paths in (
        [folder, other],
        [folder, more[0], other / "1"],
        [folder, folder / "1"],
        [folder / "1", folder],
        [folder, collection[3]],
        [folder, folder],
    ):
        both(collection[0], paths, top=40)
    update_index(other)
    _, read = both(collection[0], [folder, other], top=2)
    assert len(read) < 38
    both(collection[0], [os.path.relpath(other), os.path.relpath(folder)], top=5)


def test_names_that_are_no_text(tmp_path):
    for name in ("a\nb", "ü", " x ", "\udcff", "-", "a;b"):
        save(tmp_path / "c" / f"{name}.npz", np.random.default_rng(len(name)).random((4, DIM)))
    query = save(tmp_path / "q.npz", np.ones((2, DIM)))
    update_index(tmp_path / "c")
    found, _ = both(query, tmp_path / "c", top=9)
    assert len(found) == 6


def test_empty_folders_and_wrong_paths(tmp_path):
    (tmp_path / "e").mkdir()
    with pytest.raises(EdgeL3Error, match="expected embeddings"):
        update_index(tmp_path / "e")
    assert os.listdir(tmp_path / "e") == []
    path = save(tmp_path / "e" / "x.npz", np.ones((2, DIM)))
    update_index(tmp_path / "e")
    path.unlink()
    assert update_index(tmp_path / "e") == (0, 0, 0, 0, 1, 0)
    query = save(tmp_path / "q.npz", np.ones((2, DIM)))
    with pytest.raises(EdgeL3Error, match="expected embeddings"):
        similar(query, tmp_path / "e")
    for path in (tmp_path / "no", query):
        with pytest.raises(EdgeL3Error, match="expected a directory of embeddings, found none"):
            update_index(path)
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / FOLDER).symlink_to(tmp_path / "e")
    with pytest.raises(EdgeL3Error, match="expected a directory, found a link"):
        update_index(tmp_path / "l")


def mutants(content, rng, count):
    """Yield damaged copies of a file's content."""
    for _ in range(count):
        changed, kind = bytearray(content), rng.integers(3)
        if kind == 0:
            changed = changed[: rng.integers(len(changed))]
        elif kind == 1:
            for place in rng.integers(len(changed), size=rng.integers(1, 8)):
                changed[place] ^= 1 << rng.integers(8)
        else:
            start, end = np.sort(rng.integers(len(changed), size=2))
            changed[start:end] = rng.bytes(int(rng.integers(20)))
        yield bytes(changed)


def test_a_damaged_table_is_said_and_the_files_are_searched(collection, tmp_path):
    table = tmp_path / "c" / FOLDER / TABLE
    content, expected = table.read_bytes(), similar(collection[0], tmp_path / "c", index=False)
    refused = 0
    for changed in mutants(content, np.random.default_rng(0), 200):
        table.write_bytes(changed)
        try:
            open_index(tmp_path / "c")
        except EdgeL3Error as error:
            assert error.kind == "damaged" and "write the index again: edgel3-np index" in str(error)
            refused += 1
            with pytest.warns(EdgeL3Warning, match="all files are searched one by one"):
                assert similar(collection[0], tmp_path / "c") == expected
    assert refused > 150
    assert update_index(tmp_path / "c").files == 30
    both(collection[0], tmp_path / "c")


def test_a_table_that_lies_is_refused(collection, tmp_path):
    folder = tmp_path / "c" / FOLDER
    good = dict(np.load(folder / TABLE))
    said = json.loads(good["metadata"].tobytes())
    for change in (
        {"format": 1},
        {"files": 10**12},
        {"files": "30"},
        {"rows": [10**11, 30]},
        {"rows": [1]},
        {"windows": "../../../etc/passwd"},
        {"windows": "windows-0000000000000000.f32"},
        {"space": ["a", 1, 0]},
        {"space": ["a", 1, 10**9]},
        {"space": ["a", True, 5, 5]},
        {"failed": [["a"]]},
        {"failed": 5},
    ):
        metadata = np.frombuffer(json.dumps({**said, **change}).encode(), np.uint8)
        np.savez(folder / "t.npz", **{**good, "metadata": metadata})
        os.replace(folder / "t.npz", folder / TABLE)
        with pytest.raises(EdgeL3Error, match="write the index again"):
            open_index(tmp_path / "c")
    for key, value in (
        ("firsts", good["firsts"] + np.uint64(10**6)),
        ("counts", good["counts"] * np.uint64(0)),
        ("slots", good["slots"] + np.uint64(2**63)),
        ("names", np.frombuffer(good["names"].tobytes().replace(b"0/d/000.npz", b"/../a/0.npz"), np.uint8)),
        ("names", good["names"][:-1]),
        ("failed", np.frombuffer(b"/etc/x.npz\0", np.uint8)),
        ("failed", np.frombuffer(b"a/../../x.npz\0", np.uint8)),
    ):
        np.savez(folder / "t.npz", **{**good, key: value})
        os.replace(folder / "t.npz", folder / TABLE)
        with pytest.raises(EdgeL3Error, match="write the index again"):
            open_index(tmp_path / "c")
    np.savez_compressed(folder / "t.npz", **good)  # small files that are large in memory
    os.replace(folder / "t.npz", folder / TABLE)
    with pytest.raises(EdgeL3Error, match="expected a stored member, found .* write the index again"):
        open_index(tmp_path / "c")


def test_a_matrix_beyond_memory_is_said(collection, tmp_path):
    """It may be a hole in the disk, which takes no space there."""
    folder = tmp_path / "c" / FOLDER
    good = dict(np.load(folder / TABLE))
    said = json.loads(good["metadata"].tobytes())
    rows = 1 << 39
    metadata = np.frombuffer(json.dumps({**said, "rows": [rows, rows]}).encode(), np.uint8)
    np.savez(folder / "t.npz", **{**good, "metadata": metadata})
    os.replace(folder / "t.npz", folder / TABLE)
    expected = similar(collection[0], tmp_path / "c", index=False)
    try:
        for name in (said["windows"], said["means"]):
            with open(folder / name, "r+b") as file:
                file.truncate(4 * DIM * rows)
    except OSError:
        pytest.skip("this file system has no such holes")
    with pytest.raises(EdgeL3Error, match="expected rows that fit into memory"):
        similar(collection[0], tmp_path / "c")
    assert similar(collection[0], tmp_path / "c", index=False) == expected


def test_a_damaged_matrix_makes_no_wrong_hit(collection, tmp_path):
    """It is read for bounds only: hits and their scores come from the files."""
    expected = similar(collection[0], tmp_path / "c", index=False, top=40)
    for kind, moments in (("windows", True), ("means", False)):
        path = getattr(open_index(tmp_path / "c"), kind)
        rows = np.fromfile(path, "<f4")
        for filled in (np.nan, np.inf, 1e38):
            np.full_like(rows, filled).tofile(path)
            both(collection[0], tmp_path / "c", moments=moments)
        rows[: len(rows) // 2] = -1
        rows.tofile(path)
        scores = {(hit.path, hit.score) for hit in expected}
        assert moments or {(hit.path, hit.score) for hit in similar(collection[0], tmp_path / "c")} <= scores
        with open(path, "r+b") as file:
            file.truncate(40)
        with pytest.warns(EdgeL3Warning, match="expected matrices of at least"):
            similar(collection[0], tmp_path / "c", moments=moments)
        update_index(tmp_path / "c")


KILLED = """
import os, signal, sys
from edgel3_np.collections import indexing, matrices
from edgel3_np.collections.indexing import update_index

where, count = sys.argv[2], int(sys.argv[3])
place = matrices if hasattr(matrices, where) else indexing
real = getattr(place, where)


def die(*given, **options):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given, **options)


setattr(place, where, die)
update_index(sys.argv[1])
"""


def start(*arguments, **options):
    env = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    return subprocess.Popen([sys.executable, "-c", *map(str, arguments)], env=env, **options)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
@pytest.mark.parametrize("where, count", [("_append_file", 0), ("_append_file", 9), ("_write_table", 0), ("_tidy", 0)])
@pytest.mark.parametrize("earlier", [False, True])
def test_killed_while_it_is_written(tmp_path, where, count, earlier):
    files = fill(tmp_path / "c")
    if earlier:
        update_index(tmp_path / "c")
        for path in files[:20]:
            save(path, np.random.default_rng(7).random((30, DIM)))
    assert start(KILLED, tmp_path / "c", where, count).wait(60) == -signal.SIGKILL
    if earlier and where != "_tidy":
        with pytest.warns(EdgeL3Warning, match="stale"):
            both(files[0], tmp_path / "c")
    else:
        both(files[0], tmp_path / "c")
    done = update_index(tmp_path / "c")
    assert done.files == 30 and len(list((tmp_path / "c" / FOLDER).glob("*.f32"))) == 2
    both(files[0], tmp_path / "c")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
def test_two_runs_at_once(tmp_path):
    """The second says that the first is writing, and the index is that of the first; readers see a whole one."""
    files = fill(tmp_path / "c")
    update_index(tmp_path / "c")
    for path in files[:20]:
        save(path, np.random.default_rng(7).random((30, DIM)))
    slow = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print('here', flush=True); input()")
    first = start(slow, tmp_path / "c", "_append_file", 5, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "here\n"
    with pytest.raises(EdgeL3Error, match="another process is writing this index; try again later"):
        update_index(tmp_path / "c")
    with pytest.warns(EdgeL3Warning, match="stale"):
        both(files[0], tmp_path / "c")
    first.communicate("\n" * 20, timeout=60)
    assert first.returncode == 0
    both(files[0], tmp_path / "c")


def test_interrupted_runs_keep_what_they_have_read(tmp_path):
    files = fill(tmp_path / "c")

    def progress(done, count):
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_index(tmp_path / "c", progress=progress)
    assert len(open_index(tmp_path / "c").names) in (11, 12)
    with pytest.warns(EdgeL3Warning, match="stale"):
        both(files[0], tmp_path / "c")
    assert update_index(tmp_path / "c").kept in (11, 12)
    both(files[0], tmp_path / "c")


def test_a_full_disk_leaves_the_earlier_index(collection, tmp_path, monkeypatch):
    folder, before = tmp_path / "c", (tmp_path / "c" / FOLDER / TABLE).read_bytes()
    save(folder / "n.npz", np.ones((3, DIM)))
    real = matrices._append_file

    def fail(path, windows, *more):
        real(path, windows, *more)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matrices, "_append_file", fail)
    with pytest.raises(EdgeL3Error, match="cannot be written: No space left on device") as caught:
        update_index(folder)
    assert caught.value.kind == "output" and (folder / FOLDER / TABLE).read_bytes() == before
    with pytest.warns(EdgeL3Warning, match="stale"):
        both(collection[0], folder)
    (tmp_path / "new").mkdir()
    files = fill(tmp_path / "new")  # no index yet
    with pytest.raises(EdgeL3Error, match="cannot be written: No space left on device"):
        update_index(tmp_path / "new")
    assert not list((tmp_path / "new" / FOLDER).glob("*.f32")) and files  # nothing is left behind


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_file_behind_a_link_to_a_hidden_directory_is_known_to_change(tmp_path):
    """As in git-annex, and where a link leads to a directory that is searched too."""
    for store in (".store", "open"):
        folder = tmp_path / store / "c"
        files = fill(folder / "own", 6)
        (folder / store).mkdir()
        save(folder / store / "x.npz", np.random.default_rng(1).random((9, DIM)))
        (folder / "l.npz").symlink_to(os.path.join(store, "x.npz"))
        update_index(folder)
        both(files[0], folder)
        time.sleep(0.02)
        save(folder / store / "x.npz", np.load(files[0])["embedding"] + 1e-3)
        with pytest.warns(EdgeL3Warning, match="stale"):
            found, _ = both(files[0], folder)
        assert "l.npz" in found[0].path or "x.npz" in found[0].path


def test_times_beyond_those_that_64_bits_hold(tmp_path):
    files = fill(tmp_path / "c", 4)
    for stamp in (-(10**11), 10**11):  # seconds: the years -1200 and 5138
        try:
            os.utime(files[1], (stamp, stamp))
            os.utime(files[1].parent, (stamp, stamp))
        except (OSError, OverflowError):
            pytest.skip("this file system has no such times")
        assert update_index(tmp_path / "c").files == 4
        assert update_index(tmp_path / "c").read == 0
        both(files[0], tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_lock_that_is_a_pipe_or_a_link(tmp_path):
    fill(tmp_path / "c", 3)
    update_index(tmp_path / "c")
    lock = tmp_path / "c" / FOLDER / "lock"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(EdgeL3Error, match="lock: cannot be written"):
        update_index(tmp_path / "c")
    reader = os.open(lock, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(EdgeL3Error, match="expected a file, found a device, pipe or socket; remove it"):
        update_index(tmp_path / "c")
    os.close(reader)
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EdgeL3Error, match="lock: cannot be written"):
        update_index(tmp_path / "c")
    assert not (tmp_path / "elsewhere").exists()


def test_memory_is_bounded(tmp_path):
    rng, dim = np.random.default_rng(0), 512
    for number in range(4):
        save(tmp_path / "c" / f"{number}.npz", rng.random((8000, dim), np.float32))  # 16 MB each
    query = save(tmp_path / "q.npz", rng.random((3, dim)))
    tracemalloc.start()
    update_index(tmp_path / "c")
    building = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    open_index(tmp_path / "c")
    bounds(open_index(tmp_path / "c"), np.ones(dim) / np.sqrt(dim), True)
    asking = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert building < 48 << 20 and asking < 24 << 20 and query


def test_real_file_times_settle(tmp_path, monkeypatch):
    """A file that is written right before or right after the index is never missed."""
    monkeypatch.undo()
    folder = tmp_path / "c"
    for turn in range(4):
        path = save(folder / f"{turn}.npz", np.random.default_rng(turn).random((3, DIM)))
        update_index(folder)
        assert is_fresh(open_index(folder)) and len(open_index(folder).names) == turn + 1
        time.sleep(0.001 * turn)
        save(folder / "late.npz", np.random.default_rng(turn).random((3, DIM)))
        assert not is_fresh(open_index(folder))
        (folder / "late.npz").unlink()
    assert path.exists()
