"""A priced component, and the chip whose sizes the component library shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from . import components as c
from .technology import Technology
from .workload import Workload

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

    @property
    def area_um2(self) -> float:
        """Area of all of them."""
        return float(self.layer_area_um2.sum())

    @property
    def leakage_uW(self) -> float:
        """Leakage of all of them."""
        return float(self.layer_leakage_uW.sum())


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

    def widest(self, bits: IntArray) -> IntArray:
        """Width of a datapath that all tiles share: the widest layer's."""
        return np.array([bits.max()], dtype=np.int64)

    def shares(self) -> FloatArray:
        """(layers + 1,) share of the tiles that each layer's PEs take; the last is idle PEs."""
        slots = self.work.n_tiles * self.hw.tile.pes_per_tile
        return np.append(self.work.n_pes, slots - int(self.work.n_pes.sum())) / slots

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
        energy: Iterable[str],
        area: Iterable[str],
        leaks: float = 1.0,
        leaks_by: Iterable[str] = (),
        shared: bool = False,
    ) -> Component:
        """Component of logic that sits in every tile (or, if ``shared``, belongs to no layer)."""
        shares = np.append(np.zeros(self.work.n_layers), 1.0) if shared else self.shares()
        leakage = self.technology.logic.leakage_uW_per_um2.value * area_um2 * leaks
        return Component(
            name=name,
            count=count,
            layer_area_um2=area_um2 * shares,
            layer_leakage_uW=leakage * shares,
            action_fJ=action_fJ,
            formula=formula,
            action_keys=self.keys(energy),
            leakage_keys=self.keys(("logic.leakage_uW_per_um2", *leaks_by, *area)) if leaks else (),
            area_keys=self.keys(area),
        )

    def memory(
        self, name: str, *, count: int, bits: IntArray, macro_bits: IntArray, actions: tuple[str, ...], formula: str
    ) -> Component:
        """Component of SRAM that holds ``bits`` for each layer in macros of ``macro_bits``."""
        sram = self.technology.sram
        held = np.append(bits, 0)
        per_bit = c.sram_fJ_per_bit(self.technology, macro_bits)
        return Component(
            name=name,
            count=count,
            layer_area_um2=held * sram.area_um2_per_bit.value,
            layer_leakage_uW=held * sram.leakage_uW_per_bit.value,
            action_fJ=dict.fromkeys(actions, per_bit),
            formula=formula,
            action_keys=self.sram_keys(macro_bits),
            leakage_keys=("sram.leakage_uW_per_bit",),
            area_keys=("sram.area_um2_per_bit",),
        )

    def sram_keys(self, macro_bits: IntArray) -> tuple[str, ...]:
        """Numbers behind the energy of an access."""
        table = tuple(f"sram.access[{i}].energy_fJ" for i in range(len(self.technology.sram.access)))
        outside = c.sram_is_extrapolated(self.technology, macro_bits)
        return (*table, "sram.extrapolation_ratio") if outside else table

    def keys(self, names: Iterable[str]) -> tuple[str, ...]:
        """Distinct keys, with the scaling table if one of them is of another node."""
        ordered = dict.fromkeys(names)
        unscaled = ("adc.fit", "wordline.driver_fF")
        if any(key not in unscaled and self.technology.is_scaled(key) for key in ordered):
            ordered["scaling"] = None
        return tuple(ordered)
