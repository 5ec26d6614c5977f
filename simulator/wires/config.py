"""Resistances between the drivers, the cells and the sense amplifiers of a crossbar."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..spec import Spec

Ends = Literal["grounded", "floating"]


class WiresConfig(Spec):
    """Wires of a crossbar; every value may be 0 (an ideal conductor) but not all of them.

    Wordlines are driven at the left (column 0 is nearest to the driver), bitlines are sensed at the bottom (the last
    row is nearest to the sense amplifier), which holds them at 0 V.

    Attributes:
        source: where the numbers come from.
        row_ohm, column_ohm: wire between two neighbouring cells on a wordline and on a bitline.
        driver_ohm, sense_ohm: output of a wordline driver, input of a sense amplifier (multiplexer included).
        access: ``selector_less`` cells sit between wordline and bitline and see the wordline's voltage;
            ``gated`` cells (1T1R, the input is on the gate of the transistor) hang between a source line, which is
            driven at the read voltage along the row, and the bitline: the input connects or disconnects them.
        unselected_bitlines: what the multiplexer does to bitlines that are not converted in this phase.
        inactive_rows: what drivers do to wordlines outside the row group that is read: held at 0 V, or left floating. A
            wordline of the group whose input bit is 0 is held at 0 V.
        method: ``exact`` solves every node; ``approximate`` uses the closed form of docs/wires.md.
    """

    source: str = Field(min_length=1)
    row_ohm: float = Field(ge=0, le=1e6)
    column_ohm: float = Field(ge=0, le=1e6)
    driver_ohm: float = Field(default=0.0, ge=0, le=1e9)
    sense_ohm: float = Field(default=0.0, ge=0, le=1e9)
    access: Literal["selector_less", "gated"] = "selector_less"
    unselected_bitlines: Ends = "grounded"
    inactive_rows: Ends = "grounded"
    method: Literal["exact", "approximate"] = "exact"

    @model_validator(mode="after")
    def _something_resists(self) -> WiresConfig:
        if self.row_ohm + self.column_ohm + self.driver_ohm + self.sense_ohm == 0:
            raise ValueError("all resistances are 0; give one above 0, or leave wires out")
        return self

    @model_validator(mode="after")
    def _gated_ends_are_grounded(self) -> WiresConfig:
        if self.access == "gated" and self.unselected_bitlines == "floating":
            raise ValueError("unselected_bitlines=floating with access=gated is not solved; use grounded")
        if self.access == "gated" and self.method == "approximate":
            raise ValueError("method=approximate with access=gated has no closed form; use method: exact")
        if self.method == "approximate" and "floating" in (self.unselected_bitlines, self.inactive_rows):
            raise ValueError("method=approximate takes ends as grounded; use grounded, or method: exact")
        return self

    def check_nonlinear(self) -> None:
        """Refuse what is not solved for cells of non-linear current.

        Raises:
            ValueError: floating ends, or a closed form.
        """
        if self.method == "approximate" or "floating" in (self.unselected_bitlines, self.inactive_rows):
            raise ValueError(
                "cell.nonlinearity_per_V needs wires.method: exact and grounded bitlines and rows; change wires, or "
                "take linear cells"
            )
