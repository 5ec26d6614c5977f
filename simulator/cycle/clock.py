"""One phase through the clock: tables in, counts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tables import PhaseTables
from .record import PhaseRecord, empty_record, recorder

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
    """Run one phase from edge 0; with ``record``, keep the times of every token (24 to 48 bytes each)."""
    from ..kernels.cycle import DEADLOCK, run_phase
    from ..kernels.cycle_state import Counts

    n_units, n_channels = tables.unit.size, tables.channel.size
    shape = tuple(int(n) for n in tables.span_shape)
    counts = Counts(
        busy=np.zeros(n_units, dtype=np.int64),
        served=np.zeros(n_units, dtype=np.int64),
        waited=np.zeros(n_channels, dtype=np.int64),
        queue_peak=np.zeros(n_channels, dtype=np.int64),
        arrived=np.zeros(n_channels, dtype=np.int64),
        span_start=np.full(shape, -1, dtype=np.int64),
        span_end=np.zeros(shape, dtype=np.int64),
        full=np.full(n_units, -1, dtype=np.int64),
        missing=np.full(n_units, -1, dtype=np.int64),
    )
    kept = empty_record(tables) if record else None
    status, end = run_phase(tables, counts, recorder(kept))
    return PhaseCounts(
        end=int(end),
        busy=counts.busy,
        served=counts.served,
        waited=counts.waited,
        queue_peak=counts.queue_peak,
        arrived=counts.arrived,
        span_start=counts.span_start,
        span_end=counts.span_end,
        deadlock=_waits(tables, counts.full, counts.missing) if status == DEADLOCK else (),
        record=kept,
    )


def _waits(tables: PhaseTables, full: IntArray, missing: IntArray) -> tuple[Wait, ...]:
    """Follow the waits from the lowest waiting unit to the first one met twice, or to one that does not wait."""
    waiting = np.flatnonzero((full >= 0) | (missing >= 0))
    unit = int(waiting[0])
    chain: list[Wait] = []
    met: dict[int, int] = {}
    while unit not in met:
        met[unit] = len(chain)
        is_full = bool(full[unit] >= 0)
        channel = int(full[unit] if is_full else missing[unit])
        if channel < 0:
            return tuple(chain)
        other = int(tables.dst[channel] if is_full else tables.src[channel])
        chain.append(Wait(unit, other, channel, is_full))
        unit = other
    return tuple(chain[met[unit] :])
