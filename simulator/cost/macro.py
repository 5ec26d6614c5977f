"""Energy of one matrix-vector product of one crossbar, and its area: the model that is held against silicon.

    energy of a part = factor x events of one product x energy of an event

Events follow from the widths and the values, energies from ``circuits.py`` and the loads in ``hwconfigs/macros``,
factors from ``hwconfigs/calibration`` (1 without one). docs/results/validation.md says how well it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from . import circuits
from .macro_config import PARTS, Calibration, ConductiveCell, Line, MacroConfig

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueStatistics:
    """What inputs and stored codes make of a product.

    Attributes:
        pulses: pulses of an input line in one plane, mean over lines and planes: at most 1 if inputs are serial, up to
            2^bits - 1 if pulses are counted, the input as a fraction of full scale if it is analog.
        charges: pulses x stored code (as a fraction of the largest), mean over cells and planes.
    """

    pulses: float
    charges: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """How a macro is used.

    Attributes:
        values: see ``ValueStatistics``.
        input_bits: width of inputs, sign included where they have one.
        output_bits: width of outputs.
        vdd_V: supply; None: the macro's own.
        cycle_ns: length of a plane; only ladders need it.
        one_phase: inputs of many bits are integrated at once and not in two phases.
    """

    values: ValueStatistics
    input_bits: int
    output_bits: int
    vdd_V: float | None = None
    cycle_ns: float | None = None
    one_phase: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MacroCost:
    """Cost of one product.

    Attributes:
        energy_fJ: part of ``PARTS`` -> energy of one product, parts that the macro lacks left out.
        operations: operations of one product.
    """

    energy_fJ: dict[str, float]
    operations: int

    @property
    def total_fJ(self) -> float:
        """Energy of one product."""
        return math.fsum(self.energy_fJ.values())

    @property
    def tops_per_W(self) -> float:
        """Operations per energy: 1 / (fJ an operation) is 1000 TOPS/W."""
        return 1000.0 * self.operations / self.total_fJ


def macro_cost(macro: MacroConfig, point: OperatingPoint, calibration: Calibration | None = None) -> MacroCost:
    """Energy of one product of all banks.

    Raises:
        ConfigError: the operating point lacks what the macro needs, or lies outside what it can do.
    """
    _check_point(macro, point)
    vdd_V = macro.vdd_V.value if point.vdd_V is None else point.vdd_V
    energies = {
        "select_line": _select_fJ(macro, point, vdd_V),
        "input_line": _input_fJ(macro, point, vdd_V),
        "cell": _cell_fJ(macro, point, vdd_V),
        "dac": _dac_fJ(macro, point, vdd_V),
        **_integrator_fJ(macro, point, vdd_V),
        "adc": _adc_fJ(macro, point, vdd_V),
        "adder": _adder_fJ(macro, point, vdd_V),
    }
    factors = {} if calibration is None else calibration.energy
    return MacroCost(
        energy_fJ={
            part: macro.banks * energy * (factors[part].value if part in factors else 1.0)
            for part in PARTS
            if (energy := energies.get(part)) is not None
        },
        operations=macro.operations,
    )


def macro_area(macro: MacroConfig, calibration: Calibration | None = None) -> dict[str, float]:
    """Area in um2 of ``cell``, ``adc`` and, where the macro has them, ``driver`` and ``adder``, all banks together."""
    adc = macro.adc
    one_um2 = circuits.converter_area_um2(adc.area_bits, adc.area_um2.value, adc.area_decade_ratio)
    areas = {
        "cell": macro.stored * macro.area.cell_um2.value,
        "adc": adc.count * one_um2 * adc.area_node_ratio.value,
    }
    if macro.area.driver_um2 is not None:
        lines = [line.lines for line in (macro.select_line, macro.input_line) if line is not None]
        areas["driver"] = sum(lines) * macro.area.driver_um2.value
    if macro.adder is not None:
        adder = macro.adder
        areas["adder"] = adder.full_adders * adder.full_adder_um2.value + adder.register_bits * adder.register_um2.value
    factors = {} if calibration is None else calibration.area
    return {
        part: macro.banks * area * (factors[part].value if part in factors else 1.0) for part, area in areas.items()
    }


def value_statistics(
    macro: MacroConfig, inputs: IntArray, codes: IntArray, *, input_bits: int, code_max: int
) -> ValueStatistics:
    """Statistics of inputs and stored codes, value by value.

    Args:
        macro: says how inputs are coded.
        inputs: (products, rows) integers; of serial codings the bits of the magnitude count.
        codes: (rows, columns) stored codes, 0 to ``code_max``.
        input_bits: width of the inputs.
        code_max: code of a cell that is fully on.
    """
    magnitude = np.abs(np.asarray(inputs, dtype=np.int64))
    planes = plane_count(macro, input_bits)
    if macro.coding in ("bit_serial", "ternary_serial"):
        bits = (magnitude[..., None] >> np.arange(input_bits)) & 1
        pulses = bits.sum(axis=-1) / planes
    elif macro.coding == "pulse_count":
        pulses = magnitude / 1.0
    else:
        pulses = magnitude / (2**input_bits - 1)
    row_mean = pulses.mean(axis=0)
    return ValueStatistics(
        pulses=float(row_mean.mean()), charges=float((row_mean[:, None] * np.asarray(codes)).mean() / code_max)
    )


def plane_count(macro: MacroConfig, input_bits: int) -> int:
    """Planes of one product: how often inputs are put on their lines."""
    if macro.coding == "bit_serial":
        return math.ceil(input_bits / macro.plane_bits)
    return max(1, input_bits - 1) if macro.coding == "ternary_serial" else 1


def phases(macro: MacroConfig, input_bits: int, *, one_phase: bool) -> tuple[int, ...]:
    """Bits that each phase of an integrating macro takes.

    Source: NeuRRAM (Wan et al., Nature 608, 2022) as described by CiMLoop: inputs of more magnitude bits than one phase
    holds are split in halves, because a phase of n bits integrates 2^n - 1 times.
    """
    planes = plane_count(macro, input_bits)
    if macro.integrator is None or one_phase or planes <= macro.integrator.max_phase_bits:
        return (planes,)
    return (math.ceil(planes / 2), planes // 2)


def converted_bits(macro: MacroConfig, point: OperatingPoint) -> int:
    """Bits that a charge-stepping ADC finds for one output: a later phase starts behind the bits of the earlier."""
    done, steps = 0, 0
    for bits in phases(macro, point.input_bits, one_phase=point.one_phase):
        steps += max(point.output_bits - done, 0)
        done += bits
    return steps


def _line_load_fF(line: Line) -> float:
    return circuits.line_fF(
        line.driver_fF.value, line.cells, line.cell_fF.value, line.pitch_um.value, line.wire_fF_per_um.value
    )


def _toggle_fJ(line: Line, vdd_V: float) -> float:
    high_V = vdd_V if line.high_V is None else line.high_V.value
    low_V = 0.0 if line.low_V is None else line.low_V.value
    return circuits.switched_fJ(_line_load_fF(line), high_V, low_V)


def _select_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float | None:
    """Every select line switches in every plane, whatever the values."""
    line = macro.select_line
    return None if line is None else line.lines * plane_count(macro, point.input_bits) * _toggle_fJ(line, vdd_V)


def _input_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float | None:
    line = macro.input_line
    if line is None:
        return None
    return line.lines * plane_count(macro, point.input_bits) * point.values.pulses * _toggle_fJ(line, vdd_V)


def _cell_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float:
    cell, values = macro.cell, point.values
    cells = macro.inputs * macro.columns * plane_count(macro, point.input_bits)
    if isinstance(cell, ConductiveCell):
        low_uS, high_uS = cell.conductance_min_uS.value, cell.conductance_max_uS.value
        mean_uS = values.pulses * low_uS + values.charges * (high_uS - low_uS)
        return cells * circuits.conducted_fJ(mean_uS, cell.read_V.value, cell.pulse_ns.value)
    return cells * values.charges * circuits.switched_fJ(cell.charge_fF.value, vdd_V)


def _dac_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float | None:
    dac = macro.dac
    if dac is None:
        return None
    conversions = macro.inputs * plane_count(macro, point.input_bits)
    if dac.bit_fF is not None:
        return conversions * circuits.switched_fJ(dac.bits * dac.bit_fF.value, vdd_V)
    assert dac.ladder_uS is not None
    assert dac.supply_ratio is not None
    assert point.cycle_ns is not None
    return conversions * circuits.conducted_fJ(dac.ladder_uS.value, vdd_V * dac.supply_ratio.value, point.cycle_ns)


def _integrator_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> dict[str, float]:
    part = macro.integrator
    if part is None:
        return {}
    taken = phases(macro, point.input_bits, one_phase=point.one_phase)
    steps = sum(2**bits - 1 for bits in taken)
    return {
        "integrator": part.count * steps * circuits.switched_fJ(part.step_fF.value, vdd_V),
        "sample": part.count * len(taken) * circuits.switched_fJ(part.sample_fF.value, vdd_V),
    }


def _adc_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float:
    adc = macro.adc
    if adc.kind == "charge_step":
        load_fF = converted_bits(macro, point) * adc.linear_fF.value
        return adc.conversions * circuits.switched_fJ(load_fF, vdd_V)
    bits = point.output_bits if adc.bits is None else adc.bits
    load_fF = circuits.converter_fF(bits, adc.linear_fF.value, adc.power_fF.value)
    conversions = adc.conversions * plane_count(macro, point.input_bits)
    return conversions * circuits.switched_fJ(load_fF, vdd_V)


def _adder_fJ(macro: MacroConfig, point: OperatingPoint, vdd_V: float) -> float | None:
    adder = macro.adder
    if adder is None:
        return None
    load_fF = adder.full_adders * adder.full_adder_fF.value + adder.register_bits * adder.register_fF.value
    return plane_count(macro, point.input_bits) * circuits.switched_fJ(load_fF, vdd_V)


def _check_point(macro: MacroConfig, point: OperatingPoint) -> None:
    where = f"macro {macro.name}"
    for name, bits in (("input_bits", point.input_bits), ("output_bits", point.output_bits)):
        if not 1 <= bits <= 16:
            raise ConfigError(f"{where}: {name}={bits}; allowed 1 to 16, choose one of these")
    most = 2.0**point.input_bits - 1 if macro.coding == "pulse_count" else 1.0
    values = point.values
    if not (0 <= values.pulses <= most and 0 <= values.charges <= most):
        raise ConfigError(
            f"{where}: values.pulses={values.pulses:g} and values.charges={values.charges:g}; {macro.coding} inputs of "
            f"{point.input_bits} bits allow 0 to {most:g}, correct the statistics"
        )
    if point.vdd_V is not None and point.vdd_V <= 0:
        raise ConfigError(f"{where}: vdd_V={point.vdd_V:g}; a supply is positive, correct it")
    if point.one_phase and macro.integrator is None:
        raise ConfigError(f"{where}: one_phase is for macros with an integrator, and this has none; leave it out")
    if macro.dac is not None and macro.dac.ladder_uS is not None and (point.cycle_ns is None or point.cycle_ns <= 0):
        raise ConfigError(f"{where}: dac.ladder_uS conducts for a cycle and cycle_ns={point.cycle_ns}; give its length")
