"""Which image, step, position and row group a token stands for; the order of tokens is that of docs/machine.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..machine.units import KIND, NETWORK_INPUT
from ..phases import Phase
from ..program import Program

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenPlace:
    """Where the tokens of a unit belong; arrays of the same length, -1 where there is no such thing."""

    image: IntArray
    step: IntArray
    position: IntArray
    row_group: IntArray


def token_places(program: Program, phase: Phase, unit: int, number: IntArray) -> TokenPlace:
    """Places of tokens of a unit of the program (for a router output: of the interface and its packets).

    Args:
        program: the machine.
        phase: whose tokens.
        unit: a unit that is no router output.
        number: (tokens,) numbers of tokens inside the phase.
    """
    kind, layer = int(program.unit_kind[unit]), int(program.unit_layer[unit])
    reads, positions, once = _shape(program, unit, kind, layer)
    inner = program.hw.dataflow.loop == "layer_major"
    n_steps = program.mapping.network.n_timesteps
    runs = 1 if once else (n_steps if phase.step is None else 1)
    per_image = max(1, runs * positions.size * reads)
    image, rest = np.divmod(number, per_image)
    rest, row_group = np.divmod(rest, reads)
    if inner:
        place, step = np.divmod(rest, runs)
    else:
        step, place = np.divmod(rest, max(1, positions.size))
    has_groups = KIND["fetch"] <= kind < KIND["norm"]
    return TokenPlace(
        image=image + (phase.image or 0),
        step=step + (phase.step or 0),
        position=positions[place] if positions.size else np.full(number.shape, -1, dtype=np.int64),
        row_group=row_group if has_groups else np.full(number.shape, -1, dtype=np.int64),
    )


def _shape(program: Program, unit: int, kind: int, layer: int) -> tuple[int, IntArray, bool]:
    """Row groups a position, positions of one run, and whether the unit runs once an image."""
    if layer == NETWORK_INPUT:
        node = program.mapping.network.input
        whole = np.arange(1 if kind == KIND["input"] else node.shape[1] * node.shape[2], dtype=np.int64)
        # In layer_major a burst has all steps.
        burst = kind == KIND["input"] and program.hw.dataflow.loop == "layer_major"
        return 1, whole, node.static or burst
    mapped, replica, number = program.mapping.layers[layer], int(program.unit_replica[unit]), program.unit_number[unit]
    static = mapped.layer.input.static
    if kind < KIND["norm"]:
        return mapped.reads_per_vector, mapped.positions(replica), static
    if kind == KIND["inject"]:
        if number < 0:
            return 1, mapped.positions(replica), static
        return 1, mapped.positions(replica, int(number)), False
    return 1, mapped.positions(replica), False
