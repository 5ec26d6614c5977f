"""Which designs are worth building: fronts, hypervolume, and the design to pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .ledger import Row


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric and its better direction; ``metric`` is a path into ``Row.metrics``, e.g. ``edap_J_s_mm2``."""

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
    raise NotImplementedError


def front(rows: Sequence[Row], objectives: Sequence[Objective]) -> tuple[Row, ...]:
    """Non-dominated ``ok`` rows in point order; equal designs all stay, the order of ``rows`` does not matter."""
    raise NotImplementedError


def knee(front_rows: Sequence[Row]) -> Choice | None:
    """The design to pick from a front (accuracy against EDAP); None for an empty front."""
    raise NotImplementedError


def hypervolume(rows: Sequence[Row], objectives: Sequence[Objective], reference: Sequence[float]) -> float:
    """Volume dominated by ``rows`` up to ``reference``, in the units of the objectives."""
    raise NotImplementedError


def write_front_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the front: same rows, same bytes."""
    raise NotImplementedError
