"""The driver: runs what a study asks for, commits what is finished, continues what was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spikeloop.simulator.errors import ConfigError, SimulationError, SpikeloopError, StudyError

from .constraints import reference_accuracy
from .dask_executor import check_scheduler
from .executors import MAX_TRIES, Executor, Outcome, Task, catch_interrupts, make_executor, run_tasks
from .folder import CACHE_FOLDER, FRONT_FILE, check_folder, open_folder
from .ledger import Ledger, Preparation, Row, StageRow, unpack_bits, utc_now
from .pareto import Choice, knee, volume_of, worst_values, write_front_csv
from .plan import Plan, PlannedPoint, PlannedStudent, make_plan
from .provenance import versions
from .runs import may_share_runs
from .stages import PointJob, PointResult, Prepared, Stages, StudentJob, TeacherJob, real_stages
from .study import StudyConfig, resolve_study
from .study_table import Mask, StudyTable
from .study_view import balanced, main_stage, study_table

#: Designs that one task evaluates; fixed, so that the work is cut alike for any number of workers.
BATCH = 4


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """How far a run is: ``done`` of ``total`` in a stage, and a line for people."""

    stage: Literal["teacher", "students", "points", "report"]
    done: int
    total: int
    message: str


Progress = Callable[[ProgressEvent], None]


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What a run did: counts over the whole ledger, resumed points included.

    ``n_missing`` is above 0 only after an interruption. ``n_admissible`` designs keep the constraints, ``n_front``
    of them are on the front, whose ``hypervolume`` is up to ``reference_point`` (None before the study is finished).
    Exit code of the command line: 130 if ``interrupted``, 3 if ``n_failed``, else 0.
    """

    n_ok: int
    n_infeasible: int
    n_failed: int
    n_missing: int
    n_resumed: int
    interrupted: bool
    choice: Choice | None
    wall_s: float
    n_admissible: int = 0
    n_front: int = 0
    hypervolume: float | None = None
    reference_point: tuple[float, ...] | None = None


def run_study(
    study: StudyConfig,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    stages: Stages | None = None,
    scheduler: str | None = None,
) -> StudySummary:
    """Run a study into the folder ``out``: ``study.yaml``, ``ledger.sqlite``, ``front.csv``, ``cache/``.

    ``workers=1`` runs in this process, more in a pool of that many processes, ``scheduler`` on the workers of a Dask
    scheduler; the outputs are the same.
    Ctrl-C once finishes the running points and saves (``interrupted``); twice raises KeyboardInterrupt.
    ``stages`` replaces the training and the simulation, for tests.

    Raises:
        ConfigError: the study is wrong; nothing is written.
        StudyError: the folder holds another study, or this one and ``resume`` is False; or no scheduler answers;
            nothing is written.
        SimulationError: the teacher could not be trained.
    """
    start = time.perf_counter()
    study, work = resolve_study(study), stages or real_stages()
    if scheduler is not None:
        check_scheduler(scheduler)
    if study.stages:
        from .staged import run_staged

        return run_staged(
            study,
            out,
            workers=workers,
            resume=resume,
            progress=progress or _silent,
            stages=work,
            scheduler=scheduler,
        )
    if study.stage == "analytic" or not study.search.tries_all:
        from .search import run_search

        return run_search(
            study,
            out,
            workers=workers,
            resume=resume,
            progress=progress or _silent,
            stages=work,
            scheduler=scheduler,
        )
    plan = make_plan(study)
    _check_any_feasible(plan)
    work.check(plan.study)
    with open_run(plan.study, out, resume=resume, workers=workers, scheduler=scheduler) as (ledger, executor, stop):
        run = StudyRun(plan, ledger, out / CACHE_FOLDER, work, progress or _silent)
        if run.missing:
            run_tasks(executor, run.first_tasks(), on_done=run.on_done, stop=stop)
        n_missing = len(run.missing)
        return finish(plan.study, ledger, out, n_missing=n_missing, n_resumed=run.n_resumed, start=start)


@contextmanager
def open_run(
    study: StudyConfig, out: Path, *, resume: bool, workers: int, scheduler: str | None
) -> Iterator[tuple[Ledger, Executor, Callable[[], bool]]]:
    """Ledger and executor of a run, and what says whether Ctrl-C asked it to stop.

    Raises:
        StudyError: the folder holds something else, or no scheduler answers; nothing is written.
    """
    check_folder(study, out, resume=resume)
    # Before the folder is made: without a scheduler nothing is written.
    executor = make_executor(workers, scheduler)
    with (
        closing(executor),
        open_folder(study, out, resume=resume) as ledger,
        catch_interrupts() as interrupts,
    ):
        yield ledger, executor, interrupts.stopped


def _check_any_feasible(plan: Plan) -> None:
    if plan.n_infeasible == len(plan.points):
        raise ConfigError(
            f"study {plan.study.name}: none of its {len(plan.points)} points is possible, the first because of "
            f"{plan.points[0].reason}"
        )


class StudyRun:
    """One run of a study: what is missing, and what to do when something ends.

    ``is_whole`` is False where the plan is a batch of a search, beside other points of the ledger.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        cache: Path,
        stages: Stages,
        progress: Progress,
        *,
        is_whole: bool = True,
    ) -> None:
        self._plan, self._ledger, self._cache, self._stages, self._progress = plan, ledger, cache, stages, progress
        self._versions = versions()
        self._runs = str(cache.absolute()) if may_share_runs(plan.study) else None
        finished = ledger.keys()
        stray = finished - {planned.key for planned in plan.points}
        if is_whole and stray:
            raise StudyError(
                f"{ledger.path}: holds {len(stray)} points of other inputs than today's; the technology file was "
                "changed since the study began: give another --out folder"
            )
        self.n_resumed = sum(1 for planned in plan.points if planned.key in finished)
        unfinished = [planned for planned in plan.points if planned.key not in finished]
        ledger.add(
            self._row(planned, _impossible(planned, planned.reason), 1) for planned in unfinished if planned.reason
        )
        self.missing = {planned.point.index: planned for planned in unfinished if not planned.reason}
        self._n_students = len({planned.student_key for planned in self.missing.values()})
        self._n_students_done = 0

    def first_tasks(self) -> list[Task]:
        """The teacher; what follows from it is added when it is there."""
        study = self._plan.study
        job = TeacherJob(
            key=self._plan.teacher_key,
            training=_mapping(study.teacher),
            dataset=study.dataset,
            seed=study.seeds.training,
            folder=self._folder("teacher", self._plan.teacher_key),
            device=study.training_device,
        )
        self._report("teacher", 0, 1, "teacher")
        return [Task(work=self._stages.teacher, items=(job,), wants="GPU")]

    def on_done(self, outcome: Outcome) -> Iterable[Task]:
        """Commit what ended; the tasks that became possible."""
        job = outcome.task.items[0]
        if isinstance(job, TeacherJob):
            return self._after_teacher(job, outcome)
        if isinstance(job, StudentJob):
            return self._after_student(job, outcome)
        self._after_points(outcome)
        return ()

    def _after_teacher(self, job: TeacherJob, outcome: Outcome) -> list[Task]:
        if outcome.results is None:
            if isinstance(outcome.error, SpikeloopError):
                raise outcome.error
            raise SimulationError(f"the teacher could not be trained ({_cause(outcome)}); nothing else can run")
        self._commit_stage("teacher", job.key, {}, outcome.results[0])
        self._report("teacher", 1, 1, f"teacher {_accuracy_text(outcome.results[0])}")
        needed = {planned.student_key for planned in self.missing.values()}
        self._report("students", 0, self._n_students, "students")
        return [self._student_task(job, student) for student in self._plan.students if student.key in needed]

    def _student_task(self, teacher: TeacherJob, student: PlannedStudent) -> Task:
        job = StudentJob(
            key=student.key,
            values=dict(student.values),
            training=dict(student.training),
            dataset=teacher.dataset,
            seed=teacher.seed,
            teacher_folder=teacher.folder,
            folder=self._folder(student.kind, student.key),
            settle_images=student.settle_images,
            hardware=student.hardware,
            device=teacher.device,
        )
        # Quantising a teacher does not train.
        return Task(work=self._stages.student, items=(job,), wants="GPU" if student.settle_images is None else "CPU")

    def _after_student(self, job: StudentJob, outcome: Outcome) -> list[Task]:
        points = [planned for planned in self.missing.values() if planned.student_key == job.key]
        self._n_students_done += 1
        if outcome.results is None:
            reason = f"its student could not be trained: {_cause(outcome)}"
            # Settings that the trainer refuses are a fact about the design, not an accident of the run.
            end = _impossible if isinstance(outcome.error, ConfigError) else _failed
            self._commit([(planned, end(planned, reason)) for planned in points], outcome.task.tries)
            self._report("students", self._n_students_done, self._n_students, f"{_text(job.values)}: {reason}")
            return []
        kind: Preparation = "student" if job.settle_images is None else "ptq"
        self._commit_stage(kind, job.key, job.values, outcome.results[0])
        message = f"student {_text(job.values)} {_accuracy_text(outcome.results[0])}"
        self._report("students", self._n_students_done, self._n_students, message)
        jobs = [self._point_job(planned, job.folder) for planned in points]
        return [Task(work=self._stages.points, items=batch) for batch in _batches(jobs)]

    def _point_job(self, planned: PlannedPoint, student_folder: str) -> PointJob:
        study = self._plan.study
        return PointJob(
            index=planned.point.index,
            student_folder=student_folder,
            hardware=_mapping(planned.config["hardware"]),
            dataset=study.dataset,
            images=study.images,
            calibration_images=study.calibration_images,
            cycle_images=study.cycle_images,
            seed=study.seeds.simulation,
            stage=self._plan.stage.stage,
            runs_folder=self._runs,
        )

    def _after_points(self, outcome: Outcome) -> None:
        planned = [self.missing[job.index] for job in outcome.task.items]
        if outcome.results is None:
            results: list[PointResult] = [_failed(item, _cause(outcome)) for item in planned]
        else:
            results = list(outcome.results)
        self._commit(list(zip(planned, results, strict=True)), outcome.task.tries)

    def _commit(self, finished: list[tuple[PlannedPoint, PointResult]], tries: int) -> None:
        self._ledger.add([self._row(planned, result, tries) for planned, result in finished])
        for planned, _ in finished:
            del self.missing[planned.point.index]
        done = len(self._plan.points) - len(self.missing)
        self._report("points", done, len(self._plan.points), "designs")

    def _commit_stage(self, stage: Preparation, key: str, values: Mapping[str, Any], prepared: Prepared) -> None:
        row = StageRow(
            key=key, stage=stage, values=values, notes=prepared.notes, wall_s=prepared.wall_s, cpu_s=prepared.cpu_s
        )
        self._ledger.add_stage(row)

    def _row(self, planned: PlannedPoint, result: PointResult, tries: int) -> Row:
        found = {"network": result.network_hash} if result.network_hash else {}
        return Row(
            index=planned.point.index,
            key=planned.key,
            status=result.status,
            reason=result.reason,
            values=planned.point.values,
            config=planned.config,
            metrics=result.metrics,
            correct=None if result.correct is None else unpack_bits(result.correct, result.n_images),
            seeds=self._plan.study.seeds.resolved(),
            versions={**self._versions, **found},
            wall_s=result.wall_s,
            cpu_s=result.cpu_s,
            tries=tries,
            created_at=utc_now(),
        )

    def _folder(self, stage: str, key: str) -> str:
        return str(self._cache.absolute() / f"{stage}-{key[:16]}")

    def _report(self, stage: Literal["teacher", "students", "points"], done: int, total: int, message: str) -> None:
        self._progress(ProgressEvent(stage=stage, done=done, total=total, message=message))


def finish(
    study: StudyConfig, ledger: Ledger, out: Path, *, n_missing: int, n_resumed: int, start: float
) -> StudySummary:
    """Write ``front.csv`` and say what the run did; ``start`` is its ``time.perf_counter``.

    Of a study with stages, results are those of the last one that has some; what has no result is counted in all.
    """
    # Columns, not rows: a million rows in memory would be some gigabytes.
    table = study_table(ledger, study, axes=False)
    last = table.of_stage(main_stage(table))
    kept = table.admissible(study.constraints, reference_accuracy(ledger.stages())) & last
    best = table.front(kept, study.objective_list())
    write_front_csv(out / FRONT_FILE, ledger.rows_at(table.row[best]))
    volume, reference = _volume(study, ledger, table, kept, is_whole=n_missing == 0)
    return StudySummary(
        n_ok=int((table.ok() & last).sum()),
        n_infeasible=table.count("infeasible"),
        n_failed=table.count("failed", "timeout"),
        n_missing=n_missing,
        n_resumed=n_resumed,
        interrupted=n_missing > 0,
        choice=knee(ledger.rows_at(table.row[balanced(table, kept)])),
        wall_s=time.perf_counter() - start,
        n_admissible=int(kept.sum()),
        n_front=int(best.sum()),
        hypervolume=volume,
        reference_point=reference,
    )


def _volume(
    study: StudyConfig, ledger: Ledger, table: StudyTable, kept: Mask, *, is_whole: bool
) -> tuple[float | None, tuple[float, ...] | None]:
    """Hypervolume of the front and its reference point: given, or the worst values, stored when the study is done."""
    objectives = study.objective_list()
    reference = study.reference_point or ledger.meta().get("reference_point")
    if reference is None and is_whole:
        reference = worst_values(table.complete(kept, objectives), objectives)
        if reference is not None:
            reference = ledger.keep_note("reference_point", list(reference))
    if reference is None:
        return None, None
    values = table.complete(table.front(kept, objectives), objectives)
    return volume_of(values, objectives, reference), tuple(float(value) for value in reference)


def _batches(jobs: Sequence[PointJob]) -> Iterator[tuple[PointJob, ...]]:
    for start in range(0, len(jobs), BATCH):
        yield tuple(jobs[start : start + BATCH])


def _impossible(planned: PlannedPoint, reason: str) -> PointResult:
    return PointResult(index=planned.point.index, status="infeasible", reason=reason, wall_s=0.0, cpu_s=0.0)


def _failed(planned: PlannedPoint, reason: str) -> PointResult:
    return PointResult(index=planned.point.index, status="failed", reason=reason, wall_s=0.0, cpu_s=0.0)


def _cause(outcome: Outcome) -> str:
    if outcome.lost:
        return f"its worker died {MAX_TRIES} times"
    if isinstance(outcome.error, SpikeloopError):
        return str(outcome.error)
    return f"{type(outcome.error).__name__}: {outcome.error}"


def _accuracy_text(prepared: Prepared) -> str:
    accuracy = prepared.notes.get("accuracy")
    return "ready" if accuracy is None else f"accuracy {100 * float(accuracy):.1f} %"


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.removeprefix('student.')}={value}" for name, value in values.items()) or "base"


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a resolved configuration, got {value!r}")
    return value


def _silent(_: ProgressEvent) -> None:
    """Progress that nobody watches."""
