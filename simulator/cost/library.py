"""The component library: what every component of a chip occupies, leaks, and uses for each of its actions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..config import HardwareConfig
from ..mapping import tiles
from ..program import Program
from . import components as c
from .chip import Chip, Component
from .technology import Technology
from .workload import Workload, workload_of

#: Every component, in the order of a work item; the names are those of reports.
COMPONENTS: tuple[str, ...] = (
    "input_load",
    "global_buffer",
    "input_buffer",
    "tile_bus",
    "wordline_driver",
    "crossbar",
    "sample_and_hold",
    "column_mux",
    "adc",
    "shift_add",
    "pe_accumulator",
    "tile_accumulator",
    "batch_norm",
    "neuron",
    "membrane_memory",
    "current_memory",
    "residual_adder",
    "residual_memory",
    "pooling",
    "spike_buffer",
    "noc",
)


def cost_library(
    mapping: tiles.Mapping, hw: HardwareConfig, technology: Technology, program: Program | None = None
) -> tuple[Component, ...]:
    """Price of every component of a mapped network, in the order of ``COMPONENTS``.

    ``program`` is compiled if it is needed and not given.

    Raises:
        ConfigError: an ADC width outside the validity of the technology's fit.
    """
    return price_workload(workload_of(mapping, hw, program), hw, technology)


def price_workload(work: Workload, hw: HardwareConfig, technology: Technology) -> tuple[Component, ...]:
    """Price of every component of a chip that carries ``work``.

    Raises:
        ConfigError: an ADC width outside the validity of the technology's fit.
    """
    chip = Chip(work=work, hw=hw, technology=technology)
    built = {
        component.name: component
        for part in (_array, _columns, _sums, _neurons, _memories, _transport)
        for component in part(chip)
    }
    return tuple(built[name] for name in COMPONENTS)


def _array(chip: Chip) -> Iterable[Component]:
    """Cells and wordline drivers."""
    technology, crossbar = chip.technology, chip.hw.crossbar
    cells = chip.n_crossbars * crossbar.rows * crossbar.cols
    # Without sample-and-hold the wordlines stay up while the multiplexer visits its columns.
    rounds = 1 if chip.hw.adc.sample_and_hold else chip.hw.adc.columns_per_adc
    # Cells that conduct are not priced: the functional run adds up the energy of those that were driven.
    priced = crossbar.is_ideal
    yield chip.logic(
        "crossbar",
        count=chip.n_crossbars,
        area_um2=cells * c.cell_area_um2(technology),
        action_fJ={"cell_read": chip.everywhere(rounds * c.cell_read_fJ(technology))} if priced else {},
        formula="area = rows x cols x cell; energy = "
        + ("published array / its cells, for each conducting cell" if priced else "V^2 x t x G of the driven cells")
        + " (x columns_per_adc without sample-and-hold)",
        energy=("crossbar.array_read_fJ",) if priced else (),
        area=("crossbar.array_area_um2",),
        leaks=0.0,
    )
    drivers = chip.n_crossbars * crossbar.rows
    yield chip.logic(
        "wordline_driver",
        count=drivers,
        area_um2=drivers * technology.area_um2(technology.wordline.driver_area_um2),
        action_fJ={"wordline_drive": chip.everywhere(c.wordline_drive_fJ(technology, crossbar.cols))},
        formula="area = rows x driver; energy = (driver + wire x cols x cell pitch) x Vdd^2, for each driven wordline",
        energy=("wordline.driver_fF", "wordline.wire_fF_per_um", "supply.vdd_V"),
        area=("wordline.driver_area_um2",),
    )


def _columns(chip: Chip) -> Iterable[Component]:
    """What stands between bitlines and sums."""
    technology, adc = chip.technology, chip.hw.adc
    bitlines = chip.n_crossbars * chip.hw.crossbar.cols if adc.sample_and_hold else 0
    sample = technology.energy_fJ(technology.sample_and_hold.sample_fJ) if adc.sample_and_hold else 0.0
    yield chip.logic(
        "sample_and_hold",
        count=bitlines,
        area_um2=bitlines * technology.area_um2(technology.sample_and_hold.area_um2),
        action_fJ={"adc_conversion": chip.everywhere(sample)},
        formula="one a bitline; none if adc.sample_and_hold is false",
        energy=("sample_and_hold.sample_fJ",),
        area=("sample_and_hold.area_um2",),
    )
    stages = c.column_mux_stages(technology, adc.columns_per_adc)
    mux = technology.column_mux
    yield chip.logic(
        "column_mux",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * stages * mux.area_um2.value,
        action_fJ={"adc_conversion": chip.everywhere(stages * mux.conversion_fJ.value)},
        formula="published 8-to-1 value x (columns_per_adc - 1) / 7",
        energy=("column_mux.conversion_fJ",),
        area=("column_mux.area_um2",),
    )
    bits = chip.hw.adc_bits
    yield chip.logic(
        "adc",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * c.adc_area_um2(technology, bits),
        action_fJ={"adc_conversion": chip.everywhere(c.adc_conversion_fJ(technology, bits))},
        formula="published 4-bit value x fit(bits) / fit(4); E fit 100 b + 0.001 4^b, A fit 10^(-0.0369 b) 2^b",
        energy=("adc.conversion_fJ", "adc.fit"),
        area=("adc.area_um2", "adc.fit"),
    )


def _sums(chip: Chip) -> Iterable[Component]:
    """Shift-add behind the ADCs, and the accumulators of PEs and tiles."""
    technology, work, tile = chip.technology, chip.work, chip.hw.tile
    rows = np.array([chip.hw.crossbar.rows.bit_length()])
    yield chip.logic(
        "shift_add",
        count=chip.n_adcs,
        area_um2=chip.n_adcs * float(c.shift_add_area_um2(technology, chip.widest(work.code_bits))[0]),
        action_fJ={
            "shift_add": c.shift_add_fJ(technology, work.code_bits),
            "input_count": chip.everywhere(float(c.adder_fJ(technology, rows)[0])),
        },
        formula="one an ADC, of adc bits + slice and plane shifts + 1; a counted wordline is an addition of log2(rows)",
        energy=("logic.shift_add_fJ", "logic.adder_fJ"),
        area=("logic.shift_add_area_um2",),
    )
    add_fJ = c.adder_fJ(technology, work.psum_bits) + c.register_fJ(technology, work.psum_bits)
    widest = chip.widest(work.psum_bits)
    add_area_um2 = float((c.adder_area_um2(technology, widest) + c.register_area_um2(technology, widest))[0])
    energy = ("logic.adder_fJ", "logic.register_fJ_per_bit")
    area = ("logic.adder_area_um2", "logic.register_area_um2_per_bit")
    # A PE of one crossbar has nothing to add.
    adders = work.n_tiles * tile.pes_per_tile * tile.pe_accumulator_lanes if tile.crossbars_per_pe > 1 else 0
    yield chip.logic(
        "pe_accumulator",
        count=adders,
        area_um2=adders * add_area_um2,
        action_fJ={"pe_add": add_fJ},
        formula="pe_accumulator_lanes a PE of several crossbars, each an adder and a register as wide as the sums",
        energy=energy,
        area=area,
    )
    lanes = work.n_tiles * tile.accumulator_lanes
    yield chip.logic(
        "tile_accumulator",
        count=lanes,
        area_um2=lanes * add_area_um2,
        action_fJ={"tile_add": add_fJ},
        formula="accumulator_lanes, each an adder and a register as wide as the sums",
        energy=energy,
        area=area,
    )


def _neurons(chip: Chip) -> Iterable[Component]:
    """Batch norm, neuron and pooling lanes."""
    technology, work = chip.technology, chip.work
    lanes = work.n_tiles * chip.hw.neuron.lanes
    yield _batch_norm(chip, lanes)
    bits, adds = work.neuron_bits, work.neuron_adds
    update_fJ = c.adder_fJ(technology, bits * adds) + c.comparator_fJ(technology, bits * work.fires)
    blocks = chip.widest(bits) * chip.widest(adds)
    compares = chip.widest(bits * work.fires)
    area_um2 = float((c.adder_area_um2(technology, blocks) + c.comparator_area_um2(technology, compares))[0])
    yield chip.logic(
        "neuron",
        count=lanes,
        area_um2=lanes * area_um2,
        action_fJ={"neuron_update": update_fJ},
        formula="lanes x (leak, integrate and soft-reset adders + comparator) of membrane + guard + 2 bits",
        energy=("logic.adder_fJ", "logic.comparator_fJ"),
        area=("logic.adder_area_um2", "logic.comparator_area_um2"),
    )
    added = lanes if int(work.residual_bits.max()) else 0
    yield chip.logic(
        "residual_adder",
        count=added,
        area_um2=added * float(c.adder_area_um2(technology, chip.widest(work.residual_bits))[0]),
        action_fJ={"residual_add": c.adder_fJ(technology, work.residual_bits)},
        formula="lanes x adder of the residual stream; none if no layer adds",
        energy=("logic.adder_fJ",),
        area=("logic.adder_area_um2",),
    )
    pooled = lanes if int(work.pool_bits.max()) else 0
    yield chip.logic(
        "pooling",
        count=pooled,
        area_um2=pooled * float(c.adder_area_um2(technology, chip.widest(work.pool_bits))[0]),
        action_fJ={"pool_add": c.adder_fJ(technology, work.pool_bits)},
        formula="lanes x adder of the pooled sum; none if no layer pools",
        energy=("logic.adder_fJ",),
        area=("logic.adder_area_um2",),
    )


def _batch_norm(chip: Chip, lanes: int) -> Component:
    technology, work, sram = chip.technology, chip.work, chip.technology.sram
    sum_bits = np.where(work.bn_bits > 0, work.psum_bits + work.bn_bits, 0)
    read_fJ = 2 * work.bn_bits * c.sram_fJ_per_bit(technology, work.bn_macro_bits)
    update_fJ = c.multiplier_fJ(technology, work.bn_bits, work.psum_bits) + c.adder_fJ(technology, sum_bits) + read_fJ
    products = chip.widest(work.bn_bits * work.psum_bits)
    ones = np.ones_like(products)
    area_um2 = c.multiplier_area_um2(technology, products, ones) + c.adder_area_um2(technology, chip.widest(sum_bits))
    lane_part = chip.logic(
        "batch_norm",
        count=lanes if int(work.bn_bits.max()) else 0,
        area_um2=lanes * float(area_um2[0]),
        action_fJ={"bn_update": update_fJ},
        formula="lanes x (multiplier bn_bits x sum + adder of both) + SRAM of 2 bn_bits a channel (and step)",
        energy=("logic.multiplier_fJ", "logic.adder_fJ", *chip.sram_keys(work.bn_macro_bits)),
        area=("logic.multiplier_area_um2", "logic.adder_area_um2"),
    )
    held = np.append(work.bn_memory_bits, 0)
    return Component(
        name=lane_part.name,
        count=lane_part.count,
        layer_area_um2=lane_part.layer_area_um2 + held * sram.area_um2_per_bit.value,
        layer_leakage_uW=lane_part.layer_leakage_uW + held * sram.leakage_uW_per_bit.value,
        action_fJ=lane_part.action_fJ,
        formula=lane_part.formula,
        action_keys=lane_part.action_keys,
        leakage_keys=(*lane_part.leakage_keys, "sram.leakage_uW_per_bit"),
        area_keys=(*lane_part.area_keys, "sram.area_um2_per_bit"),
    )


def _memories(chip: Chip) -> Iterable[Component]:
    """Buffers and the neuron memory."""
    work, banks = chip.work, chip.hw.neuron.memory.banks
    yield chip.memory(
        "input_buffer",
        count=work.n_tiles,
        bits=work.input_memory_bits,
        macro_bits=work.input_macro_bits,
        actions=("input_buffer_write_bits", "input_buffer_read_bits"),
        formula="input map of a step (all steps in layer_major) in every tile of a layer, or the slots of its stream "
        "(layer_pipelined); SRAM energy by capacity",
    )
    yield _membrane_memory(chip)
    yield chip.memory(
        "current_memory",
        count=work.n_tiles * banks if int(work.current_memory_bits.max()) else 0,
        bits=work.current_memory_bits,
        macro_bits=work.current_macro_bits,
        actions=("current_read_bits", "current_write_bits"),
        formula="sums of a direct-coded layer, held for the next steps (timestep_major); SRAM energy by capacity",
    )
    yield chip.memory(
        "residual_memory",
        count=work.n_tiles * banks if int(work.residual_memory_bits.max()) else 0,
        bits=work.residual_memory_bits,
        macro_bits=work.residual_macro_bits,
        actions=("residual_read_bits", "residual_write_bits"),
        formula="residual values that wait for their add: a step's map (all steps' in layer_major), or the slots of "
        "the stream (layer_pipelined); SRAM energy by capacity",
    )
    yield chip.memory(
        "spike_buffer",
        count=work.n_tiles,
        bits=work.spike_memory_bits,
        macro_bits=work.spike_macro_bits,
        actions=("spike_buffer_write_bits",),
        formula="a step's values to send (all steps in layer_major), or fifo_depth packets of them (layer_pipelined); "
        "SRAM energy by capacity",
    )


def _membrane_memory(chip: Chip) -> Component:
    technology, work, neuron = chip.technology, chip.work, chip.hw.neuron
    if chip.hw.dataflow.loop == "timestep_major":
        return chip.memory(
            "membrane_memory",
            count=work.n_tiles * neuron.memory.banks,
            bits=work.membrane_memory_bits,
            macro_bits=work.membrane_macro_bits,
            actions=("membrane_read_bits", "membrane_write_bits"),
            formula="neurons x membrane_bits; SRAM energy by capacity of a bank",
        )
    lanes = work.n_tiles * neuron.lanes
    register_um2 = float(c.register_area_um2(technology, chip.widest(work.register_bits))[0])
    return chip.logic(
        "membrane_memory",
        count=lanes,
        area_um2=lanes * register_um2,
        action_fJ={"membrane_register_bits": chip.everywhere(float(c.register_fJ(technology, np.array([1]))[0]))},
        formula="lanes x registers of membrane_bits and a held sum (layer_major)",
        energy=("logic.register_fJ_per_bit",),
        area=("logic.register_area_um2_per_bit",),
    )


def _transport(chip: Chip) -> Iterable[Component]:
    """Bus of the tile, mesh between tiles, link from outside."""
    technology, work, hw = chip.technology, chip.work, chip.hw
    size = c.bus_size(technology, hw.tile.pes_per_tile, hw.tile.crossbars_per_pe * hw.crossbar.rows, hw.crossbar.cols)
    bus_fJ = c.bus_fJ_per_bit(technology, size)
    yield chip.logic(
        "tile_bus",
        count=work.n_tiles,
        area_um2=work.n_tiles * technology.bus.area_um2.value * size,
        action_fJ={"input_buffer_read_bits": chip.everywhere(bus_fJ), "tile_add": work.psum_bits * bus_fJ},
        formula="area = H-tree x PEs x (wordlines + bitlines of a PE) / published; energy a bit x root of that ratio",
        energy=("bus.transfer_fJ", "bus.transfer_bits"),
        area=("bus.area_um2",),
        leaks=technology.bus.active_area_ratio.value,
        leaks_by=("bus.active_area_ratio",),
    )
    hop_fJ = chip.everywhere(c.flit_hop_fJ(technology, hw.noc.flit_bits))
    yield chip.logic(
        "noc",
        count=work.n_tiles,
        area_um2=work.n_tiles * c.router_area_um2(technology, hw.noc.flit_bits),
        action_fJ={"psum_flit_hops": hop_fJ, "spike_flit_hops": hop_fJ, "input_flit_hops": hop_fJ},
        formula="one router a tile, linear in ports and flit bits; energy = flit bits x router and link",
        energy=("noc.transfer_fJ",),
        area=("noc.router_area_um2",),
        shared=True,
    )
    port = np.array([hw.noc.input_bits_per_cycle])
    load = technology.input_load
    yield chip.logic(
        "input_load",
        count=1,
        area_um2=float(c.register_area_um2(technology, port)[0]),
        action_fJ={"input_load_bits": chip.everywhere(load.transfer_fJ.value / load.transfer_bits)},
        formula="area = a register of input_bits_per_cycle; energy = bits of the image x link",
        energy=("input_load.transfer_fJ",),
        area=("logic.register_area_um2_per_bit",),
        shared=True,
    )
    held = np.array([work.global_memory_bits], dtype=np.int64)
    per_bit = chip.everywhere(float(c.sram_fJ_per_bit(technology, held)[0]))
    sram, nothing = technology.sram, np.zeros(work.n_layers)
    yield Component(
        name="global_buffer",
        count=int(work.global_memory_bits > 0),
        layer_area_um2=np.append(nothing, held * sram.area_um2_per_bit.value),
        layer_leakage_uW=np.append(nothing, held * sram.leakage_uW_per_bit.value),
        action_fJ={"input_load_bits": per_bit, "global_buffer_read_bits": per_bit},
        formula="global_buffer.slots images (or steps, unless the input is static); SRAM energy by capacity",
        action_keys=chip.sram_keys(held),
        leakage_keys=("sram.leakage_uW_per_bit",),
        area_keys=("sram.area_um2_per_bit",),
    )
