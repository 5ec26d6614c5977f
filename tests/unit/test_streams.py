"""Receptive fields in streams: needs, frees and depths against plain Python, and what too small a buffer does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.simulator.machine.windows import Geometry, interleave_steps, pointwise, stream, whole_map


def naive(geometry, sent_columns, window_columns):
    """(emit, need, free) element by element and window by window."""
    rows = geometry.in_size[0]
    elements = [(y, x) for y in range(rows) for x in sent_columns]
    windows = [(y, x) for y in range(geometry.out_size[0]) for x in window_columns]

    def touches(window, element):
        first = [c * geometry.stride - geometry.padding for c in window]
        return all(a <= e < a + size for a, e, size in zip(first, element, geometry.kernel, strict=True))

    last_use = {e: max((i for i, w in enumerate(windows) if touches(w, e)), default=None) for e in elements}
    used = [e for e in elements if last_use[e] is not None]
    need, free, latest = [], [], 0
    for i, window in enumerate(windows):
        mine = [n for n, e in enumerate(used) if touches(window, e)]
        latest = max([latest, *(n + 1 for n in mine)])
        need.append(latest)
        free.append(sum(last_use[e] <= i for e in used))
    return [int(last_use[e] is not None) for e in elements], need, free


geometries = st.builds(
    lambda h, w, kh, kw, stride, padding: Geometry(
        (h, w),
        ((h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1),
        (kh, kw),
        stride,
        padding,
    ),
    *(st.integers(1, 7) for _ in range(2)),
    *(st.integers(1, 4) for _ in range(2)),
    st.integers(1, 3),
    st.integers(0, 2),
).filter(lambda g: min(g.out_size) >= 1)


@settings(deadline=None, max_examples=200)
@given(geometries, st.integers(1, 3), st.integers(1, 3), st.data())
def test_streams_equal_the_naive_walk(geometry, senders, takers, data):
    sender, taker = data.draw(st.integers(0, senders - 1)), data.draw(st.integers(0, takers - 1))
    sent = np.array([x for x in range(geometry.in_size[1]) if x % senders == sender], dtype=np.int64)
    windows = np.array([x for x in range(geometry.out_size[1]) if x % takers == taker], dtype=np.int64)
    made = stream(geometry, sent, windows)
    emit, need, free = naive(geometry, sent.tolist(), windows.tolist())
    assert made.emit.tolist() == emit
    assert made.need.tolist() == need
    assert made.free.tolist() == free
    assert all(f <= n for f, n in zip(free, need, strict=True))
    if need:
        assert free[-1] == sum(emit)  # nothing stays behind


def test_a_3x3_window_by_hand():
    """3x3 kernel, padding 1, on a 4x3 map (4 columns, 3 rows): raster elements 0..11.

    Window (0, 0) needs element (1, 1), the 6th; (0, 3) needs (1, 3), the 8th. The first row of elements is used
    for the last time by the windows of row 1: element (0, 0) by window (1, 1), the 6th window.
    """
    made = stream(Geometry((3, 4), (3, 4), (3, 3), 1, 1), np.arange(4), np.arange(4))
    assert made.need.tolist() == [6, 7, 8, 8, 10, 11, 12, 12, 12, 12, 12, 12]
    assert made.free.tolist() == [0, 0, 0, 0, 0, 1, 2, 4, 4, 6, 8, 12]
    # Window (1, 2), the 7th, needs all 12; before it only element (0, 0) is gone.
    assert made.depth_needed() == 11


def test_strided_windows_drop_elements_that_none_uses():
    """1x1 kernel, stride 2, on 3x3: only the corners and the middle of the border rows are sent."""
    made = stream(Geometry((3, 3), (2, 2), (1, 1), 2, 0), np.arange(3), np.arange(2))
    assert made.emit.tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1]
    assert made.need.tolist() == made.free.tolist() == [1, 2, 3, 4]
    assert made.depth_needed() == 1


def test_a_linear_layer_needs_everything_and_an_add_one_position():
    whole = stream(whole_map((2, 3)), np.arange(3), np.arange(1))
    assert (whole.need.tolist(), whole.free.tolist(), whole.depth_needed()) == ([6], [6], 6)
    point = stream(pointwise((2, 2)), np.arange(2), np.arange(2))
    assert point.need.tolist() == point.free.tolist() == [1, 2, 3, 4]


def test_steps_interleave_position_by_position():
    """Two windows that need 1 and 3 elements and free 0 and 3, with two steps: e0t0 e0t1 e1t0 e1t1 e2t0 e2t1."""
    made = interleave_steps(
        type(stream(pointwise((1, 1)), np.arange(1), np.arange(1)))(
            emit=np.array([1, 1, 1]), need=np.array([1, 3]), free=np.array([0, 3])
        ),
        2,
    )
    assert made.emit.tolist() == [1] * 6
    assert made.need.tolist() == [1, 2, 5, 6]
    assert made.free.tolist() == [0, 0, 3, 6]


@pytest.mark.parametrize("columns", [[], [0]])
def test_a_replica_without_columns_takes_nothing(columns):
    made = stream(pointwise((2, 1)), np.array(columns, dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert made.need.size == made.free.size == 0
    assert not made.emit.any()
