import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from trained import KINDS, SR, make_classifier, write_sounds, write_walk

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.classify.classifier import save_classifier
from edgel3_np.classify.page import format_page
from edgel3_np.classify.report import average_precision, best_threshold, evaluate, format_report
from edgel3_np.classify.train import train
from edgel3_np.classify.windows import Pool

sklearn = pytest.importorskip("sklearn", reason="training needs scikit-learn")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"), 5)


@pytest.fixture(scope="module")
def classifier(sounds, tmp_path_factory):
    return train(sounds, tmp_path_factory.mktemp("c") / "c.npz", on_problem=pytest.fail)


def test_kinds_of_sound_are_told_apart(classifier, sounds, tmp_path):
    assert classifier.classes == ("clicks", "hiss", "tone") and classifier.model_name == "pico-64"
    report = classifier.report
    assert report["folds"] == 5 and report["recordings"] == 15 and report["background"] == 0
    for about in report["classes"]:
        assert about["recordings"] == 5 and about["average_precision"] > 0.95 and about["recall"] > 0.9
        assert set(about["spread"]) == {"precision", "recall", "average_precision"} and len(about["folds"]) == 5
    model = edgel3_np.load_model()
    for name, make in KINDS.items():
        scores = classifier.predict(model.embed(make(3.0, np.random.default_rng(99)), SR))
        assert classifier.classes[scores.mean(axis=0).argmax()] == name


def test_the_same_file_for_the_same_labels_and_any_number_of_jobs(sounds, classifier, tmp_path):
    train(sounds, tmp_path / "c.npz", jobs=2, on_problem=pytest.fail)
    assert edgel3_np.load_classifier(tmp_path / "c.npz").sha256 == classifier.sha256


KILLED = """
import os, signal, sys
from edgel3_np.classify import train as module

folder, where = sys.argv[1:]


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


setattr(module, where, die)
module.train(folder + "/sounds", folder + "/c.npz", embeddings=folder + "/e", on_problem=lambda problem: None)
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
@pytest.mark.parametrize("where", ["pool_windows", "save_classifier"])
def test_killed_before_the_classifier_is_written(where, tmp_path):
    """After kill -9 the earlier classifier is still there, embeddings are whole, and the next run uses them."""
    sounds, path = write_sounds(tmp_path / "sounds", 2), tmp_path / "c.npz"
    model = edgel3_np.load_model()
    save_classifier(path, make_classifier(model))
    before = path.read_bytes()
    env = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), where], env=env, timeout=100)
    assert ran.returncode == -signal.SIGKILL and path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".part") == ["c.npz", "e", "sounds"]
    options = {"embeddings": tmp_path / "e", "on_problem": lambda problem: None}
    found = train(sounds, path, on_report=lambda report: pytest.fail(), **options)
    assert edgel3_np.load_classifier(path).classes == found.classes


def test_embeddings_that_are_there_are_used(sounds, tmp_path, monkeypatch):
    """Whatever their hop, and wherever they lie in the folder; what is missing is added."""
    edgel3_np.embed_files(sounds / "hiss", tmp_path / "e" / "elsewhere", hop_size=0.25)
    done = []
    options = {"embeddings": tmp_path / "e", "on_problem": lambda problem: None}
    found = train(sounds, None, hop_size=0.5, on_report=done.append, **options)
    assert len(done) == 10 and {report.status for report in done} == {"done"}
    assert [about["windows"] for about in found.report["classes"]] == [30, 55, 30]
    again = train(sounds, None, on_report=lambda report: pytest.fail(), **options)
    assert again.coefficients.tobytes() == found.coefficients.tobytes()


def test_embeddings_of_another_recording_or_model_are_not_used(tmp_path):
    sounds, done = write_sounds(tmp_path / "s", 2), []
    edgel3_np.embed_files(sounds, tmp_path / "e")
    write_sounds(sounds, 2, seconds=2.5, seed=7)  # the same names
    found = train(sounds, None, embeddings=tmp_path / "e", on_report=done.append, on_problem=lambda problem: None)
    assert len(done) == 6 and sum(about["windows"] for about in found.report["classes"]) == 6 * 21


def test_a_reused_file_is_never_replaced(tmp_path):
    """The recording `1.wav` would get the name that the embeddings of `a/1.wav` have."""
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for name, make in (("a/1.wav", KINDS["hiss"]), ("1.wav", KINDS["tone"])):
        soundfile.write(tmp_path / name, make(3.0, rng), SR)
    edgel3_np.embed_files(tmp_path / "a", tmp_path / "e")
    before = (tmp_path / "e" / "1.npz").read_bytes()
    (tmp_path / "l.csv").write_text("path,label\na/1.wav,hiss\n1.wav,tone\n")
    found = train(tmp_path / "l.csv", None, embeddings=tmp_path / "e", on_problem=lambda problem: None)
    assert (tmp_path / "e" / "1.npz").read_bytes() == before
    model = edgel3_np.load_model()
    assert found.predict(model.embed(str(tmp_path / "1.wav")))[:, 1].mean() > 0.5


def test_nothing_but_a_classifier_is_replaced(sounds, tmp_path):
    for name in ("labels.csv", "a.wav", "empty.npz"):
        (tmp_path / name).write_text("path,label\n")
        with pytest.raises(EdgeL3Error, match="expected nothing, or a classifier that train wrote, found another file"):
            train(sounds, tmp_path / name)
        assert (tmp_path / name).read_text() == "path,label\n"


def test_spans_and_background(tmp_path):
    """Sound without labels is background, unless some sound has that label: then only labels count."""
    rng = np.random.default_rng(0)
    lines = ["path,start,end,label"]
    for number in range(4):
        write_walk(tmp_path / f"{number}.wav", rng)
        lines.append(f"{number}.wav,4,6,tone")
    (tmp_path / "l.csv").write_text("\n".join(lines))
    found = train(tmp_path / "l.csv", None, on_problem=lambda problem: None)
    (about,) = found.report["classes"]
    # windows centred on 4.0 to 6.0 hold half a second of the label or more; ten others touch it on both sides
    assert (about["windows"], found.report["windows"], found.report["background"]) == (84, 384, 4 * (96 - 21 - 8))
    assert about["average_precision"] > 0.9
    (tmp_path / "l.csv").write_text("\n".join([*lines, *(f"{number}.wav,0,2,background" for number in range(4))]))
    found = train(tmp_path / "l.csv", None, on_problem=lambda problem: None)
    assert found.classes == ("tone",) and found.report["windows"] == 4 * (21 + 21)


def test_what_is_wanting_is_said(tmp_path):
    sounds = write_sounds(tmp_path / "s", 3)
    (tmp_path / "s" / "rare").mkdir()
    soundfile.write(tmp_path / "s" / "rare" / "1.wav", KINDS["tone"](1.2, np.random.default_rng(3)), SR)
    (tmp_path / "s" / "rare" / "broken.wav").write_bytes(b"RIFF")
    problems = []
    found = train(sounds, None, on_problem=lambda problem: problems.append(str(problem)))
    assert any(text.startswith("rare: few examples: 1 recordings, ") for text in problems)
    assert any(text.startswith("rare: could not be tested") for text in problems)
    assert any(text.startswith("left out: ") and "broken.wav" in text for text in problems)
    about = found.report["classes"][2]
    assert about["label"] == "rare" and about["precision"] is None and about["threshold"] == 0.5
    assert any("rare" in note for note in found.report["notes"])
    assert "broken" not in json.dumps(found.report)  # paths stay at home
    assert "-" in format_report(found.report)[3].split()


def test_one_recording_cannot_be_tested(tmp_path):
    write_walk(tmp_path / "1.wav")
    (tmp_path / "l.csv").write_text("path,start,end,label\n1.wav,4,6,tone\n")
    problems = []
    found = train(tmp_path / "l.csv", None, on_problem=lambda problem: problems.append(str(problem)))
    assert any("nothing can be held out" in text for text in problems)
    assert found.report["folds"] == 0 and len(format_report(found.report)) == 2


def test_wrong_labels_and_options(tmp_path, sounds, monkeypatch):
    (tmp_path / "s" / "background").mkdir(parents=True)
    (tmp_path / "one" / "dog").mkdir(parents=True)
    for name in ("s/background", "one/dog"):
        soundfile.write(tmp_path / name / "1.wav", np.ones(SR * 2) / 9, SR)
    (tmp_path / "far.csv").write_text("path,start,end,label\ns/background/1.wav,50,60,dog\n")
    for labels, options, message in (
        (tmp_path / "s", {}, "expected 1 to 256 classes besides background, found background"),
        (tmp_path / "one", {}, "expected sound in which dog is not heard, found none; add a class"),
        (tmp_path / "far.csv", {}, "expected labels in which windows lie, found none"),
        (sounds, {"output": tmp_path / "no" / "c.npz"}, "expected a name in an existing directory"),
        (sounds, {"model": "nothing"}, "expected an installed model"),
        (sounds, {"hop_size": 0}, "hop_size"),
        (sounds, {"model": "pico-64-stream", "hop_size": 0.25}, "hop_size: expected a multiple of 0.1 s"),
        (sounds, {"jobs": 0}, "jobs"),
    ):
        with pytest.raises(EdgeL3Error, match=message):
            train(labels, options.pop("output", None), on_problem=lambda problem: None, **options)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(EdgeL3Error, match="pip install scikit-learn"):
        train(sounds, None)


scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


@given(scored)
def test_average_precision_is_that_of_scikit_learn(pairs):
    from sklearn.metrics import average_precision_score

    scores, truth = np.array([score for score, _ in pairs]), np.array([is_true for _, is_true in pairs])
    found = average_precision(scores, truth)
    assert found == pytest.approx(average_precision_score(truth, scores)) if truth.any() else found is None


@given(scored)
def test_no_threshold_has_a_better_f1(pairs):
    scores, truth = np.array([score for score, _ in pairs]), np.array([is_true for _, is_true in pairs])

    def f1(threshold):
        answers = scores >= threshold
        return 2 * (answers & truth).sum() / (answers.sum() + truth.sum())

    found = best_threshold(scores, truth)
    assert 0 < found <= 1
    if truth.any() and not truth.all():
        positive = [score for score in scores if score > 0]  # a threshold is above 0
        assert f1(found) == pytest.approx(max(map(f1, positive), default=0)) or scores[truth].min() == 0


def test_the_confusion_table_counts_each_pair():
    """Windows of a, of b, of both, of nothing; the classifier takes b for a, and hears nothing in one of a."""
    present = np.array([[1, 0]] * 3 + [[0, 1], [1, 1]] + [[0, 0]] * 3, bool)
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.1], [0.9, 0.1], [0.9, 0.9]] + [[0.1, 0.1]] * 3)
    half = np.repeat([0, 1], 8)
    pool = Pool(np.zeros((16, 3)), np.tile(present, (2, 1)), np.zeros((16, 2), bool), half, half)
    report, thresholds = evaluate(["a", "b"], pool, np.tile(scores, (2, 1)), half, 2)
    assert report["confusion"]["windows"] == [[6, 0, 2], [2, 2, 0], [0, 0, 6]]
    assert thresholds.tolist() == pytest.approx([0.5, 0.5])
    assert report["classes"][0]["precision"] == pytest.approx(6 / 8)
    json.dumps(report, allow_nan=False)


def test_the_page_is_whole_and_escaped(classifier):
    import dataclasses

    evil = "<img src=x onerror=alert(1)>"
    report = json.loads(json.dumps(classifier.report).replace("clicks", evil))
    page = format_page(dataclasses.replace(classifier, classes=(evil, "b"), report={**report, "notes": [evil]}))
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "http" not in page and "<script" not in page and "color-scheme: light dark" in page
