"""The machine as tables: units, queues, flows, and what a service costs.

``Program`` holds everything that does not depend on the spikes; ``phases.py`` binds it to measured activity.
docs/machine.md states the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import HardwareConfig
from .machine.capacity import far_end_depths
from .machine.flows import Flow, Hops, hop_trees, input_flow, layer_flows
from .machine.units import (
    KIND,
    NETWORK_INPUT,
    UNIT_KINDS,
    Queue,
    Unit,
    UnitKey,
    crossbar_units,
    home_units,
    input_units,
)
from .mapping.place import Router
from .mapping.tiles import Mapping
from .mapping.traffic import partial_sums
from .tables import END, QUEUE, ROUTE

IntArray = NDArray[np.int64]
__all__ = ["UNIT_KINDS", "Program", "compile_program"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Static tables of a mapped network on a design.

    Units are numbered by layer (the network input first), replica, tile, kind and PE or op; router outputs come
    last. Channels ascend by source and destination.

    Attributes:
        mapping, hw: what was compiled.
        unit_kind: (units,) position in ``UNIT_KINDS``.
        unit_layer: (units,) layer index, -1 for the network input and for router outputs.
        unit_replica: (units,) replica of the layer.
        unit_tile: (units,) tile number, -1 for the network input and for router outputs.
        unit_number: (units,) PE of the layer (read, convert, pe_accumulate); op of the layer (norm to pool, inject);
            of an interface that sends partial sums to tile t, -1 - t; else 0.
        unit_items: (units,) outputs of a PE's block, sums of a bus or tile accumulator token, outputs of a
            packet, neurons of an op's token, bits of an input or global buffer token; 0 for fetch and link.
        unit_flits: (units,) flits of an interface's packet, else 0.
        unit_links: (units,) router outputs that an interface's packet passes (multicast tree), else 0.
        base_cycles: (units,) service cycles of a token that do not depend on activity or step; of units whose
            service depends on activity, that of a fully driven token.
        plane_cycles: (units,) cycles of one driven plane (read, convert), else 0.
        step_cycles: (units, T) service cycles added at each step (partial sums of other tiles, held sums,
            membrane memory), else 0.
        link_routers: router pair of each router output, in unit order.
        channel_src, channel_dst: (channels,) unit numbers; of an ``END`` its flow's interface and the taker.
        channel_kind: (channels,) ``QUEUE``, ``ROUTE`` or ``END``.
        channel_depth: (channels,) slots.
        channel_hop: (channels,) hop that delivers to an ``END``, else -1.
        hop_unit: (hops,) interface or router output that serves a packet on this hop.
        hop_inject: (hops,) interface of its flow.
        hop_parent: (hops,) hop before it, -1 at a root; a parent has a lower number.
        hop_channel: (hops,) ``ROUTE`` channel into ``hop_unit``, -1 at a root.
    """

    mapping: Mapping
    hw: HardwareConfig
    unit_kind: IntArray
    unit_layer: IntArray
    unit_replica: IntArray
    unit_tile: IntArray
    unit_number: IntArray
    unit_items: IntArray
    unit_flits: IntArray
    unit_links: IntArray
    base_cycles: IntArray
    plane_cycles: IntArray
    step_cycles: IntArray
    link_routers: tuple[tuple[Router, Router], ...]
    channel_src: IntArray
    channel_dst: IntArray
    channel_kind: IntArray
    channel_depth: IntArray
    channel_hop: IntArray
    hop_unit: IntArray
    hop_inject: IntArray
    hop_parent: IntArray
    hop_channel: IntArray

    @property
    def n_units(self) -> int:
        """Units of the chip that take part."""
        return int(self.unit_kind.size)

    @property
    def n_links(self) -> int:
        """Router outputs that any flow passes."""
        return len(self.link_routers)

    def units_of(self, kind: str, layer: int | None = None) -> IntArray:
        """Numbers of the units of a kind, of one layer or of all."""
        found = self.unit_kind == KIND[kind]
        return np.flatnonzero(found if layer is None else found & (self.unit_layer == layer))

    def unit_name(self, unit: int) -> str:
        """Readable name, e.g. ``conv2/tile3/read5``, ``input/global_buffer``, ``noc/(0,1)-(1,1)``."""
        kind = UNIT_KINDS[int(self.unit_kind[unit])]
        if kind == "link":
            (ax, ay), (bx, by) = self.link_routers[unit - (self.n_units - self.n_links)]
            return f"noc/({ax},{ay})-({bx},{by})"
        layer, number = int(self.unit_layer[unit]), int(self.unit_number[unit])
        if layer == NETWORK_INPUT:
            return kind if kind == "input" else f"input/{kind}"
        mapped = self.mapping.layers[layer]
        where = f"{mapped.layer.name}/tile{int(self.unit_tile[unit])}"
        if kind == "inject":
            sent = f"sums-to-tile{-1 - number}" if number < 0 else mapped.layer.ops[number].kind
            return f"{where}/inject-{sent}"
        if KIND[kind] in (KIND["read"], KIND["convert"], KIND["pe_accumulate"]):
            return f"{where}/{kind}{number}"
        alike = [op for op in mapped.layer.ops if op.kind == mapped.layer.ops[number].kind]
        return f"{where}/{kind}{number}" if KIND[kind] >= KIND["norm"] and len(alike) > 1 else f"{where}/{kind}"


def compile_program(mapping: Mapping, hw: HardwareConfig) -> Program:
    """Units, queues, flows and service times of a mapped network; formulas in docs/machine.md.

    Raises:
        MappingError: ``layer_pipelined`` with an input buffer smaller than a receptive field.
    """
    units, queues, flows = _collect(mapping, hw)
    units.sort(key=lambda unit: unit.key)
    hops = hop_trees(mapping, flows)
    links = sorted({link for link in hops.link if link is not None})
    number = {unit.key: i for i, unit in enumerate(units)}
    link_unit = {link: len(units) + i for i, link in enumerate(links)}
    hop_unit = np.array(
        [
            number[flows[flow].inject.key] if link is None else link_unit[link]
            for flow, link in zip(hops.flow, hops.link, strict=True)
        ],
        dtype=np.int64,
    )
    channels, hop_channel, channel_hop = _channels(queues, flows, hops, number, hop_unit)
    tables = _unit_columns(mapping, units, flows, hops, number, len(links))
    program = Program(
        mapping=mapping,
        hw=hw,
        **tables,
        link_routers=tuple(links),
        channel_src=channels[:, 0].copy(),
        channel_dst=channels[:, 1].copy(),
        channel_kind=channels[:, 2].copy(),
        channel_depth=np.where(channels[:, 2] == ROUTE, hw.noc.buffer_packets, hw.tile.fifo_depth),
        channel_hop=channel_hop,
        hop_unit=hop_unit,
        hop_inject=np.array([number[flows[flow].inject.key] for flow in hops.flow], dtype=np.int64),
        hop_parent=np.array(hops.parent, dtype=np.int64),
        hop_channel=hop_channel,
    )
    _set_depths(program, number)
    return program


def _collect(mapping: Mapping, hw: HardwareConfig) -> tuple[list[Unit], list[Queue], list[Flow]]:
    units, queues = input_units(mapping, hw)
    flows = [input_flow(mapping, hw, units.pop())]
    for mapped in mapping.layers:
        for replica in range(mapped.n_replicas):
            for tile in mapped.tiles_of(replica):
                more, between = crossbar_units(mapped, hw, replica, tile)
                units += more
                queues += between
            sums = partial_sums(mapped, replica)
            for home in mapped.home_tiles_of(replica):
                foreign = sum(outputs for (_, target), outputs in sums.items() if target == home)
                more, between = home_units(mapping, hw, mapped, replica, home, foreign)
                units += more
                queues += between
            flows += layer_flows(mapping, hw, mapped, replica)
    units += [flow.inject for flow in flows]
    queues += [flow.queue for flow in flows if flow.queue is not None]
    return units, queues, flows


def _channels(
    queues: list[Queue], flows: list[Flow], hops: Hops, number: dict[UnitKey, int], hop_unit: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """(channels, 3) source, destination, kind, ascending; channel of each hop; hop of each channel."""
    found = {(number[queue.src], number[queue.dst], QUEUE): -1 for queue in queues}
    routes = [
        (int(hop_unit[parent]), int(hop_unit[hop]), ROUTE) if parent >= 0 else None
        for hop, parent in enumerate(hops.parent)
    ]
    found |= {route: -1 for route in routes if route is not None}
    for (flow, delivery), hop in hops.of_delivery.items():
        inject = number[flows[flow].inject.key]
        found[inject, number[flows[flow].deliveries[delivery].dst], END] = hop
    ordered = sorted(found)
    position = {key: i for i, key in enumerate(ordered)}
    hop_channel = np.array([-1 if route is None else position[route] for route in routes], dtype=np.int64)
    channel_hop = np.array([found[key] for key in ordered], dtype=np.int64)
    return np.array(ordered, dtype=np.int64), hop_channel, channel_hop


def _unit_columns(
    mapping: Mapping, units: list[Unit], flows: list[Flow], hops: Hops, number: dict[UnitKey, int], n_links: int
) -> dict[str, IntArray]:
    n_computing = len(units)
    n = n_computing + n_links

    def column(values: list[int], rest: int) -> IntArray:
        return np.array(values + [rest] * n_links, dtype=np.int64)

    links = np.zeros(n, dtype=np.int64)
    for flow, link in zip(hops.flow, hops.link, strict=True):
        links[number[flows[flow].inject.key]] += link is not None
    steps = np.zeros((n, mapping.network.n_timesteps), dtype=np.int64)
    for row, unit in enumerate(units):
        steps[row] = unit.step
    return {
        "unit_kind": column([unit.key.kind for unit in units], KIND["link"]),
        "unit_layer": column([unit.key.layer for unit in units], NETWORK_INPUT),
        "unit_replica": column([unit.key.replica for unit in units], 0),
        "unit_tile": column([unit.key.tile for unit in units], -1),
        "unit_number": column([unit.key.number for unit in units], 0),
        "unit_items": column([unit.items for unit in units], 0),
        "unit_flits": column([unit.flits for unit in units], 0),
        "unit_links": links,
        "base_cycles": column([unit.base for unit in units], 0),
        "plane_cycles": column([unit.plane for unit in units], 0),
        "step_cycles": steps,
    }


def _set_depths(program: Program, number: dict[UnitKey, int]) -> None:
    """Slots that are not those of ``tile.fifo_depth``: global buffer, streams between layers."""
    slots = program.hw.global_buffer.slots
    program.channel_depth[program.channel_src == number[UnitKey(NETWORK_INPUT, 0, -1, KIND["input"])]] = slots
    if program.hw.dataflow.order == "layer_pipelined":
        for channel, depth in far_end_depths(program).items():
            program.channel_depth[channel] = depth
