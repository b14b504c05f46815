import json
import os
import stat

import numpy as np
import pytest

from edgel3_np.output import atomic, read_provenance, save_embedding


def times(count, first):
    return np.arange(first, first + count) * 0.1


def test_what_is_written_is_read_back(tmp_path):
    pieces = [np.arange(6, dtype=np.float32).reshape(2, 3), np.full((1, 3), 7, np.float32)]
    provenance = {"model": "m", "options": {"hop_size": 0.1}, "input": {"name": "a\udcff"}}
    assert save_embedding(tmp_path / "a.npz", pieces, times, provenance) == 3
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["embedding", "provenance", "timestamps"]
        np.testing.assert_array_equal(archive["embedding"], np.concatenate(pieces))
        np.testing.assert_array_equal(archive["timestamps"], times(3, 0))
        assert archive["embedding"].dtype == np.float32 and archive["timestamps"].dtype == np.float64
        assert json.loads(str(archive["provenance"])) == provenance
    assert read_provenance(tmp_path / "a.npz") == provenance


def test_embeddings_are_not_all_in_memory(tmp_path):
    """120 MB of them, in pieces: through a file that has no name, and goes with the process."""
    import tracemalloc

    rng = np.random.default_rng(0)
    row = rng.standard_normal(1000).astype(np.float32)
    tracemalloc.start()
    count = save_embedding(tmp_path / "a.npz", (np.tile(row, (100, 1)) * i for i in range(300)), times, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000 and peak < 32 << 20
    with np.load(tmp_path / "a.npz") as archive:
        embedding = archive["embedding"]
        assert (embedding.shape, archive["timestamps"][-1]) == ((30_000, 1000), times(1, 29_999)[0])
    for i in (0, 10, 11, 299):
        assert (embedding[100 * i : 100 * i + 100] == row * np.float32(i)).all()
    assert os.listdir(tmp_path) == ["a.npz"]


def test_the_same_bytes_every_time(tmp_path):
    for name in "ab":
        save_embedding(tmp_path / name, [np.ones((2, 3), np.float32)], times, {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_provenance_of_what_is_no_result_of_ours(tmp_path):
    path = tmp_path / "a.npz"
    assert read_provenance(path) is None and read_provenance(tmp_path) is None
    save_embedding(path, [np.ones((2, 3), np.float32)], times, {"a": 1})
    good = path.read_bytes()
    for end in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:end])
        assert read_provenance(path) is None
    place = good.index('{"a"'.encode("utf-32-le"))
    path.write_bytes(good[:place] + b"[" + good[place + 1 :])  # the checksum tells
    assert read_provenance(path) is None
    for content in ([1], None, "text"):
        save_embedding(path, [np.ones((2, 3), np.float32)], times, content)
        assert read_provenance(path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX's")
def test_a_fifo_in_place_of_a_result_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    assert read_provenance(tmp_path / "a.npz") is None


@pytest.mark.parametrize("nameless", [True, False])
def test_where_files_have_names_a_failure_leaves_none(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr("edgel3_np.output._nameless", lambda directory: None)
    with atomic(tmp_path / "a") as file:
        file.write(b"new")
        assert bool(os.listdir(tmp_path)) != (nameless and hasattr(os, "O_TMPFILE"))
    with pytest.raises(RuntimeError), atomic(tmp_path / "a") as file:
        file.write(b"newer")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_success_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    with atomic(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_permissions_are_those_of_any_new_file(tmp_path):
    with atomic(tmp_path / "a") as file:
        file.write(b"")
    (tmp_path / "b").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_a_link_is_replaced_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    (tmp_path / "out").symlink_to(target)
    with atomic(tmp_path / "out") as file:
        file.write(b"new")
    assert target.read_bytes() == b"mine" and (tmp_path / "out").read_bytes() == b"new"


def test_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "none" / "a"):
        pass


def test_long_names(tmp_path):
    path = tmp_path / ("x" * 251 + ".npz")
    with atomic(path) as file:
        file.write(b"1")
    assert path.read_bytes() == b"1"
