"""Promotion: the front with a margin by its definition, rank and hypervolume worked by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.codesign.pareto import Objective
from spikeloop.codesign.promotion import Candidate, most_hypervolume, promoted
from spikeloop.codesign.stage_spec import PromotionSpec

BOTH = (Objective(metric="accuracy", goal="max"), Objective(metric="energy_fJ", goal="min"))
COST = BOTH[1:]
_SEEN: Counter[str] = Counter()


def points(*values: tuple[float, ...]) -> list[Candidate]:
    return [Candidate(index=index, values=value) for index, value in enumerate(values)]


def go(candidates: list[Candidate], *, margin: float = 0.0, at_most: int | None = None) -> tuple[int, ...]:
    return promoted(candidates, BOTH, PromotionSpec(margin=margin, at_most=at_most))


def test_margin_by_hand() -> None:
    """Ranges: accuracy 0.5 to 0.9, energy two decades; a margin of 0.1 is 0.04 and a factor of 10^0.2 = 1.58.

    Point 1 worsened is (0.76, 15.8) and no longer beats point 2. Point 0 worsened is (0.86, 158) and beats point 3.
    """
    four = points((0.9, 100.0), (0.8, 10.0), (0.79, 12.0), (0.5, 1000.0))
    assert go(four) == (0, 1)
    assert go(four, margin=0.1) == (0, 1, 2)
    assert go(four, margin=1.0) == (0, 1, 2, 3)


def test_rank_comes_before_hypervolume_and_a_knee_stays() -> None:
    """Points 0 to 3 are the front, 4 lies behind 3. As shares of the range (loss of accuracy, log of energy):

    0 (0, 1), 1 (0.1, 0.5), 2 (0.6, 0.45), 3 (1, 0). The ends stay; of 1 and 2 the own hypervolumes are 0.5 x 0.5 = 0.25
    and 0.4 x 0.05 = 0.02, so 2 goes first, although it is lonely. One has no room for both ends: the reference point
    is 2, and after 2 goes 0: 0.1 x 1 against 0.9 x 0.5 of 1 and 1 x 0.5 of 3; then 3: 1 x 0.5 against 0.9 x 1.5.
    """
    five = points((0.9, 1e4), (0.85, 1e2), (0.6, 10**1.8), (0.4, 1.0), (0.3, 2.0))
    assert go(five, margin=1.0, at_most=4) == (0, 1, 2, 3)
    assert go(five, margin=1.0, at_most=3) == (0, 1, 3)
    assert go(five, margin=1.0, at_most=2) == (0, 3)
    assert go(five, margin=1.0, at_most=1) == (1,)


def test_a_knee_of_a_recorded_study_stays() -> None:
    """Students on Fashion-MNIST: crowding kept 1, which costs 9 % less EDAP than 2 and is a point less accurate."""
    four = points((0.9065, 5.171e-9), (0.9205, 8.542e-9), (0.9305, 9.349e-9), (0.9310, 2.263e-8))
    assert go(four, at_most=3) == (0, 2, 3)


def volume(front: list[tuple[float, float]], edge: float) -> float:
    """Area between a front (first column rising, second falling) and the reference point: one strip a point."""
    rights = [point[0] for point in front[1:]] + [edge]
    return sum((right - x) * (edge - y) for (x, y), right in zip(front, rights, strict=True))


@given(steps=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=3, max_size=7), n=st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def _check_what_goes(steps: list[tuple[float, float]], n: int) -> None:
    x, y = np.cumsum([0.0, *(step[0] for step in steps)]), np.cumsum([0.0, *(step[1] for step in steps)])
    front = list(zip((x / x[-1]).tolist(), (y[::-1] / y[-1]).tolist(), strict=True))
    n, edge, left, tie = min(n, len(front)), 1 + 1 / max(1, n - 1), list(range(len(front))), False
    while len(left) > n:
        lost = sorted(
            (volume([front[i] for i in left], edge) - volume([front[j] for j in left if j != i], edge), i) for i in left
        )
        if n > 1:
            lost = [(gone, i) for gone, i in lost if 0 < i < len(front) - 1]
        tie |= len(lost) > 1 and lost[1][0] - lost[0][0] < 1e-9
        left.remove(lost[0][1])
    found = most_hypervolume(np.array(front), n).tolist()
    assert len(found) == n
    if not tie:
        assert found == left
    _SEEN["told apart"] += not tie and n < len(front)
    _SEEN["several go"] += not tie and n < len(front) - 1
    _SEEN["no room for the ends"] += not tie and n == 1


def test_what_goes_is_the_least_of_strips_added_up() -> None:
    """With how often the cases occurred: a tie tells nothing."""
    _SEEN.clear()
    _check_what_goes()
    assert _SEEN["told apart"] > 50
    assert min(_SEEN.values()) > 10


def test_equal_points_all_stay_and_are_cut_by_number() -> None:
    same = points((0.5, 10.0), (0.5, 10.0), (0.5, 10.0))
    assert go(same) == (0, 1, 2)
    assert go(same, at_most=2) == (0, 1)


def test_without_accuracy_only_points_that_compute_the_same_beat_each_other() -> None:
    rule = PromotionSpec()
    two = [Candidate(index=index, values=(cost,), group="a") for index, cost in enumerate((10.0, 20.0))]
    other = Candidate(index=2, values=(30.0,), group="b", precision=1.0)
    assert promoted([*two, other], COST, rule) == (0, 2)
    # Precision stands for the accuracy where the number is cut: dear and imprecise goes first.
    dear = Candidate(index=3, values=(40.0,), group="c", precision=0.5)
    assert promoted([*two, other, dear], COST, PromotionSpec(at_most=2)) == (0, 2)


def test_nothing_promotes_nothing() -> None:
    assert go([], margin=0.1, at_most=3) == ()


def naive(candidates: list[Candidate], margin: float) -> tuple[int, ...]:
    """The definition, word for word, in units of the objectives."""
    accuracies, costs = zip(*((c.values[0], math.log10(c.values[1])) for c in candidates), strict=True)
    shift = (margin * (max(accuracies) - min(accuracies)), margin * (max(costs) - min(costs)))
    kept = []
    for i, (accuracy, cost) in enumerate(zip(accuracies, costs, strict=True)):
        beaten = False
        for j, (a, c) in enumerate(zip(accuracies, costs, strict=True)):
            a, c = a - shift[0], c + shift[1]
            beaten |= (
                candidates[i].group == candidates[j].group
                and a >= accuracy
                and c <= cost
                and (a, c) != (accuracy, cost)
            )
        if not beaten:
            kept.append(candidates[i].index)
    return tuple(sorted(kept))


@given(
    values=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from("ab")), min_size=1, max_size=12),
    margin=st.sampled_from([0.0, 0.25, 0.5]),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_the_margin_front_is_its_definition_in_any_order(values, margin, order) -> None:  # type: ignore[no-untyped-def]
    # Powers of two on a grid: sums of eighths are exact, so that ties are ties.
    given_points = [Candidate(index=i, values=(a / 8, 10.0 ** (b / 8)), group=g) for i, (a, b, g) in enumerate(values)]
    expected = naive(given_points, margin)
    order.shuffle(given_points)
    found = promoted(given_points, BOTH, PromotionSpec(margin=margin))
    assert found == expected
    for n in range(1, len(expected) + 1):
        cut = promoted(given_points, BOTH, PromotionSpec(margin=margin, at_most=n))
        assert len(cut) == n
        assert set(cut) <= set(expected)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_at_most_is_kept_for_any_number_of_ranks(n: int) -> None:
    grid = points(*((a / 4, 10.0**b) for a, b in itertools.product(range(1, 4), range(3))))
    assert len(go(grid, margin=1.0, at_most=n)) == n
