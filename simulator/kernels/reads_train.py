"""Reads of a layer's crossbars in training: column sums of one bit plane, their conversion, and what did not clip.

Values are float32: sums of ideal cells are integers and exact, sums of scattered cells are added four rows at a time.
Only driven rows are touched, and nothing as large as all column sums is ever held.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

FloatArray = NDArray[np.float32]

_ZERO = np.float32(0.0)
_NONE, _ONCE = np.int32(0), np.int32(1)


class ReadTables(NamedTuple):
    """Rows, cells and ADCs of a layer; columns are ordered by piece (sign and slice), then by output.

    Attributes:
        start: (row groups,) int64 first row of each.
        length: (row groups,) int64 rows of each.
        values: (row groups, rows, columns) cells in unit-cell counts.
        variance: the same for the noise of a read, empty without.
        scale: (row groups, columns) codes per unit-cell count.
        offset: (row groups, columns) what is added before a sum is rounded down, in codes.
        adc_variance: (row groups, columns) of a conversion, in unit-cell counts squared; empty without.
        weight: (row groups, columns) what a code adds to its output, of the type of the outputs.
        own: (columns,) int64 column that is really there: a dummy column serves all outputs.
        counted: (columns,) int32, 1 for one entry of every column that is really there, else 0.
        share: (pieces,) share of each piece in the place value of a weight.
        top: largest code.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    values: FloatArray
    variance: FloatArray
    scale: FloatArray
    offset: FloatArray
    adc_variance: FloatArray
    weight: NDArray[Any]
    own: NDArray[np.int64]
    counted: NDArray[np.int32]
    share: FloatArray
    top: np.float32


@kernel
def read_plane(
    windows: FloatArray,
    plane: int,
    place: Any,
    place_share: np.float32,
    tables: ReadTables,
    normal: FloatArray,
    outputs: NDArray[Any],
    passes: FloatArray,
) -> int:
    """Read one bit plane of every window; a read without driven rows does not happen.

    Args:
        windows: (M, rows) integer codes.
        plane: which bit of them drives the rows.
        place: what a code of the plane counts, negative for the sign of a code; of the type of the outputs.
        place_share: share of the plane in the place value of an input code.
        tables: of the layer.
        normal: (row groups, M, columns) normal draws, empty without noise.
        outputs: (M, outputs) sums; the place times the weighted codes is added.
        passes: (M, row groups, outputs); the share of the place value that did not clip is added. Empty if not wanted.

    Returns:
        Conversions that clipped.
    """
    n_columns, n_outputs = tables.own.size, outputs.shape[1]
    driven = np.empty(tables.values.shape[1], np.int64)
    sums, spread = np.empty(n_columns, np.float32), np.empty(n_columns, np.float32)
    clear = np.empty(n_outputs, np.float32)
    wanted, noisy = passes.size > 0, normal.size > 0
    whole = _ZERO
    for part in tables.share:
        whole += part
    clipped = 0
    for g in range(tables.start.size):
        first, last = tables.start[g], tables.start[g] + tables.length[g]
        for m in range(windows.shape[0]):
            n_driven = _gather(windows[m, first:last], plane, driven)
            clear[:] = whole
            if n_driven > 0:
                _add_rows(tables.values[g], driven, n_driven, sums)
                if noisy:
                    _variance(tables, g, driven, n_driven, spread)
                    for c in range(n_columns):
                        sums[c] += np.sqrt(max(spread[c], _ZERO)) * normal[g, m, tables.own[c]]
                clear[:] = _ZERO
                for p in range(tables.share.size):
                    of = slice(p * n_outputs, (p + 1) * n_outputs)
                    clipped += _convert(
                        sums[of],
                        tables.scale[g, of],
                        tables.offset[g, of],
                        tables.weight[g, of],
                        tables.counted[of],
                        tables.top,
                        tables.share[p],
                        place,
                        outputs[m],
                        clear,
                    )
            if wanted:
                out = passes[m, g]
                for o in range(n_outputs):
                    out[o] += place_share * clear[o]
    return clipped


@inlined
def _gather(row: FloatArray, plane: int, driven: NDArray[np.int64]) -> int:
    n_driven = 0
    for r in range(row.size):
        driven[n_driven] = r
        n_driven += (int(row[r]) >> plane) & 1
    return n_driven


@inlined
def _add_rows(cells: FloatArray, driven: NDArray[np.int64], n_driven: int, sums: FloatArray) -> None:
    sums[:] = _ZERO
    whole = n_driven - n_driven % 4
    for i in range(0, whole, 4):
        a, b, c, d = cells[driven[i]], cells[driven[i + 1]], cells[driven[i + 2]], cells[driven[i + 3]]
        for column in range(sums.size):
            sums[column] += (a[column] + b[column]) + (c[column] + d[column])
    for i in range(whole, n_driven):
        a = cells[driven[i]]
        for column in range(sums.size):
            sums[column] += a[column]


@inlined
def _variance(tables: ReadTables, g: int, driven: NDArray[np.int64], n_driven: int, spread: FloatArray) -> None:
    if tables.variance.size > 0:
        _add_rows(tables.variance[g], driven, n_driven, spread)
    else:
        spread[:] = _ZERO
    if tables.adc_variance.size > 0:
        spread += tables.adc_variance[g]


@inlined
def _convert(
    sums: FloatArray,
    scale: FloatArray,
    offset: FloatArray,
    weight: NDArray[Any],
    counted: NDArray[np.int32],
    top: np.float32,
    share: np.float32,
    place: Any,
    outputs: NDArray[Any],
    clear: FloatArray,
) -> int:
    """Convert one piece: codes to ``outputs``, the share that did not clip to ``clear``; returns how many clipped."""
    clipped = _NONE
    for o in range(sums.size):
        code = np.floor(sums[o] * scale[o] + offset[o])
        over = _ONCE if (code > top or code < _ZERO) else _NONE
        clipped += over * counted[o]
        code = top if code > top else code
        code = _ZERO if code < _ZERO else code
        outputs[o] += place * (code * weight[o])
        clear[o] += _ZERO if over else share
    return int(clipped)
