"""One layer on its crossbars: spikes to driven rows, rows through cells and ADCs, codes to sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.crossbar import count_sums
from ..kernels.gather import count_driven_rows
from ..mapping.layout import column_layout
from ..mapping.tiles import MappedLayer
from .adc import LayerShift
from .chip_reads import ChipRun, read_chip
from .geometry import layer_cells, padded_codes, read_plan, row_blocks
from .reads import Counted, Tally, read_ideal

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerReads:
    """What the reads of one layer gave.

    Attributes:
        psum: (runs, B, C, H, W) int64 sums P.
        active_rows: (kept images, runs, positions, planes, row groups) uint16.
        conversions, clipped: (crossbars of one replica,) ADC conversions of driven reads, and how many hit the top
            code.
        read_fJ: (B, runs) energy of the driven cells, None where cells are ideal.
    """

    psum: IntArray
    active_rows: NDArray[np.uint16]
    conversions: IntArray
    clipped: IntArray
    read_fJ: NDArray[np.float64] | None


def read_layer(
    mapped: MappedLayer,
    codes: NDArray[np.integer],
    *,
    adc_shift: LayerShift,
    adc_bits: int,
    run: ChipRun | None = None,
    kept: int | None = None,
    n_threads: int = 1,
) -> LayerReads:
    """Sums of a layer for input codes (runs, B, C, H, W), through the ADC of every row group.

    ``P = gain * (shifted, signed sum of code * lsb) - offset * sum(x)`` (design rules 2 and 3).

    Args:
        mapped: layer on its crossbars.
        codes: input codes.
        adc_shift: log2 of the lsb of the layer's ADCs, or of each crossbar's.
        adc_bits: width of a code.
        run: the chip, for cells or ADCs that are not ideal.
        kept: images, the first ones, whose active rows are returned; None: all.
        n_threads: threads that share the images; the result does not depend on them.
    """
    layer = mapped.layer
    runs, batch = codes.shape[:2]
    flat = padded_codes(layer, codes)
    n_kept = batch if kept is None else min(kept, batch)
    image = np.tile(np.arange(batch, dtype=np.int64), runs)
    step = np.repeat(np.arange(runs, dtype=np.int64), batch)
    keep = np.where(image < n_kept, step * n_kept + image, -1)
    active = np.zeros((runs * n_kept, layer.n_positions, layer.input.n_planes, mapped.n_row_groups), dtype=np.uint16)
    psum = np.empty((runs * batch, layer.n_groups * layer.n_outputs, layer.n_positions), dtype=np.int64)
    energy_fJ = np.zeros(runs * batch)
    n_crossbars = column_layout(mapped, 0).n_crossbars
    conversions, clipped = np.zeros(n_crossbars, dtype=np.int64), np.zeros(n_crossbars, dtype=np.int64)
    for group in range(layer.n_groups):
        outputs = slice(group * layer.n_outputs, (group + 1) * layer.n_outputs)
        tally = Tally(psum=psum[:, outputs], keep=keep, active_rows=active, energy_fJ=energy_fJ)
        if run is None:
            counted = read_ideal(mapped, group, flat, tally, adc_shift, adc_bits, n_threads)
        else:
            counted = read_chip(mapped, group, flat, tally, adc_shift, run, image, step, n_threads)
        _count(mapped, group, counted, conversions, clipped)
    height, width = layer.out_shape[1:]
    measured = run is not None and run.switches.conduct and not run.chip.hw.crossbar.is_ideal
    return LayerReads(
        psum=psum.reshape(runs, batch, -1, height, width),
        active_rows=np.ascontiguousarray(active.reshape(runs, n_kept, *active.shape[1:]).swapaxes(0, 1)),
        conversions=conversions,
        clipped=clipped,
        read_fJ=energy_fJ.reshape(runs, batch).T.copy() if measured else None,
    )


def _count(mapped: MappedLayer, group: int, counted: Counted, conversions: IntArray, clipped: IntArray) -> None:
    """Add the counts of a convolution group to those of its crossbars."""
    layout = column_layout(mapped, group)
    own = np.flatnonzero(layout.own == np.arange(layout.own.size))
    crossbar = layout.crossbar[row_blocks(mapped, counted.plan)][:, own]
    np.add.at(conversions, crossbar, np.broadcast_to(counted.reads[:, None], crossbar.shape))
    np.add.at(clipped, crossbar, counted.over[:, own])


def layer_histogram(
    mapped: MappedLayer,
    codes: NDArray[np.integer],
    *,
    bins: int,
    scale: int = 0,
    per_crossbar: bool = False,
    run: ChipRun | None = None,
) -> IntArray:
    """Column sums of driven reads: counts (1 or crossbars, planes, slices, bins) int64, 2^scale counts a bin.

    With a chip the sums are those of its cells, without read noise; all positions are read by its first replica.
    """
    layer, n_slices = mapped.layer, mapped.scheme.n_slices
    n_histograms = column_layout(mapped, 0).n_crossbars if per_crossbar else 1
    histogram = np.zeros((n_histograms, layer.input.n_planes, n_slices, bins), dtype=np.int64)
    flat = padded_codes(layer, codes)
    for group in range(layer.n_groups):
        plan = read_plan(mapped, group)
        cells: NDArray[Any] = layer_cells(mapped, group)
        sums: NDArray[Any] = np.empty(cells.shape[1], dtype=np.int32)
        if run is not None:
            cells = run.chip.group_cells(mapped, group, 0, run.switches).cells.values
            sums = np.empty(cells.shape[1], dtype=np.float32)
        n_columns = mapped.scheme.n_signs * n_slices * plan.n_outputs  # a dummy column is not counted
        cells, sums = np.ascontiguousarray(cells[:, :n_columns]), sums[:n_columns]
        crossbar = column_layout(mapped, group).crossbar[row_blocks(mapped, plan), :n_columns]
        piece = np.tile(np.repeat(np.arange(n_slices), plan.n_outputs), mapped.scheme.n_signs)
        place = (crossbar * layer.input.n_planes * n_slices * per_crossbar + piece[None, :]) * bins
        count_sums(flat, plan, cells, sums, place, n_slices * bins, scale, bins, histogram.reshape(-1))
    return histogram


def driven_rows(mapped: MappedLayer, codes: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Active rows (B, runs, positions, planes, row groups) without computing any sum."""
    layer = mapped.layer
    runs, batch = codes.shape[:2]
    active = np.zeros((runs * batch, layer.n_positions, layer.input.n_planes, mapped.n_row_groups), dtype=np.uint16)
    flat, keep = padded_codes(layer, codes), np.arange(runs * batch, dtype=np.int64)
    for group in range(layer.n_groups):
        count_driven_rows(flat, read_plan(mapped, group), keep, active)
    return np.ascontiguousarray(active.reshape(runs, batch, *active.shape[1:]).swapaxes(0, 1))
