"""The clock of one phase: event-driven, exact to the edge rules of docs/machine.md.

Time jumps to the earliest end of a service, lead or delivery, or to the next edge if something that waits
could then go on. ``cycle_state.py`` holds the state, ``cycle_moves.py`` what happens to one lane or channel.
"""

from __future__ import annotations

from ._jit import kernel
from .cycle_moves import blocked_channel, finish_lane, full_far_end, missing_channel, start_tokens, transfer
from .cycle_state import (
    C_ARRIVED,
    C_FREED,
    C_LISTED,
    C_RECHECK,
    LAST_EDGE,
    N_CHANNELS,
    N_HEAP,
    N_PUSHED,
    N_RECHECK,
    N_UNITS,
    N_WAKE,
    U_LISTED,
    U_WOKEN,
    UNFINISHED,
    Counts,
    Recorder,
    State,
    Tables,
    arrive,
    heap_pop,
    list_channel,
    list_unit,
    new_state,
    recheck_if_open,
)

FINISHED, DEADLOCK = 0, 1


@kernel
def _do_edge(tables: Tables, state: State, counts: Counts, record: Recorder, edge: int) -> None:
    """Rules (a), (b), (c) at one edge; lists what to look at again at the next one."""
    n_lanes, scalars, work = state.lane.shape[0], state.scalars, state.work
    n_events = n_lanes + state.channel.shape[0]
    for i in range(scalars[N_RECHECK]):
        c = work[N_RECHECK, i]
        state.channel[c, C_RECHECK] = 0
        list_channel(state, c)
    scalars[N_RECHECK] = 0
    for i in range(scalars[N_WAKE]):
        u = work[N_WAKE, i]
        state.unit[u, U_WOKEN] = 0
        list_unit(state, u)
    scalars[N_WAKE] = 0
    while scalars[N_HEAP] > 0 and state.heap[0] // n_events == edge:
        event = heap_pop(state) % n_events
        if event < n_lanes:
            finish_lane(tables, state, counts, record, event, edge)
        else:
            arrive(tables, state, counts, record, event - n_lanes, edge)
    for i in range(scalars[N_CHANNELS]):
        c = work[N_CHANNELS, i]
        state.channel[c, C_LISTED] = 0
        transfer(tables, state, counts, record, c, edge)
    scalars[N_CHANNELS] = 0
    for i in range(scalars[N_UNITS]):
        u = work[N_UNITS, i]
        state.unit[u, U_LISTED] = 0
        start_tokens(tables, state, counts, record, u, edge)
    scalars[N_UNITS] = 0
    for i in range(scalars[N_PUSHED]):
        c = work[N_PUSHED, i]
        row = state.channel[c]
        counts.queue_peak[c] = max(counts.queue_peak[c], row[C_ARRIVED] - row[C_FREED])
        recheck_if_open(state, c)
    scalars[N_PUSHED] = 0


@kernel
def _report_waits(tables: Tables, state: State, counts: Counts) -> None:
    for u in range(state.unit.shape[0]):
        counts.full[u] = blocked_channel(tables, state, u)
        counts.missing[u] = -1
        if counts.full[u] < 0:
            counts.missing[u] = missing_channel(tables, state, u)
            if counts.missing[u] < 0:
                counts.full[u] = full_far_end(tables, state, u, -1)


@kernel
def run_phase(tables: Tables, counts: Counts, record: Recorder) -> tuple[int, int]:
    """Run a phase to its end; fills ``counts`` and, if it has room, ``record``.

    Returns:
        ``FINISHED`` and the edge at which the last token left its lane or the last element arrived, or
        ``DEADLOCK`` and the last edge at which anything happened.
    """
    state = new_state(tables)
    n_events = state.lane.shape[0] + state.channel.shape[0]
    for u in range(state.unit.shape[0]):
        list_unit(state, u)
    edge = 0
    while True:
        _do_edge(tables, state, counts, record, edge)
        if state.scalars[N_RECHECK] + state.scalars[N_WAKE] > 0:
            edge += 1
        elif state.scalars[N_HEAP] > 0:
            edge = state.heap[0] // n_events
        else:
            break
    for c in range(state.channel.shape[0]):
        counts.arrived[c] = state.channel[c, C_ARRIVED]
    if state.scalars[UNFINISHED] > 0:
        _report_waits(tables, state, counts)
        return DEADLOCK, state.scalars[LAST_EDGE]
    return FINISHED, state.scalars[LAST_EDGE]
