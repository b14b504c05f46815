from types import SimpleNamespace

import pytest

from edgel3_np.collections import summary
from edgel3_np.collections.jobs import Report
from edgel3_np.collections.summary import Summary, duration, plural


def report(status, kind=None, windows=0, seconds=0.0, input="a.wav", incomplete=False):
    return Report(input, "", status, kind, windows=windows, seconds=seconds, incomplete=incomplete)


@pytest.fixture
def now(monkeypatch):
    """Replace the clock by one that tests set: `now.time`, in seconds."""
    state = SimpleNamespace(time=100.0)
    monkeypatch.setattr(summary.time, "monotonic", lambda: state.time)
    return state


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0.0 s"), (99.94, "99.9 s"), (99.95, "1.7 min"), (3599, "60.0 min"), (3600, "1.0 h"), (90061, "25.0 h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_plural():
    assert [plural(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_counts_and_words(now):
    totals = Summary()
    assert str(totals) == "0 files: 0 done, 0 skipped, 0 failed"
    for _ in range(2):
        totals.add(report("done", windows=10, seconds=1800.0))
    now.time += 75
    totals.add(report("skipped"))
    assert totals.count() == 3 and totals.progress() == "1.0 h of audio in 75.0 s (48x)"
    text = "3 files: 2 done, 1 skipped, 0 failed; 20 embeddings of 1.0 h of audio in 75.0 s, 48 times real time"
    assert str(totals) == text and repr(totals) == f"<Summary of {text}>"
    failures = [report("failed", kind)._replace(reason="a.wav: why") for kind in ("empty", "not audio", "not audio")]
    for failure in failures:
        totals.add(failure)
    assert totals.progress() == "1.0 h of audio in 75.0 s (48x), 3 failed"
    assert str(totals).startswith("6 files: 2 done, 1 skipped, 3 failed; ")
    assert str(totals).endswith("\nfailures: 2 not audio, 1 empty, such as a.wav: why")
    assert totals.failures == failures
    assert "\n" not in repr(totals) and "failures: 2 not audio" in repr(totals)


def test_remarks_are_counted():
    totals = Summary()
    for name in "ab":
        totals.add(report("done", input=f"{name}.wav")._replace(remarks=("odd", "loud")))
    assert totals.remarked == 2 and str(totals).endswith("\nremarks: on 2 files, such as a.wav: odd")


def test_a_single_file(now):
    totals = Summary()
    now.time += 0.5
    totals.add(report("done", windows=1, seconds=1.0))
    assert str(totals) == (
        "1 file: 1 done, 0 skipped, 0 failed; 1 embedding of 1.0 s of audio in 0.5 s, 2 times real time"
    )


def test_failures_are_bounded(monkeypatch):
    monkeypatch.setattr(summary, "MAX_FAILURES", 3)
    totals = Summary()
    for _ in range(5):
        totals.add(report("failed", "empty"))
    assert len(totals.failures) == 3 and totals.statuses["failed"] == 5


def test_the_summary_names_what_is_incomplete_and_what_is_passed_over():
    totals = Summary()
    for name in ("a.m4a", "b.M4A", "c.wv"):
        totals.add(report("passed over", input=name))
    totals.add(report("done", incomplete=True))
    first, passed, incomplete = str(totals).splitlines()
    assert "4 files: 1 done" in first
    assert passed == "passed over: 2 .m4a, 1 .wv (libsndfile does not read them; convert them: ffmpeg -i X Y.wav)"
    assert incomplete.startswith("incomplete: 1 ")
