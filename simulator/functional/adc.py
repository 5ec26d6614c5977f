"""ADC ranges: the log2 of each lsb, chosen from the crossbar or from calibration spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig, UniformAdc

IntArray = NDArray[np.int64]
#: Log2 of the lsb of a layer's ADCs, or (crossbars of one replica,) of each crossbar's.
LayerShift = int | IntArray
#: Bins of the histogram of one crossbar; sums of larger crossbars are counted coarsely.
_CROSSBAR_BINS = 4096


def needs_calibration(hw: HardwareConfig) -> bool:
    """Whether the ADC range follows from data."""
    return isinstance(hw.adc, UniformAdc) and hw.adc.full_scale != "max"


def is_per_crossbar(hw: HardwareConfig) -> bool:
    """Whether every crossbar has a range of its own."""
    return isinstance(hw.adc, UniformAdc) and needs_calibration(hw) and hw.adc.granularity == "crossbar"


def bin_shift(hw: HardwareConfig) -> int:
    """Log2 of the counts in one bin of a histogram of column sums."""
    if not is_per_crossbar(hw):
        return 0
    return max(0, (hw.crossbar.column_sum_max // _CROSSBAR_BINS).bit_length())


def n_bins(hw: HardwareConfig) -> int:
    """Bins of a histogram of column sums; the last one also holds what varying cells conduct above the largest sum."""
    return (hw.crossbar.column_sum_max >> bin_shift(hw)) + 1


def fixed_shift(hw: HardwareConfig) -> int:
    """Log2 of the smallest lsb whose top code reaches the largest possible column sum (0 if lossless)."""
    if not isinstance(hw.adc, UniformAdc):
        return 0
    code_max = (1 << hw.adc.bits) - 1
    shift = 0
    while (code_max << shift) < hw.crossbar.column_sum_max:
        shift += 1
    return shift


def shifts_from_histograms(histograms: Sequence[IntArray], hw: HardwareConfig) -> tuple[LayerShift, ...]:
    """Log2 lsb of each layer from its column-sum histograms (1 or crossbars, planes, slices, bins).

    A crossbar that was never read while calibrating has the lsb of its layer.
    """
    found: list[LayerShift] = []
    for histogram in histograms:
        layer = shift_from_histogram(histogram.sum(axis=0), hw)
        if is_per_crossbar(hw):
            own = [shift_from_histogram(counts, hw) if counts.any() else layer for counts in histogram]
            found.append(np.array(own, dtype=np.int64))
        else:
            found.append(layer)
    return tuple(found)


def shift_from_histogram(histogram: IntArray, hw: HardwareConfig) -> int:
    """Log2 lsb from one histogram (planes, slices, bins)."""
    top = fixed_shift(hw)
    if not isinstance(hw.adc, UniformAdc) or not needs_calibration(hw) or not histogram.any():
        return top
    code_max, scale = (1 << hw.adc.bits) - 1, bin_shift(hw)
    if hw.adc.full_scale == "percentile":
        mass = histogram.sum(axis=(0, 1)).cumsum()
        reach = int(np.searchsorted(mass, mass[-1] * (hw.adc.percentile / 100.0))) << scale
        return next(j for j in range(top + 1) if (code_max << j) >= reach)
    errors = [conversion_error(histogram, j, code_max, hw.crossbar.cell_bits, scale) for j in range(top + 1)]
    return errors.index(min(errors))


def conversion_error(histogram: IntArray, shift: int, code_max: int, cell_bits: int, scale: int = 0) -> int:
    """Summed squared error of code*lsb against S, each plane and slice weighted by its place value squared.

    Exact: Python integers. ``scale`` is the log2 of the counts in one bin.
    """
    sums = np.arange(histogram.shape[2], dtype=np.int64) << scale
    codes = np.minimum((sums + ((1 << shift) >> 1)) >> shift, code_max) << shift
    squared = (codes - sums) ** 2
    total = 0
    for plane in range(histogram.shape[0]):
        for piece in range(histogram.shape[1]):
            total += int(histogram[plane, piece] @ squared) << (2 * (plane + piece * cell_bits))
    return total
