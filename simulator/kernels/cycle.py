"""The clock of one phase: event-driven, exact to the edge rules of docs/machine.md.

Time jumps from one edge with something to do to the next: the earliest end of a service, or the edge after
a queue changed while a token waits for it. ``Tables`` is any NamedTuple with the fields of
``simulator.program.PhaseTables``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]
Tables = Any

FINISHED, DEADLOCK = 0, 1
_FREE, _SERVING, _DONE = 0, 1, 2
#: Positions in ``State.scalars``.
_N_HEAP, _N_CHANNELS, _N_RECHECK, _N_UNITS, _N_PUSHED, _LAST_EDGE, _UNFINISHED = 0, 1, 2, 3, 4, 5, 6
_N_SCALARS = 7


class Counts(NamedTuple):
    """What a phase reports; the caller allocates zeros.

    Attributes:
        busy: (units,) lane cycles of service.
        waited: (channels,) lane cycles that done tokens of the source were held, blamed on the channel.
        queue_peak: (channels,) most tokens held after the starts of an edge.
        blocked: (units,) after a deadlock, the channel that holds up the unit's lowest waiting lane, else -1.
        missing: (units,) after a deadlock, the lowest empty channel that its next token needs, else -1.
    """

    busy: IntArray
    waited: IntArray
    queue_peak: IntArray
    blocked: IntArray
    missing: IntArray


class State(NamedTuple):
    """Scratch of one phase. Lanes and owed flags of all units lie in one array each.

    Attributes:
        out_start, out_channel: channels that leave each unit, ascending.
        in_start, in_channel: channels that enter each unit, ascending.
        lane_start: (units + 1,) first lane of each unit.
        lane_unit: (lanes,) unit of a lane.
        owed_start: (lanes,) first owed flag of a lane; one flag a channel that leaves its unit.
        lane_state, lane_token, lane_end, lane_since: (lanes,) free, serving or done; the token; the edge at
            which its service ends; the edge since which its lowest owed channel is blamed.
        lane_owed, lane_lowest: (lanes,) copies still owed; lowest of their channels, position in the unit.
        owed: copies still owed.
        out_position: (channels,) position of a channel among those that leave its source.
        queue, waiting: (channels,) tokens held; done tokens of the source that owe it a copy.
        next_token, free_lanes: (units,).
        heap: ends of service, keyed ``edge * lanes + lane``.
        channels, recheck, units, pushed: work lists of this edge, the next edge, this edge, this edge.
        channel_listed, recheck_listed, unit_listed: whether an entry is in its list.
        scalars: list lengths, the last edge at which a lane was freed, tokens not yet finished.
    """

    out_start: IntArray
    out_channel: IntArray
    in_start: IntArray
    in_channel: IntArray
    lane_start: IntArray
    lane_unit: IntArray
    owed_start: IntArray
    lane_state: IntArray
    lane_token: IntArray
    lane_end: IntArray
    lane_since: IntArray
    lane_owed: IntArray
    lane_lowest: IntArray
    owed: NDArray[np.uint8]
    out_position: IntArray
    queue: IntArray
    waiting: IntArray
    next_token: IntArray
    free_lanes: IntArray
    heap: IntArray
    channels: IntArray
    recheck: IntArray
    units: IntArray
    pushed: IntArray
    channel_listed: NDArray[np.uint8]
    recheck_listed: NDArray[np.uint8]
    unit_listed: NDArray[np.uint8]
    scalars: IntArray


@kernel
def _group_channels(ends: IntArray, n_units: int) -> tuple[IntArray, IntArray]:
    """Channels sorted by one of their ends (stable): start of each unit, and the channels."""
    start = np.zeros(n_units + 1, dtype=np.int64)
    for c in range(ends.size):
        start[ends[c] + 1] += 1
    for u in range(n_units):
        start[u + 1] += start[u]
    fill = start.copy()
    channels = np.empty(ends.size, dtype=np.int64)
    for c in range(ends.size):
        channels[fill[ends[c]]] = c
        fill[ends[c]] += 1
    return start, channels


@kernel
def _new_state(tables: Tables) -> State:
    n_units, n_channels = tables.unit.size, tables.src.size
    out_start, out_channel = _group_channels(tables.src, n_units)
    in_start, in_channel = _group_channels(tables.dst, n_units)
    out_position = np.zeros(n_channels, dtype=np.int64)
    lane_start = np.zeros(n_units + 1, dtype=np.int64)
    for u in range(n_units):
        lane_start[u + 1] = lane_start[u] + tables.lanes[u]
        for i in range(out_start[u], out_start[u + 1]):
            out_position[out_channel[i]] = i - out_start[u]
    n_lanes = lane_start[n_units]
    lane_unit = np.zeros(n_lanes, dtype=np.int64)
    owed_start = np.zeros(n_lanes, dtype=np.int64)
    n_owed = 0
    for u in range(n_units):
        for lane in range(lane_start[u], lane_start[u + 1]):
            lane_unit[lane] = u
            owed_start[lane] = n_owed
            n_owed += out_start[u + 1] - out_start[u]
    scalars = np.zeros(_N_SCALARS, dtype=np.int64)
    scalars[_UNFINISHED] = tables.n_tokens.sum()
    return State(
        out_start,
        out_channel,
        in_start,
        in_channel,
        lane_start,
        lane_unit,
        owed_start,
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_owed, dtype=np.uint8),
        out_position,
        np.zeros(n_channels, dtype=np.int64),
        np.zeros(n_channels, dtype=np.int64),
        np.zeros(n_units, dtype=np.int64),
        tables.lanes.copy(),
        np.zeros(n_lanes, dtype=np.int64),
        np.zeros(n_channels, dtype=np.int64),
        np.zeros(n_channels, dtype=np.int64),
        np.zeros(n_units, dtype=np.int64),
        np.zeros(n_channels, dtype=np.int64),
        np.zeros(n_channels, dtype=np.uint8),
        np.zeros(n_channels, dtype=np.uint8),
        np.zeros(n_units, dtype=np.uint8),
        scalars,
    )


@kernel
def _heap_push(state: State, key: int) -> None:
    heap, i = state.heap, state.scalars[_N_HEAP]
    state.scalars[_N_HEAP] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@kernel
def _heap_pop(state: State) -> int:
    heap = state.heap
    top: int = heap[0]
    state.scalars[_N_HEAP] -= 1
    n = state.scalars[_N_HEAP]
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
def _list_unit(state: State, u: int) -> None:
    if state.unit_listed[u] == 0:
        state.unit_listed[u] = 1
        state.units[state.scalars[_N_UNITS]] = u
        state.scalars[_N_UNITS] += 1


@kernel
def _list_channel(state: State, c: int) -> None:
    if state.channel_listed[c] == 0:
        state.channel_listed[c] = 1
        state.channels[state.scalars[_N_CHANNELS]] = c
        state.scalars[_N_CHANNELS] += 1


@kernel
def _recheck_if_open(tables: Tables, state: State, c: int) -> None:
    """List a queue for the next edge if it will then have room for a token that waits."""
    if state.waiting[c] > 0 and state.queue[c] < tables.depth[c] and state.recheck_listed[c] == 0:
        state.recheck_listed[c] = 1
        state.recheck[state.scalars[_N_RECHECK]] = c
        state.scalars[_N_RECHECK] += 1


@kernel
def _free_lane(state: State, lane: int, edge: int) -> None:
    u = state.lane_unit[lane]
    state.lane_state[lane] = _FREE
    state.free_lanes[u] += 1
    state.scalars[_LAST_EDGE] = edge
    state.scalars[_UNFINISHED] -= 1
    _list_unit(state, u)


@kernel
def _finish_service(tables: Tables, state: State, lane: int, edge: int) -> None:
    """Rule (a): a lane becomes done and owes copies, or is free at once."""
    u, token = state.lane_unit[lane], state.lane_token[lane]
    first, base, n_owed = state.out_start[u], state.owed_start[lane], 0
    for i in range(first, state.out_start[u + 1]):
        c = state.out_channel[i]
        if tables.flag_values[tables.emit_start[c] + token % tables.emit_period[c]] != 0:
            if n_owed == 0:
                state.lane_lowest[lane] = i - first
            n_owed += 1
            state.owed[base + i - first] = 1
            state.waiting[c] += 1
            _list_channel(state, c)
    if n_owed == 0:
        _free_lane(state, lane, edge)
        return
    state.lane_state[lane] = _DONE
    state.lane_owed[lane] = n_owed
    state.lane_since[lane] = edge


@kernel
def _transfer(tables: Tables, state: State, counts: Counts, c: int, edge: int) -> None:
    """Rule (b): a queue with room takes one copy, of the token that was done first, then the lowest lane."""
    if state.waiting[c] == 0 or state.queue[c] >= tables.depth[c]:
        return
    u, position = tables.src[c], state.out_position[c]
    lane = -1
    for candidate in range(state.lane_start[u], state.lane_start[u + 1]):
        if (
            state.lane_state[candidate] == _DONE
            and state.owed[state.owed_start[candidate] + position] != 0
            and (lane < 0 or state.lane_end[candidate] < state.lane_end[lane])
        ):
            lane = candidate
    base = state.owed_start[lane]
    state.owed[base + position] = 0
    state.waiting[c] -= 1
    state.queue[c] += 1
    state.lane_owed[lane] -= 1
    if state.lane_lowest[lane] == position:
        counts.waited[c] += edge - state.lane_since[lane]
        state.lane_since[lane] = edge
        if state.lane_owed[lane] > 0:
            while state.owed[base + position] == 0:
                position += 1
            state.lane_lowest[lane] = position
    if state.lane_owed[lane] == 0:
        _free_lane(state, lane, edge)
    state.pushed[state.scalars[_N_PUSHED]] = c
    state.scalars[_N_PUSHED] += 1
    _list_unit(state, tables.dst[c])


@kernel
def _first_missing(tables: Tables, state: State, u: int) -> int:
    """Lowest channel that the unit's next token needs and that is empty, -1 if none."""
    token = state.next_token[u]
    for i in range(state.in_start[u], state.in_start[u + 1]):
        c = state.in_channel[i]
        if state.queue[c] == 0 and tables.flag_values[tables.consume_start[c] + token % tables.consume_period[c]] != 0:
            return c
    return -1


@kernel
def _start_tokens(tables: Tables, state: State, counts: Counts, u: int, edge: int) -> None:
    """Rule (c): free lanes, lowest first, start tokens whose inputs are there."""
    lane, n_lanes = state.lane_start[u], state.lane_unit.size
    while state.free_lanes[u] > 0 and state.next_token[u] < tables.n_tokens[u]:
        if _first_missing(tables, state, u) >= 0:
            return
        token = state.next_token[u]
        for i in range(state.in_start[u], state.in_start[u + 1]):
            c = state.in_channel[i]
            if tables.flag_values[tables.consume_start[c] + token % tables.consume_period[c]] != 0:
                state.queue[c] -= 1
                _recheck_if_open(tables, state, c)
        while state.lane_state[lane] != _FREE:
            lane += 1
        service = tables.service_values[tables.service_start[u] + token % tables.service_period[u]]
        state.lane_state[lane] = _SERVING
        state.lane_token[lane] = token
        state.lane_end[lane] = edge + service
        state.next_token[u] += 1
        state.free_lanes[u] -= 1
        counts.busy[u] += service
        _heap_push(state, (edge + service) * n_lanes + lane)


@kernel
def _do_edge(tables: Tables, state: State, counts: Counts, edge: int) -> None:
    """Rules (a), (b), (c) at one edge; lists the queues to look at again at the next one."""
    n_lanes, scalars = state.lane_unit.size, state.scalars
    for i in range(scalars[_N_RECHECK]):
        c = state.recheck[i]
        state.recheck_listed[c] = 0
        _list_channel(state, c)
    scalars[_N_RECHECK] = 0
    while scalars[_N_HEAP] > 0 and state.heap[0] // n_lanes == edge:
        _finish_service(tables, state, _heap_pop(state) % n_lanes, edge)
    for i in range(scalars[_N_CHANNELS]):
        c = state.channels[i]
        state.channel_listed[c] = 0
        _transfer(tables, state, counts, c, edge)
    scalars[_N_CHANNELS] = 0
    for i in range(scalars[_N_UNITS]):
        u = state.units[i]
        state.unit_listed[u] = 0
        _start_tokens(tables, state, counts, u, edge)
    scalars[_N_UNITS] = 0
    for i in range(scalars[_N_PUSHED]):
        c = state.pushed[i]
        counts.queue_peak[c] = max(counts.queue_peak[c], state.queue[c])
        _recheck_if_open(tables, state, c)
    scalars[_N_PUSHED] = 0


@kernel
def _report_waits(tables: Tables, state: State, counts: Counts) -> None:
    for u in range(tables.unit.size):
        counts.blocked[u] = -1
        counts.missing[u] = -1
        for lane in range(state.lane_start[u], state.lane_start[u + 1]):
            if state.lane_state[lane] == _DONE:
                counts.blocked[u] = state.out_channel[state.out_start[u] + state.lane_lowest[lane]]
                break
        if state.next_token[u] < tables.n_tokens[u]:
            counts.missing[u] = _first_missing(tables, state, u)


@kernel
def run_phase(tables: Tables, counts: Counts) -> tuple[int, int]:
    """Run a phase to its end; fills ``counts``.

    Returns:
        ``FINISHED`` and the edge at which the last token left its lane, or ``DEADLOCK`` and the last edge
        at which anything happened.
    """
    state = _new_state(tables)
    n_lanes = state.lane_unit.size
    for u in range(tables.unit.size):
        _list_unit(state, u)
    edge = 0
    _do_edge(tables, state, counts, edge)
    while state.scalars[_N_RECHECK] > 0 or state.scalars[_N_HEAP] > 0:
        edge = edge + 1 if state.scalars[_N_RECHECK] > 0 else state.heap[0] // n_lanes
        _do_edge(tables, state, counts, edge)
    if state.scalars[_UNFINISHED] > 0:
        _report_waits(tables, state, counts)
        return DEADLOCK, edge
    return FINISHED, state.scalars[_LAST_EDGE]
