"""Builders of digital logic: shift-and-add, counters, accumulators, batch norm, neurons, pooling, and their control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chip import Chip, Component, distinct
from .sizes import LayerSizes
from .technology import LogicPrices, Technology

FloatArray = NDArray[np.floating[Any]]

_ADDER = ("logic.adder_fJ", "logic.adder_area_um2")
_REGISTER = ("logic.register_fJ_per_bit", "logic.register_area_um2_per_bit")


class Digital:
    """What clock and control serve: the logic of tiles, and the energy of its actions."""

    def __init__(self, chip: Chip) -> None:
        """Start with none."""
        self._chip = chip
        self.area_um2 = 0.0
        self.action_fJ: dict[str, FloatArray] = {}
        self.action_keys: list[str] = []
        self.area_keys: list[str] = []

    def add(
        self, *, area_um2: float, action_fJ: Mapping[str, FloatArray], energy: tuple[str, ...], area: tuple[str, ...]
    ) -> None:
        """Count logic in."""
        self.area_um2 += area_um2
        for action, values in action_fJ.items():
            self.action_fJ[action] = self.action_fJ[action] + values if action in self.action_fJ else values
        self.action_keys += energy
        self.area_keys += area

    def component(
        self,
        name: str,
        *,
        count: int,
        area_um2: float,
        action_fJ: Mapping[str, FloatArray],
        formula: str,
        energy: tuple[str, ...],
        area: tuple[str, ...],
        latency_ns: float | None = None,
    ) -> Component:
        """Component that is logic and nothing else."""
        self.add(area_um2=area_um2, action_fJ=action_fJ, energy=energy, area=area)
        return self._chip.logic(
            name,
            count=count,
            area_um2=area_um2,
            action_fJ=action_fJ,
            formula=formula,
            energy=energy,
            area=area,
            latency_ns=latency_ns,
        )


def adder_ns(technology: Technology, bits: int) -> float | None:
    """Time of an addition, linear in the width (a ripple of carries), if the technology says it."""
    logic = technology.logic
    if logic.adder_ns is None:
        return None
    return technology.delay_ns(logic.adder_ns) * bits / logic.reference_bits


def multiplier_ns(technology: Technology, bits: int) -> float | None:
    """Time of a multiplication, linear in the wider operand, if the technology says it."""
    logic = technology.logic
    if logic.multiplier_ns is None:
        return None
    return technology.delay_ns(logic.multiplier_ns) * bits / logic.reference_bits


class LogicEnergies(NamedTuple):
    """(layers,) energies of logic that no field of a design moves."""

    add_fJ: FloatArray
    norm_fJ: FloatArray
    update_fJ: FloatArray
    residual_fJ: FloatArray
    pool_fJ: FloatArray


@lru_cache(maxsize=256)
def _energies(sizes: LayerSizes, logic: LogicPrices) -> LogicEnergies:
    """Worked out once for each mapping and technology: a sweep prices one mapping with many designs."""
    sum_bits = np.where(sizes.bn_bits > 0, sizes.psum_bits + sizes.bn_bits, 0)
    lane_fJ: FloatArray = sizes.neuron_adds * logic.adder_fJ + sizes.fires * logic.comparator_fJ
    return LogicEnergies(
        add_fJ=sizes.psum_bits * (logic.adder_fJ + logic.register_fJ),
        norm_fJ=sizes.bn_bits * sizes.psum_bits * logic.multiplier_fJ + sum_bits * logic.adder_fJ,
        update_fJ=sizes.neuron_bits * lane_fJ,
        residual_fJ=sizes.residual_bits * logic.adder_fJ,
        pool_fJ=sizes.pool_bits * logic.adder_fJ,
    )


def sums(chip: Chip, digital: Digital) -> Iterable[Component]:
    """Shift-add behind the ADCs, counters of driven wordlines, and the accumulators of PEs and tiles."""
    work, logic, sizes = chip.work, chip.technology.logic_prices, chip.work.sizes
    widest_code = int(work.code_bits.max())
    yield digital.component(
        "shift_add",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * widest_code * logic.shift_add_um2,
        action_fJ={"shift_add": work.code_bits * logic.shift_add_fJ},
        formula="one an ADC, of adc bits + slice and plane shifts + 1",
        energy=("logic.shift_add_fJ",),
        area=("logic.shift_add_area_um2",),
    )
    row_bits = chip.hw.crossbar.rows.bit_length()
    counters = chip.n_crossbars if sizes.widest.counts_inputs else 0
    yield digital.component(
        "spike_counter",
        count=counters,
        area_um2=counters * row_bits * logic.counter_um2,
        action_fJ={"input_count": chip.everywhere(row_bits * logic.counter_fJ)},
        formula="one a crossbar if offset or affine weights need the count of driven wordlines; log2(rows) + 1 bits",
        energy=("logic.counter_fJ",),
        area=("logic.counter_area_um2",),
    )
    yield from _accumulators(chip, digital)


def _accumulators(chip: Chip, digital: Digital) -> Iterable[Component]:
    technology, work, tile = chip.technology, chip.work, chip.hw.tile
    logic, sizes = technology.logic_prices, work.sizes
    widest = sizes.widest.psum_bits
    add_fJ = _energies(sizes, logic).add_fJ
    add_um2 = widest * (logic.adder_um2 + logic.register_um2)
    # A PE of one crossbar has nothing to add.
    adders = work.n_tiles * tile.pes_per_tile * tile.pe_accumulator_lanes if tile.crossbars_per_pe > 1 else 0
    lanes = work.n_tiles * tile.accumulator_lanes
    for name, count, action, where in (
        ("pe_accumulator", adders, "pe_add", "pe_accumulator_lanes a PE of several crossbars"),
        ("tile_accumulator", lanes, "tile_add", "accumulator_lanes"),
    ):
        yield digital.component(
            name,
            count=count,
            area_um2=count * add_um2,
            action_fJ={action: add_fJ},
            formula=f"{where}, each an adder and a register as wide as the sums",
            energy=(_ADDER[0], _REGISTER[0]),
            area=(_ADDER[1], _REGISTER[1]),
            latency_ns=adder_ns(technology, widest),
        )


def neurons(chip: Chip, digital: Digital) -> Iterable[Component]:
    """Batch norm, neuron, residual and pooling lanes."""
    technology, sizes = chip.technology, chip.work.sizes
    logic, widest = technology.logic_prices, sizes.widest
    lanes = sizes.n_tiles * chip.hw.neuron.lanes
    yield _batch_norm(chip, digital, lanes)
    energies = _energies(sizes, logic)
    area_um2 = widest.neuron_bits * widest.neuron_adds * logic.adder_um2
    area_um2 += widest.compared_bits * logic.comparator_um2
    yield digital.component(
        "neuron",
        count=lanes,
        area_um2=lanes * area_um2,
        action_fJ={"neuron_update": energies.update_fJ},
        formula="lanes x (leak, integrate and soft-reset adders + comparator) of membrane + guard + 2 bits",
        energy=(_ADDER[0], "logic.comparator_fJ"),
        area=(_ADDER[1], "logic.comparator_area_um2"),
        latency_ns=adder_ns(technology, widest.neuron_bits),
    )
    for name, action, add_fJ, bits, what in (
        ("residual_adder", "residual_add", energies.residual_fJ, widest.residual_bits, "residual stream"),
        ("pooling", "pool_add", energies.pool_fJ, widest.pool_bits, "pooled sum"),
    ):
        count = lanes if bits else 0
        yield digital.component(
            name,
            count=count,
            area_um2=count * bits * logic.adder_um2,
            action_fJ={action: add_fJ},
            formula=f"lanes x adder of the {what}; none if no layer has one",
            energy=_ADDER[:1],
            area=_ADDER[1:],
            latency_ns=adder_ns(technology, bits) if count else None,
        )


def _batch_norm(chip: Chip, digital: Digital, lanes: int) -> Component:
    technology, sizes = chip.technology, chip.work.sizes
    logic, memory, widest = technology.logic_prices, chip.memories["bn"], sizes.widest
    bits = sizes.bn_bits
    compute_fJ = _energies(sizes, logic).norm_fJ
    area_um2 = lanes * (widest.products * logic.multiplier_um2 + widest.norm_bits * logic.adder_um2)
    energy = ("logic.multiplier_fJ", _ADDER[0])
    area = ("logic.multiplier_area_um2", _ADDER[1])
    digital.add(area_um2=area_um2, action_fJ={"bn_update": compute_fJ}, energy=energy, area=area)
    held_by = chip.memory_keys(memory)
    layer_area_um2 = area_um2 * chip.shares
    leaks = technology.keys(("logic.leakage_uW_per_um2", *area))
    return Component(
        name="batch_norm",
        count=lanes if widest.bn_bits else 0,
        layer_area_um2=layer_area_um2 + memory.area_um2,
        layer_leakage_uW=layer_area_um2 * chip.leakage_uW_per_um2 + memory.leakage_uW,
        action_fJ={"bn_update": compute_fJ + 2 * bits * memory.read_fJ},
        formula="lanes x (multiplier bn_bits x sum + adder of both) + SRAM of 2 bn_bits a channel (and step)",
        action_keys=distinct((*technology.keys(energy), *held_by)),
        leakage_keys=distinct((*leaks, *held_by)),
        area_keys=distinct((*technology.keys(area), *held_by)),
        latency_ns=multiplier_ns(technology, max(widest.bn_bits, widest.psum_bits)),
        notes=chip.memory_notes(memory),
    )


def control(chip: Chip, digital: Digital) -> Component:
    """Clock tree and control of all logic in tiles; nothing if the technology does not price them."""
    numbers = chip.technology.control
    if numbers is None:
        return chip.logic(
            "control",
            count=0,
            area_um2=0.0,
            action_fJ={},
            formula="not priced: the technology has no control section",
            energy=(),
            area=(),
            leaks=0.0,
        )
    return chip.logic(
        "control",
        count=chip.work.n_tiles,
        area_um2=digital.area_um2 * numbers.area_ratio.value,
        action_fJ={action: values * numbers.energy_ratio.value for action, values in digital.action_fJ.items()},
        formula="clock, control and local wires: a share of the energy of every action of logic and of its area",
        energy=distinct(("control.energy_ratio", *digital.action_keys)),
        area=distinct(("control.area_ratio", *digital.area_keys)),
    )
