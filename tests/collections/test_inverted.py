"""Tests of inverted lists: an approximate search finds nearly all hits, with the scores of an exact one."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from collection_files import DIM, save

from edgel3_np import EdgeL3Error, EdgeL3Warning
from edgel3_np.collections import indexing, inverted
from edgel3_np.collections.index import FOLDER, cosines_of, open_index
from edgel3_np.collections.indexing import update_index
from edgel3_np.collections.inverted import approximate_bounds, open_lists, row_type, update_lists
from edgel3_np.collections.search import similar
from edgel3_np.commands.main import main


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(indexing, "SETTLED", 0.03)


def fill(folder, count, seed=0):
    """Write recordings whose windows lie around twenty centres; return their paths."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((20, DIM))
    return [
        save(
            folder / f"{seed}-{number:03}.npz",
            np.maximum(0, rng.standard_normal((40, DIM)) + centres[rng.integers(0, 20, 40)]),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index of 6,000 windows in 64 lists; return its folder and its files."""
    pytest.importorskip("faiss", reason="needs faiss")
    folder = tmp_path_factory.mktemp("inverted")
    files = fill(folder, 150)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "SETTLED", 0.03)
        patch.setattr(inverted, "FEW", 100)
        update_index(folder, approximate=True)
    return folder, files


@pytest.fixture
def few(monkeypatch):
    """Let a search read eight of the lists, and look up few windows."""
    for name, value in (("FEW", 100), ("LEAST", 8), ("LOOKED_UP", 200), ("SHARE", 0.0)):
        monkeypatch.setattr(inverted, name, value)


def test_each_window_is_in_the_list_of_the_nearest_centroid_as_bytes(made):
    index = open_index(made[0])
    lists = open_lists(index)
    windows = np.fromfile(index.windows, "<f4").reshape(-1, DIM)
    rows = np.fromfile(lists.data, row_type(DIM))
    assert len(lists.sizes) == 64 and lists.rows == len(rows) == 6000 == lists.sizes.sum()
    assert sorted(rows["number"]) == list(range(6000))
    similarities = windows[rows["number"]].astype(np.float64) @ lists.centroids.T.astype(np.float64)
    which = np.repeat(np.arange(64), lists.sizes)
    assert (similarities[np.arange(6000), which] >= similarities.max(axis=1) - 1e-6).all()
    stored = lists.low + lists.step * rows["code"].astype(np.float64)
    assert np.abs(stored - windows[rows["number"]]).max() <= 0.51 * lists.step.max()
    for first, size in zip(lists.firsts, lists.sizes):
        assert (np.diff(rows["number"][first : first + size].astype(int)) > 0).all()


def test_hits_are_those_of_the_exact_search_but_for_few(made, few):
    folder, files = made
    same = []
    for query in files[::15]:
        exact = similar(query, folder, moments=True, index=False)
        found = similar(query, folder, moments=True, approximate=True)
        assert found == sorted(found, key=lambda hit: -hit.score)
        every = similar(query, folder, moments=True, top=10_000, index=False)
        assert set(found) <= set(every)  # scores and times are exact
        same.append(len(set(found) & set(exact)) / len(exact))
    assert np.mean(same) >= 0.98


def test_bounds_are_never_too_low(made, few):
    index = open_index(made[0])
    unit = np.random.default_rng(3).random(DIM)
    unit /= np.linalg.norm(unit)
    found = approximate_bounds(index, open_lists(index), unit, 10)
    exact = cosines_of(index.windows, index.rows[0], unit.astype("<f4")).reshape(-1, 40).max(axis=1)
    known = np.isfinite(found)
    assert 5 <= known.sum() < len(found) and exact.argmax() in np.flatnonzero(known)
    assert (found[known] <= exact[known] + 1e-5).all() and found.max() >= exact.max()


def test_what_is_new_is_searched_and_what_is_gone_is_not(made, tmp_path, few):
    folder = tmp_path / "c"
    files = fill(folder, 60)
    update_index(folder, approximate=True)
    lists = open_lists(open_index(folder))
    files[3].unlink()
    new = save(folder / "new.npz", np.load(files[5])["embedding"] + 1e-3)
    update_index(folder)
    index = open_index(folder)
    assert open_lists(index) is not None and open_lists(index).data == lists.data and index.rows[0] > lists.rows
    hits = similar(files[5], folder, moments=True, approximate=True, top=3)
    assert hits == similar(files[5], folder, moments=True, index=False, top=3)
    assert any(hit.path == str(new) for hit in hits)
    assert all(hit.path != str(files[3]) for hit in similar(files[6], folder, moments=True, approximate=True, top=99))
    update_index(folder, approximate=True)  # nearly all windows are in lists: they stay
    assert open_lists(open_index(folder)).data == lists.data
    fill(folder, 20, seed=1)
    update_index(folder, approximate=True)
    assert open_lists(open_index(folder)).rows == open_index(folder).rows[0]
    assert not os.path.exists(lists.data)  # the earlier ones


def test_other_lists_are_none_of_an_index(made, tmp_path, few):
    """The matrix is another one when many files have gone."""
    folder = tmp_path / "c"
    files = fill(folder, 30)
    update_index(folder, approximate=True)
    for file in files[:20]:
        file.unlink()
    update_index(folder)
    assert open_lists(open_index(folder)) is None and len(os.listdir(folder / FOLDER)) == 4
    with pytest.warns(EdgeL3Warning, match="has no inverted lists; write them: edgel3-np index --approximate"):
        found = similar(files[25], folder, moments=True, approximate=True)
    assert found == similar(files[25], folder, moments=True, index=False)


def test_few_windows_are_in_one_list(tmp_path):
    pytest.importorskip("faiss", reason="needs faiss")
    folder = tmp_path / "c"
    files = fill(folder, 9)
    update_index(folder, approximate=True)
    assert len(open_lists(open_index(folder)).sizes) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = similar(files[2], folder, moments=True, approximate=True)
    assert found == similar(files[2], folder, moments=True, index=False)


def damaged(folder):
    """Yield names of damage, and functions that do it."""
    (head,), (data,) = (folder / FOLDER).glob("*.lists"), (folder / FOLDER).glob("*.rows")
    whole, rows = head.read_bytes(), data.read_bytes()

    yield "cut", lambda: head.write_bytes(whole[:-30])
    yield "flipped", lambda: head.write_bytes(whole[:900] + bytes([whole[900] ^ 1]) + whole[901:])
    yield "empty", lambda: head.write_bytes(b"")
    yield "rows cut", lambda: data.write_bytes(rows[:-1])
    yield "rows long", lambda: data.write_bytes(rows + b"0")
    yield "rows gone", data.unlink
    yield "numbers too large", lambda: data.write_bytes(b"\xff" * len(rows))


def test_damaged_lists_are_said_and_all_windows_are_searched(made, tmp_path, few):
    folder = tmp_path / "c"
    files = fill(folder, 40)
    update_index(folder, approximate=True)
    exact = similar(files[5], folder, moments=True, index=False)
    kept = {path: path.read_bytes() for path in (folder / FOLDER).iterdir() if path.suffix in (".lists", ".rows")}
    count = 0
    for name, damage in damaged(folder):
        damage()
        with pytest.warns(EdgeL3Warning, match="all windows are searched"):
            assert similar(files[5], folder, moments=True, approximate=True) == exact, name
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert similar(files[5], folder, moments=True) == exact  # the index itself is whole
        for path, content in kept.items():
            path.write_bytes(content)
        count += 1
    assert count == 7
    next((folder / FOLDER).glob("*.lists")).write_bytes(b"no zip file")
    update_index(folder, approximate=True)  # writes them again
    assert open_lists(open_index(folder)).rows == 1600


def rewritten(folder, **changed):
    """Write the head of the lists with other members."""
    from edgel3_np.collections.results import write_parts

    (path,) = (folder / FOLDER).glob("*.lists")
    with np.load(path) as archive:
        members = {**archive, **{key: value(archive[key]) for key, value in changed.items()}}
    with open(path, "wb") as file:
        write_parts(file, {key: (array.dtype.str, array.shape, [array]) for key, array in members.items()})


def metadata(old, new):
    """Return a function that changes the metadata."""
    return lambda array: np.frombuffer(array.tobytes().replace(old, new), np.uint8)


HOSTILE = {
    "a path": {"metadata": metadata(b'"windows-', b'"../windows-')},
    "another format": {"metadata": metadata(b'"format": 1', b'"format": 2')},
    "no lists": {"metadata": metadata(b'"lists": ', b'"lists": 0, "x": ')},
    "no number": {"metadata": metadata(b'"rows": ', b'"rows": 1.5, "x": ')},
    "more rows": {"metadata": metadata(b'"rows": ', b'"rows": 4000000000, "x": ')},
    "no JSON": {"metadata": metadata(b"{", b"[")},
    "deep": {"metadata": lambda array: np.frombuffer(b"[" * 60_000, np.uint8)},
    "sizes": {"sizes": lambda array: array[::-1] + 1},
    "huge sizes": {"sizes": lambda array: array + np.uint64(1 << 63)},
    "NaN": {"centroids": lambda array: array * np.float32(np.nan)},
    "another shape": {"low": lambda array: array[1:]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lists(made, tmp_path, few, name):
    folder = tmp_path / "c"
    files = fill(folder, 20)
    update_index(folder, approximate=True)
    with np.errstate(all="ignore"):
        rewritten(folder, **HOSTILE[name])
    with pytest.raises(EdgeL3Error, match="edgel3-np index --approximate"):
        open_lists(open_index(folder))
    with pytest.warns(EdgeL3Warning, match="all windows are searched"):
        found = similar(files[5], folder, moments=True, approximate=True)
    assert found == similar(files[5], folder, moments=True, index=False)


def test_a_full_disk_leaves_the_earlier_lists(made, tmp_path, few, monkeypatch):
    folder = tmp_path / "c"
    fill(folder, 20)
    update_index(folder, approximate=True)
    before = open_lists(open_index(folder))
    fill(folder, 20, seed=1)

    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(inverted, "write_parts", full)
        with pytest.raises(EdgeL3Error, match="No space left on device"):
            update_index(folder, approximate=True)
    assert open_lists(open_index(folder)).data == before.data
    update_index(folder, approximate=True)
    assert len(list((folder / FOLDER).glob("*.rows"))) == 1  # what was left behind is gone


@pytest.mark.skipif(os.name != "posix", reason="needs limits of POSIX")
def test_a_disk_that_is_really_full_is_an_error(made, tmp_path):
    """A map into memory of a file that the disk cannot hold would end the process."""
    fill(tmp_path / "c", 150)
    update_index(tmp_path / "c")
    code = (
        "import resource, signal, sys\n"
        "from edgel3_np.collections.indexing import update_index\n"
        "import faiss\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"  # the rows take 120,000 bytes
        "update_index(sys.argv[1], approximate=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "EdgeL3Error" in done.stderr and "cannot be written: File too large" in done.stderr
    assert not list((tmp_path / "c" / FOLDER).glob("*.rows"))
    update_index(tmp_path / "c", approximate=True)
    assert open_lists(open_index(tmp_path / "c")).rows == 6000


def test_a_long_list_takes_little_memory_and_time(made, tmp_path, few, monkeypatch):
    """All windows are in one list, as those of silence may be."""
    monkeypatch.setattr(inverted, "BLOCK", 64 * DIM)
    monkeypatch.setattr(inverted, "LOOKED_UP", 10)
    kept, real = [], inverted._best

    def best(numbers, cosines, wanted):
        kept.append(len(numbers))
        return real(numbers, cosines, wanted)

    monkeypatch.setattr(inverted, "_best", best)
    index = open_index(made[0])
    one = open_lists(index)
    one = one._replace(firsts=np.array([0]), sizes=np.array([6000]), centroids=one.centroids[:1])
    unit = np.random.default_rng(3).random(DIM)
    numbers = inverted._candidates(index, one, unit.astype("<f4"), 10)
    assert len(numbers) == 10 and max(kept) <= 80 + 64 and len(kept) > 40
    windows = np.fromfile(index.windows, "<f4").reshape(-1, DIM)
    assert np.argmax(windows @ unit) in numbers


def test_without_faiss_there_is_one_error_and_nothing_is_written(tmp_path, monkeypatch):
    fill(tmp_path / "c", 3)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(EdgeL3Error, match=r'expected faiss, .*pip install "edgel3_np\[ann\]"'):
        update_index(tmp_path / "c", approximate=True)
    assert not (tmp_path / "c" / FOLDER).exists()
    with pytest.raises(EdgeL3Error, match="expected faiss"):
        update_lists(open_index(tmp_path / "c"))


def test_asking_does_not_import_faiss(made):
    code = (
        "import sys\n"
        "from edgel3_np.collections.search import similar\n"
        "assert similar(sys.argv[1], sys.argv[2], moments=True, approximate=True)\n"
        "assert 'faiss' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(made[1][0]), str(made[0])], check=True, timeout=100)


def test_recordings_are_always_searched_exactly(made):
    with pytest.raises(EdgeL3Error, match="expected a search for moments, found one for recordings"):
        similar(made[1][0], made[0], approximate=True)
    assert main(["similar", "--approximate", str(made[1][0]), str(made[0])]) == 2


def test_command_line(made, tmp_path, capsys):
    folder = tmp_path / "c"
    files = fill(folder, 5)
    assert main(["index", "--approximate", str(folder)]) == 0
    assert main(["similar", "--moments", "--approximate", "--top", "3", str(files[0]), str(folder)]) == 0
    found = capsys.readouterr()
    assert "200 embeddings" in found.err and found.out.count("\n") == 4
    assert main(["similar", "--moments", "--top", "3", str(files[0]), str(folder)]) == 0
    assert capsys.readouterr().out == found.out
