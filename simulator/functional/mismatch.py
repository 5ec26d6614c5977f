"""ADCs that differ from one another: offset, gain, and uneven steps, drawn once for each ADC of a chip.

A threshold t_k is the input, in lsb, from which on an ADC gives code k or more; an ideal one has t_k = k - 1/2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..config import UniformAdc
from ..draws import CellDraws

FloatArray = NDArray[np.float64]

#: Streams of draws; cell models use streams below these.
_GAIN, _OFFSET, _UNITS, _COMPARATORS = 1001, 1002, 1003, 1004


def adc_gain_and_offset(adc: UniformAdc, key: int, n_adcs: int) -> tuple[FloatArray, FloatArray]:
    """(n_adcs,) relative gain and offset in lsb of the ADCs of a crossbar with that key."""
    draws = CellDraws(key=key, rows=1, cols=n_adcs)
    gain = 1.0 + adc.gain_sigma * draws.normal(_GAIN)[0] if adc.gain_sigma else np.ones(n_adcs)
    offset = adc.offset_sigma_lsb * draws.normal(_OFFSET)[0] if adc.offset_sigma_lsb else np.zeros(n_adcs)
    return np.maximum(gain, 0.0), offset


def adc_thresholds(adc: UniformAdc, key: int, n_adcs: int) -> FloatArray:
    """(n_adcs, 2^bits - 1) ascending thresholds t_1, t_2 ... of the ADCs of a crossbar with that key."""
    if adc.architecture == "sar":
        return sar_thresholds(_units(adc, key, adc.bits, n_adcs))
    if adc.architecture == "ramp":
        return ramp_thresholds(_units(adc, key, 2**adc.bits - 1, n_adcs))
    comparators = CellDraws(key=key, rows=2**adc.bits - 1, cols=n_adcs).normal(_COMPARATORS).T
    return flash_thresholds(_units(adc, key, 2**adc.bits, n_adcs), adc.comparator_sigma_lsb * comparators)


def _units(adc: UniformAdc, key: int, count: int, n_adcs: int) -> FloatArray:
    """(n_adcs, count) sizes relative to the nominal ones; 2^b equal units together scatter by sigma / sqrt(2^b)."""
    relative = adc.unit_sigma * CellDraws(key=key, rows=count, cols=n_adcs).normal(_UNITS).T
    if adc.architecture == "sar":
        relative = relative / np.sqrt(2.0 ** np.arange(count))
    return np.asarray(np.maximum(1.0 + relative, 0.0), dtype=np.float64)


def sar_thresholds(capacitors: FloatArray) -> FloatArray:
    """Thresholds of successive approximation with relative capacitor sizes (ADCs, bits), lowest bit first.

    The conversion walks a binary tree from the top bit; a node is decided at the level of its code, but only inputs
    that came that far meet it, so its threshold lies between those of the nodes above. Codes may be missing.
    """
    n_adcs, bits = capacitors.shape
    thresholds = np.zeros((n_adcs, 2**bits - 1))
    sizes = capacitors * 2.0 ** np.arange(bits)

    def decide(prefix: int, bit: int, low: FloatArray, high: FloatArray) -> None:
        if bit < 0:
            return
        code = prefix | (1 << bit)
        level = sum((sizes[:, b] for b in range(bits) if code >> b & 1), np.zeros(n_adcs)) - 0.5
        threshold = np.clip(level, low, high)
        thresholds[:, code - 1] = threshold
        decide(prefix, bit - 1, low, threshold)
        decide(code, bit - 1, threshold, high)

    decide(0, bits - 1, np.full(n_adcs, -np.inf), np.full(n_adcs, np.inf))
    return thresholds


def ramp_thresholds(steps: FloatArray) -> FloatArray:
    """Thresholds of a ramp with relative steps (ADCs, 2^bits - 1): the errors of the steps add up."""
    return np.asarray(np.cumsum(steps, axis=1) - 0.5, dtype=np.float64)


def flash_thresholds(resistors: FloatArray, comparators: FloatArray) -> FloatArray:
    """Thresholds of a flash ADC with relative ladder resistors (ADCs, 2^bits) and comparator offsets in lsb.

    The ladder divides a fixed reference; the code counts the comparators that fire, so that their order is no matter.
    """
    taps = np.cumsum(resistors, axis=1)
    ladder = taps[:, :-1] / taps[:, -1:] * resistors.shape[1] - 0.5
    return np.asarray(np.sort(ladder + comparators, axis=1), dtype=np.float64)
