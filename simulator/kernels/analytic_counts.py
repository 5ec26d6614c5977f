"""Action counts in closed form, in the order of ``simulator/cycle/actions.py`` (docs/machine.md, "Action counts")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .analytic_cycles import reader_tiles, tree_links
from .analytic_tiles import Sums, Tables, ceil_div

Array = NDArray[np.float64]

#: Order of the counts.
NAMES = [
    "input_load_bits",
    "global_buffer_read_bits",
    "input_flit_hops",
    "input_buffer_write_bits",
    "input_buffer_read_bits",
    "crossbar_read",
    "wordline_drive",
    "cell_read",
    "adc_conversion",
    "shift_add",
    "input_count",
    "pe_add",
    "tile_add",
    "psum_flit_hops",
    "bn_update",
    "neuron_update",
    "membrane_read_bits",
    "membrane_write_bits",
    "membrane_register_bits",
    "current_read_bits",
    "current_write_bits",
    "residual_write_bits",
    "residual_read_bits",
    "residual_add",
    "pool_add",
    "spike_buffer_write_bits",
    "spike_flit_hops",
]

_NORM, _ADD, _LIF, _POOL, _READOUT = 0, 1, 2, 3, 4


@kernel
def count_layer(
    d: Any, net: Tables, number: int, steps: int, tiles: int, cuts: Any, token: Any, sums: Sums, out: Array
) -> None:
    """Fill the (actions,) counts of one layer and image."""
    layer, cut = net.layer[number], cuts[number]
    positions = layer.height * layer.width
    runs = 1 if layer.static else steps
    vectors = float(positions * runs)
    out[:] = 0.0
    if net.reader_layer[0] == number:
        load = layer.in_values * layer.planes * runs
        out[0] = out[1] = load
        pixels = layer.map_height * layer.map_width
        flits = max(1, ceil_div(d.header_bits + layer.in_values // pixels * layer.planes, d.flit_bits))
        start, end = reader_tiles(net, 0, cuts)
        out[2] = pixels * runs * flits * tree_links(d, tiles, 0, start, end)
    out[3] = cut.tiles * layer.in_values * layer.planes * runs
    out[4] = cut.buffer_rows * layer.planes * runs
    # All columns of PEs of a convolution group read the same rows.
    columns = cut.column_pes
    out[5] = vectors * token.crossbar_reads * columns
    out[6] = vectors * token.wordlines * columns
    out[7] = vectors * token.wordlines * cut.bitlines
    out[8] = out[9] = vectors * token.crossbar_reads * cut.bitlines
    out[10] = out[6] if layer.affine or d.offset else 0.0
    out[11] = vectors * token.pe_additions * cut.pe_outputs
    out[12] = vectors * token.driven_tokens * cut.pe_outputs + cut.psum_outputs * runs
    out[13] = cut.psum_hops * runs
    _count_ops(d, net, number, steps, tiles, cuts, sums, out)
    held = layer.static and steps > 1
    if d.layer_major:
        bits = 0
        for i in range(layer.first_op, layer.first_op + layer.n_ops):
            bits += 2 * (steps - 1) * net.op[i].membrane_bits
        bits += steps * layer.psum_bits if held else 0
        out[18] = float(positions * layer.groups * layer.outputs) * bits
    elif held:
        out[20] = cut.held_words * d.word_bits
        out[19] = out[20] * (steps - 1)


@kernel
def _count_ops(d: Any, net: Tables, number: int, steps: int, tiles: int, cuts: Any, sums: Sums, out: Array) -> None:
    layer, cut = net.layer[number], cuts[number]
    for i in range(layer.first_op, layer.first_op + layer.n_ops):
        op = net.op[i]
        values = float(op.channels * op.height * op.width)
        if op.kind == _NORM:
            if layer.norm_updates > 0:
                out[14] += values * (steps if layer.norm_updates == 2 or not layer.static else 1)
        elif op.kind == _ADD:
            out[23] += values * steps * (op.inputs - 1)
        elif op.kind == _POOL:
            out[24] += values * steps * (op.pool_kernel**2 - 1)
        else:
            out[15] += values * steps
        if not d.layer_major:
            moved = float(sums.membrane_words[i] * d.word_bits * (steps - 1))
            out[16] += moved
            out[17] += moved
        for r in range(op.first_residual, op.first_residual + op.n_residuals):
            stored = float(sums.residual_words[r] * d.word_bits * steps)
            out[21] += stored
            out[22] += stored
        if op.sent:
            out[25] += values * steps * op.bits
            start, end = reader_tiles(net, 1 + i, cuts)
            middle = (cut.first_home + cut.last_home) // 2
            out[26] += steps * sums.flits[i] * tree_links(d, tiles, middle, start, end)
