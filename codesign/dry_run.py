"""Size of a study before it is run: points, and a rough time, memory and disk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .plan import make_plan
from .space import CHECKED_POINTS, Space, check_not_empty, compile_space, design_problem
from .stage_spec import UNTRAINED, StageSpec
from .study import StudyConfig, resolve_study

# Rough times of the digits demo on one core, docs/studies.md; only --dry-run uses them.
_TEACHER_S, _STUDENT_S, _POINT_S, _ANALYTIC_S = 8.0, 8.0, 0.5, 0.003
# A network quantised without training, and the clock on its own images.
_UNTRAINED_S, _CYCLE_S = 0.4, 0.3
# Rough sizes: a process, a point in memory before and after it ran, a row of the ledger.
_BASE_MB, _PLANNED_KB, _READ_ROW_KB, _FULL_ROW_KB, _ANALYTIC_ROW_KB = 300.0, 20.0, 4.0, 30.0, 1.5
# Files in ``cache/`` of a student (checkpoint and network) and of a functional run.
_STUDENT_KB, _RUN_KB = 60.0, 60.0


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage of a run: at most so many points and students, and a rough time."""

    stage: str
    n_points: int
    n_students: int
    estimated_s: float


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a run would do (``--dry-run``).

    Attributes:
        n_points: points of the space, exact, infeasible ones included.
        n_infeasible: those that are impossible before anything runs; None where they are not counted.
        n_students: students to train; None where a sampler chooses them.
        n_evaluations: points that would be asked for.
        stages: the stages of a study that has several; each gets at most what the one before it promotes.
        estimated_s: rough time; memory and disk likewise, docs/studies.md says from what.
    """

    n_points: int
    n_infeasible: int | None
    n_students: int | None
    n_evaluations: int
    estimated_s: float
    memory_MB: float
    disk_MB: float
    stages: tuple[StagePlan, ...] = ()


def dry_run(study: StudyConfig, *, workers: int = 1) -> StudyPlan:
    """Size of a study, and a rough time (its assumption stands in docs/studies.md).

    Raises:
        ConfigError: the study is wrong.
    """
    study = resolve_study(study)
    if study.stages:
        return _dry_stages(study, workers)
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
    n_infeasible = _count_infeasible(space)
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


def _dry_stages(study: StudyConfig, workers: int) -> StudyPlan:
    space = compile_space(study)
    check_not_empty(space, study.name)
    n_infeasible, n_first = _count_infeasible(space), study.search.evaluations or space.n_points
    n_left = min(n_first, space.n_points) - (n_infeasible or 0 if study.search.tries_all else 0)
    students = replace(space, axes=tuple(axis for axis in space.axes if axis.name.startswith("student."))).n_points
    epochs = int((study.student or {})["epochs"])  # type: ignore[index]  # resolved
    plans, disk_kB = [], 0.0
    for spec in study.stages:
        n_students = 0 if spec.stage == "analytic" else min(students, n_left)
        student_s, point_s = _stage_s(spec, epochs)
        seconds = (n_students * student_s + n_left * point_s) / workers
        plans.append(StagePlan(stage=spec.stage, n_points=n_left, n_students=n_students, estimated_s=seconds))
        analytic = spec.stage == "analytic"
        disk_kB += n_left * (_ANALYTIC_ROW_KB if analytic else _FULL_ROW_KB + _RUN_KB) + n_students * _STUDENT_KB
        if spec.promote is not None and spec.promote.at_most is not None:
            n_left = min(n_left, spec.promote.at_most)
    largest = max(plan.n_points for plan in plans)
    return StudyPlan(
        n_points=space.n_points,
        n_infeasible=n_infeasible,
        n_students=plans[-1].n_students,
        n_evaluations=plans[0].n_points,
        estimated_s=_TEACHER_S + sum(plan.estimated_s for plan in plans),
        memory_MB=_BASE_MB * (1 + workers) + largest * _PLANNED_KB / 1e3,
        disk_MB=disk_kB / 1e3,
        stages=tuple(plans),
    )


def _stage_s(spec: StageSpec, epochs: int) -> tuple[float, float]:
    """Seconds of a student and of a point."""
    if spec.stage == "analytic":
        return 0.0, _ANALYTIC_S
    if spec.stage in UNTRAINED:
        return _UNTRAINED_S, _CYCLE_S if spec.stage == "cycle" else _POINT_S
    return _STUDENT_S * (spec.epochs / epochs if spec.epochs is not None else 1.0), _POINT_S


def _count_infeasible(space: Space) -> int | None:
    """Points that are impossible before anything runs; None if there are too many to look at."""
    if space.n_points > CHECKED_POINTS:
        return None
    return sum(1 for point in space.points() if design_problem(space, point))
