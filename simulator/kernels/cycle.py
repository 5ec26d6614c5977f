"""The clock of one phase: event-driven, exact to the edge rules of docs/machine.md.

Time jumps to the earliest end of a service, lead or delivery, or to the next edge if something that waits
could then go on. ``cycle_memory.py`` has the tables, ``cycle_moves.py`` what happens to one lane or channel.
"""

from __future__ import annotations

from . import cycle_memory as k
from ._jit import kernel
from .cycle_memory import Memory, Tables
from .cycle_moves import arrive, blocked_channel, finish_lane, full_far_end, missing_channel, start_tokens, transfer


@kernel
def _list_waiting(m: Memory) -> None:
    """What was left for this edge at the last one."""
    work = m[k.WORK] + k.N_RECHECK * m[k.WORK_ROOM]
    for i in range(work, work + m[k.N_RECHECK]):
        m[m[i] + k.C_RECHECK] = 0
        k.list_channel(m, m[i])
    m[k.N_RECHECK] = 0
    work = m[k.WORK] + k.N_WAKE * m[k.WORK_ROOM]
    for i in range(work, work + m[k.N_WAKE]):
        m[m[i] + k.U_WOKEN] = 0
        k.list_unit(m, m[i])
    m[k.N_WAKE] = 0


@kernel
def _do_edge(m: Memory, edge: int) -> None:
    """Rules (a), (b), (c) at one edge; lists what to look at again at the next one."""
    room = m[k.WORK_ROOM]
    _list_waiting(m)
    while m[k.N_HEAP] > 0 and m[m[k.HEAP]] // m[k.SIZE] == edge:
        address = k.heap_pop(m) % m[k.SIZE]
        if address >= m[k.LANES]:
            finish_lane(m, address, edge)
        else:
            arrive(m, address, edge)
    work = m[k.WORK] + k.N_CHANNELS * room
    for i in range(work, work + m[k.N_CHANNELS]):
        m[m[i] + k.C_LISTED] = 0
        transfer(m, m[i], edge)
    m[k.N_CHANNELS] = 0
    work = m[k.WORK] + k.N_UNITS * room
    for i in range(work, work + m[k.N_UNITS]):
        m[m[i] + k.U_LISTED] = 0
        start_tokens(m, m[i], edge)
    m[k.N_UNITS] = 0
    work = m[k.WORK] + k.N_PUSHED * room
    for i in range(work, work + m[k.N_PUSHED]):
        c = m[i]
        m[c + k.C_PEAK] = max(m[c + k.C_PEAK], m[c + k.C_ARRIVED] - m[c + k.C_FREED])
        k.recheck_if_open(m, c)
    m[k.N_PUSHED] = 0


@kernel
def run_phase(tables: Tables, recorded: bool) -> Memory:
    """Run a phase to its end: no event is left.

    Returns:
        The memory: counts in the fields of units and channels, edges in the header. ``UNFINISHED`` is 0, or
        the phase deadlocked and ``waits`` says who waits.
    """
    m = k.new_memory(tables, recorded)
    for u in range(m[k.UNITS], m[k.CHANNELS], k.U_FIELDS):
        k.list_unit(m, u)
    edge = 0
    while True:
        _do_edge(m, edge)
        if m[k.N_RECHECK] + m[k.N_WAKE] > 0:
            edge += 1
        elif m[k.N_HEAP] > 0:
            edge = m[m[k.HEAP]] // m[k.SIZE]
        else:
            break
    # What a deadlock holds for ever counts up to the last edge at which anything happened.
    for lane in range(m[k.LANES], m[k.HOPS], k.L_FIELDS):
        if m[lane + k.L_STATE] == k.DONE:
            m[m[lane + k.L_LOWEST] + k.C_WAITED] += m[k.LAST_MOVE] - m[lane + k.L_SINCE]
    return m


@kernel
def waits(m: Memory, u: int) -> tuple[int, int]:
    """After a deadlock: addresses of the full channel, and of the empty one, that a unit waits for; else -1."""
    full = blocked_channel(m, u)
    if full >= 0:
        return full, -1
    missing = missing_channel(m, u)
    if missing >= 0:
        return -1, missing
    return full_far_end(m, u, -1), -1
