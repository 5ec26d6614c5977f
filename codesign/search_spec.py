"""How a study chooses its points, and on which network an analytic one runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from spikeloop.models.network_spec import NetworkSpec, network_spec
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import Spec, problem_sentence

from .names import nearest

#: Samplers that try every point.
EXHAUSTIVE = ("grid", "exhaustive")
#: Samplers of the extra ``search``.
OPTUNA = ("tpe", "nsga2", "nsga3")
SAMPLERS = (*EXHAUSTIVE, "random", "sobol", *OPTUNA)


class SearchSpec(Spec):
    """Choice of points.

    Attributes:
        sampler: ``grid`` (every point), ``random``, ``sobol``, ``tpe``, ``nsga2`` or ``nsga3``.
        evaluations: points that a sampler asks for, repeated ones counted; None with ``grid``.
        batch: points asked for at once. The answers are told in their order, so results depend on this number and
            not on the number of workers.
        seed: of the sampler.
    """

    sampler: str = "grid"
    evaluations: int | None = Field(default=None, ge=1, le=1_000_000)
    batch: int = Field(default=16, ge=1, le=4096)
    seed: int = Field(default=1, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _is_complete(self) -> SearchSpec:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"no sampler '{self.sampler}'; {nearest(self.sampler, SAMPLERS)}")
        if self.tries_all and self.evaluations is not None:
            raise ValueError(f"{self.sampler} tries every point; leave evaluations out, or choose another sampler")
        if not self.tries_all and self.evaluations is None:
            raise ValueError(
                f"{self.sampler} needs a number of evaluations; write {{sampler: {self.sampler}, evaluations: 200}}"
            )
        return self

    @property
    def tries_all(self) -> bool:
        """Whether every point is tried."""
        return self.sampler in EXHAUSTIVE

    @property
    def learns(self) -> bool:
        """Whether answers decide what is asked next."""
        return self.sampler in OPTUNA


class RandomNetwork(Spec):
    """An untrained network of the zoo: costs depend on its shapes and widths only.

    Attributes:
        random: name in the zoo, e.g. ``vgg9``, or a mapping with its parameters (``NetworkSpec``).
        n_timesteps: steps T.
    """

    random: str | NetworkSpec
    seed: int = Field(default=0, ge=0, lt=2**32)
    weight_bits: int = Field(default=4, ge=2, le=32)
    membrane_bits: int = Field(default=6, ge=2, le=32)
    n_timesteps: int = Field(default=4, ge=1, le=1024)

    @field_validator("random", mode="before")
    @classmethod
    def _parameters_are_checked_as_such(cls, value: Any) -> Any:
        return network_spec(value) if isinstance(value, dict) else value


def untrained(fields: dict[str, Any]) -> RandomNetwork:
    """The network that a study's mapping asks for.

    Raises:
        ConfigError: the first field that is wrong.
    """
    try:
        return RandomNetwork.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(problem_sentence(RandomNetwork, error)) from None
