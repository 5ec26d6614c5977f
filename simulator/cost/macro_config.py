"""Compute-in-memory macro as a YAML file of ``hwconfigs/macros`` says it: sizes, loads, and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..config import resolve_yaml
from ..spec import Spec, validate_spec
from ..strict_yaml import read_yaml
from .technology import Entry

#: Parts of a macro, in the order of reports.
PARTS: tuple[str, ...] = ("select_line", "input_line", "cell", "dac", "integrator", "sample", "adc", "adder")
AREA_PARTS: tuple[str, ...] = ("cell", "adc", "driver", "adder")


class Line(Spec):
    """Line across the cells: its driver, a load in each cell, and wire.

    Attributes:
        lines: how many there are.
        cells: cells that each crosses.
        high_V, low_V: what it switches between; ``high_V`` None is the operating supply, ``low_V`` None is ground.
    """

    lines: int = Field(ge=1)
    cells: int = Field(ge=1)
    driver_fF: Entry
    cell_fF: Entry
    wire_fF_per_um: Entry
    pitch_um: Entry
    high_V: Entry | None = None
    low_V: Entry | None = None


class ConductiveCell(Spec):
    """Cell that conducts while its input is driven: V^2 G t, with G between the two conductances by its code."""

    kind: Literal["conductive"]
    conductance_min_uS: Entry
    conductance_max_uS: Entry
    read_V: Entry
    pulse_ns: Entry


class CapacitiveCell(Spec):
    """Cell that moves charge where input and stored code are both on: C V^2 at the operating supply."""

    kind: Literal["capacitive"]
    charge_fF: Entry


class Dac(Spec):
    """Input converters, one an input: a load for each of ``bits``, or a ladder that conducts for a whole cycle."""

    bits: int = Field(ge=1, le=14)
    bit_fF: Entry | None = None
    ladder_uS: Entry | None = None
    supply_ratio: Entry | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Dac:
        if (self.bit_fF is None) == (self.ladder_uS is None):
            raise ValueError("give either bit_fF or ladder_uS with supply_ratio, one of the two")
        if (self.ladder_uS is None) != (self.supply_ratio is None):
            raise ValueError("ladder_uS and supply_ratio go together; give both or neither")
        return self


class Converter(Spec):
    """ADCs of a macro.

    Attributes:
        kind: ``conversion`` converts every column in every plane at ``bits``; ``charge_step`` converts once a phase,
            one step of ``linear_fF`` for each output bit that the phase still has to find.
        count: ADCs placed.
        conversions: conversions of one plane (``conversion``) or phase (``charge_step``).
        bits: width; None takes the output bits of the operating point.
        area_bits: width for which they are built.
        area_um2, area_decade_ratio: A0 and c of the area A0 10^(c b) 2^b at the node of the fit.
        area_node_ratio: area at the macro's node over that at the node of the fit.
    """

    kind: Literal["conversion", "charge_step"]
    count: int = Field(ge=1)
    conversions: int = Field(ge=1)
    bits: int | None = Field(default=None, ge=1, le=14)
    linear_fF: Entry
    power_fF: Entry
    area_bits: int = Field(ge=1, le=14)
    area_um2: Entry
    area_decade_ratio: float = Field(ge=-1, le=1)
    area_node_ratio: Entry


class Integrator(Spec):
    """Charge integrator behind every column: 2^n - 1 steps for a phase of n bits, and a sample a phase."""

    count: int = Field(ge=1)
    step_fF: Entry
    sample_fF: Entry
    max_phase_bits: int = Field(ge=1, le=8)


class Adder(Spec):
    """Digital sums behind the ADCs, in full adders of one plane, and register bits."""

    full_adders: int = Field(ge=0)
    register_bits: int = Field(default=0, ge=0)
    full_adder_fF: Entry
    full_adder_um2: Entry
    register_fF: Entry
    register_um2: Entry


class MacroArea(Spec):
    """What area is predicted from, beside the ADCs and adders."""

    cell_um2: Entry
    driver_um2: Entry | None = None


Cell = Annotated[ConductiveCell | CapacitiveCell, Field(discriminator="kind")]


class MacroConfig(Spec):
    """One crossbar with its periphery, and how inputs reach it.

    Attributes:
        banks: equal copies that work on one product together; all sizes below are those of one bank.
        inputs, columns: lines of one product; ``stored`` cells in all, other sets of weights included.
        operations: operations that the publication counts for one product, all banks together.
        coding: ``bit_serial`` (planes of ``plane_bits``), ``ternary_serial`` (a plane for each magnitude bit),
            ``pulse_count`` (as many pulses as the value) or ``parallel`` (one analog plane).
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    node_nm: float = Field(gt=0)
    banks: int = Field(default=1, ge=1)
    inputs: int = Field(ge=1)
    columns: int = Field(ge=1)
    stored: int = Field(ge=1)
    operations: int = Field(ge=1)
    coding: Literal["bit_serial", "ternary_serial", "pulse_count", "parallel"]
    plane_bits: int = Field(default=1, ge=1, le=8)
    vdd_V: Entry
    select_line: Line | None = None
    input_line: Line | None = None
    cell: Cell
    dac: Dac | None = None
    integrator: Integrator | None = None
    adc: Converter
    adder: Adder | None = None
    area: MacroArea

    @model_validator(mode="after")
    def _steps_need_an_integrator(self) -> MacroConfig:
        if (self.adc.kind == "charge_step") != (self.integrator is not None):
            raise ValueError("adc.kind=charge_step and integrator go together; give both or neither")
        return self


class Factor(Spec):
    """Measured over predicted of one part; the text says on which points it was fitted."""

    value: float = Field(gt=0)
    source: str = Field(min_length=1)
    year: int = Field(ge=1950, le=2100)
    status: Literal["derived"]
    note: str = ""


class Calibration(Spec):
    """Factors of a macro's parts; a part without one keeps its uncalibrated energy."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    energy: dict[str, Factor] = Field(default_factory=dict)
    area: dict[str, Factor] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_are_known(self) -> Calibration:
        for kind, factors, known in (("energy", self.energy, PARTS), ("area", self.area, AREA_PARTS)):
            for part in factors:
                if part not in known:
                    raise ValueError(f"{kind}.{part}: unknown part; known are {', '.join(known)}")
        return self


def load_macro(name_or_path: str) -> MacroConfig:
    """Macro from a YAML path or the name of a file of ``hwconfigs/macros``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "macros")
    return validate_spec(MacroConfig, read_yaml(path), where=str(path))


def load_calibration(name_or_path: str) -> Calibration:
    """Calibration from a YAML path or the name of a file of ``hwconfigs/calibration``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "calibration")
    return validate_spec(Calibration, read_yaml(path), where=str(path))
