"""Studies in stages: every stage evaluates the points that the one before it promoted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.functional.identity import computed_fields
from spikeloop.simulator.spec import canonical_hash

from .analytic_stage import check_analytic
from .constraints import admissible, reference_accuracy
from .executors import Executor
from .explore import Progress, ProgressEvent, StudySummary, finish, open_run
from .ledger import Ledger, Row
from .pareto import front, value_of, write_front_csv
from .promotion import Candidate, promoted
from .samplers import check_sampler
from .search import AnalyticEvaluator, Evaluator, FullEvaluator, ask_and_tell, check_keys
from .space import Axis, Point, Space, check_not_empty, compile_space
from .stage_spec import StageSpec
from .stages import Stages
from .study import StudyConfig

#: Points of a sweep in memory at once.
_CHUNK = 20_000


def run_staged(
    study: StudyConfig,
    out: Path,
    *,
    workers: int,
    resume: bool,
    progress: Progress,
    stages: Stages,
    scheduler: str | None = None,
) -> StudySummary:
    """Run a resolved study that has ``stages``; as ``run_study`` otherwise.

    A stage begins when the one before it is finished; what it promoted is written down, so that a later run goes on
    with the same points.

    Raises:
        ConfigError, NetworkError, DatasetError: the study is wrong; nothing is written.
        StudyError: the folder holds another study, or this one and ``resume`` is False; nothing is written.
        SimulationError: the teacher could not be trained, or no point can go on to the next stage.
    """
    start = time.perf_counter()
    space = compile_space(study)
    check_sampler(study.search)
    check_not_empty(space, study.name)
    stages.check(study)
    if study.stages[0].stage == "analytic":
        check_analytic(study)
    with open_run(study, out, resume=resume, workers=workers, scheduler=scheduler) as (ledger, executor, stop):
        n_there = len(ledger.keys())
        run = StagedRun(study, space, ledger, out, executor, stages, progress)
        n_missing = run.run(stop)
        write_stage_fronts(study, ledger, out)
        return finish(study, ledger, out, n_missing=n_missing, n_resumed=n_there, start=start)


class StagedRun:
    """One run of a study in stages."""

    def __init__(
        self,
        study: StudyConfig,
        space: Space,
        ledger: Ledger,
        out: Path,
        executor: Executor,
        stages: Stages,
        progress: Progress,
    ) -> None:
        self._study, self._space, self._ledger, self._out = study, space, ledger, out
        self._executor, self._stages, self._progress = executor, stages, progress
        self._teacher_told = False

    def run(self, stop: Callable[[], bool]) -> int:
        """Evaluate stage by stage; returns how many points are missing in the stage that ``stop`` ended."""
        first, *others = self._study.stages
        missing = self._first(first, stop)
        spec = first
        for following in others:
            if missing:
                return missing
            points = self._promoted(spec)
            spec = following
            self._evaluator(spec).evaluate(points, stop)
            missing = len(points) - len(self._rows_of(spec, points))
        return missing

    def _first(self, spec: StageSpec, stop: Callable[[], bool]) -> int:
        """The first stage, whose points are those of the space or of a sampler."""
        work = self._evaluator(spec)
        check_keys(self._ledger, work, stage=spec.stage)
        if not self._study.search.tries_all:
            return ask_and_tell(self._study, self._space, self._ledger, work, self._told(spec), stop)
        points, total, done = self._space.points(), self._space.n_points, 0
        while chunk := list(itertools.islice(points, _CHUNK)):
            if not work.evaluate(chunk, stop):
                return total - len(self._ledger.rows(stage=spec.stage))
            done += len(chunk)
            self._told(spec)(ProgressEvent(stage="points", done=done, total=total, message="designs"))
        return 0

    def _evaluator(self, spec: StageSpec) -> Evaluator:
        if spec.stage == "analytic":
            return AnalyticEvaluator(self._study, self._space, None, self._ledger, self._out, self._executor)
        # A sampler's batches would show a bar each.
        progress = self._told(spec) if self._study.search.tries_all or spec != self._study.stages[0] else None
        return FullEvaluator(
            self._study,
            self._space,
            self._ledger,
            self._out,
            self._executor,
            self._stages,
            stage=spec,
            progress=progress,
        )

    def _told(self, spec: StageSpec) -> Progress:
        def tell(event: ProgressEvent) -> None:
            if event.stage == "teacher" and self._teacher_told:
                return
            self._teacher_told |= event.stage == "teacher" and event.done == event.total
            message = f"{spec.stage}: {event.message}" if event.stage == "points" else event.message
            self._progress(ProgressEvent(stage=event.stage, done=event.done, total=event.total, message=message))

        return tell

    def _rows_of(self, spec: StageSpec, points: Sequence[Point]) -> list[Row]:
        wanted = {point.index for point in points}
        return [row for row in self._ledger.rows(stage=spec.stage) if row.index in wanted]

    def _promoted(self, spec: StageSpec) -> list[Point]:
        """Points that go on from a finished stage, as they were written down when it was finished first."""
        rows = {row.index: row for row in self._ledger.rows(stage=spec.stage)}
        note = f"promoted.{spec.stage}"
        there = self._ledger.meta().get(note)
        if there is None:
            found = promoted_from(self._study, self._space, spec, list(rows.values()), self._reference())
            there = self._ledger.keep_note(note, list(found))
        if not there:
            raise SimulationError(
                f"study {self._study.name}: no point of stage {spec.stage} has a result that keeps the constraints, so "
                "none goes on; the ledger says why"
            )
        self._progress(
            ProgressEvent(
                stage="points",
                done=len(rows),
                total=len(rows),
                message=f"{spec.stage}: {len(there)} of {len(rows)} designs go on",
            )
        )
        return [Point(index=index, values=rows[index].values) for index in there]

    def _reference(self) -> float | None:
        return reference_accuracy(self._ledger.stages())


def promoted_from(
    study: StudyConfig, space: Space, spec: StageSpec, rows: Sequence[Row], reference: float | None
) -> tuple[int, ...]:
    """Numbers of the points of a stage that go on; ``reference`` is the teacher's accuracy."""
    assert spec.promote is not None  # the last stage promotes nothing
    objectives = study.objectives_of(spec.stage)
    kept = admissible(rows, study.constraints_of(spec.stage), reference)
    blind = len(objectives) < len(study.objectives)
    groups = _Groups(space) if blind else None
    candidates = []
    for row in kept:
        values = [value_of(row, item.metric) for item in objectives]
        known = tuple(value for value in values if value is not None)
        if len(known) == len(values):
            point = Point(index=row.index, values=row.values)
            group, precision = (groups.of(point), groups.precision(point)) if groups is not None else (None, 0.0)
            candidates.append(Candidate(index=row.index, values=known, group=group, precision=precision))
    return promoted(candidates, objectives, spec.promote)


class _Groups:
    """What tells designs apart where no accuracy does: designs that compute the same are one group."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._computed: dict[tuple[object, ...], str] = {}
        self._widths = [axis for axis in space.axes if _is_width(axis)]

    def of(self, point: Point) -> tuple[object, ...]:
        """Student, and what its functional run depends on."""
        design = tuple(point.part("hw").items())
        if design not in self._computed:
            self._computed[design] = canonical_hash(computed_fields(self._space.hardware_of(point)))
        return (*point.part("student").items(), self._computed[design])

    def precision(self, point: Point) -> float:
        """Mean place of the widths in their axes: 0 all lowest, 1 all highest; 0 without such axes."""
        places = [
            sorted(axis.values).index(point.values[axis.name]) / (len(axis.values) - 1)
            for axis in self._widths
            if axis.name in point.values
        ]
        return sum(places) / len(places) if places else 0.0


def _is_width(axis: Axis) -> bool:
    """Whether an axis is a number of bits that is computed with: more of them are taken as not less accurate."""
    is_bits = any(
        word.endswith("bits") for target in axis.targets for word in target.split(".") if not word.startswith("cell")
    )
    moves_data = axis.name.startswith(("hw.tile.", "hw.noc.", "hw.global_buffer.", "hw.neuron."))
    return is_bits and not moves_data and len(axis.values) > 1


def write_stage_fronts(study: StudyConfig, ledger: Ledger, out: Path) -> None:
    """Front of each stage but the last, over the objectives that it has: ``front-<stage>.csv``."""
    reference = reference_accuracy(ledger.stages())
    for spec in study.stages[:-1]:
        rows = admissible(ledger.rows(stage=spec.stage), study.constraints_of(spec.stage), reference)
        if rows:
            write_front_csv(out / f"front-{spec.stage}.csv", front(rows, study.objectives_of(spec.stage)))
