"""Tests of the tool that puts labelled sounds of packages into the layout of ESC-50, on generated sounds."""

import csv
import io

import numpy as np
import pytest
import soundfile

from tools.distill import as_esc
from tools.distill.audio import read_packages
from tools.distill.labels import read_labels


def sound(samples, form="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format=form, subtype=subtype)
    return file.getvalue()


def test_a_copy_in_another_format_is_found():
    noise = np.random.default_rng(0).standard_normal((3, 8000)) / 9
    copy = as_esc.decode(sound(np.concatenate([np.zeros(500), noise[0]]), "OGG", "VORBIS"))
    assert as_esc.first_of_copies([noise[0], noise[1], copy, noise[2], noise[1][:6000]]) == [0, 1, 3]


def test_copies_are_left_out_of_one_class_only():
    samples = np.random.default_rng(0).standard_normal(4000)
    clips = [
        as_esc.Clip("p", f"{number}.wav", label, b"", samples) for number, label in enumerate(("dog", "dog", "cat"))
    ]
    silent = as_esc.Clip("p", "3.wav", "cat", b"", np.zeros(0, np.float32))
    assert [clip.name for clip in as_esc.drop_copies([*clips, silent])] == ["2.wav", "0.wav"]


def test_no_group_is_in_two_folds():
    pytest.importorskip("sklearn", reason="folds need scikit-learn (the extra 'train-classifier')")
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20, 200)
    labels = rng.choice(["a", "b", "c"], 200)
    folds = as_esc.fold_numbers(labels, groups)
    assert set(folds) == {1, 2, 3, 4, 5}
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))


def test_rules_name_packages_that_training_never_saw():
    roles = {row["package"]: row["role"] for row in read_packages()}
    more = {row["package"] for row in read_packages(as_esc.PACKAGES)}
    used = {package for package, _, _ in read_labels(as_esc.RULES)}
    assert not more & set(roles)
    assert used == more | {package for package in used if roles.get(package) in ("val", "test")}


@pytest.mark.parametrize("by", ["package", "series"])
def test_collection(tmp_path, monkeypatch, capsys, by):
    pytest.importorskip("sklearn", reason="folds need scikit-learn (the extra 'train-classifier')")
    rng = np.random.default_rng(0)
    content = {
        package: {f"{kind}_{number}.wav": sound(rng.standard_normal(2000) / 9) for kind in kinds for number in range(3)}
        for package, kinds in {
            **{f"p{number}": ("dog", "cat") for number in range(6)},
            "alone": ("owl", "gate"),
        }.items()
    }
    packages = [{"package": package, "version": "1", "role": "val"} for package in content]
    monkeypatch.setattr(as_esc, "read_packages", lambda path=None: packages if path is None else [])
    monkeypatch.setattr(as_esc, "fetch", lambda package, version, folder: package)
    monkeypatch.setattr(as_esc, "sounds_in", lambda deb, keep: content[deb].items())
    rules = [(package, kind, kind) for package in content for kind in ("dog", "cat", "owl")]
    (tmp_path / "rules.tsv").write_text(
        "\n".join("\t".join(rule) for rule in [("package", "pattern", "class"), *rules])
    )
    as_esc.main(f"{tmp_path}/out --cache {tmp_path}/cache --rules {tmp_path}/rules.tsv --by {by}".split())
    with open(tmp_path / "out" / "meta" / "esc50.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and {row["category"] for row in rows} == {"dog", "cat"}
    for row in rows:
        name = row["filename"].split("-")[-1]
        assert (tmp_path / "out" / "audio" / row["filename"]).read_bytes() == content[row["package"]][name]
    if by == "package":
        assert len({(row["package"], row["fold"]) for row in rows}) == 6
    assert "owl\tleft out\t1" in capsys.readouterr().out
