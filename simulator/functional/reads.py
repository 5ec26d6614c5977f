"""Reads of ideal cells by the cheapest kernel that is exact, and what all kinds of reads share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..kernels.crossbar import NarrowAdc, WideAdc, read_exact, read_narrow, read_wide
from ..kernels.gather import ReadPlan
from ..kernels.packed import Packing, packing
from ..mapping.layout import column_layout
from ..mapping.tiles import MappedLayer
from .adc import LayerShift
from .geometry import layer_cells, read_plan, row_blocks

IntArray = NDArray[np.int64]
_INT16_MAX = 2**15 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Arrays that the kernels of one convolution group write."""

    psum: IntArray
    keep: IntArray
    active_rows: NDArray[np.uint16]
    energy_fJ: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """Driven reads (row groups,) and clipped conversions (row groups, columns) of a convolution group."""

    plan: ReadPlan
    reads: IntArray
    over: IntArray


def shared_out(
    work: Callable[[slice, IntArray, IntArray], None], plan: ReadPlan, n_columns: int, n_runs: int, n_threads: int
) -> Counted:
    """Do the work on image-runs in as many parts as there are threads; counts are added up."""
    n_parts = max(1, min(n_threads, n_runs))
    edges = [n_runs * i // n_parts for i in range(n_parts + 1)]
    over = np.zeros((n_parts, plan.group_start.size, n_columns), dtype=np.int64)
    reads = np.zeros((n_parts, plan.group_start.size), dtype=np.int64)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    if n_parts == 1:
        work(parts[0], over[0], reads[0])
    else:
        with ThreadPoolExecutor(n_parts) as pool:
            list(pool.map(work, parts, over, reads))
    return Counted(plan=plan, reads=reads.sum(axis=0), over=over.sum(axis=0))


def read_ideal(
    mapped: MappedLayer,
    group: int,
    flat: NDArray[Any],
    tally: Tally,
    adc_shift: LayerShift,
    adc_bits: int,
    n_threads: int,
) -> Counted:
    """Integer cells and equal ADCs, by the cheapest kernel that is exact."""
    plan, cells = read_plan(mapped, group), layer_cells(mapped, group)
    shift = shift_table(mapped, group, plan, adc_shift)
    code_max = 2**adc_bits - 1
    kernel, narrow = ideal_kernel(mapped, plan, cells, shift, code_max)
    if kernel == "exact":  # slices and signs are one number a weight
        weights = signed_weights(plan, cells)

        def work(part: slice, over: IntArray, reads: IntArray) -> None:
            read_exact(flat[part], plan, weights, tally.psum[part], tally.keep[part], tally.active_rows, reads)

        return shared_out(work, plan, cells.shape[1], flat.shape[0], n_threads)
    if narrow is not None:
        lanes = cells if _largest_sum(mapped, plan) < 2**8 else cells.astype(np.uint16)
        pack = ideal_packing(mapped, plan)

        def work(part: slice, over: IntArray, reads: IntArray) -> None:
            read_narrow(
                flat[part],
                plan,
                lanes,
                narrow,
                mapped.scheme.cell_bits,
                pack,
                tally.psum[part],
                tally.keep[part],
                tally.active_rows,
                over,
                reads,
            )

    else:
        wide = WideAdc(shift=shift, weight=column_weights(plan) << shift, code_max=code_max)

        def work(part: slice, over: IntArray, reads: IntArray) -> None:
            read_wide(flat[part], plan, cells, wide, tally.psum[part], tally.keep[part], tally.active_rows, over, reads)

    return shared_out(work, plan, cells.shape[1], flat.shape[0], n_threads)


def ideal_kernel(
    mapped: MappedLayer, plan: ReadPlan, cells: NDArray[np.uint8], shift: IntArray, code_max: int
) -> tuple[Literal["exact", "narrow", "wide"], NarrowAdc | None]:
    """The cheapest kernel that gives the exact codes: without ADCs, in 16-bit lanes of these ADCs, or in 64 bits."""
    if converts_exactly(plan, cells, shift, code_max):
        return "exact", None
    narrow = narrow_adc(plan, shift, code_max) if _largest_sum(mapped, plan) < 2**16 else None
    return ("wide", None) if narrow is None else ("narrow", narrow)


def ideal_packing(mapped: MappedLayer, plan: ReadPlan) -> Packing:
    """When reads in narrow lanes count packed words."""
    lane_bits = 8 if _largest_sum(mapped, plan) < 2**8 else 16
    return packing(mapped.scheme.cell_bits, int(plan.group_len.max()), lane_bits)


def _largest_sum(mapped: MappedLayer, plan: ReadPlan) -> int:
    return int(plan.group_len.max()) * int(2**mapped.scheme.cell_bits - 1)


def shift_table(mapped: MappedLayer, group: int, plan: ReadPlan, adc_shift: LayerShift) -> IntArray:
    """(row groups, columns) log2 lsb."""
    layout = column_layout(mapped, group)
    if isinstance(adc_shift, np.ndarray):
        return np.asarray(adc_shift[layout.crossbar[row_blocks(mapped, plan)]], dtype=np.int64)
    return np.full((plan.group_start.size, layout.bitline.size), adc_shift, dtype=np.int64)


def converts_exactly(plan: ReadPlan, cells: NDArray[np.uint8], shift: IntArray, code_max: int) -> bool:
    """Whether no conversion can round or clip: lsb 1, and the largest sum that the cells can give has a code."""
    if shift.any():
        return False
    if int(plan.group_len.max()) * int(cells.max()) <= code_max:
        return True
    sums = np.add.reduceat(cells, plan.group_start, axis=0, dtype=np.int64)
    return bool(sums.max() <= code_max)


def column_weights(plan: ReadPlan) -> IntArray:
    """(1, columns) what a code of each column counts in a sum."""
    return np.repeat(plan.piece_weight, plan.n_outputs)[None, :]


def narrow_adc(plan: ReadPlan, shift: IntArray, code_max: int) -> NarrowAdc | None:
    """ADCs in 16-bit lanes, None where a code or the sum of one read's codes would not fit."""
    weight = column_weights(plan) << shift
    pieces = weight.reshape(shift.shape[0], -1, plan.n_outputs)
    reach = max(int(np.maximum(pieces, 0).sum(axis=1).max()), int(np.maximum(-pieces, 0).sum(axis=1).max()))
    if code_max > 255 or int(shift.max()) > 8 or code_max * reach > _INT16_MAX:
        return None
    half = (1 << shift) >> 1
    return NarrowAdc(
        limit=((code_max << shift) + np.maximum(half - 1, 0)).astype(np.uint16),
        scale=(1 << (8 - shift)).astype(np.uint16),
        weight=(weight & 0xFFFF).astype(np.uint16),
    )


def signed_weights(plan: ReadPlan, cells: NDArray[np.uint8]) -> NDArray[Any]:
    """All pieces as one number a weight, (rows, outputs), int32 if every sum over rows fits it, else int64."""
    pieces = cells.reshape(cells.shape[0], -1, plan.n_outputs)
    weights = np.zeros((cells.shape[0], plan.n_outputs), dtype=np.int64)
    for piece, weight in enumerate(plan.piece_weight):
        weights += int(weight) * pieces[:, piece].astype(np.int64)
    reach = int(np.abs(weights).sum(axis=0).max())
    return np.ascontiguousarray(weights, dtype=np.int32 if reach < 2**31 else np.int64)
