"""How logic moves between nodes and supplies: the published tables of ``hwconfigs/scaling``."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..config import resolve_yaml
from ..errors import ConfigError
from ..spec import Spec, validate_spec
from ..strict_yaml import read_yaml
from .entries import Entry, Sourced

Flavour = Literal["high_performance", "low_power"]


class NodeScaling(Spec):
    """One node: relative area, energy a x Vdd^2 + b x Vdd + c and delay a x Vdd^3 + b x Vdd^2 + c x Vdd + d of logic.

    Attributes:
        flavour: kind of transistors; None where the source has one kind only.
        area_ratio: area at this node times this is the area at the reference node.
        vdd_min_V, vdd_nominal_V, vdd_max_V: supplies for which the polynomials hold, and the usual one.
    """

    node_nm: float = Field(gt=0)
    flavour: Flavour | None = None
    area_ratio: float = Field(gt=0)
    vdd_min_V: float = Field(gt=0)
    vdd_nominal_V: float = Field(gt=0)
    vdd_max_V: float = Field(gt=0)
    energy_square: float
    energy_linear: float
    energy_constant: float
    delay_cube: float
    delay_square: float
    delay_linear: float
    delay_constant: float

    def energy(self, vdd_V: float) -> float:
        """Relative switching energy at a supply."""
        return (self.energy_square * vdd_V + self.energy_linear) * vdd_V + self.energy_constant

    def delay(self, vdd_V: float) -> float:
        """Relative delay at a supply.

        Some of the cubics turn up before the highest supply of their range; no gate becomes slower there, so the
        delay stays at the minimum of the fit.
        """
        v = min(vdd_V, self._fastest_V())
        return ((self.delay_cube * v + self.delay_square) * v + self.delay_linear) * v + self.delay_constant

    def _fastest_V(self) -> float:
        """Supply at which the delay polynomial has its minimum; infinite where it only falls."""
        a, b, c = 3 * self.delay_cube, 2 * self.delay_square, self.delay_linear
        if a == 0:
            return -c / b if b > 0 else math.inf
        root = b * b - 4 * a * c
        return (-b + math.sqrt(root)) / (2 * a) if root > 0 else math.inf

    @model_validator(mode="after")
    def _polynomials_are_positive(self) -> NodeScaling:
        for what, of in (("energy", self.energy), ("delay", self.delay)):
            for vdd_V in (self.vdd_min_V, self.vdd_nominal_V, self.vdd_max_V):
                if of(vdd_V) <= 0:
                    raise ValueError(
                        f"{self.node_nm:g} nm: the {what} polynomial is {of(vdd_V):g} at {vdd_V:g} V; it must be "
                        f"positive from vdd_min_V={self.vdd_min_V:g} to vdd_max_V={self.vdd_max_V:g}"
                    )
        if not self.vdd_min_V <= self.vdd_nominal_V <= self.vdd_max_V:
            raise ValueError(f"{self.node_nm:g} nm: vdd_nominal_V={self.vdd_nominal_V:g} is outside its range")
        return self


class ScalingTable(Sourced):
    """File of ``hwconfigs/scaling``."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    nodes: list[NodeScaling] = Field(min_length=2)


class ScalingNumbers(Spec):
    """Scaling of a technology: a table and the kind of transistors.

    Attributes:
        table: the table, in a YAML file given by name or path.
        flavour: kind of transistors, for the nodes that have both.
    """

    table: ScalingTable
    flavour: Flavour

    @field_validator("table", mode="before")
    @classmethod
    def _read_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            path = resolve_yaml(value, "scaling")
            return validate_spec(ScalingTable, read_yaml(path), where=str(path))
        return value

    @model_validator(mode="after")
    def _nodes_descend(self) -> ScalingNumbers:
        nodes = [node.node_nm for node in self.nodes]
        if len(nodes) < 2 or sorted(set(nodes), reverse=True) != nodes:
            raise ValueError(f"table: nodes {nodes} nm do not descend; order them from large to small, once each")
        return self

    @property
    def nodes(self) -> tuple[NodeScaling, ...]:
        """Nodes of this flavour, from large to small."""
        return tuple(node for node in self.table.nodes if node.flavour in (None, self.flavour))


class Scaler:
    """Scaling to one node and supply; the factors of each source node are worked out once."""

    def __init__(self, scaling: ScalingNumbers, *, node_nm: float, vdd_V: float) -> None:
        """Refuse what the table does not cover.

        Raises:
            ConfigError: node or supply outside the table.
        """
        self._nodes = scaling.nodes
        self._sizes_nm = [-node.node_nm for node in self._nodes]
        self._node_nm, self._vdd_V = node_nm, vdd_V
        self._known: dict[tuple[str, float, float | None], float] = {}
        self.check("node_nm", "supply.vdd_V", node_nm, vdd_V)

    def nominal_V(self, node_nm: float) -> float:
        """Nominal supply of a node."""
        return self._at(node_nm, lambda node: node.vdd_nominal_V)

    def energy_ratio(self, entry: Entry) -> float:
        """Energy of logic here over that at the node and supply of an entry (ratio of the polynomials)."""
        return self._ratio("energy", entry, self._energy)

    def delay_ratio(self, entry: Entry) -> float:
        """Delay of logic here over that at the node and supply of an entry (ratio of the polynomials)."""
        return self._ratio("delay", entry, self._delay)

    def area_ratio(self, entry: Entry) -> float:
        """Area of logic here over that at the node of an entry."""
        return self.node_area_ratio(entry.node_nm)

    def node_area_ratio(self, node_nm: float) -> float:
        """Area of logic here over that at another node."""
        key = ("area", node_nm, None)
        if key not in self._known:
            self._known[key] = self._area(node_nm) / self._area(self._node_nm)
        return self._known[key]

    def _ratio(self, what: str, entry: Entry, of: Callable[[float, float], float]) -> float:
        key = (what, entry.node_nm, entry.vdd_V)
        if key not in self._known:
            self._known[key] = of(self._node_nm, self._vdd_V) / of(entry.node_nm, self.supply_of(entry))
        return self._known[key]

    def supply_of(self, entry: Entry) -> float:
        """Supply at which an entry was published."""
        if entry.vdd_V is not None:
            return entry.vdd_V
        return self._vdd_V if entry.node_nm == self._node_nm else self.nominal_V(entry.node_nm)

    def check_entry(self, key: str, entry: Entry) -> None:
        """Refuse an entry whose node or supply is outside the table.

        Raises:
            ConfigError: one sentence that names the entry and the range.
        """
        self._check_node(f"{key}.node_nm", entry.node_nm)
        self.check(f"{key}.node_nm", f"{key}.vdd_V", entry.node_nm, self.supply_of(entry))

    def _check_node(self, key: str, node_nm: float) -> None:
        first, last = self._nodes[0].node_nm, self._nodes[-1].node_nm
        if not last <= node_nm <= first:
            raise ConfigError(f"{key}={node_nm:g}; the scaling table covers {last:g} to {first:g} nm")

    def check(self, node_key: str, supply_key: str, node_nm: float, vdd_V: float) -> None:
        """Refuse a node or a supply outside the table.

        Raises:
            ConfigError: one sentence that names the field and the range.
        """
        self._check_node(node_key, node_nm)
        low, high = (self._at(node_nm, of) for of in (lambda n: n.vdd_min_V, lambda n: n.vdd_max_V))
        if not low - 1e-9 <= vdd_V <= high + 1e-9:
            raise ConfigError(
                f"{supply_key}={vdd_V:g}; the scaling polynomials of {node_nm:g} nm hold from {low:.3g} to {high:.3g} V"
            )

    def _energy(self, node_nm: float, vdd_V: float) -> float:
        return self._at(node_nm, lambda node: node.energy(vdd_V))

    def _delay(self, node_nm: float, vdd_V: float) -> float:
        return self._at(node_nm, lambda node: node.delay(vdd_V))

    def _area(self, node_nm: float) -> float:
        return self._at(node_nm, lambda node: node.area_ratio)

    def _at(self, node_nm: float, of: Callable[[NodeScaling], float]) -> float:
        """Value at a node; geometric in the logarithm of the node between two of the table."""
        i = bisect_left(self._sizes_nm, -node_nm)
        below = self._nodes[i]
        if below.node_nm == node_nm:
            return of(below)
        above = self._nodes[i - 1]
        share = math.log(above.node_nm / node_nm) / math.log(above.node_nm / below.node_nm)
        return float(of(above) ** (1 - share) * of(below) ** share)
