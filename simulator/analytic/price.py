"""Energy, area and latency of designs in closed form: estimated cycles and counts times the cost library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import HardwareConfig
from ..cost.library import price_workload
from ..cost.sizes import LayerPlace, placed_sizes
from ..cost.technology import Technology
from ..cost.workload import Workload, sized_workload, workload_of
from ..errors import ConfigError, MappingError
from ..mapping.slices import slice_scheme
from ..mapping.tiles import MAX_PES, map_network
from ..network.graph import Network
from .estimate import ACTION_ORDER, Estimates, estimate_many
from .summary import NetworkSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalyticCost:
    """Figures of merit of one design, estimated; definitions in docs/model.md, "Metrics"."""

    energy_fJ: float
    latency_ns: float
    interval_ns: float
    area_um2: float
    edap_J_s_mm2: float
    edap_interval_J_s_mm2: float
    tops: float
    tops_per_W: float
    tops_per_mm2: float
    cycles: int


def price_many(
    network: Network, summary: NetworkSummary, designs: Sequence[HardwareConfig], technology: Technology
) -> tuple[AnalyticCost | str, ...]:
    """Cost of each design under the densities of ``summary``, or the sentence that says why it has none.

    The area is that of ``measure`` exactly. Energy and times are expectations (docs/analytic.md). ``layer_pipelined``
    designs are mapped one by one for the slots of their streams, which takes a hundred times longer.

    Args:
        network: quantised network.
        summary: ``summarise`` of the same network.
        designs: designs; their own ``technology`` is not read.
        technology: prices.
    """
    found = estimate_many(summary, designs)
    dense_ops = sum(2 * layer.n_macs * (1 if layer.input.static else summary.n_timesteps) for layer in summary.layers)
    results: list[AnalyticCost | str] = []
    for i, hw in enumerate(designs):
        try:
            work = _workload(network, summary, hw, found, i)
            results.append(_cost(work, hw, technology, found, i, dense_ops))
        except (ConfigError, MappingError) as error:
            results.append(str(error))
    return tuple(results)


def _workload(network: Network, summary: NetworkSummary, hw: HardwareConfig, found: Estimates, i: int) -> Workload:
    n_chip_tiles, n_tiles, n_slots = (int(number) for number in found.placed[i, 0])
    if np.isnan(found.latency_cycles[i]):
        raise MappingError(f"the weights need {n_tiles} tiles and chip.tiles is {hw.chip.tiles}; give more tiles")
    if n_slots > MAX_PES:
        raise MappingError(f"the weights need {n_slots} PEs, at most {MAX_PES} are simulated; use larger crossbars")
    if hw.noc.mesh is not None and n_chip_tiles > hw.noc.mesh[0] * hw.noc.mesh[1]:
        raise MappingError(f"noc.mesh={list(hw.noc.mesh)} has fewer routers than the {n_chip_tiles} tiles; enlarge it")
    if hw.dataflow.order == "layer_pipelined":
        return workload_of(map_network(network, hw, exact=False), hw)
    crossbar = hw.crossbar
    places = [
        LayerPlace(
            layer=layer,
            scheme=slice_scheme(
                layer.weight_bits, layer.weight_scheme, crossbar.cell_bits, crossbar.scheme, crossbar.dummy_column
            ),
            n_replicas=int(found.replicas[i, number]),
            n_tiles=int(found.placed[i, 1 + number, 0]),
            n_homes=int(found.placed[i, 1 + number, 1]),
            n_pes=int(found.placed[i, 1 + number, 2]),
        )
        for number, layer in enumerate(summary.layers)
    ]
    return sized_workload(placed_sizes(network.input, summary.n_timesteps, places, n_chip_tiles), hw)


def _cost(
    work: Workload, hw: HardwareConfig, technology: Technology, found: Estimates, i: int, dense_ops: int
) -> AnalyticCost:
    latency_ns, interval_ns = (
        float(found.latency_cycles[i]) * hw.cycle_ns,
        float(found.interval_cycles[i]) * hw.cycle_ns,
    )
    energies, areas = [], []
    for component in price_workload(work, hw, technology):
        energies.append(component.leakage_uW * interval_ns)  # uW x ns = fJ
        areas.append(component.area_um2)
        for action, per_count_fJ in component.action_fJ.items():
            energies.append(float(found.action_counts[i, :, ACTION_ORDER.index(action)] @ per_count_fJ))
    energy, area = math.fsum(energies), math.fsum(areas)
    tops = dense_ops / (interval_ns * 1000.0)
    return AnalyticCost(
        energy_fJ=energy,
        latency_ns=latency_ns,
        interval_ns=interval_ns,
        area_um2=area,
        # fJ x ns x um2 = 1e-15 J x 1e-9 s x 1e-6 mm2
        edap_J_s_mm2=(energy * 1e-15) * (latency_ns * 1e-9) * (area * 1e-6),
        edap_interval_J_s_mm2=(energy * 1e-15) * (interval_ns * 1e-9) * (area * 1e-6),
        tops=tops,
        tops_per_W=dense_ops / energy * 1000.0,
        tops_per_mm2=tops / (area * 1e-6),
        cycles=math.floor(float(found.latency_cycles[i]) + 0.5),
    )
