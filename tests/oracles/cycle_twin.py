"""The clock, naively: every unit is advanced one edge at a time, in plain Python.

Reads Program tables only; shares no code with the engine. Never optimise this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spikeloop.simulator.phases import bind_phase, phases


@dataclass
class Lane:
    """Free when ``token`` is None; done once the edge ``end`` has come."""

    token: int | None = None
    end: int = 0
    owed: set[int] = field(default_factory=set)
    done: bool = False


@dataclass
class TwinResult:
    """Counters of one phase; ``deadlock`` lists (unit, other unit, channel, whether the queue is full)."""

    end: int
    busy: list[int]
    stalled: list[int]
    waited: list[int]
    queue_peak: list[int]
    deadlock: list[tuple[int, int, int, bool]]


def pattern(values, start, period, j):
    return int(values[int(start) + j % int(period)])


class Twin:
    def __init__(self, tables):
        self.tables = tables = type(tables)(*(column.tolist() for column in tables))
        self.n_units = len(tables.unit)
        self.n_channels = len(tables.channel)
        self.lanes = [[Lane() for _ in range(int(n))] for n in tables.lanes]
        self.next_token = [0] * self.n_units
        self.left = [0] * self.n_units
        self.queue = [0] * self.n_channels
        self.busy = [0] * self.n_units
        self.stalled = [0] * self.n_units
        self.waited = [0] * self.n_channels
        self.peak = [0] * self.n_channels

    def emits(self, channel, token):
        t = self.tables
        return pattern(t.flag_values, t.emit_start[channel], t.emit_period[channel], token) != 0

    def needed(self, unit):
        """Channels whose head the unit's next token takes, ascending."""
        t = self.tables
        return [
            c
            for c in range(self.n_channels)
            if t.dst[c] == unit
            and pattern(t.flag_values, t.consume_start[c], t.consume_period[c], self.next_token[unit]) != 0
        ]

    def release(self, unit, lane):
        lane.token, lane.done, lane.owed = None, False, set()
        self.left[unit] += 1

    def edge(self, now):
        """Rules (a), (b), (c); True if anything happened."""
        t = self.tables
        happened = False
        for unit in range(self.n_units):
            for lane in self.lanes[unit]:
                if lane.token is not None and not lane.done and lane.end == now:
                    happened = True
                    lane.done = True
                    lane.owed = {c for c in range(self.n_channels) if t.src[c] == unit and self.emits(c, lane.token)}
                    if not lane.owed:
                        self.release(unit, lane)
        had_room = [self.queue[c] < t.depth[c] for c in range(self.n_channels)]
        for c in range(self.n_channels):
            unit = int(t.src[c])
            offers = [(lane.end, i) for i, lane in enumerate(self.lanes[unit]) if lane.done and c in lane.owed]
            if had_room[c] and offers:
                happened = True
                lane = self.lanes[unit][min(offers)[1]]
                lane.owed.remove(c)
                self.queue[c] += 1
                if not lane.owed:
                    self.release(unit, lane)
        for unit in range(self.n_units):
            for lane in self.lanes[unit]:
                token = self.next_token[unit]
                if lane.token is not None or token == t.n_tokens[unit]:
                    continue
                needed = self.needed(unit)
                if any(self.queue[c] == 0 for c in needed):
                    continue
                happened = True
                for c in needed:
                    self.queue[c] -= 1
                lane.token = token
                lane.end = now + pattern(t.service_values, t.service_start[unit], t.service_period[unit], token)
                self.next_token[unit] += 1
        self.peak = [max(a, b) for a, b in zip(self.peak, self.queue, strict=True)]
        return happened

    def count_cycle(self):
        """The cycle that follows an edge: each lane is busy, stalled or idle."""
        for unit in range(self.n_units):
            for lane in self.lanes[unit]:
                if lane.done:
                    self.stalled[unit] += 1
                    self.waited[min(lane.owed)] += 1
                elif lane.token is not None:
                    self.busy[unit] += 1

    def finished(self):
        return all(self.left[u] == self.tables.n_tokens[u] for u in range(self.n_units))

    def serving(self):
        return any(lane.token is not None and not lane.done for lanes in self.lanes for lane in lanes)

    def wait_of(self, unit):
        """What a stuck unit waits for: (other unit, channel, full), or None if it has finished."""
        t = self.tables
        for lane in self.lanes[unit]:
            if lane.done:
                c = min(lane.owed)
                return int(t.dst[c]), c, True
        if self.next_token[unit] < t.n_tokens[unit]:
            c = next(c for c in self.needed(unit) if self.queue[c] == 0)
            return int(t.src[c]), c, False
        return None

    def waits(self):
        unit = next(u for u in range(self.n_units) if self.wait_of(u) is not None)
        chain = []
        while unit not in [step[0] for step in chain]:
            wait = self.wait_of(unit)
            if wait is None:
                return chain
            chain.append((unit, *wait))
            unit = wait[0]
        return chain[[step[0] for step in chain].index(unit) :]


def run_twin(tables) -> TwinResult:
    """Run one phase edge by edge."""
    twin = Twin(tables)
    now = last_event = 0
    while True:
        happened = twin.edge(now)
        if happened:
            last_event = now
        if twin.finished():
            break
        if not happened and not twin.serving():
            break
        twin.count_cycle()
        now += 1
    deadlock = [] if twin.finished() else twin.waits()
    return TwinResult(last_event, twin.busy, twin.stalled, twin.waited, twin.peak, deadlock)


@dataclass
class TwinRun:
    """Counters of a whole run, in the names of ``Trace``."""

    total_cycles: int
    image_end: list[int]
    phase_start: dict[tuple[int, int, int], int]
    phase_end: dict[tuple[int, int, int], int]
    busy: list[int]
    stalled: list[int]
    stalled_by: list[int]
    queue_peak: list[int]
    tokens: list[int]


def run_program(program, activity) -> TwinRun:
    """Every phase of every image, one after the other."""
    n_units, n_channels = len(program.unit_kind), len(program.channel_src)
    steps = program.mapping.network.n_timesteps
    run = TwinRun(0, [], {}, {}, [0] * n_units, [0] * n_units, [-1] * n_units, [0] * n_channels, [0] * n_units)
    waited = [0] * n_channels
    for phase in phases(program, activity.n_images):
        if phase.image == len(run.image_end):
            run.total_cycles += program.input_load_cycles
            run.image_end.append(0)
        tables = bind_phase(program, activity, phase)
        result = run_twin(tables)
        assert not result.deadlock
        for step in range(steps) if phase.step is None else [phase.step]:
            run.phase_start[phase.image, step, phase.layer] = run.total_cycles
            run.phase_end[phase.image, step, phase.layer] = run.total_cycles + result.end
        run.total_cycles += result.end
        run.image_end[phase.image] = run.total_cycles
        for i, unit in enumerate(tables.unit):
            run.busy[unit] += result.busy[i]
            run.stalled[unit] += result.stalled[i]
            run.tokens[unit] += int(tables.n_tokens[i])
        for i, channel in enumerate(tables.channel):
            waited[channel] += result.waited[i]
            run.queue_peak[channel] = max(run.queue_peak[channel], result.queue_peak[i])
    for unit in range(n_units):
        own = [c for c in range(n_channels) if program.channel_src[c] == unit and waited[c] > 0]
        if own:
            run.stalled_by[unit] = min(own, key=lambda c: (-waited[c], c))
    return run
