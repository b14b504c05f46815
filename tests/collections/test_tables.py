"""Tests of `edgel3_np.load`: a collection of embeddings as one table in memory."""

import os
import warnings

import numpy as np
import pytest
import soundfile
from collection_files import DIM, hostile, save

import edgel3_np
from edgel3_np.collections.gather import MAX_NAME, name_recording
from edgel3_np.collections.names import as_text


@pytest.fixture
def made(tmp_path):
    """Write seven files of embeddings; return what is in each, by the name of its recording, in order."""
    rng, made = np.random.default_rng(0), {}
    for number in range(7):
        name = f"{'ab'[number // 4]}/{number}"
        made[f"{name}.wav"] = rng.random((rng.integers(1, 9), DIM)).astype(np.float32)
        save(tmp_path / "c" / f"{name}.npz", made[f"{name}.wav"], input={"name": f"{name}.wav"})
    return made


def test_a_row_for_each_window(made, tmp_path):
    table = edgel3_np.load(tmp_path / "c")
    assert isinstance(table, edgel3_np.Table) and table.label is None
    assert table.embedding.dtype == np.float32 and table.time.dtype == np.float64
    np.testing.assert_array_equal(table.embedding, np.concatenate(list(made.values())))
    assert list(table.path) == [name for name, embedding in made.items() for _ in embedding]
    np.testing.assert_array_equal(table.time, np.concatenate([np.arange(len(x)) * 0.1 for x in made.values()]))
    assert all(isinstance(path, str) for path in table.path)
    assert {name: array.shape[0] for name, array in table.to_dict().items()} == dict.fromkeys(
        ("embedding", "path", "time"), len(table.embedding)
    )


def test_one_file_several_paths_and_each_file_once(made, tmp_path):
    one = edgel3_np.load(str(tmp_path / "c" / "b" / "5.npz"))
    np.testing.assert_array_equal(one.embedding, made["b/5.wav"])
    both = edgel3_np.load([tmp_path / "c" / "b", tmp_path / "c" / "a" / "0.npz", tmp_path / "c" / "b" / "5.npz"])
    assert list(dict.fromkeys(both.path)) == ["b/4.wav", "b/5.wav", "b/6.wav", "a/0.wav"]
    assert len(edgel3_np.load(iter([tmp_path / "c", tmp_path / "c"])).time) == sum(map(len, made.values()))


def test_labels_are_the_names_of_folders(made, tmp_path):
    save(tmp_path / "c" / "x.npz", np.ones((2, DIM)), input={"name": "x.wav"})
    save(tmp_path / "c" / "y.npz", np.ones((2, DIM)), input={"name": "far/off/y.wav"})
    save(tmp_path / "c" / "z.npz", np.ones((2, DIM)), input={"root": "/root", "name": "z.wav"})
    table = edgel3_np.load(tmp_path / "c", labels="folder")
    labels = dict(zip(table.path, table.label))
    assert labels == {
        **{name: name[0] for name in made},
        "x.wav": "",
        "far/off/y.wav": "off",
        os.path.join("/root", "z.wav"): "",
    }
    assert set(table.to_dict()) == {"embedding", "path", "time", "label"}
    for labels in ("folders", True, 3, ["folder"]):
        with pytest.raises(edgel3_np.EdgeL3Error, match="labels: expected 'folder', or None .* found"):
            edgel3_np.load(tmp_path / "c", labels=labels)


@pytest.mark.parametrize(
    "said, named",
    [
        ({"input": {"name": "a/b.wav", "root": "/data"}}, (os.path.join("/data", "a/b.wav"), "a")),
        ({"input": {"name": "a/b.wav", "root": 3}}, ("a/b.wav", "a")),
        ({"input": {"name": "/a/b.wav"}}, ("/a/b.wav", "a")),
        ({"input": {"name": "b.wav"}}, ("b.wav", "")),
        ({"input": {"name": ""}}, ("x.npz", "")),
        ({"input": {"name": ["a"]}}, ("x.npz", "")),
        ({"input": {}}, ("x.npz", "")),
        ({"input": "a.wav"}, ("x.npz", "")),
        ({}, ("x.npz", "")),
    ],
)
def test_the_name_of_a_recording(said, named):
    assert name_recording(said, "x.npz") == named


def test_a_name_without_end_is_refused(tmp_path):
    """A name is repeated in each row: a file of 65,000 windows would become a table of 17 GB."""
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    save(tmp_path / "c" / "b.npz", np.ones((2, DIM)), input={"name": "x" * (MAX_NAME + 1)})
    with pytest.warns(edgel3_np.EdgeL3Warning, match=r"b.npz: expected a provenance with a path of at most 4096"):
        assert set(edgel3_np.load(tmp_path / "c").path) == {"a.wav"}


def test_broken_and_hostile_files_are_skipped(tmp_path):
    names = hostile(tmp_path / "c")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = edgel3_np.load(tmp_path / "c")
    assert set(table.path) == {"good.wav"} and len(table.time) == 30
    assert len(caught) == len(names) and {warning.category for warning in caught} == {edgel3_np.EdgeL3Warning}
    assert {warning.filename for warning in caught} == {__file__}
    assert {next(name for name in names if f"/{name}:" in str(warning.message)) for warning in caught} == names


def test_two_models(tmp_path):
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)))
    for change in ({"weights_sha256": "b" * 64}, {"contract": 99}):
        save(tmp_path / "c" / "b.npz", np.ones((2, DIM)), **change)
        with pytest.raises(edgel3_np.EdgeL3Error, match=r"b.npz: expected embeddings of one model.*found.*; name dir"):
            edgel3_np.load(tmp_path / "c")
    save(tmp_path / "c" / "b.npz", np.ones((2, DIM + 1)))
    with pytest.raises(edgel3_np.EdgeL3Error, match="found length 6"):
        edgel3_np.load(tmp_path / "c")


def test_nothing_to_load(tmp_path):
    (tmp_path / "none").mkdir()
    for paths in (tmp_path / "none", [tmp_path / "none"], []):
        with pytest.raises(
            edgel3_np.EdgeL3Error, match=r"expected embeddings .npz, or parts of a table., found none; make them"
        ) as caught:
            edgel3_np.load(paths)
        assert caught.value.kind == "invalid"
    (tmp_path / "none" / "x.npz").write_text("x")
    with pytest.warns(edgel3_np.EdgeL3Warning), pytest.raises(edgel3_np.EdgeL3Error, match="found none") as caught:
        edgel3_np.load(tmp_path / "none")
    assert caught.value.kind == "damaged"


def test_what_embed_files_wrote(small_npz, sweep, tmp_path):
    (tmp_path / "in" / "noises").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "noises" / "sweep.wav", sweep, 8000)
    for report in edgel3_np.iter_files(tmp_path / "in", tmp_path / "out", model=small_npz, hop_size=0.5):
        assert report.status == "done"
    table = edgel3_np.load(tmp_path / "out", labels="folder")
    expected = edgel3_np.embed(sweep, 8000, model=small_npz, hop_size=0.5)
    np.testing.assert_array_equal(table.time, expected.timestamps)
    np.testing.assert_allclose(table.embedding, expected.embedding, atol=1e-3)  # the file has 16 bits
    assert set(table.label) == {"noises"} and os.path.basename(table.path[0]) == "sweep.wav"


def test_pandas(made, tmp_path):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    table = edgel3_np.load(tmp_path / "c", labels="folder")
    frame = table.to_pandas()
    assert list(frame.columns) == ["path", "time", "label", *(f"e{number}" for number in range(DIM))]
    vectors = frame.filter(regex=r"^e\d")
    assert set(vectors.dtypes) == {np.dtype(np.float32)} and frame.time.dtype == np.float64
    np.testing.assert_array_equal(vectors.to_numpy(), table.embedding)
    assert list(frame.path) == list(table.path) and list(frame.label) == list(table.label)
    means = frame.groupby("path")[list(vectors.columns)].mean()
    for name, embedding in made.items():
        np.testing.assert_allclose(means.loc[name], embedding.mean(axis=0), rtol=1e-5)
    frame.loc[0, "e0"] = 99.0
    assert table.embedding[0, 0] != 99.0
    assert isinstance(frame, pandas.DataFrame)
    assert "label" not in edgel3_np.load(tmp_path / "c").to_pandas()


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9/a.wav")
    save(tmp_path / "c" / "a.npz", np.ones((2, DIM)), input={"name": name})
    save(tmp_path / "c" / "b.npz", np.ones((2, DIM)), input={"name": "half \ud800.wav"})
    table = edgel3_np.load(tmp_path / "c", labels="folder")
    assert list(dict.fromkeys(table.path)) == [name, "half \ud800.wav"]
    assert [as_text(path) for path in table.path[::2]] == ["caf\\xe9/a.wav", "half \\ud800.wav"]
    pytest.importorskip("pandas", reason="needs pandas")
    frame = table.to_pandas()
    assert list(frame.path)[::2] == ["caf\\xe9/a.wav", "half \\ud800.wav"]
    assert list(frame.label)[::2] == [
        "caf\\xe9",
        "",
    ]


def test_polars_takes_the_dictionary(made, tmp_path):
    polars = pytest.importorskip("polars", reason="needs polars")
    table = edgel3_np.load(tmp_path / "c")
    frame = polars.DataFrame({name: table.to_dict()[name] for name in ("time", "embedding")})
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), table.embedding)


def test_without_pandas(monkeypatch, made, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    table = edgel3_np.load(tmp_path / "c")
    with pytest.raises(edgel3_np.EdgeL3Error, match="to_pandas: expected pandas, but .* pip install pandas"):
        table.to_pandas()
