"""SRAM macros: area, energy, latency and leakage by capacity and word width, between the points of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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

#: The slope of the two smallest macros goes on down to a macro this many times smaller.
BELOW = 8.0

#: Sets of memories whose prices are remembered.
_KNOWN_MAX = 256

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


class Macros(NamedTuple):
    """Memories, each of the same shape as the capacities that were asked for; 0 where a memory has no bits.

    ``read_fJ`` and ``write_fJ`` are of one bit of a word, area and leakage of the whole memory; ``in_registers`` says
    which memories are too small for a macro, ``in_macros`` which are macros.
    """

    read_fJ: FloatArray
    write_fJ: FloatArray
    access_ns: FloatArray
    area_um2: FloatArray
    leakage_uW: FloatArray
    in_registers: NDArray[np.bool_]
    in_macros: NDArray[np.bool_]


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
    macros. Below the smallest macro the slope of the nearest two goes on down to an eighth of it; a memory smaller than
    that is such a macro, or registers if those take less area.
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
        v = np.moveaxis(values, 0, -1)
        # c0 + c1 x + c2 y + c3 x y of every patch, so that one gather is enough.
        along_x, along_y = v[1:, :-1] - v[:-1, :-1], v[:-1, 1:] - v[:-1, :-1]
        twist = v[1:, 1:] - v[1:, :-1] - along_y
        self._patches = np.stack([v[:-1, :-1], along_x, along_y, twist], axis=2)
        self._log_capacity, self._log_word = np.log(self._capacity), np.log(self._word)
        self._register = register
        self._known: dict[tuple[bytes, bytes], Macros] = {}

    def price(self, capacity_bits: IntArray, word_bits: IntArray) -> Macros:
        """Macros of a capacity each, accessed by words.

        Args:
            capacity_bits: of each memory; 0 where there is none.
            word_bits: of each memory; words longer than the memory are as long as the memory.
        """
        # Most knobs of a sweep leave the memories alone.
        key = (capacity_bits.tobytes(), word_bits.tobytes())
        if key not in self._known:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[key] = self._price(capacity_bits, word_bits)
        return self._known[key]

    def _price(self, capacity_bits: IntArray, word_bits: IntArray) -> Macros:
        there = capacity_bits > 0
        # Only memories that exist are interpolated: many layers lack many of them.
        held = capacity_bits[there].astype(np.float64)
        word = np.minimum(word_bits[there], held)
        beside = np.ceil(word / self._word[-1])
        macros = beside * np.ceil(held / (beside * self._capacity[-1]))
        values = np.exp(self._interpolate(held / macros, word / beside))
        values[:, :2] *= (beside / word)[:, None]
        values[:, 3:] *= macros[:, None]
        small = (held < self._capacity[0]) & (held * self._register.area_um2 < values[:, 3])
        if small.any():
            bit = self._register
            values[small] = np.outer(held[small], (0.0, 0.0, 0.0, bit.area_um2, bit.leakage_uW))
            values[small, :2] = bit.access_fJ
        placed = np.zeros((len(QUANTITIES), *capacity_bits.shape))
        placed[:, there] = values.T
        in_registers = np.zeros_like(there)
        in_registers[there] = small
        read_fJ, write_fJ, access_ns, area_um2, leakage_uW = placed
        return Macros(
            read_fJ=read_fJ,
            write_fJ=write_fJ,
            access_ns=access_ns,
            area_um2=area_um2,
            leakage_uW=leakage_uW,
            in_registers=in_registers,
            in_macros=there & ~in_registers,
        )

    def _interpolate(self, capacity_bits: FloatArray, word_bits: FloatArray) -> FloatArray:
        i, x = _segment(self._log_capacity, np.log(np.maximum(capacity_bits, self._capacity[0] / BELOW)), inside=False)
        j, y = _segment(self._log_word, np.log(word_bits), inside=True)
        weights = np.empty((*x.shape, 1, 4))
        weights[..., 0, 0], weights[..., 0, 1], weights[..., 0, 2], weights[..., 0, 3] = 1.0, x, y, x * y
        return np.asarray((weights @ self._patches[i, j])[..., 0, :])


def _segment(axis: FloatArray, at: FloatArray, *, inside: bool) -> tuple[IntArray, FloatArray]:
    """Segment of each value and its position there, 0 to 1; ``inside``: values outside the axis sit at its ends."""
    i = np.minimum(np.maximum(np.searchsorted(axis, at, side="right") - 1, 0), axis.size - 2)
    share = (at - axis[i]) / (axis[i + 1] - axis[i])
    return i, np.minimum(np.maximum(share, 0.0), 1.0) if inside else share


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
