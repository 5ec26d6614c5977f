"""Fields of a training file that are mappings by layer: which they are, and which layers each may name."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from spikeloop.simulator.spec import Spec

#: Mappings by layer with neurons; all others name layers with weights.
_OF_NEURONS = ("membrane_layer_bits", "layer_weights")


def layer_fields(student: Spec) -> Mapping[str, tuple[str, ...]]:
    """Dotted path of every mapping by layer (``student.quantisation.layer_bits``) -> layers that it may name, in order.

    Empty for a training without a network of the zoo.
    """
    paths = _mappings(type(student), "student")
    name = getattr(student, "network", None)
    if not paths or name is None:
        return types.MappingProxyType({})
    from spikeloop.models.plan import geometries, neuron_steps
    from spikeloop.models.zoo import architecture

    plan = architecture(name)
    weights, neurons = tuple(geometries(plan)), neuron_steps(plan)
    return types.MappingProxyType(
        {path: neurons if path.rpartition(".")[2] in _OF_NEURONS else weights for path in paths}
    )


def _mappings(cls: type[BaseModel], prefix: str) -> list[str]:
    found = []
    for name, field in cls.model_fields.items():
        if get_origin(field.annotation) is dict:
            found.append(f"{prefix}.{name}")
        for model in models_in(field.annotation):
            found += _mappings(model, f"{prefix}.{name}")
    return found


def layer_targets(
    targets: Mapping[str, tuple[str, ...]], fields: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Axes of single layers, ``student.layer_bits.conv1`` and its full path -> the field that each sets."""
    return {
        f"{name}.{layer}": (f"{path}.{layer}",)
        for name, members in targets.items()
        for path in members
        if path in fields
        for layer in fields[path]
    }


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Records that an annotation names, those of a union and of its members too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        return [model for arg in get_args(annotation) for model in models_in(arg)]
    return []
