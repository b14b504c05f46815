"""Tests of the progress of runs and downloads, with a bar and without."""

import re
import sys
from types import SimpleNamespace

import pytest

from edgel3_np.collections.jobs import Report
from edgel3_np.collections.summary import Summary
from edgel3_np.commands import progress
from edgel3_np.commands.progress import display


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


@pytest.mark.parametrize("installed", [True, False])
def test_nothing_is_shown_unless_asked_for(installed, monkeypatch, capsys):
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with display(2, False) as (update, say):
        update(Summary())
        assert capsys.readouterr() == ("", "")
        say("a line")
    with progress.transfer("model", False) as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "a line\n")


def test_a_bar(capsys):
    pytest.importorskip("tqdm")
    totals = Summary()
    with display(2, True) as (update, say):
        totals.add(report("done", windows=1, seconds=36.0))
        update(totals)
        say("a line")
        totals.add(report("failed", "empty"))
        update(totals)
    out, err = capsys.readouterr()
    assert out == "" and "2/2" in err and "36.0 s of audio" in err and re.search("[\r\n]a line\n", err)


def test_the_bar_is_closed_after_an_interrupt(capsys):
    pytest.importorskip("tqdm")
    with pytest.raises(KeyboardInterrupt), display(2, True):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith("\n")


def test_lines_are_printed_at_intervals(now, no_tqdm, capsys):
    totals = Summary()
    with display(4, True) as (update, say):
        totals.add(report("done", seconds=36.0))
        now.time += progress.EVERY - 1
        update(totals)
        assert capsys.readouterr().err == ""  # the interval is not over
        totals.add(report("done", seconds=36.0))
        now.time += 2
        update(totals)
        assert capsys.readouterr().err == "2 of 4 files, 72.0 s of audio in 4.0 s (18x), 4.0 s left\n"
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
