"""Event-driven crossbar reads with an ADC per row group, plane, slice and sign.

Columns are laid out [sign][slice][output], so that the shift-add runs over contiguous outputs. Only rows
that are driven are touched: cost is proportional to the spikes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel


class ReadPlan(NamedTuple):
    """Geometry and ADC of one layer's reads.

    ``group_start``, ``group_len``: (row groups,) rows of each read; ``group_index``: its slot in the
    activity record. Columns: ``n_signs * n_slices * n_outputs``. ADC: ``lsb = 1 << adc_shift``, codes up to
    ``code_max``. ``signed_input``: the top plane counts negative (two's complement).
    """

    group_start: NDArray[np.int64]
    group_len: NDArray[np.int64]
    group_index: NDArray[np.int64]
    n_planes: int
    signed_input: bool
    n_signs: int
    n_slices: int
    n_outputs: int
    cell_bits: int
    adc_shift: int
    code_max: int


@kernel
def _driven_rows(x: NDArray[np.int32], start: int, length: int, plane: int, rows: NDArray[np.int64]) -> int:
    """Row numbers whose input bit is 1 in ``rows``; returns how many."""
    count = 0
    for r in range(start, start + length):
        rows[count] = r
        count += (x[r] >> plane) & 1
    return count


@kernel
def _column_sums(cells: NDArray[np.uint8], rows: NDArray[np.int64], count: int, sums: NDArray[np.int32]) -> None:
    """Sum of the cell codes of the driven rows, per column."""
    sums[:] = 0
    for i in range(count):
        row = cells[rows[i]]
        for c in range(sums.size):
            sums[c] += row[c]


@kernel
def _shift_add(sums: NDArray[np.int32], plan: ReadPlan, plane: int, psum: NDArray[np.int64]) -> int:
    """Convert the column sums and add the codes to the partial sums; returns how many codes clipped.

    code = clip(floor(S / 2^j + 1/2), 0, code_max) = min((S + 2^(j-1)) >> j, code_max), S >= 0.
    """
    half = (1 << plan.adc_shift) >> 1
    top_plane = plan.signed_input and plane == plan.n_planes - 1
    clipped = 0
    base = 0
    for sign in range(plan.n_signs):
        positive = (sign == 0) != top_plane
        for s in range(plan.n_slices):
            shift = plan.adc_shift + plane + s * plan.cell_bits
            for o in range(plan.n_outputs):
                code = (int(sums[base + o]) + half) >> plan.adc_shift
                if code > plan.code_max:
                    code = plan.code_max
                    clipped += 1
                if positive:
                    psum[o] += code << shift
                else:
                    psum[o] -= code << shift
            base += plan.n_outputs
    return clipped


@kernel
def read_vectors(
    x: NDArray[np.int32],
    cells: NDArray[np.uint8],
    plan: ReadPlan,
    psum: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
) -> tuple[int, int]:
    """Partial sums of all vectors through the ADCs, without the digital offset correction.

    Args:
        x: (vectors, rows) int32 input codes.
        cells: (rows, columns) uint8 cell codes.
        plan: geometry and ADC.
        psum: (vectors, outputs) int64, added to.
        active_rows: (vectors, planes, activity slots) uint16, written.

    Returns:
        Conversions of driven reads, and how many of them clipped.
    """
    rows = np.empty(x.shape[1] + 1, dtype=np.int64)
    sums = np.empty(cells.shape[1], dtype=np.int32)
    conversions = 0
    clipped = 0
    for n in range(x.shape[0]):
        for plane in range(plan.n_planes):
            for g in range(plan.group_start.size):
                count = _driven_rows(x[n], plan.group_start[g], plan.group_len[g], plane, rows)
                active_rows[n, plane, plan.group_index[g]] = count
                if count > 0:
                    _column_sums(cells, rows, count, sums)
                    clipped += _shift_add(sums, plan, plane, psum[n])
                    conversions += sums.size
    return conversions, clipped


@kernel
def histogram_vectors(
    x: NDArray[np.int32], cells: NDArray[np.uint8], plan: ReadPlan, histogram: NDArray[np.int64]
) -> None:
    """Count the column sums of driven reads.

    Args:
        x: (vectors, rows) int32 input codes.
        cells: (rows, columns) uint8 cell codes.
        plan: geometry; its ADC is not used.
        histogram: (planes, slices, largest sum + 1) int64, added to.
    """
    rows = np.empty(x.shape[1] + 1, dtype=np.int64)
    sums = np.empty(cells.shape[1], dtype=np.int32)
    for n in range(x.shape[0]):
        for plane in range(plan.n_planes):
            for g in range(plan.group_start.size):
                count = _driven_rows(x[n], plan.group_start[g], plan.group_len[g], plane, rows)
                if count > 0:
                    _column_sums(cells, rows, count, sums)
                    for c in range(sums.size):
                        histogram[plane, (c // plan.n_outputs) % plan.n_slices, sums[c]] += 1


@kernel
def count_driven_rows(x: NDArray[np.int32], plan: ReadPlan, active_rows: NDArray[np.uint16]) -> None:
    """Driven rows of every read, for runs without weights.

    Args:
        x: (vectors, rows) int32 input codes.
        plan: geometry; its ADC is not used.
        active_rows: (vectors, planes, activity slots) uint16, written.
    """
    for n in range(x.shape[0]):
        for plane in range(plan.n_planes):
            for g in range(plan.group_start.size):
                count = 0
                for r in range(plan.group_start[g], plan.group_start[g] + plan.group_len[g]):
                    count += (x[n, r] >> plane) & 1
                active_rows[n, plane, plan.group_index[g]] = count
