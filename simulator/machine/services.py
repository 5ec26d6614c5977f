"""Services that follow the spikes: reads, conversions, and the sums of what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .driven import driven_planes, row_parts
from .units import KIND

if TYPE_CHECKING:
    from ..program import Program

IntArray = NDArray[np.int64]

#: Kinds whose service depends on what is driven.
DATA_KINDS = tuple(KIND[kind] for kind in ("read", "convert", "pe_accumulate", "bus", "tile_accumulate"))
_PLANE_KINDS = (KIND["read"], KIND["convert"])


def driven_services(
    program: Program, layer: int, replica: int, unit: IntArray, active: NDArray[np.uint16], inner: bool
) -> tuple[IntArray, IntArray, int]:
    """Services of the data-dependent units of one replica.

    A read or conversion costs ``driven * plane_cycles + (planes - driven) * skip_cycles``; an accumulator of a PE
    its ``base_cycles`` if anything was driven, else 1; the bus and the tile's accumulator move the sums of the
    driven PEs only, at least 1 cycle.

    Args:
        program: the machine.
        layer: whose units.
        replica: copy of the layer.
        unit: (units,) program numbers.
        active: (images, runs, positions, planes, row groups) driven wordlines of the scope.
        inner: steps vary faster than positions.

    Returns:
        Rows (rows, tokens), the row of each unit, and the number of tokens.
    """
    mapped = program.mapping.layers[layer]
    positions = mapped.positions(replica)
    # (parts, images, runs, positions, reads)
    driven = driven_planes(program, layer, active[:, :, positions])
    tokens = (driven.swapaxes(2, 3) if inner else driven).reshape(driven.shape[0], -1)
    planes, skip = mapped.layer.input.n_planes, program.hw.dataflow.skip_cycles
    _, part_of_pe = row_parts(mapped)
    kind, number = program.unit_kind[unit], program.unit_number[unit]
    rows: list[IntArray] = []
    known: dict[tuple[int, ...], int] = {}
    row_of = np.zeros(unit.size, dtype=np.int64)
    anything = tokens > 0
    sums = _sums_by_tile(program, layer, replica, part_of_pe, tokens.shape[0])
    for i, u in enumerate(unit):
        if kind[i] in _PLANE_KINDS:
            key: tuple[int, ...] = (0, int(part_of_pe[number[i]]), int(program.plane_cycles[u]))
        elif kind[i] == KIND["pe_accumulate"]:
            key = (1, int(part_of_pe[number[i]]), int(program.base_cycles[u]))
        else:
            key = (int(kind[i]), int(program.unit_tile[u]))
        if key not in known:
            known[key] = len(rows)
            if key[0] == 0:
                rows.append(planes * skip + tokens[key[1]] * (key[2] - skip))
            elif key[0] == 1:
                rows.append(np.where(anything[key[1]], key[2], 1))
            else:
                rows.append(_moved(program, layer, int(kind[i]), sums[key[1]] @ anything))
        row_of[i] = known[key]
    return np.maximum(np.stack(rows), 1), row_of, tokens.shape[1]


def _sums_by_tile(
    program: Program, layer: int, replica: int, part_of_pe: IntArray, n_parts: int
) -> dict[int, IntArray]:
    """Tile -> (parts,) sums that its PEs of each row part hand on."""
    mapped = program.mapping.layers[layer]
    found: dict[int, IntArray] = {}
    for pe in mapped.pes_of(replica):
        weights = found.setdefault(pe.tile, np.zeros(n_parts, dtype=np.int64))
        weights[part_of_pe[pe.index]] += mapped.blocks[pe.block].n_outputs
    return found


def _moved(program: Program, layer: int, kind: int, sums: IntArray) -> IntArray:
    """Cycles to move or add so many sums."""
    tile = program.hw.tile
    if kind == KIND["bus"]:
        return -(-sums * program.mapping.layers[layer].layer.psum_bits // tile.output_bus_bits)
    return -(-sums // tile.accumulator_lanes)
