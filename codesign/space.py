"""The design space of a study: axes, points in a fixed order, and what a point changes."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from spikeloop.models.network_spec import NetworkSpec
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import Spec, validate_spec

from .axis_spec import MAX_POINTS, LayerAxis, Log2Axis, RangeAxis, Scalar, VectorAxis
from .constraints import ConstraintSpec
from .layer_axes import layer_fields, layer_targets, models_in
from .names import nearest
from .study import MAX_ANALYTIC_POINTS, StudyConfig, training_spec

#: Points that are looked at before a study starts, to see whether any is possible.
CHECKED_POINTS = 20_000
#: Axes that set several fields to one value.
BUILT_IN_TIES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {"hw.crossbar.size": ("hw.crossbar.rows", "hw.crossbar.cols")}
)
# The workload and the technology are equal for all points: a front that mixed them would compare nothing.
_NO_AXES = frozenset(
    {
        *("hw.schema_version", "hw.name", "hw.source", "hw.technology"),
        *("student.role", "student.dataset", "student.network", "student.teacher", "student.seed"),
        *("student.start", "student.hardware.accelerator", "student.losses.energy_from"),
        *(f"student.network.{name}" for name in NetworkSpec.model_fields),
    }
)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One dimension: the values it takes and the fields it sets (``targets``, dotted paths).

    An axis with a ``parent`` is a part of a point only where the parent has one of the values ``when``.
    """

    name: str
    values: tuple[Scalar, ...]
    targets: tuple[str, ...]
    parent: str | None = None
    when: tuple[Scalar, ...] = ()

    def is_part(self, values: Mapping[str, Scalar]) -> bool:
        """Whether the axis belongs to a point with these ``values`` of the axes before it."""
        # 1 and True are equal to Python, not to a reader.
        value = values.get(self.parent) if self.parent is not None else None
        return self.parent is None or any(value == one and type(value) is type(one) for one in self.when)


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
    """All points of a study: student axes turn slowest, so the designs of a student are neighbours.

    A parent stands before the axes that depend on it. ``student`` is None where nothing is trained.
    """

    axes: tuple[Axis, ...]
    hardware: HardwareConfig
    student: Spec | None
    constraints: tuple[ConstraintSpec, ...] = ()

    @property
    def trains_on_hardware(self) -> bool:
        """Whether a student depends on the design that it is trained for (section ``hardware`` of its training)."""
        return getattr(self.student, "hardware", None) is not None

    @property
    def n_points(self) -> int:
        """Number of points, infeasible ones included; exact also with conditions."""
        counts = dict.fromkeys((axis.name for axis in self.axes), 0)
        for axis in reversed(self.axes):  # children before their parent
            children = [child for child in self.axes if child.parent == axis.name]
            counts[axis.name] = sum(
                math.prod(counts[child.name] for child in children if child.is_part({axis.name: value}))
                for value in axis.values
            )
        return math.prod(counts[axis.name] for axis in self.axes if axis.parent is None)

    def points(self) -> Iterator[Point]:
        """Every point in the order of its index."""
        if not any(axis.parent for axis in self.axes):
            names = [axis.name for axis in self.axes]
            for index, values in enumerate(itertools.product(*(axis.values for axis in self.axes))):
                yield Point(index=index, values=dict(zip(names, values, strict=True)))
            return
        for index, found in enumerate(self._combinations({}, 0)):
            yield Point(index=index, values=found)

    def _combinations(self, values: dict[str, Scalar], depth: int) -> Iterator[dict[str, Scalar]]:
        while depth < len(self.axes) and not self.axes[depth].is_part(values):
            depth += 1
        if depth == len(self.axes):
            yield values
            return
        for value in self.axes[depth].values:
            yield from self._combinations({**values, self.axes[depth].name: value}, depth + 1)

    def choose(self, pick: Callable[[Axis], int]) -> dict[str, Scalar]:
        """Values of one point: ``pick`` gives the place of a value in an axis, asked in order for those that are part.

        A sampler never sees an axis whose condition does not hold.
        """
        values: dict[str, Scalar] = {}
        for axis in self.axes:
            if axis.is_part(values):
                values[axis.name] = axis.values[pick(axis)]
        return values

    def hardware_of(self, point: Point) -> HardwareConfig:
        """Design of a point.

        Raises:
            ConfigError: the combination is no valid hardware, or a constraint refuses it.
        """
        hw = apply_hardware(self.hardware, point.part("hw"), ties=self._ties())
        for item in self.constraints:
            if not item.allows_design(hw):
                raise ConfigError(f"{_text(point.part('hw'))}: constraint '{item}' does not hold")
        return hw

    def student_of(self, point: Point) -> Spec:
        """Training configuration of a point's student.

        Raises:
            ConfigError: the combination is no valid training.
        """
        if self.student is None:
            raise ConfigError(f"{_text(point.part('student'))}: nothing is trained in stage: analytic")
        raw = _with_values(self.student.resolved(), point.part("student"), self._ties())
        return validate_spec(type(self.student), raw, where=_text(point.part("student")))

    def _ties(self) -> dict[str, tuple[str, ...]]:
        return {axis.name: axis.targets for axis in self.axes}


def compile_space(study: StudyConfig) -> Space:
    """Space of a resolved study (``load_study`` or ``resolve_study``).

    Raises:
        ConfigError: an unknown axis (with the nearest name), a value that no combination allows, a field set
            by two axes, a value given twice, a condition on what is no axis, or too many points to enumerate.
    """
    hardware = validate_spec(HardwareConfig, study.hardware, where="hardware")
    trains = study.stage == "full"
    student = validate_spec(training_spec(), study.student, where="student") if trains else None
    by_layer = {} if student is None else layer_fields(student)
    targets = _targets(student, study.tied, by_layer)
    names = sorted(study.space, key=lambda name: not name.startswith("student."))
    axes = tuple(axis for name in names for axis in _axes(name, study.space[name], targets, by_layer))
    _check_overlap(axes)
    axes = _conditional(axes, study.conditions)
    space = Space(axes=axes, hardware=hardware, student=student, constraints=tuple(study.constraints))
    most = MAX_POINTS if trains else MAX_ANALYTIC_POINTS
    if study.search.tries_all and space.n_points > most:
        raise ConfigError(
            f"space: {space.n_points} points, at most {most} are enumerated; give an axis fewer values, or write "
            "search: {sampler: tpe, evaluations: 200}"
        )
    for axis in axes:
        for value in axis.values:
            _check_value(axis, value, space)
    return space


def _conditional(axes: tuple[Axis, ...], conditions: Mapping[str, Mapping[str, list[Scalar]]]) -> tuple[Axis, ...]:
    """The axes with their parents, a parent before what depends on it, else in the order given."""
    known = {axis.name: axis for axis in axes}
    for name, condition in conditions.items():
        if name not in known:
            raise ConfigError(f"conditions: no axis '{name}' in space; {nearest(name, list(known))}")
        if len(condition) != 1:
            raise ConfigError(f"conditions: {name}: got {len(condition)} axes; give one, {{axis: [values]}}")
        ((parent, when),) = condition.items()
        if parent not in known or parent == name:
            others = [other for other in known if other != name]
            raise ConfigError(f"conditions: {name}: no axis '{parent}' in space; {nearest(parent, others)}")
        if parent.partition(".")[0] != name.partition(".")[0]:
            raise ConfigError(f"conditions: {name}: {parent} is of the other half; students and designs stay apart")
        if not when:
            raise ConfigError(f"conditions: {name}: no values of {parent}; list those that {name} goes with")
        for value in when:
            if not any(value == one and type(value) is type(one) for one in known[parent].values):
                allowed = ", ".join(str(one) for one in known[parent].values)
                raise ConfigError(f"conditions: {name}: {parent} is never {value}; its values: {allowed}")
        known[name] = replace(known[name], parent=parent, when=tuple(when))
    ordered: dict[str, Axis] = {}
    while len(ordered) < len(known):
        ready = [axis for axis in known.values() if axis.name not in ordered]
        ready = [axis for axis in ready if axis.parent is None or axis.parent in ordered]
        if not ready:
            circle = ", ".join(name for name in known if name not in ordered)
            raise ConfigError(f"conditions: {circle} depend on each other in a circle; let one of them stand alone")
        ordered[ready[0].name] = ready[0]
    return tuple(ordered.values())


def check_not_empty(space: Space, name: str) -> None:
    """Refuse a space whose points are all impossible, as far as ``CHECKED_POINTS`` of them tell.

    Raises:
        ConfigError: how many points were tried, and why the first is impossible.
    """
    first, n = "", 0
    for point in itertools.islice(space.points(), CHECKED_POINTS):
        n += 1
        problem = design_problem(space, point)
        if not problem:
            return
        first = first or problem
    if n < CHECKED_POINTS:
        raise ConfigError(f"study {name}: none of its {n} points is possible, the first because of {first}")


def design_problem(space: Space, point: Point) -> str:
    """Why a point is impossible before it is run, empty if it is not."""
    try:
        space.hardware_of(point)
        if space.student is not None:
            space.student_of(point)
    except ConfigError as error:
        return str(error)
    return ""


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
        inner = models_in(field.annotation)
        for path in [p for model in inner for p in leaf_paths(model, f"{prefix}.{name}")] or [f"{prefix}.{name}"]:
            paths[path] = None
    return tuple(path for path in paths if path not in _NO_AXES)


def _targets(
    student: Spec | None, tied: Mapping[str, list[str]], by_layer: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Axis name -> fields: full paths, short student names where unambiguous, single layers, and ties."""
    hardware = leaf_paths(HardwareConfig, "hw")
    training = () if student is None else leaf_paths(type(student), "student")
    leaves = [path.rpartition(".")[2] for path in training]
    targets: dict[str, tuple[str, ...]] = {path: (path,) for path in (*training, *hardware)}
    for path, leaf in zip(training, leaves, strict=True):
        if leaves.count(leaf) == 1:
            targets[f"student.{leaf}"] = (path,)
    targets |= layer_targets(targets, by_layer)
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


_AxisSpec = list[Scalar] | RangeAxis | Log2Axis | VectorAxis | LayerAxis


def _axes(
    name: str, values: _AxisSpec, targets: Mapping[str, tuple[str, ...]], by_layer: Mapping[str, tuple[str, ...]]
) -> list[Axis]:
    if name not in targets:
        if name.startswith("student.") and not any(known.startswith("student.") for known in targets):
            raise ConfigError(f"space: {name}: stage: analytic trains no student; use hw. axes, or stage: full")
        raise ConfigError(f"space: no axis '{name}'; {nearest(name, list(targets))}")
    whole = Axis(name=name, values=_choices(name, values), targets=targets[name])
    if isinstance(values, VectorAxis):
        return [
            replace(whole, name=f"{name}[{i}]", targets=tuple(f"{target}[{i}]" for target in whole.targets))
            for i in range(values.length)
        ]
    layers = next((by_layer[target] for target in whole.targets if target in by_layer), None)
    if not isinstance(values, LayerAxis):
        if layers is not None:
            raise ConfigError(f"space: {name} is a mapping by layer; write {{per_layer: [...]}}, or {name}.{layers[0]}")
        return [whole]
    if layers is None:
        raise ConfigError(f"space: {name} is no mapping by layer; list its values without per_layer")
    return _layer_axes(whole, values.layers or list(layers), layers)


def _layer_axes(whole: Axis, wanted: list[str], layers: tuple[str, ...]) -> list[Axis]:
    """The axis once for each wanted layer."""
    for layer in wanted:
        if layer not in layers:
            raise ConfigError(f"space: {whole.name}: no layer '{layer}'; {nearest(layer, layers)}")
        if wanted.count(layer) > 1:
            raise ConfigError(f"space: {whole.name}: layer '{layer}' is given twice; keep one")
    return [
        replace(whole, name=f"{whole.name}.{layer}", targets=tuple(f"{target}.{layer}" for target in whole.targets))
        for layer in wanted
    ]


def _choices(name: str, values: _AxisSpec) -> tuple[Scalar, ...]:
    choices = values if isinstance(values, list) else values.values()
    if not choices:
        raise ConfigError(f"space: {name}: no values; give at least one")
    # 1 and True are equal to Python, not to a reader.
    seen: set[tuple[type, Scalar]] = set()
    for choice in choices:
        if (type(choice), choice) in seen:
            raise ConfigError(f"space: {name}: {choice} is given twice; keep one")
        seen.add((type(choice), choice))
    return tuple(choices)


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
    base = space.hardware if axis.name.startswith("hw.") or space.student is None else space.student
    cls = type(base)
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
            _set(record, leaf, value)
    return raw


def _set(record: dict[str, Any], leaf: str, value: Scalar) -> None:
    """Set a field, or with ``leaf[i]`` an element of a list; its other elements keep the value, or take this one."""
    name, bracket, rest = leaf.partition("[")
    if not bracket:
        record[leaf] = value
        return
    place = int(rest.rstrip("]"))
    elements = list(record.get(name) or [])
    record[name] = elements + [value] * (place + 1 - len(elements))
    record[name][place] = value


def _adc_of_kind(adc: dict[str, Any], kind: Scalar) -> dict[str, Any]:
    annotation = HardwareConfig.model_fields["adc"].annotation
    known = {model.model_fields["kind"].default: set(model.model_fields) for model in models_in(annotation)}
    return {**{name: adc[name] for name in adc if name in known.get(kind, ())}, "kind": kind}


def _text(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "the base design"
