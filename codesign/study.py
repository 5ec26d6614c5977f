"""Study files: what to explore, on which data, towards which objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from spikeloop.simulator.config import HardwareConfig, resolve_yaml
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.spec import Spec, SpecT, canonical_hash, validate_spec
from spikeloop.simulator.strict_yaml import read_yaml

from .axis_spec import AxisValues, Scalar
from .constraints import ConstraintSpec, contradiction
from .names import nearest
from .pareto import CSV_METRICS, Objective
from .search_spec import RandomNetwork, SearchSpec, untrained
from .stage_spec import WITHOUT_ACCURACY, StageSpec, check_stages
from .trained_teacher import find_trained, is_trained, take_teacher

#: Most points that are enumerated where each costs a few ms and none is planned ahead (``stage: analytic``).
MAX_ANALYTIC_POINTS = 1_000_000
#: Stands for the design in the ``hardware`` of a student: each is trained on the design of its point.
EACH_DESIGN = "each design"
#: Metrics that a study may be judged by.
METRICS = ("accuracy", *CSV_METRICS, "cycles")


#: Fields of a study that came after its first schema.
_LATER_FIELDS = (
    "conditions",
    "constraints",
    "stage",
    "network",
    "density",
    "reference_point",
    "stages",
    "training_device",
)


class Seeds(Spec):
    """Seeds of a study: training of teacher and students, and of the simulated chip."""

    training: int = Field(default=1, ge=0, lt=2**63)
    simulation: int = Field(default=1, ge=0, lt=2**63)


class ObjectiveSpec(Spec):
    """A metric of the result and its better direction."""

    metric: str
    goal: Literal["max", "min"]

    @model_validator(mode="after")
    def _known(self) -> ObjectiveSpec:
        if self.metric not in METRICS:
            raise ValueError(f"no metric '{self.metric}'; {nearest(self.metric, METRICS)}")
        return self


def _default_objectives() -> list[ObjectiveSpec]:
    return [ObjectiveSpec(metric="accuracy", goal="max"), ObjectiveSpec(metric="edap_J_s_mm2", goal="min")]


class StudyConfig(Spec):
    """A study file.

    Attributes:
        hardware: base design: a preset of hwconfigs/accelerators, a path, or (resolved) its content.
        teacher: training of the teacher: a preset of hwconfigs/training, a path, or its content; or the folder of a
            teacher that is trained already.
        student: base training of the students, in the same forms; the space changes single fields of it. If it has
            ``hardware``, each design that computes something else gets a student of its own, trained on it.
        space: axis name -> list of choices, ``{range: [low, high], step: s}`` or ``{log2: [low, high]}``;
            names start with ``student.`` or ``hw.``; ``{vector: [...], length: n}`` for a field that is a list,
            ``{per_layer: [...]}`` for one that is a mapping by layer.
        conditions: axis -> {other axis: values}: the axis is a part of a point only where the other has one of them.
        constraints: demands on the designs that may stand on the front.
        stage: ``full`` trains students and simulates every design; ``analytic`` prices ``network`` in closed form
            under spikes of ``density`` (one, or one a layer), without accuracy.
        stages: cheap stages before the dear ones; every stage but the last says which points go on. Without them,
            ``stage`` is the only one.
        reference_point: point of the hypervolume, in the order of the objectives; default: the worst values found,
            kept in the ledger when the study is finished.
        training_device: ``cuda`` trains teacher and students on the GPU of the process that is given the task; a GPU
            gives other bits, so they are others than those of ``cpu``. Everything else stays on the CPU.
        tied: new axis name -> the axes that it sets to one value; ``hw.crossbar.size`` is built in.
        images: test images of the accuracy run.
        calibration_images: training images that calibrate the ADC ranges.
        cycle_images: images of the cycle simulation.
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    dataset: str = "digits"
    hardware: str | dict[str, Any]
    teacher: str | dict[str, Any] | None = None
    student: str | dict[str, Any] | None = None
    space: dict[str, AxisValues] = Field(min_length=1)
    tied: dict[str, list[str]] = Field(default_factory=dict)
    search: SearchSpec = SearchSpec()
    seeds: Seeds = Seeds()
    images: int = Field(default=360, ge=1)
    calibration_images: int = Field(default=32, ge=1)
    cycle_images: int = Field(default=1, ge=1)
    objectives: list[ObjectiveSpec] = Field(default_factory=_default_objectives, min_length=1)
    conditions: dict[str, dict[str, list[Scalar]]] = Field(default_factory=dict)
    constraints: list[ConstraintSpec] = Field(default_factory=list)
    stage: Literal["full", "analytic"] = "full"
    network: str | RandomNetwork | None = None
    density: float | dict[str, float] = 0.15
    reference_point: list[float] | None = None
    stages: list[StageSpec] = Field(default_factory=list)
    training_device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="before")
    @classmethod
    def _objectives_of_the_stage(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("stage") == "analytic" and "objectives" not in value:
            costs = ("energy_fJ", "latency_ns", "area_um2")
            return {**value, "objectives": [{"metric": metric, "goal": "min"} for metric in costs]}
        return value

    @field_validator("search", mode="before")
    @classmethod
    def _name_of_a_sampler(cls, value: Any) -> Any:
        return {"sampler": value} if isinstance(value, str) else value

    @field_validator("network", mode="before")
    @classmethod
    def _untrained_network(cls, value: Any) -> Any:
        return untrained(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _parts_of_the_stage(self) -> StudyConfig:
        full = self.stage == "full"
        for name in ("teacher", "student"):
            if (getattr(self, name) is not None) != full:
                cure = "add it" if full else "leave it out, or use stage: full"
                raise ValueError(f"{name}: stage: {self.stage} {'needs one' if full else 'trains nothing'}; {cure}")
        if self.training_device != "cpu" and not full:
            raise ValueError(f"training_device: {self.training_device}: stage: analytic trains nothing; leave it out")
        if (self.network is None) != full:
            raise ValueError(
                "network: stage: full trains its own; leave it out"
                if full
                else "network: stage: analytic needs one; name a network file or write {random: vgg9}"
            )
        if not full:
            metrics = [item.metric for item in self.objectives] + [item.metric or "" for item in self.constraints]
            measured = [metric for metric in metrics if metric.startswith("accuracy")]
            if measured:
                raise ValueError(f"{measured[0]}: stage: analytic has no accuracy; leave it out, or use stage: full")
        return self

    @model_validator(mode="after")
    def _stages_follow_each_other(self) -> StudyConfig:
        if not self.stages:
            return self
        if self.stage != "full":
            raise ValueError(f"stage: {self.stage} and stages exclude each other; keep one")
        check_stages(self.stages)
        for item in self.stages:
            if not self.objectives_of(item.stage):
                raise ValueError(
                    f"stages: {item.stage} has no accuracy, the only objective; add a cost, or leave it out"
                )
        last = self.stages[-1].stage
        bounded = any((item.metric or "").startswith("accuracy") for item in self.constraints)
        if last in WITHOUT_ACCURACY and (bounded or len(self.objectives_of(last)) < len(self.objectives)):
            raise ValueError(f"stages: {last} is the last one and has no accuracy; end with ptq, short or full")
        first = self.stages[0].stage
        if self.search.learns and len(self.objectives_of(first)) < len(self.objectives):
            raise ValueError(
                f"search: {self.search.sampler} learns from the first stage and {first} has no accuracy, so that it "
                "would look for cheap designs only; begin with ptq, or use grid, random or sobol"
            )
        return self

    @model_validator(mode="after")
    def _constraints_agree(self) -> StudyConfig:
        pair = contradiction(self.constraints)
        if pair is not None:
            raise ValueError(f"constraints: '{pair[0]}' and '{pair[1]}' contradict each other; no design keeps both")
        if self.reference_point is not None and len(self.reference_point) != len(self.objectives):
            raise ValueError(
                f"reference_point has {len(self.reference_point)} numbers for {len(self.objectives)} objectives; "
                "give one for each"
            )
        return self

    @model_validator(mode="after")
    def _objectives_differ(self) -> StudyConfig:
        names = [item.metric for item in self.objectives]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"objective '{twice[0]}' is given twice; keep one")
        return self

    def objective_list(self) -> tuple[Objective, ...]:
        """The objectives as the Pareto functions take them."""
        return tuple(Objective(metric=item.metric, goal=item.goal) for item in self.objectives)

    def objectives_of(self, stage: str) -> tuple[Objective, ...]:
        """The objectives that a stage has figures of."""
        return tuple(
            item for item in self.objective_list() if item.metric != "accuracy" or stage not in WITHOUT_ACCURACY
        )

    def constraints_of(self, stage: str) -> list[ConstraintSpec]:
        """The constraints that can be told in a stage: bounds of the accuracy only where there is one."""
        known = stage not in WITHOUT_ACCURACY
        return [item for item in self.constraints if known or not (item.metric or "").startswith("accuracy")]

    @property
    def final_stage(self) -> str:
        """Stage of the rows that fronts and picks are made of."""
        return self.stages[-1].stage if self.stages else self.stage

    def resolved(self) -> dict[str, Any]:
        """Every field; what was added to the schema later only where it is used, so that older studies stay theirs."""
        fields = super().resolved()
        if self.search == SearchSpec(sampler=self.search.sampler, evaluations=self.search.evaluations) and (
            self.search.tries_all
        ):
            fields["search"] = self.search.sampler
        for name in _LATER_FIELDS:
            if fields[name] == StudyConfig.model_fields[name].get_default(call_default_factory=True):
                del fields[name]
        return fields

    def content_hash(self) -> str:
        """sha256 of the whole study."""
        return canonical_hash(self.resolved())


def load_study(name_or_path: str) -> StudyConfig:
    """Study from a YAML path or the name of a shipped one, resolved: presets are written out.

    Paths inside the file are looked up beside it, then from the working directory.

    Raises:
        ConfigError: one sentence: what is wrong, where, what is allowed.
    """
    path = resolve_yaml(name_or_path, "studies")
    study = resolve_study(validate_spec(StudyConfig, read_yaml(path), where=str(path)), where=str(path))
    from .space import compile_space

    try:
        compile_space(study)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return study


def resolve_study(study: StudyConfig, *, where: str = "study") -> StudyConfig:
    """The same study with hardware, teacher and student written out in full.

    Raises:
        ConfigError: a preset does not exist or is wrong.
    """
    folder = Path(where).parent
    resolved: dict[str, Any] = {
        "hardware": _written_out(HardwareConfig, study.hardware, "accelerators", f"{where}: hardware", folder),
    }
    if study.stage == "full":
        resolved["student"] = _training(study, "student", where)
        resolved["teacher"] = _teacher(study, resolved["student"], where)
        _check_short(study, resolved["student"], where)
    if isinstance(study.network, str):
        beside = folder / study.network
        resolved["network"] = str((beside if beside.is_file() else Path(study.network)).absolute())
    return study.model_copy(update=resolved)


def _check_short(study: StudyConfig, student: dict[str, Any], where: str) -> None:
    for item in study.stages:
        if item.epochs is not None and item.epochs >= student["epochs"]:
            raise ConfigError(
                f"{where}: stages: short of {item.epochs} epochs is not shorter than the student's "
                f"{student['epochs']}; allowed 1 to {student['epochs'] - 1}"
            )


def training_spec() -> type[Spec]:
    """Record of a training file."""
    from spikeloop.distill.config import TrainingConfig

    return TrainingConfig


def read_study_folder(out: Path) -> StudyConfig:
    """The study that a folder holds (its ``study.yaml``).

    Raises:
        StudyError: the folder holds no study, or its ``study.yaml`` is damaged.
    """
    path = out / "study.yaml"
    if not path.is_file():
        raise StudyError(f"{out}: holds no study (no study.yaml); give the --out folder of 'spikeloop explore'")
    try:
        return validate_spec(StudyConfig, read_yaml(path), where=str(path))
    except ConfigError as error:
        raise StudyError(f"{error}; the file was changed after the study began, restore it") from None


def study_yaml(study: StudyConfig) -> str:
    """Text of ``study.yaml``: the resolved study, readable by ``read_study_folder``."""

    class Dumper(yaml.SafeDumper):
        """SafeDumper without anchors and without exponents, which the strict loader refuses."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(float, _plain_float)
    Dumper.add_representer(str, _quoted_trap)
    text: str = yaml.dump(study.resolved(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def _training(study: StudyConfig, role: Literal["teacher", "student"], where: str) -> dict[str, Any]:
    """Training of a role: data set and role must agree with the study, which also sets seed and teacher."""
    value = study.teacher if role == "teacher" else study.student
    assert value is not None  # stage: full has both
    training = _written_out(training_spec(), value, "training", f"{where}: {role}", Path(where).parent)
    for name, wanted in (("role", role), ("dataset", study.dataset)):
        if training[name] != wanted:
            raise ConfigError(f"{where}: {role}: {name} is '{training[name]}', this study needs '{wanted}'; change one")
    files = (("start", training.get("start")), ("losses.energy_from", training.get("losses", {}).get("energy_from")))
    for name, given in files:
        if given is not None:
            raise ConfigError(f"{where}: {role}: {name} names a file, which a study does not follow; remove it")
    if training.get("hardware") is not None:
        training = {**training, "hardware": {**training["hardware"], "accelerator": EACH_DESIGN}}
    return {**training, "seed": study.seeds.training, "teacher": None}


def _teacher(study: StudyConfig, student: dict[str, Any], where: str) -> dict[str, Any]:
    """The teacher's training, or where it is trained already."""
    if isinstance(study.teacher, dict) and is_trained(study.teacher):
        return study.teacher
    folder = find_trained(study.teacher, Path(where).parent)
    if folder is None:
        return _training(study, "teacher", where)
    return take_teacher(folder, student, study.dataset, f"{where}: teacher")


def _written_out(
    cls: type[SpecT], value: str | dict[str, Any], folder: str, where: str, beside: Path
) -> dict[str, Any]:
    if isinstance(value, dict):
        return validate_spec(cls, value, where=where).resolved()
    local = beside / value
    try:
        path = local if local.is_file() else resolve_yaml(value, folder)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return validate_spec(cls, read_yaml(path), where=str(path)).resolved()


def _plain_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text:
        from decimal import Decimal

        text = f"{Decimal(text):f}"
        text = text if "." in text else f"{text}.0"
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _quoted_trap(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Words and numbers that the strict loader refuses unquoted are written in quotes.
    plain = value.replace("_", "a").replace(" ", "a").replace("-", "a").replace(".", "a")
    risky = value.lower() in ("on", "off", "yes", "no", "y", "n") or not plain.isalnum() or value[:1].isdigit()
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if risky else None)
