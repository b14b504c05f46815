import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import classifier_attacks
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained import make_classifier

import edgel3_np
from edgel3_np import Classifier, EdgeL3Error, Embedding, load_classifier
from edgel3_np.classify.classifier import ARRAYS, is_label, parse_classifier, save_classifier


def content_of(classifier):
    file = io.BytesIO()
    save_classifier(file, classifier)
    return file.getvalue()


@pytest.fixture(scope="module")
def classifier(small_model):
    return make_classifier(small_model)


def test_what_is_written_is_read_back(classifier, tmp_path):
    save_classifier(tmp_path / "c.npz", classifier)
    for load in (load_classifier, Classifier.load):
        found = load(tmp_path / "c.npz")
        for name in ARRAYS:
            assert getattr(found, name).tobytes() == getattr(classifier, name).tobytes()
            assert not getattr(found, name).flags.writeable
        for name in ("classes", "model_name", "model_sha256", "contract", "report", "dim"):
            assert getattr(found, name) == getattr(classifier, name)
        assert len(found.sha256) == 64
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.classes = ()
        assert pickle.loads(pickle.dumps(found)).classes == found.classes


def test_the_same_bytes_for_the_same_classifier(classifier):
    assert content_of(classifier) == content_of(parse_classifier(content_of(classifier), "c"))


def test_scores_are_the_sigmoid_of_the_formula(classifier):
    embedding = np.random.default_rng(1).standard_normal((50, classifier.dim)).astype(np.float32)
    found = classifier.predict(Embedding(embedding, np.arange(50.0)))
    for row, scores in zip(embedding.astype(float), found):
        for number in range(2):
            affine = classifier.intercepts[number]
            for place in range(classifier.dim):
                standard = (row[place] - classifier.mean[place]) / classifier.scale[place]
                affine += classifier.coefficients[number, place] * standard
            assert scores[number] == pytest.approx(1 / (1 + np.exp(-affine)), rel=1e-12)
    assert found.dtype == np.float64 and found.shape == (50, 2)


@given(st.integers(0, 9000), st.integers(0, 9000))
def test_a_window_has_the_same_bytes_whatever_is_scored_with_it(small_model, first, last):
    classifier = make_classifier(small_model, seed=3)
    embedding = np.random.default_rng(2).standard_normal((9000, classifier.dim)).astype(np.float32)
    first, last = sorted((first, last))
    whole = classifier.predict(Embedding(embedding, np.zeros(9000)))
    part = classifier.predict(Embedding(embedding[first:last], np.zeros(last - first)))
    assert part.tobytes() == whole[first:last].tobytes()


def scores_in_every_way(dim, count):
    """Score embeddings as a whole, one by one, from other places of memory and in other orders: a list of bytes."""
    classifier = make_classifier(SimpleNamespace(name="m", sha256="0" * 64, dim=dim), [f"c{n}" for n in range(count)])
    whole = np.random.default_rng(dim).standard_normal((37, dim)).astype(np.float32)
    moved = np.zeros(whole.size + 1, np.float32)[1:].reshape(whole.shape)
    moved[:] = whole
    alike = [whole, np.asfortranarray(whole), np.repeat(whole, 2, axis=0)[::2], moved, whole.astype(np.float64)]
    found = [classifier.predict(Embedding(rows, np.zeros(37))).tobytes() for rows in alike]
    rows = [classifier.predict(Embedding(whole[n : n + 1], np.zeros(1))).tobytes() for n in range(37)]
    return [*found, b"".join(rows)]


@pytest.mark.parametrize("dim", [1, 2, 7, 16, 33, 64, 511, 512])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_window_has_the_same_bytes_wherever_it_lies_in_memory(dim, count):
    assert len(set(scores_in_every_way(dim, count))) == 1


@pytest.mark.parametrize("kernels", ["Prescott", "Nehalem", "Haswell", "SkylakeX"])
def test_a_window_has_the_same_bytes_with_other_kernels_of_openblas(kernels):
    """Prescott's round otherwise where a vector does not begin at a multiple of 16 bytes."""
    code = "from test_classifier import scores_in_every_way as f\n"
    code += "assert all(len(set(f(dim, count))) == 1 for dim in (1, 7, 16, 33, 511) for count in (1, 2, 3))"
    places = [
        str(Path(edgel3_np.__file__).parent.parent),
        str(Path(__file__).parent),
        str(Path(__file__).parent.parent),
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OPENBLAS_CORETYPE": kernels}
    ran = subprocess.run([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True, timeout=300)
    if ran.returncode < 0 and kernels == "SkylakeX":
        pytest.skip("this processor has no AVX-512")
    assert ran.returncode == 0, ran.stderr


def test_scoring_a_long_recording_needs_little_memory():
    classifier = make_classifier(SimpleNamespace(name="m", sha256="0" * 64, dim=6144))
    embedding = np.ones((3000, 6144), np.float32)
    tracemalloc.start()
    try:
        classifier.predict(Embedding(embedding, np.arange(3000.0)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_extreme_embeddings_have_scores(classifier):
    embedding = np.full((2, classifier.dim), 3e38, np.float32) * np.array([[1], [-1]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        found = classifier.predict(Embedding(embedding, np.zeros(2)))
    assert np.isfinite(found).all() and ((found >= 0) & (found <= 1)).all()


def test_a_stream_has_the_scores_of_the_whole_sound(small_model):
    classifier = make_classifier(small_model)
    sound = np.random.default_rng(0).standard_normal(20000)
    whole = classifier.predict(small_model.embed(sound, 8000))
    with edgel3_np.Stream(small_model, 8000) as stream:
        parts = [classifier.predict(result) for result in stream.over(np.array_split(sound, 17))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_embeddings_of_another_model_are_refused(classifier, small_model):
    classifier.check_model(small_model)
    for change, said in (
        ({"model_sha256": "0" * 64}, "'0000000000000000'"),
        ({"contract": 1}, "numeric contract 1"),
        ({"mean": np.zeros(9)}, "length 9"),
    ):
        with pytest.raises(EdgeL3Error, match="model small: expected embeddings of small") as caught:
            dataclasses.replace(classifier, **change).check_model(small_model)
        assert said in str(caught.value) and "train the classifier again" in str(caught.value)
    with pytest.raises(EdgeL3Error, match=r"expected embeddings of shape \(t, 16\), from small, found \(2, 64\)"):
        classifier.predict(Embedding(np.zeros((2, 64), np.float32), np.zeros(2)))
    for wrong in (np.zeros((2, 16)), "a.wav", None):
        with pytest.raises(EdgeL3Error, match="expected all that embed\\(\\) returns"):
            classifier.predict(wrong)


def test_what_a_label_may_be():
    assert all(map(is_label, ["dog", "Große Hufeisennase", "犬", "a-b", "<img src=x>", "{score}", "x" * 100]))
    assert not any(map(is_label, ["", " dog", "dog ", "-rf", "a\tb", "a\nb", "\x1b[2J", "x" * 101, "a\udcff", 3, None]))


@pytest.fixture(scope="module")
def outcomes(small_model, tmp_path_factory):
    """Load every bad file in a process of its own: outcome and growth of memory, by attack."""
    folder = tmp_path_factory.mktemp("attacks")
    good = content_of(make_classifier(small_model))
    for name, (make, _) in classifier_attacks.ATTACKS.items():
        (folder / f"{name}.npz").write_bytes(make(good))
    (folder / "good.npz").write_bytes(good)
    names = ["good", *classifier_attacks.ATTACKS]
    tests = Path(classifier_attacks.__file__).parent
    places = [str(Path(edgel3_np.__file__).parent.parent), str(tests)]
    ran = subprocess.run(
        [sys.executable, "-W", "error", tests / "classifier_attacks.py", *(folder / f"{name}.npz" for name in names)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {Path(path).stem: (outcome, grown) for path, outcome, grown in lines}


@pytest.mark.parametrize("name", classifier_attacks.ATTACKS)
def test_attacks_are_refused_with_words_and_little_memory(outcomes, name):
    outcome, grown = outcomes[name]
    assert classifier_attacks.ATTACKS[name][1] in outcome and f"{name}.npz" in outcome
    assert "Error: " not in outcome and grown < 60 << 20


def test_the_good_file_of_the_attacks_loads(outcomes):
    assert outcomes["good"][0] == "loaded"


@given(st.data())
def test_damaged_files_are_errors_of_this_package(small_model, data):
    content = bytearray(content_of(make_classifier(small_model)))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_classifier(bytes(content), "c.npz")
    except EdgeL3Error as error:
        assert "c.npz" in str(error)


def test_a_report_that_is_too_long_is_not_written(classifier):
    with pytest.raises(EdgeL3Error, match="expected at most 1048576 bytes of labels and report"):
        content_of(dataclasses.replace(classifier, report={"notes": ["x" * (1 << 20)]}))
    with pytest.raises(ValueError):
        content_of(dataclasses.replace(classifier, report={"x": float("nan")}))
