"""The clock, naively: every unit is advanced one edge at a time, in plain Python.

Written from the rules of docs/machine.md ("The clock") and ``PhaseTables`` alone; shares no code with the engine.
Never optimise this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from spikeloop.simulator.tables import COMPUTE, END, INJECT, LINK, QUEUE, ROUTE


@dataclass
class Token:
    """One token in a lane. ``hop`` is -1 for computing units; ``number`` is that of the token or of the packet."""

    lane: int
    hop: int
    number: int
    start: int
    lead_end: int
    end: int
    came: int = -1
    moving: bool = False
    owed: set[int] = field(default_factory=set)
    leave: int = -1


class Packet(NamedTuple):
    """A packet in a router queue."""

    came: int
    hop: int
    number: int


class Flight(NamedTuple):
    """An element on its way from a router to a far end."""

    edge: int
    channel: int
    number: int


@dataclass
class TwinResult:
    """Counters of one phase; ``deadlock`` lists (unit, other unit, channel, whether the channel is full).

    ``tokens`` lists the tokens of each unit in the order of their starts, ``arrivals`` the edges at which elements
    came into each queue or far end. ``ties`` and ``reservations`` count what makes a case hard: starts of a router
    output that had to choose between packets of the same edge, and starts of an interface that waited for a slot only.
    """

    end: int
    busy: list[int]
    stalled: list[int]
    waited: list[int]
    queue_peak: list[int]
    arrived: list[int]
    served: list[int]
    span_start: list[list[int]]
    span_end: list[list[int]]
    deadlock: list[tuple[int, int, int, bool]]
    tokens: list[list[Token]]
    arrivals: list[list[int]]
    ties: int
    reservations: int


class Twin:
    """The state of one phase."""

    def __init__(self, tables):
        self.t = t = type(tables)(*(column.tolist() for column in tables))
        self.units = range(len(t.unit))
        self.channels = range(len(t.channel))
        self.lanes = [[None] * n for n in t.lanes]
        self.tokens = [[] for _ in self.units]
        self.left = [0] * len(t.unit)
        self.arrivals = [[] for _ in self.channels]
        self.gone = [0] * len(t.channel)
        self.reserved = [0] * len(t.channel)
        self.packets = [[] for _ in self.channels]
        self.packets_came = [0] * len(t.channel)
        self.flights = []
        self.busy = [0] * len(t.unit)
        self.stalled = [0] * len(t.unit)
        self.waited = [0] * len(t.channel)
        self.peak = [0] * len(t.channel)
        rows, groups = t.span_shape
        self.span_start = [[-1] * groups for _ in range(rows)]
        self.span_end = [[0] * groups for _ in range(rows)]
        self.ties = self.reservations = 0
        self.happened = False
        self.last_end = 0
        self.queues_of = [[c for c in self.channels if t.src[c] == u and t.kind[c] == QUEUE] for u in self.units]
        self.emptied_by = [[c for c in self.channels if t.dst[c] == u and t.kind[c] != ROUTE] for u in self.units]
        self.routes_to = [[c for c in self.channels if t.dst[c] == u and t.kind[c] == ROUTE] for u in self.units]
        # far ends of an interface's flow at which a slot is reserved, ascending
        self.far_ends = [
            [c for c in self.channels if t.kind[c] == END and t.src[c] == u and t.dst[c] >= 0] for u in self.units
        ]

    # What the tables say.

    def emits(self, channel, number):
        t = self.t
        return t.pattern_values[t.emit_start[channel] + number % t.emit_period[channel]] != 0

    def need(self, channel, token):
        return self.cumulative(self.t.need_start[channel], channel, token)

    def free(self, channel, token):
        return self.cumulative(self.t.free_start[channel], channel, token)

    def cumulative(self, start, channel, token):
        repeats, place = divmod(token, self.t.take_period[channel])
        return self.t.pattern_values[start + place] + repeats * self.t.take_step[channel]

    def children(self, hop):
        return self.t.child[self.t.child_start[hop] : self.t.child_start[hop + 1]]

    def deliveries(self, hop):
        return self.t.deliver[self.t.deliver_start[hop] : self.t.deliver_start[hop + 1]]

    def held(self, channel):
        if self.t.kind[channel] == ROUTE:
            return len(self.packets[channel])
        return 0 if self.t.dst[channel] < 0 else len(self.arrivals[channel]) - self.gone[channel]

    # The three rules of an edge.

    def edge(self, now):
        """Rules (a), (b), (c) at one edge."""
        self.happened = False
        self.ends(now)
        self.transfers(now)
        self.starts(now)
        for c in self.channels:
            self.peak[c] = max(self.peak[c], self.held(c))

    def ends(self, now):
        t = self.t
        for unit in self.units:
            for token in self.in_lanes(unit):
                if token.lead_end == now:
                    self.happened = token.moving = True
                    if t.role[unit] == COMPUTE:
                        token.owed = {c for c in self.queues_of[unit] if self.emits(c, token.number)}
                    else:
                        token.owed = {t.hop_channel[child] for child in self.children(token.hop)}
                        for c in self.deliveries(token.hop):
                            if self.emits(c, token.number):
                                self.flights.append(Flight(now + t.hop_flits[token.hop], c, token.number))
                if token.end == now:
                    self.happened = True
                self.leave_if_done(unit, token, now)

    def transfers(self, now):
        t = self.t
        had_room = [self.held(c) < t.depth[c] for c in self.channels]
        for c in self.channels:
            offers = [x for x in self.in_lanes(t.src[c]) if c in x.owed] if t.kind[c] != END else []
            if had_room[c] and offers:
                self.happened = True
                token = min(offers, key=lambda x: (x.lead_end, x.lane))
                token.owed.remove(c)
                if t.kind[c] == QUEUE:
                    self.arrivals[c].append(now)
                else:
                    (hop,) = [child for child in self.children(token.hop) if t.hop_channel[child] == c]
                    self.packets[c].append(Packet(now, hop, token.number))
                    self.packets_came[c] += 1
        for flight in [x for x in self.flights if x.edge == now]:
            self.happened = True
            self.flights.remove(flight)
            self.arrivals[flight.channel].append(now)
            self.work_until(t.src[flight.channel], flight.number, now)
        for unit in self.units:
            for token in self.in_lanes(unit):
                self.leave_if_done(unit, token, now)

    def starts(self, now):
        gone_before = list(self.gone)
        for unit in self.units:
            for lane in range(self.t.lanes[unit]):
                if self.lanes[unit][lane] is not None:
                    continue
                if self.t.role[unit] == LINK:
                    self.start_packet(unit, now)
                else:
                    self.start_token(unit, lane, now, gone_before)

    def start_token(self, unit, lane, now, gone_before):
        t = self.t
        j = len(self.tokens[unit])
        if j == t.n_tokens[unit]:
            return
        if any(len(self.arrivals[c]) < self.need(c, j) for c in self.emptied_by[unit]):
            return
        if t.role[unit] == COMPUTE:
            hop = -1
            service = lead = t.service_values[t.service_start[unit] + j % t.service_period[unit]]
        else:
            ends = [c for c in self.far_ends[unit] if self.emits(c, j)]
            if any(self.reserved[c] - gone_before[c] >= t.depth[c] for c in ends):
                self.reservations += 1
                return
            for c in ends:
                self.reserved[c] += 1
            hop = t.root_hop[unit]
            lead, service = t.hop_lead[hop], t.hop_service[hop]
        for c in self.emptied_by[unit]:
            self.gone[c] = self.free(c, j)
        self.start(unit, Token(lane, hop, j, now, now + lead, now + service))
        if t.span[unit] >= 0:
            row, group = self.span_start[t.span[unit]], j // t.span_period[unit]
            row[group] = now if row[group] < 0 else min(row[group], now)

    def start_packet(self, unit, now):
        t = self.t
        heads = [(self.packets[c][0].came, c) for c in self.routes_to[unit] if self.packets[c]]
        if not heads:
            return
        came, c = min(heads)
        self.ties += sum(head[0] == came for head in heads) > 1
        packet = self.packets[c].pop(0)
        lead, service = t.hop_lead[packet.hop], t.hop_service[packet.hop]
        self.start(unit, Token(0, packet.hop, packet.number, now, now + lead, now + service, came=came))

    # Small steps.

    def in_lanes(self, unit):
        return [token for token in self.lanes[unit] if token is not None]

    def start(self, unit, token):
        self.happened = True
        self.lanes[unit][token.lane] = token
        self.tokens[unit].append(token)

    def leave_if_done(self, unit, token, now):
        if token.leave < 0 and token.moving and not token.owed and token.end <= now:
            token.leave = now
            self.lanes[unit][token.lane] = None
            self.left[unit] += 1
            self.last_end = now
            if self.t.role[unit] != LINK:
                self.work_until(unit, token.number, now)

    def work_until(self, unit, number, now):
        """Work of a unit's token went on until this edge."""
        self.last_end = now
        if self.t.span[unit] >= 0:
            row, group = self.span_end[self.t.span[unit]], number // self.t.span_period[unit]
            row[group] = max(row[group], now)

    def count_cycle(self, now):
        """The cycle [now, now + 1): each lane is busy, stalled or idle."""
        for unit in self.units:
            for token in self.in_lanes(unit):
                if now < token.end:
                    self.busy[unit] += 1
                else:
                    self.stalled[unit] += 1
                    self.waited[min(token.owed)] += 1

    def finished(self):
        lanes_empty = not any(self.in_lanes(unit) for unit in self.units)
        return lanes_empty and not self.flights and all(a == b for a, b in zip(self.left, self.t.n_tokens, strict=True))

    def event_to_come(self, now):
        in_service = any(token.end > now for unit in self.units for token in self.in_lanes(unit))
        return in_service or bool(self.flights)

    # The report of a deadlock.

    def wait_of(self, unit):
        """What a stuck unit waits for: (other unit, channel, full), or None if it does not wait."""
        t = self.t
        for token in self.in_lanes(unit):
            if token.moving and token.owed:
                c = min(token.owed)
                return t.dst[c], c, True
        j = len(self.tokens[unit])
        if t.role[unit] == LINK or j == t.n_tokens[unit]:
            return None
        for c in self.emptied_by[unit]:
            if len(self.arrivals[c]) < self.need(c, j):
                return t.src[c], c, False
        if t.role[unit] == INJECT:
            for c in self.far_ends[unit]:
                if self.emits(c, j) and self.reserved[c] - self.gone[c] >= t.depth[c]:
                    return t.dst[c], c, True
        return None

    def waits(self):
        unit = next(u for u in self.units if self.wait_of(u) is not None)
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
    twin.starts(0)
    for c in twin.channels:
        twin.peak[c] = twin.held(c)
    now = last_event = 0
    busy, stalled, waited = list(twin.busy), list(twin.stalled), list(twin.waited)
    while not twin.finished():
        twin.count_cycle(now)
        now += 1
        twin.edge(now)
        if twin.happened:
            # cycles count up to the last event: behind it nothing happens for ever
            last_event = now
            busy, stalled, waited = list(twin.busy), list(twin.stalled), list(twin.waited)
        elif not twin.event_to_come(now):
            break
    done = twin.finished()
    return TwinResult(
        end=twin.last_end if done else last_event,
        busy=busy,
        stalled=stalled,
        waited=waited,
        queue_peak=twin.peak,
        arrived=[twin.packets_came[c] + len(twin.arrivals[c]) for c in twin.channels],
        served=[len(tokens) for tokens in twin.tokens],
        span_start=twin.span_start,
        span_end=twin.span_end,
        deadlock=[] if done else twin.waits(),
        tokens=twin.tokens,
        arrivals=twin.arrivals,
        ties=twin.ties,
        reservations=twin.reservations,
    )
