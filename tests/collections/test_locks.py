"""Tests of locks: one owner at a time, and nothing is left behind."""

import multiprocessing
import os
import threading

import pytest

from edgel3_np import EdgeL3Error
from edgel3_np.collections.locks import lock


def test_one_owner_at_a_time(tmp_path):
    path = str(tmp_path / "new" / "a.lock")
    with lock(path, "somebody works", remove=True):
        with (
            pytest.raises(EdgeL3Error, match="new: somebody works; try again") as caught,
            lock(path, "somebody works"),
        ):
            pass
        assert caught.value.kind == "output"
        with lock(str(tmp_path / "new" / "b.lock"), "", remove=True):
            pass
        assert os.listdir(tmp_path / "new") == ["a.lock"]
    assert not (tmp_path / "new").exists()
    with lock(path, ""):
        pass
    assert os.path.exists(path)


def test_the_lock_is_free_after_an_error(tmp_path):
    path = str(tmp_path / "a" / "lock")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock(path, "", remove=True):
            raise ZeroDivisionError
    assert not os.path.exists(path)


def count(path, folder, turns):
    """Read a number from a file and write the next one: without the lock, two processes lose some."""
    for _ in range(turns):
        with lock(path, "", wait=True, remove=True):
            number = int((folder / "number").read_text())
            (folder / "number").write_text(str(number + 1))


def test_many_owners_who_wait_and_remove(tmp_path):
    (tmp_path / "number").write_text("0")
    arguments = str(tmp_path / "locks" / "lock"), tmp_path, 200
    workers = [multiprocessing.Process(target=count, args=arguments) for _ in range(3)]
    workers += [threading.Thread(target=count, args=arguments)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "number").read_text() == "800" and not (tmp_path / "locks").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeL3Error, match="cannot be written"), lock(str(tmp_path / "file" / "a" / "lock"), ""):
        pass
