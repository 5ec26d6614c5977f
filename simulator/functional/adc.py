"""ADC ranges: the log2 of each layer's lsb, chosen from the crossbar or from calibration spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig, UniformAdc

IntArray = NDArray[np.int64]


def needs_calibration(hw: HardwareConfig) -> bool:
    """Whether the ADC range follows from data."""
    return isinstance(hw.adc, UniformAdc) and hw.adc.full_scale != "max"


def fixed_shift(hw: HardwareConfig) -> int:
    """Log2 of the smallest lsb whose top code reaches the largest possible column sum (0 if lossless)."""
    if not isinstance(hw.adc, UniformAdc):
        return 0
    code_max = (1 << hw.adc.bits) - 1
    shift = 0
    while (code_max << shift) < hw.crossbar.column_sum_max:
        shift += 1
    return shift


def shifts_from_histograms(histograms: Sequence[IntArray], hw: HardwareConfig) -> tuple[int, ...]:
    """Log2 lsb of each layer from its column-sum histogram (planes, slices, sums)."""
    return tuple(_shift_from_histogram(histogram, hw) for histogram in histograms)


def _shift_from_histogram(histogram: IntArray, hw: HardwareConfig) -> int:
    top = fixed_shift(hw)
    if not isinstance(hw.adc, UniformAdc) or not needs_calibration(hw) or not histogram.any():
        return top
    code_max = (1 << hw.adc.bits) - 1
    if hw.adc.full_scale == "percentile":
        mass = histogram.sum(axis=(0, 1)).cumsum()
        reach = int(np.searchsorted(mass, mass[-1] * (hw.adc.percentile / 100.0)))
        return next(j for j in range(top + 1) if (code_max << j) >= reach)
    errors = [conversion_error(histogram, j, code_max, hw.crossbar.cell_bits) for j in range(top + 1)]
    return errors.index(min(errors))


def conversion_error(histogram: IntArray, shift: int, code_max: int, cell_bits: int) -> int:
    """Summed squared error of code*lsb against S, each plane and slice weighted by its place value squared.

    Exact: Python integers.
    """
    sums = np.arange(histogram.shape[2], dtype=np.int64)
    codes = np.minimum((sums + ((1 << shift) >> 1)) >> shift, code_max) << shift
    squared = (codes - sums) ** 2
    total = 0
    for plane in range(histogram.shape[0]):
        for piece in range(histogram.shape[1]):
            total += int(histogram[plane, piece] @ squared) << (2 * (plane + piece * cell_bits))
    return total
