"""Integration of events into frames of codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloop.distill.encode import event_codes, split_spikes
from spikeloop.distill.event_sets import EventDataset
from spikeloop.distill.events import Events, clip_counts, event_counts, frame_of_events
from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.network.graph import InputNode


def stream(rows, sensor=(4, 6)) -> Events:
    x, y, polarity, t = (np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else [[]] * 4))
    return Events(sensor=sensor, x=x, y=y, polarity=polarity, timestamp_us=t)


def test_frames_by_number_by_hand():
    """7 events in 3 steps: two, two, and the rest; the file's order counts, not the timestamps."""
    events = stream([(0, 0, 1, t) for t in (50, 10, 10, 10, 0, 99, 3)])
    assert frame_of_events(events, 3, "number").tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_frames_by_time_by_hand():
    """10 to 19 us in 2 steps: [10, 15) and [15, 20); equal timestamps share a step."""
    events = stream([(0, 0, 1, t) for t in (10, 14, 15, 15, 19)])
    assert frame_of_events(events, 2, "time").tolist() == [0, 0, 1, 1, 1]


def test_counts_by_hand_on_a_smaller_picture():
    """4x6 pixels onto 2x3: x 5 -> floor(5 * 3 / 6) = 2, y 3 -> floor(3 * 2 / 4) = 1; neighbours add up."""
    events = stream([(4, 2, 1, 0), (5, 3, 1, 1), (0, 0, 0, 2)])
    counts = event_counts(events, 1, "number", (2, 3))
    expected = np.zeros((1, 2, 2, 3), dtype=int)
    expected[0, 1, 1, 2] = 2
    expected[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(counts, expected)
    assert clip_counts(counts, 1).max() == 1
    assert clip_counts(counts * 9, 4).tolist() == np.minimum(expected * 9, 15).tolist()


EVENT = st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 1), st.integers(0, 10**7))


@given(
    rows=st.lists(EVENT, max_size=60),
    steps=st.integers(1, 9),
    rule=st.sampled_from(["number", "time"]),
    size=st.tuples(st.integers(1, 4), st.integers(1, 6)),
)
def test_no_event_is_lost_or_made(rows, steps, rule, size):
    events = stream(rows)
    counts = event_counts(events, steps, rule, size)
    assert counts.shape == (steps, 2, *size)
    assert counts.sum() == len(rows)
    assert counts[:, 1].sum() == sum(row[2] for row in rows)


@given(rows=st.lists(EVENT, min_size=1, max_size=60), steps=st.integers(1, 9))
def test_steps_by_number_follow_the_file_and_by_time_the_clock(rows, steps):
    events = stream(rows)
    by_number = frame_of_events(events, steps, "number")
    assert (np.diff(by_number) >= 0).all()
    share = len(rows) // steps
    if share:
        assert (np.bincount(by_number, minlength=steps)[:-1] == share).all()
    by_time = frame_of_events(events, steps, "time")
    order = np.argsort(events.timestamp_us, kind="stable")
    assert (np.diff(by_time[order]) >= 0).all()
    assert by_time.min() == 0
    assert by_time.max() < steps


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", [6], "events with x from 6 to 6; allowed 0 to 5 on a sensor of 4x6"),
        ("y", [-1], "events with y from -1"),
        ("polarity", [2], "events with polarity from 2"),
        ("timestamp_us", [1, 2], "one number an event each"),
    ],
)
def test_events_outside_their_sensor_are_refused(field, value, message):
    fields = {name: np.zeros(1, dtype=np.int64) for name in ("x", "y", "polarity", "timestamp_us")}
    with pytest.raises(DatasetError, match=message):
        Events(sensor=(4, 6), **{**fields, field: np.array(value, dtype=np.int64)})


def a_set() -> EventDataset:
    recordings = [stream([(i, 1, 1, 5), (i, 1, 1, 6), (i, 2, 0, 7)]) for i in range(3)]
    return EventDataset(
        name="made",
        sensor=(4, 6),
        n_classes=3,
        train_labels=np.arange(3),
        test_labels=np.arange(2),
        read_train=recordings.__getitem__,
        read_test=recordings.__getitem__,
    )


def test_codes_enter_a_network_step_by_step():
    node = InputNode(name="input", shape=(2, 4, 6), bits=1)
    train = split_spikes(a_set(), "train", 3, node, n_timesteps=3, frames="number")
    assert train.codes.shape == (3, 3, 2, 4, 6)
    assert train.labels.tolist() == [0, 1, 2]
    assert train.codes[0, 2, 1, 1, 2] == train.codes[1, 2, 1, 1, 2] == 1
    assert train.codes[2, 1, 0, 2, 1] == 1
    assert train.codes.sum() == 9
    by_time = split_spikes(a_set(), "test", 2, node, n_timesteps=1, frames="time")
    assert by_time.codes.max() == 1  # two events of a pixel in a step saturate one bit
    assert (
        split_spikes(a_set(), "test", 2, InputNode(name="input", shape=(2, 4, 6), bits=2), n_timesteps=1).codes.max()
        == 2
    )


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (InputNode(name="input", shape=(2, 4, 6), static=True), "takes codes that never change, made gives"),
        (InputNode(name="input", shape=(1, 4, 6)), "takes 1 channels"),
        (InputNode(name="input", shape=(2, 4, 6), bits=2, signed=True), "takes signed codes"),
        (InputNode(name="input", shape=(2, 5, 6)), "a sensor can be shrunk, not grown"),
    ],
)
def test_events_that_do_not_fit_a_network_are_refused(node, message):
    with pytest.raises(DatasetError, match=message):
        event_codes(a_set(), "train", np.arange(1), node, n_timesteps=2, frames="number")


def test_more_than_there_are_is_refused():
    with pytest.raises(DatasetError, match="made/test: 3 images asked for; there are 2"):
        split_spikes(a_set(), "test", 3, InputNode(name="input", shape=(2, 4, 6)), n_timesteps=1)
