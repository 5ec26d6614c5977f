"""Rows (field, unit, default) of a schema, as hwconfigs/README.md lists them."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic_core import PydanticUndefined

from spikeloop.simulator.cost.entries import Entry, Sourced
from spikeloop.simulator.cost.scaling import ScalingTable
from spikeloop.simulator.cost.sram import SramTable
from spikeloop.simulator.spec import Spec
from spikeloop.simulator.units import UNIT_SUFFIXES

#: Schemas of files of their own: where they stand inside another schema, the field names the file.
FILES = (ScalingTable, SramTable)


def schema_rows(cls: type[Spec], prefix: str = "") -> list[tuple[str, str, str]]:
    """(dotted field, unit, default) of a schema and the schemas inside it; entries count as one field."""
    rows: list[tuple[str, str, str]] = []
    for name, field in cls.model_fields.items():
        if prefix and issubclass(cls, Sourced) and name in Sourced.model_fields:
            continue  # documented once, with the entries
        parts = [part for part in _types(field.annotation) if isinstance(part, type) and issubclass(part, Spec)]
        inner = [part for part in parts if part is not Entry and part not in FILES]
        if not inner:
            unit = "text" if any(part in FILES for part in parts) else _unit(name, field.annotation)
            rows.append((f"{prefix}{name}", unit, _default(field.default)))
        marks = {list: "[]", dict: ".*"}
        mark = marks.get(typing.get_origin(field.annotation), "")
        for part in inner:
            tag = _kind_tag(part) if len(inner) > 1 else ""
            rows += schema_rows(part, f"{prefix}{name}{mark}{tag}.")
    return rows


def _kind_tag(part: type[Spec]) -> str:
    """``[uniform]`` of a schema that is one of several kinds; ``[device]`` of the base of all device cells."""
    for name in ("kind", "fit"):
        if name not in part.model_fields:
            continue
        field = part.model_fields[name]
        words = typing.get_args(field.annotation)
        if field.default is not PydanticUndefined:
            return f"[{field.default}]"
        return f"[{words[0]}]" if len(words) == 1 else "[device]"
    return ""


def _types(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, dict, typing.Annotated):
        return [part for arg in typing.get_args(annotation) for part in _types(arg)]
    return [annotation]


def _unit(name: str, annotation: Any) -> str:
    matches = [suffix for suffix in UNIT_SUFFIXES if name.endswith(suffix)]
    if matches:
        unit = max(matches, key=len).removeprefix("_").replace("_per_", "/")
        return "bit" if unit == "bits" else unit
    if name == "bits":
        return "bit"
    words = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    return "text" if annotation is str or any(isinstance(word, str) for word in words) else "-"


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
