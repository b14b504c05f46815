import json
import os
import zipfile

import numpy as np
import pytest

from edgel3_np import EdgeL3Error
from edgel3_np.collections import results
from edgel3_np.collections.results import (
    MAX_READ_BYTES,
    fingerprint,
    open_result,
    read_provenance,
    save_embedding,
    write_parts,
)
from edgel3_np.pipeline import Embedding


def times(count, first):
    return np.arange(first, first + count) * 0.125  # without rounding, which may depend on the place in an array


def test_what_is_written_is_read_back(tmp_path):
    batches = [np.arange(6, dtype=np.float32).reshape(2, 3), np.full((1, 3), 7, np.float32)]
    provenance = {"model": "m", "options": {"hop_size": 0.1}, "input": {"name": "a\udcff"}}
    assert save_embedding(tmp_path / "a.npz", batches, times, provenance) == 3
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["embedding", "provenance", "timestamps"]
        np.testing.assert_array_equal(archive["embedding"], np.concatenate(batches))
        np.testing.assert_array_equal(archive["timestamps"], times(3, 0))
        assert archive["embedding"].dtype == "<f4" and archive["timestamps"].dtype == "<f8"
        written = {**provenance, "embedding_sha256": Embedding(archive["embedding"], times(3, 0)).sha256()}
        assert json.loads(archive["provenance"].item()) == written
    assert read_provenance(tmp_path / "a.npz") == written
    with open_result(tmp_path / "a.npz") as result:
        assert result.provenance == written and result.dim == 3
        np.testing.assert_array_equal(np.concatenate(list(result.embedding)), np.concatenate(batches))
        np.testing.assert_array_equal(result.timestamps(), times(3, 0))
        info = os.stat(tmp_path / "a.npz")
        assert result.file == (info.st_dev, info.st_ino)


def test_files_of_a_big_endian_machine_are_read(tmp_path):
    """Versions before 0.2 wrote the numbers as the machine keeps them."""
    arrays = {"embedding": np.arange(6).reshape(3, 2).astype(">f4"), "timestamps": times(3, 0).astype(">f8")}
    text = np.array('{"a": "\u00e9"}')
    np.savez(tmp_path / "a.npz", **arrays, provenance=text.astype(text.dtype.newbyteorder(">")))
    assert read_provenance(tmp_path / "a.npz") == {"a": "\u00e9"}
    with open_result(tmp_path / "a.npz") as result:
        (embedding,), seconds = list(result.embedding), result.timestamps()
    assert embedding.dtype == np.float32 and seconds.dtype == np.float64
    np.testing.assert_array_equal(embedding, arrays["embedding"])
    np.testing.assert_array_equal(seconds, times(3, 0))


def test_the_bytes_do_not_depend_on_the_byte_order(tmp_path):
    batch = np.arange(6, dtype=np.float32).reshape(3, 2)
    for name, order in (("little", "<"), ("big", ">")):
        seconds = lambda count, first, order=order: times(count, first).astype(f"{order}f8")  # noqa: E731
        save_embedding(tmp_path / name, [batch.astype(f"{order}f4")], seconds, {"a": 1})
    assert (tmp_path / "little").read_bytes() == (tmp_path / "big").read_bytes()


def test_a_file_larger_than_one_read_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "CHUNK_FLOATS", 3000)
    embedding = np.random.default_rng(0).random((400_000 // 9, 9)).astype(np.float32)
    save_embedding(tmp_path / "a.npz", [embedding], times, {"a": 1})
    assert (tmp_path / "a.npz").stat().st_size > MAX_READ_BYTES
    with open_result(tmp_path / "a.npz") as result:
        parts = list(result.embedding)
        assert {len(part) for part in parts[:-1]} == {3000 // 9}
        np.testing.assert_array_equal(np.concatenate(parts), embedding)
        np.testing.assert_array_equal(result.timestamps(), times(len(embedding), 0))


def test_embeddings_are_not_all_in_memory(tmp_path):
    """Embeddings of 120 MB are written batch by batch into a file without a name, which ends with the process."""
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


def test_arrays_are_written_in_parts(tmp_path):
    whole = np.arange(24).reshape(6, 4)
    with open(tmp_path / "a.npz", "wb") as file:
        parts = (whole[i : i + 2] for i in (0, 2, 4))
        write_parts(file, {"a": (np.float32, (6, 4), parts), "b": ("<U3", (), [np.array("abc")])})
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["a"], whole)
        assert archive["a"].dtype == np.float32 and str(archive["b"]) == "abc"
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_provenance_of_files_that_are_not_results(tmp_path):
    path = tmp_path / "a.npz"
    assert read_provenance(path) is None and read_provenance(tmp_path) is None
    save_embedding(path, [np.ones((2, 3), np.float32)], times, {"a": 1})
    good = path.read_bytes()
    for end in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:end])
        assert read_provenance(path) is None
    place = good.index(b'{"a"')
    path.write_bytes(good[:place] + b"[" + good[place + 1 :])  # the checksum is wrong now
    assert read_provenance(path) is None
    for content in ("[1]", "null", '"text"'):
        np.savez(
            path, embedding=np.ones((2, 3), np.float32), timestamps=times(2, 0), provenance=np.array(content.encode())
        )
        assert read_provenance(path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has FIFOs")
def test_a_fifo_in_place_of_a_result_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    assert read_provenance(tmp_path / "a.npz") is None
    with pytest.raises(EdgeL3Error, match="device, pipe or socket") as caught, open_result(tmp_path / "a.npz"):
        pass
    assert caught.value.kind == "unreadable"


# A result is opened, and its arrays are read, inside the caller's `with` block. Errors of that block pass unchanged.


@pytest.fixture
def result(tmp_path):
    save_embedding(tmp_path / "a.npz", [np.ones((2, 3), np.float32)], times, {"a": 1})
    return tmp_path / "a.npz"


@pytest.mark.parametrize("error", [MemoryError, OSError, ValueError, ZeroDivisionError, KeyboardInterrupt])
def test_errors_of_the_callers_block_pass_unchanged(result, error):
    mine = error("mine")
    with pytest.raises(error) as caught, open_result(result) as opened:
        assert opened.dim == 3
        raise mine
    assert caught.value is mine


def test_errors_of_the_callers_block_pass_while_arrays_are_read(result):
    with pytest.raises(KeyError), open_result(result) as opened:
        for _ in opened.embedding:
            raise KeyError


@pytest.mark.parametrize("kind", ["damaged", "unreadable"])
def test_errors_of_files_say_what_is_wrong_with_them(result, kind):
    if kind == "unreadable":
        result.unlink()
    else:
        result.write_bytes(result.read_bytes()[:-30])
    with pytest.raises(EdgeL3Error, match="a.npz: ") as caught, open_result(result):
        pytest.fail("it was opened")
    assert caught.value.kind == kind


@pytest.mark.parametrize("name, read", [("embedding", lambda result: list(result.embedding)),
                                        ("timestamps", lambda result: result.timestamps())])  # fmt: skip
def test_damage_that_is_found_while_arrays_are_read(result, name, read):
    content = bytearray(result.read_bytes())
    content[content.index(f"{name}.npy".encode()) + 150] ^= 1  # past the header
    result.write_bytes(content)
    with pytest.raises(EdgeL3Error, match="a.npz: expected embeddings .npz. that edgel3_np wrote") as caught:  # noqa: SIM117
        with open_result(result) as opened:
            read(opened)
    assert caught.value.kind == "damaged"


def test_a_lack_of_memory_is_not_a_damaged_file(result, monkeypatch):
    def fail(*_):
        raise MemoryError

    for name in ("_read_provenance", "_open_array"):
        with monkeypatch.context() as patch:
            patch.setattr(results, name, fail)
            with pytest.raises(MemoryError), open_result(result):
                pass
    monkeypatch.setattr(results, "_read_provenance", fail)
    with pytest.raises(MemoryError):
        read_provenance(result)


def test_the_fingerprint_is_plain_data(small_model):
    found = fingerprint(small_model, np.float64(0.25), np.bool_(True))
    assert json.loads(json.dumps(found)) == found
    assert found["options"] == {"dim": 16, "hop_size": 0.25, "center": True}
    assert found["weights_sha256"] == small_model.sha256
