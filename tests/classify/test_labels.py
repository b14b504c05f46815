import os

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from trained import SR, hiss, write_sounds

from edgel3_np import EdgeL3Error
from edgel3_np.classify.labels import read_labels
from edgel3_np.classify.tracks import Span, read_csv, read_track
from edgel3_np.classify.windows import mark_windows
from edgel3_np.collections.results import MAX_TIME

WHOLE = (-np.inf, np.inf)
RAVEN = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation\n"


def sound(path, seed=0, seconds=3.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, hiss(seconds, np.random.default_rng(seed)), SR)
    return str(path)


def test_folders_named_like_classes(tmp_path):
    write_sounds(tmp_path / "s", 2)
    lost = sound(tmp_path / "s" / "lost.wav", 9)
    deep = sound(tmp_path / "s" / "hiss" / "deep" / "7.wav", 8)
    (tmp_path / "s" / "readme.txt").write_text("These are sounds.\n1\t2\n")
    (tmp_path / "s" / "notes.txt").write_bytes(b"\xff\xfe")
    problems = []
    labels = read_labels([tmp_path / "s"], problems.append)
    assert len(labels.spans) == 7 and labels.spans[deep] == [Span(*WHOLE, "hiss")]
    assert labels.names[deep] == os.path.join("hiss", "deep", "7.wav")
    assert [str(problem).split(":")[0] for problem in problems] == [lost]


@pytest.mark.parametrize("mark, ending", [(",", "csv"), (";", "csv"), ("\t", "tsv")])
def test_tables(tmp_path, mark, ending):
    one, two = sound(tmp_path / "a" / "1.wav"), sound(tmp_path / "2.wav", 1)
    rows = [["Label", "path", "start", "end", "score"], ["dog", "a/1.wav", "0.5", "1.5", "0.9"]]
    rows += [["cat", "a/1.wav", "1", "2", ""], ["dog", two, "", "", ""], ["dog", "gone.wav", "1", "2", ""]]
    table, problems = tmp_path / f"labels.{ending}", []
    table.write_text("\ufeff" + "\r\n".join(mark.join(row) for row in rows) + "\r\n\r\n", encoding="utf-8")
    labels = read_labels([table], problems.append)
    assert labels.spans == {one: [Span(0.5, 1.5, "dog"), Span(1, 2, "cat")], two: [Span(*WHOLE, "dog")]}
    assert labels.names == {one: os.path.join("a", "1.wav"), two: "2.wav"}
    assert len(problems) == 1 and "gone.wav: left out: expected a recording, found none" in str(problems[0])


def test_tracks_of_audacity_and_tables_of_raven_in_a_folder(tmp_path):
    one, two, three = (sound(tmp_path / f"{number}.wav", number) for number in (1, 2, 3))
    left, empty = sound(tmp_path / "4.wav", 4), sound(tmp_path / "5.wav", 5)
    (tmp_path / "1.txt").write_text("0.500000\t1.5\tdog\n\\\t100.0\t2000.0\n2,0\t2,0\tcat\n", encoding="utf-8")
    (tmp_path / "2.txt").write_text(RAVEN + "1\tSpectrogram 1\t1.0\t2.0\t\t\towl\n")
    (tmp_path / "all.txt").write_text(RAVEN + "1\tSpectrogram 1\t3601.0\t3602.5\t3.wav\t0.25\towl\n")
    (tmp_path / "5.txt").write_text("\n")
    problems = []
    labels = read_labels([tmp_path], problems.append)
    assert labels.spans == {
        one: [Span(0.5, 1.5, "dog"), Span(2.0, 2.0, "cat")],
        two: [Span(1.0, 2.0, "owl")],
        three: [Span(0.25, 1.75, "owl")],
        empty: [],
    }
    assert [str(problem).split(":")[0] for problem in problems] == [left]
    assert read_labels([tmp_path / "all.txt"], pytest.fail).spans == {three: [Span(0.25, 1.75, "owl")]}


def test_copies_of_a_recording_are_one(tmp_path):
    write_sounds(tmp_path, 2)
    (tmp_path / "both").mkdir()
    content = (tmp_path / "hiss" / "0.wav").read_bytes()
    (tmp_path / "both" / "copy.wav").write_bytes(content)
    labels = read_labels([tmp_path], pytest.fail)
    copy = str(tmp_path / "both" / "copy.wav")
    assert len(labels.spans) == 6 and [span.label for span in labels.spans[copy]] == ["both", "hiss"]


def test_several_sources_are_taken_together_and_answers_tell_of_their_rows_only(tmp_path):
    one, two, three = (sound(tmp_path / f"{number}.wav", number) for number in (1, 2, 3))
    (tmp_path / "all.csv").write_text("path,start,end,label\n1.wav,0,1,dog\n2.wav,1,2,dog\n")
    answers = "path,start,end,label,score,answer\n1.wav,2,3,dog,0.9,no\n3.wav,0,1,dog,0.8,yes\n"
    answers += "3.wav,1,2,cat,0.7,Unsure\n3.wav,2,3,background,,no\n"
    (tmp_path / "page.csv").write_text(answers)
    (tmp_path / "some.csv").write_text("path,label,start,end\n2.wav,background,0,1\n")
    labels = read_labels([tmp_path / "page.csv", tmp_path / "all.csv", tmp_path / "some.csv"], pytest.fail)
    assert labels.spans == {
        one: [Span(2, 3, "dog", False), Span(0, 1, "dog")],
        three: [Span(0, 1, "dog"), Span(1, 2, "cat", None)],
        two: [Span(1, 2, "dog"), Span(0, 1, "background")],
    }
    assert labels.partial == {three}
    (tmp_path / "none.csv").write_text("path,start,end,label,answer\n1.wav,2,3,dog,\n3.wav,0,1,dog,unsure\n")
    with pytest.raises(EdgeL3Error, match="none.csv: expected answers of yes or no, found none"):
        read_labels([tmp_path / "none.csv"], pytest.fail)
    assert set(read_labels([tmp_path / "none.csv", tmp_path / "some.csv"], pytest.fail).spans) == {two}
    assert read_labels([tmp_path / "some.csv"], pytest.fail).partial == {two}


def test_recordings_of_one_group_belong_together(tmp_path):
    one, two, _ = (sound(tmp_path / f"{number}.wav", number) for number in (1, 2, 3))
    rows = ["path,label,group", "1.wav,dog, monday ", "2.wav,dog,monday", "3.wav,dog,", "1.wav,cat,"]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    assert read_labels([tmp_path / "l.csv"], pytest.fail).groups == {one: "monday", two: "monday"}
    (tmp_path / "l.csv").write_text("\n".join([*rows, "2.wav,cat,tuesday"]))
    with pytest.raises(EdgeL3Error, match=r"2.wav: expected one group for a recording, found 'monday' and 'tuesday'"):
        read_labels([tmp_path / "l.csv"], pytest.fail)


def test_no_is_sound_without_any_class_unless_another_label_names_one():
    spans = [
        Span(0, 1, "a", False),
        Span(2, 3, "b"),
        Span(2, 3, "a", False),
        Span(4, 5, "a", False),
        Span(4, 5, "b", None),
    ]
    present, unsure, contradicted, labelled = mark_windows(spans, np.arange(6.0), False, ["a", "b"])
    assert labelled.tolist() == [True, False, True, False, True, False]
    assert present[labelled].tolist() == [[False, False], [False, True], [False, False]]
    assert unsure[labelled].tolist() == [[False, False], [False, False], [False, True]] and not contradicted.any()


def test_two_answers_that_contradict_each_other_are_none():
    spans = [Span(0, 1, "a"), Span(0, 1, "a", False), Span(2, 3, "a", None), Span(2, 3, "a")]
    present, unsure, contradicted, labelled = mark_windows(spans, np.arange(4.0), False, ["a"])
    assert labelled.tolist() == [True, False, True, False]
    assert present[labelled].tolist() == [[False], [True]] and unsure[labelled].tolist() == [[True], [False]]
    assert contradicted.ravel().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected the columns path, start, end and label in the first line, found nothing"),
        ("name,label\n", "found name, label"),
        ("path,label\na.wav,\n", "line 2: expected a label of 1 to 100 printable characters"),
        ("path,label\na.wav,-rf\n", "that does not begin with -, found '-rf'"),
        ("path,label\na.wav,a\x1b[2J\n", "line 2: expected a label"),
        (
            "path,label,answer\na.wav,dog,maybe\n",
            "line 2: expected the answer yes, no, unsure or nothing, found 'maybe'",
        ),
        ("path,label\n,dog\n", "line 2: expected the path of a recording"),
        ("path,label,start,end\na.wav,dog,2,1\n", "0 <= start <= end, found '2' and '1'"),
        ("path,label,start,end\na.wav,dog,-1,1\n", "found '-1' and '1'"),
        ("path,label,start,end\na.wav,dog,nan,1\n", "found 'nan' and '1'"),
        ("path,label,start,end\na.wav,dog,1,inf\n", "found '1' and 'inf'"),
        ("path,label,start,end\na.wav,dog,1,\n", "found '1' and ''"),
        ("path,label,start\na.wav\n", "line 2: expected 3 columns, as in line 1, found 1"),
        (f"path,label\n{'x' * 200_000},dog\n", "expected columns, found: field larger than"),
    ],
)
def test_wrong_tables(text, message, tmp_path):
    with pytest.raises(EdgeL3Error) as caught:
        read_csv("l.csv", text)
    assert message in str(caught.value) and str(caught.value).startswith("l.csv")


def test_wrong_inputs(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("binary.csv", "expected a table of labels in UTF-8"),
        ("text.txt", "a selection table of Raven with the column Begin Path"),
        ("empty", "expected labelled recordings, found none; see `edgel3-np train --help`"),
        ("nothing", "cannot be read"),
    ):
        with pytest.raises(EdgeL3Error, match=message):
            read_labels([tmp_path / name], pytest.fail)
    sound(tmp_path / "t" / "1.wav")
    (tmp_path / "t" / "1.txt").write_text("0\t1\tdog\nhello\n")
    with pytest.raises(EdgeL3Error, match="1.txt, line 2: expected start, end and label with tabs, found 'hello'"):
        read_labels([tmp_path / "t"], pytest.fail)


@given(st.text(st.sampled_from("\t\n\\,;\"'\r0123456789.-eidog \x00\ud800ä"), max_size=200))
def test_any_text_is_labels_or_an_error_of_this_package(text):
    for read in (read_csv, read_track):
        for head in ("", "path,label,start,end\n", RAVEN):
            try:
                rows = read("x", head + text) or []
                rows = rows[0] if read is read_csv else rows
            except EdgeL3Error:
                continue
            for row in rows:
                assert row.span[:2] == WHOLE or 0 <= row.span.start <= row.span.end <= 2 * MAX_TIME


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 60), st.sampled_from(["a", "b", "background"])), max_size=6),
    st.booleans(),
)
def test_windows_belong_to_labels_by_a_count_of_ticks(drawn, center):
    """A tick is a twentieth of a second."""
    spans = [Span(start / 20, (start + length) / 20, label) for start, length, label in drawn]
    timestamps = 0.1 * np.arange(60)
    present, unsure, contradicted, labelled = mark_windows(spans, timestamps, center, ["a", "b"])
    for number in range(60):
        first = 2 * number - (10 if center else 0)
        inside, touched = set(), set()
        for start, length, label in drawn:
            shared = min(first + 20, start + length) - max(first, start)
            if shared >= min(10, length):
                inside.add(label)
            if shared > 0:
                touched.add(label)
        for column, label in enumerate("ab"):
            assert present[number, column] == (label in inside)
            assert unsure[number, column] == (label in touched - inside) and not contradicted.any()
        assert labelled[number] == bool(inside)
