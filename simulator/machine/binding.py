"""Tables of a phase: the program's units and routes of one scope, with their tokens.

What depends on the design alone is kept as a template; the services that depend on spikes are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..functional.activity import Activity
from ..mapping.tiles import MappedLayer
from ..tables import COMPUTE, END, INJECT, LINK, QUEUE, ROUTE, PhaseTables
from .patterns import Patterns
from .services import DATA_KINDS, driven_services
from .streams import Streams
from .units import KIND, NETWORK_INPUT

if TYPE_CHECKING:
    from ..program import Program

IntArray = NDArray[np.int64]

_ROUTED = (KIND["inject"], KIND["link"])


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What one phase covers: ``n_images`` images, these steps of each, one layer (-1: the input) or all (None)."""

    n_images: int
    steps: tuple[int, ...]
    layer: int | None
    #: Steps vary fastest after the row group (``layer_major``).
    inner: bool

    @property
    def n_steps(self) -> int:
        """Steps of one image."""
        return len(self.steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Template:
    tables: PhaseTables
    patterns: Patterns
    #: positions in ``unit`` of the units whose services follow the spikes, by (layer, replica).
    driven: dict[tuple[int, int], IntArray]


class Binder:
    """Makes phases of one program and one activity."""

    def __init__(self, program: Program, activity: Activity) -> None:
        self._program = program
        self._activity = activity
        self._streams = Streams(program)
        self._templates: dict[Scope, _Template] = {}

    def tables(self, image: int | None, step: int | None, layer: int | None) -> PhaseTables:
        """Tables of one phase; None: all images, all steps, all layers."""
        program = self._program
        scope = Scope(
            n_images=self._activity.n_images if image is None else 1,
            steps=tuple(range(program.mapping.network.n_timesteps)) if step is None else (step,),
            layer=layer,
            inner=program.hw.dataflow.loop == "layer_major",
        )
        template = self._template(scope)
        start, period = template.tables.service_start.copy(), template.tables.service_period.copy()
        services = Patterns()
        services.add(template.tables.service_values)
        images = slice(None) if image is None else slice(image, image + 1)
        for (index, replica), places in template.driven.items():
            active = self._activity.layers[index].active_rows[images]
            if not program.mapping.layers[index].layer.input.static:
                active = active[:, list(scope.steps)]
            units = template.tables.unit[places]
            rows, row_of, tokens = driven_services(program, index, replica, units, active, scope.inner)
            start[places] = services.add(rows) + row_of * tokens
            period[places] = max(1, tokens)
        return template.tables._replace(service_start=start, service_period=period, service_values=services.values())

    def _template(self, scope: Scope) -> _Template:
        """Template of a scope; of a single step, that of the first step with the same cycles."""
        if len(scope.steps) == 1 and scope.layer is not None and scope.layer >= 0:
            step_cycles = self._program.step_cycles[self._program.unit_layer == scope.layer]
            step = scope.steps[0]
            alike = (step_cycles == step_cycles[:, [step]]).all(axis=0)
            first = next(s for s in range(step + 1) if alike[s] and (s > 0 or step == 0))
            scope = replace(scope, steps=(first,))
        if scope not in self._templates:
            self._templates[scope] = _Maker(self._program, scope, self._streams).template()
        return self._templates[scope]


class _Maker:
    """Builds the template of one scope."""

    def __init__(self, program: Program, scope: Scope, streams: Streams) -> None:
        self.program = program
        self.scope = scope
        self.streams = streams
        self.patterns = Patterns()
        self.one = self.patterns.add(np.ones(1, dtype=np.int64))
        self._sizes: dict[tuple[int, int, int], int] = {}
        self._emissions: dict[tuple[int, ...], tuple[int, int]] = {}
        self._takings: dict[tuple[int, ...], tuple[int, int, int, int]] = {}

    def _n_positions(self, layer: int, replica: int, op: int = 0) -> int:
        """Positions of a replica at one step."""
        key = (layer, replica, op)
        if key not in self._sizes:
            self._sizes[key] = self.program.mapping.layers[layer].positions(replica, op).size
        return self._sizes[key]

    def template(self) -> _Template:
        p = self.program
        inside = self._inside()
        hops = np.flatnonzero(inside[p.hop_inject])
        inside[p.hop_unit[hops]] = True
        unit = np.flatnonzero(inside)
        kind = p.unit_kind[unit]
        tokens = np.array([self._tokens(int(u)) for u in unit], dtype=np.int64)
        place = np.full(p.n_units, -1, dtype=np.int64)
        place[unit] = np.arange(unit.size)
        # A router output serves every packet of every flow that passes it.
        at_link = p.unit_kind[p.hop_unit[hops]] == KIND["link"]
        np.add.at(tokens, place[p.hop_unit[hops[at_link]]], tokens[place[p.hop_inject[hops[at_link]]]])
        start, period, values = self._services(unit)
        span, span_period, span_shape = self._spans(unit, tokens)
        role = np.where(kind == KIND["link"], LINK, np.where(kind == KIND["inject"], INJECT, COMPUTE))
        tables = PhaseTables(
            unit=unit,
            role=role,
            lanes=np.ones(unit.size, dtype=np.int64),
            n_tokens=tokens,
            service_start=start,
            service_period=period,
            service_values=values,
            span=span,
            span_period=span_period,
            span_shape=span_shape,
            **self._channels(inside, place, hops),
        )
        driven: dict[tuple[int, int], list[int]] = {}
        for i in np.flatnonzero(np.isin(kind, DATA_KINDS)):
            owner = (int(p.unit_layer[unit[i]]), int(p.unit_replica[unit[i]]))
            driven.setdefault(owner, []).append(int(i))
        return _Template(
            tables=tables,
            patterns=self.patterns,
            driven={owner: np.array(places, dtype=np.int64) for owner, places in driven.items()},
        )

    def _inside(self) -> NDArray[np.bool_]:
        """Units of the scope, router outputs not yet."""
        p, layer = self.program, self.scope.layer
        inside: NDArray[np.bool_] = p.unit_kind != KIND["link"]
        if layer is not None:
            inside &= p.unit_layer == layer
        if 0 in self.scope.steps:
            return inside
        # Later steps of a direct-coded layer hold just its neurons, which use the held sums.
        crossbars = (p.unit_kind < KIND["norm"]) | ((p.unit_kind == KIND["inject"]) & (p.unit_number < 0))
        for mapped in self.program.mapping.layers:
            if mapped.layer.input.static:
                inside &= ~(crossbars & (p.unit_layer == mapped.layer.index))
        return inside

    def _runs(self, layer: int) -> int:
        """Runs of a layer's crossbars in the scope."""
        static = self.program.mapping.layers[layer].layer.input.static
        return int(0 in self.scope.steps) if static else self.scope.n_steps

    def _input_runs(self) -> tuple[int, int]:
        """Bursts of the network input an image, and steps in each."""
        static = self.program.mapping.network.input.static
        if static or self.scope.inner:
            return int(0 in self.scope.steps), 1 if static else self.scope.n_steps
        return self.scope.n_steps, 1

    def _tokens(self, unit: int) -> int:
        """Tokens of a unit; a router output's are added up from its flows."""
        p, images = self.program, self.scope.n_images
        kind, layer = int(p.unit_kind[unit]), int(p.unit_layer[unit])
        if kind == KIND["link"]:
            return 0
        if layer == NETWORK_INPUT:
            bursts, steps = self._input_runs()
            _, height, width = p.mapping.network.input.shape
            return images * bursts * (1 if kind == KIND["input"] else steps * height * width)
        mapped, replica, number = p.mapping.layers[layer], int(p.unit_replica[unit]), int(p.unit_number[unit])
        positions = self._n_positions(layer, replica)
        if kind < KIND["norm"]:
            return images * self._runs(layer) * positions * mapped.reads_per_vector
        if kind == KIND["inject"]:
            if number < 0:
                return images * self._runs(layer) * positions
            return images * self.scope.n_steps * self._n_positions(layer, replica, number)
        return images * self.scope.n_steps * positions

    def _services(self, unit: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Start, period and values of the services that do not follow the spikes."""
        p, scope = self.program, self.scope
        steps = p.step_cycles[unit][:, list(scope.steps)]
        cycles = p.base_cycles[unit][:, None] + steps
        values = Patterns()
        start = values.add(np.maximum(cycles[:, 0], 1)) + np.arange(unit.size, dtype=np.int64)
        period = np.ones(unit.size, dtype=np.int64)
        for i in np.flatnonzero((steps != steps[:, :1]).any(axis=1)):
            mapped = p.mapping.layers[int(p.unit_layer[unit[i]])]
            repeat = 1 if scope.inner else mapped.positions(int(p.unit_replica[unit[i]])).size
            pattern = np.repeat(np.maximum(cycles[i], 1), repeat)
            start[i], period[i] = values.add(pattern), max(1, pattern.size)
        return start, period, values.values()

    def _spans(self, unit: IntArray, tokens: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Two rows a layer (the input first): what runs once a step, and what runs once an image."""
        p, scope = self.program, self.scope
        links = p.unit_kind[unit] == KIND["link"]
        if scope.layer is not None:
            return np.where(links, -1, 0), np.maximum(tokens, 1), np.array([1, 1], dtype=np.int64)
        static = np.array([p.mapping.network.input.static, *(m.layer.input.static for m in p.mapping.layers)])
        crossbars = (p.unit_kind[unit] < KIND["norm"]) | (
            (p.unit_kind[unit] == KIND["inject"]) & ((p.unit_number[unit] < 0) | (p.unit_layer[unit] == NETWORK_INPUT))
        )
        row = p.unit_layer[unit] + 1
        per_image = scope.inner | (crossbars & static[row])
        groups = scope.n_images * np.where(per_image, 1, scope.n_steps)
        span = np.where(links, -1, 2 * row + per_image)
        shape = (2 * static.size, scope.n_images * (1 if scope.inner else scope.n_steps))
        return span, np.maximum(tokens // groups, 1), np.array(shape, dtype=np.int64)

    def _channels(self, inside: NDArray[np.bool_], place: IntArray, hops: IntArray) -> dict[str, IntArray]:
        p = self.program
        hop_place = np.full(p.hop_unit.size, -1, dtype=np.int64)
        hop_place[hops] = np.arange(hops.size)
        chosen = (p.channel_kind == QUEUE) & inside[p.channel_src]
        chosen[p.hop_channel[hops][p.hop_channel[hops] >= 0]] = True
        chosen |= (p.channel_kind == END) & (hop_place[p.channel_hop] >= 0)
        channel = np.flatnonzero(chosen)
        channel_place = np.full(p.channel_src.size, -1, dtype=np.int64)
        channel_place[channel] = np.arange(channel.size)
        kind = p.channel_kind[channel]
        dst = np.where(inside[p.channel_dst[channel]], place[p.channel_dst[channel]], -1)
        emits = np.array([self._emission(int(c)) for c in channel], dtype=np.int64).reshape(-1, 2)
        takes = np.array(
            [self._taking(int(c)) if d >= 0 else (self.one, self.one, 1, 1) for c, d in zip(channel, dst, strict=True)],
            dtype=np.int64,
        ).reshape(-1, 4)
        root = np.full(place.size, -1, dtype=np.int64)
        is_root = p.hop_parent[hops] < 0
        root[p.hop_unit[hops[is_root]]] = np.flatnonzero(is_root)
        return {
            "channel": channel,
            "kind": kind,
            "src": place[p.channel_src[channel]],
            "dst": dst,
            "depth": p.channel_depth[channel],
            "emit_start": emits[:, 0],
            "emit_period": emits[:, 1],
            "need_start": takes[:, 0],
            "free_start": takes[:, 1],
            "take_period": takes[:, 2],
            "take_step": takes[:, 3],
            "root_hop": root[np.flatnonzero(inside)],
            "pattern_values": self.patterns.values(),
            **self._hops(hops, hop_place, place, channel, channel_place),
        }

    def _hops(
        self, hops: IntArray, hop_place: IntArray, place: IntArray, channel: IntArray, channel_place: IntArray
    ) -> dict[str, IntArray]:
        p, router = self.program, self.program.hw.noc.router_cycles
        flits = p.unit_flits[p.hop_inject[hops]]
        lead = np.where(p.hop_parent[hops] < 0, 1, router)
        parent = np.where(p.hop_parent[hops] < 0, -1, hop_place[p.hop_parent[hops]])
        ends = np.flatnonzero(p.channel_kind[channel] == END)
        child_start, child = _children(parent, hops.size)
        deliver_start, delivered = _children(hop_place[p.channel_hop[channel[ends]]], hops.size)
        return {
            "hop_unit": place[p.hop_unit[hops]],
            "hop_channel": np.where(p.hop_channel[hops] < 0, -1, channel_place[p.hop_channel[hops]]),
            "hop_lead": lead,
            "hop_service": np.maximum(lead, flits),
            "hop_flits": flits,
            "child_start": child_start,
            "child": child,
            "deliver_start": deliver_start,
            "deliver": ends[delivered],
        }

    def _emission(self, channel: int) -> tuple[int, int]:
        """Start and period of a channel's emit flags; queues of like units share theirs."""
        p = self.program
        src = p.channel_src[channel]
        if p.channel_kind[channel] == ROUTE:
            return self.one, 1
        if p.channel_kind[channel] == END:
            return self._make_emission(channel)
        key = (int(p.unit_kind[src]), int(p.unit_layer[src]), int(p.unit_replica[src]), int(p.unit_number[src]))
        if key not in self._emissions:
            self._emissions[key] = self._make_emission(channel)
        return self._emissions[key]

    def _make_emission(self, channel: int) -> tuple[int, int]:
        p = self.program
        if p.channel_kind[channel] == END:
            if not self.streams.between_layers(channel):
                return self.one, 1
            emit = self.streams.of(channel).emit
            return self.patterns.add(emit, ("emit", *self.streams.ends(channel))), max(1, emit.size)
        src = int(p.channel_src[channel])
        kind = int(p.unit_kind[src])
        if kind == KIND["tile_accumulate"]:
            reads = p.mapping.layers[int(p.unit_layer[src])].reads_per_vector
            # Only the last row group of a position leaves the accumulator.
            return self.patterns.add(np.eye(1, reads, reads - 1, dtype=np.int64), ("last", reads)), reads
        if kind == KIND["pool"]:
            mapped, replica, number = p.mapping.layers[p.unit_layer[src]], int(p.unit_replica[src]), p.unit_number[src]
            flags = window_ends(mapped, int(number))[mapped.positions(replica)]
            if self.scope.inner:
                flags = np.repeat(flags, self.scope.n_steps)
            return self.patterns.add(flags, ("pool", int(p.unit_layer[src]), replica, int(number))), max(1, flags.size)
        return self.one, 1

    def _taking(self, channel: int) -> tuple[int, int, int, int]:
        """Need, free, period and step of a channel's cumulative patterns; those into like units are the same."""
        p = self.program
        dst = p.channel_dst[channel]
        if p.channel_kind[channel] == ROUTE:
            return self.one, self.one, 1, 1
        if p.channel_kind[channel] == END and self.streams.between_layers(channel):
            return self._window_taking(channel)
        key = (int(p.unit_kind[dst]), int(p.unit_layer[dst]), int(p.unit_replica[dst]))
        if key not in self._takings:
            self._takings[key] = self._queue_taking(channel)
        return self._takings[key]

    def _queue_taking(self, channel: int) -> tuple[int, int, int, int]:
        p = self.program
        dst = int(p.channel_dst[channel])
        if p.unit_kind[dst] == KIND["global_buffer"]:
            _, height, width = p.mapping.network.input.shape
            burst = height * width * self._input_runs()[1]
            need = self.patterns.add(np.ones(burst, dtype=np.int64), ("burst", burst))
            free = self.patterns.add(np.eye(1, burst, burst - 1, dtype=np.int64), ("burst end", burst))
            return need, free, burst, 1
        layer = int(p.unit_layer[dst])
        if p.unit_kind[dst] == KIND["norm"] and p.mapping.layers[layer].layer.input.static and self.scope.n_steps > 1:
            # The sums arrive once an image and are held.
            positions = p.mapping.layers[layer].positions(int(p.unit_replica[dst])).size
            steps, each = self.scope.n_steps, 1 if self.scope.inner else positions
            held = self.patterns.add(np.minimum(np.arange(each * steps) + 1, each), ("held", each, steps))
            return held, held, max(1, each * steps), each
        return self.one, self.one, 1, 1

    def _window_taking(self, channel: int) -> tuple[int, int, int, int]:
        p = self.program
        ends, made = self.streams.ends(channel), self.streams.of(channel)
        need, free = made.need, made.free
        if p.unit_kind[p.channel_dst[channel]] == KIND["fetch"]:
            reads = p.mapping.layers[int(p.unit_layer[p.channel_dst[channel]])].reads_per_vector
            # Slots are freed when the last row group of a window is fetched.
            before = np.append(0, free[:-1])
            late = np.repeat(before[:, None], reads, axis=1)
            late[:, -1] = free
            need, free = np.repeat(need, reads), late.ravel()
        period = max(1, need.size)
        total = int(made.emit.sum())
        return self.patterns.add(need, ("need", *ends)), self.patterns.add(free, ("free", *ends)), period, total


def _children(parent: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Rows grouped by parent (stable, -1: none): start of each of ``n`` parents, and the rows."""
    rows = np.argsort(parent, kind="stable")
    rows = rows[parent[rows] >= 0]
    start = np.searchsorted(parent[rows], np.arange(n + 1))
    return start.astype(np.int64), rows.astype(np.int64)


def window_ends(mapped: MappedLayer, op: int) -> IntArray:
    """(positions,) 1 where a position of a pool's input, in raster order, completes a window."""
    pool, source = mapped.layer.ops[op], mapped.layer.ops[mapped.layer.ops[op].sources[0]]
    _, height, width = source.shape
    _, rows, columns = pool.shape

    def ends(length: int, windows: int) -> IntArray:
        flags = np.zeros(length, dtype=np.int64)
        flags[pool.node.kernel - 1 :: pool.node.stride][:windows] = 1  # type: ignore[union-attr]  # a SumPoolNode
        return flags

    return np.outer(ends(height, rows), ends(width, columns)).ravel()
