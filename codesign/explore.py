"""The driver: runs what a study asks for, commits what is finished, continues what was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .pareto import Choice
from .study import StudyConfig


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """How far a run is: ``done`` of ``total`` in a stage, and a line for people."""

    stage: Literal["teacher", "students", "points", "report"]
    done: int
    total: int
    message: str


Progress = Callable[[ProgressEvent], None]


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a run would do (``--dry-run``)."""

    n_points: int
    n_infeasible: int
    n_students: int
    estimated_s: float


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What a run did: counts over the whole ledger, resumed points included.

    ``n_missing`` is above 0 only after an interruption. Exit code of the command line: 130 if
    ``interrupted``, 3 if ``n_failed``, else 0.
    """

    n_ok: int
    n_infeasible: int
    n_failed: int
    n_missing: int
    n_resumed: int
    interrupted: bool
    choice: Choice | None
    wall_s: float


def dry_run(study: StudyConfig, *, workers: int = 1) -> StudyPlan:
    """Size of a study, and a rough time (states its assumption in docs/studies.md).

    Raises:
        ConfigError: the study is wrong.
    """
    raise NotImplementedError


def run_study(
    study: StudyConfig,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> StudySummary:
    """Run a study into the folder ``out``: ``study.yaml``, ``ledger.sqlite``, ``front.csv``, ``cache/``.

    ``workers=1`` runs in this process, more in a pool of that many processes; the outputs are the same.
    Ctrl-C once finishes the running points and saves (``interrupted``); twice raises KeyboardInterrupt.

    Raises:
        ConfigError: the study is wrong; nothing is written.
        StudyError: the folder holds another study, or this one and ``resume`` is False; nothing is written.
    """
    raise NotImplementedError
