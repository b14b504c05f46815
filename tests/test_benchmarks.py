"""Tests of the benchmarks of accuracy, on generated sounds."""

import csv
import sys

import numpy as np
import pytest
import soundfile
from conftest import ROOT

pytest.importorskip("sklearn", reason="these benchmarks need scikit-learn (the extra 'train-classifier')")
sys.path.append(str(ROOT / "benchmarks"))

import detection  # noqa: E402
import esc  # noqa: E402

from edgel3_np.classifier import Event  # noqa: E402


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Make a collection of two kinds of sound in five folds."""
    folder, rng = tmp_path_factory.mktemp("collection"), np.random.default_rng(0)
    rows = []
    for number in range(10):
        tone = np.sin(np.arange(12000) * (0.2 + 0.01 * number))
        for kind, samples in (("hiss", rng.standard_normal(12000)), ("tone", tone)):
            (folder / "audio" / kind).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "audio" / kind / f"{number}.wav", 0.1 * samples, 8000)
            rows.append([f"{kind}/{number}.wav", number % 5 + 1, kind, number < 5])
    (folder / "meta").mkdir()
    with open(folder / "meta" / "esc50.csv", "w", newline="") as file:
        csv.writer(file).writerows([["filename", "fold", "category", "esc10"], *rows])
    return folder


def test_esc(collection, capsys):
    assert esc.main([str(collection), "--shots", "1", "-m", "pico-64", "-m", "log-mel", "--classes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("20 clips, 2 classes, 5 folds;") and "by chance 50.0" in lines[0]
    for line, model in zip(lines[1:], ("pico-64", "log-mel")):
        assert line.startswith(f"{model}: 100.0 (folds 100.0 to 100.0); mean of classes 100.0; with 1 a class ")
    assert lines[3:] == ["hiss (10): 100, 100", "tone (10): 100, 100"]
    assert len(esc.read_clips(collection, True)[0]) == 10


def test_few_shots_take_nothing_from_their_own_fold():
    folds, classes = np.repeat([1, 2], 6), np.array(["a", "b"] * 6)
    features = np.where(classes == "a", 1.0, -1.0)[:, None] * np.where(folds == 1, 1.0, -1.0)[:, None]
    predicted = esc.predict_few_shot(features, folds, classes, 2, np.random.default_rng(0))
    assert esc.recalls(predicted, classes).tolist() == [0.0, 0.0]


def test_clips_lie_where_the_truth_says_at_the_ratio():
    clip, noise = np.ones(8000), np.random.default_rng(1).standard_normal(40000)
    samples, truth = detection.lay([clip, -clip], ["up", "down"], 3 * noise, 20.0, np.random.default_rng(0))
    assert sorted(event.label for event in truth) == ["down", "up"]
    for event in truth:
        inside = samples[round(event.start * detection.SR) : round(event.end * detection.SR)]
        assert event.end - event.start == pytest.approx(0.5)
        assert (inside.mean() > 0) == (event.label == "up")
        assert abs(inside.mean()) / inside.std() == pytest.approx(10, rel=0.1)


def test_count_of_events():
    truth = [Event(5.0, 6.0, "dog", 1.0), Event(20.0, 21.0, "dog", 1.0), Event(30.0, 31.0, "cat", 1.0)]
    found = [
        Event(4.4, 6.5, "dog", 0.9),  # right
        Event(19.0, 29.0, "dog", 0.9),  # too long
        Event(30.0, 31.0, "dog", 0.9),  # a cat
        Event(40.0, 41.0, "dog", 0.9),  # nothing
    ]
    assert dict(detection.count(found, truth, "dog")) == {"events": 4, "right": 1, "alone": 1, "clips": 2, "heard": 1}
    assert dict(detection.count(found, truth, "cat")) == {"events": 0, "right": 0, "alone": 0, "clips": 1, "heard": 0}


def test_folds_of_a_folder_of_classes(collection):
    clips, folds, classes = detection.read_examples(collection / "audio")
    assert sorted(set(classes)) == ["hiss", "tone"] and len(clips) == 20
    assert np.bincount(folds).tolist() == [4] * 5


def test_detection(collection, capsys):
    assert detection.main([str(collection), "--only", "tone", "--ratios", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    precision, recall = map(int, lines[2].removeprefix("| tone | 10 | ").removesuffix(" |").split(", "))
    assert precision > 80 and recall > 60
    with pytest.raises(SystemExit):
        detection.main([str(collection), "--only", "bell"])
