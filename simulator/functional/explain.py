"""Which kernel reads a layer, and why: one sentence for the log."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mapping.tiles import MappedLayer
from .adc import LayerShift
from .chip_reads import ChipRun
from .geometry import layer_cells, read_plan
from .programmed import is_solved
from .reads import ideal_kernel, ideal_packing, shift_table

_IDEAL = {
    "exact": "whole numbers without ADCs: lsb 1, and no sum is above the top code, so slices and signs are one weight",
    "narrow": "ADC and shift-add of all columns in 16-bit lanes",
    "wide": "ADC and shift-add in 64-bit lanes, as a code, an lsb or a sum is too large for 16 bits",
}


def explain_reads(
    mapped: MappedLayer, codes: NDArray[np.integer[Any]], adc_shift: LayerShift, adc_bits: int, run: ChipRun | None
) -> str:
    """Name of the layer, share of its inputs that drive rows, and the kernel that reads it.

    Every kernel is event-driven: it adds the cells of the driven rows, so that its time grows with the spikes. In
    narrow lanes a read that drives many rows counts the ones of packed words instead.
    """
    driven = 100.0 * float(np.count_nonzero(codes)) / max(1, codes.size)
    return f"{mapped.layer.name}: {driven:.1f} % of inputs drive rows; {_kernel(mapped, adc_shift, adc_bits, run)}"


def _kernel(mapped: MappedLayer, adc_shift: LayerShift, adc_bits: int, run: ChipRun | None) -> str:
    if run is None:
        plan, cells = read_plan(mapped, 0), layer_cells(mapped, 0)
        shift = shift_table(mapped, 0, plan, adc_shift)
        kernel = ideal_kernel(mapped, plan, cells, shift, 2**adc_bits - 1)[0]
        rows = ideal_packing(mapped, plan).rows
        dense = f"; reads of {rows} driven rows or more count packed bits" if rows <= plan.group_len.max() else ""
        return _IDEAL[kernel] + (dense if kernel == "narrow" else "")
    if run.switches.wires and is_solved(run.chip.hw):
        return "node voltages of every crossbar and read by iteration, as its cells or rows are not linear"
    programmed, parts = run.chip.group_cells(mapped, 0, 0, run.switches), ["sums of conductances in 32-bit floats"]
    if run.switches.wires and run.chip.hw.crossbar.wires is not None:
        parts.append("wires folded into the conductances")
    if programmed.cells.variance.size:
        parts.append("one normal number a column and read for the noise of its cells")
    if programmed.image_sigma_counts is not None:
        parts.append("slow noise drawn cell by cell once an image")
    return ", ".join(parts)
