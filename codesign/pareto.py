"""Which designs are worth building: fronts, hypervolume, and the design to pick."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.units import format_si

from .ledger import Row

#: Metric columns of ``front.csv``, after the axes and the accuracy.
CSV_METRICS = (
    "energy_fJ",
    "latency_ns",
    "interval_ns",
    "area_um2",
    "edap_J_s_mm2",
    "edap_interval_J_s_mm2",
    "tops",
    "tops_per_W",
    "tops_per_mm2",
)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric and its better direction; ``metric`` is a name in ``Row.metrics``, e.g. ``edap_J_s_mm2``."""

    metric: str
    goal: Literal["max", "min"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The design that a study would pick.

    Attributes:
        row: the picked design.
        knee: the knee of the front before differences inside the paired interval were ignored.
        reason: one sentence with numbers and units, for the last line of a run and for the report.
    """

    row: Row
    knee: Row
    reason: str


def value_of(row: Row, metric: str) -> float | None:
    """Number of a metric; ``accuracy`` is its value, None where the row has none."""
    value = row.metrics.get(metric)
    if isinstance(value, dict):
        value = value.get("value")
    return None if value is None else float(value)


def front(rows: Sequence[Row], objectives: Sequence[Objective]) -> tuple[Row, ...]:
    """Non-dominated ``ok`` rows in point order; equal designs all stay, the order of ``rows`` does not matter.

    A row without one of the metrics (no accuracy without data) is no candidate.

    Raises:
        StudyError: the rows come from several stages, whose figures must not be compared.
    """
    candidates = sorted(_complete(rows, objectives), key=lambda row: row.index)
    mixed = sorted({row.stage for row in candidates})
    if len(mixed) > 1:
        raise StudyError(f"front: rows of the stages {' and '.join(mixed)}; one front shows one stage, choose the rows")
    if not candidates:
        return ()
    keep = nondominated(_matrix(candidates, objectives), objectives)
    return tuple(row for row, kept in zip(candidates, keep, strict=True) if kept)


def nondominated(values: NDArray[np.float64], objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """(n,) which rows of ``values`` (n, n_objectives) no other row beats in every objective; equal ones all stay."""
    import moocore

    keep = moocore.is_nondominated(values, maximise=[item.goal == "max" for item in objectives], keep_weakly=True)
    return np.asarray(keep, dtype=np.bool_)


def volume_of(values: NDArray[np.float64], objectives: Sequence[Objective], reference: Sequence[float]) -> float:
    """Volume dominated by ``values`` (n, n_objectives) up to ``reference``; 0 without rows."""
    if not len(values):
        return 0.0
    import moocore

    maximise = [item.goal == "max" for item in objectives]
    return float(moocore.hypervolume(values, ref=list(reference), maximise=maximise))


def worst_values(values: NDArray[np.float64], objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Worst value of each objective in ``values`` (n, n_objectives); None without rows."""
    if not len(values):
        return None
    worst = [
        column.min() if item.goal == "max" else column.max() for item, column in zip(objectives, values.T, strict=True)
    ]
    return tuple(float(value) for value in worst)


def hypervolume(rows: Sequence[Row], objectives: Sequence[Objective], reference: Sequence[float]) -> float:
    """Volume dominated by ``rows`` up to ``reference``, in the units of the objectives; 0 without rows."""
    candidates = _complete(rows, objectives)
    return volume_of(_matrix(candidates, objectives), objectives, reference) if candidates else 0.0


def reference_point(rows: Sequence[Row], objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Worst value of each objective among ``rows``: stored once, so that hypervolumes stay comparable."""
    candidates = _complete(rows, objectives)
    return worst_values(_matrix(candidates, objectives), objectives) if candidates else None


def knee(front_rows: Sequence[Row]) -> Choice | None:
    """The design to pick from a front of accuracy against EDAP; None for an empty front.

    The knee is the design farthest from the line between the cheapest and the most accurate one. Both axes are
    logarithmic and normalised to the front: error rate, because halving the errors is worth the same at 10 % as
    at 4 %, and EDAP. The pick is the cheapest design of the front whose accuracy differs from the knee's by less
    than the paired 95 % interval on the same images.

    Source: farthest point from the line of the extremes as in Das, "On characterizing the 'knee' of the
    Pareto curve based on normal-boundary intersection", Structural Optimization 18 (1999).
    """
    needed = (Objective(metric="accuracy", goal="max"), Objective(metric="edap_J_s_mm2", goal="min"))
    rows = sorted(_complete(front_rows, needed), key=lambda row: row.index)
    if not rows:
        return None
    bend = _farthest_from_line(rows)
    alike = [row for row in rows if row is bend or _is_alike(row, bend)]
    pick = min(alike, key=lambda row: (_number(row, "edap_J_s_mm2"), -_number(row, "accuracy"), row.index))
    return Choice(row=pick, knee=bend, reason=_sentence(pick, bend, rows))


def write_front_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the front, one line a design in the order of ``rows``: same rows, same bytes.

    Raises:
        OSError: the folder does not exist or the disk is full; an older file stays whole.
    """
    axes = list(dict.fromkeys(name for row in rows for name in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", *axes, "accuracy", "n", "ci95_low", "ci95_high", *CSV_METRICS, "stage"])
    for row in rows:
        accuracy = row.metrics.get("accuracy") or {}
        low, high = accuracy.get("ci95") or (None, None)
        cells = [row.index, *(row.values.get(name) for name in axes)]
        cells += [accuracy.get("value"), accuracy.get("n", 0), low, high]
        cells += [*(row.metrics.get(name) for name in CSV_METRICS), row.stage]
        # Of numbers the writer takes the shortest exact form, of None nothing.
        writer.writerow([_safe(cell) if isinstance(cell, str) else cell for cell in cells])
    write_atomic(path, text.getvalue())


def _complete(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    return [
        row for row in rows if row.status == "ok" and all(value_of(row, item.metric) is not None for item in objectives)
    ]


def _matrix(rows: Sequence[Row], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    return np.array([[_number(row, item.metric) for item in objectives] for row in rows], dtype=np.float64)


def _number(row: Row, metric: str) -> float:
    value = value_of(row, metric)
    return math.nan if value is None else value


def _farthest_from_line(rows: list[Row]) -> Row:
    cost = np.log([_number(row, "edap_J_s_mm2") for row in rows])
    gain = _normalised(-np.log([_error_rate(row) for row in rows]))
    price = _normalised(cost)
    # In the unit square the line runs from (0, 0), the cheapest, to (1, 1), the most accurate design.
    return rows[int(np.argmax(gain - price))]


def _error_rate(row: Row) -> float:
    """Share of wrong answers; half an image is added, so that a design without errors has a logarithm too."""
    n = int(row.metrics["accuracy"].get("n") or 0)
    return ((1.0 - _number(row, "accuracy")) * n + 0.5) / (n + 1)


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    span = float(np.ptp(values))
    return np.zeros_like(values) if span == 0 else (values - values.min()) / span


def _is_alike(row: Row, bend: Row) -> bool:
    """Whether the paired 95 % interval of the accuracy difference on the same images holds zero."""
    if row.correct is None or bend.correct is None or row.correct.size != bend.correct.size:
        return _number(row, "accuracy") == _number(bend, "accuracy")
    from spikeloop.simulator.metrics import paired_interval

    low, high = paired_interval(bend.correct, row.correct)
    return bool(low <= 0 <= high)


def _sentence(pick: Row, bend: Row, rows: list[Row]) -> str:
    design = ", ".join(f"{name}={value}" for name, value in pick.values.items())
    n = pick.metrics["accuracy"].get("n", 0)
    text = (
        f"point {pick.index} ({design}): accuracy {100 * _number(pick, 'accuracy'):.1f} % on {n} images, "
        f"EDAP {_number(pick, 'edap_J_s_mm2'):.3g} J s mm2 "
        f"({format_si(_number(pick, 'energy_fJ'), 'fJ')}, {format_si(_number(pick, 'latency_ns'), 'ns')}, "
        f"{format_si(_number(pick, 'area_um2'), 'um2')})"
    )
    if pick is not bend:
        loss = 100 * (_number(bend, "accuracy") - _number(pick, "accuracy"))
        ratio = _number(bend, "edap_J_s_mm2") / _number(pick, "edap_J_s_mm2")
        text += (
            f"; {ratio:.3g} times less EDAP than the knee of the front (point {bend.index}), whose accuracy is "
            f"{abs(loss):.1f} points {'higher' if loss >= 0 else 'lower'}, a difference inside the paired 95 % interval"
        )
    elif len(rows) > 1:
        best = max(rows, key=lambda row: (_number(row, "accuracy"), -row.index))
        ratio = _number(best, "edap_J_s_mm2") / _number(pick, "edap_J_s_mm2")
        loss = 100 * (_number(best, "accuracy") - _number(pick, "accuracy"))
        text += (
            f"; it is the knee of a front of {len(rows)} designs: {ratio:.3g} times less EDAP than the most "
            f"accurate one (point {best.index}) for {loss:.1f} points of accuracy"
        )
        if any(_number(row, "edap_J_s_mm2") < _number(pick, "edap_J_s_mm2") for row in rows):
            text += ", and the cheaper designs lose more than the paired 95 % interval"
    return text + "."


def _safe(text: str) -> str:
    # A text that starts like a formula would be run by a spreadsheet.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
