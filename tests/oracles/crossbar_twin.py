"""Slow, obvious twin of the crossbars: physical arrays of cells, one column at a time, plain Python.

Shares no code with the simulator: it places every digit of every weight on a cell of a physical crossbar
and recombines what its ADCs say.
"""

from __future__ import annotations

import math
from fractions import Fraction


def digits(value: int, cell_bits: int, count: int) -> list[int]:
    """Base-2^cell_bits digits of a non-negative number, lowest first."""
    base = 2**cell_bits
    out = []
    for _ in range(count):
        value, rest = divmod(value, base)
        out.append(rest)
    assert value == 0
    return out


def stored_numbers(weight: int, weight_bits: int, kind: str) -> list[int]:
    """What one weight stores, one number a sign: [positive, negative] or [shifted]."""
    if kind == "differential":
        return [weight, 0] if weight > 0 else [0, -weight]
    if kind == "offset":
        return [weight + 2 ** (weight_bits - 1)]
    levels = 2**weight_bits - 1
    assert (weight + levels) % 2 == 0
    return [(weight + levels) // 2]


def n_slices(weight_bits: int, cell_bits: int, kind: str) -> int:
    magnitude = weight_bits - 1 if kind == "differential" else weight_bits
    return max(1, math.ceil(magnitude / cell_bits))


def input_bits_of(value: int, bits: int) -> list[int]:
    """Two's complement bits, lowest first."""
    unsigned = value % 2**bits
    return [(unsigned >> b) & 1 for b in range(bits)]


def convert(column_sum: int, lsb: int, adc_bits: int) -> int:
    code = math.floor(Fraction(column_sum, lsb) + Fraction(1, 2))
    return max(0, min(code, 2**adc_bits - 1))


def crossbar_product(
    vector: list[int],
    weights: list[list[int]],
    *,
    input_bits: int,
    input_signed: bool,
    weight_bits: int,
    kind: str,
    cell_bits: int,
    rows: int,
    rows_active: int,
    lsb: int,
    adc_bits: int,
    dummy_cols: int = 0,
) -> tuple[list[int], dict[tuple[int, int, int], int], int, int]:
    """(sums, active rows by (plane, row block, read), conversions, clipped) of one vector; weights[row][output].

    ``dummy_cols``: bitlines of a crossbar whose last one measures the number of driven rows; 0 where it is counted.
    """
    n_out = len(weights[0])
    pieces = n_slices(weight_bits, cell_bits, kind)
    totals = [0] * n_out
    active: dict[tuple[int, int, int], int] = {}
    conversions = clipped = measured = 0
    planes = [input_bits_of(value, input_bits) for value in vector]
    for block_start in range(0, len(vector), rows):
        block = range(block_start, min(block_start + rows, len(vector)))
        for read_start in range(block_start, block_start + rows, rows_active):
            read = [r for r in range(read_start, read_start + rows_active) if r in block]
            for plane in range(input_bits):
                driven = [r for r in read if planes[r][plane]]
                key = (plane, block_start // rows, (read_start - block_start) // rows_active)
                active[key] = len(driven)
                if not driven:
                    continue
                place = -(2**plane) if input_signed and plane == input_bits - 1 else 2**plane
                if dummy_cols:
                    code = convert(len(driven), lsb, adc_bits)
                    per_crossbar = max(1, (dummy_cols - 1) // (pieces * (2 if kind == "differential" else 1)))
                    crossbars = -(-n_out // per_crossbar)
                    conversions += crossbars
                    clipped += crossbars * (math.floor(Fraction(len(driven), lsb) + Fraction(1, 2)) > code)
                    measured += place * code * lsb
                for o in range(n_out):
                    for sign in range(2 if kind == "differential" else 1):
                        for s in range(pieces):
                            column = 0
                            for r in driven:
                                number = stored_numbers(weights[r][o], weight_bits, kind)[sign]
                                column += digits(number, cell_bits, pieces)[s]
                            code = convert(column, lsb, adc_bits)
                            conversions += 1
                            clipped += math.floor(Fraction(column, lsb) + Fraction(1, 2)) > code
                            value = code * lsb * 2 ** (cell_bits * s) * place
                            totals[o] += -value if sign == 1 else value
    spike_sum = measured if dummy_cols else sum(vector)
    if kind == "offset":
        totals = [t - 2 ** (weight_bits - 1) * spike_sum for t in totals]
    elif kind == "affine":
        totals = [2 * t - (2**weight_bits - 1) * spike_sum for t in totals]
    return totals, active, conversions, clipped


def conv_windows(image: list[list[list[int]]], kernel: tuple[int, int], stride: int, padding: int) -> list[list[int]]:
    """Window vectors in raster order, channel-major then kernel position, zero padding."""
    height, width = len(image[0]), len(image[0][0])

    def pixel(c: int, y: int, x: int) -> int:
        return image[c][y][x] if 0 <= y < height and 0 <= x < width else 0

    windows = []
    for top in range(-padding, height + padding - kernel[0] + 1, stride):
        for left in range(-padding, width + padding - kernel[1] + 1, stride):
            windows.append(
                [
                    pixel(c, top + dy, left + dx)
                    for c in range(len(image))
                    for dy in range(kernel[0])
                    for dx in range(kernel[1])
                ]
            )
    return windows
