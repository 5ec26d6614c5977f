"""When every token of a phase started and left: what the critical path and the drawn trace are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tables import COMPUTE, ROUTE, PhaseTables

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseRecord:
    """Times of one phase, in edges since its start; -1 for what never happened.

    Tokens are numbered by unit, then in the order of their starts: the ``i``-th token that unit ``u`` started has row
    ``first_token[u] + i``.

    Attributes:
        first_token: (units + 1,) first row of each unit.
        token: (tokens, 5) the five columns below.
        first_arrival: (channels + 1,) first row of each channel in ``arrival``.
        arrival: (arrivals,) edge at which the ``i``-th element came into a queue or far end; router queues
            have none.
    """

    first_token: IntArray
    token: IntArray
    first_arrival: IntArray
    arrival: IntArray

    @property
    def start(self) -> IntArray:
        """(tokens,) edge at which a token took its lane."""
        return self.token[:, 0]

    @property
    def leave(self) -> IntArray:
        """(tokens,) edge at which it left its lane."""
        return self.token[:, 1]

    @property
    def hop(self) -> IntArray:
        """(tokens,) hop of a packet; 0 for computing units."""
        return self.token[:, 2]

    @property
    def packet(self) -> IntArray:
        """(tokens,) the token's number in its unit, of a packet its number in its flow."""
        return self.token[:, 3]

    @property
    def came(self) -> IntArray:
        """(tokens,) edge at which a packet had come into the queue of a router output; -1 for others."""
        return self.token[:, 4]


def phase_record(tables: PhaseTables, memory: IntArray) -> PhaseRecord:
    """Record of a phase that ran with one."""
    from ..kernels import cycle_memory as k

    room = np.where(tables.kind == ROUTE, 0, tables.n_tokens[tables.src])
    return PhaseRecord(
        first_token=np.append(0, np.cumsum(tables.n_tokens)).astype(np.int64),
        token=memory[memory[k.TOKENS] : memory[k.ARRIVALS]].reshape(-1, k.R_FIELDS),
        first_arrival=np.append(0, np.cumsum(room)).astype(np.int64),
        arrival=memory[memory[k.ARRIVALS] :],
    )


def service_ends(tables: PhaseTables, record: PhaseRecord) -> IntArray:
    """(tokens,) edge at which each token's service ended; -1 for those that never started."""
    ends = np.full(record.token.shape[0], -1, dtype=np.int64)
    for u in range(tables.unit.size):
        rows = slice(int(record.first_token[u]), int(record.first_token[u + 1]))
        if tables.role[u] == COMPUTE:
            j = np.arange(rows.stop - rows.start)
            service = tables.service_values[tables.service_start[u] + j % tables.service_period[u]]
        else:
            service = tables.hop_service[np.maximum(record.hop[rows], 0)]
        ends[rows] = np.where(record.start[rows] < 0, -1, record.start[rows] + service)
    return ends
