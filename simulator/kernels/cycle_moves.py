"""What happens to a lane, a channel or a unit at one edge: ends of service, transfers, starts.

Arguments ``u``, ``c``, ``lane`` and ``hop`` are addresses in the memory ``m``.
"""

from __future__ import annotations

from . import cycle_memory as k
from ._jit import kernel
from .cycle_memory import Memory


@kernel
def _emits(m: Memory, c: int, token: int) -> bool:
    """Whether a token of the source puts a copy into this queue or far end."""
    if m[c + k.C_EMIT_PERIOD] == 1:
        return bool(m[m[c + k.C_EMIT]] != 0)
    return bool(m[m[c + k.C_EMIT] + token % m[c + k.C_EMIT_PERIOD]] != 0)


@kernel
def _latest(m: Memory, u: int, group: int, edge: int) -> None:
    """Move the end of a span of this unit."""
    at = m[u + k.U_SPAN] + m[k.SPAN_ENDS] - m[k.SPANS] + group
    m[at] = max(m[at], edge)


@kernel
def _free_lane(m: Memory, lane: int, edge: int) -> None:
    u = m[lane + k.L_UNIT]
    m[lane + k.L_STATE] = k.FREE
    m[u + k.U_FREE] += 1
    m[k.LAST_EDGE] = edge
    m[k.LAST_MOVE] = edge
    m[k.UNFINISHED] -= 1
    if m[u + k.U_SPAN] >= 0:
        _latest(m, u, m[lane + k.L_GROUP], edge)
    if m[k.RECORDS] != 0:
        m[m[lane + k.L_RECORD] + k.R_LEAVE] = edge
    if m[u + k.U_NEXT] < m[u + k.U_TOKENS]:
        k.list_unit(m, u)


@kernel
def _launch(m: Memory, hop: int, packet: int, edge: int) -> None:
    """Rule (a): elements leave the mesh at this hop, ``H_FLITS`` edges before they arrive."""
    due = edge + m[hop + k.H_FLITS]
    for i in range(m[hop + k.H_DELIVER], m[hop + k.H_DELIVER_END]):
        c = m[i]
        if not _emits(m, c, packet):
            continue
        k.heap_push(m, due, c)
        u = m[c + k.C_SRC]
        if m[u + k.U_SPAN] >= 0:
            _latest(m, u, packet // m[u + k.U_SPAN_PERIOD], due)


@kernel
def _owe(m: Memory, lane: int, u: int) -> int:
    """Copies that a token owes from now on."""
    copies = 0
    owed = m[lane + k.L_OWED]
    if m[u + k.U_ROLE] == k.COMPUTE:
        first = m[u + k.U_OUT]
        for i in range(first, m[u + k.U_OUT_END]):
            c = m[i]
            if _emits(m, c, m[lane + k.L_TOKEN]):
                copies += 1
                m[owed + i - first] = 1
                m[c + k.C_WAITING] += 1
                k.list_channel(m, c)
        return copies
    hop = m[lane + k.L_HOP]
    for i in range(m[hop + k.H_CHILD], m[hop + k.H_CHILD_END]):
        c = m[m[i] + k.H_CHANNEL]
        m[owed + copies] = 1
        copies += 1
        m[c + k.C_WAITING] += 1
        k.list_channel(m, c)
    return copies


@kernel
def _lowest_owed(m: Memory, lane: int) -> int:
    """Lowest channel to which a lane owes a copy, -1 if none."""
    u, owed = m[lane + k.L_UNIT], m[lane + k.L_OWED]
    if m[u + k.U_ROLE] == k.COMPUTE:
        first = m[u + k.U_OUT]
        for i in range(first, m[u + k.U_OUT_END]):
            if m[owed + i - first] != 0:
                return int(m[i])
        return -1
    lowest = -1
    first = m[m[lane + k.L_HOP] + k.H_CHILD]
    for i in range(first, m[m[lane + k.L_HOP] + k.H_CHILD_END]):
        c = m[m[i] + k.H_CHANNEL]
        if m[owed + i - first] != 0 and (lowest < 0 or c < lowest):
            lowest = c
    return lowest


@kernel
def finish_lane(m: Memory, lane: int, edge: int) -> None:
    """Rule (a): the lead or the service of a lane's token ends."""
    u = m[lane + k.L_UNIT]
    m[k.LAST_MOVE] = edge
    if m[lane + k.L_STATE] == k.SERVING:
        m[lane + k.L_COPIES] = _owe(m, lane, u)
        if m[u + k.U_ROLE] != k.COMPUTE:
            _launch(m, m[lane + k.L_HOP], m[lane + k.L_TOKEN], edge)
        if m[lane + k.L_END] > edge:
            m[lane + k.L_STATE] = k.MOVING
            k.heap_push(m, m[lane + k.L_END], lane)
            return
    if m[lane + k.L_COPIES] == 0:
        _free_lane(m, lane, edge)
        return
    m[lane + k.L_STATE] = k.DONE
    m[lane + k.L_SINCE] = edge
    m[lane + k.L_LOWEST] = _lowest_owed(m, lane)


@kernel
def arrive(m: Memory, c: int, edge: int) -> None:
    """Rule (b): an element launched for this edge reaches its far end."""
    if m[k.RECORDS] != 0:
        m[m[c + k.C_RECORD] + m[c + k.C_ARRIVED]] = edge
    m[k.LAST_EDGE] = edge
    m[k.LAST_MOVE] = edge
    k.came_in(m, c)


@kernel
def _oldest_lane(m: Memory, c: int) -> tuple[int, int]:
    """Lane of the source whose token owes this queue a copy (first ready, then lowest), and the flag's place."""
    u = m[c + k.C_SRC]
    lane = m[u + k.U_LANE]
    if m[u + k.U_ROLE] != k.COMPUTE:
        child = m[m[lane + k.L_HOP] + k.H_CHILD]
        place = 0
        while m[m[child + place] + k.H_CHANNEL] != c:
            place += 1
        return lane, place
    position = m[c + k.C_POSITION]
    oldest = -1
    while lane < m[u + k.U_LANE_END]:
        owes = m[lane + k.L_STATE] >= k.MOVING and m[m[lane + k.L_OWED] + position] != 0
        if owes and (oldest < 0 or m[lane + k.L_READY] < m[oldest + k.L_READY]):
            oldest = lane
        lane += k.L_FIELDS
    return oldest, position


@kernel
def _push_packet(m: Memory, c: int, lane: int, place: int, edge: int) -> None:
    """Put a packet into a router queue: its next hop, its number, and when it came."""
    slot = (m[c + k.C_HEAD] + m[c + k.C_ARRIVED] - m[c + k.C_FREED]) % m[c + k.C_DEPTH]
    packet = m[c + k.C_RING] + slot * k.P_FIELDS
    m[packet + k.P_HOP] = m[m[m[lane + k.L_HOP] + k.H_CHILD] + place]
    m[packet + k.P_PACKET] = m[lane + k.L_TOKEN]
    m[packet + k.P_CAME] = edge


@kernel
def transfer(m: Memory, c: int, edge: int) -> None:
    """Rule (b): a queue with room takes one copy."""
    if m[c + k.C_WAITING] == 0 or m[c + k.C_ARRIVED] - m[c + k.C_FREED] >= m[c + k.C_DEPTH]:
        return
    lane, place = _oldest_lane(m, c)
    m[m[lane + k.L_OWED] + place] = 0
    m[c + k.C_WAITING] -= 1
    m[lane + k.L_COPIES] -= 1
    m[k.LAST_MOVE] = edge
    if m[c + k.C_KIND] == k.ROUTE:
        _push_packet(m, c, lane, place, edge)
    elif m[k.RECORDS] != 0:
        m[m[c + k.C_RECORD] + m[c + k.C_ARRIVED]] = edge
    k.came_in(m, c)
    if m[lane + k.L_STATE] == k.DONE:
        if m[lane + k.L_LOWEST] == c:
            m[c + k.C_WAITED] += edge - m[lane + k.L_SINCE]
            m[lane + k.L_SINCE] = edge
            m[lane + k.L_LOWEST] = _lowest_owed(m, lane)
        if m[lane + k.L_COPIES] == 0:
            _free_lane(m, lane, edge)


@kernel
def missing_channel(m: Memory, u: int) -> int:
    """Lowest channel that lacks elements for the unit's next token, -1 if none (or a router output)."""
    if m[u + k.U_ROLE] == k.LINK or m[u + k.U_NEXT] >= m[u + k.U_TOKENS]:
        return -1
    for i in range(m[u + k.U_IN], m[u + k.U_IN_END]):
        c = m[i]
        if m[c + k.C_ARRIVED] < m[m[c + k.C_NEED] + m[c + k.C_PHASE]] + m[c + k.C_BASE]:
            return int(c)
    return -1


@kernel
def blocked_channel(m: Memory, u: int) -> int:
    """Lowest channel owed by the lowest lane whose token could move on, -1 if none."""
    lane = m[u + k.U_LANE]
    while lane < m[u + k.U_LANE_END]:
        if m[lane + k.L_STATE] >= k.MOVING and m[lane + k.L_COPIES] > 0:
            return _lowest_owed(m, lane)
        lane += k.L_FIELDS
    return -1


@kernel
def full_far_end(m: Memory, u: int, edge: int) -> int:
    """Lowest far end without room for an interface's next packet before (c) of this edge, -1 if none."""
    if m[u + k.U_ROLE] != k.INJECT or m[u + k.U_NEXT] >= m[u + k.U_TOKENS]:
        return -1
    for i in range(m[u + k.U_FAR], m[u + k.U_FAR_END]):
        c = m[i]
        gone = m[c + k.C_BEFORE] if m[c + k.C_FREED_AT] == edge else m[c + k.C_FREED]
        if m[c + k.C_RESERVED] - gone >= m[c + k.C_DEPTH] and _emits(m, c, m[u + k.U_NEXT]):
            return int(c)
    return -1


@kernel
def _take_elements(m: Memory, u: int, edge: int) -> None:
    """Elements go from every channel that the starting token empties; the next token's needs are looked up."""
    for i in range(m[u + k.U_IN], m[u + k.U_IN_END]):
        c = m[i]
        if m[c + k.C_KIND] == k.END:
            if m[c + k.C_FREED_AT] != edge:
                m[c + k.C_FREED_AT] = edge
                m[c + k.C_BEFORE] = m[c + k.C_FREED]
            if m[m[c + k.C_SRC] + k.U_FREE] > 0:
                k.wake_unit(m, m[c + k.C_SRC])
        m[c + k.C_FREED] = m[m[c + k.C_FREE] + m[c + k.C_PHASE]] + m[c + k.C_BASE]
        m[c + k.C_PHASE] += 1
        if m[c + k.C_PHASE] == m[c + k.C_PERIOD]:
            m[c + k.C_PHASE] = 0
            m[c + k.C_BASE] += m[c + k.C_STEP]
        k.recheck_if_open(m, c)


@kernel
def _reserve(m: Memory, u: int) -> None:
    for i in range(m[u + k.U_FAR], m[u + k.U_FAR_END]):
        if _emits(m, m[i], m[u + k.U_NEXT]):
            m[m[i] + k.C_RESERVED] += 1


@kernel
def _enter_span(m: Memory, u: int, lane: int, edge: int) -> None:
    if m[u + k.U_GROUP_LEFT] == 0:
        m[u + k.U_GROUP] += 1
        m[u + k.U_GROUP_LEFT] = m[u + k.U_SPAN_PERIOD]
    m[u + k.U_GROUP_LEFT] -= 1
    m[lane + k.L_GROUP] = m[u + k.U_GROUP]
    at = m[u + k.U_SPAN] + m[u + k.U_GROUP]
    if m[at] < 0 or edge < m[at]:
        m[at] = edge


@kernel
def _begin(m: Memory, lane: int, edge: int, lead: int, service: int) -> None:
    """A lane starts its token; ``L_TOKEN`` and ``L_HOP`` are set."""
    u = m[lane + k.L_UNIT]
    m[lane + k.L_STATE] = k.SERVING
    m[lane + k.L_READY] = edge + lead
    m[lane + k.L_END] = edge + service
    if m[u + k.U_SPAN] >= 0:
        _enter_span(m, u, lane, edge)
    if m[k.RECORDS] != 0:
        row = m[u + k.U_RECORD] + m[u + k.U_NEXT] * k.R_FIELDS
        m[lane + k.L_RECORD] = row
        m[row + k.R_START] = edge
        m[row + k.R_HOP] = (m[lane + k.L_HOP] - m[k.HOPS]) // k.H_FIELDS if m[u + k.U_ROLE] != k.COMPUTE else 0
        m[row + k.R_PACKET] = m[lane + k.L_TOKEN]
    m[u + k.U_NEXT] += 1
    m[u + k.U_FREE] -= 1
    m[u + k.U_BUSY] += service
    m[k.LAST_MOVE] = edge
    k.heap_push(m, edge + lead, lane)


@kernel
def _start_packet(m: Memory, u: int, edge: int) -> None:
    """Rule (c) of a router output: the packet that came first, of several that of the lowest queue."""
    chosen, earliest = -1, 0
    for i in range(m[u + k.U_IN], m[u + k.U_IN_END]):
        c = m[i]
        if m[c + k.C_ARRIVED] > m[c + k.C_FREED]:
            came = m[m[c + k.C_RING] + m[c + k.C_HEAD] * k.P_FIELDS + k.P_CAME]
            if chosen < 0 or came < earliest:
                chosen, earliest = c, came
    if chosen < 0:
        return
    packet = m[chosen + k.C_RING] + m[chosen + k.C_HEAD] * k.P_FIELDS
    m[chosen + k.C_HEAD] = (m[chosen + k.C_HEAD] + 1) % m[chosen + k.C_DEPTH]
    m[chosen + k.C_FREED] += 1
    k.recheck_if_open(m, chosen)
    lane, hop = m[u + k.U_LANE], m[packet + k.P_HOP]
    m[lane + k.L_HOP] = hop
    m[lane + k.L_TOKEN] = m[packet + k.P_PACKET]
    if m[k.RECORDS] != 0:
        m[m[u + k.U_RECORD] + m[u + k.U_NEXT] * k.R_FIELDS + k.R_CAME] = earliest
    _begin(m, lane, edge, m[hop + k.H_LEAD], m[hop + k.H_SERVICE])


@kernel
def start_tokens(m: Memory, u: int, edge: int) -> None:
    """Rule (c): free lanes, lowest first, start what can start."""
    if m[u + k.U_ROLE] == k.LINK:
        if m[u + k.U_FREE] > 0:
            _start_packet(m, u, edge)
        return
    lane = m[u + k.U_LANE]
    while m[u + k.U_FREE] > 0 and m[u + k.U_NEXT] < m[u + k.U_TOKENS]:
        if missing_channel(m, u) >= 0 or full_far_end(m, u, edge) >= 0:
            return
        while m[lane + k.L_STATE] != k.FREE:
            lane += k.L_FIELDS
        if m[u + k.U_ROLE] == k.INJECT:
            _reserve(m, u)
            hop = m[u + k.U_HOP]
            m[lane + k.L_HOP] = hop
            lead, service = m[hop + k.H_LEAD], m[hop + k.H_SERVICE]
        else:
            lead = service = m[m[u + k.U_SERVICE] + m[u + k.U_PHASE]]
            m[u + k.U_PHASE] += 1
            if m[u + k.U_PHASE] == m[u + k.U_PERIOD]:
                m[u + k.U_PHASE] = 0
        m[lane + k.L_TOKEN] = m[u + k.U_NEXT]
        _take_elements(m, u, edge)
        _begin(m, lane, edge, lead, service)
