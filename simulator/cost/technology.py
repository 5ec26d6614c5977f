"""Technology file: every number with its source, year, node and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from ..config import resolve_yaml
from ..errors import ConfigError
from ..spec import Spec, canonical_hash, validate_spec
from ..strict_yaml import read_yaml

Status = Literal["read", "derived", "doubted", "assumption"]


class Entry(Spec):
    """One number and where it comes from; the unit ends the name of the field that holds it.

    Attributes:
        value: the number as published, at ``node_nm``.
        status: ``read`` in the source, ``derived`` from it by the arithmetic in ``note``, ``doubted`` for a
            reason in ``note``, or an ``assumption`` without a source.
    """

    value: float = Field(ge=0)
    source: str = Field(min_length=1)
    year: int = Field(ge=1950, le=2100)
    node_nm: float = Field(gt=0)
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _doubt_has_a_reason(self) -> Entry:
        if self.status != "read" and not self.note:
            raise ValueError(f"status '{self.status}' without a note; write what was derived, doubted or assumed")
        return self


class SupplyNumbers(Spec):
    """Operating point."""

    vdd_V: Entry
    temperature_K: Entry


class CrossbarNumbers(Spec):
    """Cell array of ``array_rows x array_cols`` cells, all conducting."""

    array_rows: int = Field(ge=1)
    array_cols: int = Field(ge=1)
    array_read_fJ: Entry
    array_area_um2: Entry


class WordlineNumbers(Spec):
    """Wordline driver: its load, and the wire that it charges."""

    driver_fF: Entry
    wire_fF_per_um: Entry
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


class AdcFit(Spec):
    """How ADC energy and area grow with bits: E ~ linear*b + power*4^b, A ~ 10^(area_decade*b) * 2^b."""

    linear_fJ: float = Field(ge=0)
    power_fJ: float = Field(ge=0)
    area_decade_ratio: float
    bits_min: int = Field(ge=1)
    bits_max: int = Field(ge=1)
    source: str = Field(min_length=1)
    year: int
    node_nm: float = Field(gt=0)
    status: Status
    note: str = ""


class AdcNumbers(Spec):
    """ADC of ``bits`` bits, and the fit that carries it to other widths."""

    bits: int = Field(ge=1)
    conversion_fJ: Entry
    area_um2: Entry
    fit: AdcFit


class LogicNumbers(Spec):
    """Adders, comparators and multipliers of ``reference_bits``, registers, and what logic leaks."""

    reference_bits: int = Field(ge=1)
    adder_fJ: Entry
    adder_area_um2: Entry
    comparator_fJ: Entry
    comparator_area_um2: Entry
    multiplier_fJ: Entry
    multiplier_area_um2: Entry
    register_fJ_per_bit: Entry
    register_area_um2_per_bit: Entry
    shift_add_bits: int = Field(ge=1)
    shift_add_fJ: Entry
    shift_add_area_um2: Entry
    leakage_uW_per_um2: Entry


class SramAccess(Spec):
    """Energy of one access of ``SramNumbers.access_bits`` in a macro of this capacity."""

    capacity_bits: int = Field(ge=1)
    energy_fJ: Entry


class SramNumbers(Spec):
    """SRAM macros; ``access`` is ordered by capacity and interpolated between its points."""

    area_um2_per_bit: Entry
    leakage_uW_per_bit: Entry
    access_bits: int = Field(ge=1)
    access: list[SramAccess] = Field(min_length=2)
    extrapolation_ratio: Entry

    @model_validator(mode="after")
    def _access_is_ordered(self) -> SramNumbers:
        capacities = [point.capacity_bits for point in self.access]
        if sorted(set(capacities)) != capacities:
            raise ValueError(f"access: capacities {capacities} do not ascend; order the points by capacity_bits")
        return self


class BusNumbers(Spec):
    """Bus (H-tree) of a tile of ``pes`` PEs with ``rows`` wordlines and ``cols`` bitlines each."""

    pes: int = Field(ge=1)
    rows: int = Field(ge=1)
    cols: int = Field(ge=1)
    transfer_fJ: Entry
    transfer_bits: Entry
    area_um2: Entry
    active_area_ratio: Entry


class NocNumbers(Spec):
    """Router with its links."""

    transfer_bits: int = Field(ge=1)
    transfer_fJ: Entry
    router_flit_bits: int = Field(ge=1)
    router_ports: int = Field(ge=1)
    mesh_ports: int = Field(ge=1)
    router_area_um2: Entry


class InputLoadNumbers(Spec):
    """Link that brings the image onto the chip."""

    transfer_bits: int = Field(ge=1)
    transfer_fJ: Entry


class NodeScaling(Spec):
    """Node of the scaling table: area of this node's logic times ``area_ratio`` is its area at the file's node."""

    node_nm: float = Field(gt=0)
    area_ratio: float = Field(gt=0)
    energy_square: float
    energy_linear: float
    energy_constant: float

    def energy(self, vdd_V: float) -> float:
        """Relative switching energy at a supply."""
        return (self.energy_square * vdd_V + self.energy_linear) * vdd_V + self.energy_constant


class ScalingNumbers(Spec):
    """How logic moves between nodes; ``nodes`` are ordered from large to small."""

    source: str = Field(min_length=1)
    year: int
    status: Status
    note: str = ""
    nodes: list[NodeScaling] = Field(min_length=2)


class Technology(Spec):
    """What components cost, the same for all designs of a fair comparison."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    node_nm: float = Field(gt=0)
    source: str = Field(min_length=1)
    supply: SupplyNumbers
    crossbar: CrossbarNumbers
    wordline: WordlineNumbers
    column_mux: ColumnMuxNumbers
    sample_and_hold: SampleAndHoldNumbers
    adc: AdcNumbers
    logic: LogicNumbers
    sram: SramNumbers
    bus: BusNumbers
    noc: NocNumbers
    input_load: InputLoadNumbers
    scaling: ScalingNumbers

    @model_validator(mode="after")
    def _every_number_can_be_scaled(self) -> Technology:
        nodes = [node.node_nm for node in self.scaling.nodes]
        if sorted(set(nodes), reverse=True) != nodes:
            raise ValueError(f"scaling.nodes: {nodes} nm do not descend; order them from large to small")
        if not nodes[-1] <= self.node_nm <= nodes[0]:
            raise ValueError(f"node_nm={self.node_nm:g}; the scaling table covers {nodes[-1]:g} to {nodes[0]:g} nm")
        vdd_V = self.supply.vdd_V.value
        for node in self.scaling.nodes:
            if node.energy(vdd_V) <= 0:
                raise ValueError(
                    f"scaling.nodes: the energy polynomial of {node.node_nm:g} nm is {node.energy(vdd_V):g} at "
                    f"supply.vdd_V={vdd_V:g}; choose a supply inside the range of the fit"
                )
        return self

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every sourced number by its dotted name, e.g. ``adc.conversion_fJ``."""
        return dict(_walk(self, ""))

    def status(self, key: str) -> Status:
        """Trust in a number, a fit (``adc.fit``) or the ``scaling`` table."""
        if key == "adc.fit":
            return self.adc.fit.status
        return self.scaling.status if key == "scaling" else self.entries[key].status

    def citation(self, key: str) -> str:
        """Text for reports: ``key: source (year) [status]``."""
        fits: dict[str, AdcFit | ScalingNumbers] = {"adc.fit": self.adc.fit, "scaling": self.scaling}
        record = fits.get(key) or self.entries[key]
        return f"{key}: {record.source} ({record.year}) [{record.status}]"

    def energy_fJ(self, entry: Entry) -> float:
        """Energy of logic at this file's node and supply.

        Source: Stillmaker and Baas, Integration 58 (2017): E scales as the ratio of the nodes' polynomials.
        """
        return entry.value * self._energy_at(self.node_nm) / self._energy_at(entry.node_nm)

    def area_um2(self, entry: Entry) -> float:
        """Area of logic at this file's node (same source, area table)."""
        return entry.value * self._area_at(entry.node_nm) / self._area_at(self.node_nm)

    def is_scaled(self, key: str) -> bool:
        """Whether a number was published for another node."""
        return self.entries[key].node_nm != self.node_nm

    def _energy_at(self, node_nm: float) -> float:
        vdd_V = self.supply.vdd_V.value
        return self._at_node(node_nm, [node.energy(vdd_V) for node in self.scaling.nodes])

    def _area_at(self, node_nm: float) -> float:
        return self._at_node(node_nm, [node.area_ratio for node in self.scaling.nodes])

    def _at_node(self, node_nm: float, values: list[float]) -> float:
        nodes = [node.node_nm for node in self.scaling.nodes]
        for i, node in enumerate(nodes):
            if node == node_nm:
                return values[i]
        if not nodes[-1] < node_nm < nodes[0]:
            raise ConfigError(
                f"technology {self.name}: a number of {node_nm:g} nm cannot be scaled; the scaling table covers "
                f"{nodes[-1]:g} to {nodes[0]:g} nm"
            )
        i = next(i for i, node in enumerate(nodes) if node < node_nm)
        share = math.log(nodes[i - 1] / node_nm) / math.log(nodes[i - 1] / nodes[i])
        return float(values[i - 1] ** (1 - share) * values[i] ** share)

    def content_hash(self) -> str:
        """sha256 of every field but the name, the sources and the notes."""
        return canonical_hash(_without_texts(self.resolved()))


def load_technology(name_or_path: str) -> Technology:
    """Technology from a YAML path or the name of a file of ``hwconfigs/technology``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "technology")
    return validate_spec(Technology, read_yaml(path), where=str(path))


def _walk(record: Spec, prefix: str) -> Iterator[tuple[str, Entry]]:
    for name in type(record).model_fields:
        value = getattr(record, name)
        key = f"{prefix}{name}"
        if isinstance(value, Entry):
            yield key, value
        elif isinstance(value, Spec):
            yield from _walk(value, f"{key}.")
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield from _walk(item, f"{key}[{i}].")


def _without_texts(value: object) -> object:
    if isinstance(value, dict):
        texts = ("name", "source", "note", "year", "status")
        return {key: _without_texts(item) for key, item in value.items() if key not in texts}
    return [_without_texts(item) for item in value] if isinstance(value, list) else value
