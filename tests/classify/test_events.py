import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.classify.events import Event, events

TICKS = 20  # to a second: the oracle counts ticks, and has no floats


def slow_events(scores, first, hop, threshold, merge_gap, min_length, center):
    """Mark every tick that a window above the threshold covers, then fill short gaps, then read off the runs."""
    covered, peaks = {}, []
    for number, score in enumerate(scores):
        start = first + number * hop - (TICKS // 2 if center else 0)
        if score >= threshold:
            for tick in range(max(start, 0), start + TICKS):
                covered[tick] = True
            peaks.append((max(start, 0), start + TICKS, score))
    end = max(covered, default=-1) + 2
    runs, begin = [], None
    for tick in range(end):
        if covered.get(tick) and begin is None:
            begin = tick
        if not covered.get(tick) and begin is not None:
            runs.append([begin, tick])
            begin = None
    joined = []
    for run in runs:
        if joined and run[0] - joined[-1][1] <= merge_gap:
            joined[-1][1] = run[1]
        else:
            joined.append(run)
    return [
        (start, end, max(score for low, high, score in peaks if low < end and high > start))
        for start, end in joined
        if end - start >= min_length
    ]


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.6, 1.0]), max_size=40),
    st.integers(1, 50),
    st.integers(0, 40),
    st.integers(0, 60),
    st.integers(0, 80),
    st.booleans(),
)
def test_events_are_those_of_a_slow_oracle(scores, hop, first, gap, shortest, center):
    timestamps = (first + hop * np.arange(len(scores))) / TICKS
    options = {"merge_gap": gap / TICKS, "min_length": shortest / TICKS, "center": center}
    found = events(np.array(scores).reshape(-1, 1), timestamps, 0.5, ["a"], **options)
    expected = slow_events(scores, first, hop, 0.5, gap, shortest, center)
    assert [(round(event.start * TICKS), round(event.end * TICKS), event.score) for event in found] == expected
    for event, (start, end, _) in zip(found, expected):
        assert event.start == pytest.approx(start / TICKS) and event.end == pytest.approx(end / TICKS)


@given(st.integers(1, 400))
def test_windows_that_touch_are_one_event_whatever_floats_say(count):
    timestamps = 0.1 * np.arange(count) * 10  # a second apart
    assert len(events(np.ones((count, 1)), timestamps, 1.0, ["a"])) == 1


def test_each_class_has_its_own_threshold_and_the_order_is_that_of_time():
    scores = np.array([[0.6, 0.6], [0.1, 0.9], [0.1, 0.1], [0.1, 0.1], [0.6, 0.1]])
    found = events(scores, np.arange(5.0), [0.5, 0.8], ["b", "a"], center=False)
    assert found == [Event(0.0, 1.0, "b", 0.6), Event(1.0, 2.0, "a", 0.9), Event(4.0, 5.0, "b", 0.6)]


def test_no_windows_and_no_sound():
    assert events(np.zeros((0, 2)), np.zeros(0), 0.5, ["a", "b"]) == []
    assert events(np.full((3, 1), np.nan), np.arange(3.0), 0.5, ["a"]) == []


@pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 2)])
def test_wrong_shapes(shape):
    with pytest.raises(EdgeL3Error, match=r"scores: expected shape \(3, 1\)"):
        events(np.zeros(shape), np.arange(3.0), 0.5, ["a"])
