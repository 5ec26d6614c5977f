"""Reads of cells that conduct: sums of conductances, read noise at once for a whole column, ADCs of their own.

The noise of a column sum is one normal number whose variance is the sum of the variances of the driven cells: for
independent Gaussian cells that is the same distribution as a number for each cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .crossbar import store_sums
from .gather import ReadPlan, accumulate_rows, gather_rows, record_active, vectors_per_block
from .random import fill_indices, mixed
from .wires import WireLinks, WireNodes, solve_crossbar, wire_nodes

_f32 = np.float32
_u64 = np.uint64


class AnalogCells(NamedTuple):
    """Cells of one convolution group in unit-cell counts.

    ``values``: (rows, columns) float32; ``variance``: same shape, of one read, no rows where there is no read noise;
    ``row_fJ``: (rows,) float64 energy of driving a row in all its crossbars, no rows where ``pair_fJ`` says it;
    ``pair_fJ``: (rows, rows a group) float64, energy of row r driven together with the k-th row of its group.
    """

    values: NDArray[np.float32]
    variance: NDArray[np.float32]
    row_fJ: NDArray[np.float64]
    pair_fJ: NDArray[np.float64]


class SolvedCells(NamedTuple):
    """Crossbars whose currents are solved read by read, none if ``conductance`` has no rows.

    ``conductance``: (row blocks, stacks, rows, cols) uS of the crossbars below one another; ``column``: (stacks, cols)
    logical column of a bitline, -1 if it holds none; ``row_block``: (row groups,); ``counts_per_uA``; ``base_counts``:
    of a driven row, taken from every sum; ``fJ_per_uA``: energy of a read per current of its driven rows;
    ``add_values``: whether the sums of ``AnalogCells.values``, which then are noise frozen for an image, come on top.
    """

    conductance: NDArray[np.float64]
    column: NDArray[np.int64]
    row_block: NDArray[np.int64]
    links: WireLinks
    counts_per_uA: float
    base_counts: float
    fJ_per_uA: float
    add_values: bool


class AnalogAdc(NamedTuple):
    """ADC of each row group and column, (row groups, columns) float32.

    u = S * ``scale`` + ``offset`` is the input in lsb; code = clip(floor(u + 1/2), 0, code_max), or, with
    ``threshold`` (ADCs, code_max) float32, the number of thresholds that u reaches; ``instance``: (row groups,
    columns) which ADC. ``variance``: of the ADC's own noise in unit-cell counts, no rows if there is none. ``weight``:
    what a code counts in a sum, float32 if the codes of a read add up to less than 2^24, else float64. ``own``:
    (columns,) column whose noise a column has: itself, but for a dummy column that outputs share.
    """

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    variance: NDArray[np.float32]
    weight: NDArray[Any]
    code_max: int
    instance: NDArray[np.int32]
    threshold: NDArray[np.float32]
    own: NDArray[np.int64]


class ReadNoise(NamedTuple):
    """Keys of the normal numbers of reads.

    ``table``: quantiles of the normal distribution; ``key``: folded from (seed, chip, layer); ``image``: (image-runs,)
    index of each image in its data set; ``step``: (image-runs,) its time step.
    """

    table: NDArray[np.float32]
    key: np.uint64
    image: NDArray[np.int64]
    step: NDArray[np.int64]


@inlined
def _add_noise(
    sums: NDArray[np.float32], variance: NDArray[np.float32], table: NDArray[np.float32], indices: NDArray[np.uint32]
) -> None:
    for c in range(sums.size):
        sums[c] += np.sqrt(variance[c]) * table[indices[c]]


@kernel
def _share_draws(own: NDArray[np.int64], indices: NDArray[np.uint32]) -> None:
    """Columns that are one bitline have one draw."""
    for c in range(own.size):
        indices[c] = indices[own[c]]


@kernel
def _code_of(u: float, threshold: NDArray[np.float32]) -> int:
    """Number of ascending thresholds that u reaches; the first guess is the code of an ideal ADC."""
    code = min(max(int(np.floor(u + 0.5)), 0), threshold.size)
    while code > 0 and u < threshold[code - 1]:
        code -= 1
    while code < threshold.size and u >= threshold[code]:
        code += 1
    return code


@inlined
def _convert(
    sums: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    weight: NDArray[Any],
    code_max: np.float32,
    partial: NDArray[Any],
    over: NDArray[np.float32],
) -> None:
    """Add the codes of one piece to ``partial``, and count in ``over`` which of them clipped at the top."""
    for c in range(partial.size):
        code = np.floor(sums[c] * scale[c] + offset[c] + _f32(0.5))
        over[c] += _f32(1.0) if code > code_max else _f32(0.0)
        code = min(max(code, _f32(0.0)), code_max)
        partial[c] += code * weight[c]


@kernel
def _convert_by_threshold(
    sums: NDArray[np.float32], adc: AnalogAdc, g: int, begin: int, partial: NDArray[Any], over: NDArray[np.float32]
) -> None:
    for o in range(partial.size):
        c = begin + o
        u = sums[c] * adc.scale[g, c] + adc.offset[g, c]
        over[c] += _f32(1.0) if u >= adc.code_max + 0.5 else _f32(0.0)
        partial[o] += _code_of(u, adc.threshold[adc.instance[g, c]]) * adc.weight[g, c]


@kernel
def _read_energy(cells: AnalogCells, plan: ReadPlan, g: int, rows: NDArray[np.int32], first: int, last: int) -> float:
    """Energy of one read: a sum over driven rows, or over pairs of them where wires couple them."""
    energy = 0.0
    if cells.pair_fJ.shape[0] > 0:
        for i in range(first, last):
            for k in range(first, last):
                energy += cells.pair_fJ[rows[i], rows[k] - plan.group_start[g]]
    else:
        for i in range(first, last):
            energy += cells.row_fJ[rows[i]]
    return energy


@kernel
def _solve_sums(
    solved: SolvedCells,
    g: int,
    rows: NDArray[np.int32],
    first: int,
    last: int,
    nodes: WireNodes,
    currents: NDArray[np.float64],
    sums: NDArray[np.float32],
) -> float:
    """Column sums of one read by solving its crossbars; returns its energy, negative if one did not converge."""
    block = solved.row_block[g]
    base = block * solved.conductance.shape[2]
    total = 0.0
    for stack in range(solved.conductance.shape[1]):
        current = solve_crossbar(
            solved.conductance[block, stack], rows, first, last, base, solved.links, nodes, currents
        )
        if current < 0.0:
            return -1.0
        total += current
        for j in range(currents.size):
            c = solved.column[stack, j]
            if c >= 0:
                sums[c] = currents[j] * solved.counts_per_uA - (last - first) * solved.base_counts
    return total * solved.fJ_per_uA


@kernel
def read_analog(
    codes: NDArray[Any],
    plan: ReadPlan,
    cells: AnalogCells,
    solved: SolvedCells,
    adc: AnalogAdc,
    noise: ReadNoise,
    psum: NDArray[np.int64],
    keep: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
    over: NDArray[np.int64],
    reads: NDArray[np.int64],
    energy_fJ: NDArray[np.float64],
) -> bool:
    """Sums of all vectors through cells and ADCs; whether every crossbar that had to be solved converged.

    Arguments are those of ``crossbar.read_narrow``; ``cells``, ``adc`` and ``noise`` are described by their types,
    ``over`` counts inputs of code_max + 1/2 lsb or more, and to ``energy_fJ`` (image-runs,) the energy of the driven
    cells is added.
    """
    n_positions, n_groups, n_outputs = plan.origin.size, plan.group_start.size, plan.n_outputs
    n_vectors, block, n_columns = codes.shape[0] * n_positions, vectors_per_block(plan), cells.values.shape[1]
    pointer = np.empty((block, n_groups + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    sums, variance = np.empty(n_columns, dtype=np.float32), np.empty(n_columns, dtype=np.float32)
    indices, clipped = np.empty(n_columns, dtype=np.uint32), np.empty(n_columns, dtype=np.float32)
    partial = np.empty(n_outputs, dtype=adc.weight.dtype)
    totals = np.empty((block, n_outputs), dtype=np.int64)
    # Summed vector by vector: the bits must not depend on which images share a block.
    vector_fJ = np.empty(block)
    cell_noise, adc_noise = cells.variance.shape[0] > 0, adc.variance.shape[0] > 0
    code_max, is_solved = _f32(adc.code_max), solved.conductance.shape[0] > 0
    nodes = wire_nodes(solved.conductance.shape[2], solved.conductance.shape[3])
    currents = np.empty(solved.conductance.shape[3])
    shared_draws = not np.array_equal(adc.own, np.arange(n_columns))
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        totals[:] = 0
        vector_fJ[:] = 0
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            record_active(plan, plane, first, last, pointer, keep, active_rows)
            place = 1 << plane
            if plan.signed_input and plane == plan.n_planes - 1:
                place = -place
            for g in range(n_groups):
                clipped[:] = 0
                for n in range(last - first):
                    begin, end = pointer[n, g], pointer[n, g + 1]
                    if begin == end:
                        continue
                    reads[g] += 1
                    image = (first + n) // n_positions
                    if is_solved:
                        spent_fJ = _solve_sums(solved, g, rows, begin, end, nodes, currents, sums)
                        if spent_fJ < 0.0:
                            return False
                        vector_fJ[n] += spent_fJ
                        if solved.add_values:
                            accumulate_rows(cells.values, rows, begin, end, variance)
                            for c in range(n_columns):
                                sums[c] += variance[c]
                    else:
                        vector_fJ[n] += _read_energy(cells, plan, g, rows, begin, end)
                        accumulate_rows(cells.values, rows, begin, end, sums)
                    if cell_noise or adc_noise:
                        if cell_noise:
                            accumulate_rows(cells.variance, rows, begin, end, variance)
                        else:
                            variance[:] = 0
                        if adc_noise:
                            for c in range(n_columns):
                                variance[c] += adc.variance[g, c]
                        position = plan.position[(first + n) % n_positions]
                        key = mixed(_u64(noise.key) ^ _u64(noise.image[image]))
                        key = mixed(key ^ (_u64(noise.step[image]) << _u64(40)) ^ _u64(position))
                        key = mixed(key ^ (_u64(plane) << _u64(40)) ^ _u64(plan.group_index[g]))
                        fill_indices(key, 0, indices)
                        if shared_draws:
                            _share_draws(adc.own, indices)
                        _add_noise(sums, variance, noise.table, indices)
                    partial[:] = 0
                    for left in range(0, n_columns, n_outputs):
                        right = left + n_outputs
                        if adc.threshold.shape[0] > 0:
                            _convert_by_threshold(sums, adc, g, left, partial, clipped)
                        else:
                            _convert(
                                sums[left:right],
                                adc.scale[g, left:right],
                                adc.offset[g, left:right],
                                adc.weight[g, left:right],
                                code_max,
                                partial,
                                clipped[left:right],
                            )
                    total = totals[n]
                    for o in range(n_outputs):
                        total[o] += place * np.int64(partial[o])
                for c in range(n_columns):
                    over[g, c] += np.int64(clipped[c])
        for n in range(last - first):
            energy_fJ[(first + n) // n_positions] += vector_fJ[n]
        store_sums(codes, plan, first, last, totals, psum)
    return True
