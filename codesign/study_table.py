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
from .ledger_schema import damage_named
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


def read_table(ledger: Ledger, metrics: Iterable[str], *, axes: bool = True) -> StudyTable:
    """Columns of a ledger with the named ``metrics``; without ``axes``, which take a third of the time, it has none.

    Raises:
        StudyError: the ledger is damaged.
    """
    names = tuple(dict.fromkeys(metrics))
    rows, points, statuses, stages = [], [], [], []
    numbers: list[NDArray[np.float64]] = []
    found, stage_codes = _Axes(), _Codes()
    status_codes = _Codes({status: code for code, status in enumerate(STATUSES)})
    with damage_named(ledger.path):
        for texts in ledger.texts(["accuracy.value" if name == "accuracy" else name for name in names], axes=axes):
            rows.append(np.fromstring(texts.rows, dtype=np.int64, sep=","))
            points.append(np.fromstring(texts.points, dtype=np.int64, sep=","))
            statuses.append(status_codes.of(texts.statuses.split(","), np.int8))
            stages.append(stage_codes.of(texts.stages.split(","), np.int8))
            if axes:
                found.add(texts.axes, texts.n_rows)
            flat = np.array(json.loads(texts.metrics.replace("],[", ",")), dtype=np.float64)
            numbers.append(flat.reshape(texts.n_rows, -1)[:, : len(names)])
    number, values = _joined(points, np.int64), np.concatenate(numbers or [np.zeros((0, len(names)))])
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
        axes=found.columns(order),
        metrics={name: values[order, place] for place, name in enumerate(names)},
    )


class _Codes(dict[Any, int]):
    """Codes of values; one that is new gets the next number."""

    def __missing__(self, value: Any) -> int:
        code = self[value] = len(self)
        return code

    def of(self, column: Sequence[Any], dtype: Any = np.int32) -> NDArray[Any]:
        return np.fromiter(map(self.__getitem__, column), dtype=dtype, count=len(column))


class _Axes:
    """Codes of axis values, chunk by chunk: a value gets its code when it is first seen."""

    def __init__(self) -> None:
        self._levels: dict[str, _Codes] = {}
        self._chunks: dict[str, list[NDArray[np.int32]]] = {}
        self._n_points: list[int] = []

    def add(self, text: str, n_points: int) -> None:
        """Add the axes of some points: JSON objects with commas between them."""
        found = _cut(text, n_points) or _parsed(text)
        for name in dict.fromkeys((*self._levels, *found)):
            if name not in self._levels:
                self._levels[name] = _Codes()
                self._chunks[name] = [np.full(n, -1, dtype=np.int32) for n in self._n_points]
            values, local = found.get(name, ((), np.full(n_points, -1, dtype=np.int32)))
            # The last element answers to -1, the code of "no value".
            recoded = np.array([*self._levels[name].of(values), -1], dtype=np.int32)
            self._chunks[name].append(recoded[local])
        self._n_points.append(n_points)

    def columns(self, order: NDArray[np.int64]) -> dict[str, AxisColumn]:
        found = {}
        for name, level in self._levels.items():
            ranked = sorted(level, key=_level_rank)
            recoded = np.array([*(ranked.index(value) for value in level), -1], dtype=np.int32)
            codes = recoded[_joined(self._chunks[name], np.int32)[order]]
            found[name] = AxisColumn(levels=tuple(ranked), codes=codes)
        return found


#: Name of an axis -> its values, and the place of each point's value among them (-1: none).
_Found = dict[str, tuple[Sequence[Value], NDArray[np.int32]]]


def _cut(text: str, n_points: int) -> _Found | None:
    """Axes of points that all name the same ones in the same order; None if they do not.

    Most pieces between two commas occur again and again; only one of each is parsed. That is what a parser finds in the
    whole text: pieces that are each one member, set side by side, can be read in no other way.
    """
    pieces = text.split(",")
    n_axes, rest = divmod(len(pieces), n_points)
    if rest or not (text.startswith("{") and text.endswith("}")):
        return None
    found: _Found = {}
    for place in range(n_axes):
        codes = _Codes()
        column = codes.of(pieces[place::n_axes])
        opened, closed = "" if place == 0 else "{", "" if place == n_axes - 1 else "}"
        members = _members([f"{opened}{piece}{closed}" for piece in codes])
        if members is None or members[0] in found:
            return None
        found[members[0]] = members[1], column
    return found


def _members(objects: Sequence[str]) -> tuple[str, list[Value]] | None:
    """The name that is the only one in all ``objects``, and its values; None if they are not so."""
    try:
        read = json.loads(f"[{','.join(objects)}]")
    except json.JSONDecodeError:
        return None
    if len(read) != len(objects) or not all(isinstance(item, dict) and len(item) == 1 for item in read):
        return None
    (name,) = read[0]
    values = [item.get(name) for item in read]
    return (name, values) if all(isinstance(value, int | float | str) for value in values) else None


def _parsed(text: str) -> _Found:
    """Axes of points that name different ones, or whose texts hold commas."""
    points = json.loads(f"[{text}]")
    found: _Found = {}
    for name in dict.fromkeys(name for values in points for name in values):
        column = [values.get(name) for values in points]
        codes = {value: code for code, value in enumerate(dict.fromkeys(item for item in column if item is not None))}
        local = np.fromiter((codes.get(item, -1) for item in column), dtype=np.int32, count=len(column))
        found[name] = tuple(codes), local
    return found


def _level_rank(value: Value) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")


def _stage_rank(name: str) -> tuple[int, str]:
    return (STAGES.index(name) if name in STAGES else len(STAGES), name)


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
