"""Geometry of a layer's reads: where windows lie in its input, which rows are read together, cells of each column."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..kernels.gather import ReadPlan
from ..mapping.lower import LoweredLayer
from ..mapping.slices import SliceScheme, cell_codes
from ..mapping.tiles import MappedLayer

IntArray = NDArray[np.int64]

_CELLS: WeakKeyDictionary[LoweredLayer, tuple[SliceScheme, list[NDArray[np.uint8]]]] = WeakKeyDictionary()


def padded_codes(layer: LoweredLayer, codes: NDArray[np.integer]) -> NDArray[Any]:
    """Input (image-runs, padded values) of codes (runs, B, C, H, W), in the narrowest of a few number types."""
    flat = codes.reshape(-1, *codes.shape[2:])
    if layer.kind != "linear" and layer.padding:
        pad = layer.padding
        flat = np.pad(flat, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.ascontiguousarray(flat.reshape(flat.shape[0], -1), dtype=_code_type(layer))


def _code_type(layer: LoweredLayer) -> type[np.integer[Any]]:
    if not layer.input.signed and layer.input.n_planes <= 8:
        return np.uint8
    return np.int32 if layer.input.n_planes <= 31 else np.int64


def read_plan(mapped: MappedLayer, group: int, positions: IntArray | None = None) -> ReadPlan:
    """Geometry of a convolution group's reads, of all output positions or of some."""
    starts, lengths, slots = [], [], []
    for block in range(mapped.row_blocks):
        for read in range(mapped.reads_per_vector):
            length = mapped.rows_in_group(block, read)
            if length:
                starts.append(block * mapped.rows_per_crossbar + read * mapped.rows_per_read)
                lengths.append(length)
                slots.append(mapped.row_group(group, block, read))
    layer = mapped.layer
    wanted = np.arange(layer.n_positions, dtype=np.int64) if positions is None else positions
    origin, offset = _window_places(layer, group)
    return ReadPlan(
        position=wanted,
        origin=origin[wanted],
        row_offset=offset,
        group_start=np.array(starts, dtype=np.int64),
        group_len=np.array(lengths, dtype=np.int64),
        group_index=np.array(slots, dtype=np.int64),
        n_planes=layer.input.n_planes,
        signed_input=layer.input.signed,
        n_outputs=layer.n_outputs,
        piece_weight=piece_weights(mapped.scheme),
        input_offset=0 if mapped.scheme.dummy_columns else mapped.scheme.input_offset,
    )


def piece_weights(scheme: SliceScheme) -> IntArray:
    """What a code of each sign and slice, and last of a dummy column, counts in a sum: (pieces,) int64."""
    place = scheme.weight_gain << (np.arange(scheme.n_slices, dtype=np.int64) * scheme.cell_bits)
    signs = [place, -place][: scheme.n_signs]
    dummy = np.full(scheme.dummy_columns, -scheme.input_offset, dtype=np.int64)
    return np.concatenate([*signs, dummy])


def _window_places(layer: LoweredLayer, group: int) -> tuple[IntArray, IntArray]:
    """Place of each window (positions,) and, relative to it, of each row's element (rows,) in a padded input.

    Rows are input channel x kernel position, positions in raster order.
    """
    if layer.kind == "linear":
        return np.zeros(1, dtype=np.int64), np.arange(layer.n_rows, dtype=np.int64)
    channels, height, width = layer.in_shape
    height, width = height + 2 * layer.padding, width + 2 * layer.padding
    per_group = channels // layer.n_groups
    out_height, out_width = layer.out_shape[1:]
    origin = layer.stride * (np.arange(out_height)[:, None] * width + np.arange(out_width)[None, :])
    channel = (group * per_group + np.arange(per_group))[:, None, None] * (height * width)
    inside = np.arange(layer.kernel[0])[:, None] * width + np.arange(layer.kernel[1])[None, :]
    return origin.reshape(-1).astype(np.int64), (channel + inside).reshape(-1).astype(np.int64)


def row_blocks(mapped: MappedLayer, plan: ReadPlan) -> IntArray:
    """(row groups,) row block, and so the crossbars, of each row group of a plan."""
    return np.asarray(plan.group_start // mapped.rows_per_crossbar, dtype=np.int64)


def layer_cells(mapped: MappedLayer, group: int) -> NDArray[np.uint8]:
    """Cell codes (rows, columns) of a convolution group; do not write to it.

    Columns are laid out [sign][slice][output], then a dummy column for each output if the scheme has one.

    Those of the last slicing are kept with the layer: designs of a sweep mostly share it.
    """
    held = _CELLS.get(mapped.layer)
    if held is None or held[0] != mapped.scheme:
        cells = [_sliced(matrix, mapped.scheme) for matrix in mapped.layer.matrix]
        held = _CELLS[mapped.layer] = (mapped.scheme, cells)
    return held[1][group]


def _sliced(matrix: IntArray, scheme: SliceScheme) -> NDArray[np.uint8]:
    codes = cell_codes(matrix, scheme)
    pieces = codes.transpose(0, 3, 2, 1).reshape(codes.shape[0], -1)
    dummy = np.ones((codes.shape[0], scheme.dummy_columns * codes.shape[1]), dtype=np.uint8)
    return np.ascontiguousarray(np.concatenate([pieces, dummy], axis=1) if dummy.size else pieces)
