"""The figures of merit of one network on one design; definitions in docs/model.md, "Metrics"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Share of right answers on ``n`` images, with a 95 % Wilson interval; ``value`` None without data."""

    value: float | None
    n: int
    ci95: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentMetrics:
    """Share of one component: energy per inference (leakage included), area, how many, busy lane cycles."""

    energy_fJ: float
    area_um2: float
    count: int
    busy_cycles: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerMetrics:
    """Share of one layer, or of what all layers share (``name`` = "shared")."""

    name: str
    energy_fJ: float
    area_um2: float
    cycles: int
    n_crossbars: int
    n_tiles: int
    dense_ops: int
    sops: int
    adc_lsb: int
    clipped_fraction: float
    input_density: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Everything that a design is judged by; energy, latency and area of one inference.

    ``energy_fJ`` and ``area_um2`` are ``math.fsum`` of the parts in ``by_component`` and, each, in
    ``by_layer``; ``sum(cycles of by_layer) == cycles``.
    """

    network: str
    hardware: str
    seed: int
    accuracy: Accuracy
    energy_fJ: float
    latency_ns: float
    interval_ns: float
    area_um2: float
    edap_J_s_mm2: float
    edap_interval_J_s_mm2: float
    tops: float
    tops_per_W: float
    tops_per_mm2: float
    dense_ops: int
    sops: int
    cycles: int
    by_component: dict[str, ComponentMetrics]
    by_layer: tuple[LayerMetrics, ...]
    sources: tuple[str, ...]
    warnings: tuple[str, ...]
