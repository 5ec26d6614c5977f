"""Reads of crossbars in training by plain loops: one window, one row group, one column at a time.

Float32 wherever the kernel has float32, rows added in fours as there; nothing of the kernel is used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

F = np.float32


def read_plane(
    windows: Any, plane: int, place: float, place_share: float, tables: Any, normal: Any, outputs: Any, passes: Any
) -> int:
    """Add to ``outputs`` and ``passes`` in place; returns how many conversions clipped."""
    n_outputs, n_pieces, clipped = outputs.shape[1], len(tables.share), 0
    for g, (start, length) in enumerate(zip(tables.start, tables.length, strict=True)):
        for m in range(len(windows)):
            driven = [r for r in range(length) if bit(int(windows[m, start + r]), plane)]
            clear = [[F(1)] * n_pieces for _ in range(n_outputs)]
            if driven:
                for column in range(n_pieces * n_outputs):
                    piece, output = divmod(column, n_outputs)
                    total = summed([tables.values[g, r, column] for r in driven])
                    if normal.size:
                        total = F(total + spread(tables, g, driven, column) * normal[g, m, tables.own[column]])
                    code = math.floor(F(total * tables.scale[g, column]) + tables.offset[g, column])
                    if code > tables.top or code < 0:
                        clipped += int(tables.counted[column])
                        clear[output][piece] = F(0)
                    code = min(max(code, 0), int(tables.top))
                    outputs[m, output] += place * code * tables.weight[g, column]
            if passes.size:
                for output in range(n_outputs):
                    share = F(0)
                    for piece in range(n_pieces):
                        share = F(share + tables.share[piece] * clear[output][piece])
                    passes[m, g, output] += F(F(place_share) * share)
    return clipped


def bit(code: int, plane: int) -> int:
    """Of the two's complement."""
    return (code // 2**plane) % 2


def summed(cells: list[Any]) -> Any:
    """Float32 sum, four at a time."""
    total, whole = F(0), len(cells) // 4 * 4
    for i in range(0, whole, 4):
        total = F(total + F(F(cells[i] + cells[i + 1]) + F(cells[i + 2] + cells[i + 3])))
    for cell in cells[whole:]:
        total = F(total + cell)
    return total


def spread(tables: Any, g: int, driven: list[int], column: int) -> Any:
    """Standard deviation of a column sum and its conversion."""
    variance = summed([tables.variance[g, r, column] for r in driven]) if tables.variance.size else F(0)
    if tables.adc_variance.size:
        variance = F(variance + tables.adc_variance[g, column])
    return F(math.sqrt(max(variance, F(0))))
