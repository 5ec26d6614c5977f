"""What happens to a lane, a channel or a unit at one edge: ends of service, transfers, starts."""

from __future__ import annotations

from ._jit import kernel
from .cycle_state import (
    C_ARRIVED,
    C_BASE,
    C_BEFORE,
    C_DEPTH,
    C_DST,
    C_EMIT,
    C_EMIT_PERIOD,
    C_FREE,
    C_FREED,
    C_FREED_AT,
    C_HEAD,
    C_KIND,
    C_NEED,
    C_PERIOD,
    C_PHASE,
    C_POSITION,
    C_RESERVED,
    C_RING,
    C_SRC,
    C_STEP,
    C_WAITING,
    COMPUTE,
    DONE,
    END,
    FREE,
    INJECT,
    L_COPIES,
    L_END,
    L_GROUP,
    L_HOP,
    L_LOWEST,
    L_OWED,
    L_READY,
    L_RECORD,
    L_SINCE,
    L_STATE,
    L_TOKEN,
    L_UNIT,
    LAST_EDGE,
    LAST_MOVE,
    LINK,
    MOVING,
    ROUTE,
    SERVING,
    U_FAR,
    U_FAR_END,
    U_FREE,
    U_GROUP,
    U_GROUP_LEFT,
    U_HOP,
    U_IN,
    U_IN_END,
    U_LANE,
    U_LANE_END,
    U_NEXT,
    U_OUT,
    U_OUT_END,
    U_PERIOD,
    U_PHASE,
    U_ROLE,
    U_SERVICE,
    U_SPAN,
    U_SPAN_PERIOD,
    U_TOKENS,
    UNFINISHED,
    Counts,
    Recorder,
    State,
    Tables,
    came_in,
    heap_push,
    list_channel,
    list_unit,
    recheck_if_open,
    wake_unit,
)


@kernel
def _emits(tables: Tables, state: State, c: int, token: int) -> bool:
    """Whether a token of the source puts a copy into this queue or far end."""
    row = state.channel[c]
    if row[C_EMIT_PERIOD] == 1:
        return bool(tables.pattern_values[row[C_EMIT]] != 0)
    return bool(tables.pattern_values[row[C_EMIT] + token % row[C_EMIT_PERIOD]] != 0)


@kernel
def _free_lane(state: State, counts: Counts, record: Recorder, lane: int, edge: int) -> None:
    row = state.lane[lane]
    u = row[L_UNIT]
    row[L_STATE] = FREE
    unit = state.unit[u]
    unit[U_FREE] += 1
    state.scalars[LAST_EDGE] = edge
    state.scalars[LAST_MOVE] = edge
    state.scalars[UNFINISHED] -= 1
    if unit[U_SPAN] >= 0:
        counts.span_end[unit[U_SPAN], row[L_GROUP]] = max(counts.span_end[unit[U_SPAN], row[L_GROUP]], edge)
    if record.leave.size > 0:
        record.leave[row[L_RECORD]] = edge
    if unit[U_NEXT] < unit[U_TOKENS]:
        list_unit(state, u)


@kernel
def _launch(tables: Tables, state: State, counts: Counts, hop: int, packet: int, edge: int) -> None:
    """Rule (a): elements leave the mesh at this hop, ``hop_flits`` edges before they arrive."""
    due = edge + tables.hop_flits[hop]
    n_lanes = state.lane.shape[0]
    for i in range(tables.deliver_start[hop], tables.deliver_start[hop + 1]):
        c = tables.deliver[i]
        if not _emits(tables, state, c, packet):
            continue
        heap_push(state, due * (n_lanes + state.channel.shape[0]) + n_lanes + c)
        source = state.unit[state.channel[c, C_SRC]]
        if source[U_SPAN] >= 0:
            group = packet // source[U_SPAN_PERIOD]
            counts.span_end[source[U_SPAN], group] = max(counts.span_end[source[U_SPAN], group], due)


@kernel
def _owe(tables: Tables, state: State, lane: int) -> int:
    """Copies that a token owes from now on."""
    row = state.lane[lane]
    unit = state.unit[row[L_UNIT]]
    copies = 0
    if unit[U_ROLE] == COMPUTE:
        for i in range(unit[U_OUT], unit[U_OUT_END]):
            c = state.out_channel[i]
            if _emits(tables, state, c, row[L_TOKEN]):
                copies += 1
                state.owed[row[L_OWED] + i - unit[U_OUT]] = 1
                state.channel[c, C_WAITING] += 1
                list_channel(state, c)
        return copies
    for i in range(tables.child_start[row[L_HOP]], tables.child_start[row[L_HOP] + 1]):
        c = tables.hop_channel[tables.child[i]]
        state.owed[row[L_OWED] + copies] = 1
        copies += 1
        state.channel[c, C_WAITING] += 1
        list_channel(state, c)
    return copies


@kernel
def _lowest_owed(tables: Tables, state: State, lane: int) -> int:
    """Lowest channel to which a lane owes a copy."""
    row = state.lane[lane]
    unit = state.unit[row[L_UNIT]]
    if unit[U_ROLE] == COMPUTE:
        for i in range(unit[U_OUT_END] - unit[U_OUT]):
            if state.owed[row[L_OWED] + i] != 0:
                return int(state.out_channel[unit[U_OUT] + i])
    lowest = -1
    first = tables.child_start[row[L_HOP]]
    for i in range(tables.child_start[row[L_HOP] + 1] - first):
        c = tables.hop_channel[tables.child[first + i]]
        if state.owed[row[L_OWED] + i] != 0 and (lowest < 0 or c < lowest):
            lowest = c
    return int(lowest)


@kernel
def finish_lane(tables: Tables, state: State, counts: Counts, record: Recorder, lane: int, edge: int) -> None:
    """Rule (a): the lead or the service of a lane's token ends."""
    row = state.lane[lane]
    state.scalars[LAST_MOVE] = edge
    if row[L_STATE] == SERVING:
        row[L_COPIES] = _owe(tables, state, lane)
        if state.unit[row[L_UNIT], U_ROLE] != COMPUTE:
            _launch(tables, state, counts, row[L_HOP], row[L_TOKEN], edge)
        if row[L_END] > edge:
            row[L_STATE] = MOVING
            heap_push(state, row[L_END] * (state.lane.shape[0] + state.channel.shape[0]) + lane)
            return
    if row[L_COPIES] == 0:
        _free_lane(state, counts, record, lane, edge)
        return
    row[L_STATE] = DONE
    row[L_SINCE] = edge
    row[L_LOWEST] = _lowest_owed(tables, state, lane)


@kernel
def _oldest_lane(tables: Tables, state: State, c: int) -> tuple[int, int]:
    """Lane of the source whose token owes this queue a copy (first ready, then lowest), and the flag's place."""
    unit = state.unit[state.channel[c, C_SRC]]
    if unit[U_ROLE] != COMPUTE:
        hop = state.lane[unit[U_LANE], L_HOP]
        place = 0
        while tables.hop_channel[tables.child[tables.child_start[hop] + place]] != c:
            place += 1
        return unit[U_LANE], place
    position = state.channel[c, C_POSITION]
    oldest = -1
    for i in range(unit[U_LANE], unit[U_LANE_END]):
        row = state.lane[i]
        owes = row[L_STATE] >= MOVING and state.owed[row[L_OWED] + position] != 0
        if owes and (oldest < 0 or row[L_READY] < state.lane[oldest, L_READY]):
            oldest = i
    return oldest, position


@kernel
def _push_packet(tables: Tables, state: State, c: int, lane: int, place: int, edge: int) -> None:
    """Put a packet into the ring of a router queue: its next hop, its number, and when it came."""
    channel, row = state.channel[c], state.lane[lane]
    slot = (channel[C_HEAD] + channel[C_ARRIVED] - channel[C_FREED]) % channel[C_DEPTH]
    entry = state.ring[channel[C_RING] + slot]
    entry[0] = tables.child[tables.child_start[row[L_HOP]] + place]
    entry[1] = row[L_TOKEN]
    entry[2] = edge


@kernel
def transfer(tables: Tables, state: State, counts: Counts, record: Recorder, c: int, edge: int) -> None:
    """Rule (b): a queue with room takes one copy."""
    channel = state.channel[c]
    if channel[C_WAITING] == 0 or channel[C_ARRIVED] - channel[C_FREED] >= channel[C_DEPTH]:
        return
    lane, place = _oldest_lane(tables, state, c)
    row = state.lane[lane]
    state.owed[row[L_OWED] + place] = 0
    channel[C_WAITING] -= 1
    row[L_COPIES] -= 1
    state.scalars[LAST_MOVE] = edge
    if channel[C_KIND] == ROUTE:
        _push_packet(tables, state, c, lane, place, edge)
    elif record.arrival.size > 0:
        record.arrival[record.first_arrival[c] + channel[C_ARRIVED]] = edge
    came_in(state, c)
    if row[L_STATE] == DONE:
        if row[L_LOWEST] == c:
            counts.waited[c] += edge - row[L_SINCE]
            row[L_SINCE] = edge
            row[L_LOWEST] = _lowest_owed(tables, state, lane)
        if row[L_COPIES] == 0:
            _free_lane(state, counts, record, lane, edge)


@kernel
def missing_channel(tables: Tables, state: State, u: int) -> int:
    """Lowest channel that lacks elements for the unit's next token, -1 if none (or a router output)."""
    unit = state.unit[u]
    if unit[U_ROLE] == LINK or unit[U_NEXT] >= unit[U_TOKENS]:
        return -1
    for i in range(unit[U_IN], unit[U_IN_END]):
        row = state.channel[state.in_channel[i]]
        if row[C_ARRIVED] < tables.pattern_values[row[C_NEED] + row[C_PHASE]] + row[C_BASE]:
            return int(state.in_channel[i])
    return -1


@kernel
def blocked_channel(tables: Tables, state: State, u: int) -> int:
    """Lowest channel owed by the lowest lane whose token could move on, -1 if none."""
    for lane in range(state.unit[u, U_LANE], state.unit[u, U_LANE_END]):
        if state.lane[lane, L_STATE] >= MOVING and state.lane[lane, L_COPIES] > 0:
            return _lowest_owed(tables, state, lane)
    return -1


@kernel
def full_far_end(tables: Tables, state: State, u: int, edge: int) -> int:
    """Lowest far end without room for an interface's next packet before (c) of this edge, -1 if none."""
    unit = state.unit[u]
    if unit[U_ROLE] != INJECT or unit[U_NEXT] >= unit[U_TOKENS]:
        return -1
    for i in range(unit[U_FAR], unit[U_FAR_END]):
        c = state.far_channel[i]
        row = state.channel[c]
        gone = row[C_BEFORE] if row[C_FREED_AT] == edge else row[C_FREED]
        if row[C_RESERVED] - gone >= row[C_DEPTH] and _emits(tables, state, c, unit[U_NEXT]):
            return int(c)
    return -1


@kernel
def _take_elements(tables: Tables, state: State, u: int, edge: int) -> None:
    """Elements go from every channel that the starting token empties; the next token's needs are looked up."""
    unit = state.unit[u]
    for i in range(unit[U_IN], unit[U_IN_END]):
        c = state.in_channel[i]
        row = state.channel[c]
        if row[C_KIND] == END:
            if row[C_FREED_AT] != edge:
                row[C_FREED_AT] = edge
                row[C_BEFORE] = row[C_FREED]
            if state.unit[row[C_SRC], U_FREE] > 0:
                wake_unit(state, row[C_SRC])
        row[C_FREED] = tables.pattern_values[row[C_FREE] + row[C_PHASE]] + row[C_BASE]
        row[C_PHASE] += 1
        if row[C_PHASE] == row[C_PERIOD]:
            row[C_PHASE] = 0
            row[C_BASE] += row[C_STEP]
        recheck_if_open(state, c)


@kernel
def _reserve(tables: Tables, state: State, u: int) -> None:
    unit = state.unit[u]
    for i in range(unit[U_FAR], unit[U_FAR_END]):
        if _emits(tables, state, state.far_channel[i], unit[U_NEXT]):
            state.channel[state.far_channel[i], C_RESERVED] += 1


@kernel
def _begin(state: State, counts: Counts, record: Recorder, lane: int, edge: int, lead: int, service: int) -> None:
    """A lane starts its token; ``L_TOKEN`` and ``L_HOP`` are set."""
    row = state.lane[lane]
    u = row[L_UNIT]
    unit = state.unit[u]
    row[L_STATE] = SERVING
    row[L_READY] = edge + lead
    row[L_END] = edge + service
    if unit[U_SPAN] >= 0:
        if unit[U_GROUP_LEFT] == 0:
            unit[U_GROUP] += 1
            unit[U_GROUP_LEFT] = unit[U_SPAN_PERIOD]
        unit[U_GROUP_LEFT] -= 1
        row[L_GROUP] = unit[U_GROUP]
        first = counts.span_start[unit[U_SPAN], unit[U_GROUP]]
        if first < 0 or edge < first:
            counts.span_start[unit[U_SPAN], unit[U_GROUP]] = edge
    if record.start.size > 0:
        row[L_RECORD] = record.first_token[u] + unit[U_NEXT]
        record.start[row[L_RECORD]] = edge
        record.hop[row[L_RECORD]] = row[L_HOP]
        record.packet[row[L_RECORD]] = row[L_TOKEN]
    unit[U_NEXT] += 1
    unit[U_FREE] -= 1
    counts.busy[u] += service
    counts.served[u] += 1
    state.scalars[LAST_MOVE] = edge
    heap_push(state, row[L_READY] * (state.lane.shape[0] + state.channel.shape[0]) + lane)


@kernel
def _start_packet(tables: Tables, state: State, counts: Counts, record: Recorder, u: int, edge: int) -> None:
    """Rule (c) of a router output: the packet that came first, of several that of the lowest queue."""
    unit = state.unit[u]
    chosen, earliest = -1, 0
    for i in range(unit[U_IN], unit[U_IN_END]):
        c = state.in_channel[i]
        row = state.channel[c]
        if row[C_ARRIVED] > row[C_FREED]:
            came = state.ring[row[C_RING] + row[C_HEAD], 2]
            if chosen < 0 or came < earliest:
                chosen, earliest = c, came
    if chosen < 0:
        return
    row = state.channel[chosen]
    entry = state.ring[row[C_RING] + row[C_HEAD]]
    row[C_HEAD] = (row[C_HEAD] + 1) % row[C_DEPTH]
    row[C_FREED] += 1
    recheck_if_open(state, chosen)
    lane, hop = unit[U_LANE], entry[0]
    state.lane[lane, L_HOP] = hop
    state.lane[lane, L_TOKEN] = entry[1]
    if record.start.size > 0:
        record.came[record.first_token[u] + unit[U_NEXT]] = earliest
    _begin(state, counts, record, lane, edge, tables.hop_lead[hop], tables.hop_service[hop])


@kernel
def start_tokens(tables: Tables, state: State, counts: Counts, record: Recorder, u: int, edge: int) -> None:
    """Rule (c): free lanes, lowest first, start what can start."""
    unit = state.unit[u]
    if unit[U_ROLE] == LINK:
        if unit[U_FREE] > 0:
            _start_packet(tables, state, counts, record, u, edge)
        return
    lane = unit[U_LANE]
    while unit[U_FREE] > 0 and unit[U_NEXT] < unit[U_TOKENS]:
        if missing_channel(tables, state, u) >= 0 or full_far_end(tables, state, u, edge) >= 0:
            return
        while state.lane[lane, L_STATE] != FREE:
            lane += 1
        if unit[U_ROLE] == INJECT:
            _reserve(tables, state, u)
            lead, service = tables.hop_lead[unit[U_HOP]], tables.hop_service[unit[U_HOP]]
            state.lane[lane, L_HOP] = unit[U_HOP]
        else:
            lead = service = tables.service_values[unit[U_SERVICE] + unit[U_PHASE]]
            unit[U_PHASE] += 1
            if unit[U_PHASE] == unit[U_PERIOD]:
                unit[U_PHASE] = 0
        state.lane[lane, L_TOKEN] = unit[U_NEXT]
        _take_elements(tables, state, u, edge)
        _begin(state, counts, record, lane, edge, lead, service)
