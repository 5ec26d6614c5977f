"""What a study has to do: every point with its key, and the students that the points share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.identity import computed_fields
from spikeloop.simulator.spec import Spec, canonical_hash, validate_spec
from spikeloop.simulator.version import MODEL_VERSION

from .axis_spec import Scalar
from .ledger import Preparation
from .space import Point, Space, compile_space
from .stage_spec import FULL, UNTRAINED, StageSpec
from .study import StudyConfig
from .trained_teacher import is_trained

# Fields of a training file that only training reads: without training they change nothing.
_TRAINING_ONLY = (
    *("role", "dataset", "teacher", "seed", "losses", "augmentation", "epochs", "frozen_epochs", "optimiser", "lr"),
    *("momentum", "warmup_epochs", "weight_decay", "cosine", "hardware", "start"),
    *("precision", "train_images", "test_images"),
)


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A point and everything that its result depends on; ``reason`` is set where it is infeasible."""

    point: Point
    key: str
    student_key: str
    config: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlannedStudent:
    """A student that some points share; ``training`` is its resolved training configuration.

    ``kind`` ``ptq``: the teacher's weights, quantised, with ``settle_images`` training images for the batch norms.
    ``hardware`` is the design that it is trained for, None if training knows none.
    """

    key: str
    values: Mapping[str, Scalar]
    training: Mapping[str, Any]
    kind: Preparation = "student"
    settle_images: int | None = None
    hardware: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """All points of a resolved study in one stage, in their order."""

    study: StudyConfig
    points: tuple[PlannedPoint, ...]
    students: tuple[PlannedStudent, ...]
    stage: StageSpec = FULL

    @property
    def n_infeasible(self) -> int:
        """Points whose configuration alone is impossible."""
        return sum(1 for planned in self.points if planned.reason)

    @cached_property
    def teacher_key(self) -> str:
        """Content hash of the teacher."""
        return _teacher_key(self.study)


def make_plan(study: StudyConfig) -> Plan:
    """Plan of a resolved study.

    Raises:
        ConfigError: the space or the technology is wrong.
    """
    space = compile_space(study)
    students: dict[str, PlannedStudent] = {}
    points = []
    lookup = PointPlanner(study=study, space=space, technology_hash=technology_hash_of(space))
    for point in space.points():
        planned, student = lookup.plan(point)
        points.append(planned)
        if student is not None and not planned.reason:
            students.setdefault(student.key, student)
    return Plan(study, tuple(points), tuple(students.values()))


def technology_hash_of(space: Space) -> str:
    """Content hash of the prices that every point of a space is billed with."""
    return load_technology(space.hardware.technology).content_hash()


class PointPlanner:
    """Plans points of a stage; remembers designs and students, of which there are fewer than points."""

    def __init__(self, *, study: StudyConfig, space: Space, technology_hash: str, stage: StageSpec = FULL) -> None:
        self._study, self._space, self._technology_hash = study, space, technology_hash
        self._stage = stage
        # Names belong to the key: conditions give two points the same values on different axes.
        self._hardware: dict[tuple[tuple[str, Scalar], ...], HardwareConfig | str] = {}
        self._students: dict[tuple[tuple[str, Scalar], ...], PlannedStudent | str] = {}
        self._teacher_key = _teacher_key(study)

    def plan(self, point: Point) -> tuple[PlannedPoint, PlannedStudent | None]:
        """The point with its key, and its student if there is one."""
        student, hardware = self._student(point), self._design(point)
        reason = "; ".join(part for part in (student, hardware) if isinstance(part, str))
        planned = PlannedPoint(
            point=point,
            key=canonical_hash(self._identity(point, student, hardware)),
            student_key="" if isinstance(student, str) else student.key,
            config={
                "hardware": None if isinstance(hardware, str) else hardware.resolved(),
                "student": None if isinstance(student, str) else dict(student.training),
                **self._run(),
            },
            reason=reason,
        )
        return planned, None if isinstance(student, str) else student

    def _student(self, point: Point) -> PlannedStudent | str:
        values = point.part("student")
        place = tuple(values.items())
        if self._space.trains_on_hardware:  # a design that computes something else, another student
            place += tuple(point.part("hw").items())
        if place not in self._students:
            try:
                self._students[place] = self._planned_student(point, values)
            except ConfigError as error:
                self._students[place] = str(error)
        return self._students[place]

    def _planned_student(self, point: Point, values: Mapping[str, Scalar]) -> PlannedStudent:
        training = self._space.student_of(point)
        if self._stage.stage in UNTRAINED:
            key = _untrained_key(self._teacher_key, training, self._stage.n_settled)
            return PlannedStudent(
                key=key, values=values, training=training.resolved(), kind="ptq", settle_images=self._stage.n_settled
            )
        if self._stage.epochs is not None:
            from spikeloop.distill.schedule import shortened

            raw = shortened(training.resolved(), self._stage.epochs)
            training = validate_spec(type(training), raw, where=f"stage short: {values}")
        key = _student_key(self._study, self._teacher_key, training)
        if not self._space.trains_on_hardware:
            return PlannedStudent(key=key, values=values, training=training.resolved())
        hardware = self._space.hardware_of(point)
        return PlannedStudent(
            # Designs that compute the same share a student.
            key=canonical_hash([key, computed_fields(hardware)]),
            values=values,
            training=training.resolved(),
            hardware=hardware.resolved(),
        )

    def _design(self, point: Point) -> HardwareConfig | str:
        place = tuple(point.part("hw").items())
        if place not in self._hardware:
            try:
                self._hardware[place] = self._space.hardware_of(point)
            except ConfigError as error:
                self._hardware[place] = str(error)
        return self._hardware[place]

    def _run(self) -> dict[str, Any]:
        study, stage = self._study, self._stage.stage
        fields = {
            "dataset": study.dataset,
            "split": "test",
            "images": study.images,
            "calibration_images": study.calibration_images,
            "cycle_images": study.cycle_images,
        }
        if stage == "cycle":  # no other test images are run
            del fields["images"]
        return fields if stage == "full" else {"stage": stage, **fields}

    def _identity(self, point: Point, student: PlannedStudent | str, hardware: HardwareConfig | str) -> dict[str, Any]:
        impossible = {"base": self._space.hardware.content_hash(), "values": dict(point.values)}
        return {
            "model_version": MODEL_VERSION,
            "stage": "full",
            "activity": "measured",
            "technology": self._technology_hash,
            "hardware": impossible if isinstance(hardware, str) else hardware.content_hash(),
            "student": impossible if isinstance(student, str) else student.key,
            "seeds": self._study.seeds.resolved(),
            **self._run(),
        }


def _teacher_key(study: StudyConfig) -> str:
    if isinstance(study.teacher, dict) and is_trained(study.teacher):  # its weights say all; the folder may move
        taken = {"weights_sha256": study.teacher["weights_sha256"]}
        return canonical_hash({"model_version": MODEL_VERSION, "teacher": taken, "dataset": study.dataset})
    return canonical_hash(
        {
            "model_version": MODEL_VERSION,
            "teacher": study.teacher,
            "dataset": study.dataset,
            "seed": study.seeds.training,
            **_device(study),
        }
    )


def _student_key(study: StudyConfig, teacher_key: str, training: Spec) -> str:
    return canonical_hash(
        {
            "teacher": teacher_key,
            "student": training.resolved(),
            "dataset": study.dataset,
            "seed": study.seeds.training,
            **_device(study),
        }
    )


def _device(study: StudyConfig) -> dict[str, str]:
    """Another device gives other bits; on the CPU the keys are those from before it could be chosen."""
    return {} if study.training_device == "cpu" else {"device": study.training_device}


def _untrained_key(teacher_key: str, training: Spec, settle_images: int) -> str:
    fields = {name: value for name, value in training.resolved().items() if name not in _TRAINING_ONLY}
    return canonical_hash({"teacher": teacher_key, "untrained": fields, "settle_images": settle_images})
