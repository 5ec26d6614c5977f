"""Counts of every action of a run, from the program and the measured activity; formulas in docs/machine.md.

They do not depend on the clock: the same work is done however long it takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ..functional.activity import Activity
from ..machine.driven import driven_planes, mapped_crossbars, row_parts
from ..machine.units import NETWORK_INPUT, fetch_blocks, memory_words, residual_bits
from ..mapping.lower import INPUT, Signal
from ..mapping.tiles import MappedLayer, Mapping, Pe
from ..mapping.traffic import receivers
from ..program import Program
from .actions import ACTIONS

IntArray = NDArray[np.int64]


def count_actions(program: Program, activity: Activity) -> dict[str, IntArray]:
    """Action -> (layers,) int64, summed over the images of the activity."""
    counts = {action: np.zeros(len(program.mapping.layers), dtype=np.int64) for action in ACTIONS}
    readers = receivers([item.layer for item in program.mapping.layers])
    for index in range(len(program.mapping.layers)):
        for part in (
            _buffer_counts(program, index),
            _flow_counts(program, index),
            _op_counts(program, index, readers.keys()),
            _memory_counts(program, index),
        ):
            for action, per_image in part.items():
                counts[action][index] += per_image * activity.n_images
        for action, total in _crossbar_counts(program, activity, index).items():
            counts[action][index] += total
    first = readers[INPUT][0].layer
    for action, per_image in _input_counts(program).items():
        counts[action][first] += per_image * activity.n_images
    return counts


def input_load_bits(mapping: Mapping) -> int:
    """Bits of one image: every step's codes, or one set of codes if they are static."""
    node = mapping.network.input
    c, h, w = node.shape
    return c * h * w * node.bits * (1 if node.static else mapping.network.n_timesteps)


def _input_counts(program: Program) -> dict[str, int]:
    node = program.mapping.network.input
    inject = program.units_of("inject", NETWORK_INPUT)
    packets = node.shape[1] * node.shape[2] * (1 if node.static else program.mapping.network.n_timesteps)
    bits = input_load_bits(program.mapping)
    hops = int((program.unit_flits * program.unit_links)[inject].sum())
    return {"input_load_bits": bits, "global_buffer_read_bits": bits, "input_flit_hops": packets * hops}


def _runs(program: Program, mapped: MappedLayer) -> int:
    return 1 if mapped.layer.input.static else program.mapping.network.n_timesteps


def _buffer_counts(program: Program, index: int) -> dict[str, int]:
    mapped = program.mapping.layers[index]
    layer = mapped.layer
    c, h, w = layer.in_shape
    runs = _runs(program, mapped)
    read = n_buffers = 0
    for replica in range(mapped.n_replicas):
        pes: dict[int, list[Pe]] = defaultdict(list)
        for pe in mapped.pes_of(replica):
            pes[pe.tile].append(pe)
        rows = sum(
            min(mapped.rows_per_crossbar, layer.n_rows - row_block * mapped.rows_per_crossbar)
            for tile_pes in pes.values()
            for _, row_block in fetch_blocks(mapped, tile_pes)
        )
        n_buffers += len(pes)
        read += rows * mapped.positions(replica).size
    return {
        "input_buffer_write_bits": n_buffers * c * h * w * layer.input.bits * runs,
        "input_buffer_read_bits": read * layer.input.bits * runs,
    }


def _crossbar_counts(program: Program, activity: Activity, index: int) -> dict[str, int]:
    """Counts of the PEs and tile accumulators, replica by replica: each reads its own positions."""
    mapped = program.mapping.layers[index]
    total: dict[str, int] = defaultdict(int)
    parts, part_of_pe = row_parts(mapped)
    crossbars = np.stack([mapped_crossbars(mapped, part) for part in parts])
    for replica in range(mapped.n_replicas):
        active = activity.layers[index].active_rows[:, :, mapped.positions(replica)]
        driven = driven_planes(program, index, active).reshape(len(parts), -1, mapped.reads_per_vector)
        planes_read = driven.sum(axis=1)
        tokens_read = (driven > 0).sum(axis=1)
        pes = mapped.pes_of(replica)
        part = part_of_pe[[pe.index for pe in pes]]
        reads = (planes_read * crossbars).sum(axis=1)[part]
        rows = _driven_rows(mapped, active)[part]
        columns = np.array([pe.cols_used for pe in pes], dtype=np.int64)
        outputs = np.array([mapped.blocks[pe.block].n_outputs for pe in pes], dtype=np.int64)
        additions = (tokens_read * np.maximum(crossbars - 1, 0)).sum(axis=1)[part]
        total["crossbar_read"] += int(reads.sum())
        total["wordline_drive"] += int(rows.sum())
        total["cell_read"] += int((rows * columns).sum())
        total["adc_conversion"] += int((reads * columns).sum())
        total["pe_add"] += int((additions * outputs).sum())
        total["tile_add"] += int((tokens_read.sum(axis=1)[part] * outputs).sum())
    total["shift_add"] = total["adc_conversion"]
    total["input_count"] = total["wordline_drive"] if mapped.scheme.input_offset else 0
    return dict(total)


def _driven_rows(mapped: MappedLayer, active: NDArray[np.uint16]) -> IntArray:
    """(parts,) wordlines driven, summed over images, runs, positions, planes and reads."""
    per_block = active.sum(axis=(0, 1, 2, 3), dtype=np.int64).reshape(
        mapped.layer.n_groups, mapped.row_blocks, mapped.reads_per_vector
    )
    parts, _ = row_parts(mapped)
    return np.array(
        [per_block[part.group, part.first_row_block : part.first_row_block + part.n_crossbars].sum() for part in parts],
        dtype=np.int64,
    )


def _flow_counts(program: Program, index: int) -> dict[str, int]:
    """Packets of a layer's interfaces, and the additions of partial sums where they arrive."""
    mapped, steps = program.mapping.layers[index], program.mapping.network.n_timesteps
    total = {"tile_add": 0, "psum_flit_hops": 0, "spike_flit_hops": 0}
    for unit in program.units_of("inject", index):
        replica, number = int(program.unit_replica[unit]), int(program.unit_number[unit])
        hops = int(program.unit_flits[unit] * program.unit_links[unit])
        if number < 0:
            packets = mapped.positions(replica).size * _runs(program, mapped)
            total["tile_add"] += int(program.unit_items[unit]) * packets
            total["psum_flit_hops"] += hops * packets
        else:
            total["spike_flit_hops"] += hops * mapped.positions(replica, number).size * steps
    return total


def _op_counts(program: Program, index: int, sent: Collection[Signal]) -> dict[str, int]:
    """Updates of the ops of a layer's tail, and the values that they send."""
    mapped = program.mapping.layers[index]
    layer, steps = mapped.layer, program.mapping.network.n_timesteps
    total: dict[str, int] = defaultdict(int)
    for number, op in enumerate(layer.ops):
        values = op.shape[0] * op.shape[1] * op.shape[2]
        if op.kind == "norm" and layer.batch_norm is not None:
            total["bn_update"] += values * (steps if layer.batch_norm.m.ndim == 2 else _runs(program, mapped))
        elif op.kind in ("lif", "readout"):
            total["neuron_update"] += values * steps
        elif op.kind == "pool":
            total["pool_add"] += values * steps * (op.node.kernel**2 - 1)  # type: ignore[union-attr]  # a SumPoolNode
        elif op.kind == "add":
            total["residual_add"] += values * steps * (len(op.sources) + len(op.residuals) - 1)
        if Signal(index, number) in sent:
            total["spike_buffer_write_bits"] += values * steps * op.bits
    return dict(total)


def _memory_counts(program: Program, index: int) -> dict[str, int]:
    """Membranes, held sums and residuals: whole words of the memory, or register bits in ``layer_major``."""
    mapped = program.mapping.layers[index]
    layer, steps = mapped.layer, program.mapping.network.n_timesteps
    total: dict[str, int] = defaultdict(int)
    for op in layer.ops:
        for bits in residual_bits(program.mapping, op):
            stored = _stored_bits(program, mapped, bits) * steps
            total["residual_write_bits"] += stored
            total["residual_read_bits"] += stored
    held = layer.input.static and steps > 1
    membranes = [lif.membrane_bits for lif in layer.lifs]
    if program.hw.dataflow.loop == "layer_major":
        accesses = 2 * (steps - 1) * sum(membranes) + (steps * layer.psum_bits if held else 0)
        total["membrane_register_bits"] = layer.out_shape[0] * layer.n_positions * accesses
        return dict(total)
    for bits in membranes:
        moved = _stored_bits(program, mapped, bits) * (steps - 1)
        total["membrane_read_bits"] += moved
        total["membrane_write_bits"] += moved
    if held:
        current = _stored_bits(program, mapped, layer.psum_bits)
        total["current_write_bits"] = current
        total["current_read_bits"] = current * (steps - 1)
    return dict(total)


def _stored_bits(program: Program, mapped: MappedLayer, bits: int) -> int:
    """Bits of whole words that hold one value of every output of a layer."""
    word_bits = program.hw.neuron.memory.word_bits
    return sum(
        memory_words(mapped.neurons_at(tile, replica), bits, program.hw) * word_bits * mapped.positions(replica).size
        for replica in range(mapped.n_replicas)
        for tile in mapped.home_tiles_of(replica)
    )
