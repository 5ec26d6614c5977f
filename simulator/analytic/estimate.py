"""Cycles and action counts of designs in closed form, without a mapping, a program or a clock (docs/analytic.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..cycle.actions import ACTIONS
from ..errors import MappingError
from ..kernels.analytic import estimate_designs
from ..kernels.analytic_counts import NAMES
from ..kernels.analytic_tiles import DESIGN, Tables
from ..mapping.replicate import balance, footprint
from ..mapping.tiles import MAX_PES
from .measured import N_MEASURED, MeasuredLayer
from .summary import NetworkSummary

Array = NDArray[np.float64]

_SKIPPING = {"none": 0, "vector": 1, "row_group": 2}
#: Actions that depend on where tiles lie on the mesh: estimated, the others are exact or expectations.
PLACED_ACTIONS = ("input_flit_hops", "psum_flit_hops", "spike_flit_hops")


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """Estimated cycles of one image on one design.

    Attributes:
        latency_cycles: from an image's first input to its last output, chip otherwise empty.
        interval_cycles: spacing of the outputs of many images (``layer_sequential``: the latency).
        layer_cycles: (layers,) cycles of a layer's phases; in ``layer_pipelined`` the work of its slowest unit, an
            image (it overlaps with that of other layers).
        input_cycles: the same of the network input.
        lower_bound_cycles: work of the busiest unit (between barriers), so of latency and interval alike.
        upper_bound_cycles: every service of every unit, one after the other.
        unclipped_cycles: the latency before it was held between the bounds.
        action_counts: action -> (layers,) counts of an image, expected under the densities.
    """

    latency_cycles: float
    interval_cycles: float
    layer_cycles: Array
    input_cycles: float
    lower_bound_cycles: float
    upper_bound_cycles: float
    unclipped_cycles: float
    action_counts: dict[str, Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """Estimates of many designs on one network, one row each; nan where the network does not fit the chip.

    Attributes:
        latency_cycles, interval_cycles, lower_bound_cycles, upper_bound_cycles, unclipped_cycles: (designs,).
        layer_cycles: (designs, 1 + layers), the network input first.
        action_counts: (designs, layers, actions) in the order of ``ACTION_ORDER``.
        replicas: (designs, layers) copies of each layer's weights.
        placed: (designs, 1 + layers, 3), exact: tiles of the chip, tiles that hold weights, and PE slots up to the
            last weight; then of each layer its tiles, home tiles and PEs. Also where the chip is too small.
    """

    latency_cycles: Array
    interval_cycles: Array
    lower_bound_cycles: Array
    upper_bound_cycles: Array
    unclipped_cycles: Array
    layer_cycles: Array
    action_counts: Array
    replicas: NDArray[np.int64]
    placed: NDArray[np.int64]


ACTION_ORDER: tuple[str, ...] = tuple(NAMES)


def estimate(
    network: NetworkSummary, hw: HardwareConfig, measured: Mapping[str, MeasuredLayer] | None = None
) -> Estimate:
    """Estimate of one design.

    Args:
        network: from ``summarise``.
        hw: the design.
        measured: layer -> what ``measure`` found in a real activity on the same crossbars; else the densities hold.

    Raises:
        MappingError: the network does not fit ``chip.tiles``.
    """
    many = estimate_many(network, [hw], measured)
    if np.isnan(many.latency_cycles[0]):
        raise MappingError(
            f"{hw.name}: the weights do not fit chip.tiles={hw.chip.tiles}; give more tiles, or leave it out"
        )
    return Estimate(
        latency_cycles=float(many.latency_cycles[0]),
        interval_cycles=float(many.interval_cycles[0]),
        layer_cycles=many.layer_cycles[0, 1:],
        input_cycles=float(many.layer_cycles[0, 0]),
        lower_bound_cycles=float(many.lower_bound_cycles[0]),
        upper_bound_cycles=float(many.upper_bound_cycles[0]),
        unclipped_cycles=float(many.unclipped_cycles[0]),
        action_counts={action: many.action_counts[0, :, ACTION_ORDER.index(action)] for action in ACTIONS},
    )


def estimate_many(
    network: NetworkSummary, designs: Sequence[HardwareConfig], measured: Mapping[str, MeasuredLayer] | None = None
) -> Estimates:
    """Estimates of many designs at once, one after the other in one thread."""
    n, n_layers = len(designs), len(network.layers)
    rows = np.array([_row(hw) for hw in designs], dtype=DESIGN)
    replicas = np.array([_replicas(network, hw) for hw in designs], dtype=np.int64).reshape(n, n_layers)
    given = np.full((n_layers, N_MEASURED), np.nan)
    for i, layer in enumerate(network.layers):
        if measured is not None and layer.name in measured:
            given[i] = measured[layer.name]
    cycles, totals = np.zeros((n, 1 + n_layers)), np.zeros((n, 6))
    counts = np.zeros((n, n_layers, len(ACTION_ORDER)))
    placed = np.zeros((n, 1 + n_layers, 3), dtype=np.int64)
    estimate_designs(rows, replicas, given, network.n_timesteps, _tables(network), cycles, totals, counts, placed)
    return Estimates(
        latency_cycles=totals[:, 0],
        interval_cycles=totals[:, 1],
        lower_bound_cycles=totals[:, 2],
        upper_bound_cycles=totals[:, 3],
        unclipped_cycles=totals[:, 5],
        layer_cycles=cycles,
        action_counts=counts,
        replicas=replicas,
        placed=placed,
    )


def _tables(network: NetworkSummary) -> Tables:
    return Tables(
        layer=network.layer,
        op=network.op,
        residual_bits=network.residual_bits,
        reader_start=network.reader_start,
        reader_layer=network.reader_layer,
        reader_op=network.reader_op,
        columns=network.columns,
        inside=network.inside,
        density=network.density,
        nonzero=network.nonzero,
    )


def _replicas(network: NetworkSummary, hw: HardwareConfig) -> list[int]:
    """As ``map_network`` chooses them."""
    if hw.dataflow.replication == "none" or hw.chip.tiles is None:
        return [1] * len(network.layers)
    footprints = [footprint(layer, hw, network.n_timesteps) for layer in network.layers]
    return balance(footprints, hw, min(hw.chip.tiles, MAX_PES // hw.tile.pes_per_tile))


def _row(hw: HardwareConfig) -> tuple[int, ...]:
    """Fields of ``DESIGN``."""
    crossbar, tile, noc, flow, memory = hw.crossbar, hw.tile, hw.noc, hw.dataflow, hw.neuron.memory
    width, height = noc.mesh or (0, 0)
    return (
        crossbar.rows,
        crossbar.cols,
        crossbar.rows_per_read,
        hw.adc.columns_per_adc,
        int(hw.adc.sample_and_hold),
        crossbar.cell_bits,
        int(crossbar.scheme == "offset"),
        int(crossbar.dummy_column),
        tile.pes_per_tile,
        tile.crossbars_per_pe,
        tile.input_bus_bits,
        tile.pe_accumulator_lanes,
        tile.output_bus_bits,
        tile.accumulator_lanes,
        tile.fifo_depth,
        int(tile.sharing == "exclusive"),
        hw.neuron.lanes,
        memory.word_bits,
        memory.banks * memory.ports,
        hw.global_buffer.bus_bits,
        hw.global_buffer.slots,
        noc.flit_bits,
        noc.header_bits,
        noc.router_cycles,
        noc.buffer_packets,
        noc.input_bits_per_cycle,
        width,
        height,
        int(noc.placement == "row_major"),
        tile.input_buffer_positions or 0,
        hw.chip.tiles or 0,
        int(flow.order == "layer_pipelined"),
        int(flow.loop == "layer_major"),
        _SKIPPING[flow.zero_skipping],
        flow.skip_cycles,
    )
