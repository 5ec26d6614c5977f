"""Study files: what to explore, on which data, towards which objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from spikeloop.simulator.spec import Spec

from .pareto import Objective

Scalar = int | float | str | bool


class RangeAxis(Spec):
    """Integers ``low, low + step, ...`` up to and including ``high``."""

    range: Annotated[list[int], Field(min_length=2, max_length=2)]
    step: int = Field(default=1, ge=1)


class Log2Axis(Spec):
    """Powers of two from ``low`` to ``high``, both included."""

    log2: Annotated[list[int], Field(min_length=2, max_length=2)]


class Seeds(Spec):
    """Seeds of a study: training of teacher and students, and of the simulated chip."""

    training: int = Field(default=1, ge=0)
    simulation: int = Field(default=1, ge=0)


class ObjectiveSpec(Spec):
    """A metric of the result and its better direction."""

    metric: str
    goal: Literal["max", "min"]


class StudyConfig(Spec):
    """A study file. ``load_study`` checks it as a whole."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    dataset: str = "digits"
    hardware: str | dict[str, Any]
    teacher: str | dict[str, Any]
    student: str | dict[str, Any]
    space: dict[str, list[Scalar] | RangeAxis | Log2Axis] = Field(min_length=1)
    tied: dict[str, list[str]] = {}
    search: Literal["grid", "exhaustive"] = "grid"
    seeds: Seeds = Seeds()
    images: int = Field(default=360, ge=1)
    calibration_images: int = Field(default=32, ge=1)
    cycle_images: int = Field(default=1, ge=1)
    objectives: list[ObjectiveSpec] = [
        ObjectiveSpec(metric="accuracy", goal="max"),
        ObjectiveSpec(metric="edap_J_s_mm2", goal="min"),
    ]

    def objective_list(self) -> tuple[Objective, ...]:
        """The objectives as the Pareto functions take them."""
        return tuple(Objective(metric=item.metric, goal=item.goal) for item in self.objectives)


def load_study(name_or_path: str) -> StudyConfig:
    """Study from a YAML path or the name of a shipped one, resolved: presets are written out.

    Raises:
        ConfigError: one sentence: what is wrong, where, what is allowed.
    """
    raise NotImplementedError


def read_study_folder(out: Path) -> StudyConfig:
    """The study that a folder holds (its ``study.yaml``).

    Raises:
        StudyError: the folder holds no study.
    """
    raise NotImplementedError
