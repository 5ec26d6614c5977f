"""Reads of ideal cells: driven rows are added up column by column, every column sum passes an ADC.

Only rows that are driven are touched: cost is proportional to the spikes; a read that drives many rows counts the ones
of packed words instead. There are two versions of the conversion. The narrow one stays in 16-bit lanes from the sum to
the partial sum of a read, which is what makes it fast; the wide one takes any number. They give the same integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .gather import ReadPlan, accumulate_rows, gather_rows, record_active, vectors_per_block
from .packed import WORD_ROWS, Packing, count_columns, drive_words, pack_group

_HALF = np.uint16(128)
_EIGHT = np.uint16(8)
_u16 = np.uint16


class NarrowAdc(NamedTuple):
    """ADC of each row group and column in 16-bit lanes, (row groups, columns) uint16.

    With lsb = 2^j, j <= 8: ``limit`` = largest sum that does not clip, ``scale`` = 2^(8-j), ``weight`` = what
    a code counts in a sum, modulo 2^16.
    code = (min(S, limit) * scale + 128) >> 8 = min(floor(S/lsb + 1/2), code_max).
    """

    limit: NDArray[np.uint16]
    scale: NDArray[np.uint16]
    weight: NDArray[np.uint16]


class WideAdc(NamedTuple):
    """ADC of each row group and column, (row groups, columns) int64; codes to ``code_max``.

    ``shift`` = log2 of its lsb, ``weight`` = what a code counts in a sum.
    """

    shift: NDArray[np.int64]
    weight: NDArray[np.int64]
    code_max: int


@inlined
def _convert_narrow(
    sums: NDArray[Any],
    limit: NDArray[np.uint16],
    scale: NDArray[np.uint16],
    weight: NDArray[np.uint16],
    partial: NDArray[np.uint16],
    over: NDArray[np.uint16],
) -> None:
    """Add the codes of one piece to ``partial`` (modulo 2^16), and count in ``over`` which of them clipped.

    Every intermediate is 16 bits wide and the shift is a literal: only then does the compiler use 16-bit lanes.
    """
    for c in range(partial.size):
        value = _u16(sums[c])
        over[c] = _u16(over[c] + _u16(value > limit[c]))
        value = value if value < limit[c] else limit[c]
        code = _u16(_u16(_u16(value * scale[c]) + _HALF) >> _EIGHT)
        partial[c] = _u16(partial[c] + _u16(code * weight[c]))


@kernel
def read_narrow(
    codes: NDArray[Any],
    plan: ReadPlan,
    cells: NDArray[Any],
    adc: NarrowAdc,
    cell_bits: int,
    packing: Packing,
    psum: NDArray[np.int64],
    keep: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
    over: NDArray[np.int64],
    reads: NDArray[np.int64],
) -> None:
    """Sums of all vectors through the ADCs.

    Args:
        codes: (images, padded input) codes.
        plan: geometry.
        cells: (rows, columns) cell codes, uint8 if every column sum is below 2^8, else uint16.
        adc: ADCs; the partial sum of one read must lie within +-(2^15 - 1).
        cell_bits: bits of a cell.
        packing: when a read counts the ones of packed words.
        psum: (images, outputs, positions) int64, written.
        keep: (images,) place of an image in ``active_rows``, -1 if it is not kept.
        active_rows: (kept images, positions, planes, activity slots) uint16, written.
        over: (row groups, columns) int64, conversions that clipped are added.
        reads: (row groups,) int64, reads that drove a row are added.
    """
    n_positions, n_groups, n_outputs = plan.origin.size, plan.group_start.size, plan.n_outputs
    n_vectors, block = codes.shape[0] * n_positions, vectors_per_block(plan)
    pointer = np.empty((block, n_groups + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    sums = np.empty(cells.shape[1], dtype=cells.dtype)
    partial = np.empty(n_outputs, dtype=np.uint16)
    clipped = np.zeros(cells.shape[1], dtype=np.uint16)
    totals = np.empty((block, n_outputs), dtype=np.int64)
    longest = plan.group_len.max()
    words = np.empty((longest + WORD_ROWS - 1) // WORD_ROWS, dtype=np.uint64)
    may_pack = packing.rows <= longest
    packed = np.empty((n_groups if may_pack else 0, cell_bits, words.size, cells.shape[1]), dtype=np.uint64)
    is_packed = np.zeros(n_groups, dtype=np.bool_)
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        totals[:] = 0
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            record_active(plan, plane, first, last, pointer, keep, active_rows)
            place = 1 << plane
            if plan.signed_input and plane == plan.n_planes - 1:
                place = -place
            for g in range(n_groups):
                if may_pack and not is_packed[g]:
                    many = 0
                    for n in range(last - first):
                        many += pointer[n, g + 1] - pointer[n, g] >= packing.rows
                    if many >= packing.reads:
                        pack_group(cells, plan.group_start[g], plan.group_len[g], packed[g])
                        is_packed[g] = True
                clipped[:] = 0
                driven = 0
                for n in range(last - first):
                    if pointer[n, g] == pointer[n, g + 1]:
                        continue
                    driven += 1
                    if is_packed[g] and pointer[n, g + 1] - pointer[n, g] >= packing.rows:
                        drive_words(rows, pointer[n, g], pointer[n, g + 1], plan.group_start[g], words)
                        count_columns(packed[g], words, sums)
                    else:
                        accumulate_rows(cells, rows, pointer[n, g], pointer[n, g + 1], sums)
                    partial[:] = 0
                    for begin in range(0, cells.shape[1], n_outputs):
                        end = begin + n_outputs
                        _convert_narrow(
                            sums[begin:end],
                            adc.limit[g, begin:end],
                            adc.scale[g, begin:end],
                            adc.weight[g, begin:end],
                            partial,
                            clipped[begin:end],
                        )
                    total = totals[n]
                    for o in range(n_outputs):
                        total[o] += place * int(np.int16(partial[o]))
                reads[g] += driven
                for c in range(clipped.size):
                    over[g, c] += clipped[c]
        store_sums(codes, plan, first, last, totals, psum)


@kernel
def store_sums(
    codes: NDArray[Any],
    plan: ReadPlan,
    first: int,
    last: int,
    totals: NDArray[np.int64],
    psum: NDArray[np.int64],
) -> None:
    """Write the sums of a block, (vectors, outputs), to (images, outputs, positions), less the digital offset."""
    n_positions = plan.origin.size
    if plan.input_offset != 0:
        for n in range(last - first):
            image = codes[(first + n) // n_positions]
            origin = plan.origin[(first + n) % n_positions]
            input_sum = 0
            for r in range(plan.row_offset.size):
                input_sum += int(image[origin + plan.row_offset[r]])
            for o in range(plan.n_outputs):
                totals[n, o] -= plan.input_offset * input_sum
    for o in range(plan.n_outputs):
        for n in range(last - first):
            psum[(first + n) // n_positions, o, plan.position[(first + n) % n_positions]] = totals[n, o]


@kernel
def _convert_wide(
    sums: NDArray[np.int64],
    shift: NDArray[np.int64],
    weight: NDArray[np.int64],
    code_max: int,
    place: int,
    total: NDArray[np.int64],
    over: NDArray[np.int64],
) -> None:
    """Add the codes of one read to ``total``; code = min((S + 2^(j-1)) >> j, code_max), S >= 0."""
    for begin in range(0, sums.size, total.size):
        for o in range(total.size):
            c = begin + o
            code = (sums[c] + ((1 << shift[c]) >> 1)) >> shift[c]
            if code > code_max:
                code = code_max
                over[c] += 1
            total[o] += place * weight[c] * code


@kernel
def read_wide(
    codes: NDArray[Any],
    plan: ReadPlan,
    cells: NDArray[np.uint8],
    adc: WideAdc,
    psum: NDArray[np.int64],
    keep: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
    over: NDArray[np.int64],
    reads: NDArray[np.int64],
) -> None:
    """Sums of all vectors in 64-bit integers; arguments as for ``read_narrow``."""
    n_positions, n_groups = plan.origin.size, plan.group_start.size
    n_vectors, block = codes.shape[0] * n_positions, vectors_per_block(plan)
    pointer = np.empty((block, n_groups + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    sums = np.empty(cells.shape[1], dtype=np.int64)
    totals = np.empty((block, plan.n_outputs), dtype=np.int64)
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        totals[:] = 0
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            record_active(plan, plane, first, last, pointer, keep, active_rows)
            place = 1 << plane
            if plan.signed_input and plane == plan.n_planes - 1:
                place = -place
            for g in range(n_groups):
                for n in range(last - first):
                    if pointer[n, g] < pointer[n, g + 1]:
                        reads[g] += 1
                        accumulate_rows(cells, rows, pointer[n, g], pointer[n, g + 1], sums)
                        _convert_wide(sums, adc.shift[g], adc.weight[g], adc.code_max, place, totals[n], over[g])
        store_sums(codes, plan, first, last, totals, psum)


@kernel
def read_exact(
    codes: NDArray[Any],
    plan: ReadPlan,
    weights: NDArray[Any],
    psum: NDArray[np.int64],
    keep: NDArray[np.int64],
    active_rows: NDArray[np.uint16],
    reads: NDArray[np.int64],
) -> None:
    """Sums of all vectors where no conversion rounds or clips: slices and signs are one signed number a weight.

    ``weights`` are (rows, outputs) numbers of all pieces together, of a type that holds a sum over all rows. The other
    arguments are those of ``read_narrow``.
    """
    n_positions, n_groups = plan.origin.size, plan.group_start.size
    n_vectors, block = codes.shape[0] * n_positions, vectors_per_block(plan)
    pointer = np.empty((block, n_groups + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    sums = np.empty(plan.n_outputs, dtype=weights.dtype)
    totals = np.empty((block, plan.n_outputs), dtype=np.int64)
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        totals[:] = 0
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            record_active(plan, plane, first, last, pointer, keep, active_rows)
            place = 1 << plane
            if plan.signed_input and plane == plan.n_planes - 1:
                place = -place
            for n in range(last - first):
                for g in range(n_groups):
                    reads[g] += int(pointer[n, g] < pointer[n, g + 1])
                if pointer[n, 0] < pointer[n, n_groups]:
                    accumulate_rows(weights, rows, pointer[n, 0], pointer[n, n_groups], sums)
                    total = totals[n]
                    for o in range(plan.n_outputs):
                        total[o] += place * int(sums[o])
        store_sums(codes, plan, first, last, totals, psum)


@inlined
def _to_bins(sums: NDArray[Any], scale: int, n_bins: int, bins: NDArray[np.int32]) -> None:
    for c in range(sums.size):
        count: int = max(int(np.floor(sums[c] + np.float32(0.5))), 0)
        bins[c] = min(count >> scale, n_bins - 1)


@kernel
def count_sums(
    codes: NDArray[Any],
    plan: ReadPlan,
    cells: NDArray[Any],
    sums: NDArray[Any],
    place: NDArray[np.int64],
    plane_stride: int,
    scale: int,
    n_bins: int,
    histogram: NDArray[np.int64],
) -> None:
    """Count the column sums of driven reads.

    Args:
        codes: (images, padded input) codes.
        plan: geometry; nothing is converted.
        cells: (rows, columns) cell codes or conductances in unit-cell counts.
        sums: (columns,) scratch, whose number type the sums are taken in: int32 or float32.
        place: (row groups, columns) where in ``histogram`` the bins of a column's sums of plane 0 begin.
        plane_stride: entries between the bins of two planes.
        scale: log2 of the counts in a bin.
        n_bins: bins of one histogram; sums are rounded and kept within them.
        histogram: flat, int64, added to.
    """
    n_groups = plan.group_start.size
    n_vectors, block = codes.shape[0] * plan.origin.size, vectors_per_block(plan)
    pointer = np.empty((block, n_groups + 1), dtype=np.int32)
    rows = np.empty(block * plan.row_offset.size + 1, dtype=np.int32)
    bins = np.empty(sums.size, dtype=np.int32)
    for first in range(0, n_vectors, block):
        last = min(first + block, n_vectors)
        for plane in range(plan.n_planes):
            gather_rows(codes, plan, plane, first, last, pointer, rows)
            for g in range(n_groups):
                begin = place[g] + plane * plane_stride
                for n in range(last - first):
                    if pointer[n, g] < pointer[n, g + 1]:
                        accumulate_rows(cells, rows, pointer[n, g], pointer[n, g + 1], sums)
                        _to_bins(sums, scale, n_bins, bins)
                        for c in range(bins.size):
                            histogram[begin[c] + bins[c]] += 1
