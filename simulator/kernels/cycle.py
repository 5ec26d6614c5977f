"""The clock of one phase: event-driven, exact to the edge rules of docs/machine.md.

Time jumps to the earliest end of a service, or to the next edge if a token waits for a queue that changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]
Tables = Any  # the fields of simulator.program.PhaseTables

FINISHED, DEADLOCK = 0, 1
_FREE, _SERVING, _DONE = 0, 1, 2
#: Columns of ``State.unit``: the tables of a unit, its channels and lanes, and where it stands.
_U_TOKENS, _U_SERVICE, _U_PERIOD, _U_OUT, _U_OUT_END, _U_IN, _U_IN_END, _U_LANE, _U_LANE_END = range(9)
_U_NEXT, _U_FREE, _U_LISTED, _U_COLUMNS = range(9, 13)
#: Columns of ``State.channel``; ``_C_POSITION`` counts among the channels that leave the source.
_C_SRC, _C_DST, _C_DEPTH, _C_EMIT, _C_EMIT_PERIOD, _C_TAKE, _C_TAKE_PERIOD, _C_POSITION = range(8)
_C_QUEUE, _C_WAITING, _C_LISTED, _C_RECHECK, _C_COLUMNS = range(8, 13)
#: Columns of ``State.lane``: ``_L_SINCE`` is the edge since which ``_L_LOWEST`` is blamed.
_L_UNIT, _L_OWED, _L_STATE, _L_TOKEN, _L_END, _L_SINCE, _L_COPIES, _L_LOWEST, _L_COLUMNS = range(9)
#: Positions in ``State.scalars``; the first four are lengths of work lists, in the order of ``State.work``.
_N_CHANNELS, _N_RECHECK, _N_UNITS, _N_PUSHED, _N_HEAP, _LAST_EDGE, _UNFINISHED, _N_SCALARS = range(8)


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
    """Scratch of one phase; few arrays, because compile time grows with their number.

    Attributes:
        unit, channel, lane: one row each, columns ``_U_*``, ``_C_*``, ``_L_*``.
        out_channel, in_channel: channels grouped by source and by destination, ascending.
        owed: copies still owed; one flag a lane and channel that leaves its unit.
        heap: ends of service, keyed ``edge * lanes + lane``.
        work: lists of queues to serve at this edge, queues to serve at the next edge, units that may start,
            queues that took a token at this edge.
        scalars: list lengths, the last edge at which a lane was freed, tokens not yet finished.
    """

    unit: IntArray
    channel: IntArray
    lane: IntArray
    out_channel: IntArray
    in_channel: IntArray
    owed: NDArray[np.uint8]
    heap: IntArray
    work: IntArray
    service_values: IntArray
    flag_values: IntArray
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
def _unit_rows(tables: Tables, out_start: IntArray, in_start: IntArray) -> IntArray:
    unit = np.zeros((tables.unit.size, _U_COLUMNS), dtype=np.int64)
    n_lanes = 0
    for u in range(tables.unit.size):
        row = unit[u]
        row[_U_TOKENS] = tables.n_tokens[u]
        row[_U_SERVICE] = tables.service_start[u]
        row[_U_PERIOD] = tables.service_period[u]
        row[_U_OUT], row[_U_OUT_END] = out_start[u], out_start[u + 1]
        row[_U_IN], row[_U_IN_END] = in_start[u], in_start[u + 1]
        row[_U_LANE] = n_lanes
        n_lanes += tables.lanes[u]
        row[_U_LANE_END] = n_lanes
        row[_U_FREE] = tables.lanes[u]
    return unit


@kernel
def _channel_rows(tables: Tables, out_channel: IntArray, out_start: IntArray) -> IntArray:
    channel = np.zeros((tables.src.size, _C_COLUMNS), dtype=np.int64)
    for i in range(tables.src.size):
        c = out_channel[i]
        row = channel[c]
        row[_C_SRC], row[_C_DST], row[_C_DEPTH] = tables.src[c], tables.dst[c], tables.depth[c]
        row[_C_EMIT], row[_C_EMIT_PERIOD] = tables.emit_start[c], tables.emit_period[c]
        row[_C_TAKE], row[_C_TAKE_PERIOD] = tables.consume_start[c], tables.consume_period[c]
        row[_C_POSITION] = i - out_start[tables.src[c]]
    return channel


@kernel
def _new_state(tables: Tables) -> State:
    n_units, n_channels = tables.unit.size, tables.src.size
    out_start, out_channel = _group_channels(tables.src, n_units)
    in_start, in_channel = _group_channels(tables.dst, n_units)
    unit = _unit_rows(tables, out_start, in_start)
    lane = np.zeros((unit[n_units - 1, _U_LANE_END], _L_COLUMNS), dtype=np.int64)
    n_owed = 0
    for u in range(n_units):
        for i in range(unit[u, _U_LANE], unit[u, _U_LANE_END]):
            lane[i, _L_UNIT] = u
            lane[i, _L_OWED] = n_owed
            n_owed += out_start[u + 1] - out_start[u]
    scalars = np.zeros(_N_SCALARS, dtype=np.int64)
    for u in range(n_units):
        scalars[_UNFINISHED] += tables.n_tokens[u]
    return State(
        unit,
        _channel_rows(tables, out_channel, out_start),
        lane,
        out_channel,
        in_channel,
        np.zeros(n_owed, dtype=np.uint8),
        np.zeros(lane.shape[0], dtype=np.int64),
        np.zeros((4, max(n_units, n_channels)), dtype=np.int64),
        tables.service_values,
        tables.flag_values,
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
    if state.unit[u, _U_LISTED] == 0:
        state.unit[u, _U_LISTED] = 1
        state.work[_N_UNITS, state.scalars[_N_UNITS]] = u
        state.scalars[_N_UNITS] += 1


@kernel
def _list_channel(state: State, c: int) -> None:
    if state.channel[c, _C_LISTED] == 0:
        state.channel[c, _C_LISTED] = 1
        state.work[_N_CHANNELS, state.scalars[_N_CHANNELS]] = c
        state.scalars[_N_CHANNELS] += 1


@kernel
def _recheck_if_open(state: State, c: int) -> None:
    """List a queue for the next edge if it will then have room for a token that waits."""
    row = state.channel[c]
    if row[_C_WAITING] > 0 and row[_C_QUEUE] < row[_C_DEPTH] and row[_C_RECHECK] == 0:
        row[_C_RECHECK] = 1
        state.work[_N_RECHECK, state.scalars[_N_RECHECK]] = c
        state.scalars[_N_RECHECK] += 1


@kernel
def _free_lane(state: State, lane: int, edge: int) -> None:
    u = state.lane[lane, _L_UNIT]
    state.lane[lane, _L_STATE] = _FREE
    state.unit[u, _U_FREE] += 1
    state.scalars[_LAST_EDGE] = edge
    state.scalars[_UNFINISHED] -= 1
    _list_unit(state, u)


@kernel
def _finish_service(state: State, lane: int, edge: int) -> None:
    """Rule (a): a lane becomes done and owes copies, or is free at once."""
    row = state.lane[lane]
    unit = state.unit[row[_L_UNIT]]
    copies = 0
    for position in range(unit[_U_OUT_END] - unit[_U_OUT]):
        c = state.out_channel[unit[_U_OUT] + position]
        channel = state.channel[c]
        if state.flag_values[channel[_C_EMIT] + row[_L_TOKEN] % channel[_C_EMIT_PERIOD]] != 0:
            if copies == 0:
                row[_L_LOWEST] = position
            copies += 1
            state.owed[row[_L_OWED] + position] = 1
            channel[_C_WAITING] += 1
            _list_channel(state, c)
    if copies == 0:
        _free_lane(state, lane, edge)
        return
    row[_L_STATE] = _DONE
    row[_L_COPIES] = copies
    row[_L_SINCE] = edge


@kernel
def _oldest_lane(state: State, c: int) -> int:
    """Lane of the source whose token owes this queue a copy: done first, then lowest."""
    unit, position = state.unit[state.channel[c, _C_SRC]], state.channel[c, _C_POSITION]
    oldest = -1
    for i in range(unit[_U_LANE], unit[_U_LANE_END]):
        row = state.lane[i]
        owes = row[_L_STATE] == _DONE and state.owed[row[_L_OWED] + position] != 0
        if owes and (oldest < 0 or row[_L_END] < state.lane[oldest, _L_END]):
            oldest = i
    return oldest


@kernel
def _transfer(state: State, counts: Counts, c: int, edge: int) -> None:
    """Rule (b): a queue with room takes one copy."""
    channel = state.channel[c]
    if channel[_C_WAITING] == 0 or channel[_C_QUEUE] >= channel[_C_DEPTH]:
        return
    lane, position = _oldest_lane(state, c), channel[_C_POSITION]
    row = state.lane[lane]
    state.owed[row[_L_OWED] + position] = 0
    channel[_C_WAITING] -= 1
    channel[_C_QUEUE] += 1
    row[_L_COPIES] -= 1
    if row[_L_LOWEST] == position:
        counts.waited[c] += edge - row[_L_SINCE]
        row[_L_SINCE] = edge
        if row[_L_COPIES] > 0:
            while state.owed[row[_L_OWED] + position] == 0:
                position += 1
            row[_L_LOWEST] = position
    if row[_L_COPIES] == 0:
        _free_lane(state, lane, edge)
    state.work[_N_PUSHED, state.scalars[_N_PUSHED]] = c
    state.scalars[_N_PUSHED] += 1
    _list_unit(state, channel[_C_DST])


@kernel
def _takes(state: State, c: int, token: int) -> bool:
    """Whether a token of the destination takes the head of this queue."""
    channel = state.channel[c]
    return bool(state.flag_values[channel[_C_TAKE] + token % channel[_C_TAKE_PERIOD]] != 0)


@kernel
def _first_missing(state: State, u: int) -> int:
    """Lowest channel that the unit's next token needs and that is empty, -1 if none."""
    unit = state.unit[u]
    for i in range(unit[_U_IN], unit[_U_IN_END]):
        c = state.in_channel[i]
        if state.channel[c, _C_QUEUE] == 0 and _takes(state, c, unit[_U_NEXT]):
            return int(c)
    return -1


@kernel
def _start_tokens(state: State, counts: Counts, u: int, edge: int) -> None:
    """Rule (c): free lanes, lowest first, start tokens whose inputs are there."""
    unit, n_lanes = state.unit[u], state.lane.shape[0]
    lane = unit[_U_LANE]
    while unit[_U_FREE] > 0 and unit[_U_NEXT] < unit[_U_TOKENS]:
        if _first_missing(state, u) >= 0:
            return
        token = unit[_U_NEXT]
        for i in range(unit[_U_IN], unit[_U_IN_END]):
            c = state.in_channel[i]
            if _takes(state, c, token):
                state.channel[c, _C_QUEUE] -= 1
                _recheck_if_open(state, c)
        while state.lane[lane, _L_STATE] != _FREE:
            lane += 1
        service = state.service_values[unit[_U_SERVICE] + token % unit[_U_PERIOD]]
        row = state.lane[lane]
        row[_L_STATE] = _SERVING
        row[_L_TOKEN] = token
        row[_L_END] = edge + service
        unit[_U_NEXT] += 1
        unit[_U_FREE] -= 1
        counts.busy[u] += service
        _heap_push(state, (edge + service) * n_lanes + lane)


@kernel
def _do_edge(state: State, counts: Counts, edge: int) -> None:
    """Rules (a), (b), (c) at one edge; lists the queues to look at again at the next one."""
    n_lanes, scalars, work = state.lane.shape[0], state.scalars, state.work
    for i in range(scalars[_N_RECHECK]):
        c = work[_N_RECHECK, i]
        state.channel[c, _C_RECHECK] = 0
        _list_channel(state, c)
    scalars[_N_RECHECK] = 0
    while scalars[_N_HEAP] > 0 and state.heap[0] // n_lanes == edge:
        _finish_service(state, _heap_pop(state) % n_lanes, edge)
    for i in range(scalars[_N_CHANNELS]):
        c = work[_N_CHANNELS, i]
        state.channel[c, _C_LISTED] = 0
        _transfer(state, counts, c, edge)
    scalars[_N_CHANNELS] = 0
    for i in range(scalars[_N_UNITS]):
        u = work[_N_UNITS, i]
        state.unit[u, _U_LISTED] = 0
        _start_tokens(state, counts, u, edge)
    scalars[_N_UNITS] = 0
    for i in range(scalars[_N_PUSHED]):
        c = work[_N_PUSHED, i]
        counts.queue_peak[c] = max(counts.queue_peak[c], state.channel[c, _C_QUEUE])
        _recheck_if_open(state, c)
    scalars[_N_PUSHED] = 0


@kernel
def _report_waits(state: State, counts: Counts) -> None:
    for u in range(state.unit.shape[0]):
        unit = state.unit[u]
        counts.blocked[u] = -1
        counts.missing[u] = -1
        for lane in range(unit[_U_LANE], unit[_U_LANE_END]):
            if state.lane[lane, _L_STATE] == _DONE:
                counts.blocked[u] = state.out_channel[unit[_U_OUT] + state.lane[lane, _L_LOWEST]]
                break
        if unit[_U_NEXT] < unit[_U_TOKENS]:
            counts.missing[u] = _first_missing(state, u)


@kernel
def run_phase(tables: Tables, counts: Counts) -> tuple[int, int]:
    """Run a phase to its end; fills ``counts``.

    Returns:
        ``FINISHED`` and the edge at which the last token left its lane, or ``DEADLOCK`` and the last edge
        at which anything happened.
    """
    state = _new_state(tables)
    n_lanes = state.lane.shape[0]
    for u in range(state.unit.shape[0]):
        _list_unit(state, u)
    edge = 0
    while True:
        _do_edge(state, counts, edge)
        if state.scalars[_N_RECHECK] > 0:
            edge += 1
        elif state.scalars[_N_HEAP] > 0:
            edge = state.heap[0] // n_lanes
        else:
            break
    if state.scalars[_UNFINISHED] > 0:
        _report_waits(state, counts)
        return DEADLOCK, edge
    return FINISHED, state.scalars[_LAST_EDGE]
