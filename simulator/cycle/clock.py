"""One phase through the clock: tables in, counts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tables import PhaseTables
from .record import PhaseRecord, phase_record

IntArray = NDArray[np.int64]


class Wait(NamedTuple):
    """One step of a deadlock: ``unit`` waits for ``other`` because ``channel`` is full or empty.

    All three are positions in the phase's tables.
    """

    unit: int
    other: int
    channel: int
    full: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseCounts:
    """Outcome of one phase; arrays are in the order of its tables.

    Attributes:
        end: edge at which the last token left its lane or the last element arrived; with a deadlock, the last
            edge at which anything happened.
        busy: (units,) lane cycles of service.
        served: (units,) tokens started.
        waited: (channels,) lane cycles that tokens past their service were held, blamed on the channel.
        queue_peak: (channels,) most held after the starts of an edge.
        arrived: (channels,) elements or packets that came in.
        span_start, span_end: (rows, groups) first start (-1: none) and last leaving or arrival.
        deadlock: the cycle of waits, or the chain to a unit that waits for nothing; empty if all work was done.
        record: times of every token, if asked for.
    """

    end: int
    busy: IntArray
    served: IntArray
    waited: IntArray
    queue_peak: IntArray
    arrived: IntArray
    span_start: IntArray
    span_end: IntArray
    deadlock: tuple[Wait, ...]
    record: PhaseRecord | None


def run_tables(tables: PhaseTables, *, record: bool = False) -> PhaseCounts:
    """Run one phase from edge 0; with ``record``, keep the times of every token (40 bytes) and element (8 bytes)."""
    from ..kernels import cycle_memory as k
    from ..kernels.cycle import run_phase

    memory = run_phase(tables, record)

    def fields(first: int, last: int, n: int) -> IntArray:
        return memory[memory[first] : memory[last]].reshape(-1, n)

    units, channels = fields(k.UNITS, k.CHANNELS, k.U_FIELDS), fields(k.CHANNELS, k.LANES, k.C_FIELDS)
    shape = tuple(int(n) for n in tables.span_shape)
    stuck = bool(memory[k.UNFINISHED] > 0)
    return PhaseCounts(
        end=int(memory[k.LAST_MOVE if stuck else k.LAST_EDGE]),
        busy=units[:, k.U_BUSY].copy(),
        served=units[:, k.U_NEXT].copy(),
        waited=channels[:, k.C_WAITED].copy(),
        queue_peak=channels[:, k.C_PEAK].copy(),
        arrived=channels[:, k.C_ARRIVED].copy(),
        span_start=memory[memory[k.SPANS] : memory[k.SPAN_ENDS]].reshape(shape).copy(),
        span_end=memory[memory[k.SPAN_ENDS] : memory[k.TOKENS]].reshape(shape).copy(),
        deadlock=_waits(tables, memory) if stuck else (),
        record=phase_record(tables, memory) if record else None,
    )


def _waits(tables: PhaseTables, memory: IntArray) -> tuple[Wait, ...]:
    """Follow the waits from the lowest waiting unit to the first one met twice, or to one that does not wait."""
    from ..kernels import cycle_memory as k
    from ..kernels.cycle import waits

    def waits_for(unit: int) -> Wait | None:
        full, missing = waits(memory, int(memory[k.UNITS]) + unit * k.U_FIELDS)
        if max(full, missing) < 0:
            return None
        channel = (max(full, missing) - int(memory[k.CHANNELS])) // k.C_FIELDS
        other = tables.dst[channel] if full >= 0 else tables.src[channel]
        return Wait(unit, int(other), int(channel), full >= 0)

    wait = next(found for found in map(waits_for, range(tables.unit.size)) if found is not None)
    chain: list[Wait] = []
    met: dict[int, int] = {}
    while wait.unit not in met:
        met[wait.unit] = len(chain)
        chain.append(wait)
        following = waits_for(wait.other)
        if following is None:
            return tuple(chain)
        wait = following
    return tuple(chain[met[wait.unit] :])
