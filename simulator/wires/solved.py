"""Crossbars that have no transform: gated cells, and cells of non-linear current, solved input by input."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, SimulationError
from ..kernels.wires import WireLinks, solve_patterns
from .config import WiresConfig
from .effective import FloatArray, check_conductances

#: Largest move of a bitline node in the last turn of the relaxation, over the read voltage.
TOLERANCE = 1e-9
#: Turns after which a crossbar has not converged.
MAX_TURNS = 10_000
#: Links of no crossbar.
NO_LINKS = WireLinks(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False, 0.0, 0)


class SolvedReads(NamedTuple):
    """Currents of many inputs: ``column_uA`` (vectors, cols), ``row_uA`` (vectors,) of all driven rows together."""

    column_uA: FloatArray
    row_uA: FloatArray


def wire_links(wires: WiresConfig, *, read_voltage_V: float, nonlinearity_per_V: float = 0.0) -> WireLinks:
    """Wires for the kernel.

    Raises:
        ConfigError: floating bitlines or rows, which the relaxation does not know.
    """
    floats = [name for name in ("unselected_bitlines", "inactive_rows") if getattr(wires, name) == "floating"]
    if wires.access == "gated" and "inactive_rows" in floats:
        floats.remove("inactive_rows")  # cells of an inactive row are disconnected anyway
    if floats:
        raise ConfigError(
            f"crossbar.wires.{floats[0]}: floating, and gated or non-linear cells are solved with grounded ends only; "
            "use grounded"
        )

    def per_ohm(ohm: float) -> float:
        return float("inf") if ohm == 0 else 1e6 / ohm

    return WireLinks(
        row_uS=per_ohm(wires.row_ohm),
        column_uS=per_ohm(wires.column_ohm),
        driver_uS=per_ohm(wires.row_ohm + wires.driver_ohm),
        sense_uS=per_ohm(wires.column_ohm + wires.sense_ohm),
        read_V=read_voltage_V,
        nonlinearity_per_V=nonlinearity_per_V,
        gated=wires.access == "gated",
        tolerance=TOLERANCE,
        max_turns=MAX_TURNS,
    )


def solve_reads(
    conductance_uS: FloatArray,
    driven: NDArray[np.uint8],
    wires: WiresConfig,
    *,
    read_voltage_V: float,
    nonlinearity_per_V: float = 0.0,
) -> SolvedReads:
    """Currents of a crossbar for every input.

    Args:
        conductance_uS: (rows, cols) at the read voltage.
        driven: (vectors, rows) 0 or 1.
        wires: resistances and access.
        read_voltage_V: voltage of a driven row.
        nonlinearity_per_V: a in I = G V_read sinh(a v) / sinh(a V_read); 0: linear.

    Raises:
        ConfigError: what ``wire_links`` and ``check_conductances`` refuse.
        SimulationError: an input for which the relaxation did not converge.
    """
    check_conductances(conductance_uS)
    links = wire_links(wires, read_voltage_V=read_voltage_V, nonlinearity_per_V=nonlinearity_per_V)
    column, row = np.empty((driven.shape[0], conductance_uS.shape[1])), np.empty(driven.shape[0])
    solve_patterns(np.ascontiguousarray(conductance_uS, dtype=np.float64), driven, links, column, row)
    if (row < 0).any():
        raise SimulationError(
            f"crossbar of {conductance_uS.shape[0]} x {conductance_uS.shape[1]} cells: input {int(np.argmin(row))} did "
            f"not converge in {MAX_TURNS} turns; its wires are too resistive for its cells"
        )
    return SolvedReads(column, row)
