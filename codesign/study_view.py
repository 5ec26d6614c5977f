"""What the report shows of a ledger of any size: the exact front, a stated sample of the rest, figures over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .constraints import ACCURACY_DROP, reference_accuracy
from .ledger import Ledger, Row, Status, Value
from .pareto import Choice, Objective, knee, nondominated, volume_of, worst_values
from .stage_spec import WITHOUT_ACCURACY
from .study import StudyConfig
from .study_table import Mask, StudyTable, read_table

#: Points that the page holds one by one: all, or the front and a sample up to this number.
SHOWN_POINTS = 4000
#: Most points on the curve of the hypervolume, and values of an axis in the picture of its effect.
_CURVE_POINTS, _LEVELS_SHOWN = 80, 16
#: The pick weighs accuracy against EDAP, whatever the study's own objectives are.
BALANCE = (Objective(metric="accuracy", goal="max"), Objective(metric="edap_J_s_mm2", goal="min"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """One objective over the designs with one value of an axis: mean, 10th and 90th percentile, number of designs."""

    axis: str
    level: Value
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumePoint:
    """Hypervolume of the front of the first ``n`` points."""

    n: int
    volume: float


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as its report shows it.

    Attributes:
        rows: points shown one by one, by number: all of them, or every front and a sample.
        front: keys of the points on the front of their stage; ``rows`` holds all of these.
        stage: the stage of the pick, the effects and the curve: the dearest that has results.
        n_points, n_ok: points of the ledger, and those with a result.
        n_sampled: points of ``rows`` that were drawn from all others; None if ``rows`` is everything.
        reasons: (status, reason, number of points, first point) of points without a result, most frequent first.
        effects: objective -> effects of every axis with more than one value.
        volumes: hypervolume over evaluated points, up to ``reference_point``.
        front_rows: those of ``rows`` on the front of ``stage``.
        is_whole: the reference point is the study's own; else the worst values so far stand in for it.
    """

    rows: tuple[Row, ...]
    front: frozenset[str]
    front_rows: tuple[Row, ...]
    stage: str
    stages: tuple[str, ...]
    objectives: tuple[Objective, ...]
    choice: Choice | None
    n_points: int
    n_ok: int
    n_admissible: int
    n_sampled: int | None = None
    reasons: tuple[tuple[Status, str, int, int], ...] = ()
    effects: dict[str, tuple[Effect, ...]] = field(default_factory=dict)
    volumes: tuple[VolumePoint, ...] = ()
    reference_point: tuple[float, ...] | None = None
    is_whole: bool = True


def read_view(ledger: Ledger, study: StudyConfig) -> StudyView:
    """View of an open ledger of a resolved study; deterministic, whatever the size.

    Raises:
        StudyError: the ledger is damaged.
    """
    objectives = study.objective_list()
    table = study_table(ledger, study)
    kept = table.admissible(study.constraints, reference_accuracy(ledger.stages()))
    front = table.front(kept, objectives)
    stage = main_stage(table)
    mine = table.of_stage(stage)
    pick = balanced(table, kept)
    shown, n_sampled = _shown(table, front | pick)
    rows = ledger.rows_at(table.row[shown])

    def those_of(mask: Mask) -> tuple[Row, ...]:
        return tuple(row for row, there in zip(rows, mask[shown], strict=True) if there)

    reference = study.reference_point or ledger.meta().get("reference_point")
    volumes, worst = _volumes(table, kept & mine, mine, objectives, reference)
    return StudyView(
        rows=rows,
        front=frozenset(row.key for row in those_of(front)),
        front_rows=those_of(front & mine),
        stage=stage,
        stages=table.stages,
        objectives=tuple(objectives),
        choice=knee(those_of(pick)),
        n_points=table.point.size,
        n_ok=table.count("ok"),
        n_admissible=int(kept.sum()),
        n_sampled=n_sampled,
        reasons=() if table.ok().all() else ledger.reasons(),
        effects=_effects(table, table.ok() & mine, objectives),
        volumes=volumes,
        reference_point=worst,
        is_whole=reference is not None,
    )


def study_table(ledger: Ledger, study: StudyConfig, *, axes: bool = True) -> StudyTable:
    """Columns of what a study is judged by: objectives, constraints, and what ``balanced`` asks; axes if asked for."""
    metrics = [item.metric for item in study.objective_list()]
    metrics += [
        "accuracy" if item.metric == ACCURACY_DROP else item.metric for item in study.constraints if item.metric
    ]
    # Without training there is no accuracy: reading none saves a third of the time.
    if study.stages or study.stage not in WITHOUT_ACCURACY:
        metrics += [item.metric for item in BALANCE]
    return read_table(ledger, metrics, axes=axes)


def balanced(table: StudyTable, among: Mask) -> Mask:
    """Points of ``among`` to pick from: the front of ``BALANCE`` in the main stage, none where it has no accuracy."""
    stage = main_stage(table)
    if stage in WITHOUT_ACCURACY:
        return np.zeros(table.point.size, dtype=np.bool_)
    return table.front(among & table.of_stage(stage), BALANCE)


def main_stage(table: StudyTable) -> str:
    """The dearest stage that has results: the one of the pick and of ``front.csv``."""
    there = [stage for stage in table.stages if (table.ok() & table.of_stage(stage)).any()]
    return there[-1] if there else (table.stages[-1] if table.stages else "full")


def _shown(table: StudyTable, always: Mask) -> tuple[NDArray[np.int64], int | None]:
    """Places of the points to show, and how many of them were drawn; the same points give the same draw."""
    n = table.point.size
    if n <= SHOWN_POINTS:
        return np.arange(n), None
    others = np.flatnonzero(table.ok() & ~always)
    wanted = min(max(SHOWN_POINTS - int(always.sum()), SHOWN_POINTS // 4), others.size)
    drawn = np.random.default_rng(0).choice(others, size=wanted, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(always), drawn])), wanted


def _effects(table: StudyTable, among: Mask, objectives: Sequence[Objective]) -> dict[str, tuple[Effect, ...]]:
    """Objective -> effects of every axis with more than one value among the points that have the objective."""
    values = {item.metric: table.metrics[item.metric][among] for item in objectives}
    found: dict[str, list[Effect]] = {metric: [] for metric in values}
    for name, axis in table.axes.items():
        codes = axis.codes[among]
        # Small numbers are sorted by counting.
        order = np.argsort(codes.astype(np.int16) if len(axis.levels) < 2**15 else codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(axis.levels)))
        for metric, column in values.items():
            groups = np.split(column[order], starts)[1:]
            finite = [group[np.isfinite(group)] for group in groups]
            levels = [(level, group) for level, group in zip(axis.levels, finite, strict=True) if group.size]
            if len(levels) > 1:
                keep = np.unique(np.linspace(0, len(levels) - 1, min(len(levels), _LEVELS_SHOWN)).round().astype(int))
                found[metric] += [_effect(name, *levels[place]) for place in keep]
    return {metric: tuple(effects) for metric, effects in found.items()}


def _effect(axis: str, level: Value, values: NDArray[np.float64]) -> Effect:
    low, high = np.percentile(values, [10, 90])
    return Effect(axis=axis, level=level, n=values.size, mean=float(values.mean()), low=float(low), high=float(high))


def _volumes(
    table: StudyTable, kept: Mask, mine: Mask, objectives: Sequence[Objective], reference: Sequence[float] | None
) -> tuple[tuple[VolumePoint, ...], tuple[float, ...] | None]:
    """Hypervolume of the front of the first n points of a stage, for some n, and its reference point."""
    places = np.flatnonzero(mine)
    values = table.matrix(places, objectives)
    good = kept[places] & np.isfinite(values).all(axis=1)
    worst = worst_values(values[good], objectives) if reference is None else tuple(float(v) for v in reference)
    if worst is None:
        return (), None
    ends = np.unique(np.geomspace(1, places.size, min(places.size, _CURVE_POINTS)).round().astype(int))
    best, found, start = values[:0], [], 0
    for end in ends:
        new = values[start:end][good[start:end]]
        if len(new):
            together = np.concatenate([best, new])
            best = together[nondominated(together, objectives)]
        found.append(VolumePoint(n=int(end), volume=volume_of(best, objectives, worst)))
        start = end
    return tuple(found), worst
