"""Axes of a study file: the choices of one field of a design or a student."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from spikeloop.simulator.spec import Spec

Scalar = int | float | str | bool

#: Most points that are enumerated: each is planned in memory, about 2 kB, before the first one runs.
MAX_POINTS = 100_000


class RangeAxis(Spec):
    """Integers ``low, low + step, ...`` up to and including ``high``."""

    range: list[int] = Field(min_length=2, max_length=2)
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _rises(self) -> RangeAxis:
        if self.range[0] > self.range[1]:
            raise ValueError(f"range {self.range} is empty; write [low, high] with low <= high")
        if (self.range[1] - self.range[0]) // self.step >= MAX_POINTS:
            raise ValueError(f"range {self.range} has more than {MAX_POINTS} values; give a larger step")
        return self

    def values(self) -> list[int]:
        """Values of the axis in rising order."""
        return list(range(self.range[0], self.range[1] + 1, self.step))


class Log2Axis(Spec):
    """Powers of two from ``low`` to ``high``, both included."""

    log2: list[int] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _powers(self) -> Log2Axis:
        low, high = self.log2
        if low < 1 or low > high or low & (low - 1) or high & (high - 1):
            raise ValueError(f"log2 {self.log2} needs two rising powers of two, e.g. [32, 128]")
        return self

    def values(self) -> list[int]:
        """Values of the axis in rising order."""
        low, high = (value.bit_length() - 1 for value in self.log2)
        return [1 << exponent for exponent in range(low, high + 1)]


class VectorAxis(Spec):
    """A field that is a list, element by element: ``length`` axes ``name[0], name[1], ...`` of the same choices."""

    vector: list[Scalar] = Field(min_length=1)
    length: int = Field(ge=1, le=1024)

    def values(self) -> list[Scalar]:
        """Values of each element."""
        return list(self.vector)


class LayerAxis(Spec):
    """A field that is a mapping by layer: an axis ``name.layer`` of the same choices for each of ``layers``.

    Without ``layers`` these are all that the field may name, the first and the last one too.
    """

    per_layer: list[Scalar] = Field(min_length=1)
    layers: list[str] | None = Field(default=None, min_length=1)

    def values(self) -> list[Scalar]:
        """Values of each layer."""
        return list(self.per_layer)


def _axis_kind(value: Any) -> str:
    if isinstance(value, dict):
        return next((kind for kind in ("log2", "vector", "per_layer") if kind in value), "range")
    kinds = ((Log2Axis, "log2"), (RangeAxis, "range"), (VectorAxis, "vector"), (LayerAxis, "per_layer"))
    return next((kind for cls, kind in kinds if isinstance(value, cls)), "choices")


AxisValues = Annotated[
    Annotated[list[Scalar], Tag("choices")]
    | Annotated[RangeAxis, Tag("range")]
    | Annotated[Log2Axis, Tag("log2")]
    | Annotated[VectorAxis, Tag("vector")]
    | Annotated[LayerAxis, Tag("per_layer")],
    Discriminator(_axis_kind),
]
