import os
import stat

import pytest

from edgel3_np.collections.atomic import atomic


@pytest.mark.parametrize("nameless", [True, False])
def test_a_failure_leaves_no_temporary_file_with_or_without_nameless_files(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr("edgel3_np.collections.atomic._open_nameless", lambda directory: None)
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


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has permissions")
def test_permissions_are_the_same_as_of_any_new_file(tmp_path):
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


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without a name here")
def test_a_new_file_gets_its_name_in_one_step(tmp_path, monkeypatch):
    """A process that is killed between two steps would leave a file of another name."""
    steps = []

    def watch(name):
        step = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *arguments, **options: steps.append(name) or step(*arguments, **options))

    for name in ("link", "replace", "rename"):
        watch(name)
    with atomic(tmp_path / "a") as file:
        file.write(b"new")
    assert steps == ["link"] and (tmp_path / "a").read_bytes() == b"new"
    with atomic(tmp_path / "a") as file:
        file.write(b"newer")
    assert steps == ["link", "link", "link", "replace"] and (tmp_path / "a").read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_that_lies_at_the_path_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    with atomic(tmp_path / "a") as file:
        file.write(b"new")
    assert not (tmp_path / "a").is_symlink() and (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_file_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    """Otherwise an empty file may have the name after a power cut."""
    steps, sync, link, replace = [], os.fsync, os.link, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: steps.append("sync") or sync(file))
    monkeypatch.setattr(os, "link", lambda *paths, **options: steps.append("name") or link(*paths, **options))
    monkeypatch.setattr(os, "replace", lambda *paths: steps.append("name") or replace(*paths))
    with atomic(tmp_path / "a") as file:
        file.write(b"new")
    assert steps[:2] == ["sync", "name"]
