import pytest

from edgel3_np import EdgeL3Error, embed, load_model
from edgel3_np._foreign import describe


@pytest.mark.parametrize(
    "head, words",
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "M4A.*ffmpeg -i X Y.wav"),
        (b"\x1a\x45\xdf\xa3\x01", "WebM.*ffmpeg"),
        (b"wvpk\0\0", "WavPack.*ffmpeg"),
        (b"\xff\xf1\x50\x80", "AAC.*ffmpeg"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\n <HTML>", "web page"),
        (b"<?xml version='1.0'?>", "web page"),
        (bytes(64), "zeros"),
    ],
)
def test_errors_say_what_a_file_is_and_what_to_do(tmp_path, head, words):
    path = tmp_path / "sound.wav"
    path.write_bytes(head)
    with pytest.raises(EdgeL3Error, match=f"sound.wav: expected a sound file.*{words}") as caught:
        embed(path)
    assert caught.value.kind == "not audio"
    with pytest.raises(EdgeL3Error, match=f"sound.wav: expected an npz.*{words}"):
        load_model(path)


def test_an_empty_file(tmp_path):
    (tmp_path / "sound.wav").write_bytes(b"")
    with pytest.raises(EdgeL3Error, match="sound.wav: .*the file has 0 bytes") as caught:
        embed(tmp_path / "sound.wav")
    assert caught.value.kind == "empty"
    with pytest.raises(EdgeL3Error, match="sound.wav: expected an npz.*the file has 0 bytes"):
        load_model(tmp_path / "sound.wav")


def test_nothing_is_said_of_what_is_not_known():
    assert describe(b"RIFF") == describe(b"something else") == ""
