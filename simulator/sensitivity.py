"""How far the cost of a run follows each number of the technology file: all else held, one number at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .cost.technology import Status, Technology
from .errors import ConfigError
from .pricing import Bill
from .spec import validate_spec

#: Factors beyond this one are no doubt about a number any more.
MAX_FACTOR = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a run costs with one set of prices."""

    energy_fJ: float
    area_um2: float
    edap_J_s_mm2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Swing:
    """Cost of a run with one number over and times the factor.

    Attributes:
        key: dotted name in the technology file.
        value: the number as published; its unit ends the key.
        citation: ``key: source (year) [status]``.
        low, high: figures with the number divided and multiplied; None where the technology refuses it.
        refused: why it refuses, empty otherwise.
    """

    key: str
    value: float
    status: Status
    citation: str
    low: Figures | None
    high: Figures | None
    refused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """Every number of a technology file by what it moves.

    Attributes:
        base: figures with the numbers as they are.
        factor: by which numbers were divided and multiplied.
        swings: numbers that move something, the largest spread of EDAP first.
        without_effect: keys of the numbers that move nothing on this run.
    """

    base: Figures
    factor: float
    latency_ns: float
    swings: tuple[Swing, ...]
    without_effect: tuple[str, ...]


def sensitivity(price: Callable[[Technology], Bill], technology: Technology, *, factor: float) -> Sensitivity:
    """Cost of a run with each number of the technology over and times ``factor``.

    Args:
        price: bill of the run with any technology, as ``price_run`` makes it; the clock need not run again, for no
            cycle and no count depends on a price.
        technology: numbers as they are.
        factor: above 1.

    Raises:
        ConfigError: a factor that is not above 1, or too large to mean anything.
    """
    check_factor(factor)
    bill = price(technology)
    base = _figures(bill)
    swings = [_swing(price, technology, key, factor) for key in technology.entries]
    moving = [swing for swing in swings if swing.refused or swing.low != base or swing.high != base]
    return Sensitivity(
        base=base,
        factor=factor,
        latency_ns=bill.latency_ns,
        swings=tuple(sorted(moving, key=lambda swing: (-spread(swing, base), swing.key))),
        without_effect=tuple(sorted(swing.key for swing in swings if swing not in moving)),
    )


def check_factor(factor: float) -> None:
    """Refuse a factor that says nothing.

    Raises:
        ConfigError: not above 1, or above ``MAX_FACTOR``.
    """
    if not 1.0 < factor <= MAX_FACTOR:
        raise ConfigError(f"factor={factor:g}; a number is divided and multiplied by it: give 1.01 to {MAX_FACTOR:g}")


def spread(swing: Swing, base: Figures) -> float:
    """EDAP between the two ends of a number, relative to the base."""
    ends = [end.edap_J_s_mm2 for end in (swing.low, swing.high) if end is not None]
    return (max(*ends, base.edap_J_s_mm2) - min(*ends, base.edap_J_s_mm2)) / base.edap_J_s_mm2 if ends else 0.0


def with_number(technology: Technology, key: str, value: float) -> Technology:
    """The technology with one number replaced; ``key`` is a dotted name of ``Technology.entries``.

    Raises:
        ConfigError: no such number, or a value that the technology refuses.
    """
    if key not in technology.entries:
        raise ConfigError(f"technology {technology.name}: no number {key}; the names are those of its file")
    fields = technology.resolved()
    place: Any = fields
    for part in re.findall(r"[^.\[\]]+", key):
        place = place[int(part) if part.isdigit() else part]
    place["value"] = value
    return validate_spec(Technology, fields, where=f"technology {technology.name}, {key}={value:g}")


def _swing(price: Callable[[Technology], Bill], technology: Technology, key: str, factor: float) -> Swing:
    entry = technology.entries[key]
    ends: list[Figures | None] = []
    refused = ""
    for value in (entry.value / factor, entry.value * factor):
        try:
            ends.append(_figures(price(with_number(technology, key, value))))
        except ConfigError as error:
            ends.append(None)
            refused = str(error)
    return Swing(
        key=key,
        value=entry.value,
        status=entry.status,
        citation=technology.citation(key),
        low=ends[0],
        high=ends[1],
        refused=refused,
    )


def _figures(bill: Bill) -> Figures:
    return Figures(energy_fJ=bill.total_energy_fJ, area_um2=bill.total_area_um2, edap_J_s_mm2=bill.edap_J_s_mm2)
