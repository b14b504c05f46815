"""Tests of `Embedder` as a step of scikit-learn's pipelines, and without scikit-learn."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.compat.sklearn import PARAMETERS, Embedder

SR = 8000


def sound(kind, seed):
    """Make 1.5 s of a tone in one of two registers, with noise: shape (12000,), float64."""
    rng = np.random.default_rng(seed)
    pitch = (300, 1500)[kind] * rng.uniform(0.9, 1.1)
    t = np.arange(12000) / SR
    return 0.3 * np.sin(2 * np.pi * pitch * t) + 0.01 * rng.standard_normal(len(t))


@pytest.fixture(scope="module")
def labels():
    return [0, 1] * 6


@pytest.fixture(scope="module")
def sounds(labels):
    return np.stack([sound(kind, seed) for seed, kind in enumerate(labels)])


@pytest.fixture(scope="module")
def paths(sounds, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sounds")
    for number, samples in enumerate(sounds):
        soundfile.write(directory / f"{number:02}.wav", samples, SR, subtype="DOUBLE")
    return [str(path) for path in sorted(directory.iterdir())]


def test_features_are_pooled_over_the_embedding(sounds, paths):
    found = Embedder(hop_size=0.25, pooling="mean+std+max").fit_transform(paths)
    assert found.shape == (12, 3 * 64) and found.dtype == np.float32
    for row, samples in zip(found, sounds):
        embedding = edgel3_np.embed(samples, SR, hop_size=0.25).embedding.astype(np.float64)
        expected = np.concatenate([embedding.mean(axis=0), embedding.std(axis=0), embedding.max(axis=0)])
        np.testing.assert_allclose(row, expected, rtol=1e-6, atol=1e-7)


def test_kinds_of_recordings_and_of_sequences(sounds, paths):
    expected = Embedder().transform(paths)
    for recordings in (np.array(paths), tuple(map(Path, paths)), [Path(path).read_bytes() for path in paths]):
        np.testing.assert_array_equal(Embedder(sr=44100).transform(recordings), expected)  # files have their own rate
    for recordings in (sounds, list(sounds), [samples[:, np.newaxis] for samples in sounds]):
        np.testing.assert_array_equal(Embedder(sr=SR).transform(recordings), expected)
    assert Embedder().transform([]).shape == (0, 64)


def test_every_parameter_is_used(small_npz, sounds):
    """Each parameter has the same meaning as for `embed`."""
    options = {"hop_size": 0.3, "center": False, "threads": 1}
    found = Embedder(small_npz, dim=16, sr=SR, pooling="max", **options).fit_transform(sounds[:1])
    expected = edgel3_np.embed(sounds[0], SR, model=small_npz, **options).embedding.max(axis=0)
    np.testing.assert_array_equal(found, [expected])


def test_parameters():
    embedder = Embedder("sea-64", pooling="std", sr=SR)
    assert list(embedder.get_params()) == list(PARAMETERS)
    assert embedder.get_params(deep=False) == {
        "model": "sea-64", "dim": None, "hop_size": 0.1, "center": True, "pooling": "std", "sr": SR, "threads": None
    }  # fmt: skip
    assert embedder.set_params(model="pico-64", center=False) is embedder and embedder.center is False
    assert repr(embedder) == "Embedder(center=False, pooling='std', sr=8000)" and repr(Embedder()) == "Embedder()"
    with pytest.raises(EdgeL3Error, match="parameter: expected one of model, .*, found 'hop'"):
        embedder.set_params(hop=1)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"pooling": "median"}, "pooling: expected mean, std, max, or different ones joined by .+, found 'median'"),
        ({"pooling": "mean+mean"}, "pooling"),
        ({"pooling": ""}, "pooling"),
        ({"pooling": None}, "pooling"),
        ({"model": "nosuch"}, "model: expected an installed model"),
        ({"model": 64}, "model: expected a model's name or the path"),
        ({"dim": 512}, "dim"),
    ],
)
def test_fit_checks_parameters_and_the_constructor_does_not(parameters, message):
    embedder = Embedder(**parameters)
    with pytest.raises(EdgeL3Error, match=message):
        embedder.fit(["a.wav"])


@pytest.mark.parametrize("recordings", ["a.wav", b"RIFF", 3, None])
def test_inputs_that_are_not_sequences_of_recordings(recordings):
    with pytest.raises(EdgeL3Error, match="X: expected a sequence of recordings"):
        Embedder().fit(recordings)


def test_errors_say_which_recording(sounds, paths):
    with pytest.raises(EdgeL3Error, match="recording 1: .*nosuch.wav") as caught:
        Embedder().transform([paths[0], "nosuch.wav"])
    assert caught.value.kind == "unreadable"
    with pytest.raises(EdgeL3Error, match="recording 0: sr: expected the sampling rate"):
        Embedder().transform(sounds)


def test_warnings_say_which_recording_and_point_at_the_caller(sounds):
    """Python would show a warning that points inside the package only for the first recording."""
    recordings = [sounds[0], np.zeros(12000), sounds[1][:100], np.zeros(12000)]
    embedder = Embedder(sr=SR)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        embedder.transform(recordings)
        embedder.fit_transform(recordings[1:2])
    assert [warning.filename for warning in caught] == [__file__] * 4
    assert [str(warning.message).split(";")[0] for warning in caught] == [
        "recording 1: audio: every sample is zero",
        "recording 2: audio: 0.013 s are shorter than a window of 1 s",
        "recording 3: audio: every sample is zero",
        "recording 0: audio: every sample is zero",
    ]


def test_names_and_count_of_features():
    embedder = Embedder(pooling="mean+max").fit([])
    names = embedder.get_feature_names_out()
    assert embedder.n_features_out_ == len(names) == len(set(names)) == 128
    assert names.dtype == object and (names[0], names[63], names[64]) == ("mean0", "mean63", "max0")


def test_a_pickle_holds_no_model(sounds):
    embedder = Embedder(sr=SR).fit(sounds)
    content = pickle.dumps(embedder)
    assert b"edgel3_np.embedder" in content and b"compat" not in content  # a public name, which stays
    assert len(content) < 500
    np.testing.assert_array_equal(pickle.loads(content).transform(sounds[:2]), embedder.transform(sounds[:2]))


def test_data_frames(sounds, paths):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    column = pandas.Series(paths, index=[f"row {number}" for number in range(12)])
    embedder = Embedder().set_output(transform="pandas")
    frame = embedder.fit_transform(column)
    assert list(frame.index) == list(column.index) and list(frame.columns) == list(embedder.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), Embedder().transform(paths))
    assert list(embedder.transform(paths[:2]).index) == [0, 1]
    assert isinstance(embedder.set_output(transform=None).transform(paths[:1]), pandas.DataFrame)
    assert isinstance(embedder.set_output(transform="default").transform(paths[:1]), np.ndarray)
    with pytest.raises(EdgeL3Error, match="X: expected a sequence of recordings, .*found DataFrame"):
        embedder.transform(column.to_frame())
    with pytest.raises(EdgeL3Error, match="transform: expected 'default', 'pandas' or None, found 'polars'"):
        embedder.set_output(transform="polars")


# Tests with the real scikit-learn, which the extra `test` installs


@pytest.fixture
def pipeline():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(Embedder(sr=SR, threads=1), StandardScaler(), LogisticRegression())


def test_a_pipeline_can_be_trained_cloned_and_pickled(pipeline, sounds, labels):
    from sklearn.base import clone
    from sklearn.utils import estimator_html_repr
    from sklearn.utils.validation import check_is_fitted

    copy = clone(pipeline.set_params(embedder__pooling="mean+std"))
    assert copy[0] is not pipeline[0] and copy[0].get_params() == pipeline[0].get_params()
    copy.fit(sounds[:8], labels[:8])
    check_is_fitted(copy)
    assert copy.score(sounds[8:], labels[8:]) == 1.0
    assert pickle.loads(pickle.dumps(copy)).predict(sounds[8:]).tolist() == labels[8:]
    assert len(copy[:-1].get_feature_names_out()) == 128
    assert "Embedder" in repr(copy) and "Embedder" in estimator_html_repr(copy)
    assert not hasattr(pipeline[0], "n_features_out_")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_search_over_parameters_of_the_embedder(pipeline, paths, labels, n_jobs):
    from sklearn.model_selection import GridSearchCV

    grid = {"embedder__pooling": ["mean", "mean+std"], "embedder__hop_size": [0.1, 0.5]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(paths, labels)
    assert search.best_score_ == 1.0 and len(search.cv_results_["params"]) == 4
    assert search.predict(paths[:4]).tolist() == labels[:4]


def test_cross_validation(pipeline, sounds, labels):
    from sklearn.model_selection import cross_val_score

    assert cross_val_score(pipeline, list(sounds), labels, cv=3, error_score="raise").tolist() == [1.0] * 3


def test_a_pipeline_whose_output_is_a_data_frame(pipeline, sounds, labels):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    from sklearn.base import clone

    frame = clone(pipeline[:-1].set_output(transform="pandas")).fit_transform(sounds, labels)
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns)[:2] == ["mean0", "mean1"]


def test_a_union_of_two_embedders(paths):
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.pipeline import make_union

    union = make_union(Embedder(), Embedder(pooling="max")).fit(paths)
    assert union.transform(paths[:2]).shape == (2, 128)
    assert union.get_feature_names_out()[[0, 64]].tolist() == ["embedder-1__mean0", "embedder-2__max0"]
