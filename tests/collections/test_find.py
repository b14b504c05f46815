import os
import sys
from unicodedata import normalize

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.collections import find
from edgel3_np.collections.find import count_files, find_files, in_shard, make_directories, name_outputs, stat_file


@pytest.fixture
def tree(tmp_path):
    for name in ("b.wav", "a.FLAC", "notes.txt", "c/d/e.mp3", "c/f.ogg", ".hidden.wav", ".git/g.wav", "noextension"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def relative(found, root):
    return {os.path.relpath(path, root): name for path, name in found.items()}


def test_a_tree_is_listed_in_order(tree):
    found, unreadable, _ = find_files([tree])
    assert list(relative(found, tree).items()) == [(x, x) for x in ("a.FLAC", "b.wav", "c/f.ogg", "c/d/e.mp3")]
    assert unreadable == {}
    assert list(find_files([tree], recursive=False)[0].values()) == ["a.FLAC", "b.wav"]


def test_files_that_the_user_names_are_taken_once_with_any_extension(tree):
    found, _, _ = find_files([tree / "notes.txt", str(tree / "none"), tree, tree / "c" / ".." / "b.wav"])
    assert list(found.values()) == ["notes.txt", "none", "a.FLAC", "b.wav", "c/f.ogg", "c/d/e.mp3"]


def test_links_to_directories_are_followed_once(tree, tmp_path_factory):
    """Each directory is met once, whatever links lead to it, and circles end."""
    other = tmp_path_factory.mktemp("other")
    (other / "x.wav").write_bytes(b"")
    (tree / "c" / "loop").symlink_to(tree)
    (tree / "linked").symlink_to(other)
    (tree / "linked again").symlink_to(other)
    found, _, _ = find_files([tree])
    assert list(found.values()) == ["a.FLAC", "b.wav", "c/f.ogg", "c/d/e.mp3", "linked/x.wav"]
    assert list(find_files([tree], suffixes={".wav"})[0].values()) == ["b.wav"], "a search stays inside"


def test_what_libsndfile_reads_is_found_by_its_first_bytes(tree):
    for name, content in {"x.dat": b"RIFF....WAVE", "y": b"fLaC\0\0\0\x22", "z.bin": b"else", "v.txt": b"RIFF"}.items():
        (tree / name).write_bytes(content)
    for name in ("a.m4a", "B.WV", "c.Opus", "d.bwf", "e.mp2"):
        (tree / name).write_bytes(b"RIFF")
    found, _, passed = find_files([tree])
    names = ["a.FLAC", "b.wav", "c.Opus", "d.bwf", "e.mp2", "x.dat", "y", "c/f.ogg", "c/d/e.mp3"]
    assert list(found.values()) == names
    assert [os.path.basename(path) for path in passed] == ["B.WV", "a.m4a"]


def test_files_of_unknown_extensions_are_known_by_what_they_hold(tmp_path):
    contents = {
        "film.xyz": b"RIFF\0\0\0\0AVI LIST",
        "picture.xyz": b"RIFF\0\0\0\0WEBPVP8 ",
        "wave.xyz": b"RIFF\0\0\0\0WAVEfmt ",
        "aiff.xyz": b"FORM\0\0\0\0AIFFCOMM",
        "letter.xyz": b"FORM\0\0\0\0FTXT",
        "text.xyz": "\ufefftext".encode("utf-16-le"),  # its first bytes look like a frame of MPEG audio
        "phone.xyz": b"\0\0\0\x20ftypM4A ",
        "wavpack": b"wvpk",
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    if "MP3" in soundfile.available_formats():
        soundfile.write(tmp_path / "m", np.zeros(8000), 8000, format="MP3")
        contents["m"] = b""
    os.symlink("/no/such/disk", tmp_path / "disk2")
    found, unreadable, passed = find_files([tmp_path])
    expected = {"aiff.xyz", "wave.xyz", "disk2"} | ({"m"} & contents.keys())
    assert set(found.values()) == expected and not unreadable  # whoever opens a dead link says so
    assert [os.path.basename(path) for path in passed] == ["phone.xyz", "wavpack"]


def test_count_files(tree):
    counts = count_files([tree])
    assert counts["directory"] == 3 and counts[".txt"] == 1 and counts["without an extension"] == 1
    assert count_files([tree / "nowhere"]) == {}


def test_links_to_files(tree):
    (tree / "z.wav").symlink_to(tree / "b.wav")
    (tree / "broken.wav").symlink_to(tree / "nothing")
    found, _, _ = find_files([tree])
    assert list(found.values()) == ["a.FLAC", "b.wav", "broken.wav", "z.wav", "c/f.ogg", "c/d/e.mp3"]


def test_a_directory_that_cannot_be_listed_is_returned_with_the_reason(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "c":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, unreadable, _ = find_files([tree])
    assert list(found.values()) == ["a.FLAC", "b.wav"]
    assert unreadable == {str(tree / "c"): "Permission denied"}


def test_outputs_mirror_the_tree(tree, tmp_path):
    found, _, _ = find_files([tree])
    names = [os.path.relpath(path, tmp_path) for path in name_outputs(found, tmp_path / "out").values()]
    assert names == ["out/a.npz", "out/b.npz", "out/c/f.npz", "out/c/d/e.npz"]
    names = [os.path.relpath(path, tree) for path in name_outputs(found, None, "x").values()]
    assert names == ["a_x.npz", "b_x.npz", "c/f_x.npz", "c/d/e_x.npz"]


def test_clashes_are_resolved_by_extension_and_then_by_path():
    found = {"/1/a.wav": "a.wav", "/1/a.flac": "a.flac", "/1/A.ogg": "A.ogg", "/2/a.wav": "a.wav", "/1/b.wav": "b.wav"}
    outputs = name_outputs(found, "/out")
    assert outputs["/1/a.flac"] == "/out/a.flac.npz" and outputs["/1/A.ogg"] == "/out/A.ogg.npz"
    assert outputs["/1/b.wav"] == "/out/b.npz"
    for path in ("/1/a.wav", "/2/a.wav"):
        assert outputs[path].startswith("/out/a.wav.") and len(outputs[path]) == len("/out/a.wav.npz") + 13
    assert len(set(outputs.values())) == 5
    assert name_outputs(dict(reversed(found.items())), "/out") == outputs  # the order does not matter


def test_names_that_differ_in_how_an_accent_is_written_clash():
    """File systems of macOS take them for the same name."""
    found = {
        "/a/caf\u00e9.wav": "caf\u00e9.wav",
        "/a/cafe\u0301.wav": "cafe\u0301.wav",
        "/a/CAFE\u0301.flac": "CAFE\u0301.flac",
    }
    names = [os.path.basename(name) for name in name_outputs(found).values()]
    assert len({normalize("NFC", name).casefold() for name in names}) == 3
    assert all(name.endswith(".npz") and name.count(".") == 3 for name in names[:2]), names


def test_a_resolved_name_that_clashes_is_resolved_again():
    found = {f"/in/{name}": name for name in ("a.wav", "a.ogg", "a.wav.flac")}
    outputs = name_outputs(found, "/out")
    assert len({name.casefold() for name in outputs.values()}) == 3


NAMES = st.text("aA./", min_size=1, max_size=6).map(os.path.normpath).filter(lambda name: name.strip("./"))


@given(st.lists(NAMES, max_size=12), st.sampled_from([None, "/out"]))
def test_outputs_never_clash_and_stay_below_their_directory(names, output_dir):
    found = {f"/{i % 2}/{name.lstrip('./')}": name.lstrip("./") for i, name in enumerate(names)}
    outputs = name_outputs(found, output_dir)
    assert len({name.casefold() for name in outputs.values()}) == len({path.casefold() for path in found}) or len(
        set(outputs.values())
    ) == len(found)
    for path, output in outputs.items():
        root = output_dir or os.path.dirname(path)
        assert os.path.normpath(output).startswith(root + "/") and output.endswith(".npz")


@pytest.mark.parametrize("suffix", ["", "a/b", "/", "../x", "a\0b"])
def test_suffixes_that_cannot_be_part_of_a_name(suffix):
    with pytest.raises(EdgeL3Error, match="suffix"):
        name_outputs({"/a.wav": "a.wav"}, None, suffix)


def test_shards_are_a_partition_and_depend_only_on_the_output():
    outputs = [f"/out/{i}.npz" for i in range(1000)]
    parts = [{output for output in outputs if in_shard(output, "/out", (k, 7))} for k in range(1, 8)]
    assert set.union(*parts) == set(outputs) and sum(map(len, parts)) == 1000
    assert min(map(len, parts)) > 100
    assert [in_shard(f"/elsewhere/{i}.npz", "/elsewhere", (3, 7)) for i in range(99)] == [
        in_shard(f"/out/{i}.npz", "/out", (3, 7)) for i in range(99)
    ]


def test_shards_are_the_same_on_windows(monkeypatch):
    path = os.path.join("/out", "a", "b", "x.npz")
    expected = [in_shard(path, "/out", (part, 7)) for part in range(1, 8)]
    monkeypatch.setattr(find.os, "sep", "\\")
    monkeypatch.setattr(find.os.path, "relpath", lambda *_: "a\\b\\x.npz")
    assert [in_shard(path, "/out", (part, 7)) for part in range(1, 8)] == expected


def test_directories_are_made_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    make_directories(str(out / "a" / "b"), str(out))
    make_directories(str(out / "a" / "b"), str(out))
    make_directories(str(out), str(out))
    assert (out / "a" / "b").is_dir()
    (out / "link").symlink_to(outside)
    for directory in (out / "link", out / "link" / "c", out / "link" / "c" / "d"):
        with pytest.raises(EdgeL3Error, match="found a link"):
            make_directories(str(directory), str(out))
    assert os.listdir(outside) == []
    (tmp_path / "link").symlink_to(outside)
    make_directories(str(tmp_path / "link" / "e"), str(tmp_path / "link"))  # the root itself may be a link
    assert (outside / "e").is_dir()
    (out / "file").touch()
    with pytest.raises(OSError):
        make_directories(str(out / "file"), str(out))


@pytest.mark.parametrize("name", ["missing.wav", "with\0null.wav", "folder.wav/a.wav"])
def test_the_state_of_a_missing_file_is_an_error(tmp_path, name):
    (tmp_path / "folder.wav").touch()
    with pytest.raises(EdgeL3Error, match="cannot be read") as caught:
        stat_file(os.path.join(tmp_path, name))
    assert caught.value.kind == "unreadable"
    assert stat_file(tmp_path / "folder.wav").st_size == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
def test_names_that_are_not_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav"), "wb"):
        pass
    found, _, _ = find_files([tmp_path])
    assert list(found.values()) == [name]
    (output,) = name_outputs(found, tmp_path / "out").values()
    assert os.fsencode(output).endswith(b"out/caf\xe9.npz")
    assert in_shard(output, str(tmp_path / "out"), (1, 1))
