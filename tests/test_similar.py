import json
import math
import os
import warnings
import zipfile

import numpy as np
import pytest
import soundfile
from factory import random_weights

import edgel3_np
from edgel3_np.cli import main
from edgel3_np.metadata import CONTRACT
from edgel3_np.output import open_result, save_embedding
from edgel3_np.similar import similar
from edgel3_np.weights import save_weights

DIM = 5


def provenance(name, sha256="a" * 64, dim=DIM, **more):
    options = {"dim": dim, "hop_size": 0.1, "center": True}
    source = {"name": f"{name}.wav", "bytes": 1, "mtime_ns": 2}
    return {"model": "m", "weights_sha256": sha256, "contract": CONTRACT, "options": options, "input": source, **more}


def times(count, first=0):
    return np.arange(first, first + count) * 0.1


def save(path, embedding, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {**provenance(path.stem, dim=embedding.shape[1]), **more}
    save_embedding(path, [embedding.astype(np.float32)], times, said)
    return path


@pytest.fixture
def collection(tmp_path):
    """Forty files in folders of folders; a dictionary of their embeddings."""
    rng, made = np.random.default_rng(0), {}
    for number in range(40):
        embedding = np.maximum(0, rng.standard_normal((rng.integers(1, 60), DIM)) + rng.standard_normal(DIM))
        made[save(tmp_path / "c" / f"{number % 3}" / "d" / f"{number:02}.npz", embedding)] = embedding
    return made


def cosine(a, b):
    length = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(b * b))
    return math.fsum(a * b) / length if length else 0.0


def oracle(made, query, asked):
    """Score, best moment and its time for each file, best first: spelt out, one vector after the other."""
    found = []
    for path, embedding in made.items():
        vectors = embedding.astype(np.float32).astype(np.float64)
        moments = [cosine(vector, asked) for vector in vectors]
        best = max(range(len(moments)), key=lambda i: moments[i])
        if path != query:
            found.append((cosine(vectors.mean(axis=0), asked), moments[best], 0.1 * best, str(path)))
    return sorted(found, reverse=True)


def test_recordings_agree_with_the_oracle(collection, tmp_path):
    query = list(collection)[7]
    asked = collection[query].astype(np.float32).astype(np.float64).mean(axis=0)
    hits = similar(query, tmp_path / "c", top=100)
    expected = oracle(collection, query, asked)
    assert [hit.path for hit in hits] == [path for *_, path in expected] and len(hits) == 39
    np.testing.assert_allclose([hit[:3] for hit in hits], [row[:3] for row in expected], atol=1e-9)
    assert similar(query, [tmp_path / "c"], top=5) == hits[:5]
    assert similar(query, list(collection), top=100) == hits
    assert similar(query, [*collection, tmp_path / "c"], top=100) == hits  # no file twice


@pytest.mark.parametrize(
    "at, rows", [(0.32, [3]), ((0.2, 0.45), [2, 3, 4]), ((0.21, 0.22), [2]), (99.0, None), (-0.5, [0])]
)
def test_a_part_of_the_query(collection, tmp_path, at, rows):
    query = max(collection, key=lambda path: len(collection[path]))
    if rows is None:
        with pytest.raises(
            edgel3_np.EdgeL3Error, match=r"at: expected a time within .* found 99.0, and windows from 0 to"
        ):
            similar(query, tmp_path / "c", at=at)
        return
    asked = collection[query].astype(np.float32).astype(np.float64)[rows].mean(axis=0)
    hits = similar(query, tmp_path / "c", at=at, top=3)
    np.testing.assert_allclose(
        [hit[:3] for hit in hits], [row[:3] for row in oracle(collection, query, asked)][:3], atol=1e-9
    )


def test_moments_lie_apart_and_those_asked_about_are_none(tmp_path):
    rng = np.random.default_rng(1)
    own = save(tmp_path / "own.npz", rng.random((50, DIM)))
    save(tmp_path / "other.npz", rng.random((45, DIM)))
    hits = similar(own, tmp_path, at=2.0, moments=True, top=100)
    found = {name: [hit for hit in hits if hit.path.endswith(name)] for name in ("own.npz", "other.npz")}
    with open_result(own) as result:
        vectors = next(result.embedding).astype(np.float64)
    for name, some in found.items():
        seconds = np.sort([hit.time for hit in some])
        assert len(some) >= 2 and (np.diff(seconds) > 0.999).all()
        if name == "own.npz":
            assert (np.abs(seconds - 2.0) > 0.999).all()
            for hit in some:
                assert hit.score == hit.moment == pytest.approx(cosine(vectors[round(hit.time * 10)], vectors[20]))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    best = max(cosine(vector, vectors[20]) for i, vector in enumerate(vectors) if abs(i - 20) >= 10)
    assert found["own.npz"][0].score == pytest.approx(best)
    assert {hit.path for hit in similar(own, tmp_path, moments=True)} == {str(tmp_path / "other.npz")}


def test_equal_ones_come_by_path_and_zeros_are_like_nothing(tmp_path):
    for name in "cbad":
        save(tmp_path / f"{name}.npz", np.ones((3, DIM)))
    save(tmp_path / "e.npz", np.zeros((3, DIM)))
    hits = similar(tmp_path / "d.npz", tmp_path)
    assert [(os.path.basename(hit.path), round(hit.score, 9), hit.time) for hit in hits] == [
        ("a.npz", 1, 0),
        ("b.npz", 1, 0),
        ("c.npz", 1, 0),
        ("e.npz", 0, 0),
    ]
    assert [hit.score for hit in similar(tmp_path / "e.npz", tmp_path)] == [0, 0, 0, 0]


def test_the_query_itself_is_no_hit_under_another_name(tmp_path):
    embedding = np.random.default_rng(0).random((3, DIM))
    query = save(tmp_path / "q" / "a.npz", embedding)
    save(tmp_path / "c" / "copy.npz", embedding, input={"name": "x/a.wav", "bytes": 1, "mtime_ns": 2})
    save(tmp_path / "c" / "twin.npz", embedding, input={"name": "x/a.wav", "bytes": 1, "mtime_ns": 3})
    assert [os.path.basename(hit.path) for hit in similar(query, tmp_path / "c")] == ["twin.npz"]


@pytest.fixture
def recordings(small_npz, sweep, tmp_path):
    """Three recordings and a folder of their embeddings, hop 0.25 s, not centred."""
    rng = np.random.default_rng(3)
    for name, signal in (("sweep", sweep), ("noise", rng.standard_normal(16000) / 9), ("back", sweep[::-1])):
        soundfile.write(tmp_path / f"{name}.wav", signal, 8000)
    options = {"model": small_npz, "hop_size": 0.25, "center": False}
    for report in edgel3_np.embed_files(tmp_path, tmp_path / "c", **options):
        assert report.status == "done"
    return tmp_path


def test_a_recording_is_embedded_as_the_collection_was(recordings, small_npz, monkeypatch):
    files = [recordings / "c" / f"{name}.npz" for name in ("sweep", "noise", "back")]
    by_npz = similar(files[0], recordings / "c")
    by_wav = similar(recordings / "sweep.wav", recordings / "c", model=small_npz)
    assert by_npz == by_wav and {os.path.basename(hit.path) for hit in by_wav} == {"noise.npz", "back.npz"}
    assert similar(recordings / "sweep.wav", recordings / "c", model=edgel3_np.load_model(small_npz)) == by_wav
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(small_npz.parent))  # found by the name that the collection has
    assert similar(recordings / "sweep.wav", recordings / "c") == by_wav


def test_models_that_do_not_fit(recordings):
    with pytest.raises(
        edgel3_np.EdgeL3Error, match=r"cannot embed the query as this was, with 'small': model: expected"
    ):
        similar(recordings / "sweep.wav", recordings / "c")
    with pytest.raises(edgel3_np.EdgeL3Error, match="with 'pico-64': dim: expected 64"):
        similar(recordings / "sweep.wav", recordings / "c", model="pico-64")
    save_weights(recordings / "other.npz", random_weights(seed=1))
    with pytest.raises(edgel3_np.EdgeL3Error, match="of the small that is here .*found length 16"):
        similar(recordings / "sweep.wav", recordings / "c", model=recordings / "other.npz")
    save(recordings / "c" / "z.npz", np.ones((2, 16)))
    with pytest.raises(edgel3_np.EdgeL3Error, match="z.npz: expected embeddings of one model"):
        similar(recordings / "c" / "sweep.npz", recordings / "c")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.npz", "x.npz", "", None, 7])
def test_a_collection_does_not_say_what_file_to_open(name, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.ones(9000), 8000)
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)), model=name)
    monkeypatch.setattr("edgel3_np.models.load_weights", lambda path: pytest.fail(f"{path} was opened"))
    with pytest.raises(edgel3_np.EdgeL3Error, match="cannot embed the query as this was"):
        similar(tmp_path / "a.wav", tmp_path / "c")


def hostile(folder):
    """Writes files that are no results of ours, or not whole: names."""
    good = save(folder / "good.npz", np.random.default_rng(5).random((30, DIM)))
    content = good.read_bytes()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("not a zip file")
    (folder / "cut.npz").write_bytes(content[:-30])
    (folder / "cut2.npz").write_bytes(content[: len(content) // 2])
    place = content.index(b"\x93NUMPY") + 200
    (folder / "flipped.npz").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    np.savez(folder / "foreign.npz", x=np.ones(3))
    np.savez_compressed(folder / "compressed.npz", **dict(np.load(good)))
    np.savez(folder / "pickled.npz", embedding=np.array([{}], object), timestamps=times(1), provenance=np.array("{}"))
    for name, change in {
        "nan": {"embedding": np.full((3, DIM), np.nan, np.float32)},
        "infinite times": {"timestamps": np.full(3, np.inf)},
        "float64": {"embedding": np.ones((3, DIM))},
        "flat": {"embedding": np.ones(3, np.float32)},
        "none": {"embedding": np.ones((0, DIM), np.float32), "timestamps": times(0)},
        "longer": {"timestamps": times(4)},
        "no json": {"provenance": np.array("{")},
        "no object": {"provenance": np.array("[1]")},
        "nothing said": {"provenance": np.array("{}")},
        "other length": {"provenance": np.array(json.dumps(provenance("x", dim=DIM + 1)))},
    }.items():
        whole = {
            "embedding": np.ones((3, DIM), np.float32),
            "timestamps": times(3),
            "provenance": np.array(json.dumps(provenance(name))),
        }
        np.savez(folder / f"{name}.npz", **{**whole, **change})
    with zipfile.ZipFile(folder / "many.npz", "w") as archive:  # members
        for number in range(30_000):
            archive.writestr(f"{number}", b"")
    with zipfile.ZipFile(folder / "claims.npz", "w") as archive:  # 10 TB
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 5), }"
        archive.writestr("embedding.npy", header.ljust(127) + b"\n")
        archive.writestr("timestamps.npy", header.replace(b"f4", b"f8").replace(b", 5)", b",)").ljust(127) + b"\n")
        archive.writestr("provenance.npy", b"")
    (folder / "folder.npz").mkdir()
    names = {path.name for path in folder.iterdir()} - {"good.npz", "folder.npz"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.npz")
        names.add("pipe.npz")
    (folder / "broken link.npz").symlink_to(folder / "nowhere.npz")
    return names | {"broken link.npz"}


def test_what_is_broken_or_hostile_is_passed_over(tmp_path):
    names, query = hostile(tmp_path / "c"), save(tmp_path / "q.npz", np.ones((2, DIM)))
    problems = []
    hits = similar(query, tmp_path / "c", on_problem=problems.append)
    assert [os.path.basename(hit.path) for hit in hits] == ["good.npz"]
    assert {next(name for name in names if f"/{name}:" in str(problem)) for problem in problems} == names
    assert len(problems) == len(names) and all(isinstance(problem, edgel3_np.EdgeL3Error) for problem in problems)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert similar(query, tmp_path / "c") == hits
    assert len(caught) == len(names) and {warning.category for warning in caught} == {edgel3_np.EdgeL3Warning}
    assert {warning.filename for warning in caught} == {__file__}


def test_hostile_files_take_no_memory(tmp_path):
    import tracemalloc

    hostile(tmp_path / "c")
    query = save(tmp_path / "q.npz", np.ones((2, DIM)))
    similar(query, tmp_path / "c", on_problem=id)
    tracemalloc.start()
    similar(query, tmp_path / "c", on_problem=id)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_memory_is_that_of_a_piece_of_one_file(tmp_path):
    import tracemalloc

    row = np.random.default_rng(0).random((1000, 500)).astype(np.float32)
    for name in "ab":
        said = provenance(name, dim=500)
        save_embedding(tmp_path / f"{name}.npz", (row for _ in range(50)), times, said)  # 100 MB
    query = save(tmp_path / "q" / "q.npz", row[:3])
    tracemalloc.start()
    hits = similar(query, [tmp_path / "a.npz", tmp_path / "b.npz"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(hits) == 2 and peak < 48 << 20


def test_links_do_not_lead_out(tmp_path):
    inside = save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    save(tmp_path / "secret" / "b.npz", np.ones((2, DIM)))
    (tmp_path / "c" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "c" / "out.npz").symlink_to(tmp_path / "secret" / "b.npz")
    (tmp_path / "c" / "in.npz").symlink_to(inside)
    problems = []
    query = save(tmp_path / "q.npz", np.ones((2, DIM)))
    hits = similar(query, tmp_path / "c", on_problem=problems.append)
    assert [os.path.basename(hit.path) for hit in hits] == ["a.npz", "in.npz"]
    assert [str(problem).split(": ")[0] for problem in problems] == [str(tmp_path / "c" / "out.npz")]


def test_wrong_arguments(tmp_path):
    query = save(tmp_path / "c" / "q.npz", np.ones((2, DIM)))
    (tmp_path / "none").mkdir()
    for arguments, options, message in (
        ((query, tmp_path / "c"), {"top": 0}, "top: expected"),
        ((query, tmp_path / "c"), {"top": True}, "top: expected"),
        ((query, tmp_path / "c"), {"at": "3"}, "at: expected a time in seconds"),
        ((query, tmp_path / "c"), {"at": (3, 1)}, "at: expected a time in seconds"),
        ((query, tmp_path / "c"), {"at": math.nan}, "at: expected a time in seconds"),
        ((query, tmp_path / "none"), {}, "none: expected embeddings .npz., found none; make them"),
        ((query, []), {}, "no files: expected embeddings"),
        ((tmp_path / "a.wav", tmp_path / "none"), {}, "expected embeddings .npz., found none"),
        ((tmp_path / "missing.npz", tmp_path / "c"), {}, "missing.npz: expected embeddings .npz. that edgel3_np wrote"),
    ):
        with pytest.raises(edgel3_np.EdgeL3Error, match=message):
            similar(*arguments, **options)
    assert similar(query, tmp_path / "c") == []  # nothing but itself


def test_the_command(collection, tmp_path, capsys):
    query = str(list(collection)[0])
    assert main(["similar", query, str(tmp_path / "c"), "--top", "3"]) == 0
    out, err = capsys.readouterr()
    hits = similar(query, tmp_path / "c", top=3)
    lines = out.splitlines()
    assert err == "" and lines[0].split() == ["score", "moment", "time", "file"] and len(lines) == 4
    for line, hit in zip(lines[1:], hits):
        assert line.split() == [f"{hit.score:.4f}", f"{hit.moment:.4f}", f"{hit.time:.2f}", "s", hit.path]
    assert main(["similar", query, str(tmp_path / "c"), "--json", "--moments", "--at", "0.1-0.3", "--top", "4"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [hit._asdict() for hit in similar(query, tmp_path / "c", at=(0.1, 0.3), moments=True, top=4)]


def test_the_commands_exit_codes(collection, tmp_path, capsys):
    query, folder = str(list(collection)[0]), tmp_path / "c"
    (folder / "0" / "bad\x1b[31m.npz").write_text("x")
    assert main(["similar", query, str(folder)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 11 and err.count("passed over: ") == 1
    assert "\x1b" not in out + err and "bad\\x1b[31m.npz" in err
    assert main(["similar", query, str(tmp_path / "missing")]) == 2
    assert main(["similar", query, str(folder), "--top", "0"]) == 2
    soundfile.write(tmp_path / "a.wav", np.ones(100), 8000)
    assert main(["similar", str(tmp_path / "a.wav"), str(folder)]) == 2
    assert "cannot embed the query as this was, with 'm'" in capsys.readouterr().err
    for arguments in (["similar"], ["similar", query], ["similar", query, str(folder), "--at", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_an_unreadable_query(recordings, small_npz, capsys):
    (recordings / "text.wav").write_text("no sound")
    arguments = [str(recordings / "c"), "-m", str(small_npz)]
    assert main(["similar", str(recordings / "text.wav"), *arguments]) == 1
    assert main(["similar", str(recordings / "missing.wav"), *arguments]) == 1
    assert main(["similar", str(recordings / "sweep.wav"), *arguments]) == 0
    out, err = capsys.readouterr()
    assert err.count("edgel3-np similar: ") == 2 and len(out.splitlines()) == 3
