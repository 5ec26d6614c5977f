"""Builders of memories in tiles: buffers and the neuron memory."""

from __future__ import annotations

from collections.abc import Iterable

from .arithmetic import Digital
from .chip import Chip, Component


def memories(chip: Chip, digital: Digital) -> Iterable[Component]:
    """Buffers and the neuron memory."""
    work, banks = chip.work, chip.hw.neuron.memory.banks
    yield chip.memory(
        "input_buffer",
        kind="input",
        count=work.n_tiles,
        reads="input_buffer_read_bits",
        writes=("input_buffer_write_bits",),
        formula="input map of a step (all steps in layer_major) in every tile of a layer, or the slots of its stream "
        "(layer_pipelined); SRAM of input_bus_bits a word",
    )
    yield _membrane_memory(chip, digital)
    yield chip.memory(
        "current_memory",
        kind="current",
        count=work.n_tiles * banks if chip.memories["current"].exists else 0,
        reads="current_read_bits",
        writes=("current_write_bits",),
        formula="sums of a direct-coded layer, held for the next steps (timestep_major); SRAM by capacity of a bank",
    )
    yield chip.memory(
        "residual_memory",
        kind="residual",
        count=work.n_tiles * banks if chip.memories["residual"].exists else 0,
        reads="residual_read_bits",
        writes=("residual_write_bits",),
        formula="residual values that wait for their add: a step's map (all steps' in layer_major), or the slots of "
        "the stream (layer_pipelined); SRAM by capacity of a bank",
    )
    yield chip.memory(
        "spike_buffer",
        kind="spike",
        count=work.n_tiles,
        reads=None,
        writes=("spike_buffer_write_bits",),
        formula="a step's values to send (all steps in layer_major), or fifo_depth packets of them (layer_pipelined); "
        "SRAM of flit_bits a word",
    )


def _membrane_memory(chip: Chip, digital: Digital) -> Component:
    work, neuron = chip.work, chip.hw.neuron
    if chip.hw.dataflow.loop == "timestep_major":
        return chip.memory(
            "membrane_memory",
            kind="membrane",
            count=work.n_tiles * neuron.memory.banks,
            reads="membrane_read_bits",
            writes=("membrane_write_bits",),
            formula="neurons x membrane_bits; SRAM by capacity of a bank and neuron.memory.word_bits",
        )
    lanes = work.n_tiles * neuron.lanes
    logic = chip.technology.logic_prices
    return digital.component(
        "membrane_memory",
        count=lanes,
        area_um2=lanes * work.sizes.widest.register_bits * logic.register_um2,
        action_fJ={"membrane_register_bits": chip.everywhere(logic.register_fJ)},
        formula="lanes x registers of membrane_bits and a held sum (layer_major)",
        energy=("logic.register_fJ_per_bit",),
        area=("logic.register_area_um2_per_bit",),
    )
