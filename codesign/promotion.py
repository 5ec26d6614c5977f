"""Which points go on to the next stage: the front with a margin, then the best by rank and hypervolume."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pareto import Objective
from .stage_spec import PromotionSpec

FloatArray = NDArray[np.float64]
#: Rows compared with the front at once: bounds the memory.
_CHUNK = 4096
#: Stands for a cost of 0, which has no logarithm.
_SMALLEST = 1e-300


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point that may go on.

    Attributes:
        index: its number.
        values: its objectives, in their order; costs are above 0.
        group: points of one group differ in nothing but these objectives. In a stage with accuracy all points are one
            group; without, those that compute the same, whose accuracy is the same whatever it is.
        precision: 0 to 1, what stands for the accuracy between groups; 0 where nothing has to.
    """

    index: int
    values: tuple[float, ...]
    group: Hashable = None
    precision: float = 0.0


def promoted(candidates: Sequence[Candidate], objectives: Sequence[Objective], rule: PromotionSpec) -> tuple[int, ...]:
    """Numbers of the points that go on, ascending; the order of ``candidates`` does not matter.

    1. A point is dropped if another one of its group dominates it even after every objective of that other one is
       made worse by ``margin`` times the objective's range over all candidates. Accuracy is taken as it is, costs and
       throughputs by their logarithm. Margin 0 leaves the front. (Additive epsilon-dominance: Laumanns et al.,
       "Combining convergence and diversity in evolutionary multiobjective optimization", Evol. Comput. 10 (2002),
       Definition 4, with epsilon as a share of the range.)
    2. If more than ``at_most`` are left, they are taken by non-dominated rank. From the last rank that does not fit
       the point goes whose loss takes the least hypervolume away, again and again (SMS-EMOA: Beume, Naujoks and
       Emmerich, EJOR 181 (2007), 1653), of equal ones the highest number; the best in each objective stays. So a knee
       stays, where crowding would keep a lonely point of little use. ``precision`` counts as one more objective here.
    """
    ordered = sorted(candidates, key=lambda item: item.index)
    if not ordered:
        return ()
    # Smaller is better in every column.
    worse = np.array([_minimised(item.values, objectives) for item in ordered], dtype=np.float64)
    shift = rule.margin * (worse.max(axis=0) - worse.min(axis=0))
    groups: dict[Hashable, list[int]] = {}
    for place, item in enumerate(ordered):
        groups.setdefault(item.group, []).append(place)
    kept = sorted(place for places in groups.values() for place in _near_front(worse, np.array(places), shift))
    if rule.at_most is not None and len(kept) > rule.at_most:
        precision = -np.array([[item.precision] for item in ordered])
        whole = np.hstack([worse, precision]) if np.ptp(precision) else worse
        kept = _best(whole, np.array(kept), rule.at_most)
    return tuple(ordered[place].index for place in kept)


def _minimised(values: Sequence[float], objectives: Sequence[Objective]) -> list[float]:
    found = []
    for value, item in zip(values, objectives, strict=True):
        scaled = value if item.metric == "accuracy" else math.log10(max(value, _SMALLEST))
        found.append(-scaled if item.goal == "max" else scaled)
    return found


def _near_front(worse: FloatArray, places: NDArray[np.intp], shift: FloatArray) -> list[int]:
    """Those of ``places`` that nothing among them dominates after being shifted.

    It is enough to compare with the front: what a point off the front dominates, its own dominator does too.
    """
    import moocore

    mine = worse[places]
    best = mine[np.asarray(moocore.is_nondominated(mine, keep_weakly=False), dtype=np.bool_)] + shift
    kept = []
    for start in range(0, len(places), _CHUNK):
        part = mine[start : start + _CHUNK, None, :]
        beaten = np.logical_and((best[None] <= part).all(axis=2), (best[None] < part).any(axis=2))
        alone = np.flatnonzero(~np.any(beaten, axis=1))
        kept += [int(place) for place in places[start : start + _CHUNK][alone]]
    return kept


def _best(worse: FloatArray, places: NDArray[np.intp], n: int) -> list[int]:
    """``n`` of ``places`` by rank, hypervolume and number, ascending."""
    import moocore

    rank = np.asarray(moocore.pareto_rank(worse[places]))
    chosen: list[int] = []
    for number in np.unique(rank):
        level = places[rank == number]
        room = n - len(chosen)
        if len(level) >= room:
            return sorted([*chosen, *(int(place) for place in level[most_hypervolume(worse[level], room)])])
        chosen += [int(place) for place in level]
    return sorted(chosen)


def most_hypervolume(values: FloatArray, n: int) -> NDArray[np.intp]:
    """Numbers of ``n`` rows, ascending: what is left when the row of least own hypervolume goes, again and again.

    The smallest of each column stays if ``n`` has room for all of these. Columns are taken as shares of their range;
    the reference point lies 1 / (n - 1) of the range beyond the worst values (for two objectives: Ishibuchi et al.,
    "How to specify a reference point in hypervolume calculation for fair performance comparison", Evol. Comput. 26
    (2018)).

    Args:
        values: (rows, objectives), smaller is better.
        n: 0 to rows.
    """
    import moocore

    span = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    reference = np.full(values.shape[1], 1 + 1 / max(1, n - 1))
    ends = np.unique(values.argmin(axis=0))
    left = np.arange(len(values))
    while len(left) > n:
        own = np.array(moocore.hv_contributions(scaled[left], ref=reference))
        if len(ends) <= n:
            own[np.isin(left, ends)] = np.inf
        # Far from the goal several go at once: with four objectives a contribution takes long.
        several = 1 + (len(left) - n) // 16
        order = np.lexsort((-left, own))
        left = np.sort(left[order[several:]])
    return left
