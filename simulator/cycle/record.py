"""When every token of a phase started and left: what the critical path and the drawn trace are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..tables import COMPUTE, ROUTE, PhaseTables

if TYPE_CHECKING:
    from ..kernels.cycle_state import Recorder

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseRecord:
    """Times of one phase, in edges since its start; -1 for what never happened.

    Tokens are numbered by unit, then in the order of their starts: the ``i``-th token that unit ``u`` started has row
    ``first_token[u] + i``.

    Attributes:
        first_token: (units + 1,) first row of each unit.
        start, leave: (tokens,) edges at which a token took and left its lane.
        hop: (tokens,) hop of a packet; 0 for computing units.
        packet: (tokens,) the token's number in its unit, of a packet its number in its flow.
        came: (tokens,) edge at which a packet had come into the queue of a router output; -1 for others.
        first_arrival: (channels + 1,) first row of each channel in ``arrival``.
        arrival: (arrivals,) edge at which the ``i``-th element came into a queue or far end; router queues
            have none.
    """

    first_token: IntArray
    start: IntArray
    leave: IntArray
    hop: IntArray
    packet: IntArray
    came: IntArray
    first_arrival: IntArray
    arrival: IntArray


def empty_record(tables: PhaseTables) -> PhaseRecord:
    """Record with room for every token and element of a phase."""
    first_token = np.append(0, np.cumsum(tables.n_tokens))
    room = np.where(tables.kind == ROUTE, 0, tables.n_tokens[tables.src]) if tables.src.size else tables.src
    n_tokens = int(first_token[-1])
    fields = {name: np.full(n_tokens, -1, dtype=np.int64) for name in ("start", "leave", "hop", "packet", "came")}
    first_arrival = np.append(0, np.cumsum(room)).astype(np.int64)
    return PhaseRecord(
        first_token=first_token.astype(np.int64),
        **fields,
        first_arrival=first_arrival,
        arrival=np.full(int(first_arrival[-1]), -1, dtype=np.int64),
    )


def recorder(record: PhaseRecord | None) -> Recorder:
    """What the kernel writes into; without a record nothing is kept."""
    from ..kernels.cycle_state import Recorder

    if record is None:
        return Recorder(*(np.zeros(0, dtype=np.int64) for _ in Recorder._fields))
    return Recorder(*(getattr(record, name) for name in Recorder._fields))


def service_ends(tables: PhaseTables, record: PhaseRecord) -> IntArray:
    """(tokens,) edge at which each token's service ended; -1 for those that never started."""
    ends = np.full(record.start.size, -1, dtype=np.int64)
    for u in range(tables.unit.size):
        rows = slice(int(record.first_token[u]), int(record.first_token[u + 1]))
        if tables.role[u] == COMPUTE:
            j = np.arange(rows.stop - rows.start)
            service = tables.service_values[tables.service_start[u] + j % tables.service_period[u]]
        else:
            service = tables.hop_service[np.maximum(record.hop[rows], 0)]
        ends[rows] = np.where(record.start[rows] < 0, -1, record.start[rows] + service)
    return ends
