"""Runs the clock over every phase of a program and adds up what happened."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DeadlockError
from ..functional.activity import Activity
from ..phases import Phase, PhaseBinder, check_activity, phases
from ..program import Program
from ..tables import PhaseTables
from .clock import PhaseCounts, run_tables
from .counts import count_actions
from .path import CriticalPath
from .trace import Trace

IntArray = NDArray[np.int64]


class Observer(Protocol):
    """Sees every phase with the times of its tokens (critical path, drawn trace)."""

    def see(self, phase: Phase, tables: PhaseTables, counts: PhaseCounts, cycle: int) -> None:
        """``cycle`` is the edge of the run at which the phase began; ``counts.record`` is filled."""


def run_cycles(program: Program, activity: Activity, observers: tuple[Observer, ...] = ()) -> Trace:
    """Clock every image of an activity through the machine.

    In ``layer_pipelined`` the critical path is always walked: without barriers nothing else says which layer a
    cycle belongs to. In ``layer_sequential`` give a ``CriticalPath`` among the observers to have it.

    Raises:
        SimulationError: the activity was made for another mapping.
        DeadlockError: units wait for one another for ever; the sentence names the cycle of waits.
    """
    check_activity(program, activity)
    binder = PhaseBinder(program, activity)
    path = next((item for item in observers if isinstance(item, CriticalPath)), None)
    if path is None and program.hw.dataflow.order == "layer_pipelined":
        path = CriticalPath(program)
        observers = (*observers, path)
    times = _Times(program, activity.n_images)
    busy, tokens = np.zeros((2, program.n_units), dtype=np.int64)
    waited, queue_peak, arrived = np.zeros((3, program.channel_src.size), dtype=np.int64)
    cycle = 0
    for phase in phases(program, activity.n_images):
        tables = binder.bind(phase)
        counts = run_tables(tables, record=bool(observers))
        if counts.deadlock:
            raise DeadlockError(_deadlock_sentence(program, tables, phase, cycle, counts))
        times.add(phase, counts, cycle)
        for observer in observers:
            observer.see(phase, tables, counts, cycle)
        cycle += counts.end
        busy[tables.unit] += counts.busy
        tokens[tables.unit] += counts.served
        waited[tables.channel] += counts.waited
        arrived[tables.channel] += counts.arrived
        np.maximum.at(queue_peak, tables.channel, counts.queue_peak)
    stalled = np.zeros(program.n_units, dtype=np.int64)
    np.add.at(stalled, program.channel_src, waited)
    return Trace(
        n_images=activity.n_images,
        total_cycles=cycle,
        image_start=times.image_start,
        image_end=times.image_end,
        phase_start=times.start,
        phase_end=times.end,
        busy=busy,
        stalled=stalled,
        idle=cycle - busy - stalled,
        stalled_by=_worst_channel(program, waited),
        waited=waited,
        queue_peak=queue_peak,
        arrived=arrived,
        tokens=tokens,
        link_flits=_link_flits(program, tokens),
        action_counts=count_actions(program, activity),
        token_services=int(tokens.sum()),
        path=path,
    )


def _link_flits(program: Program, tokens: IntArray) -> IntArray:
    """(units,) every packet of a flow crosses every link of its tree once."""
    flits = np.zeros(program.n_units, dtype=np.int64)
    hops = np.flatnonzero(program.hop_parent >= 0)
    np.add.at(flits, program.hop_unit[hops], (program.unit_flits * tokens)[program.hop_inject[hops]])
    return flits


class _Times:
    """Start and end of every (image, step, layer), from barriers or from the spans of one long phase."""

    def __init__(self, program: Program, n_images: int) -> None:
        mapping = program.mapping
        self._static = [mapping.network.input.static, *(item.layer.input.static for item in mapping.layers)]
        shape = (n_images, mapping.network.n_timesteps, len(mapping.layers))
        self.start, self.end = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.image_start = np.full(n_images, -1, dtype=np.int64)
        self.image_end = np.zeros(n_images, dtype=np.int64)

    def add(self, phase: Phase, counts: PhaseCounts, cycle: int) -> None:
        """Enter one phase that began at ``cycle``."""
        if phase.layer is None:
            self._from_spans(counts)
            return
        image = int(phase.image or 0)
        if self.image_start[image] < 0:
            self.image_start[image] = cycle
        self.image_end[image] = cycle + counts.end
        if phase.layer >= 0:
            step = slice(None) if phase.step is None else phase.step
            self.start[image, step, phase.layer] = cycle
            self.end[image, step, phase.layer] = cycle + counts.end

    def _from_spans(self, counts: PhaseCounts) -> None:
        n_images, n_steps, n_layers = self.start.shape
        first, last = np.where(counts.span_start < 0, np.iinfo(np.int64).max, counts.span_start), counts.span_end
        per_step = first.shape[1] == n_images * n_steps
        for row in range(n_layers + 1):
            groups = n_images * n_steps if per_step else n_images
            starts = first[2 * row, :groups].reshape(n_images, -1).copy()
            ends = last[2 * row, :groups].reshape(n_images, -1).copy()
            # What runs once an image belongs to its first step (in layer_major there is one group an image).
            starts[:, 0] = np.minimum(starts[:, 0], first[2 * row + 1, :n_images])
            ends[:, 0] = np.maximum(ends[:, 0], last[2 * row + 1, :n_images])
            if row == 0:
                self.image_start[:] = starts.min(axis=1)
            else:
                self.start[:, :, row - 1], self.end[:, :, row - 1] = starts, ends
        self.image_end[:] = self.end[:, :, -1].max(axis=1)


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
    image = "all images" if phase.image is None else f"image {phase.image}"
    step = "all steps" if phase.step is None else f"step {phase.step}"
    return f"deadlock at cycle {cycle + counts.end} ({image}, {step}): {waits}"
