"""Builders of what is analog: cells, wordline drivers, and what stands between bitlines and sums."""

from __future__ import annotations

from collections.abc import Iterable

from ..cells.base import CellModel
from . import components as c
from .chip import Chip, Component, FloatArray
from .technology import CellNumbers

_CELL_NUMBERS = ("read_fJ", "capacitance_fF", "swing_V", "conductance_uS", "read_voltage_V", "read_time_ns")


def array(chip: Chip) -> Iterable[Component]:
    """Cells and wordline drivers."""
    technology, hw = chip.technology, chip.hw
    name = c.cell_array(technology, hw)
    cell = technology.cells[name]
    yield _cells(chip, name, cell)
    drivers = chip.n_crossbars * hw.crossbar.rows
    load = ["wordline.driver_fF", "wordline.wire_fF_per_um", f"cells.{name}.{_area_field(cell)}"]
    load += ["wordline.cell_fF"] if technology.wordline.cell_fF is not None else []
    load.append("supply.vdd_V" if technology.wordline.drive_V is None else "wordline.drive_V")
    yield chip.logic(
        "wordline_driver",
        count=drivers,
        area_um2=drivers * technology.area_um2(technology.wordline.driver_area_um2),
        action_fJ={"wordline_drive": chip.everywhere(c.wordline_drive_fJ(technology, cell, hw.crossbar.cols))},
        formula="area = rows x driver; energy = (driver + cols x (wire of a pitch + gate)) x V^2, each driven line",
        energy=tuple(load),
        area=("wordline.driver_area_um2",),
    )


def _cells(chip: Chip, name: str, cell: CellNumbers) -> Component:
    technology, crossbar = chip.technology, chip.hw.crossbar
    cells = chip.n_crossbars * crossbar.rows * crossbar.cols
    device = crossbar.cell if isinstance(crossbar.cell, CellModel) else None
    energy = _energy_fields(cell) if device is None else ()
    area_um2 = cells * c.cell_area_um2(technology, cell) * chip.shares
    leakage_uW = 0.0 if cell.leakage_uW is None else cell.leakage_uW.value
    notes: tuple[str, ...] = ()
    if crossbar.cell.kind not in ("ideal", cell.kind):
        notes = (
            f"crossbar: technology {technology.name} has no {crossbar.cell.kind} cells; {name} stands in for them",
        )
    return Component(
        name="crossbar",
        count=chip.n_crossbars,
        layer_area_um2=area_um2,
        layer_leakage_uW=cells * leakage_uW * chip.shares,
        action_fJ=_read_fJ(chip, cell) if device is None else _conducted_fJ(chip, device),
        formula=f"area = rows x cols x cell ({name}); energy = "
        + ("a driven cell, by its mean code" if device is None else "V^2 x t x G of the driven cells, by their codes")
        + " (x columns_per_adc without sample-and-hold)",
        action_keys=tuple(key if "." in key else f"cells.{name}.{key}" for key in energy),
        leakage_keys=() if cell.leakage_uW is None else (f"cells.{name}.leakage_uW",),
        area_keys=(f"cells.{name}.{_area_field(cell)}",),
        latency_ns=_read_ns(chip, cell),
        notes=notes,
    )


def _read_fJ(chip: Chip, cell: CellNumbers) -> dict[str, FloatArray]:
    """Energy of a driven cell of the technology's array."""
    one_fJ = c.cell_read_fJ(chip.technology, cell)
    return {"cell_read": _rounds(chip) * one_fJ * c.cell_code_factor(cell, chip.work.sizes.code_share)}


def _conducted_fJ(chip: Chip, device: CellModel) -> dict[str, FloatArray]:
    """Energy that driven cells of a device are expected to take, from their codes; a run on data measures it instead.

    Every bitline of a driven wordline conducts at least what a cell of code 0 does, padding too; a cell that holds a
    weight conducts more by its mean code. No variation, no wires.
    """
    low_uS, high_uS = device.conductance_min_uS, device.conductance_max_uS
    per_uS_fJ = _rounds(chip) * device.read_voltage_V**2 * device.read_time_ns
    return {
        "wordline_drive": chip.everywhere(chip.hw.crossbar.cols * low_uS * per_uS_fJ),
        "cell_read": chip.work.sizes.code_share * ((high_uS - low_uS) * per_uS_fJ),
    }


def _rounds(chip: Chip) -> int:
    """Times that a cell is read: without sample-and-hold wordlines stay up while the multiplexer visits its columns."""
    return 1 if chip.hw.adc.sample_and_hold else chip.hw.adc.columns_per_adc


def _read_ns(chip: Chip, cell: CellNumbers) -> float | None:
    """Length of a read pulse: the device's own, else that of the technology's cell."""
    device = chip.hw.crossbar.cell
    if isinstance(device, CellModel):
        return device.read_time_ns
    return None if cell.read_time_ns is None else cell.read_time_ns.value


def _area_field(cell: CellNumbers) -> str:
    return "area_um2" if cell.area_F2 is None else "area_F2"


def _energy_fields(cell: CellNumbers) -> tuple[str, ...]:
    given = tuple(name for name in (*_CELL_NUMBERS, "zero_code_ratio") if getattr(cell, name) is not None)
    return (*given, "supply.vdd_V") if cell.capacitance_fF is not None else given


def columns(chip: Chip) -> Iterable[Component]:
    """What stands between bitlines and sums."""
    technology = chip.technology
    yield _sample_and_hold(chip)
    yield _column_mux(chip)
    price, warning = c.adc_price(technology, chip.hw)
    key = f"adc.{chip.hw.adc_architecture}"
    yield chip.logic(
        "adc",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * price.area_um2,
        action_fJ={"adc_conversion": chip.everywhere(price.conversion_fJ)},
        formula=f"fit {key} ({technology.adc[chip.hw.adc_architecture].fit}) at {chip.hw.adc_bits} bits",
        energy=(key,),
        area=(key,),
        latency_ns=price.conversion_ns or None,
        notes=() if warning is None else (warning,),
    )


def _sample_and_hold(chip: Chip) -> Component:
    technology, held = chip.technology, chip.technology.sample_and_hold
    if held is None:
        return _in_the_adc(chip, "sample_and_hold")
    bitlines = chip.n_crossbars * chip.hw.crossbar.cols if chip.hw.adc.sample_and_hold else 0
    sample_fJ = technology.energy_fJ(held.sample_fJ) if bitlines else 0.0
    return chip.logic(
        "sample_and_hold",
        count=bitlines,
        area_um2=bitlines * technology.area_um2(held.area_um2),
        action_fJ={"adc_conversion": chip.everywhere(sample_fJ)},
        formula="one a bitline; none if adc.sample_and_hold is false",
        energy=("sample_and_hold.sample_fJ",),
        area=("sample_and_hold.area_um2",),
    )


def _column_mux(chip: Chip) -> Component:
    technology, mux = chip.technology, chip.technology.column_mux
    if mux is None:
        return _in_the_adc(chip, "column_mux")
    stages = c.column_mux_stages(mux, chip.hw.adc.columns_per_adc)
    return chip.logic(
        "column_mux",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * stages * technology.area_um2(mux.area_um2),
        action_fJ={"adc_conversion": chip.everywhere(stages * technology.energy_fJ(mux.conversion_fJ))},
        formula="published multiplexer x (columns_per_adc - 1) / (its inputs - 1)",
        energy=("column_mux.conversion_fJ",),
        area=("column_mux.area_um2",),
    )


def _in_the_adc(chip: Chip, name: str) -> Component:
    return chip.logic(
        name,
        count=0,
        area_um2=0.0,
        action_fJ={},
        formula="counted with the ADC: the technology has no such section",
        energy=(),
        area=(),
        leaks=0.0,
    )
