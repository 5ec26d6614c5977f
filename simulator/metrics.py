"""The figures of merit of one network on one design; definitions in docs/model.md, "Metrics"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells.base import CellModel
from .config import HardwareConfig
from .cost.library import COMPONENTS
from .cost.provenance import citations, price_notes, weak_numbers
from .cost.technology import Technology
from .cycle.actions import ACTIONS
from .cycle.path import Bottleneck
from .cycle.trace import Trace
from .errors import SimulationError
from .functional.activity import Activity
from .mapping.tiles import MappedLayer, Mapping
from .pricing import Bill, price_run
from .program import UNIT_KINDS, Program
from .usage import AdcUse, LifMetrics
from .wires.config import WiresConfig

IntArray = NDArray[np.int64]

#: Unit kind of the clock -> component whose busy cycles it counts.
UNIT_COMPONENT: dict[str, str] = {
    "input": "input_load",
    "global_buffer": "global_buffer",
    "fetch": "input_buffer",
    "read": "crossbar",
    "convert": "adc",
    "pe_accumulate": "pe_accumulator",
    "bus": "tile_bus",
    "tile_accumulate": "tile_accumulator",
    "norm": "batch_norm",
    "add": "residual_adder",
    "membrane": "membrane_memory",
    "neuron": "neuron",
    "pool": "pooling",
    "inject": "noc",
    "link": "noc",
}

SCHEMA = 1
_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


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
class PartMetrics:
    """Share of one component in one layer: energy per inference (leakage included) and area."""

    energy_fJ: float
    area_um2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerMetrics:
    """Share of one layer, or of what all layers share (``name`` = "shared").

    ``adc_lsb`` and ``adc_lsb_min`` are the largest and smallest lsb of its ADCs in unit-cell counts,
    ``clipped_fraction`` the share of conversions that clipped, ``clipped_worst`` that of its worst crossbar.
    ``cycles`` of "shared" are the input load and whatever passes between the layers' phases; ``dense_ops``
    and ``sops`` of "shared" are 0, as are its ADC and density figures. ``by_component`` holds what each component
    spends on the layer; components without a part in it are left out.
    """

    name: str
    energy_fJ: float
    area_um2: float
    cycles: int
    n_crossbars: int
    n_tiles: int
    dense_ops: int
    sops: int
    adc_lsb: int
    adc_lsb_min: int
    clipped_fraction: float
    clipped_worst: float
    input_density: float
    by_component: dict[str, PartMetrics]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Everything that a design is judged by; energy, latency and area of one inference.

    ``energy_fJ`` and ``area_um2`` are ``math.fsum`` of the parts in ``by_component``, of those in ``by_layer``, and of
    all cells of the two; ``sum(cycles of by_layer) == cycles``. ``critical_path`` says at which unit of which layer
    the cycles of the whole run were spent; it is empty if the path was not walked. ``by_lif`` is empty if spikes were
    drawn at random. Over several images all figures are means; ``cycles``, ``sops`` and the busy cycles are rounded
    to whole numbers.
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
    by_lif: tuple[LifMetrics, ...]
    critical_path: tuple[Bottleneck, ...]
    sources: tuple[str, ...]
    warnings: tuple[str, ...]


def measure(
    trace: Trace,
    mapping: Mapping,
    hw: HardwareConfig,
    technology: Technology,
    *,
    program: Program,
    activity: Activity,
    accuracy: Accuracy,
    seed: int,
    adc_use: Sequence[AdcUse],
    by_lif: Sequence[LifMetrics] = (),
) -> Metrics:
    """Metrics of a run: cycles and action counts times the cost library.

    Args:
        trace: what the clock counted.
        mapping: the network on its tiles.
        hw: design.
        technology: prices.
        program: the tables that the clock ran; says which unit belongs to which component.
        activity: driven rows of the same images.
        accuracy: of the functional run.
        seed: for the record.
        adc_use: (layers,) ranges of the ADCs and what they clipped.
        by_lif: use of the membranes; empty if no membrane was computed.

    Raises:
        ConfigError: an ADC that the technology lacks, or one outside the validity of its fit.
        SimulationError: a trace of another network, or without images.
    """
    _check_trace(trace, mapping, activity)
    bill = price_run(trace, mapping, hw, technology, program=program, activity=activity)
    by_component = _by_component(bill, _busy_cycles(program, trace))
    by_layer = _by_layer(mapping, activity, trace, bill, adc_use)
    dense_ops = sum(layer.dense_ops for layer in by_layer)
    energy, area, interval_ns = bill.total_energy_fJ, bill.total_area_um2, bill.interval_ns
    tops = dense_ops / (interval_ns * 1000.0)
    return Metrics(
        network=mapping.network.name,
        hardware=hw.name,
        seed=seed,
        accuracy=accuracy,
        energy_fJ=energy,
        latency_ns=bill.latency_ns,
        interval_ns=interval_ns,
        area_um2=area,
        edap_J_s_mm2=bill.edap_J_s_mm2,
        edap_interval_J_s_mm2=(energy * 1e-15) * (interval_ns * 1e-9) * (area * 1e-6),
        tops=tops,
        tops_per_W=dense_ops / energy * 1000.0,
        tops_per_mm2=tops / (area * 1e-6),
        dense_ops=dense_ops,
        sops=sum(layer.sops for layer in by_layer),
        cycles=sum(layer.cycles for layer in by_layer),
        by_component=by_component,
        by_layer=by_layer,
        by_lif=tuple(by_lif),
        critical_path=trace.path.bottlenecks() if trace.path is not None else (),
        sources=(*citations(bill.components, technology), *device_sources(hw)),
        warnings=(
            *price_notes(bill.components),
            *weak_numbers(bill.components, [part.energy_fJ for part in by_component.values()], interval_ns, technology),
        ),
    )


def device_sources(hw: HardwareConfig) -> tuple[str, ...]:
    """Where the numbers of cells and wires come from."""
    named = (("crossbar.cell", hw.crossbar.cell), ("crossbar.wires", hw.crossbar.wires))
    return tuple(f"{key}: {spec.source}" for key, spec in named if isinstance(spec, CellModel | WiresConfig))


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share when ``k`` of ``n`` succeeded.

    Source: Wilson, JASA 22 (1927), Eq. 7.

    Raises:
        ValueError: not 0 <= k <= n with n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"wilson_interval: got k={k}, n={n}; allowed 0 <= k <= n and n >= 1")
    share, z2 = k / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # The bounds at k = 0 and k = n are exactly 0 and 1; rounding must not move them.
    return (0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def paired_interval(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> tuple[float, float]:
    """95 % interval of accuracy(a) - accuracy(b) on the same images.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635, method 10 (Wilson bounds with the phi
    coefficient); unlike the plain normal interval it has width even when a and b never differ.

    Raises:
        ValueError: different lengths, or no images.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"paired_interval: got shapes {a.shape} and {b.shape}; give one answer per image for both")
    n = a.size
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    neither = n - both - only_a - only_b
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n)
    low_b, high_b = wilson_interval(both + only_b, n)
    phi = _phi(both, only_a, only_b, neither)
    below = _root(share_a - low_a, high_b - share_b, phi)
    above = _root(high_a - share_a, share_b - low_b, phi)
    return (share_a - share_b - below, share_a - share_b + above)


def _root(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Correlation of the two answers, continuity corrected as in Newcombe's method 10."""
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if product == 0:
        return 0.0
    n = both + only_a + only_b + neither
    cross = both * neither - only_a * only_b
    return (max(cross - n / 2, 0.0) if cross > 0 else float(cross)) / math.sqrt(product)


def to_json(metrics: Metrics) -> dict[str, Any]:
    """The object that ``spikeloop simulate --json`` prints."""
    return {"schema": SCHEMA, **asdict(metrics)}


def _check_trace(trace: Trace, mapping: Mapping, activity: Activity) -> None:
    n_layers = len(mapping.layers)
    missing = sorted(ACTIONS.keys() - trace.action_counts.keys())
    if missing:
        raise SimulationError(f"measure: the trace has no counts of {', '.join(missing)}; every action must be counted")
    seen = {counts.size for counts in trace.action_counts.values()} | {len(activity.layers)}
    if trace.n_images < 1 or seen != {n_layers}:
        raise SimulationError(
            f"measure: network {mapping.network.name} has {n_layers} layers; got {trace.n_images} images with counts "
            f"and activity of {sorted(seen)} layers; run the clock on this mapping"
        )


def _busy_cycles(program: Program, trace: Trace) -> dict[str, int]:
    """Busy lane cycles of one inference by component, rounded."""
    by_kind = np.bincount(program.unit_kind, weights=trace.busy, minlength=len(UNIT_KINDS))
    busy = dict.fromkeys(COMPONENTS, 0.0)
    for kind, cycles in zip(UNIT_KINDS, by_kind, strict=True):
        busy[UNIT_COMPONENT[kind]] += float(cycles) / trace.n_images
    return {name: round(cycles) for name, cycles in busy.items()}


def _by_component(bill: Bill, busy: dict[str, int]) -> dict[str, ComponentMetrics]:
    return {
        component.name: ComponentMetrics(
            energy_fJ=math.fsum(bill.energy_fJ[i]),
            area_um2=math.fsum(bill.area_um2[i]),
            count=component.count,
            busy_cycles=busy[component.name],
        )
        for i, component in enumerate(bill.components)
    }


def _parts(bill: Bill, column: int) -> dict[str, PartMetrics]:
    """What each component spends on one layer; components that have no part in it are left out."""
    cells = zip(bill.components, bill.energy_fJ[:, column], bill.area_um2[:, column], strict=True)
    return {
        component.name: PartMetrics(energy_fJ=float(energy_fJ), area_um2=float(area_um2))
        for component, energy_fJ, area_um2 in cells
        if energy_fJ or area_um2
    }


def _by_layer(
    mapping: Mapping, activity: Activity, trace: Trace, bill: Bill, adc_use: Sequence[AdcUse]
) -> tuple[LayerMetrics, ...]:
    cycles = _layer_cycles(trace)
    rows = [
        LayerMetrics(
            name=mapped.layer.name,
            energy_fJ=math.fsum(bill.energy_fJ[:, i]),
            area_um2=math.fsum(bill.area_um2[:, i]),
            cycles=cycles[i],
            n_crossbars=mapped.n_crossbars,
            n_tiles=len(mapped.tiles),
            dense_ops=2 * mapped.layer.n_macs * _runs(mapping, i),
            sops=round(_sops(mapped, activity, i)),
            adc_lsb=2 ** adc_use[i].shift_max,
            adc_lsb_min=2 ** adc_use[i].shift_min,
            clipped_fraction=adc_use[i].clipped_fraction,
            clipped_worst=adc_use[i].clipped_worst,
            input_density=_input_density(mapped, activity, i),
            by_component=_parts(bill, i),
        )
        for i, mapped in enumerate(mapping.layers)
    ]
    shared = LayerMetrics(
        name="shared",
        energy_fJ=math.fsum(bill.energy_fJ[:, -1]),
        area_um2=math.fsum(bill.area_um2[:, -1]),
        cycles=cycles[-1],
        n_crossbars=0,
        n_tiles=0,
        dense_ops=0,
        sops=0,
        adc_lsb=0,
        adc_lsb_min=0,
        clipped_fraction=0.0,
        clipped_worst=0.0,
        input_density=0.0,
        by_component=_parts(bill, -1),
    )
    return (*rows, shared)


def _layer_cycles(trace: Trace) -> list[int]:
    """Whole cycles of each layer and, last, of input load and gaps; their sum is the rounded latency.

    With barriers a layer owns its phases; without, its share of the critical path of the run.
    """
    if trace.path is not None and trace.path.overlapped:
        path = trace.path.layer_cycles()
        ends = np.cumsum(path) * (trace.latency_cycles / int(path.sum()))
        ends[-1] = trace.latency_cycles
    else:
        # In layer_major the steps of a layer are one phase, recorded at each of them: count it once.
        new = np.ones(trace.phase_start.shape, dtype=np.bool_)
        new[:, 1:] = trace.phase_start[:, 1:] != trace.phase_start[:, :-1]
        spans = ((trace.phase_end - trace.phase_start) * new).sum(axis=(0, 1))
        ends = np.append(np.cumsum(spans) / trace.n_images, trace.latency_cycles)
    # Rounding the running sums keeps the sum of the parts whole.
    rounded = [math.floor(end + 0.5) for end in ends]
    return [b - a for a, b in zip([0, *rounded[:-1]], rounded, strict=True)]


def _runs(mapping: Mapping, index: int) -> int:
    return 1 if mapping.layers[index].layer.input.static else mapping.network.n_timesteps


def _sops(mapped: MappedLayer, activity: Activity, index: int) -> float:
    """Active input bits x outputs that they reach, before slicing, per image."""
    layer = activity.layers[index]
    driven = int(layer.active_rows.sum(dtype=np.int64))
    return driven * mapped.layer.n_outputs / int(layer.active_rows.shape[0])


def _input_density(mapped: MappedLayer, activity: Activity, index: int) -> float:
    """Share of the input bits that are 1."""
    ones = activity.layers[index].input_ones
    c, h, w = mapped.layer.in_shape
    return float(ones.sum()) / (ones.size * c * h * w * mapped.layer.input.bits)
