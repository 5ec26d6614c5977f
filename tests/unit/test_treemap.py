"""Layout of treemaps: areas in proportion, nothing overlaps, nothing sticks out."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.codesign.treemap import Rectangle, squarify


def test_first_rows_of_the_example_of_the_paper():
    """Bruls et al. 2000, Fig. 4: areas 6 6 4 3 2 2 1 on 6 x 4.

    The first row is the two sixes, 3 wide and 2 high each. Of the 3 x 4 that is left the row 4 3 takes 7/3 of the
    height, 12/7 and 9/7 wide. Then the 2 alone: a second one
    beside it would turn its 1.2 x 5/3 into a longer rectangle.
    """
    placed = squarify([6, 6, 4, 3, 2, 2, 1], Rectangle(0, 0, 6, 4))
    assert placed[0] == pytest.approx((0, 0, 3, 2))
    assert placed[1] == pytest.approx((0, 2, 3, 2))
    assert placed[2] == pytest.approx((3, 0, 12 / 7, 7 / 3))
    assert placed[3] == pytest.approx((3 + 12 / 7, 0, 9 / 7, 7 / 3))
    assert placed[4] == pytest.approx((3, 7 / 3, 1.2, 5 / 3))


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.floats(1e-6, 1e6) | st.just(0.0), max_size=30),
    width=st.floats(0.1, 10),
    height=st.floats(0.1, 10),
)
def test_rectangles_fill_the_room_in_proportion_without_overlap(values, width, height):
    room = Rectangle(1.0, -2.0, width, height)
    placed = squarify(values, room)
    total = math.fsum(values)
    slack = 1e-9 * max(width, height)
    for value, rectangle in zip(values, placed, strict=True):
        wanted = value / total * width * height if total else 0.0
        assert rectangle.width * rectangle.height == pytest.approx(wanted, rel=1e-6, abs=1e-9 * width * height)
        assert rectangle.x >= room.x - slack
        assert rectangle.y >= room.y - slack
        assert rectangle.x + rectangle.width <= room.x + width + slack
        assert rectangle.y + rectangle.height <= room.y + height + slack
    for a, b in itertools.combinations(placed, 2):
        wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
        high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
        assert min(wide, high) <= slack


def test_negative_area_is_refused():
    with pytest.raises(ValueError, match=r"got -1\.0; areas are not negative"):
        squarify([2.0, -1.0], Rectangle(0, 0, 1, 1))
