"""Which reads are driven: measured activity seen by the row parts of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..mapping.tiles import MappedLayer

if TYPE_CHECKING:
    from ..program import Program

IntArray = NDArray[np.int64]


class RowPart(NamedTuple):
    """Row blocks that a PE reads in lockstep; PEs of the same part see the same activity."""

    group: int
    first_row_block: int
    n_crossbars: int


def row_parts(mapped: MappedLayer) -> tuple[tuple[RowPart, ...], IntArray]:
    """Distinct row parts of a layer, ascending, and the part number of each PE."""
    of_pe = [RowPart(mapped.blocks[pe.block].group, pe.first_row_block, pe.n_crossbars) for pe in mapped.pes]
    parts = tuple(sorted(set(of_pe)))
    number = {part: i for i, part in enumerate(parts)}
    return parts, np.array([number[part] for part in of_pe], dtype=np.int64)


def mapped_crossbars(mapped: MappedLayer, part: RowPart) -> IntArray:
    """(reads,) crossbars of a part that hold mapped rows in each read."""
    blocks = range(part.first_row_block, part.first_row_block + part.n_crossbars)
    return np.array(
        [sum(mapped.rows_in_group(block, read) > 0 for block in blocks) for read in range(mapped.reads_per_vector)],
        dtype=np.int64,
    )


def driven_planes(program: Program, layer: int, active_rows: NDArray[np.uint16]) -> IntArray:
    """Planes driven, (parts, ..., positions, reads) int64, of active rows (..., positions, planes, row groups).

    ``none`` drives every plane of a read that has mapped rows, ``vector`` those of input vectors that are
    not all zero, ``row_group`` the planes in which any row of the part is active.
    """
    mapped = program.mapping.layers[layer]
    skipping = program.hw.dataflow.zero_skipping
    lead, planes = active_rows.shape[:-2], active_rows.shape[-2]
    split = (mapped.layer.n_groups, mapped.row_blocks, mapped.reads_per_vector)
    active = (active_rows > 0).reshape(*lead, planes, *split)
    parts, _ = row_parts(mapped)
    driven = np.zeros((len(parts), *lead, mapped.reads_per_vector), dtype=np.int64)
    for i, part in enumerate(parts):
        of_group = active[..., part.group, :, :]
        if skipping == "row_group":
            rows = of_group[..., part.first_row_block : part.first_row_block + part.n_crossbars, :]
            driven[i] = rows.any(axis=-2).sum(axis=-2)
            continue
        read = np.where(mapped_crossbars(mapped, part) > 0, planes, 0)
        driven[i] = read
        if skipping == "vector":
            driven[i] *= np.asarray(of_group.any(axis=(-3, -2, -1)))[..., None]
    return driven
