"""Tiles of a layer without a mapping: PEs counted off in order, and what each tile and home holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]

DESIGN = np.dtype(
    [
        (name, np.int64)
        for name in [
            "rows",
            "cols",
            "rows_active",
            "columns_per_adc",
            "sample_and_hold",
            "cell_bits",
            "offset",
            "dummy_column",
            "pes_per_tile",
            "crossbars_per_pe",
            "input_bus",
            "pe_lanes",
            "output_bus",
            "accumulator_lanes",
            "fifo_depth",
            "exclusive",
            "neuron_lanes",
            "word_bits",
            "memory_ports",
            "buffer_bus",
            "slots",
            "flit_bits",
            "header_bits",
            "router_cycles",
            "buffer_packets",
            "load_bits",
            "mesh_width",
            "mesh_height",
            "row_major",
            "buffer_positions",
            "chip_tiles",
            "pipelined",
            "layer_major",
            "skipping",
            "skip_cycles",
        ]
    ]
)

#: What ``cut_layer`` finds; "max" is of the busiest tile, sums are weighted by the positions of the replicas.
CUT = np.dtype(
    [
        (name, np.int64)
        for name in [
            "n_pes",
            "positions",
            "parts",
            "reads",
            "crossbars_last",
            "column_pes",
            "bitlines",
            "pe_outputs",
            "columns_used",
            "outputs_max",
            "tiles",
            "first_tile",
            "last_tile",
            "buffer_rows",
            "fetch_rows_max",
            "sums_max",
            "pes_max",
            "parts_max",
            "split",
            "homes",
            "first_home",
            "last_home",
            "neurons_max",
            "norm_neurons",
            "norm_foreign",
            "flows",
            "psum_arriving",
            "psum_packets",
            "psum_outputs",
            "psum_outputs_max",
            "psum_flits",
            "psum_hops",
            "held_words",
        ]
    ]
)


class Tables(NamedTuple):
    """``NetworkSummary`` as arrays."""

    layer: Any
    op: Any
    residual_bits: IntArray
    reader_start: IntArray
    reader_layer: IntArray
    reader_op: IntArray
    columns: IntArray
    inside: NDArray[np.float64]
    density: NDArray[np.float64]
    nonzero: NDArray[np.float64]


class Sums(NamedTuple):
    """Weighted sums over the homes of a layer: words of membranes (ops) and residuals, flits of what ops send."""

    membrane_words: IntArray
    residual_words: IntArray
    flits: IntArray


@kernel
def ceil_div(a: int, b: int) -> int:
    """Quotient, rounded up."""
    return -(-a // b)


@kernel
def share_of(width: int, group: int, replica: int, replicas: int) -> int:
    """Columns x of a map with ``(x // group) % replicas == replica``."""
    groups = ceil_div(width, group)
    mine = (groups - replica + replicas - 1) // replicas
    if mine > 0 and (groups - 1) % replicas == replica:
        return mine * group - (groups * group - width)
    return mine * group


@kernel
def _home(d: Any, net: Tables, number: int, neurons: int, foreign: int, weight: IntArray, cut: Any, sums: Sums) -> None:
    """Enter one home tile; ``weight`` (ops of the layer,) are the positions of each op's output."""
    layer = net.layer[number]
    cut.homes += 1
    if neurons > cut.neurons_max:
        cut.neurons_max = neurons
    lanes, adders = d.neuron_lanes, d.accumulator_lanes
    work = ceil_div(neurons, lanes) + ceil_div(foreign, adders)
    if work > ceil_div(cut.norm_neurons, lanes) + ceil_div(cut.norm_foreign, adders):
        cut.norm_neurons, cut.norm_foreign = neurons, foreign
    cut.held_words += weight[0] * ceil_div(neurons * layer.psum_bits, d.word_bits)
    for i in range(layer.n_ops):
        op = net.op[layer.first_op + i]
        if op.membrane_bits > 0:
            sums.membrane_words[layer.first_op + i] += weight[0] * ceil_div(neurons * op.membrane_bits, d.word_bits)
        for r in range(op.first_residual, op.first_residual + op.n_residuals):
            sums.residual_words[r] += weight[0] * ceil_div(neurons * net.residual_bits[r], d.word_bits)
        if op.sent:
            flits = max(1, ceil_div(d.header_bits + neurons * op.bits, d.flit_bits))
            sums.flits[layer.first_op + i] += weight[i] * flits


@kernel
def _replica(d: Any, net: Tables, number: int, slot: int, weight: IntArray, cut: Any, sums: Sums) -> None:
    """Walk over the PEs of one replica that starts at a PE slot."""
    layer = net.layer[number]
    per_output = net.columns[number, d.offset, d.cell_bits - 1]
    cols = d.cols - dummy_columns(d, layer)
    per_block = max(1, cols // per_output)
    row_blocks = ceil_div(layer.rows, d.rows)
    parts = cut.parts
    seen = np.full(parts, -1, dtype=np.int64)
    neurons = foreign = 0
    sums_here = fetch_here = rows_here = parts_here = pes_here = 0
    end = slot + cut.n_pes
    last_rows = layer.rows - (row_blocks - 1) * d.rows
    for group in range(layer.groups):
        for first in range(0, layer.outputs, per_block):
            outputs = min(per_block, layer.outputs - first)
            spans = ceil_div(outputs * per_output, cols)
            block_tile = slot // d.pes_per_tile
            for index in range(spans * parts):
                part = index % parts
                here = slot // d.pes_per_tile
                sums_here += outputs
                pes_here += 1
                mark = here * layer.groups + group
                if seen[part] != mark:
                    seen[part] = mark
                    parts_here += 1
                    blocks = min(d.crossbars_per_pe, row_blocks - part * d.crossbars_per_pe)
                    whole = blocks - (part == parts - 1)
                    fetch_here += whole * d.rows_active
                    rows_here += whole * d.rows
                    if part == parts - 1:
                        fetch_here += min(d.rows_active, last_rows)
                        rows_here += last_rows
                slot += 1
                if index == spans * parts - 1:
                    # The block ends: its neurons live here, other tiles that it touches send their sums.
                    neurons += outputs
                    others = here - block_tile
                    if others > 0:
                        cut.split = 1
                        cut.flows += others
                        foreign += others * outputs
                        cut.psum_outputs += weight[0] * others * outputs
                        cut.psum_outputs_max = max(cut.psum_outputs_max, outputs)
                        flits = max(1, ceil_div(d.header_bits + outputs * layer.psum_bits, d.flit_bits))
                        cut.psum_arriving = max(cut.psum_arriving, others * flits)
                        cut.psum_packets = max(cut.psum_packets, others)
                        cut.psum_flits += weight[0] * others * flits
                        # Tiles of a block follow one another: mostly neighbours in a row.
                        cut.psum_hops += weight[0] * flits * (others * (others + 1) // 2)
                if slot == end or slot // d.pes_per_tile != here:
                    cut.tiles += 1
                    cut.last_tile = here
                    cut.buffer_rows += weight[0] * rows_here
                    cut.fetch_rows_max = max(cut.fetch_rows_max, fetch_here)
                    cut.sums_max = max(cut.sums_max, sums_here)
                    cut.parts_max = max(cut.parts_max, parts_here)
                    cut.pes_max = max(cut.pes_max, pes_here)
                    if neurons > 0:
                        if cut.first_home < 0:
                            cut.first_home = here
                        cut.last_home = here
                        _home(d, net, number, neurons, foreign, weight, cut, sums)
                    neurons = foreign = 0
                    sums_here = fetch_here = rows_here = parts_here = pes_here = 0


@kernel
def dummy_columns(d: Any, layer: Any) -> int:
    """Dummy columns of a crossbar of the layer: only weights with an offset have one."""
    return int(d.dummy_column != 0 and (d.offset != 0 or layer.affine != 0))


@kernel
def pes_of_replica(d: Any, net: Tables, number: int) -> int:
    """PEs of one replica of a layer."""
    layer = net.layer[number]
    per_output = net.columns[number, d.offset, d.cell_bits - 1]
    cols = d.cols - dummy_columns(d, layer)
    per_block = max(1, cols // per_output)
    full, rest = layer.outputs // per_block, layer.outputs % per_block
    spans = full * ceil_div(per_block * per_output, cols) + ceil_div(rest * per_output, cols)
    return int(layer.groups * spans * ceil_div(ceil_div(layer.rows, d.rows), d.crossbars_per_pe))


@kernel
def cut_layer(d: Any, net: Tables, number: int, slot: int, replicas: int, cut: Any, sums: Sums) -> int:
    """Fill ``cut`` and the layer's rows of ``sums``; returns the first PE slot behind the layer."""
    layer = net.layer[number]
    per_output = net.columns[number, d.offset, d.cell_bits - 1]
    dummy = dummy_columns(d, layer)
    cols = d.cols - dummy
    per_block = min(layer.outputs, max(1, cols // per_output))
    row_blocks = ceil_div(layer.rows, d.rows)
    full, rest = layer.outputs // per_block, layer.outputs % per_block
    spans, rest_spans = ceil_div(per_block * per_output, cols), ceil_div(rest * per_output, cols)
    cut.n_pes = pes_of_replica(d, net, number)
    cut.parts = ceil_div(row_blocks, d.crossbars_per_pe)
    cut.reads = ceil_div(d.rows, d.rows_active)
    cut.crossbars_last = row_blocks - (cut.parts - 1) * d.crossbars_per_pe
    cut.column_pes = layer.groups * (full * spans + rest_spans)
    cut.bitlines = layer.groups * layer.outputs * per_output + cut.column_pes * dummy
    cut.pe_outputs = layer.groups * (full * spans * per_block + rest_spans * rest)
    cut.columns_used = min(cols, per_block * per_output) + dummy
    cut.outputs_max = per_block
    cut.positions = layer.height * share_of(layer.width, layer.column_group, 0, replicas)
    cut.first_home = -1
    weight = np.zeros(layer.n_ops, dtype=np.int64)
    walks = 1 if d.exclusive else replicas
    for q in range(walks):
        if d.exclusive:
            slot = ceil_div(slot, d.pes_per_tile) * d.pes_per_tile
        if q == 0:
            cut.first_tile = slot // d.pes_per_tile
        for i in range(layer.n_ops):
            op = net.op[layer.first_op + i]
            group = layer.column_group if op.width == layer.width else 1
            width = op.width if d.exclusive else share_of(op.width, group, q, replicas)
            weight[i] = op.height * width
        _replica(d, net, number, slot, weight, cut, sums)
        slot += cut.n_pes
    if d.exclusive and replicas > 1:
        each = cut.tiles
        cut.tiles, cut.homes, cut.flows = each * replicas, cut.homes * replicas, cut.flows * replicas
        cut.last_tile += each * (replicas - 1)
        cut.last_home += each * (replicas - 1)
        slot += each * d.pes_per_tile * (replicas - 1)
    return slot
