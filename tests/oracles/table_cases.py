"""Tables of a phase from a few lines, and seeded random ones with every hard case of the clock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikeloop.simulator.tables import COMPUTE, END, INJECT, LINK, QUEUE, ROUTE, PhaseTables


class Take(NamedTuple):
    """What the tokens of a destination need of a channel, and what they free: cumulative, one period of each."""

    need: tuple[int, ...]
    free: tuple[int, ...]
    step: int

    def least_depth(self, emitted, n_tokens):
        """Slots without which the channel would stop its own two ends."""
        need, free = (
            [values[j % len(values)] + j // len(values) * self.step for j in range(n_tokens)] for values in self[:2]
        )
        return max([a - b for a, b in zip(need, [0, *free], strict=False)] + [emitted - ([0, *free][-1])])


#: Every token takes one element.
PLAIN = Take((1,), (1,), 1)


class TableBuilder:
    """Collects units, channels and hops in any order; each call returns the number of what it added."""

    def __init__(self):
        self.units = []
        self.channels = []
        self.hops = []
        self.routes = {}

    def compute(self, n_tokens, service=(1,), *, lanes=1, span=-1, span_period=1):
        return self._unit(COMPUTE, n_tokens, tuple(service), lanes, span, span_period)

    def inject(self, n_tokens, *, span=-1, span_period=1):
        return self._unit(INJECT, n_tokens, (1,), 1, span, span_period)

    def link(self):
        return self._unit(LINK, 0, (1,), 1, -1, 1)

    def _unit(self, role, n_tokens, service, lanes, span, span_period):
        self.units.append([role, n_tokens, service, lanes, span, span_period])
        return len(self.units) - 1

    def queue(self, src, dst, depth=1, *, emit=(1,), take=PLAIN):
        return self._channel(QUEUE, src, dst, depth, emit, take)

    def _channel(self, kind, src, dst, depth, emit, take):
        self.channels.append((kind, src, dst, depth, tuple(emit), take))
        return len(self.channels) - 1

    def root(self, inject, *, lead=1, service=1, flits=1):
        """First hop of an interface's flow."""
        return self._hop(inject, inject, -1, -1, (lead, service, flits))

    def hop(self, parent, link, *, depth=1, lead=1, service=1, flits=1):
        """A router output behind another hop; the queue between two units is shared, its first depth holds."""
        src = self.hops[parent][0]
        if (src, link) not in self.routes:
            self.routes[src, link] = self._channel(ROUTE, src, link, depth, (1,), PLAIN)
        inject = self.hops[parent][1]
        self.units[link][1] += self.units[inject][1]
        return self._hop(link, inject, parent, self.routes[src, link], (lead, service, flits))

    def _hop(self, unit, inject, parent, channel, cycles):
        self.hops.append((unit, inject, parent, channel, cycles, []))
        return len(self.hops) - 1

    def far_end(self, hop, dst=-1, depth=1, *, emit=(1,), take=PLAIN):
        channel = self._channel(END, self.hops[hop][1], dst, depth, emit, take)
        self.hops[hop][5].append(channel)
        return channel

    def tables(self, unit_order=None, channel_order=None):
        """The tables; an order lists the numbers of units or channels in which they shall stand."""
        unit_order = list(range(len(self.units))) if unit_order is None else list(unit_order)
        channel_order = list(range(len(self.channels))) if channel_order is None else list(channel_order)
        place = {unit: i for i, unit in enumerate(unit_order)} | {-1: -1}
        channel_place = {channel: i for i, channel in enumerate(channel_order)} | {-1: -1}
        units = [self.units[u] for u in unit_order]
        channels = [self.channels[c] for c in channel_order]
        roots = {hop[0]: i for i, hop in enumerate(self.hops) if hop[2] < 0}
        services, values = Values(), Values()
        columns = {
            "unit": range(len(units)),
            "role": [unit[0] for unit in units],
            "lanes": [unit[3] for unit in units],
            "n_tokens": [unit[1] for unit in units],
            "service_start": [services.add(unit[2]) for unit in units],
            "service_period": [len(unit[2]) for unit in units],
            "service_values": services.values,
            "root_hop": [roots.get(u, -1) for u in unit_order],
            "span": [unit[4] for unit in units],
            "span_period": [unit[5] for unit in units],
            "channel": range(len(channels)),
            "kind": [channel[0] for channel in channels],
            "src": [place[channel[1]] for channel in channels],
            "dst": [place[channel[2]] for channel in channels],
            "depth": [channel[3] for channel in channels],
            "emit_start": [values.add(channel[4]) for channel in channels],
            "emit_period": [len(channel[4]) for channel in channels],
            "need_start": [values.add(channel[5].need) for channel in channels],
            "free_start": [values.add(channel[5].free) for channel in channels],
            "take_period": [len(channel[5].need) for channel in channels],
            "take_step": [channel[5].step for channel in channels],
            "pattern_values": values.values,
            "span_shape": [
                max([1, *(unit[4] + 1 for unit in units)]),
                max([1, *(-(-unit[1] // unit[5]) for unit in units if unit[4] >= 0)]),
            ],
            **self._hop_columns(place, channel_place),
        }
        return PhaseTables(**{name: np.array(column, dtype=np.int64) for name, column in columns.items()})

    def _hop_columns(self, place, channel_place):
        children = [[i for i, hop in enumerate(self.hops) if hop[2] == parent] for parent in range(len(self.hops))]
        deliveries = [sorted(channel_place[c] for c in hop[5]) for hop in self.hops]
        return {
            "hop_unit": [place[hop[0]] for hop in self.hops],
            "hop_channel": [channel_place[hop[3]] for hop in self.hops],
            "hop_lead": [hop[4][0] for hop in self.hops],
            "hop_service": [hop[4][1] for hop in self.hops],
            "hop_flits": [hop[4][2] for hop in self.hops],
            "child_start": np.cumsum([0, *(len(items) for items in children)]),
            "child": [child for items in children for child in items],
            "deliver_start": np.cumsum([0, *(len(items) for items in deliveries)]),
            "deliver": [channel for items in deliveries for channel in items],
        }


class Values:
    """Patterns one behind the other."""

    def __init__(self):
        self.values = []

    def add(self, pattern):
        self.values += list(pattern)
        return len(self.values) - len(pattern)


def make_tables(n_tokens, services, lanes, channels):
    """Computing units only: ``services`` one pattern a unit, ``channels`` (src, dst, depth, emit flags, take).

    A take is ``Take`` or flags of the tokens that take one element each.
    """
    builder = TableBuilder()
    for n, service, lane in zip(n_tokens, services, lanes, strict=True):
        builder.compute(n, service, lanes=lane)
    for src, dst, depth, emit, take in channels:
        take = take if isinstance(take, Take) else taking_flags(take)
        builder.queue(src, dst, depth, emit=emit, take=take)
    return builder.tables()


def taking_flags(flags):
    """A token with flag 1 takes one element."""
    counts = tuple(int(count) for count in np.cumsum(flags))
    return Take(counts, counts, counts[-1])


#: Kinds of random graphs: equal totals and no windows, trees with windows, anything, loops of credits, rings of links.
STYLES = {"plain": 0.45, "windows": 0.25, "any": 0.12, "loop": 0.08, "ring": 0.1}


def random_tables(rng):
    """Tables of one random phase; most finish, the others show every kind of deadlock."""
    style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
    return _Random(rng, style).tables()


class _Random:
    def __init__(self, rng, style):
        self.rng, self.style = rng, style
        self.builder = TableBuilder()
        self.most = self.int(2, 13)
        n_links = self.int(2, 4) if style == "ring" else self.int(1, 7) if rng.random() < 0.85 else 0
        self.links = [self.builder.link() for _ in range(n_links)]
        self.n_rows = self.int(1, 4)

    def int(self, low, high):
        """Below ``high``."""
        return int(self.rng.integers(low, high))

    def chance(self, probability):
        return bool(self.rng.random() < probability)

    def tables(self):
        computing = []
        for _ in range(self.int(2, 13 if self.chance(0.3) else 7)):
            self.computing(computing)
        if self.style == "ring":
            for unit in computing:
                self.flow(unit, [-1] * self.int(1, 3))
        if self.style == "loop":
            self.credits(computing)
        n_units, n_channels = len(self.builder.units), len(self.builder.channels)
        if self.chance(0.5):
            return self.builder.tables()
        return self.builder.tables(self.rng.permutation(n_units), self.rng.permutation(n_channels))

    def computing(self, earlier):
        """A new computing unit behind some of the earlier ones."""
        even = self.style in ("plain", "loop")
        n_tokens = self.most if even else self.int(1, self.most + 1)
        slowest = 30 if self.chance(0.1) else 6
        service = self.rng.integers(1, slowest, self.int(1, n_tokens + 1)).tolist()
        unit = self.builder.compute(n_tokens, service, lanes=self.lanes(), **self.span(n_tokens))
        sources = [u for u in earlier if self.chance(1.5 / len(earlier))]
        if self.style in ("windows", "ring"):
            sources = earlier[self.int(0, len(earlier)) :][:1] if earlier else []
        for source in sources:
            if self.links and self.chance(0.5):
                self.flow(source, [unit])
            else:
                emit, take, depth = self.coupling(self.tokens(source), n_tokens)
                self.builder.queue(source, unit, depth, emit=emit, take=take)
        earlier.append(unit)

    def lanes(self):
        return self.int(2, 4) if self.chance(0.35) else 1

    def tokens(self, unit):
        return self.builder.units[unit][1]

    def span(self, n_tokens):
        if self.chance(0.2):
            return {}
        return {"span": self.int(0, self.n_rows), "span_period": self.int(1, n_tokens + 1)}

    def flow(self, source, targets):
        """An interface behind a unit, a tree of hops, its far ends; sinks are added."""
        b = self.builder
        even = self.style in ("plain", "loop")
        n_packets = self.most if even else self.int(1, self.most + 1)
        inject = b.inject(n_packets, **self.span(n_packets))
        if self.chance(0.9):
            emit, take, depth = self.coupling(self.tokens(source), n_packets)
            b.queue(source, inject, depth, emit=emit, take=take)
        flits = self.int(1, 6)
        root = b.root(inject, lead=1, service=flits, flits=flits)
        targets = targets + [-1] * (self.chance(0.4) + self.chance(0.2))
        if self.chance(0.3) and self.style == "plain":
            # a second reader behind the same packets
            later = b.compute(n_packets, [self.int(1, 6)], lanes=self.lanes(), **self.span(n_packets))
            targets.append(later)
        for target in targets:
            hop = self.walk(root, flits)
            n_target = 1 if target < 0 else self.tokens(target)
            emit, take, depth = self.coupling(n_packets, n_target)
            b.far_end(hop, target, depth, emit=emit, take=take)

    def walk(self, root, flits):
        """A hop at the end of a route; routes climb, or go round the ring, and share their first hops."""
        b, hop = self.builder, root
        first = self.int(0, len(self.links)) if self.links else 0
        for i in range(self.int(1, 4)):
            at = b.hops[hop][0]
            if self.style == "ring":
                options = [self.links[(first + i) % len(self.links)]]
            else:
                options = [link for link in self.links if link > at or b.units[at][0] == INJECT]
            if not options:
                break
            link = options[min(self.int(0, 3), self.int(0, len(options)))]
            known = [child for child, other in enumerate(b.hops) if other[2] == hop and other[0] == link]
            router = self.int(1, 4)
            cycles = {"lead": router, "service": max(router, flits), "flits": flits}
            if self.chance(0.2):
                cycles["service"] = router
            hop = known[0] if known else b.hop(hop, link, depth=self.depth(3), **cycles)
        return hop

    def depth(self, high=4):
        return self.int(1, high + 1)

    def coupling(self, n_source, n_target):
        """Emit flags, what is taken, and slots of a channel."""
        if self.style in ("plain", "loop") and n_source == n_target:
            return (1,), PLAIN, self.depth()
        emit = (1,)
        if self.chance(0.6):
            flags = self.rng.integers(0, 2, self.int(1, n_source + 1))
            flags[self.int(0, flags.size)] = 1
            emit = tuple(flags.tolist())
        emitted = sum(emit[j % len(emit)] for j in range(n_source))
        take = self.take(emitted + (self.style == "any" and self.chance(0.06)), n_target)
        least = max(1, take.least_depth(emitted, n_target))
        if self.style == "any" and self.chance(0.1):
            return emit, take, max(1, least - 1)
        return emit, take, max(least, self.depth())

    def take(self, elements, n_tokens):
        """Takes all elements: evenly, or in bursts, with a window that frees later than it needs; maybe periodic."""
        period = n_tokens
        repeats = [r for r in range(2, n_tokens + 1) if n_tokens % r == 0 and elements % r == 0]
        if repeats and self.chance(0.5):
            period = n_tokens // repeats[self.int(0, len(repeats))]
        step = elements * period // n_tokens
        if self.chance(0.3):
            need = [-(-(j + 1) * step // period) for j in range(period)]
        else:
            need = sorted(self.rng.integers(0, step + 1, period).tolist())
            need[-1] = step
        lag = self.int(0, 4)
        free = [max(0, count - lag) for count in need]
        if self.chance(0.7):
            free[-1] = need[-1]
        return Take(tuple(need), tuple(free), step)

    def credits(self, computing):
        """A channel against the flow; finishes only if it starts with enough credits."""
        if len(computing) < 2:
            return
        last, first = computing[-1], computing[0]
        credit = self.int(0, 4)
        need = tuple(max(0, j + 1 - credit) for j in range(self.most))
        self.builder.queue(last, first, self.most, take=Take(need, need, 0))
