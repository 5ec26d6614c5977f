"""The tables of one phase: all that the clock knows.

The Numba engine and the naive twin both run these tables; docs/machine.md, "The clock", states the rules.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

#: ``PhaseTables.role``: a unit that computes, a network interface, a router output.
COMPUTE, INJECT, LINK = 0, 1, 2
#: ``PhaseTables.kind``: a queue between two units, a packet queue of a router, the far end of a flow.
QUEUE, ROUTE, END = 0, 1, 2


class PhaseTables(NamedTuple):
    """One barrier-to-barrier piece of work: a dataflow graph, its tokens, and the routes of its packets.

    Unit ``i`` of the phase is ``unit[i]`` of the program; channels likewise. All other references (``src``,
    ``dst``, ``hop_unit``, ``hop_channel``, ...) are positions inside these tables. Pattern tables hold repeated
    values: entry ``j`` is ``values[start + j % period]``; a cumulative pattern adds ``(j // period) * step``.

    A *flow* is what one network interface sends: a tree of *hops*, whose root is the interface itself and
    whose other nodes are router outputs. Packet ``k`` of a flow is the interface's token ``k``.

    Attributes:
        unit: (units,) program unit numbers, ascending (the only tie-breaker).
        role: (units,) ``COMPUTE``, ``INJECT`` or ``LINK``.
        lanes: (units,) tokens served at once (1 for ``INJECT`` and ``LINK``).
        n_tokens: (units,) tokens of this phase; of a ``LINK`` the packets that will pass it, in any order.
        service_start, service_period: (units,) into ``service_values``, cycles >= 1 of each token of a
            ``COMPUTE`` unit (the others take theirs from the hop).
        root_hop: (units,) first hop of an ``INJECT`` unit, else -1.
        span: (units,) row of the span tables to which the unit's tokens belong, -1 for none (``LINK``).
        span_period: (units,) tokens of one group: token ``j`` belongs to group ``j // span_period``.
        channel: (channels,) program channel numbers, ascending.
        kind: (channels,) ``QUEUE``, ``ROUTE`` or ``END``.
        src: (channels,) the unit that fills it; of an ``END`` the flow's ``INJECT`` unit.
        dst: (channels,) the unit that empties it; -1 for an ``END`` that nobody empties in this phase (a sink:
            room without limit).
        depth: (channels,) slots, >= 1: tokens, packets of a ``ROUTE``, elements of an ``END``.
        emit_start, emit_period: (channels,) into ``pattern_values``: 1 where token ``j`` of ``src`` puts one
            copy into the channel (not used for ``ROUTE``).
        need_start, free_start, take_period, take_step: (channels,) cumulative patterns into
            ``pattern_values``: token ``j`` of ``dst`` starts when ``need(j)`` elements have arrived, and from
            then on ``free(j)`` elements are gone, ``free(j - 1) <= free(j) <= need(j)``. A plain queue has
            need(j) = free(j) = j + 1. Not used for ``ROUTE`` and sinks.
        hop_unit: (hops,) the unit that serves a packet on this hop.
        hop_channel: (hops,) ``ROUTE`` channel through which it gets there, -1 at a root.
        hop_lead: (hops,) cycles from start until the packet may move on, 1 <= lead <= service.
        hop_service: (hops,) cycles for which it holds the lane at least.
        hop_flits: (hops,) cycles from moving on to its delivery where a flow leaves the mesh.
        child_start: (hops + 1,) into ``child``.
        child: next hops of a hop, ascending.
        deliver_start: (hops + 1,) into ``deliver``.
        deliver: ``END`` channels that a hop delivers to, ascending; each ``END`` has exactly one hop.
        pattern_values: emit flags (0 or 1) and cumulative counts.
        span_shape: (2,) rows and groups of the span tables.
    """

    unit: IntArray
    role: IntArray
    lanes: IntArray
    n_tokens: IntArray
    service_start: IntArray
    service_period: IntArray
    service_values: IntArray
    root_hop: IntArray
    span: IntArray
    span_period: IntArray
    channel: IntArray
    kind: IntArray
    src: IntArray
    dst: IntArray
    depth: IntArray
    emit_start: IntArray
    emit_period: IntArray
    need_start: IntArray
    free_start: IntArray
    take_period: IntArray
    take_step: IntArray
    hop_unit: IntArray
    hop_channel: IntArray
    hop_lead: IntArray
    hop_service: IntArray
    hop_flits: IntArray
    child_start: IntArray
    child: IntArray
    deliver_start: IntArray
    deliver: IntArray
    pattern_values: IntArray
    span_shape: IntArray
