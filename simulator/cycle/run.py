"""Runs the clock over every phase of a program and adds up what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DeadlockError
from ..functional.activity import Activity
from ..phases import Phase, bind_phase, check_activity, phases
from ..program import PhaseTables, Program
from .counts import count_actions
from .trace import Trace

IntArray = NDArray[np.int64]


class Wait(NamedTuple):
    """One step of a deadlock: ``unit`` waits for ``other`` because ``channel`` is full or empty.

    All three are positions in the phase's tables.
    """

    unit: int
    other: int
    channel: int
    full: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseCounts:
    """Outcome of one phase; arrays are in the order of its tables.

    Attributes:
        end: edge at which the last token left its lane; with a deadlock, the last edge with an event.
        busy: (units,) lane cycles of service.
        waited: (channels,) lane cycles that tokens of the source were held back, blamed on the channel.
        queue_peak: (channels,) most tokens held after the starts of an edge.
        deadlock: the cycle of waits, or the chain to a unit that has finished; empty if all work was done.
    """

    end: int
    busy: IntArray
    waited: IntArray
    queue_peak: IntArray
    deadlock: tuple[Wait, ...]


def run_tables(tables: PhaseTables) -> PhaseCounts:
    """Run one phase from edge 0."""
    from ..kernels.cycle import DEADLOCK, Counts, run_phase

    n_units, n_channels = tables.unit.size, tables.channel.size
    counts = Counts(*(np.zeros(n, dtype=np.int64) for n in (n_units, n_channels, n_channels, n_units, n_units)))
    status, end = run_phase(tables, counts)
    return PhaseCounts(
        end=int(end),
        busy=counts.busy,
        waited=counts.waited,
        queue_peak=counts.queue_peak,
        deadlock=_waits(tables, counts.blocked, counts.missing) if status == DEADLOCK else (),
    )


def _waits(tables: PhaseTables, blocked: IntArray, missing: IntArray) -> tuple[Wait, ...]:
    """Follow the waits from the lowest waiting unit to the first one met twice, or to a finished one.

    A unit with a held lane waits for the destination of ``blocked``, another for the source of ``missing``.
    """
    waiting = np.flatnonzero((blocked >= 0) | (missing >= 0))
    unit = int(waiting[0])
    chain: list[Wait] = []
    met: dict[int, int] = {}
    while unit not in met:
        met[unit] = len(chain)
        full = bool(blocked[unit] >= 0)
        channel = int(blocked[unit] if full else missing[unit])
        if channel < 0:
            return tuple(chain)
        other = int(tables.dst[channel] if full else tables.src[channel])
        chain.append(Wait(unit, other, channel, full))
        unit = other
    return tuple(chain[met[unit] :])


def run_cycles(program: Program, activity: Activity) -> Trace:
    """Clock every image of an activity through the machine, one phase after the other.

    Raises:
        SimulationError: the activity was made for another mapping.
        DeadlockError: units wait for one another for ever; the sentence names the cycle of waits.
    """
    check_activity(program, activity)
    mapping = program.mapping
    shape = (activity.n_images, mapping.network.n_timesteps, len(mapping.layers))
    phase_start, phase_end = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    image_end = np.zeros(activity.n_images, dtype=np.int64)
    busy, tokens = np.zeros((2, program.n_units), dtype=np.int64)
    waited, queue_peak = np.zeros((2, program.channel_src.size), dtype=np.int64)
    cycle, image = 0, -1
    for phase in phases(program, activity.n_images):
        if phase.image != image:
            image, cycle = phase.image, cycle + program.input_load_cycles
        tables = bind_phase(program, activity, phase)
        counts = run_tables(tables)
        if counts.deadlock:
            raise DeadlockError(_deadlock_sentence(program, tables, phase, cycle, counts))
        step = slice(None) if phase.step is None else phase.step
        phase_start[image, step, phase.layer] = cycle
        cycle += counts.end
        phase_end[image, step, phase.layer] = cycle
        image_end[image] = cycle
        busy[tables.unit] += counts.busy
        tokens[tables.unit] += tables.n_tokens
        waited[tables.channel] += counts.waited
        np.maximum.at(queue_peak, tables.channel, counts.queue_peak)
    stalled = np.zeros(program.n_units, dtype=np.int64)
    np.add.at(stalled, program.channel_src, waited)
    return Trace(
        n_images=activity.n_images,
        total_cycles=cycle,
        input_load_cycles=np.full(activity.n_images, program.input_load_cycles, dtype=np.int64),
        image_end=image_end,
        phase_start=phase_start,
        phase_end=phase_end,
        busy=busy,
        stalled=stalled,
        idle=program.unit_lanes * cycle - busy - stalled,
        stalled_by=_worst_channel(program, waited),
        queue_peak=queue_peak,
        tokens=tokens,
        action_counts=count_actions(program, activity),
        token_services=int(tokens.sum()),
    )


def _worst_channel(program: Program, waited: IntArray) -> IntArray:
    """(units,) channel with most waiting of the unit's tokens, the lowest on a tie, -1 without any."""
    worst = np.full(program.n_units, -1, dtype=np.int64)
    most = np.zeros(program.n_units, dtype=np.int64)
    for channel in np.flatnonzero(waited):
        unit = program.channel_src[channel]
        if waited[channel] > most[unit]:
            most[unit], worst[unit] = waited[channel], channel
    return worst


def _deadlock_sentence(program: Program, tables: PhaseTables, phase: Phase, cycle: int, counts: PhaseCounts) -> str:
    def name(unit: int) -> str:
        return program.unit_name(int(tables.unit[unit]))

    waits = "; ".join(
        f"{name(wait.unit)} waits for {name(wait.other)} ({'its queue is full' if wait.full else 'nothing came'})"
        for wait in counts.deadlock
    )
    step = "all steps" if phase.step is None else f"step {phase.step}"
    return f"deadlock at cycle {cycle + counts.end} (image {phase.image}, {step}): {waits}"
