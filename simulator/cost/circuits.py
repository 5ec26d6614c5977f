"""Circuit laws behind the cost formulas, on plain numbers: V, uS, fF, ns, um, fJ."""

from __future__ import annotations


def switched_fJ(load_fF: float, high_V: float, low_V: float = 0.0) -> float:
    """Energy that one cycle of a line takes from its upper supply: C (high - low) high.

    The charge goes back to the lower supply, whose energy is not counted as gained.
    """
    return load_fF * ((high_V - low_V) * high_V)


def conducted_fJ(conductance_uS: float, voltage_V: float, time_ns: float) -> float:
    """Energy that a conductance takes in a pulse: V^2 G t."""
    return voltage_V**2 * conductance_uS * time_ns


def line_fF(driver_fF: float, n_cells: int, cell_fF: float, pitch_um: float, wire_fF_per_um: float) -> float:
    """Load of a line across ``n_cells`` cells: driver, a load in each cell, and wire of as many pitches."""
    return driver_fF + n_cells * (cell_fF + pitch_um * wire_fF_per_um)


def converter_fF(bits: float, linear_fF: float, power_fF: float) -> float:
    """Load that an ADC switches in one conversion: linear b + power 4^b.

    Source: ZigZag-IMC, aimc_cost_model.py, whose E = (100 b + 0.001 4^b) Vdd^2.
    """
    return float(linear_fF * bits + power_fF * 4.0**bits)


def converter_area_um2(bits: int, area_um2: float, decade_ratio: float) -> float:
    """Area of an ADC at the node of the fit: A0 10^(decade_ratio b) 2^b.

    Source: ZigZag-IMC, aimc_cost_model.py, A = 10^(1.206 - 0.0369 b) 2^b.
    """
    return float(area_um2 * 10.0 ** (decade_ratio * bits) * 2.0**bits)
