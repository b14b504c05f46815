"""Tests of fitting: weights, groups, and classes that cannot be recognised."""

import numpy as np
import pytest

import edgel3_np
from edgel3_np.classify.fit import fit_classifier, stretches, weights
from edgel3_np.classify.windows import Pool

pytest.importorskip("sklearn", reason="training needs scikit-learn")


@pytest.fixture(scope="module")
def model():
    return edgel3_np.load_model()


def make_pool(lengths, classes, model, group=None, seed=0, apart=3.0):
    """Make windows of recordings of such lengths, each of one class (-1: none), around the centre of their class."""
    rng = np.random.default_rng(seed)
    centres = apart * rng.standard_normal((max(classes) + 2, model.dim))
    recording = np.repeat(np.arange(len(lengths)), lengths)
    kinds = np.array(classes)[recording]
    embedding = (centres[kinds] + rng.standard_normal((len(kinds), model.dim))).astype(np.float32)
    present = kinds[:, np.newaxis] == np.arange(max(classes) + 1)
    group = recording if group is None else np.array(group)[recording]
    return Pool(embedding, present, np.zeros_like(present), recording, group)


def test_a_stretch_weighs_the_root_of_its_length(model):
    """A stretch is a part of one recording with the same labels: a window that comes nine times counts three times."""
    pool = make_pool([4, 4, 4, 4], [0, 0, -1, -1], model)
    assert stretches(pool).tolist() == np.repeat([0, 1, 2, 3], 4).tolist()
    cut = pool._replace(recording=np.zeros(16, int), unsure=np.arange(16)[:, np.newaxis] == 9)
    assert stretches(cut).tolist() == [0] * 8 + [1, 2] + [3] * 6
    assert weights(np.array([5, 5, 5, 5, 1])).tolist() == pytest.approx([5 / 6] * 4 + [5 / 3])
    nine = np.concatenate([np.tile(np.arange(4), 9), np.arange(4, 16)])
    three = np.concatenate([np.arange(4), np.arange(4), np.arange(4), np.arange(4, 16)])
    many = fit_classifier(["a"], Pool(*(part[nine] for part in pool[:5])), model)
    numbered = Pool(*(part[three] for part in pool[:5]))._replace(recording=np.repeat(np.arange(6), 4))
    few = fit_classifier(["a"], numbered, model)
    np.testing.assert_allclose(many.mean, few.mean, rtol=1e-5, atol=1e-7)
    directions = [found.coefficients[0] / np.linalg.norm(found.coefficients) for found in (many, few)]
    assert directions[0] @ directions[1] > 0.999


def test_recordings_of_one_group_are_held_out_together(model):
    """Windows of one group look alike, and those of other groups say nothing of them."""
    rng, groups = np.random.default_rng(1), np.repeat(np.arange(12), 4)
    pool = make_pool([8] * 48, [0, 0, 0, 0, -1, -1, -1, -1] * 6, model, group=groups, apart=0.0)
    centres = 4 * rng.standard_normal((12, model.dim))  # of each group, which is of one class
    pool = pool._replace(embedding=pool.embedding + centres[pool.group].astype(np.float32))
    (apart,) = fit_classifier(["a"], pool, model).report["classes"]
    (mixed,) = fit_classifier(["a"], pool._replace(group=pool.recording), model).report["classes"]
    assert mixed["average_precision"] > 0.99 and apart["average_precision"] < 0.85


def test_a_class_that_is_not_recognised_is_said_and_is_not_heard_everywhere(model):
    problems = []
    pool = make_pool([6] * 40, [0] * 4 + [-1] * 36, model, apart=0.0)  # nothing tells the class from the rest
    found = fit_classifier(["a"], pool, model, say=problems.append)
    (about,) = found.report["classes"]
    assert about["share"] == pytest.approx(0.1) and about["average_precision"] < 0.19
    assert any(
        text.startswith("a: hardly recognised on held-out recordings: average precision 0.") for text in problems
    )
    assert found.thresholds[0] >= 0.5 and about["threshold"] == found.thresholds[0]
    problems.clear()
    fit_classifier(["a"], make_pool([6] * 40, [0] * 8 + [-1] * 32, model), model, say=problems.append)
    assert not any("hardly recognised" in text for text in problems)
