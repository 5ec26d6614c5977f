"""How far the cost of a run follows each number of the technology file: all else held, one number at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .cost.chip import Component
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
    """Cost of a run with one number, or all prices that rest on a fit or table, over and times the factor.

    Attributes:
        key: dotted name in the technology file; of a fit or table also what of it was varied, as in ``scaling (area)``.
        value: the number as published; its unit ends the key. None for a fit or table.
        citation: ``key: source (year) [status]``.
        low, high: figures with the number divided and multiplied; None where the technology refuses it.
        refused: why it refuses, empty otherwise.
    """

    key: str
    value: float | None
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


def sensitivity(
    library: Callable[[Technology], Sequence[Component]],
    bill: Callable[[Sequence[Component]], Bill],
    technology: Technology,
    *,
    factor: float,
) -> Sensitivity:
    """Cost of a run with each number of the technology over and times ``factor``.

    A fit or table is not one number: energy and, apart from it, area of the components that rest on it are varied as
    a whole, which is too much where they rest on it in part.

    Args:
        library: components of the mapped network with any technology.
        bill: bill of the run with any components. The clock need not run again: no cycle and no count depends on a
            price.
        technology: numbers as they are.
        factor: above 1.

    Raises:
        ConfigError: a factor that is not above 1, or too large to mean anything.
    """
    check_factor(factor)
    components = library(technology)
    as_it_is = bill(components)
    base = _figures(as_it_is)
    swings = [_swing(lambda prices: bill(library(prices)), technology, key, factor) for key in technology.entries]
    for key, what in _fits(components, technology):
        low, high = (_figures(bill(_scaled(components, key, what, by))) for by in (1 / factor, factor))
        swings.append(
            Swing(
                key=f"{key} ({what})",
                value=None,
                status=technology.status(key),
                citation=technology.citation(key),
                low=low,
                high=high,
            )
        )
    moving = [swing for swing in swings if swing.refused or swing.low != base or swing.high != base]
    return Sensitivity(
        base=base,
        factor=factor,
        latency_ns=as_it_is.latency_ns,
        swings=tuple(sorted(moving, key=lambda swing: (-spread(swing, base), swing.key))),
        without_effect=tuple(sorted(swing.key for swing in swings if swing not in moving)),
    )


def _fits(components: Sequence[Component], technology: Technology) -> Iterator[tuple[str, Literal["energy", "area"]]]:
    """Fits and tables that the components rest on, with what of them they price."""
    for what in ("energy", "area"):
        used = (part.action_keys if what == "energy" else part.area_keys for part in components)
        for key in sorted({key for keys in used for key in keys} - technology.entries.keys()):
            yield key, what


def _scaled(
    components: Sequence[Component], key: str, what: Literal["energy", "area"], by: float
) -> tuple[Component, ...]:
    """Components that rest on a key with the energy of their actions, or their area and its leakage, times ``by``."""
    found = []
    for part in components:
        if what == "energy" and key in part.action_keys:
            part = replace(part, action_fJ={name: values * by for name, values in part.action_fJ.items()})
        if what == "area" and key in part.area_keys:
            leaked = by if key in part.leakage_keys else 1.0
            part = replace(
                part, layer_area_um2=part.layer_area_um2 * by, layer_leakage_uW=part.layer_leakage_uW * leaked
            )
        found.append(part)
    return tuple(found)


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
