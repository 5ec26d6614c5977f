"""Memory of the clock: every table of a phase as records in one flat array, which refer to one another by address.

One array, because each array that a compiled function is given costs as much as a table look-up or two at every
call: with a tuple of fourteen arrays the same clock was five times slower (measured).

An address is a position in the memory; ``m[u + U_NEXT]`` is the field ``U_NEXT`` of the unit at address ``u``.
Records of a kind lie in a row, so addresses compare like numbers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]
Memory = IntArray
Tables = Any  # simulator.tables.PhaseTables

COMPUTE, INJECT, LINK = 0, 1, 2
QUEUE, ROUTE, END = 0, 1, 2
#: States of a lane: in its lead, movable but in service, past its service and owing copies.
FREE, SERVING, MOVING, DONE = 0, 1, 2, 3

#: Header of the memory: lengths of the five work lists, of the heap; edges; tokens not yet finished; then where the
#: parts begin. ``WORK`` has five lists of ``WORK_ROOM``: queues to serve at this edge and at the next one, units that
#: may start at this edge, queues that took something at this edge, units to look at at the next one.
N_CHANNELS, N_RECHECK, N_UNITS, N_PUSHED, N_WAKE, N_HEAP, LAST_EDGE, LAST_MOVE, UNFINISHED = range(9)
UNITS, CHANNELS, LANES, HOPS, INDEX, VALUES, OWED, RING, HEAP, WORK, WORK_ROOM = range(9, 20)
SPANS, SPAN_ENDS, TOKENS, ARRIVALS, RECORDS, SIZE, HEADER = range(20, 27)

#: Fields of a unit. ``U_OUT`` .. ``U_OUT_END``: addresses of the queues that it fills; ``U_IN`` .. of what it empties;
#: ``U_FAR`` .. of the far ends of its flow that have a destination. ``U_SPAN``: its row of the starts of spans.
U_TOKENS, U_ROLE, U_OUT, U_OUT_END, U_IN, U_IN_END, U_FAR, U_FAR_END, U_LANE, U_LANE_END = range(10)
U_SERVICE, U_PERIOD, U_PHASE, U_NEXT, U_FREE, U_LISTED, U_WOKEN = range(10, 17)
U_SPAN, U_SPAN_PERIOD, U_GROUP, U_GROUP_LEFT, U_HOP, U_BUSY, U_RECORD, U_FIELDS = range(17, 25)
#: Fields of a channel. ``C_BEFORE`` are the elements gone before edge ``C_FREED_AT``; ``C_POSITION`` counts among
#: the queues of its source.
C_SRC, C_DST, C_KIND, C_DEPTH, C_EMIT, C_EMIT_PERIOD, C_POSITION, C_WAITING, C_LISTED, C_RECHECK = range(10)
C_NEED, C_FREE, C_PERIOD, C_STEP, C_PHASE, C_BASE = range(10, 16)
C_ARRIVED, C_FREED, C_BEFORE, C_FREED_AT, C_RESERVED, C_RING, C_HEAD = range(16, 23)
C_WAITED, C_PEAK, C_RECORD, C_FIELDS = range(23, 27)
#: Fields of a lane. ``L_SINCE`` is the edge since which ``L_LOWEST`` is blamed.
L_UNIT, L_OWED, L_STATE, L_TOKEN, L_HOP, L_READY, L_END, L_SINCE, L_COPIES, L_LOWEST, L_GROUP, L_RECORD = range(12)
L_FIELDS = 12
#: Fields of a hop, and of a packet in a router queue.
H_CHANNEL, H_LEAD, H_SERVICE, H_FLITS, H_CHILD, H_CHILD_END, H_DELIVER, H_DELIVER_END, H_FIELDS = range(9)
P_HOP, P_PACKET, P_CAME, P_FIELDS = range(4)
#: Fields of a recorded token (``simulator/cycle/record.py``).
R_START, R_LEAVE, R_HOP, R_PACKET, R_CAME, R_FIELDS = range(6)


@kernel
def new_memory(tables: Tables, recorded: bool) -> Memory:
    """Memory before edge 0."""
    n_units, n_channels, n_hops = tables.unit.size, tables.src.size, tables.hop_unit.size
    n_lanes = tables.lanes.sum()
    widest = _widest(tables)
    # A lane has one event to come; of a far end so many elements are under way at once.
    under_way = 1
    for h in range(n_hops):
        under_way = max(under_way, 2 + (tables.hop_lead[h] + tables.hop_flits[h]) // tables.hop_service[h])
    n_ring = 0
    n_arrivals = 0
    for c in range(n_channels):
        n_ring += tables.depth[c] if tables.kind[c] == ROUTE else 0
        n_arrivals += tables.n_tokens[tables.src[c]] if tables.kind[c] != ROUTE else 0
    n_tokens = tables.n_tokens.sum()
    room = max(n_units, n_channels)
    spans = tables.span_shape[0] * tables.span_shape[1]
    sizes = np.array(
        [
            n_units * U_FIELDS,
            n_channels * C_FIELDS,
            n_lanes * L_FIELDS,
            n_hops * H_FIELDS,
            3 * n_channels + tables.child.size + tables.deliver.size,
            tables.service_values.size + tables.pattern_values.size,
            (widest * tables.lanes).sum(),
            n_ring * P_FIELDS,
            n_lanes + under_way * n_channels,
            5 * room,
            0,
            spans,
            spans,
            n_tokens * R_FIELDS if recorded else 0,
            n_arrivals if recorded else 0,
        ]
    )
    m = np.zeros(HEADER + sizes.sum(), dtype=np.int64)
    address = HEADER
    for part in range(sizes.size):
        m[UNITS + part] = address
        address += sizes[part]
    m[SIZE] = m.size
    m[WORK_ROOM] = room
    m[RECORDS] = recorded
    m[UNFINISHED] = n_tokens
    m[m[SPANS] : m[SPAN_ENDS]] = -1
    m[m[TOKENS] :] = -1
    values = m[VALUES]
    m[values : values + tables.service_values.size] = tables.service_values
    m[values + tables.service_values.size : m[OWED]] = tables.pattern_values
    _write_hops(m, tables)
    _write_channels(m, tables)
    _write_units(m, tables, widest)
    return m


@kernel
def _widest(tables: Tables) -> IntArray:
    """(units,) most copies that a token of each unit can owe."""
    widest = np.zeros(tables.unit.size, dtype=np.int64)
    for c in range(tables.src.size):
        if tables.kind[c] == QUEUE:
            widest[tables.src[c]] += 1
    for h in range(tables.hop_unit.size):
        u = tables.hop_unit[h]
        widest[u] = max(widest[u], tables.child_start[h + 1] - tables.child_start[h])
    return widest


@kernel
def _write_hops(m: Memory, tables: Tables) -> None:
    # The first three parts of the index are those of the units, at most one entry a channel each.
    children = m[INDEX] + 3 * tables.src.size
    deliveries = children + tables.child.size
    for i in range(tables.child.size):
        m[children + i] = m[HOPS] + tables.child[i] * H_FIELDS
    for i in range(tables.deliver.size):
        m[deliveries + i] = m[CHANNELS] + tables.deliver[i] * C_FIELDS
    for i in range(tables.hop_unit.size):
        h = m[HOPS] + i * H_FIELDS
        m[h + H_CHANNEL] = m[CHANNELS] + tables.hop_channel[i] * C_FIELDS
        m[h + H_LEAD] = tables.hop_lead[i]
        m[h + H_SERVICE] = tables.hop_service[i]
        m[h + H_FLITS] = tables.hop_flits[i]
        m[h + H_CHILD] = children + tables.child_start[i]
        m[h + H_CHILD_END] = children + tables.child_start[i + 1]
        m[h + H_DELIVER] = deliveries + tables.deliver_start[i]
        m[h + H_DELIVER_END] = deliveries + tables.deliver_start[i + 1]


@kernel
def _write_channels(m: Memory, tables: Tables) -> None:
    values = m[VALUES]
    # The values of the patterns lie behind those of the services.
    patterns = values + tables.service_values.size
    ring, arrivals = m[RING], m[ARRIVALS]
    for i in range(tables.src.size):
        c = m[CHANNELS] + i * C_FIELDS
        m[c + C_SRC] = m[UNITS] + tables.src[i] * U_FIELDS
        m[c + C_DST] = m[UNITS] + tables.dst[i] * U_FIELDS if tables.dst[i] >= 0 else -1
        m[c + C_KIND] = tables.kind[i]
        m[c + C_DEPTH] = tables.depth[i]
        m[c + C_EMIT] = patterns + tables.emit_start[i]
        m[c + C_EMIT_PERIOD] = tables.emit_period[i]
        m[c + C_NEED] = patterns + tables.need_start[i]
        m[c + C_FREE] = patterns + tables.free_start[i]
        m[c + C_PERIOD] = tables.take_period[i]
        m[c + C_STEP] = tables.take_step[i]
        m[c + C_FREED_AT] = -1
        if tables.kind[i] == ROUTE:
            m[c + C_RING] = ring
            ring += tables.depth[i] * P_FIELDS
        else:
            m[c + C_RECORD] = arrivals
            arrivals += tables.n_tokens[tables.src[i]]


@kernel
def _write_units(m: Memory, tables: Tables, widest: IntArray) -> None:
    lane, owed, record, index = m[LANES], m[OWED], m[TOKENS], m[INDEX]
    for i in range(tables.unit.size):
        u = m[UNITS] + i * U_FIELDS
        m[u + U_TOKENS] = tables.n_tokens[i]
        m[u + U_ROLE] = tables.role[i]
        m[u + U_SERVICE] = m[VALUES] + tables.service_start[i]
        m[u + U_PERIOD] = tables.service_period[i]
        m[u + U_SPAN] = m[SPANS] + tables.span[i] * tables.span_shape[1] if tables.span[i] >= 0 else -1
        m[u + U_SPAN_PERIOD] = m[u + U_GROUP_LEFT] = tables.span_period[i]
        m[u + U_HOP] = m[HOPS] + tables.root_hop[i] * H_FIELDS
        m[u + U_FREE] = tables.lanes[i]
        m[u + U_RECORD] = record
        record += tables.n_tokens[i] * R_FIELDS
        m[u + U_LANE] = lane
        for _ in range(tables.lanes[i]):
            m[lane + L_UNIT] = u
            m[lane + L_OWED] = owed
            owed += widest[i]
            lane += L_FIELDS
        m[u + U_LANE_END] = lane
    n = tables.src.size
    _write_index(m, tables.src, tables.kind == QUEUE, index, U_OUT, U_OUT_END)
    _write_index(m, tables.dst, tables.dst >= 0, index + n, U_IN, U_IN_END)
    _write_index(m, tables.src, (tables.kind == END) & (tables.dst >= 0), index + 2 * n, U_FAR, U_FAR_END)
    for u in range(m[UNITS], m[CHANNELS], U_FIELDS):
        for i in range(m[u + U_OUT], m[u + U_OUT_END]):
            m[m[i] + C_POSITION] = i - m[u + U_OUT]


@kernel
def _write_index(m: Memory, ends: IntArray, chosen: NDArray[np.bool_], first: int, start: int, end: int) -> None:
    """Addresses of the chosen channels, grouped by the unit at one of their ends, ascending."""
    n_units = (m[CHANNELS] - m[UNITS]) // U_FIELDS
    count = np.zeros(n_units + 1, dtype=np.int64)
    for i in range(ends.size):
        if chosen[i]:
            count[ends[i] + 1] += 1
    for i in range(n_units):
        count[i + 1] += count[i]
        u = m[UNITS] + i * U_FIELDS
        m[u + start] = m[u + end] = first + count[i]
    for i in range(ends.size):
        if chosen[i]:
            u = m[UNITS] + ends[i] * U_FIELDS
            m[m[u + end]] = m[CHANNELS] + i * C_FIELDS
            m[u + end] += 1


@kernel
def heap_push(m: Memory, edge: int, address: int) -> None:
    """Add an event: a lane's lead or service ends, or an element arrives at a channel."""
    key = edge * m[SIZE] + address
    heap, i = m[HEAP], m[N_HEAP]
    m[N_HEAP] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if m[heap + parent] <= key:
            break
        m[heap + i] = m[heap + parent]
        i = parent
    m[heap + i] = key


@kernel
def heap_pop(m: Memory) -> int:
    """Take the earliest event: its key."""
    heap = m[HEAP]
    top: int = m[heap]
    m[N_HEAP] -= 1
    n = m[N_HEAP]
    key = m[heap + n]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and m[heap + child + 1] < m[heap + child]:
            child += 1
        if m[heap + child] >= key:
            break
        m[heap + i] = m[heap + child]
        i = child
    m[heap + i] = key
    return top


@kernel
def list_unit(m: Memory, u: int) -> None:
    """Look at this unit in (c) of this edge."""
    if m[u + U_LISTED] == 0:
        m[u + U_LISTED] = 1
        m[m[WORK] + N_UNITS * m[WORK_ROOM] + m[N_UNITS]] = u
        m[N_UNITS] += 1


@kernel
def wake_unit(m: Memory, u: int) -> None:
    """Look at this unit in (c) of the next edge."""
    if m[u + U_WOKEN] == 0:
        m[u + U_WOKEN] = 1
        m[m[WORK] + N_WAKE * m[WORK_ROOM] + m[N_WAKE]] = u
        m[N_WAKE] += 1


@kernel
def list_channel(m: Memory, c: int) -> None:
    """Serve this queue in (b) of this edge."""
    if m[c + C_LISTED] == 0:
        m[c + C_LISTED] = 1
        m[m[WORK] + N_CHANNELS * m[WORK_ROOM] + m[N_CHANNELS]] = c
        m[N_CHANNELS] += 1


@kernel
def recheck_if_open(m: Memory, c: int) -> None:
    """List a queue for the next edge if it will then have room for a copy that waits."""
    if m[c + C_WAITING] > 0 and m[c + C_ARRIVED] - m[c + C_FREED] < m[c + C_DEPTH] and m[c + C_RECHECK] == 0:
        m[c + C_RECHECK] = 1
        m[m[WORK] + N_RECHECK * m[WORK_ROOM] + m[N_RECHECK]] = c
        m[N_RECHECK] += 1


@kernel
def came_in(m: Memory, c: int) -> None:
    """Count an element or packet, and let its destination look at it."""
    m[c + C_ARRIVED] += 1
    if m[c + C_DST] >= 0:
        m[m[WORK] + N_PUSHED * m[WORK_ROOM] + m[N_PUSHED]] = c
        m[N_PUSHED] += 1
        list_unit(m, m[c + C_DST])
