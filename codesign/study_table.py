"""All points of a ledger as columns: what fronts, counts and effects of a million designs are computed from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .constraints import ACCURACY_DROP, ConstraintSpec
from .ledger import Ledger, Value
from .pareto import Objective, nondominated
from .stage_spec import STAGES, WITHOUT_ACCURACY

STATUSES = ("ok", "infeasible", "failed", "timeout")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisColumn:
    """Values of one axis: ``levels[codes]``, levels in rising order; code -1 where a point has no value of it.

    ``codes`` is (n_points,) int32.
    """

    levels: tuple[Value, ...]
    codes: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyTable:
    """Every finished point, by number.

    Attributes:
        row: (n_points,) int64, row in the ledger: a point has one for each stage.
        point: (n_points,) int64, rising; of one point the dearer stage comes later.
        status: (n_points,) int8, place in ``STATUSES``.
        stage: (n_points,) int8, place in ``stages``.
        stages: stages of the points, the cheapest first.
        axes: columns of the axes, in the order in which the points name them.
        metrics: metric -> (n_points,) float64, NaN where a point has none.
    """

    row: NDArray[np.int64]
    point: NDArray[np.int64]
    status: NDArray[np.int8]
    stage: NDArray[np.int8]
    stages: tuple[str, ...]
    axes: Mapping[str, AxisColumn]
    metrics: Mapping[str, NDArray[np.float64]]

    def count(self, *statuses: str) -> int:
        """Points with one of the statuses."""
        return int(np.isin(self.status, [STATUSES.index(status) for status in statuses]).sum())

    def ok(self) -> Mask:
        """Points with a result."""
        return np.equal(self.status, 0)

    def of_stage(self, stage: str) -> Mask:
        """Points whose figures come from ``stage``."""
        return np.equal(self.stage, self.stages.index(stage) if stage in self.stages else -1)

    def admissible(self, constraints: Sequence[ConstraintSpec], reference: float | None) -> Mask:
        """Points with a result that keeps every constraint; ``reference`` is the teacher's accuracy.

        Where a stage has no accuracy, a bound of it cannot be told.
        """
        kept, blind = self.ok(), self._without_accuracy()
        for item in constraints:
            if item.metric is None:
                continue
            value = self.metrics["accuracy" if item.metric == ACCURACY_DROP else item.metric]
            if item.metric == ACCURACY_DROP:
                value = (np.nan if reference is None else reference) - value
            # A comparison with NaN is false: what has no such metric does not keep the bound.
            keeps = value <= item.at_most if item.at_most is not None else value >= (item.at_least or 0.0)
            kept &= keeps | blind if item.metric.startswith("accuracy") else keeps
        return kept

    def front(self, among: Mask, objectives: Sequence[Objective]) -> Mask:
        """Points of ``among`` that no other of the same stage beats in every objective; equal points all stay.

        A stage without accuracy is judged by the other objectives.
        """
        found = np.zeros(self.point.size, dtype=np.bool_)
        for code, stage in enumerate(self.stages):
            known = [item for item in objectives if item.metric != "accuracy" or stage not in WITHOUT_ACCURACY]
            places = np.flatnonzero(among & (self.stage == code))
            values = self.matrix(places, known) if known else np.zeros((0, 0))
            whole = np.isfinite(values).all(axis=1)
            if whole.any():
                found[places[whole][nondominated(values[whole], known)]] = True
        return found

    def _without_accuracy(self) -> Mask:
        blind = [code for code, stage in enumerate(self.stages) if stage in WITHOUT_ACCURACY]
        return np.isin(self.stage, blind)

    def complete(self, among: Mask, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """(n, n_objectives) values of the points of ``among`` that have them all."""
        values = self.matrix(np.flatnonzero(among), objectives)
        return values[np.isfinite(values).all(axis=1)]

    def matrix(self, places: NDArray[Any], objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """(n_places, n_objectives) values of some points."""
        return np.stack([self.metrics[item.metric][places] for item in objectives], axis=1)


def read_table(ledger: Ledger, metrics: Iterable[str]) -> StudyTable:
    """Columns of a ledger with the named ``metrics``.

    Raises:
        StudyError: the ledger is damaged.
    """
    names = tuple(dict.fromkeys(metrics))
    paths = ["accuracy.value" if name == "accuracy" else name for name in names]
    rows, points, statuses, stages = [], [], [], []
    columns: list[list[NDArray[np.float64]]] = [[] for _ in names]
    axes, stage_codes = _Axes(), dict[str, int]()
    codes = {status: code for code, status in enumerate(STATUSES)}
    for row, point, status, stage, values, *numbers in ledger.texts(paths):
        rows.append(np.array(json.loads(row), dtype=np.int64))
        points.append(np.array(json.loads(point), dtype=np.int64))
        statuses.append(np.array(list(map(codes.__getitem__, json.loads(status))), dtype=np.int8))
        named = json.loads(stage)
        for name in dict.fromkeys(named):
            stage_codes.setdefault(name, len(stage_codes))
        stages.append(np.array(list(map(stage_codes.__getitem__, named)), dtype=np.int8))
        axes.add(json.loads(values))
        for column, text in zip(columns, numbers, strict=True):
            column.append(np.array(json.loads(text), dtype=np.float64))
    number = _joined(points, np.int64)
    ranked = sorted(stage_codes, key=_stage_rank)
    recoded = np.array([ranked.index(name) for name in stage_codes] or [0], dtype=np.int8)
    stage_of = recoded[_joined(stages, np.int8)]
    order = np.lexsort((stage_of, number))
    return StudyTable(
        row=_joined(rows, np.int64)[order],
        point=number[order],
        status=_joined(statuses, np.int8)[order],
        stage=stage_of[order],
        stages=tuple(ranked),
        axes=axes.columns(order),
        metrics={name: _joined(column, np.float64)[order] for name, column in zip(names, columns, strict=True)},
    )


class _Axes:
    """Codes of axis values, chunk by chunk: a value gets its code when it is first seen."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[Any, int]] = {}
        self._chunks: dict[str, list[NDArray[np.int32]]] = {}
        self._n_points: list[int] = []

    def add(self, values: Sequence[dict[str, Value]]) -> None:
        kinds = dict.fromkeys(map(tuple, values))
        if len(kinds) == 1:
            # Points of the same axes, as nearly always: columns without a look-up for each value.
            found = dict(zip(next(iter(kinds)), zip(*map(dict.values, values), strict=True), strict=True))
        else:
            names = dict.fromkeys(name for keys in kinds for name in keys)
            found = {name: tuple(item.get(name) for item in values) for name in names}
        for name in dict.fromkeys((*self._levels, *found)):
            if name not in self._levels:
                self._levels[name] = {None: -1}
                self._chunks[name] = [np.full(n, -1, dtype=np.int32) for n in self._n_points]
            level, column = self._levels[name], found.get(name, (None,) * len(values))
            for value in dict.fromkeys(column):
                level.setdefault(value, len(level) - 1)
            self._chunks[name].append(np.array(list(map(level.__getitem__, column)), dtype=np.int32))
        self._n_points.append(len(values))

    def columns(self, order: NDArray[np.int64]) -> dict[str, AxisColumn]:
        found = {}
        for name, level in self._levels.items():
            levels = [value for value in level if value is not None]
            ranked = sorted(levels, key=_level_rank)
            # The last element answers to -1, the code of "no value".
            recoded = np.array([*(ranked.index(value) for value in levels), -1], dtype=np.int32)
            codes = recoded[_joined(self._chunks[name], np.int32)[order]]
            found[name] = AxisColumn(levels=tuple(ranked), codes=codes)
        return found


def _level_rank(value: Value) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")


def _stage_rank(name: str) -> tuple[int, str]:
    return (STAGES.index(name) if name in STAGES else len(STAGES), name)


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
