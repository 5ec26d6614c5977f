"""State of the clock: tables of units, channels and lanes, work lists, and the heap of coming events."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]
Tables = Any  # simulator.tables.PhaseTables

COMPUTE, INJECT, LINK = 0, 1, 2
QUEUE, ROUTE, END = 0, 1, 2
#: States of a lane: in its lead, movable but in service, past its service and owing copies.
FREE, SERVING, MOVING, DONE = 0, 1, 2, 3

#: Columns of ``State.unit``. ``U_OUT`` .. index ``out_channel`` (queues that it fills), ``U_IN`` .. ``in_channel``
#: (what it empties), ``U_FAR`` .. ``far_channel`` (far ends of its flow that have a destination).
U_TOKENS, U_ROLE, U_OUT, U_OUT_END, U_IN, U_IN_END, U_FAR, U_FAR_END, U_LANE, U_LANE_END = range(10)
U_SERVICE, U_PERIOD, U_PHASE, U_NEXT, U_FREE, U_LISTED, U_WOKEN = range(10, 17)
U_SPAN, U_SPAN_PERIOD, U_GROUP, U_GROUP_LEFT, U_HOP, U_COLUMNS = range(17, 23)
#: Columns of ``State.channel``. ``C_BEFORE`` are the elements gone before edge ``C_FREED_AT``; the ring of a
#: router queue holds (hop, packet, edge of arrival).
C_SRC, C_DST, C_KIND, C_DEPTH, C_EMIT, C_EMIT_PERIOD, C_POSITION, C_WAITING, C_LISTED, C_RECHECK = range(10)
C_NEED, C_FREE, C_PERIOD, C_STEP, C_PHASE, C_BASE = range(10, 16)
C_ARRIVED, C_FREED, C_BEFORE, C_FREED_AT, C_RESERVED, C_RING, C_HEAD, C_COLUMNS = range(16, 24)
#: Columns of ``State.lane``. ``L_SINCE`` is the edge since which ``L_LOWEST`` is blamed.
L_UNIT, L_OWED, L_STATE, L_TOKEN, L_HOP, L_READY, L_END, L_SINCE, L_COPIES, L_LOWEST, L_GROUP, L_RECORD = range(12)
L_COLUMNS = 12
#: Positions in ``State.scalars``; the first five are lengths of the work lists, in the order of ``State.work``.
N_CHANNELS, N_RECHECK, N_UNITS, N_PUSHED, N_WAKE, N_HEAP, LAST_EDGE, LAST_MOVE, UNFINISHED, N_SCALARS = range(10)


class Counts(NamedTuple):
    """What a phase reports; the caller allocates zeros (``span_start``: -1).

    Attributes:
        busy: (units,) lane cycles of service.
        served: (units,) tokens started.
        waited: (channels,) lane cycles that tokens past their service were held, blamed on the channel.
        queue_peak: (channels,) most held after the starts of an edge.
        arrived: (channels,) elements or packets that came in.
        span_start, span_end: (rows, groups) first start and last leaving or arrival.
        full, missing: (units,) after a deadlock, the full channel, or the empty one, that a unit waits for;
            else -1.
    """

    busy: IntArray
    served: IntArray
    waited: IntArray
    queue_peak: IntArray
    arrived: IntArray
    span_start: IntArray
    span_end: IntArray
    full: IntArray
    missing: IntArray


class Recorder(NamedTuple):
    """Times of every token and element; all of size 0 where nothing is recorded (``simulator/cycle/record.py``)."""

    first_token: IntArray
    start: IntArray
    leave: IntArray
    hop: IntArray
    packet: IntArray
    came: IntArray
    first_arrival: IntArray
    arrival: IntArray


class State(NamedTuple):
    """Scratch of one phase; few arrays, because compile time grows with their number.

    ``owed`` has one flag a lane and out channel (or child hop); ``heap`` holds ends of leads and services and
    arrivals, keyed ``edge * (lanes + channels) + lane`` or ``... + lanes + channel``.
    """

    unit: IntArray
    channel: IntArray
    lane: IntArray
    out_channel: IntArray
    in_channel: IntArray
    far_channel: IntArray
    owed: NDArray[np.uint8]
    ring: IntArray
    heap: IntArray
    work: IntArray
    scalars: IntArray


@kernel
def _group_channels(ends: IntArray, chosen: NDArray[np.bool_], n_units: int) -> tuple[IntArray, IntArray]:
    """Chosen channels sorted by one of their ends (stable): start of each unit, and the channels."""
    start = np.zeros(n_units + 1, dtype=np.int64)
    for c in range(ends.size):
        if chosen[c]:
            start[ends[c] + 1] += 1
    for u in range(n_units):
        start[u + 1] += start[u]
    fill = start.copy()
    channels = np.empty(start[n_units], dtype=np.int64)
    for c in range(ends.size):
        if chosen[c]:
            channels[fill[ends[c]]] = c
            fill[ends[c]] += 1
    return start, channels


@kernel
def _unit_rows(tables: Tables, out_start: IntArray, in_start: IntArray, far_start: IntArray) -> IntArray:
    unit = np.zeros((tables.unit.size, U_COLUMNS), dtype=np.int64)
    n_lanes = 0
    for u in range(tables.unit.size):
        row = unit[u]
        row[U_TOKENS], row[U_ROLE] = tables.n_tokens[u], tables.role[u]
        row[U_OUT], row[U_OUT_END] = out_start[u], out_start[u + 1]
        row[U_IN], row[U_IN_END] = in_start[u], in_start[u + 1]
        row[U_FAR], row[U_FAR_END] = far_start[u], far_start[u + 1]
        row[U_LANE] = n_lanes
        n_lanes += tables.lanes[u]
        row[U_LANE_END] = n_lanes
        row[U_FREE] = tables.lanes[u]
        row[U_SERVICE], row[U_PERIOD] = tables.service_start[u], tables.service_period[u]
        row[U_SPAN], row[U_SPAN_PERIOD] = tables.span[u], tables.span_period[u]
        row[U_GROUP_LEFT] = tables.span_period[u]
        row[U_HOP] = tables.root_hop[u]
    return unit


@kernel
def _channel_rows(tables: Tables, out_channel: IntArray, out_start: IntArray) -> tuple[IntArray, int]:
    """Rows of the channels, and the slots of all router queues together."""
    channel = np.zeros((tables.src.size, C_COLUMNS), dtype=np.int64)
    ring = 0
    for c in range(tables.src.size):
        row = channel[c]
        row[C_SRC], row[C_DST], row[C_KIND], row[C_DEPTH] = (
            tables.src[c],
            tables.dst[c],
            tables.kind[c],
            tables.depth[c],
        )
        row[C_EMIT], row[C_EMIT_PERIOD] = tables.emit_start[c], tables.emit_period[c]
        row[C_NEED], row[C_FREE] = tables.need_start[c], tables.free_start[c]
        row[C_PERIOD], row[C_STEP] = tables.take_period[c], tables.take_step[c]
        row[C_FREED_AT] = -1
        if tables.kind[c] == ROUTE:
            row[C_RING] = ring
            ring += tables.depth[c]
    for i in range(out_channel.size):
        c = out_channel[i]
        channel[c, C_POSITION] = i - out_start[tables.src[c]]
    return channel, ring


@kernel
def _lane_rows(tables: Tables, unit: IntArray) -> tuple[IntArray, int]:
    """Rows of the lanes, and the flags of all copies that they can owe."""
    widest = np.zeros(unit.shape[0], dtype=np.int64)
    for h in range(tables.hop_unit.size):
        u = tables.hop_unit[h]
        widest[u] = max(widest[u], tables.child_start[h + 1] - tables.child_start[h])
    lane = np.zeros((unit[unit.shape[0] - 1, U_LANE_END], L_COLUMNS), dtype=np.int64)
    n_owed = 0
    for u in range(unit.shape[0]):
        for i in range(unit[u, U_LANE], unit[u, U_LANE_END]):
            lane[i, L_UNIT] = u
            lane[i, L_OWED] = n_owed
            n_owed += max(widest[u], unit[u, U_OUT_END] - unit[u, U_OUT])
    return lane, n_owed


@kernel
def new_state(tables: Tables) -> State:
    """State before edge 0."""
    n_units, n_channels = tables.unit.size, tables.src.size
    out_start, out_channel = _group_channels(tables.src, tables.kind == QUEUE, n_units)
    in_start, in_channel = _group_channels(tables.dst, tables.dst >= 0, n_units)
    far_start, far_channel = _group_channels(tables.src, (tables.kind == END) & (tables.dst >= 0), n_units)
    unit = _unit_rows(tables, out_start, in_start, far_start)
    channel, n_ring = _channel_rows(tables, out_channel, out_start)
    lane, n_owed = _lane_rows(tables, unit)
    # A lane has one event to come; an element is under way while its successor may start at most twice.
    longest = 1
    for h in range(tables.hop_unit.size):
        longest = max(longest, 2 + (tables.hop_lead[h] + tables.hop_flits[h]) // tables.hop_service[h])
    scalars = np.zeros(N_SCALARS, dtype=np.int64)
    for u in range(n_units):
        scalars[UNFINISHED] += tables.n_tokens[u]
    return State(
        unit,
        channel,
        lane,
        out_channel,
        in_channel,
        far_channel,
        np.zeros(n_owed, dtype=np.uint8),
        np.zeros((n_ring, 3), dtype=np.int64),
        np.zeros(lane.shape[0] + longest * n_channels, dtype=np.int64),
        np.zeros((5, max(n_units, n_channels)), dtype=np.int64),
        scalars,
    )


@kernel
def heap_push(state: State, key: int) -> None:
    """Add an event."""
    heap, i = state.heap, state.scalars[N_HEAP]
    state.scalars[N_HEAP] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@kernel
def heap_pop(state: State) -> int:
    """Take the earliest event."""
    heap = state.heap
    top: int = heap[0]
    state.scalars[N_HEAP] -= 1
    n = state.scalars[N_HEAP]
    key = heap[n]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = key
    return top


@kernel
def list_unit(state: State, u: int) -> None:
    """Look at this unit in (c) of this edge."""
    if state.unit[u, U_LISTED] == 0:
        state.unit[u, U_LISTED] = 1
        state.work[N_UNITS, state.scalars[N_UNITS]] = u
        state.scalars[N_UNITS] += 1


@kernel
def wake_unit(state: State, u: int) -> None:
    """Look at this unit in (c) of the next edge."""
    if state.unit[u, U_WOKEN] == 0:
        state.unit[u, U_WOKEN] = 1
        state.work[N_WAKE, state.scalars[N_WAKE]] = u
        state.scalars[N_WAKE] += 1


@kernel
def list_channel(state: State, c: int) -> None:
    """Serve this queue in (b) of this edge."""
    if state.channel[c, C_LISTED] == 0:
        state.channel[c, C_LISTED] = 1
        state.work[N_CHANNELS, state.scalars[N_CHANNELS]] = c
        state.scalars[N_CHANNELS] += 1


@kernel
def recheck_if_open(state: State, c: int) -> None:
    """List a queue for the next edge if it will then have room for a copy that waits."""
    row = state.channel[c]
    if row[C_WAITING] > 0 and row[C_ARRIVED] - row[C_FREED] < row[C_DEPTH] and row[C_RECHECK] == 0:
        row[C_RECHECK] = 1
        state.work[N_RECHECK, state.scalars[N_RECHECK]] = c
        state.scalars[N_RECHECK] += 1


@kernel
def came_in(state: State, c: int) -> None:
    """Count an element or packet, and let its destination look at it."""
    state.channel[c, C_ARRIVED] += 1
    if state.channel[c, C_DST] >= 0:
        state.work[N_PUSHED, state.scalars[N_PUSHED]] = c
        state.scalars[N_PUSHED] += 1
        list_unit(state, state.channel[c, C_DST])


@kernel
def arrive(tables: Tables, state: State, counts: Counts, record: Recorder, c: int, edge: int) -> None:
    """Rule (b): an element launched for this edge reaches its far end."""
    if record.arrival.size > 0:
        record.arrival[record.first_arrival[c] + state.channel[c, C_ARRIVED]] = edge
    state.scalars[LAST_EDGE] = edge
    state.scalars[LAST_MOVE] = edge
    came_in(state, c)
