"""The critical path of a phase: from its end back to its start, each cycle charged to one unit.

A token started when it did because its last input came then, because its lane became free then, or because a slot was
given back one edge before. Each of these has a cause of its own, one token earlier.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]

COMPUTE, INJECT, LINK = 0, 1, 2
QUEUE, ROUTE, END = 0, 1, 2
#: How a walk stands at a token: at its start; at an edge where it left or a copy of it moved; at an edge where it
#: reached a far end.
AT_START, AT_LEAVE, AT_FAR_END = 0, 1, 2


class PathTables(NamedTuple):
    """Look-up tables of one recorded phase.

    Attributes:
        tables: ``simulator.tables.PhaseTables``.
        first_token, start, leave, hop, packet, came, first_arrival, arrival: ``PhaseRecord``.
        end: (tokens,) edge at which each token's service ended.
        in_start, in_channel, out_start, out_channel: channels by destination and by source (``END`` by interface).
        ones_start, ones_count, ones: (channels,) tokens of an emit period that send a copy.
        packet_first: (hops,) first row of each hop in ``packet_row``.
        packet_row: record row of packet ``k`` on a hop.
        channel_hop: (channels,) hop that delivers to an ``END``, else -1.
        hop_parent: (hops,) hop before each hop, -1 at a root.
    """

    tables: Any
    first_token: IntArray
    start: IntArray
    leave: IntArray
    hop: IntArray
    packet: IntArray
    came: IntArray
    first_arrival: IntArray
    arrival: IntArray
    end: IntArray
    in_start: IntArray
    in_channel: IntArray
    out_start: IntArray
    out_channel: IntArray
    ones_start: IntArray
    ones_count: IntArray
    ones: IntArray
    packet_first: IntArray
    packet_row: IntArray
    channel_hop: IntArray
    hop_parent: IntArray


@kernel
def _count(tables: Any, start: int, c: int, token: int) -> int:
    """Entry of a channel's cumulative pattern for a token of its destination."""
    period = tables.take_period[c]
    value = tables.pattern_values[start + token % period]
    return int(value + (token // period) * tables.take_step[c])


@kernel
def _sender(p: PathTables, c: int, nth: int) -> int:
    """Token of the source that sent the nth (from 0) copy into a channel."""
    period, ones = p.tables.emit_period[c], p.ones_count[c]
    return int((nth // ones) * period + p.ones[p.ones_start[c] + nth % ones])


@kernel
def _started_at(p: PathTables, u: int, edge: int) -> int:
    """Record row of the token of a unit that started at an edge, -1 if none; starts never fall."""
    first, last = p.first_token[u], p.first_token[u + 1]
    row = first + np.searchsorted(p.start[first:last], edge)
    return int(row) if row < last and p.start[row] == edge else -1


@kernel
def _unit_of(p: PathTables, row: int) -> int:
    return int(np.searchsorted(p.first_token, row, side="right") - 1)


@kernel
def _cause_of_start(p: PathTables, row: int, u: int, edge: int) -> tuple[int, int, int]:
    """Why a token started at this edge: (row of another token, how to go on there, edge there); row -1 if unknown."""
    t = p.tables
    i = row - p.first_token[u]
    if t.role[u] == LINK:
        if p.came[row] == edge:
            return p.packet_row[p.packet_first[p.hop_parent[p.hop[row]]] + p.packet[row]], AT_LEAVE, edge
    else:
        for n in range(p.in_start[u], p.in_start[u + 1]):
            c = p.in_channel[n]
            needed = _count(t, t.need_start[c], c, i)
            if needed == 0 or p.arrival[p.first_arrival[c] + needed - 1] != edge:
                continue
            sender = _sender(p, c, needed - 1)
            if t.kind[c] == END:
                return p.packet_row[p.packet_first[p.channel_hop[c]] + sender], AT_FAR_END, edge
            return p.first_token[t.src[c]] + sender, AT_LEAVE, edge
    if i > 0 and p.leave[row - 1] == edge:
        return row - 1, AT_LEAVE, edge
    if t.role[u] == INJECT:
        for n in range(p.out_start[u], p.out_start[u + 1]):
            c = p.out_channel[n]
            if t.kind[c] == END and t.dst[c] >= 0:
                other = _started_at(p, t.dst[c], edge - 1)
                if other >= 0:
                    return other, AT_START, edge - 1
    return -1, AT_START, edge


@kernel
def _cause_of_wait(p: PathTables, row: int, u: int, edge: int) -> int:
    """Row of the token whose start gave back the slot that this token's copy took at this edge, -1 if unknown."""
    t = p.tables
    if t.role[u] != COMPUTE:
        hop = p.hop[row]
        for n in range(t.child_start[hop], t.child_start[hop + 1]):
            following = p.packet_row[p.packet_first[t.child[n]] + p.packet[row]]
            if p.came[following] == edge:
                return _started_at(p, t.hop_unit[t.child[n]], edge - 1)
        return -1
    for n in range(p.out_start[u], p.out_start[u + 1]):
        c = p.out_channel[n]
        if t.kind[c] != QUEUE:
            continue
        other = _started_at(p, t.dst[c], edge - 1)
        if other >= 0:
            first, last = p.first_arrival[c], p.first_arrival[c + 1]
            at = first + np.searchsorted(p.arrival[first:last], edge)
            if at < last and p.arrival[at] == edge:
                return other
    return -1


@kernel
def walk_back(p: PathTables, last: int, how: int, edge: int, busy: IntArray, wait: IntArray) -> int:
    """Charge every cycle of [0, edge) to ``busy`` or ``wait`` (units,); starts at the token of row ``last``.

    Returns:
        Cycles for which no cause was found, charged as waits of the unit where the walk ended.
    """
    row = last
    while edge > 0:
        u = _unit_of(p, row)
        if how == AT_LEAVE and edge > p.end[row]:
            other = _cause_of_wait(p, row, u, edge)
            if other < 0:
                wait[u] += edge - p.end[row]
                edge = p.end[row]
            else:
                wait[u] += 1
                edge -= 1
                row, how = other, AT_START
                continue
        if how != AT_START:
            busy[u] += edge - p.start[row]
            edge = p.start[row]
        if edge == 0:
            return 0
        row, how, before = _cause_of_start(p, row, u, edge)
        if row < 0:
            wait[u] += edge
            return edge
        wait[u] += edge - before
        edge = before
    return 0
