import math
import os
import warnings

import numpy as np
import pytest
import soundfile
from collection_files import DIM, hostile, provenance, save, times
from factory import random_weights

import edgel3_np
from edgel3_np._version import CONTRACT
from edgel3_np.collections import query as queries
from edgel3_np.collections import scan, search
from edgel3_np.collections.gather import EmbeddingSpace, describe, embedding_space
from edgel3_np.collections.results import open_result, save_embedding
from edgel3_np.collections.search import Hit, similar
from edgel3_np.network import threads
from edgel3_np.weights.format import save_weights


@pytest.fixture
def collection(tmp_path):
    """Write forty files into nested folders; return a dictionary of paths and embeddings."""
    rng, made = np.random.default_rng(0), {}
    for number in range(40):
        embedding = np.maximum(0, rng.standard_normal((rng.integers(1, 60), DIM)) + rng.standard_normal(DIM))
        made[save(tmp_path / "c" / f"{number % 3}" / "d" / f"{number:02}.npz", embedding)] = embedding
    return made


def cosine(a, b):
    length = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(b * b))
    return math.fsum(a * b) / length if length else 0.0


def oracle(made, query, asked):
    """Compute score, best moment and its time for each file, vector by vector; return them with the best first."""
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
    assert similar(query, [*collection, tmp_path / "c"], top=100) == hits  # no file counts twice


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


def test_moments_are_a_second_apart_and_away_from_the_part_of_the_query(tmp_path):
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


def test_equal_scores_are_ordered_by_path_and_zeros_score_zero(tmp_path):
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
    """Write three recordings and a folder of their embeddings: hop 0.25 s, not centred."""
    rng = np.random.default_rng(3)
    for name, signal in (("sweep", sweep), ("noise", rng.standard_normal(16000) / 9), ("back", sweep[::-1])):
        soundfile.write(tmp_path / f"{name}.wav", signal, 8000)
    options = {"model": small_npz, "hop_size": 0.25, "center": False}
    for report in edgel3_np.iter_files(tmp_path, tmp_path / "c", **options):
        assert report.status == "done"
    return tmp_path


def test_a_query_that_is_a_recording_is_embedded_like_the_collection(recordings, small_npz, monkeypatch):
    files = [recordings / "c" / f"{name}.npz" for name in ("sweep", "noise", "back")]
    by_npz = similar(files[0], recordings / "c")
    by_wav = similar(recordings / "sweep.wav", recordings / "c", model=small_npz)
    assert by_npz == by_wav and {os.path.basename(hit.path) for hit in by_wav} == {"noise.npz", "back.npz"}
    assert similar(recordings / "sweep.wav", recordings / "c", model=edgel3_np.load_model(small_npz)) == by_wav
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(small_npz.parent))  # the collection gives the name
    assert similar(recordings / "sweep.wav", recordings / "c") == by_wav


def test_models_that_do_not_fit(recordings):
    with pytest.raises(
        edgel3_np.EdgeL3Error, match=r"cannot embed the query like this file, with 'small': model: expected"
    ):
        similar(recordings / "sweep.wav", recordings / "c")
    with pytest.raises(edgel3_np.EdgeL3Error, match="with 'pico-64': dim: expected 64"):
        similar(recordings / "sweep.wav", recordings / "c", model="pico-64")
    save_weights(recordings / "other.npz", random_weights(seed=1))
    with pytest.raises(edgel3_np.EdgeL3Error, match="from the small .length 16.*at hand, found length 16"):
        similar(recordings / "sweep.wav", recordings / "c", model=recordings / "other.npz")
    save(recordings / "c" / "z.npz", np.ones((2, 16)))
    with pytest.raises(edgel3_np.EdgeL3Error, match="z.npz: expected embeddings of one model"):
        similar(recordings / "c" / "sweep.npz", recordings / "c")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.npz", "x.npz", "", None, 7])
def test_a_collection_does_not_decide_which_file_is_opened(name, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.ones(9000), 8000)
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)), model=name)
    monkeypatch.setattr("edgel3_np.model.load_weights", lambda path: pytest.fail(f"{path} was opened"))
    with pytest.raises(edgel3_np.EdgeL3Error, match="cannot embed the query like this file"):
        similar(tmp_path / "a.wav", tmp_path / "c")


def test_broken_and_hostile_files_are_skipped(tmp_path):
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


def test_memory_is_bounded_by_a_part_of_one_file(tmp_path):
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


def test_links_that_lead_out_of_the_collection_are_skipped(tmp_path):
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
        ((query, tmp_path / "none"), {}, "none: expected embeddings .npz, or parts of a table., found none; make them"),
        ((query, []), {}, "no files are given: expected embeddings"),
        ((tmp_path / "a.wav", tmp_path / "none"), {}, "expected embeddings .npz, or parts of a table., found none"),
        ((tmp_path / "missing.npz", tmp_path / "c"), {}, "missing.npz: cannot be read: No such file"),
    ):
        with pytest.raises(edgel3_np.EdgeL3Error, match=message):
            similar(*arguments, **options)
    assert similar(query, tmp_path / "c") == []  # the collection holds only the query


@pytest.mark.parametrize(
    "change, kind",
    [
        (lambda path: path.unlink(), "unreadable"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged"),
        (lambda path: path.write_text("no zip file"), "damaged"),
        (lambda path: save_embedding(path, [np.ones((2, DIM), np.float32)], times, {}), "damaged"),
        (lambda path: save(path, np.ones((2, DIM)), options={"dim": DIM + 1}), "damaged"),
    ],
    ids=["missing", "cut", "text", "no provenance", "another length"],
)
def test_the_error_about_a_query_that_cannot_be_read_says_why(tmp_path, change, kind):
    """The kind of the error is not `invalid`, so the command reports a bad file and not wrong usage."""
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    query = save(tmp_path / "q.npz", np.ones((2, DIM)))
    change(query)
    with pytest.raises(edgel3_np.EdgeL3Error, match="q.npz: ") as caught:
        similar(query, tmp_path / "c")
    assert caught.value.kind == kind


@pytest.mark.parametrize("error", [MemoryError, ZeroDivisionError, OSError])
def test_errors_that_no_file_causes_are_raised(collection, tmp_path, monkeypatch, error):
    """If they passed for damaged files, the search would skip a whole collection."""

    def fail(*_):
        raise error("oh")

    monkeypatch.setattr(scan, "_hits", fail)
    with pytest.raises(error, match="oh"):
        similar(list(collection)[0], tmp_path / "c", on_problem=lambda problem: pytest.fail(str(problem)))


def test_a_recording_that_vanishes_is_an_error_of_that_file(recordings, small_npz, monkeypatch):
    real = edgel3_np.Model.embed

    def embed(self, path, **options):
        result = real(self, path, **options)
        os.unlink(path)
        return result

    monkeypatch.setattr(edgel3_np.Model, "embed", embed)
    with pytest.raises(edgel3_np.EdgeL3Error, match="sweep.wav: cannot be read") as caught:
        similar(recordings / "sweep.wav", recordings / "c", model=small_npz)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("moments", [True, False])
def test_products_run_on_one_blas_thread(collection, tmp_path, monkeypatch, moments):
    """A BLAS with several threads rounds differently, so scores would depend on the number of cores."""
    control = threads._openblas()
    if control is None:
        pytest.skip("the threads of this BLAS cannot be set")
    seen, before = [], control[0]()

    class Watched(np.ndarray):
        """A vector that records the number of BLAS threads at every product."""

        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            if ufunc is np.matmul:
                seen.append(control[0]())
            return getattr(ufunc, method)(*(np.asarray(each) for each in inputs), **options)

    real = search.read_query
    monkeypatch.setattr(search, "read_query", lambda *given: watch(real(*given)))

    def watch(query):
        return query._replace(unit=query.unit.view(Watched))

    query = list(collection)[0]
    expected = similar(query, tmp_path / "c", moments=moments)
    seen.clear()
    control[1](2)
    try:
        assert similar(query, tmp_path / "c", moments=moments) == expected
        assert control[0]() == 2
    finally:
        control[1](before)
    assert len(seen) >= len(collection) and set(seen) == {1}


def test_warnings_about_a_query_point_at_the_caller(recordings, small_npz):
    soundfile.write(recordings / "silent.wav", np.zeros(9000), 8000)
    for _ in range(2):
        with pytest.warns(edgel3_np.EdgeL3Warning, match="every sample is zero") as caught:
            similar(recordings / "silent.wav", recordings / "c", model=small_npz)
        assert [warning.filename for warning in caught] == [__file__]


def test_embedding_spaces():
    space = embedding_space(provenance("a"), "a.npz", DIM)
    assert space == EmbeddingSpace("a" * 64, CONTRACT, DIM) == (space.sha256, space.contract, space.dim)
    assert describe(space) == f"length {DIM}, numeric contract {CONTRACT}, weights' sha256 'aaaaaaaaaaaaaaaa'"
    bundled = EmbeddingSpace(edgel3_np.load_model("pico-64").sha256, CONTRACT, 64)
    assert describe(bundled).startswith("pico-64 (length 64, ")
    for said in ({}, {"options": {}}, {**provenance("a"), "weights_sha256": 3}, {**provenance("a"), "options": [5]}):
        with pytest.raises(edgel3_np.EdgeL3Error, match="b.npz: expected a provenance with weights_sha256") as caught:
            embedding_space(said, "b.npz")
        assert caught.value.kind == "damaged"
    with pytest.raises(edgel3_np.EdgeL3Error, match=f"b.npz: expected embeddings of length {DIM}, .*found 6"):
        embedding_space(provenance("a"), "b.npz", 6)


def test_fields_of_a_hit_keep_their_names_and_order():
    """The command prints them as JSON."""
    assert Hit._fields == ("score", "moment", "time", "path", "recording")


def test_true_is_no_contract():
    with pytest.raises(edgel3_np.EdgeL3Error, match="expected a provenance"):
        embedding_space({"weights_sha256": "a", "contract": True, "options": {"dim": 4}}, "a.npz")


def test_means_are_computed_with_one_blas_thread(tmp_path, monkeypatch):
    inside, norm = [], np.linalg.norm
    monkeypatch.setattr(queries.np.linalg, "norm", lambda x: inside.append(len(threads._inside)) or norm(x))
    queries._mean_of(np.ones((2, DIM), np.float32), np.arange(2.0), None, "a")
    assert inside == [1]
