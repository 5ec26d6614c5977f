"""Builders of what moves data: the bus of a tile, the mesh between tiles, and what lies outside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from . import components as c
from .chip import Chip, Component
from .technology import FloorPlanBus, PublishedBus


def transport(chip: Chip, in_tiles: Sequence[Component]) -> Iterable[Component]:
    """Bus of the tile and mesh between tiles; wires are as long as the floor plan of ``in_tiles`` says."""
    tile_um2 = float(np.sum([component.layer_area_um2 for component in in_tiles])) / chip.work.n_tiles
    bus = _tile_bus(chip, tile_um2)
    yield bus
    router_um2 = c.router_area_um2(chip.technology, chip.hw.noc.flit_bits)
    # A link spans a tile with its bus and router.
    side_um = (tile_um2 + bus.area_um2 / chip.work.n_tiles + router_um2) ** 0.5
    yield _noc(chip, router_um2, side_um)


def _tile_bus(chip: Chip, tile_um2: float) -> Component:
    technology, work, tile = chip.technology, chip.work, chip.hw.tile
    bus, wires = technology.bus, tile.input_bus_bits + tile.output_bus_bits
    energy: tuple[str, ...]
    area: tuple[str, ...]
    if isinstance(bus, PublishedBus):
        bit_fJ, area_um2 = bus.transfer_fJ_per_bit.value, wires * bus.area_um2_per_bit.value
        formula = "published energy a bit; published area a bit x (input_bus_bits + output_bus_bits)"
        energy, area = ("bus.transfer_fJ_per_bit",), ("bus.area_um2_per_bit",)
    else:
        bit_fJ = c.bus_fJ_per_bit(technology, bus, c.h_tree_um(tile_um2))
        area_um2 = wires * _repeaters_um2(bus, c.h_tree_total_um(tile_um2, tile.pes_per_tile))
        formula = "H-tree over the tile: energy a bit = wire of its side x Vdd^2; area = repeaters of all its wires"
        energy = (
            *("bus.wire_fF_per_um", "bus.repeater_ratio", "bus.toggle_ratio"),
            *("supply.vdd_V", *_floor_plan_keys(chip)),
        )
        area = ("bus.pitch_um", "bus.active_area_ratio", *_floor_plan_keys(chip))
    return chip.logic(
        "tile_bus",
        count=work.n_tiles,
        area_um2=work.n_tiles * area_um2,
        action_fJ={"input_buffer_read_bits": chip.everywhere(bit_fJ), "tile_add": work.sizes.psum_bits * bit_fJ},
        formula=formula,
        energy=energy,
        area=area,
    )


def _repeaters_um2(bus: FloorPlanBus, length_um: float) -> float:
    return bus.pitch_um.value * length_um * bus.active_area_ratio.value


def _floor_plan_keys(chip: Chip) -> tuple[str, ...]:
    """The numbers that shape a floor plan most: its ADCs, its SRAM and its cells."""
    name = c.cell_array(chip.technology, chip.hw)
    field = "area_um2" if chip.technology.cells[name].area_F2 is None else "area_F2"
    return (f"adc.{chip.hw.adc_architecture}", "sram", f"cells.{name}.{field}")


def _noc(chip: Chip, router_um2: float, side_um: float) -> Component:
    technology, work, flit_bits = chip.technology, chip.work, chip.hw.noc.flit_bits
    hop_fJ = chip.everywhere(c.flit_hop_fJ(technology, flit_bits, side_um))
    noc = technology.noc
    links: tuple[str, ...] = ()
    if noc.link_wire_fF_per_um is not None:
        links = ("noc.link_wire_fF_per_um", "noc.link_toggle_ratio", "supply.vdd_V", *_floor_plan_keys(chip))
    return chip.logic(
        "noc",
        count=work.n_tiles,
        area_um2=work.n_tiles * router_um2,
        action_fJ={"psum_flit_hops": hop_fJ, "spike_flit_hops": hop_fJ, "input_flit_hops": hop_fJ},
        formula="one router a tile, linear in ports and flit bits; energy = flit bits x (router + link over a tile)",
        energy=("noc.router_fJ", *links),
        area=("noc.router_area_um2",),
        shared=True,
        latency_ns=None if noc.router_ns is None else technology.delay_ns(noc.router_ns),
    )


def off_chip(chip: Chip) -> Iterable[Component]:
    """The link from outside, the DRAM behind it and the buffer before the mesh."""
    technology = chip.technology
    port_bits, load = chip.hw.noc.input_bits_per_cycle, technology.input_load
    yield chip.logic(
        "input_load",
        count=1,
        area_um2=port_bits * technology.logic_prices.register_um2,
        action_fJ={"input_load_bits": chip.everywhere(load.transfer_fJ.value / load.transfer_bits)},
        formula="area = a register of input_bits_per_cycle; energy = bits of the image x link",
        energy=("input_load.transfer_fJ",),
        area=("logic.register_area_um2_per_bit",),
        shared=True,
    )
    dram = technology.dram
    yield chip.logic(
        "dram",
        count=0 if dram is None else 1,
        area_um2=0.0,
        action_fJ={} if dram is None else {"input_load_bits": chip.everywhere(dram.access_fJ_per_bit.value)},
        formula="bits of the image x access; its area is not on the chip"
        if dram
        else "not priced: the technology has no dram section",
        energy=() if dram is None else ("dram.access_fJ_per_bit",),
        area=(),
        leaks=0.0,
        shared=True,
    )
    yield chip.memory(
        "global_buffer",
        kind="global",
        count=int(chip.memories["global"].exists),
        reads="global_buffer_read_bits",
        writes=("input_load_bits",),
        formula="global_buffer.slots images (or steps, unless the input is static); SRAM, bus_bits a word",
    )
