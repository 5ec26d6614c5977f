"""Spikes under a window: which rows of a crossbar are driven, without building the windows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel


class ReadPlan(NamedTuple):
    """Geometry of one layer's reads. A *vector* is one output position of one image and step.

    ``position``: (positions,) numbers of the output positions, raster order; ``origin``: place of each one's window,
    its first element, in a padded, flattened input; ``row_offset``: (rows,) place of each row's element relative to it.
    ``group_start``, ``group_len``: (row groups,) rows of each read; ``group_index``: its slot in the activity record.
    Columns are laid out in pieces of ``n_outputs`` (signs, slices, a dummy column); ``piece_weight``: (pieces,) what a
    code of each counts. ``signed_input``: the top plane counts negative (two's complement). ``input_offset`` times
    sum(x) is taken from the sums.
    """

    position: NDArray[np.int64]
    origin: NDArray[np.int64]
    row_offset: NDArray[np.int64]
    group_start: NDArray[np.int64]
    group_len: NDArray[np.int64]
    group_index: NDArray[np.int64]
    n_planes: int
    signed_input: bool
    n_outputs: int
    piece_weight: NDArray[np.int64]
    input_offset: int


#: Vectors whose driven rows are listed at once, so that the weights of a row group are read from near memory.
BLOCK_VECTORS = 256


@kernel
def vectors_per_block(plan: ReadPlan) -> int:
    """Vectors of a block: whole images where an image has few positions."""
    n_positions = plan.origin.size
    if n_positions >= BLOCK_VECTORS:
        return BLOCK_VECTORS
    return n_positions * (BLOCK_VECTORS // n_positions)


@kernel
def gather_rows(
    codes: NDArray[Any],
    plan: ReadPlan,
    plane: int,
    first: int,
    last: int,
    pointer: NDArray[np.int32],
    rows: NDArray[np.int32],
) -> None:
    """Numbers of the driven rows of vectors ``first .. last``, one list for each row group.

    Args:
        codes: (images, padded input) codes.
        plan: geometry.
        plane: bit of the codes that is driven.
        first: first vector, counted image by image.
        last: vector behind the last one.
        pointer: (vectors, row groups + 1) int32, written: list g of vector n is ``rows`` from ``pointer[n, g]`` to
            ``pointer[n, g + 1]``.
        rows: at least vectors x rows + 1 entries, written.
    """
    n_positions = plan.origin.size
    n_groups = plan.group_start.size
    count = 0
    for n in range(last - first):
        image = codes[(first + n) // n_positions]
        origin = plan.origin[(first + n) % n_positions]
        for g in range(n_groups):
            pointer[n, g] = count
            for r in range(plan.group_start[g], plan.group_start[g] + plan.group_len[g]):
                rows[count] = r
                count += (image[origin + plan.row_offset[r]] >> plane) & 1
        pointer[n, n_groups] = count


@kernel
def record_active(
    plan: ReadPlan,
    plane: int,
    first: int,
    last: int,
    pointer: NDArray[np.int32],
    keep: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
) -> None:
    """Driven rows of every read of the images that are kept.

    Args:
        plan: geometry.
        plane: bit plane.
        first: first vector.
        last: vector behind the last one.
        pointer: lists of ``gather_rows``.
        keep: (images,) place of an image in ``active_rows``, -1 if it is not kept.
        active_rows: (kept images, positions, planes, activity slots) uint16, written.
    """
    n_positions = plan.origin.size
    for n in range(last - first):
        slot = keep[(first + n) // n_positions]
        if slot >= 0:
            place = active_rows[slot, plan.position[(first + n) % n_positions], plane]
            for g in range(plan.group_start.size):
                place[plan.group_index[g]] = pointer[n, g + 1] - pointer[n, g]


@kernel
def count_driven_rows(
    codes: NDArray[Any], plan: ReadPlan, keep: NDArray[np.int64], active_rows: NDArray[np.uint16]
) -> None:
    """Driven rows of every read, for runs without weights; arguments as for ``record_active``."""
    n_vectors = codes.shape[0] * plan.origin.size
    block = vectors_per_block(plan)
    pointer = np.empty((block, plan.group_start.size + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            record_active(plan, plane, first, last, pointer, keep, active_rows)


@inlined
def accumulate_rows(cells: NDArray[Any], rows: NDArray[np.int32], first: int, last: int, sums: NDArray[Any]) -> None:
    """Column sums of the driven rows ``rows[first:last]``, at least one, in the number type of ``sums``.

    Four rows a turn: (a + b) + (c + d), in the order of the rows, so that the bits do not depend on the block.
    """
    n_columns = sums.size
    row = cells[rows[first]]
    for c in range(n_columns):
        sums[c] = row[c]
    e = first + 1
    while e + 3 < last:
        row_a, row_b, row_c, row_d = cells[rows[e]], cells[rows[e + 1]], cells[rows[e + 2]], cells[rows[e + 3]]
        for c in range(n_columns):
            sums[c] += (row_a[c] + row_b[c]) + (row_c[c] + row_d[c])
        e += 4
    while e < last:
        row = cells[rows[e]]
        for c in range(n_columns):
            sums[c] += row[c]
        e += 1
