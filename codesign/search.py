"""Studies that are not planned ahead: analytic sweeps, and searches that ask a sampler batch by batch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.network.graph import Network

from .analytic_stage import TASK_POINTS, AnalyticJob, AnalyticKeys, AnalyticResult, check_analytic, price_points
from .axis_spec import Scalar
from .constraints import reference_accuracy
from .executors import MAX_TRIES, Executor, Outcome, Task, run_tasks
from .explore import Progress, ProgressEvent, StudyRun, StudySummary, finish, open_run
from .folder import CACHE_FOLDER
from .ledger import Ledger, Row
from .pareto import value_of
from .plan import Plan, PlannedStudent, PointPlanner, technology_hash_of
from .provenance import versions
from .samplers import Answer, check_sampler, make_sampler
from .space import Point, Space, check_not_empty, compile_space
from .stage_spec import FULL, StageSpec
from .stages import Stages
from .study import StudyConfig

#: Results are committed when so many wait, or the first of them waits so long.
COMMIT_POINTS, COMMIT_S = 500, 0.5
#: Points of a sweep in memory at once.
_SWEEP_POINTS = 20_000


class Evaluator(Protocol):
    """Gives points their rows; what is in the ledger is answered from there."""

    def key(self, point: Point) -> str:
        """Ledger key of a point."""

    def evaluate(self, points: Sequence[Point], stop: Callable[[], bool]) -> bool:
        """Commit every point that the ledger lacks; False if ``stop`` ended it early."""


def run_search(
    study: StudyConfig,
    out: Path,
    *,
    workers: int,
    resume: bool,
    progress: Progress,
    stages: Stages,
    scheduler: str | None = None,
) -> StudySummary:
    """Run a resolved study that is analytic or has a sampler; as ``run_study`` otherwise.

    Raises:
        ConfigError, NetworkError: the study is wrong; nothing is written.
        StudyError: the folder holds another study, or this one and ``resume`` is False; nothing is written.
    """
    start = time.perf_counter()
    space = compile_space(study)
    check_sampler(study.search)
    check_not_empty(space, study.name)
    network = check_analytic(study) if study.stage == "analytic" else None
    if network is None:
        stages.check(study)
    with open_run(study, out, resume=resume, workers=workers, scheduler=scheduler) as (ledger, executor, stop):
        n_there = len(ledger.keys())
        work = _evaluator(study, space, network, ledger, out, executor, stages)
        check_keys(ledger, work)
        loop = _sweep if study.search.tries_all else ask_and_tell
        n_missing = loop(study, space, ledger, work, progress, stop)
        return finish(study, ledger, out, n_missing=n_missing, n_resumed=n_there, start=start)


def _evaluator(
    study: StudyConfig,
    space: Space,
    network: Network | None,
    ledger: Ledger,
    out: Path,
    executor: Executor,
    stages: Stages,
) -> Evaluator:
    if network is None:
        return FullEvaluator(study, space, ledger, out, executor, stages)
    return AnalyticEvaluator(study, space, network, ledger, out, executor)


def check_keys(ledger: Ledger, work: Evaluator, *, stage: str | None = None) -> None:
    """Refuse a ledger whose points (of a stage) came from other inputs than today's.

    Raises:
        StudyError: its first point has another key.
    """
    for row in ledger.rows(limit=1, stage=stage):
        if work.key(Point(index=row.index, values=row.values)) != row.key:
            raise StudyError(
                f"{ledger.path}: holds points of other inputs than today's; the technology or the network file was "
                "changed since the study began: give another --out folder"
            )


def _sweep(
    study: StudyConfig, space: Space, ledger: Ledger, work: Evaluator, progress: Progress, stop: Callable[[], bool]
) -> int:
    """Every point of the space; returns how many are still missing."""
    total = space.n_points
    del study
    points = space.points()
    while chunk := list(itertools.islice(points, _SWEEP_POINTS)):
        ended = work.evaluate(chunk, stop)
        done = len(ledger.keys()) if not ended else chunk[-1].index + 1
        progress(ProgressEvent(stage="points", done=done, total=total, message="designs"))
        if not ended:
            return total - done
    return 0


def ask_and_tell(
    study: StudyConfig, space: Space, ledger: Ledger, work: Evaluator, progress: Progress, stop: Callable[[], bool]
) -> int:
    """Ask, evaluate, tell, until the evaluations are used up; returns how many were not made.

    After a resume the same questions are asked from the beginning and the ledger answers them, so an interrupted
    search ends as it would have ended.
    """
    objectives, search = study.objective_list(), study.search
    sampler = make_sampler(space, search, objectives, len(study.constraints))
    n_asked, wanted = 0, search.evaluations or 0
    seen: dict[tuple[tuple[str, Scalar], ...], Point] = {}
    while n_asked < wanted:
        asked: list[Point] = []
        for values in sampler.ask(min(search.batch, wanted - n_asked)):
            asked.append(seen.setdefault(tuple(values.items()), Point(index=len(seen), values=values)))
        if not work.evaluate(list({point.index: point for point in asked}.values()), stop):
            return wanted - n_asked
        keys = [work.key(point) for point in asked]
        rows, reference = ledger.find(keys), reference_accuracy(ledger.stages())
        sampler.tell([_answer(rows[key], study, reference) for key in keys])
        n_asked += len(asked)
        message = f"evaluations, {len(seen)} distinct"
        progress(ProgressEvent(stage="points", done=n_asked, total=wanted, message=message))
    return 0


def _answer(row: Row, study: StudyConfig, reference: float | None) -> Answer:
    excess = tuple(item.excess(row, reference) for item in study.constraints)
    values = [value_of(row, item.metric) for item in study.objective_list()]
    known = tuple(value for value in values if value is not None)
    if row.status != "ok" or len(known) < len(values):
        return Answer(objectives=None, excess=excess)
    return Answer(objectives=known, excess=excess)


class AnalyticEvaluator:
    """Prices points in tasks of a fixed size and commits them in batches."""

    def __init__(
        self, study: StudyConfig, space: Space, network: Network | None, ledger: Ledger, out: Path, executor: Executor
    ) -> None:
        self._study_hash, self._folder = study.content_hash(), str(out.absolute())
        self._keys = AnalyticKeys(study, space, network, versions())
        self._ledger, self._executor = ledger, executor
        self._there = set(ledger.keys())
        self._waiting: list[Row] = []
        self._first_s = 0.0

    def key(self, point: Point) -> str:
        """Ledger key of a point."""
        return self._keys.key(point.values)

    def evaluate(self, points: Sequence[Point], stop: Callable[[], bool]) -> bool:
        """Commit every point that the ledger lacks; False if ``stop`` ended it early."""
        missing = {point.index: point for point in points if self.key(point) not in self._there}
        tasks = [Task(work=price_points, items=jobs) for jobs in self._cut(missing)]

        def on_done(outcome: Outcome) -> tuple[Task, ...]:
            if outcome.error is not None and len(outcome.task.items) > 1:
                # One point broke the task: alone, each gets its own answer.
                return tuple(Task(work=price_points, items=(job,)) for job in outcome.task.items)
            self._keep(outcome, missing)
            return ()

        try:
            return run_tasks(self._executor, tasks, on_done=on_done, stop=stop)
        finally:
            self._commit()

    def _cut(self, missing: Mapping[int, Point]) -> Iterator[tuple[AnalyticJob, ...]]:
        jobs = (
            AnalyticJob(folder=self._folder, study_hash=self._study_hash, index=point.index, values=point.values)
            for point in missing.values()
        )
        while chunk := tuple(itertools.islice(jobs, TASK_POINTS)):
            yield chunk

    def _keep(self, outcome: Outcome, points: Mapping[int, Point]) -> None:
        tries = outcome.task.tries
        if outcome.results is None:
            cause = f"its worker died {MAX_TRIES} times" if outcome.lost else f"{outcome.error}"
            nothing = [
                AnalyticResult(index=job.index, metrics={}, reason=cause, cpu_s=0.0) for job in outcome.task.items
            ]
            rows = [self._keys.row(points[item.index], item, tries, failed=cause) for item in nothing]
        else:
            rows = [self._keys.row(points[item.index], item, tries) for item in outcome.results]
        if not self._waiting:
            self._first_s = time.monotonic()
        self._waiting += rows
        if len(self._waiting) >= COMMIT_POINTS or time.monotonic() - self._first_s >= COMMIT_S:
            self._commit()

    def _commit(self) -> None:
        self._ledger.add(self._waiting)
        self._there.update(row.key for row in self._waiting)
        self._waiting = []


class FullEvaluator:
    """Trains and simulates the points of a batch in one stage; students are shared through the cache."""

    def __init__(
        self,
        study: StudyConfig,
        space: Space,
        ledger: Ledger,
        out: Path,
        executor: Executor,
        stages: Stages,
        *,
        stage: StageSpec = FULL,
        progress: Progress | None = None,
    ) -> None:
        self._study, self._ledger, self._executor, self._stages = study, ledger, executor, stages
        self._cache, self._stage, self._progress = out / CACHE_FOLDER, stage, progress or _silent
        self._planner = PointPlanner(study=study, space=space, technology_hash=technology_hash_of(space), stage=stage)

    def key(self, point: Point) -> str:
        """Ledger key of a point."""
        return self._planner.plan(point)[0].key

    def evaluate(self, points: Sequence[Point], stop: Callable[[], bool]) -> bool:
        """Commit every point that the ledger lacks; False if ``stop`` ended it early."""
        planned, students = [], dict[str, PlannedStudent]()
        for point in points:
            plan, student = self._planner.plan(point)
            planned.append(plan)
            if student is not None and not plan.reason:
                students.setdefault(student.key, student)
        batch = Plan(self._study, tuple(planned), tuple(students.values()), self._stage)
        run = StudyRun(batch, self._ledger, self._cache, self._stages, self._progress, is_whole=False)
        if not run.missing:
            return True
        if stop():
            return False
        run_tasks(self._executor, run.first_tasks(), on_done=run.on_done, stop=stop)
        return not run.missing


def _silent(_: ProgressEvent) -> None:
    """Progress inside a batch."""
