"""Tests of examples: how they are found and named, and which is the nearest."""

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.live.examples import load_examples, nearest

SR = 8000


def sounds():
    """Make four sounds that differ much."""
    t, rng = np.arange(2 * SR) / SR, np.random.default_rng(0)
    return {
        "low": 0.5 * np.sin(2 * np.pi * 150 * t),
        "high": 0.3 * np.sin(2 * np.pi * 3000 * t),
        "noise": 0.2 * rng.standard_normal(len(t)),
        "clicks": (np.arange(len(t)) % 800 == 0).astype(float),
    }


@pytest.fixture(scope="module")
def model():
    return edgel3_np.load_model()


@pytest.fixture
def folder(tmp_path):
    for name, x in sounds().items():
        soundfile.write(tmp_path / f"{name}.wav", x, SR)
    return tmp_path


def load(folder, model):
    problems = []
    return load_examples(folder, model, problems.append), problems


def test_the_nearest_example_of_each_sound(folder, model):
    examples, problems = load(folder, model)
    assert sorted(examples.labels) == sorted(sounds()) and problems == []
    assert np.allclose(np.linalg.norm(examples.units, axis=1), 1)
    rng = np.random.default_rng(1)
    for name, x in sounds().items():
        for vector in model.embed(0.5 * x + 0.001 * rng.standard_normal(len(x)), SR, hop_size=1.0, center=False)[0]:
            label, cosine = nearest(examples, vector)
            assert label == name and 0.8 < cosine <= 1 + 1e-12


def test_embeddings_and_recordings_are_the_same_examples(folder, model):
    expected, _ = load(folder, model)
    for report in edgel3_np.iter_files(folder, folder / "npz", center=False):
        assert report.status == "done"
    found, problems = load(folder / "npz", model)
    assert found.labels == expected.labels and problems == []
    assert np.allclose(found.units, expected.units, atol=1e-12)
    examples = dict(zip(found.labels, found.units))
    (mean,) = [edgel3_np.embed(folder / "low.wav", center=False).embedding.mean(axis=0, dtype=float)]
    assert np.allclose(examples["low"], mean / np.linalg.norm(mean))


def test_a_recording_with_embeddings_beside_it_is_one_example(folder, model):
    soundfile.write(folder / "low.flac", sounds()["low"], SR)  # the outputs are then low.wav.npz and low.flac.npz
    list(edgel3_np.iter_files(folder, folder))
    soundfile.write(folder / "new.wav", sounds()["low"], SR)
    examples, problems = load(folder, model)
    assert sorted(examples.labels) == ["clicks", "high", "low", "low", "new", "noise"] and problems == []


def test_labels(folder, model):
    for path in ("dog/1.wav", "dog/deep/2.wav", "c.a.t/3.wav", "a.b.wav", "x\x1b.wav"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, sounds()["low"], SR)
    examples, _ = load(folder, model)
    assert sorted(set(examples.labels)) == ["a.b", "c.a.t", "clicks", "dog", "high", "low", "noise", "x\\x1b"]
    assert examples.labels.count("dog") == 2


def test_what_cannot_be_used_is_passed_over(folder, model, small_npz):
    (folder / "text.wav").write_text("no sound")
    (folder / "bad.npz").write_bytes(b"no zip")
    soundfile.write(folder / "empty.wav", np.zeros(0), SR)
    list(edgel3_np.iter_files(folder / "low.wav", folder, model=small_npz))  # of another model: the recording is used
    examples, problems = load(folder, model)
    assert sorted(examples.labels) == sorted(sounds())
    texts = sorted(map(str, problems))
    assert len(texts) == 4 and all(text.startswith(str(folder)) for text in texts)
    assert "low.npz: expected embeddings of pico-64 (length 64" in texts[2] and "embed the example again" in texts[2]


def test_nothing_that_can_be_used(tmp_path, model):
    with pytest.raises(EdgeL3Error, match="expected recordings, or embeddings .* of this model, found none"):
        load(tmp_path, model)
    with pytest.raises(EdgeL3Error, match="missing: expected a folder of examples, found none"):
        load(tmp_path / "missing", model)


def test_an_embedding_of_zeros_is_like_nothing(folder, model):
    examples, _ = load(folder, model)
    assert nearest(examples, np.zeros(64, np.float32))[1] == 0
