import json
import os
import stat

import numpy as np
import pytest

from edgel3_np import Embedding
from edgel3_np.output import atomic, save_embedding


def test_what_is_written_is_read_back(tmp_path):
    result = Embedding(np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0.0, 0.1]))
    save_embedding(tmp_path / "a.npz", result, {"model": "m", "options": {"hop_size": 0.1}})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["embedding", "provenance", "timestamps"]
        np.testing.assert_array_equal(archive["embedding"], result.embedding)
        np.testing.assert_array_equal(archive["timestamps"], result.timestamps)
        assert json.loads(str(archive["provenance"])) == {"model": "m", "options": {"hop_size": 0.1}}


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
