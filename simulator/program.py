"""The machine as tables: units, queues, and the work of every phase.

``Program`` is what the clock runs: struct-of-arrays tables that the Numba engine and the naive twin both
read. Everything with a formula is computed once: unit times here, the tokens of a phase in ``phases.py``;
docs/machine.md states the formulas.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import HardwareConfig
from .mapping.lower import LoweredLayer
from .mapping.tiles import MappedLayer, Mapping, Pe

IntArray = NDArray[np.int64]

#: Unit kinds in the order of a work item; the position is the code in ``Program.unit_kind``.
UNIT_KINDS: tuple[str, ...] = (
    "fetch",
    "read",
    "convert",
    "accumulate",
    "psum_link",
    "neuron",
    "pool",
    "spike_link",
)


class PhaseTables(NamedTuple):
    """One barrier-to-barrier piece of work: a small dataflow graph and its tokens.

    Unit ``i`` of the phase is ``unit[i]`` of the program; channels likewise. Pattern tables hold repeated
    values: entry ``j`` of unit or channel ``i`` is ``values[start[i] + j % period[i]]``.

    Attributes:
        unit: (units,) program unit numbers, ascending (the only tie-breaker).
        lanes: (units,) tokens served at once.
        n_tokens: (units,) tokens of this phase.
        service_start, service_period: (units,) into ``service_values``, cycles >= 1 of each token.
        channel: (channels,) program channel numbers, ascending.
        src, dst: (channels,) positions in ``unit``.
        depth: (channels,) queue slots, >= 1.
        emit_start, emit_period: (channels,) into ``flag_values``: 1 where the source's token sends a copy.
        consume_start, consume_period: (channels,) into ``flag_values``: 1 where the destination's token
            takes the head of the queue.
    """

    unit: IntArray
    lanes: IntArray
    n_tokens: IntArray
    service_start: IntArray
    service_period: IntArray
    service_values: IntArray
    channel: IntArray
    src: IntArray
    dst: IntArray
    depth: IntArray
    emit_start: IntArray
    emit_period: IntArray
    consume_start: IntArray
    consume_period: IntArray
    flag_values: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Static tables of a mapped network on a design.

    Attributes:
        mapping, hw: what was compiled.
        unit_kind: (units,) position in ``UNIT_KINDS``.
        unit_layer: (units,) layer index.
        unit_tile: (units,) tile number (a link: its source tile).
        unit_pe: (units,) PE number inside the layer, -1 for units that are no PE.
        unit_lanes: (units,).
        unit_items: (units,) outputs of a PE's block, partial sums of an accumulate token, outputs of a
            partial-sum packet, neurons of a neuron, pool or spike token; 0 for fetch.
        unit_flits: (units,) flits of a link's packet, else 0.
        unit_links: (units,) mesh links that a link's packet crosses (multicast tree), else 0.
        channel_src, channel_dst: (channels,) program unit numbers; channels ascend by source, destination,
            and stay inside a layer.
        channel_depth: (channels,).
        base_cycles: (units,) service cycles of a token that do not depend on activity or step.
        plane_cycles: (units,) cycles of one driven plane (read, convert), else 0.
        step_cycles: (units, T) service cycles added at each step (partial sums of other tiles, membrane
            memory, held currents), else 0.
        input_load_cycles: cycles to bring one image onto the chip.
    """

    mapping: Mapping
    hw: HardwareConfig
    unit_kind: IntArray
    unit_layer: IntArray
    unit_tile: IntArray
    unit_pe: IntArray
    unit_lanes: IntArray
    unit_items: IntArray
    unit_flits: IntArray
    unit_links: IntArray
    channel_src: IntArray
    channel_dst: IntArray
    channel_depth: IntArray
    base_cycles: IntArray
    plane_cycles: IntArray
    step_cycles: IntArray
    input_load_cycles: int

    @property
    def n_units(self) -> int:
        """Units of the chip that take part."""
        return int(self.unit_kind.size)

    def unit_name(self, unit: int) -> str:
        """Readable name, e.g. ``conv2/tile3/read5``."""
        layer = self.mapping.layers[int(self.unit_layer[unit])].layer.name
        kind = UNIT_KINDS[int(self.unit_kind[unit])]
        pe = int(self.unit_pe[unit])
        return f"{layer}/tile{int(self.unit_tile[unit])}/{kind}{pe if pe >= 0 else ''}"


class _Unit(NamedTuple):
    """One row of the unit tables."""

    kind: str
    tile: int
    pe: int = -1
    lanes: int = 1
    items: int = 0
    flits: int = 0
    links: int = 0
    base: int = 0
    plane: int = 0
    step: IntArray | int = 0


class _Packet(NamedTuple):
    """A link's service: flits serialised behind the head's hops."""

    flits: int
    service: int
    lanes: int


def compile_program(mapping: Mapping, hw: HardwareConfig) -> Program:
    """Units, queues and service times of a mapped network; formulas in docs/machine.md."""
    layers = [_layer_units(mapping, hw, index) for index in range(len(mapping.layers))]
    units = [(index, unit) for index, (layer_units, _) in enumerate(layers) for unit in layer_units]
    first = np.cumsum([0] + [len(layer_units) for layer_units, _ in layers])
    channels = np.array(
        [(src + first[i], dst + first[i]) for i, (_, pairs) in enumerate(layers) for src, dst in pairs], dtype=np.int64
    )
    steps = np.zeros((len(units), mapping.network.n_timesteps), dtype=np.int64)
    for row, (_, unit) in enumerate(units):
        steps[row] = unit.step

    def column(name: str) -> IntArray:
        return np.array([getattr(unit, name) for _, unit in units], dtype=np.int64)

    return Program(
        mapping=mapping,
        hw=hw,
        unit_kind=np.array([UNIT_KINDS.index(unit.kind) for _, unit in units], dtype=np.int64),
        unit_layer=np.array([layer for layer, _ in units], dtype=np.int64),
        unit_tile=column("tile"),
        unit_pe=column("pe"),
        unit_lanes=column("lanes"),
        unit_items=column("items"),
        unit_flits=column("flits"),
        unit_links=column("links"),
        channel_src=channels[:, 0].copy(),
        channel_dst=channels[:, 1].copy(),
        channel_depth=np.full(len(channels), hw.tile.fifo_depth, dtype=np.int64),
        base_cycles=column("base"),
        plane_cycles=column("plane"),
        step_cycles=steps,
        input_load_cycles=_ceil(input_load_bits(mapping), hw.noc.input_bits_per_cycle),
    )


def input_load_bits(mapping: Mapping) -> int:
    """Bits of one image: every step's codes, or one set of codes if they are static."""
    node = mapping.network.input
    c, h, w = node.shape
    return c * h * w * node.bits * (1 if node.static else mapping.network.n_timesteps)


def memory_words(n_values: int, bits: int, hw: HardwareConfig) -> int:
    """Words of the neuron memory that hold ``n_values`` packed values of ``bits``."""
    return _ceil(n_values * bits, hw.neuron.memory.word_bits)


def consumer_of(mapping: Mapping, layer: LoweredLayer) -> MappedLayer | None:
    """Layer that receives a layer's spikes; None for the classifier."""
    return next((other for other in mapping.layers if other.layer.source == layer.index), None)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _packet(payload_bits: int, hops: int, hw: HardwareConfig) -> _Packet:
    flits = max(1, _ceil(hw.noc.header_bits + payload_bits, hw.noc.flit_bits))
    service = hops * hw.noc.router_cycles + flits
    # Rounded down: more lanes would carry more than one flit a cycle on the link.
    return _Packet(flits=flits, service=service, lanes=max(1, service // flits))


def _layer_units(mapping: Mapping, hw: HardwareConfig, index: int) -> tuple[list[_Unit], list[tuple[int, int]]]:
    """Units of one layer, by tile, kind and PE, and its channels as (source, destination) positions."""
    mapped = mapping.layers[index]
    pes: dict[int, list[Pe]] = defaultdict(list)
    for pe in mapped.pes:
        pes[pe.tile].append(pe)
    flows = _psum_flows(mapped)
    units: list[_Unit] = []
    for tile, tile_pes in sorted(pes.items()):
        units.append(_fetch_unit(mapped, hw, tile, tile_pes))
        units.extend(_pe_units(mapped, hw, tile_pes))
        sums = sum(mapped.blocks[pe.block].n_outputs for pe in tile_pes)
        units.append(_Unit("accumulate", tile, items=sums, base=_ceil(sums, hw.tile.accumulator_lanes)))
        for home, outputs in flows.get(tile, {}).items():
            hops = mapping.placement.hops(tile, home)
            packet = _packet(outputs * mapped.layer.psum_bits, hops, hw)
            # `pe` carries the home tile until the channels are made.
            units.append(_Unit("psum_link", tile, home, packet.lanes, outputs, packet.flits, hops, packet.service))
        units.extend(_home_units(mapping, hw, mapped, tile, flows))
    channels = _layer_channels(units)
    return [unit._replace(pe=-1) if unit.kind == "psum_link" else unit for unit in units], channels


def _psum_flows(mapped: MappedLayer) -> dict[int, dict[int, int]]:
    """Source tile -> home tile -> outputs whose partial sums travel."""
    flows: dict[int, dict[int, int]] = {}
    for block in mapped.blocks:
        pes = mapped.pes[block.first_pe : block.first_pe + block.n_pes]
        for tile in sorted({pe.tile for pe in pes} - {block.home_tile}):
            targets = flows.setdefault(tile, {})
            targets[block.home_tile] = targets.get(block.home_tile, 0) + block.n_outputs
    return flows


def fetch_blocks(mapped: MappedLayer, tile_pes: list[Pe]) -> list[tuple[int, int]]:
    """Distinct (convolution group, row block) that the PEs of a tile read, ascending."""
    return sorted(
        {
            (mapped.blocks[pe.block].group, row_block)
            for pe in tile_pes
            for row_block in range(pe.first_row_block, pe.first_row_block + pe.n_crossbars)
        }
    )


def _fetch_unit(mapped: MappedLayer, hw: HardwareConfig, tile: int, tile_pes: list[Pe]) -> _Unit:
    rows = sum(mapped.rows_in_group(row_block, 0) for _, row_block in fetch_blocks(mapped, tile_pes))
    return _Unit("fetch", tile, base=_ceil(rows * mapped.layer.input.bits, hw.tile.input_bus_bits))


def _pe_units(mapped: MappedLayer, hw: HardwareConfig, tile_pes: list[Pe]) -> list[_Unit]:
    """Read units, then convert units, of a tile's PEs; without sample-and-hold one unit does both."""
    rounds = [min(hw.adc.columns_per_adc, pe.cols_used) for pe in tile_pes]
    outputs = [mapped.blocks[pe.block].n_outputs for pe in tile_pes]
    reads = [_Unit("read", pe.tile, pe.index, items=n, plane=1) for pe, n in zip(tile_pes, outputs, strict=True)]
    overlapped = hw.adc.sample_and_hold
    converts = [
        _Unit("convert", pe.tile, pe.index, items=n, plane=r if overlapped else 1 + r)
        for pe, n, r in zip(tile_pes, outputs, rounds, strict=True)
    ]
    return reads + converts if overlapped else converts


def _home_units(
    mapping: Mapping, hw: HardwareConfig, mapped: MappedLayer, tile: int, flows: dict[int, dict[int, int]]
) -> list[_Unit]:
    """Neuron, pool and spike link of a tile that is home to neurons; nothing for other tiles."""
    neurons = mapped.neurons_at(tile)
    if not neurons:
        return []
    foreign = sum(targets.get(tile, 0) for targets in flows.values())
    update = _ceil(neurons, hw.neuron.lanes)
    units = [
        _Unit("neuron", tile, items=neurons, base=update, step=_neuron_steps(mapping, hw, mapped, neurons, foreign))
    ]
    receiver = consumer_of(mapping, mapped.layer)
    if receiver is None:
        return units
    if mapped.layer.pool is not None:
        units.append(_Unit("pool", tile, items=neurons, base=update))
    place = mapping.placement
    hops = max(place.hops(tile, target) for target in receiver.tiles)
    packet = _packet(neurons * receiver.layer.input.bits, hops, hw)
    links = place.multicast_links(tile, receiver.tiles)
    units.append(_Unit("spike_link", tile, -1, packet.lanes, neurons, packet.flits, links, packet.service))
    return units


def _neuron_steps(mapping: Mapping, hw: HardwareConfig, mapped: MappedLayer, neurons: int, foreign: int) -> IntArray:
    """(T,) cycles that a neuron token adds to its update: foreign partial sums, membranes, held currents."""
    layer, n_steps = mapped.layer, mapping.network.n_timesteps
    steps = np.zeros(n_steps, dtype=np.int64)
    steps[: 1 if layer.input.static else n_steps] += _ceil(foreign, hw.tile.accumulator_lanes)
    if hw.dataflow.loop == "layer_major":
        return steps
    rate = hw.neuron.memory.banks * hw.neuron.memory.ports
    if layer.lif is not None:
        cycles = _ceil(memory_words(neurons, layer.lif.membrane_bits, hw), rate)
        steps[1:] += cycles
        steps[:-1] += cycles
    if layer.input.static and n_steps > 1:
        steps += _ceil(memory_words(neurons, layer.psum_bits, hw), rate)
    return steps


def _layer_channels(units: list[_Unit]) -> list[tuple[int, int]]:
    """Queues of one layer; the copies of a fetch token go to every PE of its tile."""
    at = {(unit.kind, unit.tile, unit.pe): i for i, unit in enumerate(units)}
    channels: list[tuple[int, int]] = []
    for i, unit in enumerate(units):
        tile = unit.tile
        if unit.kind == "read":
            channels += [(at["fetch", tile, -1], i), (i, at["convert", tile, unit.pe])]
        elif unit.kind == "convert":
            channels.append((i, at["accumulate", tile, -1]))
            if ("read", tile, unit.pe) not in at:
                channels.append((at["fetch", tile, -1], i))
        elif unit.kind == "psum_link":
            channels += [(at["accumulate", tile, -1], i), (i, at["neuron", unit.pe, -1])]
        elif unit.kind == "neuron":
            channels.append((at["accumulate", tile, -1], i))
        elif unit.kind == "pool":
            channels.append((at["neuron", tile, -1], i))
        elif unit.kind == "spike_link":
            channels.append((at["pool" if ("pool", tile, -1) in at else "neuron", tile, -1], i))
    return sorted(channels)
