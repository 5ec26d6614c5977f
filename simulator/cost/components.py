"""Formulas of the components: each takes numbers of the technology file and the sizes that a study sweeps.

Energies in fJ, areas in um2, times in ns. Which numbers rest on an assumption is said in the technology file; what is
not here is linear in a width (``Technology.logic_prices``), a memory (``sram.py``) or an ADC (``adcs.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..errors import ConfigError, name_cure
from .adcs import AdcPrice, AdcSite
from .circuits import conducted_fJ, line_fF, switched_fJ
from .technology import CellNumbers, ColumnMuxNumbers, FloorPlanBus, Technology

FloatArray = NDArray[np.floating[Any]]


def cell_array(technology: Technology, hw: HardwareConfig) -> str:
    """Name of the array that prices a design's cells: the one it names, else one of its cell's kind, else the default.

    Raises:
        ConfigError: the design names an array that the technology does not have.
    """
    named, cells = hw.crossbar.cell_array, technology.cells
    if named is not None:
        if named not in cells:
            raise ConfigError(
                f"design {hw.name}: crossbar.cell_array: technology {technology.name} has no array '{named}'; "
                + name_cure(named, cells)
            )
        return named
    kind = hw.crossbar.cell.kind
    if cells[technology.default_cell].kind == kind:
        return technology.default_cell
    return next((name for name, cell in cells.items() if cell.kind == kind), technology.default_cell)


def cell_read_fJ(technology: Technology, cell: CellNumbers) -> float:
    """Energy of one driven cell of the highest code in one read: as published, C x swing x Vdd, or G V^2 t."""
    if cell.read_fJ is not None:
        return cell.read_fJ.value
    if cell.capacitance_fF is not None:
        vdd_V = technology.supply.vdd_V.value
        return cell.capacitance_fF.value * vdd_V * (vdd_V if cell.swing_V is None else cell.swing_V.value)
    assert cell.conductance_uS is not None
    assert cell.read_voltage_V is not None
    assert cell.read_time_ns is not None
    return conducted_fJ(cell.conductance_uS.value, cell.read_voltage_V.value, cell.read_time_ns.value)


def cell_code_factor(cell: CellNumbers, code_share: FloatArray) -> FloatArray:
    """Energy of a driven cell of a mean code (share of the highest) over that of the highest code."""
    if cell.zero_code_ratio is None:
        return np.ones_like(code_share)
    zero = cell.zero_code_ratio.value
    return zero + (1.0 - zero) * code_share


def cell_area_um2(technology: Technology, cell: CellNumbers) -> float:
    """Area of one cell: as published, or squares of its feature size; it never scales as logic."""
    if cell.area_um2 is not None:
        return cell.area_um2.value
    assert cell.area_F2 is not None
    feature_um = (technology.node_nm if cell.feature_nm is None else cell.feature_nm) / 1000.0
    return cell.area_F2.value * feature_um**2


def wordline_drive_fJ(technology: Technology, cell: CellNumbers, cols: int) -> float:
    """Energy of driving one wordline: (driver + ``cols`` x (wire of a cell's pitch + gate of a cell)) x V^2.

    Source: ZigZag-IMC's one-bit DAC (50 fF x Vdd^2); the pitch is the root of the cell's area.
    """
    wordline = technology.wordline
    drive_V = (wordline.drive_V or technology.supply.vdd_V).value
    gate_fF = 0.0 if wordline.cell_fF is None else wordline.cell_fF.value
    pitch_um = cell_area_um2(technology, cell) ** 0.5
    load_fF = line_fF(wordline.driver_fF.value, cols, gate_fF, pitch_um, wordline.wire_fF_per_um.value)
    return float(switched_fJ(load_fF, drive_V))


def column_mux_stages(mux: ColumnMuxNumbers, columns_per_adc: int) -> float:
    """Stages relative to the published multiplexer: n to 1 needs n - 1 two-way stages, none for n = 1."""
    return (columns_per_adc - 1) / (mux.inputs - 1)


def adc_price(technology: Technology, hw: HardwareConfig) -> tuple[AdcPrice, str | None]:
    """Price of a design's ADC, and a warning if it lies outside the validity of its fit.

    Raises:
        ConfigError: an architecture that the technology lacks, or an ADC outside the fit without ``extrapolate``.
    """
    name = hw.adc_architecture
    fit = technology.adc.get(name)
    if fit is None:
        raise ConfigError(
            f"technology {technology.name}: adc.{name}: missing, and design {hw.name} has adc.architecture={name}; "
            f"allowed: {', '.join(technology.adc)}"
        )
    site = AdcSite(
        bits=hw.adc_bits,
        rows=hw.crossbar.rows_per_read,
        rate_GHz=hw.clock_GHz,
        vdd_V=technology.supply.vdd_V.value,
        node_nm=technology.node_nm,
    )
    outside = fit.outside(site)
    if outside is None:
        return fit.price(site), None
    if technology.extrapolate:
        return fit.price(site), f"adc.{name} is extrapolated: {outside}"
    raise ConfigError(
        f"technology {technology.name}: adc.{name}: {outside}; set adc.bits, drive fewer rows at once "
        "(crossbar.rows_active), or let the technology say extrapolate: true"
    )


def h_tree_um(area_um2: float) -> float:
    """Wire from the root of an H-tree to a leaf: half the side in each direction, so the side of its floor plan.

    Source: geometry; the halves of an H-tree add up to side/2 (1/2 + 1/4 + ...) in x and in y.
    """
    return float(area_um2**0.5)


def h_tree_total_um(area_um2: float, leaves: int) -> float:
    """All wires of an H-tree: 1.5 side (sqrt(leaves) - 1), from the sum of its levels; at least root to one leaf.

    Source: geometry; level j has 4^(j-1) letters H of 1.5 side / 2^(j-1), and k levels reach 4^k leaves.
    """
    side_um = h_tree_um(area_um2)
    return float(max(1.5 * side_um * (leaves**0.5 - 1.0), side_um))


def bus_fJ_per_bit(technology: Technology, bus: FloorPlanBus, length_um: float) -> float:
    """Energy of one bit over a wire with its repeaters: toggles x C x Vdd^2."""
    load_fF = bus.wire_fF_per_um.value * length_um * (1.0 + bus.repeater_ratio.value)
    return float(bus.toggle_ratio.value * load_fF * technology.supply.vdd_V.value**2)


def router_area_um2(technology: Technology, flit_bits: int) -> float:
    """Area of a mesh router, linear in ports and flit bits."""
    noc = technology.noc
    ratio = noc.mesh_ports / noc.router_ports * flit_bits / noc.router_flit_bits
    return technology.area_um2(noc.router_area_um2) * ratio


def flit_hop_fJ(technology: Technology, flit_bits: int, link_um: float) -> float:
    """Energy of one flit through one router and over its link, if the router's number does not hold the link."""
    noc = technology.noc
    per_bit_fJ = technology.energy_fJ(noc.router_fJ) / noc.transfer_bits
    if noc.link_wire_fF_per_um is not None and noc.link_toggle_ratio is not None:
        load_fF = noc.link_wire_fF_per_um.value * link_um
        per_bit_fJ += noc.link_toggle_ratio.value * load_fF * technology.supply.vdd_V.value**2
    return per_bit_fJ * flit_bits
