"""How often every action of ``actions.ACTIONS`` happened; docs/machine.md states the formulas.

Counts follow from the mapping and the activity alone; no order of events changes them.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ..functional.activity import Activity
from ..mapping.tiles import MappedLayer, Pe
from ..phases import driven_planes, mapped_crossbars, row_parts
from ..program import UNIT_KINDS, Program, consumer_of, fetch_blocks, input_load_bits, memory_words
from .actions import ACTIONS

IntArray = NDArray[np.int64]


def count_actions(program: Program, activity: Activity) -> dict[str, IntArray]:
    """Action -> (layers,) int64, summed over the images of the activity."""
    counts = {action: np.zeros(len(program.mapping.layers), dtype=np.int64) for action in ACTIONS}
    for index in range(len(program.mapping.layers)):
        for part in (
            _buffer_counts(program, index),
            _link_counts(program, index),
            _neuron_counts(program, index),
            _memory_counts(program, index),
        ):
            for action, per_image in part.items():
                counts[action][index] = per_image * activity.n_images
        for action, total in _crossbar_counts(program, activity, index).items():
            counts[action][index] += total
    return counts


def _runs(program: Program, mapped: MappedLayer) -> int:
    return 1 if mapped.layer.input.static else program.mapping.network.n_timesteps


def _buffer_counts(program: Program, index: int) -> dict[str, int]:
    mapped = program.mapping.layers[index]
    layer = mapped.layer
    c, h, w = layer.in_shape
    runs = _runs(program, mapped)
    pes: dict[int, list[Pe]] = defaultdict(list)
    for pe in mapped.pes:
        pes[pe.tile].append(pe)
    rows = sum(
        min(mapped.rows_per_crossbar, layer.n_rows - row_block * mapped.rows_per_crossbar)
        for tile_pes in pes.values()
        for _, row_block in fetch_blocks(mapped, tile_pes)
    )
    return {
        "input_load_bits": input_load_bits(program.mapping) if layer.source is None else 0,
        "input_buffer_write_bits": len(pes) * c * h * w * layer.input.bits * runs,
        "input_buffer_read_bits": rows * layer.input.bits * layer.n_positions * runs,
    }


def _crossbar_counts(program: Program, activity: Activity, index: int) -> dict[str, int]:
    """Counts of the PEs and tile accumulators: one term a PE, from the activity of its row part."""
    mapped = program.mapping.layers[index]
    active = activity.layers[index].active_rows
    parts, part_of_pe = row_parts(mapped)
    shape = (len(parts), -1, mapped.reads_per_vector)
    driven = driven_planes(program, index, active).reshape(shape)
    crossbars = np.stack([mapped_crossbars(mapped, part) for part in parts])
    planes_read = driven.sum(axis=1)
    tokens_read = (driven > 0).sum(axis=1)
    reads = (planes_read * crossbars).sum(axis=1)[part_of_pe]
    additions = (tokens_read * np.maximum(crossbars - 1, 0)).sum(axis=1)[part_of_pe]
    sent = tokens_read.sum(axis=1)[part_of_pe]
    rows = _driven_rows(mapped, active)[part_of_pe]
    columns = np.array([pe.cols_used for pe in mapped.pes], dtype=np.int64)
    outputs = np.array([mapped.blocks[pe.block].n_outputs for pe in mapped.pes], dtype=np.int64)
    conversions = int((reads * columns).sum())
    return {
        "crossbar_read": int(reads.sum()),
        "wordline_drive": int(rows.sum()),
        "cell_read": int((rows * columns).sum()),
        "adc_conversion": conversions,
        "shift_add": conversions,
        "input_count": int(rows.sum()) if mapped.scheme.input_offset else 0,
        "pe_add": int((additions * outputs).sum()),
        "tile_add": int((sent * outputs).sum()),
    }


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


def _link_counts(program: Program, index: int) -> dict[str, int]:
    """Packets, and the additions of their partial sums where they arrive."""
    mapped = program.mapping.layers[index]
    layer, steps = mapped.layer, program.mapping.network.n_timesteps
    of_layer = program.unit_layer == index
    psum = of_layer & (program.unit_kind == UNIT_KINDS.index("psum_link"))
    spikes = of_layer & (program.unit_kind == UNIT_KINDS.index("spike_link"))
    flit_hops = program.unit_flits * program.unit_links
    packets = layer.n_positions * _runs(program, mapped)
    sent_positions = layer.sent_shape[1] * layer.sent_shape[2]
    return {
        "tile_add": int(program.unit_items[psum].sum()) * packets,
        "psum_flit_hops": int(flit_hops[psum].sum()) * packets,
        "spike_flit_hops": int(flit_hops[spikes].sum()) * sent_positions * steps,
    }


def _neuron_counts(program: Program, index: int) -> dict[str, int]:
    mapped = program.mapping.layers[index]
    layer, steps = mapped.layer, program.mapping.network.n_timesteps
    neurons = layer.out_shape[0] * layer.n_positions
    norm_runs = 0
    if layer.batch_norm is not None:
        norm_runs = steps if layer.batch_norm.m.ndim == 2 else _runs(program, mapped)
    receiver = consumer_of(program.mapping, layer)
    channels, height, width = layer.sent_shape
    sent = channels * height * width * steps
    return {
        "bn_update": neurons * norm_runs,
        "neuron_update": neurons * steps,
        "pool_add": sent * (layer.pool.kernel**2 - 1) if layer.pool is not None else 0,
        "spike_buffer_write_bits": sent * receiver.layer.input.bits if receiver is not None else 0,
    }


def _memory_counts(program: Program, index: int) -> dict[str, int]:
    """Membranes and held currents: whole words of the memory, or register bits in ``layer_major``."""
    mapped = program.mapping.layers[index]
    layer, steps = mapped.layer, program.mapping.network.n_timesteps
    membrane_bits = layer.lif.membrane_bits if layer.lif is not None else 0
    held = layer.input.static and steps > 1
    if program.hw.dataflow.loop == "layer_major":
        accesses = 2 * (steps - 1) * membrane_bits + (steps * layer.psum_bits if held else 0)
        return {"membrane_register_bits": layer.out_shape[0] * layer.n_positions * accesses}

    def stored_bits(bits: int) -> int:
        words = sum(memory_words(mapped.neurons_at(tile), bits, program.hw) for tile in mapped.home_tiles)
        return words * program.hw.neuron.memory.word_bits * layer.n_positions

    membranes = stored_bits(membrane_bits) * (steps - 1)
    currents = stored_bits(layer.psum_bits) if held else 0
    return {
        "membrane_read_bits": membranes,
        "membrane_write_bits": membranes,
        "current_read_bits": currents * (steps - 1),
        "current_write_bits": currents,
    }
