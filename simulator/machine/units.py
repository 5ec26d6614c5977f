"""The computing units of a layer: service times and the queues between them.

docs/machine.md, "Units", states every formula.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..mapping.lower import LoweredLayer, Op
from ..mapping.tiles import MappedLayer, Mapping, OutputBlock, Pe
from ..mapping.traffic import packet_flits

IntArray = NDArray[np.int64]

#: Unit kinds in the order of a work item; the position is the code in ``Program.unit_kind``.
UNIT_KINDS: tuple[str, ...] = (
    "input",
    "global_buffer",
    "fetch",
    "read",
    "convert",
    "pe_accumulate",
    "bus",
    "tile_accumulate",
    "norm",
    "add",
    "membrane",
    "neuron",
    "pool",
    "inject",
    "link",
)
KIND: dict[str, int] = {kind: code for code, kind in enumerate(UNIT_KINDS)}

#: ``UnitKey.layer`` of the units of the network input.
NETWORK_INPUT = -1


class UnitKey(NamedTuple):
    """Which unit: ``number`` is the PE or the op, -1 - t where partial sums go to tile t, 0 where there is only one."""

    layer: int
    replica: int
    tile: int
    kind: int
    number: int = 0


class Unit(NamedTuple):
    """One row of the unit tables; ``Program`` says what the columns are."""

    key: UnitKey
    items: int = 0
    flits: int = 0
    base: int = 0
    plane: int = 0
    step: IntArray | int = 0


class Queue(NamedTuple):
    """A queue between two units of one tile."""

    src: UnitKey
    dst: UnitKey


def ceil_div(a: int, b: int) -> int:
    """Quotient, rounded up."""
    return -(-a // b)


def memory_words(n_values: int, bits: int, hw: HardwareConfig) -> int:
    """Words of the neuron memory that hold ``n_values`` packed values of ``bits``."""
    return ceil_div(n_values * bits, hw.neuron.memory.word_bits)


def memory_cycles(n_values: int, bits: int, hw: HardwareConfig) -> int:
    """Cycles to read or write them: one word a bank and port."""
    return ceil_div(memory_words(n_values, bits, hw), hw.neuron.memory.banks * hw.neuron.memory.ports)


def input_units(mapping: Mapping, hw: HardwareConfig) -> tuple[list[Unit], list[Queue]]:
    """Off-chip input, global buffer and its network interface, at router (0, 0)."""
    node = mapping.network.input
    c, h, w = node.shape
    bits = c * h * w * node.bits
    if hw.dataflow.loop == "layer_major" and not node.static:
        bits *= mapping.network.n_timesteps
    keys = [UnitKey(NETWORK_INPUT, 0, -1, KIND[kind]) for kind in ("input", "global_buffer", "inject")]
    position = c * node.bits
    units = [
        Unit(keys[0], items=bits, base=ceil_div(bits, hw.noc.input_bits_per_cycle)),
        Unit(keys[1], items=position, base=ceil_div(position, hw.global_buffer.bus_bits)),
        Unit(keys[2], items=c, flits=packet_flits(position, hw)),
    ]
    return units, [Queue(keys[0], keys[1]), Queue(keys[1], keys[2])]


def fetch_blocks(mapped: MappedLayer, tile_pes: list[Pe]) -> list[tuple[int, int]]:
    """Distinct (convolution group, row block) that the PEs of a tile read, ascending."""
    return sorted(
        {
            (mapped.blocks[pe.block].group, row_block)
            for pe in tile_pes
            for row_block in range(pe.first_row_block, pe.first_row_block + pe.n_crossbars)
        }
    )


def crossbar_units(mapped: MappedLayer, hw: HardwareConfig, replica: int, tile: int) -> tuple[list[Unit], list[Queue]]:
    """From the input buffer to the sums of one tile."""
    layer = mapped.layer
    pes = [pe for pe in mapped.pes_of(replica) if pe.tile == tile]

    def key(kind: str, number: int = 0) -> UnitKey:
        return UnitKey(layer.index, replica, tile, KIND[kind], number)

    rows = sum(mapped.rows_in_group(row_block, 0) for _, row_block in fetch_blocks(mapped, pes))
    units = [Unit(key("fetch"), base=ceil_div(rows * layer.input.bits, hw.tile.input_bus_bits))]
    queues = []
    overlapped = hw.adc.sample_and_hold
    for pe in pes:
        outputs = mapped.blocks[pe.block].n_outputs
        rounds = min(hw.adc.columns_per_adc, pe.cols_used)
        convert, accumulate = key("convert", pe.index), key("pe_accumulate", pe.index)
        first = key("read", pe.index) if overlapped else convert
        if overlapped:
            units.append(Unit(first, items=outputs, plane=1))
            queues.append(Queue(first, convert))
        units.append(Unit(convert, items=outputs, plane=rounds if overlapped else 1 + rounds))
        sums = ceil_div(pe.n_crossbars * outputs, hw.tile.pe_accumulator_lanes)
        units.append(Unit(accumulate, items=outputs, base=sums))
        queues += [Queue(key("fetch"), first), Queue(convert, accumulate), Queue(accumulate, key("bus"))]
    sums = sum(mapped.blocks[pe.block].n_outputs for pe in pes)
    units.append(Unit(key("bus"), items=sums, base=ceil_div(sums * layer.psum_bits, hw.tile.output_bus_bits)))
    units.append(Unit(key("tile_accumulate"), items=sums, base=ceil_div(sums, hw.tile.accumulator_lanes)))
    queues.append(Queue(key("bus"), key("tile_accumulate")))
    return units, queues


def home_units(
    mapping: Mapping, hw: HardwareConfig, mapped: MappedLayer, replica: int, tile: int, foreign: int
) -> tuple[list[Unit], list[Queue]]:
    """Units of the ops of a layer at one home tile.

    Args:
        mapping: the network on its tiles.
        hw: the design.
        mapped: the layer.
        replica: copy of the layer.
        tile: a home tile of the replica.
        foreign: outputs whose partial sums arrive from other tiles, each packet counted.
    """
    layer, neurons = mapped.layer, mapped.neurons_at(tile, replica)
    units: list[Unit] = []
    queues: list[Queue] = []

    def key(kind: str, number: int) -> UnitKey:
        return UnitKey(layer.index, replica, tile, KIND[kind], number)

    update = ceil_div(neurons, hw.neuron.lanes)
    for number, op in enumerate(layer.ops):
        entry, leave = entry_kind(op, hw), exit_kind(op)
        if op.kind == "norm":
            steps = _norm_steps(mapping, hw, layer, neurons, foreign)
            units.append(Unit(key("norm", number), items=neurons, base=update, step=steps))
            queues.append(Queue(UnitKey(layer.index, replica, tile, KIND["tile_accumulate"]), key("norm", number)))
        elif op.kind == "add":
            units.append(Unit(key("add", number), items=neurons, base=_add_cycles(mapping, hw, op, neurons)))
        else:
            if entry == "membrane":
                steps = _membrane_steps(mapping, hw, op, neurons)
                units.append(Unit(key("membrane", number), items=neurons, step=steps))
                queues.append(Queue(key("membrane", number), key("neuron", number)))
            units.append(Unit(key(leave, number), items=neurons, base=update))
        queues += [Queue(key(exit_kind(layer.ops[source]), source), key(entry, number)) for source in op.sources]
    return units, queues


def entry_kind(op: Op, hw: HardwareConfig) -> str:
    """Unit at which an op's values come in."""
    if op.kind == "lif":
        return "membrane" if hw.dataflow.loop == "timestep_major" else "neuron"
    return exit_kind(op)


def exit_kind(op: Op) -> str:
    """Unit that an op's results leave."""
    return "neuron" if op.kind in ("lif", "readout") else op.kind


def residual_bits(mapping: Mapping, op: Op) -> list[int]:
    """Bits of a value of each of an add's residuals."""
    return [mapping.layers[signal.layer].layer.ops[signal.op].bits for signal in op.residuals]


def _add_cycles(mapping: Mapping, hw: HardwareConfig, op: Op, neurons: int) -> int:
    """Additions of all inputs but the first, and the stored residuals from memory."""
    additions = neurons * (len(op.sources) + len(op.residuals) - 1)
    stored = sum(memory_cycles(neurons, bits, hw) for bits in residual_bits(mapping, op))
    return ceil_div(additions, hw.neuron.lanes) + stored


def _norm_steps(mapping: Mapping, hw: HardwareConfig, layer: LoweredLayer, neurons: int, foreign: int) -> IntArray:
    """(T,) cycles beside the update: partial sums of other tiles, and held sums of a static layer."""
    n_steps = mapping.network.n_timesteps
    steps = np.zeros(n_steps, dtype=np.int64)
    steps[: 1 if layer.input.static else n_steps] += ceil_div(foreign, hw.tile.accumulator_lanes)
    if layer.input.static and n_steps > 1 and hw.dataflow.loop == "timestep_major":
        steps += memory_cycles(neurons, layer.psum_bits, hw)
    return steps


def _membrane_steps(mapping: Mapping, hw: HardwareConfig, op: Op, neurons: int) -> IntArray:
    """(T,) cycles of the read at every step but the first and the write at every step but the last."""
    bits = op.node.membrane_bits  # type: ignore[union-attr]  # a lif's node is a LifNode
    cycles = memory_cycles(neurons, bits, hw)
    steps = np.zeros(mapping.network.n_timesteps, dtype=np.int64)
    steps[1:] += cycles
    steps[:-1] += cycles
    return steps


def channels_of(blocks: list[OutputBlock], n_outputs: int) -> set[int]:
    """Output channels of some blocks, ``n_outputs`` a convolution group."""
    return {block.group * n_outputs + block.first_output + i for block in blocks for i in range(block.n_outputs)}
