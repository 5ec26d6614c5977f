"""One number and where it comes from: the unit of every file that prices hardware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..spec import Spec

Status = Literal["read", "derived", "doubted", "assumption"]


class Sourced(Spec):
    """What says where numbers come from, and how far they can be trusted.

    Attributes:
        status: ``read`` in the source, ``derived`` from it by the arithmetic in ``note``, ``doubted`` for a
            reason in ``note``, or an ``assumption`` without a source.
    """

    source: str = Field(min_length=1)
    year: int = Field(ge=1950, le=2100)
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _doubt_has_a_reason(self) -> Sourced:
        if self.status != "read" and not self.note:
            raise ValueError(f"status '{self.status}' without a note; write what was derived, doubted or assumed")
        return self


class Entry(Sourced):
    """One number; the unit ends the name of the field that holds it.

    Attributes:
        value: the number as published, at ``node_nm``.
        vdd_V: supply at which it was published; None: the file's supply if the node is the file's, else the
            nominal supply of its node.
    """

    value: float = Field(ge=0)
    node_nm: float = Field(gt=0)
    vdd_V: float | None = Field(default=None, gt=0, le=5)


def walk_sources(record: Spec, prefix: str = "") -> Iterator[tuple[str, Sourced]]:
    """Every sourced number, fit and table inside a record, by its dotted name, e.g. ``adc.sar.linear_fF``."""
    for name in type(record).model_fields:
        yield from _walk_value(getattr(record, name), f"{prefix}{name}")


def _walk_value(value: object, key: str) -> Iterator[tuple[str, Sourced]]:
    if isinstance(value, Sourced):
        yield key, value
    if isinstance(value, Spec) and not isinstance(value, Entry):
        yield from walk_sources(value, f"{key}.")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _walk_value(item, f"{key}.{name}")
