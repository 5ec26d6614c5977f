"""SRAM macros: area, energy, latency and leakage by capacity and word width, between the points of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from ..config import resolve_yaml
from ..spec import Spec, validate_spec
from ..strict_yaml import read_yaml
from .entries import Entry, Sourced
from .scaling import Scaler

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]

#: Columns of a table behind node, capacity and word.
QUANTITIES = ("read_fJ", "write_fJ", "access_ns", "area_um2", "leakage_uW")


class SramTable(Sourced):
    """File of ``hwconfigs/memories``: macros on a grid of nodes, capacities and word widths.

    Attributes:
        vdd_V: supply that the numbers hold for; macros keep it, whatever the supply of the logic.
        energy_error_ratio, latency_error_ratio, area_error_ratio, leakage_error_ratio: largest relative error between
            the points, as measured against macros that are not in the table.
        rows: [node_nm, capacity_bits, word_bits, read_fJ, write_fJ, access_ns, area_um2, leakage_uW] of each macro.
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    energy_error_ratio: float = Field(ge=0)
    latency_error_ratio: float = Field(ge=0)
    area_error_ratio: float = Field(ge=0)
    leakage_error_ratio: float = Field(ge=0)
    rows: list[list[float]] = Field(min_length=4)

    @model_validator(mode="after")
    def _rows_are_a_grid(self) -> SramTable:
        for i, row in enumerate(self.rows):
            if len(row) != 3 + len(QUANTITIES) or min(row) <= 0:
                raise ValueError(
                    f"rows[{i}]: got {row}; expected {3 + len(QUANTITIES)} positive numbers: node_nm, capacity_bits, "
                    f"word_bits, {', '.join(QUANTITIES)}"
                )
        axes = [sorted({row[i] for row in self.rows}) for i in range(3)]
        keys = {tuple(row[:3]) for row in self.rows}
        if len(keys) != len(self.rows) or len(keys) != math.prod(len(axis) for axis in axes):
            raise ValueError(
                f"rows: {len(self.rows)} macros are no full grid of {len(axes[0])} nodes x {len(axes[1])} capacities x "
                f"{len(axes[2])} words, once each"
            )
        if len(axes[1]) < 2 or len(axes[2]) < 2:
            raise ValueError("rows: a table needs at least two capacities and two word widths")
        return self


class SramNumbers(Spec):
    """SRAM of a technology: a table, in a YAML file given by name or path, or written out."""

    table: SramTable

    @field_validator("table", mode="before")
    @classmethod
    def _read_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            path = resolve_yaml(value, "memories")
            return validate_spec(SramTable, read_yaml(path), where=str(path))
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class Macros:
    """Memories, each of the same shape as the capacities that were asked for; 0 where a memory has no bits.

    ``read_fJ`` and ``write_fJ`` are of one bit of a word, area and leakage of the whole memory; ``in_registers`` says
    which memories are too small for a macro.
    """

    read_fJ: FloatArray
    write_fJ: FloatArray
    access_ns: FloatArray
    area_um2: FloatArray
    leakage_uW: FloatArray
    in_registers: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterBit:
    """One bit of a register, which stands in for macros that would be larger."""

    access_fJ: float
    area_um2: float
    leakage_uW: float


class SramMacros:
    """Macros at one node.

    Between two capacities or words every quantity follows a power law (bilinear in the logarithms), between two nodes
    too. A word wider than the table's widest is several macros side by side, a memory larger than the largest several
    macros. A memory smaller than the smallest macro is that macro, or registers if those take less area.
    """

    def __init__(self, numbers: SramNumbers, scaler: Scaler, *, node_nm: float, register: RegisterBit) -> None:
        """Work out the table at a node; beyond its nodes macros scale as logic does from the nearest one."""
        grid, nodes, self._capacity, self._word = _grid(numbers.table)
        self.scaled_from_nm: float | None = None
        nearest = min(max(node_nm, nodes[0]), nodes[-1])
        values = _at_node(grid, nodes, nearest)
        if nearest != node_nm:
            self.scaled_from_nm = nearest
            values = values + _logic_factors(scaler, nearest)[:, None, None]
        # Cells as (capacity segment, word segment, quantity) corners make one gather enough.
        self._values = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        self._log_capacity, self._log_word = np.log(self._capacity), np.log(self._word)
        self._register = register

    def price(self, capacity_bits: IntArray, word_bits: IntArray) -> Macros:
        """Macros of a capacity each, accessed by words.

        Args:
            capacity_bits: of each memory; 0 where there is none.
            word_bits: broadcastable; words longer than the memory are as long as the memory.
        """
        capacity = np.asarray(capacity_bits, dtype=np.float64)
        held = np.maximum(capacity, 1.0)
        word = np.minimum(np.broadcast_to(np.asarray(word_bits, dtype=np.float64), capacity.shape), held)
        beside = np.ceil(word / self._word[-1])
        stacked = np.ceil(held / (beside * self._capacity[-1]))
        macros = beside * stacked
        values = np.exp(self._interpolate(held / macros, word / beside))
        read, write, access_ns, area, leakage = np.moveaxis(values, -1, 0)
        area, leakage = area * macros, leakage * macros
        bit = self._register
        small = (held < self._capacity[0]) & (held * bit.area_um2 < area)
        there = capacity > 0

        def chosen(macro: FloatArray, register: FloatArray | float) -> FloatArray:
            return np.where(small, register, macro) * there

        return Macros(
            read_fJ=chosen(read * beside / word, bit.access_fJ),
            write_fJ=chosen(write * beside / word, bit.access_fJ),
            access_ns=chosen(access_ns, 0.0),
            area_um2=chosen(area, held * bit.area_um2),
            leakage_uW=chosen(leakage, held * bit.leakage_uW),
            in_registers=small & there,
        )

    def _interpolate(self, capacity_bits: FloatArray, word_bits: FloatArray) -> FloatArray:
        i, x = _segment(self._log_capacity, np.log(capacity_bits))
        j, y = _segment(self._log_word, np.log(word_bits))
        x, y = x[..., None], y[..., None]
        v = self._values
        low = (1 - y) * v[i, j] + y * v[i, j + 1]
        high = (1 - y) * v[i + 1, j] + y * v[i + 1, j + 1]
        return np.asarray((1 - x) * low + x * high)


def _segment(axis: FloatArray, at: FloatArray) -> tuple[IntArray, FloatArray]:
    """Segment of each value and its position inside, 0 to 1; values outside sit at the ends."""
    i = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, axis.size - 2)
    return i, np.clip((at - axis[i]) / (axis[i + 1] - axis[i]), 0.0, 1.0)


def _grid(table: SramTable) -> tuple[FloatArray, Sequence[float], FloatArray, FloatArray]:
    """(nodes, quantities, capacities, words) logarithms, and the three axes."""
    rows = np.array(sorted(table.rows), dtype=np.float64)
    nodes, capacity, word = (np.unique(rows[:, i]) for i in range(3))
    values = np.log(rows[:, 3:]).reshape(nodes.size, capacity.size, word.size, len(QUANTITIES))
    return np.moveaxis(values, -1, 1), nodes.tolist(), capacity, word


def _at_node(grid: FloatArray, nodes: Sequence[float], node_nm: float) -> FloatArray:
    for i, node in enumerate(nodes):
        if node == node_nm:
            return np.asarray(grid[i])
    i = next(i for i, node in enumerate(nodes) if node > node_nm)
    share = math.log(node_nm / nodes[i - 1]) / math.log(nodes[i] / nodes[i - 1])
    return np.asarray((1 - share) * grid[i - 1] + share * grid[i])


def _logic_factors(scaler: Scaler, node_nm: float) -> FloatArray:
    """Logarithms of what scaling as logic does to the quantities; leakage goes with the area (assumption)."""
    there = Entry(value=1.0, source="table", year=2017, status="read", node_nm=node_nm)
    energy, area = scaler.energy_ratio(there), scaler.area_ratio(there)
    return np.asarray(np.log([energy, energy, scaler.delay_ratio(there), area, area]))
