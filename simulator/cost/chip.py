"""A priced component, and the chip whose sizes the component library shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
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


class Memory(NamedTuple):
    """Memories of one kind: energies (layers,), area and leakage (layers + 1,), the last shared by all."""

    read_fJ: FloatArray
    write_fJ: FloatArray
    area_um2: FloatArray
    leakage_uW: FloatArray
    access_ns: float
    in_registers: bool
    in_macros: bool

    @property
    def exists(self) -> bool:
        """Whether any layer has one."""
        return self.in_registers or self.in_macros


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
        slots, n_pes = self.work.n_tiles * self.hw.tile.pes_per_tile, self.work.sizes.n_pes
        shares = np.empty(n_pes.size + 1)
        shares[:-1] = n_pes / slots
        shares[-1] = (slots - int(n_pes.sum())) / slots
        return shares

    @cached_property
    def shared(self) -> FloatArray:
        """(layers + 1,) all of it shared."""
        shared = np.zeros(self.work.n_layers + 1)
        shared[-1] = 1.0
        return shared

    @cached_property
    def leakage_uW_per_um2(self) -> float:
        """Leakage of logic."""
        return self.technology.logic.leakage_uW_per_um2.value

    def everywhere(self, value: float) -> FloatArray:
        """(layers,) the same value."""
        return self._ones * value

    @cached_property
    def _ones(self) -> FloatArray:
        return np.ones(self.work.n_layers)

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
        """Every memory of every layer, by kind (``workload.MEMORIES``)."""
        work = self.work
        macros = self.technology.macros.price(work.macro_bits, work.word_bits(self.hw))
        copies = work.memory_bits / np.maximum(work.macro_bits, 1)
        placed = np.zeros((2, len(MEMORIES), work.n_layers + 1))
        placed[0, :, :-1], placed[1, :, :-1] = macros.area_um2 * copies, macros.leakage_uW * copies
        # One global buffer stands in every column of its row.
        placed[:, -1, -1] = placed[:, -1, 0]
        placed[:, -1, :-1] = 0.0
        access_ns: list[float] = macros.access_ns.max(axis=1).tolist()
        registers: list[bool] = np.any(macros.in_registers, axis=1).tolist()
        whole: list[bool] = np.any(macros.in_macros, axis=1).tolist()
        return {
            name: Memory(
                macros.read_fJ[i],
                macros.write_fJ[i],
                placed[0, i],
                placed[1, i],
                access_ns[i],
                registers[i],
                whole[i],
            )
            for i, name in enumerate(MEMORIES)
        }

    def memory(
        self,
        name: str,
        *,
        kind: str,
        count: int,
        reads: str | None,
        writes: tuple[str, ...],
        formula: str,
    ) -> Component:
        """Component of SRAM macros."""
        memory = self.memories[kind]
        actions = dict.fromkeys(writes, memory.write_fJ)
        if reads is not None:
            actions[reads] = memory.read_fJ
        keys = self.memory_keys(memory)
        return Component(
            name=name,
            count=count,
            layer_area_um2=memory.area_um2,
            layer_leakage_uW=memory.leakage_uW,
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


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order, each once."""
    return tuple(dict.fromkeys(names))
