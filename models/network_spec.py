"""What a training file or a study says of a network: a name of the zoo, or a name with its parameters."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.spec import Spec, problem_sentence

#: Rows and columns of a picture.
MIN_SIZE, MAX_SIZE = 8, 224


class NetworkSpec(Spec):
    """A network of the zoo with parameters; what is left out is that of the named network.

    Attributes:
        name: in the zoo, e.g. ``vgg16``.
        size: rows and columns of the input, in pixels.
        channels: of the input; events have 2.
        classes: that the classifier tells apart.
        events: two polarities that change from step to step, else static pixels.
        bits: of an input code; events have 1 where nothing is said, pixels those of the named network.
        width: factor on the channels of every layer but the classifier, each rounded half up.
    """

    name: str
    size: int | None = Field(default=None, ge=MIN_SIZE, le=MAX_SIZE)
    channels: int | None = Field(default=None, ge=1, le=64)
    classes: int | None = Field(default=None, ge=2, le=100_000)
    events: bool | None = None
    bits: int | None = Field(default=None, ge=1, le=16)
    width: float = Field(default=1.0, gt=0, le=8)


def network_spec(fields: dict[str, Any]) -> NetworkSpec:
    """Network with the given parameters.

    Raises:
        NetworkError: the first parameter that is unknown or out of range.
    """
    try:
        return NetworkSpec.model_validate(fields)
    except ValidationError as error:
        raise NetworkError(problem_sentence(NetworkSpec, error)) from None
