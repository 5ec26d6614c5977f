"""The record of a study: one SQLite file, one writer, finished means committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "infeasible", "failed", "timeout"]
Value = int | float | str | bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One finished point of a study.

    Attributes:
        index: place of the point in the study's fixed order.
        key: sha256 of everything that the result depends on.
        status: ``ok``; ``infeasible`` (no such hardware); ``failed``; ``timeout``.
        reason: why the point is not ``ok``, one sentence; empty if it is.
        values: axis name -> value of this point, in the order of the axes.
        config: resolved configuration: ``{"hardware": ..., "student": ..., ...}``.
        metrics: the object of ``spikeloop simulate --json``; empty unless ``ok``.
        correct: (n_images,) bool, which images were classified rightly; None without labels or result.
        versions: packages, model version, network hash, git commit.
        wall_s: wall time of the evaluation.
        cpu_s: CPU time of the evaluation.
        tries: how often the point was started; more than 1 if a worker died under it.
        created_at: UTC time of the commit, ISO 8601.
    """

    index: int
    key: str
    status: Status
    reason: str
    values: Mapping[str, Value]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    correct: NDArray[np.bool_] | None
    versions: Mapping[str, str]
    wall_s: float
    cpu_s: float
    tries: int
    created_at: str


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One finished preparation: the teacher or a student.

    Attributes:
        key: content hash; the folder is ``cache/<stage>-<key>``.
        stage: ``teacher`` or ``student``.
        values: student axes of a student, empty for the teacher.
        notes: what the trainer reports, e.g. ``{"accuracy": 0.97, "n": 360}``.
        wall_s: wall time spent.
        cpu_s: CPU time spent.
    """

    key: str
    stage: Literal["teacher", "student"]
    values: Mapping[str, Value]
    notes: Mapping[str, Any]
    wall_s: float
    cpu_s: float


class Ledger:
    """An open ledger; make one with ``create_ledger`` or ``open_ledger``, close it (context manager)."""

    def rows(self) -> tuple[Row, ...]:
        """Every finished point, in the order of the index."""
        raise NotImplementedError

    def stages(self) -> tuple[StageRow, ...]:
        """Every finished preparation, in the order of commitment."""
        raise NotImplementedError

    def meta(self) -> dict[str, Any]:
        """``schema``, ``study`` (resolved study as a dict), ``study_hash``, ``model_version``."""
        raise NotImplementedError

    def add(self, rows: Iterable[Row]) -> None:
        """Commit finished points in one transaction."""
        raise NotImplementedError


def open_ledger(path: Path, *, read_only: bool = True) -> Ledger:
    """Ledger that exists; also during a run, read-only.

    Raises:
        StudyError: missing, torn, not a ledger, or of another schema; the sentence says which.
    """
    raise NotImplementedError
