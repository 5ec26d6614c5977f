"""A priced component, and the chip whose sizes the component library shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from .sram import Macros
from .technology import Technology
from .workload import MEMORIES, Workload

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """One kind of component over all placed tiles, idle and padded ones too.

    Attributes:
        count: how many there are.
        layer_area_um2, layer_leakage_uW: (layers + 1,) shares of the layers; the last is shared by all.
        action_fJ: action of ``simulator/cycle/actions.py`` -> (layers,) energy of one count.
        formula: how area and energy follow from the sizes.
        action_keys, leakage_keys, area_keys: numbers of the technology file behind the energy of actions, the
            leakage and the area.
        latency_ns: time of one action; None where the technology file says nothing about it.
        notes: what a reader must know about this price: an extrapolation, a number that stands in for another.
    """

    name: str
    count: int
    layer_area_um2: FloatArray
    layer_leakage_uW: FloatArray
    action_fJ: Mapping[str, FloatArray]
    formula: str
    action_keys: tuple[str, ...]
    leakage_keys: tuple[str, ...]
    area_keys: tuple[str, ...]
    latency_ns: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def area_um2(self) -> float:
        """Area of all of them."""
        return float(self.layer_area_um2.sum())

    @property
    def leakage_uW(self) -> float:
        """Leakage of all of them."""
        return float(self.layer_leakage_uW.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Memories of one kind, a row of ``Chip.memories``: (layers,) each."""

    read_fJ: FloatArray
    write_fJ: FloatArray
    area_um2: FloatArray
    leakage_uW: FloatArray
    access_ns: float
    in_registers: bool
    in_macros: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """Sizes that the builders of components share."""

    work: Workload
    hw: HardwareConfig
    technology: Technology

    @property
    def n_crossbars(self) -> int:
        """Crossbars of all tiles, idle ones too."""
        tile = self.hw.tile
        return self.work.n_tiles * tile.pes_per_tile * tile.crossbars_per_pe

    @property
    def n_adcs(self) -> int:
        """ADCs of all crossbars."""
        return self.n_crossbars * (self.hw.crossbar.cols // self.hw.adc.columns_per_adc)

    @cached_property
    def shares(self) -> FloatArray:
        """(layers + 1,) share of the tiles that each layer's PEs take; the last is idle PEs."""
        slots = self.work.n_tiles * self.hw.tile.pes_per_tile
        return np.append(self.work.n_pes, slots - int(self.work.n_pes.sum())) / slots

    @cached_property
    def shared(self) -> FloatArray:
        """(layers + 1,) all of it shared."""
        return np.append(np.zeros(self.work.n_layers), 1.0)

    @cached_property
    def leakage_uW_per_um2(self) -> float:
        """Leakage of logic."""
        return self.technology.logic.leakage_uW_per_um2.value

    def everywhere(self, value: float) -> FloatArray:
        """(layers,) the same value."""
        return np.full(self.work.n_layers, value)

    def logic(
        self,
        name: str,
        *,
        count: int,
        area_um2: float,
        action_fJ: Mapping[str, FloatArray],
        formula: str,
        energy: tuple[str, ...],
        area: tuple[str, ...],
        leaks: float = 1.0,
        leaks_by: tuple[str, ...] = (),
        shared: bool = False,
        latency_ns: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> Component:
        """Component of logic that sits in every tile (or, if ``shared``, belongs to no layer)."""
        layer_area_um2 = area_um2 * (self.shared if shared else self.shares)
        return Component(
            name=name,
            count=count,
            layer_area_um2=layer_area_um2,
            layer_leakage_uW=layer_area_um2 * (self.leakage_uW_per_um2 * leaks),
            action_fJ=action_fJ,
            formula=formula,
            action_keys=self.technology.keys(energy),
            leakage_keys=self.technology.keys(("logic.leakage_uW_per_um2", *leaks_by, *area)) if leaks else (),
            area_keys=self.technology.keys(area),
            latency_ns=latency_ns,
            notes=notes,
        )

    @cached_property
    def memories(self) -> dict[str, Memory]:
        """Every memory of every layer, by kind (``workload.MEMORIES``), and the global buffer as ``global``."""
        macros = self.technology.macros.price(self.work.macro_bits, self.work.word_bits(self.hw))
        held = self.work.memory_bits / np.maximum(self.work.macro_bits, 1)
        return {name: _memory(macros, row, held[row]) for row, name in enumerate(MEMORIES)}

    def memory(
        self,
        name: str,
        *,
        kind: str,
        count: int,
        reads: str | None,
        writes: tuple[str, ...],
        formula: str,
        shared: bool = False,
    ) -> Component:
        """Component of SRAM macros."""
        memory = self.memories[kind]
        actions = dict.fromkeys(writes, memory.write_fJ)
        if reads is not None:
            actions[reads] = memory.read_fJ
        keys = self.memory_keys(memory)
        area_um2, leakage_uW = memory.area_um2, memory.leakage_uW
        if shared:
            # One memory for all layers stands in every column.
            area_um2, leakage_uW = area_um2[:1], leakage_uW[:1]
            nothing = np.zeros(self.work.n_layers)
            area_um2, leakage_uW = np.append(nothing, area_um2), np.append(nothing, leakage_uW)
        else:
            area_um2, leakage_uW = np.append(area_um2, 0.0), np.append(leakage_uW, 0.0)
        return Component(
            name=name,
            count=count,
            layer_area_um2=area_um2,
            layer_leakage_uW=leakage_uW,
            action_fJ=actions,
            formula=formula,
            action_keys=keys,
            leakage_keys=keys,
            area_keys=keys,
            latency_ns=memory.access_ns,
            notes=self.memory_notes(memory),
        )

    def memory_keys(self, memory: Memory) -> tuple[str, ...]:
        """Numbers behind a memory: the table, or registers where it is too small for a macro."""
        names: tuple[str, ...] = ("sram",) if memory.in_macros else ()
        if memory.in_registers:
            names += ("logic.register_fJ_per_bit", "logic.register_area_um2_per_bit", "logic.leakage_uW_per_um2")
        return self.technology.keys(names)

    def memory_notes(self, memory: Memory) -> tuple[str, ...]:
        """A warning where macros are scaled from another node."""
        from_nm = self.technology.macros.scaled_from_nm
        if from_nm is None or not memory.in_macros:
            return ()
        return (
            f"sram: the table has no {self.technology.node_nm:g} nm; macros are scaled from {from_nm:g} nm as logic "
            "(an assumption)",
        )


def _memory(macros: Macros, row: int, held: FloatArray) -> Memory:
    in_registers = macros.in_registers[row]
    return Memory(
        read_fJ=macros.read_fJ[row],
        write_fJ=macros.write_fJ[row],
        area_um2=macros.area_um2[row] * held,
        leakage_uW=macros.leakage_uW[row] * held,
        access_ns=float(macros.access_ns[row].max()),
        in_registers=bool(in_registers.any()),
        in_macros=bool(((macros.area_um2[row] > 0) & ~in_registers).any()),
    )


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order, each once."""
    return tuple(dict.fromkeys(names))
