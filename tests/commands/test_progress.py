"""Tests of the progress of runs and downloads, with a bar and without."""

import re
import sys
from types import SimpleNamespace

import pytest

from edgel3_np.collections.jobs import Report
from edgel3_np.commands import progress
from edgel3_np.commands.progress import Totals, clock, display


def report(status, kind=None, windows=0, seconds=0.0, input="a.wav", incomplete=False):
    return Report(input, "", status, kind, windows=windows, seconds=seconds, incomplete=incomplete)


@pytest.fixture
def now(monkeypatch):
    """Replace the clock by one that tests set: `now.time`, in seconds."""
    state = SimpleNamespace(time=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: state.time)
    return state


@pytest.fixture
def no_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00"), (0.6, "0:01"), (59.4, "0:59"), (75, "1:15"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_totals(now):
    totals = Totals()
    assert totals.summary() == "0 files: 0 done, 0 skipped, 0 failed; 0 embeddings of 0.00 h of audio in 0:00"
    for _ in range(2):
        totals.add(report("done", windows=10, seconds=1800.0))
    totals.add(report("skipped"))
    now.time += 75
    assert totals.count() == 3 and str(totals) == "1.00 h of audio in 1:15 (48x)"
    assert totals.summary() == (
        "3 files: 2 done, 1 skipped, 0 failed; 20 embeddings of 1.00 h of audio in 1:15, 48 times real time"
    )
    for kind in ("empty", "not audio", "not audio"):
        totals.add(report("failed", kind))
    assert str(totals) == "1.00 h of audio in 1:15 (48x), 3 failed"
    assert totals.summary().startswith("6 files: 2 done, 1 skipped, 3 failed; ")
    assert totals.summary().endswith("\nfailures: 2 not audio, 1 empty")


@pytest.mark.parametrize("installed", [True, False])
def test_nothing_is_shown_unless_asked_for(installed, monkeypatch, capsys):
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with display(2, False) as (update, say):
        update(Totals())
        assert capsys.readouterr() == ("", "")
        say("a line")
    with progress.transfer("model", False) as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "a line\n")


def test_a_bar(capsys):
    pytest.importorskip("tqdm")
    totals = Totals()
    with display(2, True) as (update, say):
        totals.add(report("done", windows=1, seconds=36.0))
        update(totals)
        say("a line")
        totals.add(report("failed", "empty"))
        update(totals)
    out, err = capsys.readouterr()
    assert out == "" and "2/2" in err and "0.01 h of audio" in err and re.search("[\r\n]a line\n", err)


def test_the_bar_is_closed_after_an_interrupt(capsys):
    pytest.importorskip("tqdm")
    with pytest.raises(KeyboardInterrupt), display(2, True):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith("\n")


def test_lines_are_printed_at_intervals(now, no_tqdm, capsys):
    totals = Totals()
    with display(4, True) as (update, say):
        totals.add(report("done", seconds=36.0))
        now.time += progress.EVERY - 1
        update(totals)
        assert capsys.readouterr().err == ""  # the interval is not over
        totals.add(report("done", seconds=36.0))
        now.time += 2
        update(totals)
        assert capsys.readouterr().err == "2 of 4 files, 0.02 h of audio in 0:06 (12x), 0:06 left\n"
        totals.add(report("done"))
        now.time += 1
        update(totals)
        say("a line")
        assert capsys.readouterr().err == "a line\n"


@pytest.mark.parametrize("bar", [True, False])
def test_a_download(bar, capsys, monkeypatch):
    if bar:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(progress, "EVERY", 0)
    with progress.transfer("sea-64", True) as update:
        pass
    assert capsys.readouterr().err == ""  # no data arrived, so nothing is shown
    with progress.transfer("sea-64", True) as update:
        for done, total in ((1_000_000, 4_000_000), (500_000, None), (4_000_000, 4_000_000)):
            update(done, total)
    captured = capsys.readouterr()
    assert captured.out == "" and ("100%" if bar else "sea-64: 1.0 MB of 4.0 MB\nsea-64: 0.5 MB\n") in captured.err
    with progress.transfer("sea-64", False) as update:
        update(1, 2)
    assert capsys.readouterr().err == ""


def test_the_summary_names_what_is_incomplete_and_what_is_passed_over():
    totals = Totals()
    for name in ("a.m4a", "b.M4A", "c.wv"):
        totals.add(report("passed over", input=name))
    totals.add(report("done", incomplete=True))
    first, passed, incomplete = totals.summary().splitlines()
    assert "4 files: 1 done" in first
    assert passed == "passed over: 2 .m4a, 1 .wv (libsndfile does not read them; convert them: ffmpeg -i X Y.wav)"
    assert incomplete.startswith("incomplete: 1 ")
