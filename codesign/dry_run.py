"""Size of a study before it is run: points, and a rough time, memory and disk."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import make_plan
from .space import CHECKED_POINTS, check_not_empty, compile_space, design_problem
from .study import StudyConfig, resolve_study

# Rough times of the digits demo on one core, docs/studies.md; only --dry-run uses them.
_TEACHER_S, _STUDENT_S, _POINT_S, _ANALYTIC_S = 8.0, 8.0, 0.5, 0.003
# Rough sizes: a process, a point in memory before and after it ran, a row of the ledger.
_BASE_MB, _PLANNED_KB, _READ_ROW_KB, _FULL_ROW_KB, _ANALYTIC_ROW_KB = 300.0, 20.0, 4.0, 30.0, 1.5


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a run would do (``--dry-run``).

    Attributes:
        n_points: points of the space, exact, infeasible ones included.
        n_infeasible: those that are impossible before anything runs; None where they are not counted.
        n_students: students to train; None where a sampler chooses them.
        n_evaluations: points that would be asked for.
        estimated_s: rough time; memory and disk likewise, docs/studies.md says from what.
    """

    n_points: int
    n_infeasible: int | None
    n_students: int | None
    n_evaluations: int
    estimated_s: float
    memory_MB: float
    disk_MB: float


def dry_run(study: StudyConfig, *, workers: int = 1) -> StudyPlan:
    """Size of a study, and a rough time (its assumption stands in docs/studies.md).

    Raises:
        ConfigError: the study is wrong.
    """
    study = resolve_study(study)
    if study.stage == "analytic" or not study.search.tries_all:
        return _dry_search(study, workers)
    plan = make_plan(study)
    n_run = len(plan.points) - plan.n_infeasible
    return StudyPlan(
        n_points=len(plan.points),
        n_infeasible=plan.n_infeasible,
        n_students=len(plan.students),
        n_evaluations=n_run,
        estimated_s=_TEACHER_S + (len(plan.students) * _STUDENT_S + n_run * _POINT_S) / workers,
        memory_MB=_BASE_MB * (1 + workers) + len(plan.points) * _PLANNED_KB / 1e3,
        disk_MB=len(plan.points) * _FULL_ROW_KB / 1e3,
    )


def _dry_search(study: StudyConfig, workers: int) -> StudyPlan:
    space = compile_space(study)
    check_not_empty(space, study.name)
    analytic, n_points = study.stage == "analytic", space.n_points
    n_run = study.search.evaluations or n_points
    n_infeasible = None
    if n_points <= CHECKED_POINTS:
        n_infeasible = sum(1 for point in space.points() if design_problem(space, point))
    point_s, row_kB = (_ANALYTIC_S, _ANALYTIC_ROW_KB) if analytic else (_POINT_S + _STUDENT_S, _FULL_ROW_KB)
    return StudyPlan(
        n_points=n_points,
        n_infeasible=n_infeasible,
        n_students=0 if analytic else None,
        n_evaluations=n_run,
        estimated_s=_TEACHER_S + n_run * point_s / workers,
        memory_MB=_BASE_MB * (1 + workers) + n_run * (_READ_ROW_KB if analytic else _PLANNED_KB) / 1e3,
        disk_MB=n_run * row_kB / 1e3,
    )
