"""What one tile of a design costs, without a network: the rows of ``spikeloop cost``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import HardwareConfig
from .chip import Component
from .library import price_workload
from .technology import Technology
from .workload import NominalLayer, nominal_workload


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One component of one tile.

    Attributes:
        energy_fJ: action -> energy of one count.
        sources: ``key: source (year) [status]`` of the numbers behind it.
        weak: keys of those that are doubted or assumed.
        latency_ns: time of one action; None where nothing is said about it.
        notes: what a reader must know about the price.
    """

    component: str
    count: int
    area_um2: float
    leakage_uW: float
    energy_fJ: dict[str, float]
    formula: str
    sources: tuple[str, ...]
    weak: tuple[str, ...]
    latency_ns: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CostComparison:
    """One component of one tile in two designs; a ratio is None where the first design has none of it."""

    component: str
    area_a_um2: float
    area_b_um2: float
    area_ratio: float | None
    energy_a_fJ: dict[str, float]
    energy_b_fJ: dict[str, float]
    energy_ratio: dict[str, float | None]


def cost_table(hw: HardwareConfig, technology: Technology, layer: NominalLayer | None = None) -> tuple[CostRow, ...]:
    """Components of one tile that a nominal layer fills (``NominalLayer``: 4-bit weights, 8-bit membranes, ...).

    Raises:
        ConfigError: an ADC that the technology lacks, or one outside the validity of its fit.
    """
    work = nominal_workload(hw, layer if layer is not None else NominalLayer())
    return tuple(_row(component, technology) for component in price_workload(work, hw, technology))


def compare_tables(a: Sequence[CostRow], b: Sequence[CostRow]) -> tuple[CostComparison, ...]:
    """Rows of two tables side by side; every ratio is b / a."""
    others = {row.component: row for row in b}
    return tuple(_compare(row, others[row.component]) for row in a)


def _compare(a: CostRow, b: CostRow) -> CostComparison:
    actions = tuple(dict.fromkeys((*a.energy_fJ, *b.energy_fJ)))
    return CostComparison(
        component=a.component,
        area_a_um2=a.area_um2,
        area_b_um2=b.area_um2,
        area_ratio=_ratio(a.area_um2, b.area_um2),
        energy_a_fJ=a.energy_fJ,
        energy_b_fJ=b.energy_fJ,
        energy_ratio={
            action: _ratio(a.energy_fJ.get(action, 0.0), b.energy_fJ[action]) if action in b.energy_fJ else None
            for action in actions
        },
    )


def _ratio(a: float, b: float) -> float | None:
    return b / a if a else None


def _row(component: Component, technology: Technology) -> CostRow:
    keys = tuple(dict.fromkeys((*component.action_keys, *component.leakage_keys, *component.area_keys)))
    return CostRow(
        component=component.name,
        count=component.count,
        area_um2=component.area_um2,
        leakage_uW=component.leakage_uW,
        energy_fJ={action: float(per_layer[0]) for action, per_layer in component.action_fJ.items()},
        formula=component.formula,
        sources=tuple(technology.citation(key) for key in keys),
        weak=tuple(key for key in keys if technology.status(key) in ("doubted", "assumption")),
        latency_ns=component.latency_ns,
        notes=component.notes,
    )
