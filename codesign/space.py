"""The design space of a study: axes, points in a fixed order, and what a point changes."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import Spec, validate_spec

from .study import MAX_POINTS, Log2Axis, RangeAxis, Scalar, StudyConfig, nearest, training_spec

#: Axes that set several fields to one value.
BUILT_IN_TIES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {"hw.crossbar.size": ("hw.crossbar.rows", "hw.crossbar.cols")}
)
# The workload and the technology are equal for all points: a front that mixed them would compare nothing.
_NO_AXES = frozenset(
    {
        *("hw.schema_version", "hw.name", "hw.source", "hw.technology"),
        *("student.role", "student.dataset", "student.network", "student.teacher", "student.seed"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One dimension: the values it takes and the fields it sets (``targets``, dotted paths)."""

    name: str
    values: tuple[Scalar, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One design: its place in the study's order and the value of every axis."""

    index: int
    values: Mapping[str, Scalar]

    def part(self, prefix: str) -> dict[str, Scalar]:
        """Values of the axes of ``student`` or ``hw``."""
        return {name: value for name, value in self.values.items() if name.startswith(f"{prefix}.")}


@dataclass(frozen=True, kw_only=True)
class Space:
    """All points of a study: student axes turn slowest, so the designs of a student are neighbours."""

    axes: tuple[Axis, ...]
    hardware: HardwareConfig
    student: Spec

    @property
    def n_points(self) -> int:
        """Number of combinations, infeasible ones included."""
        return math.prod(len(axis.values) for axis in self.axes)

    def points(self) -> Iterator[Point]:
        """Every point in the order of its index."""
        for index, values in enumerate(itertools.product(*(axis.values for axis in self.axes))):
            yield Point(index=index, values={axis.name: value for axis, value in zip(self.axes, values, strict=True)})

    def hardware_of(self, point: Point) -> HardwareConfig:
        """Design of a point.

        Raises:
            ConfigError: the combination is no valid hardware.
        """
        return apply_hardware(self.hardware, point.part("hw"), ties=self._ties())

    def student_of(self, point: Point) -> Spec:
        """Training configuration of a point's student.

        Raises:
            ConfigError: the combination is no valid training.
        """
        raw = _with_values(self.student.resolved(), point.part("student"), self._ties())
        return validate_spec(type(self.student), raw, where=_text(point.part("student")))

    def _ties(self) -> dict[str, tuple[str, ...]]:
        return {axis.name: axis.targets for axis in self.axes}


def compile_space(study: StudyConfig) -> Space:
    """Space of a resolved study (``load_study`` or ``resolve_study``).

    Raises:
        ConfigError: an unknown axis (with the nearest name), a value that no combination allows, a field set
            by two axes, a value given twice, or more than ``MAX_POINTS`` points.
    """
    hardware = validate_spec(HardwareConfig, study.hardware, where="hardware")
    student = validate_spec(training_spec(), study.student, where="student")
    targets = _targets(student, study.tied)
    names = sorted(study.space, key=lambda name: not name.startswith("student."))
    axes = tuple(_axis(name, study.space[name], targets) for name in names)
    _check_overlap(axes)
    space = Space(axes=axes, hardware=hardware, student=student)
    if space.n_points > MAX_POINTS:
        raise ConfigError(
            f"space: {space.n_points} points, at most {MAX_POINTS} are enumerated; give an axis fewer values"
        )
    for axis in axes:
        for value in axis.values:
            _check_value(axis, value, space)
    return space


def apply_hardware(
    base: HardwareConfig, values: Mapping[str, Scalar], *, ties: Mapping[str, tuple[str, ...]] = BUILT_IN_TIES
) -> HardwareConfig:
    """``base`` with the ``hw.`` axes of ``values`` set; ``hw.adc.kind`` keeps only what the new kind knows.

    Raises:
        ConfigError: the result is no valid hardware; the sentence starts with the values.
    """
    raw = _with_values(base.resolved(), values, ties)
    return validate_spec(HardwareConfig, raw, where=_text(values))


def leaf_paths(cls: type[BaseModel], prefix: str) -> tuple[str, ...]:
    """Dotted paths of every scalar field of a record, all variants of a union included."""
    paths: dict[str, None] = {}
    for name, field in cls.model_fields.items():
        inner = _models_in(field.annotation)
        for path in [p for model in inner for p in leaf_paths(model, f"{prefix}.{name}")] or [f"{prefix}.{name}"]:
            paths[path] = None
    return tuple(path for path in paths if path not in _NO_AXES)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        return [model for arg in get_args(annotation) for model in _models_in(arg)]
    return []


def _targets(student: Spec, tied: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Axis name -> fields: full paths, short student names where unambiguous, and ties."""
    hardware = leaf_paths(HardwareConfig, "hw")
    training = leaf_paths(type(student), "student")
    leaves = [path.rpartition(".")[2] for path in training]
    targets: dict[str, tuple[str, ...]] = {path: (path,) for path in (*training, *hardware)}
    for path, leaf in zip(training, leaves, strict=True):
        if leaves.count(leaf) == 1:
            targets[f"student.{leaf}"] = (path,)
    for name, members in {**BUILT_IN_TIES, **tied}.items():
        if not name.startswith(("hw.", "student.")):
            raise ConfigError(f"tied: '{name}' must start with 'hw.' or 'student.'")
        if not members:
            raise ConfigError(f"tied: '{name}' ties nothing; list the axes that it sets")
        if name in targets and name not in members:
            raise ConfigError(f"tied: '{name}' is a field already; list it among its members, or choose a new name")
        for member in members:
            if member not in targets or member.partition(".")[0] != name.partition(".")[0]:
                raise ConfigError(f"tied: {name}: no axis '{member}'; {nearest(member, list(targets))}")
        targets[name] = tuple(dict.fromkeys(path for member in members for path in targets[member]))
    return targets


def _axis(name: str, values: list[Scalar] | RangeAxis | Log2Axis, targets: Mapping[str, tuple[str, ...]]) -> Axis:
    if name not in targets:
        raise ConfigError(f"space: no axis '{name}'; {nearest(name, list(targets))}")
    choices = values if isinstance(values, list) else values.values()
    if not choices:
        raise ConfigError(f"space: {name}: no values; give at least one")
    # 1 and True are equal to Python, not to a reader.
    seen: set[tuple[type, Scalar]] = set()
    for choice in choices:
        if (type(choice), choice) in seen:
            raise ConfigError(f"space: {name}: {choice} is given twice; keep one")
        seen.add((type(choice), choice))
    return Axis(name=name, values=tuple(choices), targets=targets[name])


def _check_overlap(axes: tuple[Axis, ...]) -> None:
    owner: dict[str, str] = {}
    for axis in axes:
        for target in axis.targets:
            if target in owner:
                raise ConfigError(f"space: {owner[target]} and {axis.name} both set {target}; keep one of them")
            owner[target] = axis.name


def _check_value(axis: Axis, value: Scalar, space: Space) -> None:
    """Refuse a value that no combination can save; what another axis may cure stays for the points."""
    kinds: tuple[Scalar | None, ...] = (None,)
    if axis.name.startswith("hw.adc."):
        kinds = next((other.values for other in space.axes if other.name == "hw.adc.kind"), (None,))
    problems = []
    for kind in kinds:
        values = {axis.name: value} if kind is None else {"hw.adc.kind": kind, axis.name: value}
        problems.append(_field_problem(values, axis, space))
    if all(problems):
        raise ConfigError(f"space: {problems[0]}")


def _field_problem(values: Mapping[str, Scalar], axis: Axis, space: Space) -> str | None:
    hardware = axis.name.startswith("hw.")
    base: Spec = space.hardware if hardware else space.student
    cls: type[Spec] = HardwareConfig if hardware else type(space.student)
    raw = _with_values(base.resolved(), values, space._ties())
    try:
        cls.model_validate(raw)
    except ValidationError as error:
        # A rule between fields (value_error) may hold in another combination; a field's own rule cannot.
        if any(detail["type"] != "value_error" for detail in error.errors(include_url=False)):
            try:
                validate_spec(cls, raw, where=_text(values))
            except ConfigError as sentence:
                return str(sentence)
    return None


def _with_values(
    raw: dict[str, Any], values: Mapping[str, Scalar], ties: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    if "hw.adc.kind" in values and raw["adc"]["kind"] != values["hw.adc.kind"]:
        raw["adc"] = _adc_of_kind(raw["adc"], values["hw.adc.kind"])
    for name, value in values.items():
        for target in ties.get(name, (name,)):
            *folders, leaf = target.split(".")[1:]
            record = raw
            for folder in folders:
                if record.get(folder) is None:
                    record[folder] = {}
                record = record[folder]
            record[leaf] = value
    return raw


def _adc_of_kind(adc: dict[str, Any], kind: Scalar) -> dict[str, Any]:
    annotation = HardwareConfig.model_fields["adc"].annotation
    known = {model.model_fields["kind"].default: set(model.model_fields) for model in _models_in(annotation)}
    return {**{name: adc[name] for name in adc if name in known.get(kind, ())}, "kind": kind}


def _text(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "the base design"
