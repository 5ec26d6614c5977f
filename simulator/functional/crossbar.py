"""One layer on its crossbars: windows to vectors, vectors through cells and ADCs, codes to sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels.crossbar import ReadPlan, count_driven_rows, histogram_vectors, read_vectors
from ..mapping.lower import LoweredLayer
from ..mapping.slices import cell_codes
from ..mapping.tiles import MappedLayer

IntArray = NDArray[np.int64]
_CHUNK_VALUES = 16_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerReads:
    """What the reads of one layer gave.

    Attributes:
        psum: (runs, B, C, H, W) int64 sums P.
        active_rows: (B, runs, positions, planes, row groups) uint16.
        conversions, clipped: ADC conversions of driven reads, and how many hit the top code.
    """

    psum: IntArray
    active_rows: NDArray[np.uint16]
    conversions: int
    clipped: int


def read_layer(mapped: MappedLayer, codes: NDArray[np.integer], *, adc_shift: int, adc_bits: int) -> LayerReads:
    """Sums of a layer for input codes (runs, B, C, H, W), through the ADC of every row group.

    ``P = gain * (shifted, signed sum of code * lsb) - offset * sum(x)`` (design rules 2 and 3).
    """
    layer = mapped.layer
    runs, batch = codes.shape[:2]
    psum = np.zeros((runs * batch, layer.n_positions, layer.n_groups * layer.n_outputs), dtype=np.int64)
    active = np.zeros((runs * batch, layer.n_positions, layer.input.n_planes, mapped.n_row_groups), dtype=np.uint16)
    conversions = clipped = 0
    for group in range(layer.n_groups):
        cells = layer_cells(mapped, group)
        plan = read_plan(mapped, group, adc_shift=adc_shift, adc_bits=adc_bits)
        columns = slice(group * layer.n_outputs, (group + 1) * layer.n_outputs)
        for start, x in windows(layer, codes, group):
            stop = start + x.shape[0] // layer.n_positions
            sums = np.zeros((x.shape[0], layer.n_outputs), dtype=np.int64)
            rows = active[start:stop].reshape(x.shape[0], layer.input.n_planes, -1)
            done, over = read_vectors(x, cells, plan, sums, rows)
            conversions += done
            clipped += over
            sums *= mapped.scheme.weight_gain
            if mapped.scheme.input_offset:
                sums -= mapped.scheme.input_offset * x.sum(axis=1, dtype=np.int64)[:, None]
            psum[start:stop, :, columns] = sums.reshape(stop - start, layer.n_positions, -1)
    height, width = layer.out_shape[1:]
    return LayerReads(
        psum=np.ascontiguousarray(psum.transpose(0, 2, 1)).reshape(runs, batch, -1, height, width),
        active_rows=np.ascontiguousarray(active.reshape(runs, batch, *active.shape[1:]).transpose(1, 0, 2, 3, 4)),
        conversions=int(conversions),
        clipped=int(clipped),
    )


def layer_histogram(mapped: MappedLayer, codes: NDArray[np.integer], column_sum_max: int) -> IntArray:
    """Column sums of driven reads: counts (planes, slices, column_sum_max + 1) int64."""
    layer = mapped.layer
    histogram = np.zeros((layer.input.n_planes, mapped.scheme.n_slices, column_sum_max + 1), dtype=np.int64)
    for group in range(layer.n_groups):
        plan = read_plan(mapped, group, adc_shift=0, adc_bits=1)
        cells = layer_cells(mapped, group)
        for _, x in windows(layer, codes, group):
            histogram_vectors(x, cells, plan, histogram)
    return histogram


def driven_rows(mapped: MappedLayer, codes: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Active rows (B, runs, positions, planes, row groups) without computing any sum."""
    layer = mapped.layer
    runs, batch = codes.shape[:2]
    active = np.zeros((runs * batch, layer.n_positions, layer.input.n_planes, mapped.n_row_groups), dtype=np.uint16)
    for group in range(layer.n_groups):
        plan = read_plan(mapped, group, adc_shift=0, adc_bits=1)
        for start, x in windows(layer, codes, group):
            stop = start + x.shape[0] // layer.n_positions
            count_driven_rows(x, plan, active[start:stop].reshape(x.shape[0], layer.input.n_planes, -1))
    return np.ascontiguousarray(active.reshape(runs, batch, *active.shape[1:]).transpose(1, 0, 2, 3, 4))


def layer_cells(mapped: MappedLayer, group: int) -> NDArray[np.uint8]:
    """Cell codes (rows, columns) of a convolution group, columns laid out [sign][slice][output]."""
    codes = cell_codes(mapped.layer.matrix[group], mapped.scheme)
    return np.ascontiguousarray(codes.transpose(0, 3, 2, 1)).reshape(codes.shape[0], -1)


def read_plan(mapped: MappedLayer, group: int, *, adc_shift: int, adc_bits: int) -> ReadPlan:
    """Row groups and ADC of a layer, for the kernels."""
    starts, lengths, slots = [], [], []
    for block in range(mapped.row_blocks):
        for read in range(mapped.reads_per_vector):
            length = mapped.rows_in_group(block, read)
            if length:
                starts.append(block * mapped.rows_per_crossbar + read * mapped.rows_per_read)
                lengths.append(length)
                slots.append(mapped.row_group(group, block, read))
    layer = mapped.layer
    return ReadPlan(
        group_start=np.array(starts, dtype=np.int64),
        group_len=np.array(lengths, dtype=np.int64),
        group_index=np.array(slots, dtype=np.int64),
        n_planes=layer.input.n_planes,
        signed_input=layer.input.signed,
        n_signs=mapped.scheme.n_signs,
        n_slices=mapped.scheme.n_slices,
        n_outputs=layer.n_outputs,
        cell_bits=mapped.scheme.cell_bits,
        adc_shift=adc_shift,
        code_max=(1 << adc_bits) - 1,
    )


def windows(layer: LoweredLayer, codes: NDArray[np.integer], group: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Input vectors of a group, chunk by chunk: (first image-run, (image-runs x positions, rows) int32).

    Rows are input channel x kernel position, positions in raster order, padding is code 0.
    """
    flat = codes.reshape(-1, *codes.shape[2:])
    if layer.kind == "linear":
        yield 0, np.ascontiguousarray(flat.reshape(flat.shape[0], -1), dtype=np.int32)
        return
    per_group = flat.shape[1] // layer.n_groups
    flat = flat[:, group * per_group : (group + 1) * per_group]
    step = max(1, _CHUNK_VALUES // (layer.n_positions * layer.n_rows))
    pad = layer.padding
    for start in range(0, flat.shape[0], step):
        part = np.pad(flat[start : start + step].astype(np.int32), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        view = np.lib.stride_tricks.sliding_window_view(part, layer.kernel, axis=(2, 3))
        view = view[:, :, :: layer.stride, :: layer.stride]
        # (image, C, H, W, K_h, K_w) -> (image, H, W, C, K_h, K_w)
        yield start, np.ascontiguousarray(view.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, layer.n_rows)
