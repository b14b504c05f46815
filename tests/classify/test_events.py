import gc
import itertools
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained import make_classifier

import edgel3_np
from edgel3_np import EdgeL3Error, Embedding
from edgel3_np.classify.events import Event, EventStream, events

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


def listener(thresholds=(0.5,), **options):
    """Make an `EventStream` of a classifier whose scores are the embeddings themselves."""
    labels = tuple("cab"[: len(thresholds)])
    made = SimpleNamespace(classes=labels, thresholds=np.array(thresholds), predict=lambda found: found.embedding)
    return EventStream(made, **options)


def in_order(found):
    return sorted(found, key=lambda event: (event.start, "cab".index(event.label)))


@given(
    st.integers(1, 3).flatmap(
        lambda count: st.lists(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.6, 1.0]), min_size=count, max_size=count))
    ),
    st.lists(st.integers(0, 60), max_size=12),
    st.floats(0.01, 2.5),
    st.sampled_from([0.0, 0.1, 0.3, 0.7, 2.0]),
    st.sampled_from([0.0, 0.9, 1.0, 1.3, 3.0]),
    st.booleans(),
)
def test_a_stream_of_events_is_that_of_the_whole_sound(rows, cuts, hop, merge_gap, min_length, center):
    count = len(rows[0]) if rows else 1
    scores, thresholds = np.array(rows, float).reshape(-1, count), (0.5, 0.2, 1.0)[:count]
    times, options = hop * np.arange(len(scores)), {"merge_gap": merge_gap, "min_length": min_length, "center": center}
    stream, found = listener(thresholds, **options), []
    edges = sorted({0, len(scores), *(min(cut, len(scores)) for cut in cuts)})
    for first, last in zip(edges, edges[1:] + edges[-1:]):  # the last block is empty
        part = stream.feed(Embedding(scores[first:last], times[first:last]))
        assert part == in_order(part)
        found += part
    part = stream.flush()
    assert part == in_order(part) and stream.flush() == []
    assert repr(in_order(found + part)) == repr(events(scores, times, thresholds, "cab"[:count], **options))


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=40), st.sampled_from([0.0, 0.25, 1.0]))
def test_an_event_is_given_with_the_first_window_that_begins_behind_it(scores, merge_gap):
    stream, hop = listener(merge_gap=merge_gap), 0.25
    for number, score in enumerate(scores):
        time = number * hop
        for event in stream.feed(Embedding(np.array([[score]]), np.array([time]))):
            start = max(0.0, time - 0.5)
            assert start - hop <= event.end + merge_gap < start


def test_a_short_event_is_given_before_a_longer_one_that_began_earlier():
    scores = np.zeros((8, 2))
    scores[:6, 0] = scores[2, 1] = 1.0
    stream = listener((0.5, 0.5), center=False)
    given = [stream.feed(Embedding(scores[n : n + 1], np.array([float(n)]))) for n in range(8)]
    assert [[event.label for event in found] for found in given] == [[], [], [], [], ["a"], [], [], ["c"]]
    assert given[4] == [Event(2.0, 3.0, "a", 1.0)] and given[7] == [Event(0.0, 6.0, "c", 1.0)]


def test_sound_that_arrives_has_the_events_of_the_whole_recording(small_model, sweep):
    classifier = make_classifier(small_model, seed=4)
    whole = small_model.embed(np.tile(sweep, 3), 8000)
    options = {"merge_gap": 0.2, "min_length": 0.5}
    expected = events(classifier.predict(whole), whole.timestamps, classifier.thresholds, classifier.classes, **options)
    assert len(expected) > 1
    for size in (100, 4001, 60000):
        stream = edgel3_np.Stream(small_model, 8000)
        blocks = (np.tile(sweep, 3)[first : first + size] for first in range(0, 3 * len(sweep), size))
        found = EventStream(classifier, **options).over(stream.over(blocks))
        order = classifier.classes.index
        assert repr(sorted(found, key=lambda event: (event.start, order(event.label)))) == repr(expected)


def test_one_threshold_for_all_classes():
    stream = listener((0.9, 0.9), threshold=0.5)
    assert len([*stream.feed(Embedding(np.array([[0.6, 0.4]]), np.zeros(1))), *stream.flush()]) == 1


def test_memory_of_a_stream_does_not_grow():
    stream, rng = listener((0.5, 0.5), merge_gap=0.1), np.random.default_rng(0)
    numbers = itertools.count()

    def feed(count):
        for _ in range(count):
            number = next(numbers)
            row = np.array([[1.0, float(rng.random() > 0.3)]])  # one event that never ends, and many short ones
            stream.feed(Embedding(row, np.array([0.7 * number])))
        gc.collect()

    feed(100)
    tracemalloc.start()
    try:
        feed(500)
        before = tracemalloc.get_traced_memory()[0]
        feed(5000)
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0, 2.0], [2.0, 1.0], [0.5, 0.6], [np.nan, 2.0], [1.0, np.inf], None])
def test_times_that_cannot_be_are_refused_and_nothing_is_lost(times):
    stream, rows = listener(), np.ones((2, 1))
    stream.feed(Embedding(rows, np.array([0.0, 1.0])))
    with pytest.raises(EdgeL3Error, match="expected 2 times that do not fall, the first at least 1 s"):
        stream.feed(Embedding(rows, None if times is None else np.array(times)))
    stream.feed(Embedding(rows, np.array([1.0, 1.5])))
    assert stream.flush() == [Event(0.0, 2.0, "c", 1.0)]
    with pytest.raises(EdgeL3Error, match="expected no more embeddings after"):
        stream.feed(Embedding(rows, np.array([5.0, 6.0])))
    assert stream.flush() == []


def test_embeddings_of_another_length_are_refused_and_nothing_is_lost(small_model):
    stream = EventStream(make_classifier(small_model))
    with pytest.raises(EdgeL3Error, match=r"expected embeddings of shape \(t, 16\)"):
        stream.feed(Embedding(np.zeros((1, 3), np.float32), np.zeros(1)))
    assert stream.feed(Embedding(np.zeros((1, 16), np.float32), np.zeros(1))) == []


def test_a_stream_that_was_interrupted_says_so():
    stream = listener()

    def interrupt(found):
        raise KeyboardInterrupt

    stream._classifier.predict = interrupt
    with pytest.raises(KeyboardInterrupt):
        stream.feed(Embedding(np.ones((1, 1)), np.zeros(1)))
    for call in (stream.flush, lambda: stream.feed(Embedding(np.ones((1, 1)), np.zeros(1)))):
        with pytest.raises(EdgeL3Error, match="windows are lost; make a new EventStream"):
            call()


@pytest.mark.parametrize("options", [{"threshold": 0}, {"threshold": "1"}, {"merge_gap": -1}, {"min_length": np.nan}])
def test_wrong_options_of_a_stream(options):
    with pytest.raises(EdgeL3Error, match=next(iter(options))):
        listener(**options)
