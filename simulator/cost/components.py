"""Formulas of the components: each takes numbers of the technology file and the sizes that a study sweeps.

Energies in fJ, areas in um2. Which numbers rest on an assumption is said in the technology file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .technology import Technology

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]


def cell_read_fJ(technology: Technology) -> float:
    """Energy of one conducting cell in one read: array energy / cells of the published array.

    Assumption: the published array has all its cells conducting, and the cell's code does not matter.
    """
    crossbar = technology.crossbar
    return crossbar.array_read_fJ.value / (crossbar.array_rows * crossbar.array_cols)


def cell_area_um2(technology: Technology) -> float:
    """Area of one cell; cells never scale with the logic node."""
    crossbar = technology.crossbar
    return crossbar.array_area_um2.value / (crossbar.array_rows * crossbar.array_cols)


def wordline_drive_fJ(technology: Technology, cols: int) -> float:
    """Energy of driving one wordline: (driver + wire of ``cols`` cell pitches) x Vdd^2.

    Source: ZigZag-IMC's one-bit DAC (50 fF x Vdd^2) and 0.2 fF/um of wire; pitch = root of the cell area.
    """
    wordline, vdd_V = technology.wordline, technology.supply.vdd_V.value
    wire_fF = wordline.wire_fF_per_um.value * cols * cell_area_um2(technology) ** 0.5
    return float((wordline.driver_fF.value + wire_fF) * vdd_V**2)


def column_mux_stages(technology: Technology, columns_per_adc: int) -> float:
    """Stages relative to the published multiplexer: n to 1 needs n - 1 two-way stages, none for n = 1."""
    return (columns_per_adc - 1) / (technology.column_mux.inputs - 1)


def adc_conversion_fJ(technology: Technology, bits: int) -> float:
    """Energy of one conversion: published one x ratio of the fit at both widths.

    Source: ZigZag-IMC, E ~ 100 b + 0.001 4^b.

    Raises:
        ConfigError: ``bits`` outside the validity of the fit.
    """
    fit = technology.adc.fit
    _check_adc_bits(technology, bits)

    def relative(b: int) -> float:
        return fit.linear_fJ * b + fit.power_fJ * 4.0**b

    return technology.adc.conversion_fJ.value * (relative(bits) / relative(technology.adc.bits))


def adc_area_um2(technology: Technology, bits: int) -> float:
    """Area of one ADC: published one x ratio of the fit (ZigZag-IMC, A ~ 10^(-0.0369 b) 2^b).

    Raises:
        ConfigError: ``bits`` outside the validity of the fit.
    """
    fit = technology.adc.fit
    _check_adc_bits(technology, bits)
    more = bits - technology.adc.bits
    return float(technology.adc.area_um2.value * 10.0 ** (fit.area_decade_ratio * more) * 2.0**more)


def _check_adc_bits(technology: Technology, bits: int) -> None:
    fit = technology.adc.fit
    if not fit.bits_min <= bits <= fit.bits_max:
        raise ConfigError(
            f"technology {technology.name}: adc.fit: got an ADC of {bits} bits, the fit holds for {fit.bits_min} to "
            f"{fit.bits_max}; set adc.bits, or drive fewer rows at once (crossbar.rows_active)"
        )


def adder_fJ(technology: Technology, bits: IntArray) -> FloatArray:
    """Energy of an addition, linear in the width."""
    return bits * (technology.energy_fJ(technology.logic.adder_fJ) / technology.logic.reference_bits)


def adder_area_um2(technology: Technology, bits: IntArray) -> FloatArray:
    """Area of an adder, linear in the width."""
    return bits * (technology.area_um2(technology.logic.adder_area_um2) / technology.logic.reference_bits)


def comparator_fJ(technology: Technology, bits: IntArray) -> FloatArray:
    """Energy of a comparison, linear in the width."""
    return bits * (technology.energy_fJ(technology.logic.comparator_fJ) / technology.logic.reference_bits)


def comparator_area_um2(technology: Technology, bits: IntArray) -> FloatArray:
    """Area of a comparator, linear in the width."""
    return bits * (technology.area_um2(technology.logic.comparator_area_um2) / technology.logic.reference_bits)


def multiplier_fJ(technology: Technology, a_bits: IntArray, b_bits: IntArray) -> FloatArray:
    """Energy of a multiplication, in proportion to the product of the widths."""
    return a_bits * b_bits * (technology.energy_fJ(technology.logic.multiplier_fJ) / technology.logic.reference_bits**2)


def multiplier_area_um2(technology: Technology, a_bits: IntArray, b_bits: IntArray) -> FloatArray:
    """Area of a multiplier, in proportion to the product of the widths."""
    per_bit2 = technology.area_um2(technology.logic.multiplier_area_um2) / technology.logic.reference_bits**2
    return a_bits * b_bits * per_bit2


def register_fJ(technology: Technology, bits: IntArray) -> FloatArray:
    """Energy of writing or reading a register."""
    return bits * technology.energy_fJ(technology.logic.register_fJ_per_bit)


def register_area_um2(technology: Technology, bits: IntArray) -> FloatArray:
    """Area of a register."""
    return bits * technology.area_um2(technology.logic.register_area_um2_per_bit)


def shift_add_fJ(technology: Technology, bits: IntArray) -> FloatArray:
    """Energy of a shift and addition with its register, linear in the width."""
    return bits * (technology.energy_fJ(technology.logic.shift_add_fJ) / technology.logic.shift_add_bits)


def shift_add_area_um2(technology: Technology, bits: IntArray) -> FloatArray:
    """Area of a shift-and-add unit, linear in the width."""
    return bits * (technology.area_um2(technology.logic.shift_add_area_um2) / technology.logic.shift_add_bits)


def sram_fJ_per_bit(technology: Technology, capacity_bits: IntArray) -> FloatArray:
    """Energy of one bit read or written in a macro of a capacity; 0 for a macro of no bits.

    Power law between the points of the table; beyond them the slope of the nearest two goes on, times
    ``extrapolation_ratio``. Never below a register bit. A write costs what a read costs (assumption).
    """
    sram = technology.sram
    capacity = np.maximum(np.asarray(capacity_bits, dtype=np.float64), 1.0)
    x = np.log([point.capacity_bits for point in sram.access])
    y = np.log([point.energy_fJ.value / sram.access_bits for point in sram.access])
    at = np.log(capacity)
    # Segment of each capacity; the outer segments reach to infinity.
    segment = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
    slope = (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment])
    energy = np.exp(y[segment] + slope * (at - x[segment]))
    outside = (at < x[0]) | (at > x[-1])
    energy = np.where(outside, energy * sram.extrapolation_ratio.value, energy)
    floor = technology.energy_fJ(technology.logic.register_fJ_per_bit)
    return np.where(np.asarray(capacity_bits) > 0, np.maximum(energy, floor), 0.0)


def sram_is_extrapolated(technology: Technology, capacity_bits: IntArray) -> bool:
    """Whether a capacity lies outside the table of access energies."""
    used = np.asarray(capacity_bits)[np.asarray(capacity_bits) > 0]
    access = technology.sram.access
    return bool(np.any(used < access[0].capacity_bits) or np.any(used > access[-1].capacity_bits))


def bus_size(technology: Technology, pes: int, rows: int, cols: int) -> float:
    """Size of a tile's bus relative to the published one: PEs x (wordlines + bitlines of a PE).

    Assumption: SpikeSim keeps one H-tree for every tile; wires here grow with the ports that they reach.
    """
    bus = technology.bus
    return pes * (rows + cols) / (bus.pes * (bus.rows + bus.cols))


def bus_fJ_per_bit(technology: Technology, size: float) -> float:
    """Energy of one bit over the bus: published energy per bit x wire length, the root of the bus area."""
    bus = technology.bus
    return float(bus.transfer_fJ.value / bus.transfer_bits.value * size**0.5)


def router_area_um2(technology: Technology, flit_bits: int) -> float:
    """Area of a mesh router, linear in ports and flit bits."""
    noc = technology.noc
    ratio = noc.mesh_ports / noc.router_ports * flit_bits / noc.router_flit_bits
    return technology.area_um2(noc.router_area_um2) * ratio


def flit_hop_fJ(technology: Technology, flit_bits: int) -> float:
    """Energy of one flit through one router and its link."""
    return technology.energy_fJ(technology.noc.transfer_fJ) / technology.noc.transfer_bits * flit_bits
