"""The machine as tables: units, queues, and the work of every phase.

``Program`` is what the clock runs: struct-of-arrays tables that the Numba engine and the naive twin both
read. Everything with a formula (service times, which tokens a queue carries) is computed here, once;
docs/model.md states the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .mapping.tiles import Mapping

IntArray = NDArray[np.int64]

#: Unit kinds in the order of a work item; the position is the code in ``Program.unit_kind``.
UNIT_KINDS: tuple[str, ...] = (
    "fetch",
    "read",
    "convert",
    "accumulate",
    "psum_link",
    "neuron",
    "pool",
    "spike_link",
)


class PhaseTables(NamedTuple):
    """One barrier-to-barrier piece of work: a small dataflow graph and its tokens.

    Unit ``i`` of the phase is ``unit[i]`` of the program; channels likewise. Pattern tables hold repeated
    values: entry ``j`` of unit or channel ``i`` is ``values[start[i] + j % period[i]]``.

    Attributes:
        unit: (units,) program unit numbers, ascending (the only tie-breaker).
        lanes: (units,) tokens served at once.
        n_tokens: (units,) tokens of this phase.
        service_start, service_period: (units,) into ``service_values``, cycles >= 1 of each token.
        channel: (channels,) program channel numbers, ascending.
        src, dst: (channels,) positions in ``unit``.
        depth: (channels,) queue slots, >= 1.
        emit_start, emit_period: (channels,) into ``flag_values``: 1 where the source's token sends a copy.
        consume_start, consume_period: (channels,) into ``flag_values``: 1 where the destination's token
            takes the head of the queue.
    """

    unit: IntArray
    lanes: IntArray
    n_tokens: IntArray
    service_start: IntArray
    service_period: IntArray
    service_values: IntArray
    channel: IntArray
    src: IntArray
    dst: IntArray
    depth: IntArray
    emit_start: IntArray
    emit_period: IntArray
    consume_start: IntArray
    consume_period: IntArray
    flag_values: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Static tables of a mapped network on a design.

    Attributes:
        mapping: what was compiled.
        unit_kind: (units,) position in ``UNIT_KINDS``.
        unit_layer: (units,) layer index.
        unit_tile: (units,) tile number (a link: its source tile).
        unit_pe: (units,) PE number inside the layer, -1 for units that are no PE.
        unit_lanes: (units,).
        channel_src, channel_dst: (channels,) program unit numbers.
        channel_depth: (channels,).
        base_cycles: (units,) service cycles of a token that do not depend on activity or step.
        plane_cycles: (units,) cycles of one driven plane (read, convert), else 0.
        step_cycles: (units, T) service cycles added at each step (membrane memory, held currents), else 0.
        input_load_cycles: cycles to bring one image onto the chip.
    """

    mapping: Mapping
    unit_kind: IntArray
    unit_layer: IntArray
    unit_tile: IntArray
    unit_pe: IntArray
    unit_lanes: IntArray
    channel_src: IntArray
    channel_dst: IntArray
    channel_depth: IntArray
    base_cycles: IntArray
    plane_cycles: IntArray
    step_cycles: IntArray
    input_load_cycles: int

    @property
    def n_units(self) -> int:
        """Units of the chip that take part."""
        return int(self.unit_kind.size)

    def unit_name(self, unit: int) -> str:
        """Readable name, e.g. ``conv2/tile3/read5``."""
        layer = self.mapping.layers[int(self.unit_layer[unit])].layer.name
        kind = UNIT_KINDS[int(self.unit_kind[unit])]
        pe = int(self.unit_pe[unit])
        return f"{layer}/tile{int(self.unit_tile[unit])}/{kind}{pe if pe >= 0 else ''}"
