"""Technology file: every number with its source, year, node and how far it can be trusted."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from ..config import Architecture, resolve_yaml
from ..spec import Spec, canonical_hash, validate_spec
from ..strict_yaml import read_yaml
from .adcs import Fit
from .entries import Entry as Entry
from .entries import Sourced, walk_sources
from .entries import Status as Status
from .scaling import Scaler, ScalingNumbers
from .sram import RegisterBit, SramMacros, SramNumbers

#: Sections whose numbers move with node and supply as logic does; everything else is used as it is published.
SCALED_SECTIONS = ("wordline.driver_area_um2", "column_mux.", "sample_and_hold.", "logic.", "noc.router")
#: Numbers of those sections that are taken as they are: they hold for the file's node or do not depend on it.
UNSCALED = ("logic.leakage_uW_per_um2",)


class SupplyNumbers(Spec):
    """Operating point."""

    vdd_V: Entry
    temperature_K: Entry


class CellNumbers(Spec):
    """Array of one kind of cell; its area and the energy of one driven cell in one read each in one of the forms.

    Cells never scale with the logic.

    Attributes:
        kind: what the cell is, as in ``crossbar.cell.kind``.
        area_F2: area in squares of the feature size ``feature_nm`` (None: the file's node).
        area_um2: the area itself, instead.
        read_fJ: energy of a driven cell that stores the highest code.
        capacitance_fF: what such a cell charges, instead: C x swing x Vdd (``swing_V`` None: C Vdd^2).
        conductance_uS: of such a cell, instead: G V^2 t with ``read_voltage_V`` and ``read_time_ns``.
        zero_code_ratio: energy of a driven cell of code 0 over that of the highest code; codes between lie on a line.
            None: every driven cell takes the same energy.
        leakage_uW: of a cell; None: it keeps its code without power.
    """

    kind: Literal["rram", "pcm", "sram", "fefet"]
    area_F2: Entry | None = None
    feature_nm: float | None = Field(default=None, gt=0)
    area_um2: Entry | None = None
    read_fJ: Entry | None = None
    capacitance_fF: Entry | None = None
    swing_V: Entry | None = None
    conductance_uS: Entry | None = None
    read_voltage_V: Entry | None = None
    read_time_ns: Entry | None = None
    zero_code_ratio: Entry | None = None
    leakage_uW: Entry | None = None

    @model_validator(mode="after")
    def _one_form_each(self) -> CellNumbers:
        for forms in (("area_F2", "area_um2"), ("read_fJ", "capacitance_fF", "conductance_uS")):
            given = [name for name in forms if getattr(self, name) is not None]
            if len(given) != 1:
                raise ValueError(f"got {', '.join(given) or 'none'} of {', '.join(forms)}; give exactly one of them")
        parts = [self.read_voltage_V, self.read_time_ns]
        if (self.conductance_uS is None) != (parts == [None, None]) or parts.count(None) == 1:
            raise ValueError("conductance_uS, read_voltage_V and read_time_ns go together; give all three or none")
        if self.swing_V is not None and self.capacitance_fF is None:
            raise ValueError("swing_V belongs to capacitance_fF, which is missing; leave swing_V out")
        if self.feature_nm is not None and self.area_F2 is None:
            raise ValueError("feature_nm belongs to area_F2, which is missing; leave feature_nm out")
        if self.zero_code_ratio is not None and self.zero_code_ratio.value > 1:
            raise ValueError(f"zero_code_ratio={self.zero_code_ratio.value:g} is more than 1; allowed 0 to 1")
        return self


class WordlineNumbers(Spec):
    """Wordline driver (a one-bit DAC): its load, the wire and cells that it charges.

    Attributes:
        cell_fF: gate of each cell on the line; None: counted in the wire or the driver.
        drive_V: amplitude; None: the supply.
    """

    driver_fF: Entry
    wire_fF_per_um: Entry
    cell_fF: Entry | None = None
    drive_V: Entry | None = None
    driver_area_um2: Entry


class ColumnMuxNumbers(Spec):
    """Multiplexer of ``inputs`` bitlines to one ADC."""

    inputs: int = Field(ge=2)
    conversion_fJ: Entry
    area_um2: Entry


class SampleAndHoldNumbers(Spec):
    """Sample-and-hold of one bitline."""

    sample_fJ: Entry
    area_um2: Entry


class LogicNumbers(Spec):
    """Adders, comparators, multipliers and counters of ``reference_bits``, registers, and what logic leaks."""

    reference_bits: int = Field(ge=1)
    adder_fJ: Entry
    adder_area_um2: Entry
    adder_ns: Entry | None = None
    comparator_fJ: Entry
    comparator_area_um2: Entry
    multiplier_fJ: Entry
    multiplier_area_um2: Entry
    multiplier_ns: Entry | None = None
    counter_fJ: Entry
    counter_area_um2: Entry
    register_fJ_per_bit: Entry
    register_area_um2_per_bit: Entry
    shift_add_bits: int = Field(ge=1)
    shift_add_fJ: Entry
    shift_add_area_um2: Entry
    leakage_uW_per_um2: Entry


class ControlNumbers(Spec):
    """Clock tree and control: what they add to the energy of every action of logic, and to its area."""

    energy_ratio: Entry
    area_ratio: Entry


class FloorPlanBus(Spec):
    """Bus of a tile as an H-tree over its floor plan.

    Attributes:
        wire_fF_per_um: one wire.
        repeater_ratio: capacitance of repeaters over that of the wire.
        toggle_ratio: share of the transferred bits that charge a wire.
        pitch_um: between two wires.
        active_area_ratio: repeaters under the wires over the area of the wires, which run above other logic.
    """

    kind: Literal["floor_plan"]
    wire_fF_per_um: Entry
    repeater_ratio: Entry
    toggle_ratio: Entry
    pitch_um: Entry
    active_area_ratio: Entry


class PublishedBus(Spec):
    """Bus taken as published: energy of a bit, and area of each bit of its width in every tile; all of it leaks."""

    kind: Literal["published"]
    transfer_fJ_per_bit: Entry
    area_um2_per_bit: Entry


class NocNumbers(Spec):
    """Router and its links.

    Attributes:
        transfer_bits, router_fJ: bits moved through the published router for that energy.
        router_flit_bits, router_ports, router_area_um2: the published router.
        router_ns: time of the head of a packet in it.
        mesh_ports: ports of a mesh router.
        link_wire_fF_per_um: one wire of a link, as long as a tile is wide; None: ``router_fJ`` holds the link.
        link_toggle_ratio: share of the bits that charge the wire; needed beside the wire.
    """

    transfer_bits: int = Field(ge=1)
    router_fJ: Entry
    router_flit_bits: int = Field(ge=1)
    router_ports: int = Field(ge=1)
    mesh_ports: int = Field(ge=1)
    router_area_um2: Entry
    router_ns: Entry | None = None
    link_wire_fF_per_um: Entry | None = None
    link_toggle_ratio: Entry | None = None

    @model_validator(mode="after")
    def _link_is_whole(self) -> NocNumbers:
        if (self.link_wire_fF_per_um is None) != (self.link_toggle_ratio is None):
            raise ValueError("link_wire_fF_per_um and link_toggle_ratio go together; give both or neither")
        return self


class InputLoadNumbers(Spec):
    """Link that brings the image onto the chip."""

    transfer_bits: int = Field(ge=1)
    transfer_fJ: Entry


class DramNumbers(Spec):
    """Off-chip memory that the image comes from; left out, it is not priced."""

    access_fJ_per_bit: Entry


class LogicPrices(NamedTuple):
    """Logic at a file's node and supply: energy and area a bit (multiplier: a product of two bits)."""

    adder_fJ: float
    adder_um2: float
    comparator_fJ: float
    comparator_um2: float
    multiplier_fJ: float
    multiplier_um2: float
    counter_fJ: float
    counter_um2: float
    register_fJ: float
    register_um2: float
    shift_add_fJ: float
    shift_add_um2: float


class Technology(Spec):
    """What components cost, the same for all designs of a fair comparison.

    Attributes:
        extrapolate: whether an ADC outside the validity of its fit is priced with a warning instead of refused.
        cells: arrays by a name of the file's own.
        default_cell: the one of them that serves designs that name none.
        adc: column ADCs by architecture.
        column_mux, sample_and_hold: None where the numbers of the ADC hold them.
    """

    schema_version: Literal[2]
    name: str = Field(min_length=1)
    node_nm: float = Field(gt=0)
    source: str = Field(min_length=1)
    extrapolate: bool = False
    supply: SupplyNumbers
    cells: dict[str, CellNumbers] = Field(min_length=1)
    default_cell: str
    wordline: WordlineNumbers
    column_mux: ColumnMuxNumbers | None = None
    sample_and_hold: SampleAndHoldNumbers | None = None
    adc: dict[Architecture, Fit] = Field(min_length=1)
    logic: LogicNumbers
    control: ControlNumbers | None = None
    sram: SramNumbers
    bus: Annotated[FloorPlanBus | PublishedBus, Field(discriminator="kind")]
    noc: NocNumbers
    input_load: InputLoadNumbers
    dram: DramNumbers | None = None
    scaling: ScalingNumbers

    @model_validator(mode="after")
    def _default_cell_is_there(self) -> Technology:
        if self.default_cell not in self.cells:
            raise ValueError(f"default_cell: got {self.default_cell!r}; allowed: {', '.join(self.cells)}")
        return self

    @model_validator(mode="after")
    def _every_number_can_be_scaled(self) -> Technology:
        scaler = self.scaler
        for key, entry in self.entries.items():
            if self._moves(key):
                scaler.check_entry(key, entry)
        return self

    @cached_property
    def scaler(self) -> Scaler:
        """Scaling of logic to this file's node and supply."""
        return Scaler(self.scaling, node_nm=self.node_nm, vdd_V=self.supply.vdd_V.value)

    @cached_property
    def logic_prices(self) -> LogicPrices:
        """Logic at this file's node and supply, linear in the width (multipliers: in the product of the widths)."""
        logic, fJ, um2 = self.logic, self.energy_fJ, self.area_um2
        bits = float(logic.reference_bits)
        return LogicPrices(
            adder_fJ=fJ(logic.adder_fJ) / bits,
            adder_um2=um2(logic.adder_area_um2) / bits,
            comparator_fJ=fJ(logic.comparator_fJ) / bits,
            comparator_um2=um2(logic.comparator_area_um2) / bits,
            multiplier_fJ=fJ(logic.multiplier_fJ) / bits**2,
            multiplier_um2=um2(logic.multiplier_area_um2) / bits**2,
            counter_fJ=fJ(logic.counter_fJ) / bits,
            counter_um2=um2(logic.counter_area_um2) / bits,
            register_fJ=fJ(logic.register_fJ_per_bit),
            register_um2=um2(logic.register_area_um2_per_bit),
            shift_add_fJ=fJ(logic.shift_add_fJ) / logic.shift_add_bits,
            shift_add_um2=um2(logic.shift_add_area_um2) / logic.shift_add_bits,
        )

    @cached_property
    def macros(self) -> SramMacros:
        """SRAM macros at this file's node."""
        area_um2 = self.logic_prices.register_um2
        register = RegisterBit(
            access_fJ=self.logic_prices.register_fJ,
            area_um2=area_um2,
            leakage_uW=area_um2 * self.logic.leakage_uW_per_um2.value,
        )
        return SramMacros(self.sram, self.scaler, node_nm=self.node_nm, register=register)

    @cached_property
    def sources(self) -> dict[str, Sourced]:
        """Every sourced number, fit and table by its dotted name, e.g. ``logic.adder_fJ``, ``adc.sar``, ``scaling``."""
        found = dict(walk_sources(self))
        for key in ("scaling", "sram"):
            found[key] = found.pop(f"{key}.table")
        return found

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every sourced number by its dotted name."""
        return {key: record for key, record in self.sources.items() if isinstance(record, Entry)}

    def status(self, key: str) -> Status:
        """Trust in a number, a fit (``adc.sar``), the ``sram`` or the ``scaling`` table."""
        return self.sources[key].status

    def citation(self, key: str) -> str:
        """Text for reports: ``key: source (year) [status]``."""
        record = self.sources[key]
        return f"{key}: {record.source} ({record.year}) [{record.status}]"

    def energy_fJ(self, entry: Entry) -> float:
        """Energy of logic at this file's node and supply.

        Source: Stillmaker and Baas, Integration 58 (2017): E scales as the ratio of the nodes' polynomials.
        """
        return entry.value * self.scaler.energy_ratio(entry)

    def area_um2(self, entry: Entry) -> float:
        """Area of logic at this file's node (same source, area table)."""
        return entry.value * self.scaler.area_ratio(entry)

    def delay_ns(self, entry: Entry) -> float:
        """Delay of logic at this file's node and supply (same source, delay polynomials)."""
        return entry.value * self.scaler.delay_ratio(entry)

    def is_scaled(self, key: str) -> bool:
        """Whether a number is moved to this file's node or supply."""
        if not self._moves(key):
            return False
        entry = self.entries[key]
        return entry.node_nm != self.node_nm or entry.vdd_V not in (None, self.supply.vdd_V.value)

    def keys(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Distinct keys, with ``scaling`` behind them if one of them is moved."""
        if names not in self._known_keys:
            scaled = ("scaling",) if any(self.is_scaled(key) for key in names) else ()
            self._known_keys[names] = (*dict.fromkeys(names), *scaled)
        return self._known_keys[names]

    @cached_property
    def _known_keys(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        return {}

    def _moves(self, key: str) -> bool:
        return key in self.entries and key.startswith(SCALED_SECTIONS) and key not in UNSCALED

    def content_hash(self) -> str:
        """sha256 of every field but the names, the sources and the notes."""
        return canonical_hash(_without_texts(self.resolved()))


def load_technology(name_or_path: str) -> Technology:
    """Technology from a YAML path or the name of a file of ``hwconfigs/technology``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "technology")
    return validate_spec(Technology, read_yaml(path), where=str(path))


def _without_texts(value: object) -> object:
    if isinstance(value, dict):
        texts = ("name", "source", "note", "year", "status")
        return {key: _without_texts(item) for key, item in value.items() if key not in texts}
    return [_without_texts(item) for item in value] if isinstance(value, list) else value
