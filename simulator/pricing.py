"""What a run costs: prices of the cost library x counts of the clock, one cell a component and layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import HardwareConfig
from .cost.chip import Component
from .cost.library import cost_library
from .cost.technology import Technology
from .cycle.trace import Trace
from .functional.activity import Activity
from .mapping.tiles import Mapping
from .program import Program

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bill:
    """Energy of one inference and area of the chip, cell by cell; any sum over cells is exact in any order.

    Attributes:
        components: the priced components.
        energy_fJ, area_um2: (components, layers + 1); the last column is what all layers share.
        latency_ns: first input to last output of one image.
        interval_ns: time over which the components leak.
    """

    components: tuple[Component, ...]
    energy_fJ: FloatArray
    area_um2: FloatArray
    latency_ns: float
    interval_ns: float

    @property
    def total_energy_fJ(self) -> float:
        """Energy of one inference."""
        return math.fsum(self.energy_fJ.flat)

    @property
    def total_area_um2(self) -> float:
        """Area of the chip."""
        return math.fsum(self.area_um2.flat)

    @property
    def edap_J_s_mm2(self) -> float:
        """Energy x latency x area."""
        # fJ x ns x um2 = 1e-15 J x 1e-9 s x 1e-6 mm2
        return (self.total_energy_fJ * 1e-15) * (self.latency_ns * 1e-9) * (self.total_area_um2 * 1e-6)


def price_run(
    trace: Trace,
    mapping: Mapping,
    hw: HardwareConfig,
    technology: Technology,
    *,
    program: Program,
    activity: Activity,
) -> Bill:
    """Bill of a run; the same run can be priced with any technology, for no count depends on a price.

    Args:
        trace: what the clock counted; only its edges, images and action counts are used.
        mapping: the network on its tiles.
        hw: design.
        technology: prices.
        program: the tables that the clock ran.
        activity: of the same images; holds the energy of cells that conduct.

    Raises:
        ConfigError: an ADC width outside the validity of the technology's fit.
    """
    return bill_of(cost_library(mapping, hw, technology, program), trace, hw, activity)


def bill_of(components: Sequence[Component], trace: Trace, hw: HardwareConfig, activity: Activity) -> Bill:
    """Bill of a run with components that are priced already; arguments as of ``price_run``."""
    latency_ns = trace.latency_cycles * hw.cycle_ns
    pipelined = hw.dataflow.order == "layer_pipelined"
    interval_ns = trace.interval_cycles * hw.cycle_ns if pipelined else latency_ns
    return Bill(
        components=tuple(components),
        energy_fJ=exact_cells(_energy_matrix(components, trace, interval_ns, measured_read_fJ(activity, hw))),
        area_um2=exact_cells(np.stack([component.layer_area_um2 for component in components])),
        latency_ns=latency_ns,
        interval_ns=interval_ns,
    )


def measured_read_fJ(activity: Activity, hw: HardwareConfig) -> FloatArray | None:
    """(layers,) energy of the driven cells of one inference as the functional run measured it; None if it did not.

    Without sample-and-hold the wordlines stay up while the multiplexer visits its columns.
    """
    read_fJ = [layer.read_fJ.sum() for layer in activity.layers if layer.read_fJ is not None]
    if len(read_fJ) < len(activity.layers):
        return None
    rounds = 1 if hw.adc.sample_and_hold else hw.adc.columns_per_adc
    return rounds * np.array(read_fJ) / activity.n_images


def _energy_matrix(
    components: Sequence[Component], trace: Trace, interval_ns: float, cells_fJ: FloatArray | None
) -> FloatArray:
    """(components, layers + 1) energy of one inference: actions and leakage; cells as measured, if they were."""
    leakage_uW = np.stack([component.layer_leakage_uW for component in components])
    energy_fJ = leakage_uW * interval_ns  # uW x ns = fJ
    for row, component in zip(energy_fJ, components, strict=True):
        if component.name == "crossbar" and cells_fJ is not None:
            row[:-1] += cells_fJ
            continue
        for action, per_count_fJ in component.action_fJ.items():
            row[:-1] += trace.action_counts[action] * per_count_fJ / trace.n_images
    return energy_fJ


def exact_cells(cells: FloatArray) -> FloatArray:
    """The cells on a grid so fine that no partial sum of them ever rounds.

    Every cell becomes a multiple of 2^-51 of the total (rounded up to a power of two), so that rows, columns and
    the whole add up to the very same double in any order; a cell moves by less than 5e-16 of the total.
    """
    total = float(cells.sum())
    quantum = math.ldexp(1.0, math.frexp(total)[1] - 51)
    if total == 0.0 or quantum == 0.0:  # a subnormal total: its cells lie on the finest grid that there is
        return cells
    return np.asarray(np.rint(cells / quantum) * quantum)
