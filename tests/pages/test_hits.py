import base64
import io
import os
import tracemalloc

import numpy as np
import pytest
import soundfile
from pages.test_assemble import data_of

from edgel3_np import EdgeL3Error
from edgel3_np.collections.clips import read_parts
from edgel3_np.pages.hits import CONTEXT, LONGEST, Candidate, write_hits

SR = 8000


@pytest.fixture
def recording(tmp_path):
    """A recording of 20 s whose samples tell their number."""
    path = tmp_path / "<b>&quot; it's.wav"
    soundfile.write(path, np.arange(20 * SR, dtype=np.int32) / 2**18, SR)
    return str(path)


def page_of(tmp_path, candidates, **options):
    problems = []
    options = {"title": "t", "on_problem": problems.append, **options}
    size = write_hits(tmp_path / "p.html", candidates, **options)
    assert size == (tmp_path / "p.html").stat().st_size
    data = data_of((tmp_path / "p.html").read_text(encoding="utf-8"))
    return data["about"][0], data.get("item", []), problems


def test_clips_are_the_sound_with_what_surrounds_it(recording, tmp_path):
    spans = [(0.0, 0.9), (5.0, 6.0), (3.5, 18.0), (19.5, 20.5)]
    asked = [Candidate(recording, *span, "dog", 0.5) for span in spans]
    about, items, problems = page_of(tmp_path, asked)
    assert not problems and about["labels"] == ["dog"]
    whole, _ = soundfile.read(recording)
    for item, (start, end), number in zip(items, spans, range(1, 9)):
        sound, rate = soundfile.read(io.BytesIO(base64.b64decode(item["clip"])))
        begin = max(0.0, start - CONTEXT)
        last = min(end, start + LONGEST) + CONTEXT
        np.testing.assert_allclose(sound, whole[int(begin * SR) : int(last * SR)], atol=1e-4)
        assert (item["number"], item["start"], item["end"], item["begin"]) == (number, start, end, begin)
        assert item["heardEnd"] == min(end, start + LONGEST) and item["length"] == len(sound) / rate
        assert item["path"] == recording and item["label"] == "dog" and item["score"] == 0.5


def test_each_recording_is_read_once_and_numbers_keep_the_order(recording, tmp_path, monkeypatch):
    other, opened = str(tmp_path / "other.wav"), []
    soundfile.write(other, np.zeros(SR), SR)
    from edgel3_np.collections import clips

    real = clips.open_audio
    monkeypatch.setattr(clips, "open_audio", lambda path: opened.append(path) or real(path))
    asked = [Candidate(path, start, start + 1) for start, path in ((4, recording), (0, other), (2, recording))]
    _, items, _ = page_of(tmp_path, asked, query=Candidate(other, 0.0, 10.0))
    assert opened == [other, recording] or opened == [recording, other]
    assert sorted((item["number"], item["path"], item["start"]) for item in items) == [
        (0, other, 0),
        (1, recording, 4),
        (2, other, 0),
        (3, recording, 2),
    ]


def test_what_cannot_be_heard_is_on_the_page_and_is_reported(recording, tmp_path):
    gone, late = str(tmp_path / "gone.wav"), Candidate(recording, 30.0, 31.0)
    asked = [Candidate(gone, 0, 1), Candidate(None, 0, 1), late, Candidate(recording, 1, 2)]
    _, items, problems = page_of(tmp_path, asked)
    by_number = {item["number"]: item for item in items}
    assert "gone.wav" in by_number[1]["problem"] and "unknown" in by_number[2]["problem"]
    assert "no sound here" in by_number[3]["problem"] and "problem" not in by_number[4]
    assert len(problems) == 2 and by_number[2]["path"] == ""


def test_links_need_no_copy(recording, tmp_path):
    os.mkdir(tmp_path / "sub")
    _, items, _ = page_of(tmp_path, [Candidate(recording, 1, 2)], link=True)
    assert "clip" not in items[0] and items[0]["url"] == "./%3Cb%3E%26quot%3B%20it%27s.wav"
    assert items[0]["image"]


def test_the_same_page_has_the_same_bytes_and_keeps_answers_of_its_own(recording, tmp_path):
    keys = []
    for label in ("dog", "dog", "cat"):
        about, _, _ = page_of(tmp_path, [Candidate(recording, 1, 2, label, 0.5)])
        keys.append((about["key"], (tmp_path / "p.html").read_bytes()))
    assert keys[0] == keys[1] and keys[0][0] != keys[2][0]


def test_a_page_without_hits(tmp_path):
    about, items, problems = page_of(tmp_path, [])
    assert not items and not problems and about["title"] == "t"


def test_memory_holds_one_part_and_not_the_recording(tmp_path):
    path, sr = str(tmp_path / "long.wav"), 48000
    with soundfile.SoundFile(path, "w", sr, 1, "PCM_16") as file:
        for _ in range(240):
            file.write(np.zeros(sr))
    asked = [Candidate(path, 2.0 * number, 2.0 * number + 9, "dog", 0.5) for number in range(115)]
    tracemalloc.start()
    page_of(tmp_path, asked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 8 * 12 * sr  # some arrays of one part, of which there are 115

    order, whole = [], np.arange(20 * 8000, dtype=np.int32) / 2**18
    soundfile.write(tmp_path / "short.wav", whole, 8000)
    spans = [(9.0, 19.0), (0.0, 1.0), (0.5, 12.0), (18.0, 30.0), (25.0, 26.0), (3.0, 3.0)]
    for number, part, rate in read_parts(str(tmp_path / "short.wav"), spans):
        order.append(number)
        start, end = (round(time * rate) for time in spans[number])
        np.testing.assert_allclose(part, whole[start:end], atol=1e-4)
    assert order == [1, 5, 2, 0, 4, 3]


@pytest.mark.parametrize("span", [(-1.0, 1.0), (2.0, 1.0), (1e300, 1e300), (np.nan, 1.0), (0.0, np.inf)])
def test_a_time_that_is_none_is_an_error(span, recording):
    with pytest.raises(EdgeL3Error, match="expected a time from 0 to 1e"):
        list(read_parts(recording, [span]))
