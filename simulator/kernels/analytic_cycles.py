"""Cycles in closed form: phases with barriers, or layers that stream into each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .analytic_tiles import Sums, Tables, ceil_div

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Work of a layer. Cycles a position: ``crossbars`` (all its row groups), ``ops_*`` (slowest op at the first step,
#: between, at the last), ``lowest_*`` and ``serial_*`` the same for the bounds; ``chain`` and ``op_chain``: one token
#: through; ``flight``: a packet to its farthest reader; ``link``: the busiest link an image.
WORK = np.dtype(
    [
        (name, np.float64)
        for name in [
            "crossbars",
            "crossbars_lowest",
            "crossbars_serial",
            "ops_first",
            "ops_between",
            "ops_last",
            "op_chain",
            "ops_serial",
            "chain",
            "flight",
            "link",
            "packets_serial",
        ]
    ]
)

_NORM, _ADD, _LIF, _POOL, _READOUT = 0, 1, 2, 3, 4


@kernel
def _memory(d: Any, values: int, bits: int) -> int:
    return int(ceil_div(ceil_div(values * bits, d.word_bits), d.memory_ports))


@kernel
def mesh_width(d: Any, tiles: int) -> int:
    """Width of the mesh, as ``mesh_size``."""
    if d.mesh_width > 0:
        return int(d.mesh_width)
    return math.floor(math.sqrt(max(0, tiles - 1) + 0.5)) + 1


@kernel
def distance(d: Any, tiles: int, first: int, last: int, first_target: int, last_target: int) -> float:
    """Links from the last of some tiles to the farthest target: exact rows, or two compact clusters side by side."""
    width = mesh_width(d, tiles)
    if first == last and first_target == last_target and first == first_target:
        return 0.0
    if d.row_major:
        x, y = last % width, last // width
        rows = max(abs(first_target // width - y), abs(last_target // width - y))
        if first_target // width != last_target // width:
            return float(rows + max(x, width - 1 - x))
        return float(rows + max(abs(first_target % width - x), abs(last_target % width - x)))
    height = max(1, ceil_div(tiles, width))
    span = math.sqrt(last - first + 1.0) + math.sqrt(last_target - first_target + 1.0) - 1.0
    return max(1.0, min(span, width + height - 2.0))


@kernel
def tree_links(d: Any, tiles: int, source: int, first_target: int, last_target: int) -> float:
    """Links of a multicast tree, about."""
    targets = last_target - first_target + 1
    if targets == 1 and source == first_target:
        return 0.0
    far = distance(d, tiles, source, source, first_target, last_target)
    if d.row_major:
        width = mesh_width(d, tiles)
        columns = min(width, targets)
        rows = abs(last_target // width - source // width)
        return max(far, columns - 1.0 + columns * rows)
    return max(far, targets - 1.0 + 0.5 * math.sqrt(float(targets)))


@kernel
def reader_tiles(net: Tables, signal: int, cuts: Any) -> tuple[int, int]:
    """First and last tile that read a signal."""
    first, last = 1 << 60, -1
    for i in range(net.reader_start[signal], net.reader_start[signal + 1]):
        cut = cuts[net.reader_layer[i]]
        if net.reader_op[i] < 0:
            first, last = min(first, cut.first_tile), max(last, cut.last_tile)
        else:
            first, last = min(first, cut.first_home), max(last, cut.last_home)
    return first, last


@kernel
def layer_work(
    d: Any,
    net: Tables,
    number: int,
    steps: int,
    tiles: int,
    replicas: int,
    cuts: Any,
    token: Any,
    sums: Sums,
    work: Any,
) -> None:
    """Fill ``work`` (``WORK``)."""
    layer, cut = net.layer[number], cuts[number]
    neurons = cut.neurons_max
    update = ceil_div(neurons, d.neuron_lanes)
    held = 0
    if layer.static and steps > 1 and not d.layer_major:
        held = _memory(d, neurons, layer.psum_bits)
    foreign = ceil_div(cut.norm_foreign, d.accumulator_lanes)
    norm_first = max(1, ceil_div(cut.norm_neurons, d.neuron_lanes) + foreign + held)
    norm_later = max(1, update + held) if layer.static else norm_first
    first = between = final = 0
    chain = 0.0
    for i in range(layer.first_op, layer.first_op + layer.n_ops):
        op = net.op[i]
        cycles = update
        if op.kind == _NORM:
            first, between, final = max(first, norm_first), max(between, norm_later), max(final, norm_later)
            chain += norm_first
            cycles = 0
        elif op.kind == _ADD:
            cycles = ceil_div((op.inputs - 1) * neurons, d.neuron_lanes)
            for r in range(op.first_residual, op.first_residual + op.n_residuals):
                cycles += _memory(d, neurons, net.residual_bits[r])
        elif op.kind == _LIF and not d.layer_major:
            access = _memory(d, neurons, op.membrane_bits)
            once, twice = max(1, access), max(1, 2 * access)
            if steps == 1:
                once = 1
            first, between, final = max(first, once), max(between, twice), max(final, once)
            chain += once if steps < 3 else twice
        if op.sent:
            flits = max(1, ceil_div(d.header_bits + neurons * op.bits, d.flit_bits))
            start, end = reader_tiles(net, 1 + i, cuts)
            far = distance(d, tiles, cut.first_home, cut.last_home, start, end)
            work.flight = max(work.flight, 1.0 + far * d.router_cycles + flits)
            share = op.height * op.width / float(layer.height * layer.width)
            packet = math.ceil(flits * share)
            first, between, final = max(first, packet), max(between, packet), max(final, packet)
            outputs = float(op.height * op.width)
            flow = max(float(sums.flits[i]), outputs * d.router_cycles * cut.homes / replicas)
            if far > 0.0:
                work.link += steps * flow
            links = tree_links(d, tiles, cut.last_home, start, end)
            work.packets_serial += steps * (
                2.0 * sums.flits[i] * (1.0 + links) + outputs * cut.homes / replicas * (1.0 + links * d.router_cycles)
            )
        first, between, final = max(first, cycles), max(between, cycles), max(final, cycles)
        chain += cycles
    work.ops_first, work.ops_between, work.ops_last = first, between, final
    work.op_chain = chain
    work.ops_serial = chain * cut.homes / replicas
    work.chain = token.chain
    work.crossbars_lowest = max(
        token.fetch, token.read, token.convert, token.pe_accumulate, token.bus, token.tile_accumulate
    )
    work.crossbars = token.position
    work.crossbars_serial = cut.n_pes * (token.read + token.convert + token.pe_accumulate)
    work.crossbars_serial += cut.tiles / replicas * (token.fetch + token.bus + token.tile_accumulate)
    if cut.flows > 0:
        flits = max(1, ceil_div(d.header_bits + cut.psum_outputs_max * layer.psum_bits, d.flit_bits))
        # In row-major order all of them come from one side, else about from two.
        arriving = max(float(cut.psum_arriving), cut.psum_packets * float(d.router_cycles))
        work.crossbars = max(work.crossbars, arriving if d.row_major else 0.5 * arriving)
        # Tiles of a block lie side by side; in row-major order some block goes on in the next row.
        away, width = float(cut.psum_packets), mesh_width(d, tiles)
        if d.row_major and cut.first_tile // width != cut.last_tile // width:
            away = max(away, width - 1.0)
        elif not d.row_major:
            away = math.sqrt(away)
        trip = 1.0 + away * d.router_cycles + flits
        # A slot at the home is reserved before a packet starts: so many are on the way at once.
        work.crossbars = max(work.crossbars, (trip + 1.0) / d.fifo_depth, float(flits), float(d.router_cycles))
        work.crossbars_lowest = max(work.crossbars_lowest, float(flits))
        work.chain += trip
        work.crossbars_serial += cut.flows / replicas * 2.0 * (trip + 1.0) * max(1.0, cut.tiles / replicas)


@kernel
def _tandem(n: float, slowest: float, chain: float, head: float) -> float:
    """N positions through stages: one through all of them, the others behind it at the pace of the slowest."""
    return chain + head + max(0.0, n - 1.0) * slowest if n > 0.0 else 0.0


@kernel
def input_work(d: Any, net: Tables, steps: int, tiles: int, cuts: Any) -> tuple[float, float, float, float, float]:
    """Of one burst of the network input: bursts an image, cycles to load, positions, cycles a position, chain."""
    reader = net.reader_layer[net.reader_start[0]]
    for i in range(net.reader_start[0], net.reader_start[1]):
        if net.reader_op[i] < 0:
            reader = net.reader_layer[i]
    layer = net.layer[reader]
    positions = layer.map_height * layer.map_width
    channels = layer.in_values // positions
    bits = channels * layer.planes
    maps = 1 if layer.static or not d.layer_major else steps
    bursts = 1 if layer.static or d.layer_major else steps
    load = ceil_div(layer.in_values * layer.planes * maps, d.load_bits)
    buffer = max(1, ceil_div(bits, d.buffer_bus))
    flits = max(1, ceil_div(d.header_bits + bits, d.flit_bits))
    start, end = reader_tiles(net, 0, cuts)
    far = distance(d, tiles, 0, 0, start, end)
    if not d.row_major:
        far = max(0.0, math.sqrt(end - start + 1.0) * 2.0 - 2.0)
    pace = max(buffer, flits)
    if far > 0.0:
        pace = max(pace, d.router_cycles)
    chain = buffer + 1.0 + far * d.router_cycles + flits
    return float(bursts), float(load), float(positions * maps), float(pace), chain


@kernel
def sequential(
    d: Any, net: Tables, steps: int, tiles: int, cuts: Any, works: Any, cycles: Array, bounds: Array
) -> None:
    """Cycles of each layer's phases, an image (the input first), and (lower, upper) bounds of their sum."""
    bursts, load, positions, pace, chain = input_work(d, net, steps, tiles, cuts)
    cycles[0] = bursts * (load + _tandem(positions, pace, chain, 0.0))
    low = bursts * max(load, positions * pace)
    high = bursts * (load + positions * (2.0 * chain + 4.0 * pace * tiles))
    for number in range(works.size):
        layer, work, cut = net.layer[number], works[number], cuts[number]
        n = float(cut.positions)
        head = work.crossbars * (cut.reads - 1.0) / cut.reads
        through = work.chain + work.op_chain + work.flight
        runs = 1 if layer.static else steps
        link = work.link / steps
        total = floor = 0.0
        if d.layer_major:
            busy = max(work.crossbars * runs, work.ops_between * steps, link * steps / n)
            total = _tandem(n, busy, through, busy - max(work.crossbars, work.ops_between) + head)
            floor = n * max(work.crossbars_lowest * runs, work.ops_between * steps)
        else:
            for step in range(steps):
                ops = work.ops_first if step == 0 else work.ops_last if step == steps - 1 else work.ops_between
                if step < runs:
                    total += _tandem(n, max(work.crossbars, ops, link / n), through, head)
                    floor += n * max(work.crossbars_lowest, ops)
                else:
                    total += _tandem(n, max(ops, link / n), work.op_chain + work.flight, 0.0)
                    floor += n * ops
        cycles[1 + number] = total
        low += floor
        whole = float(layer.height * layer.width)
        high += whole * (work.crossbars_serial * runs + work.ops_serial * steps) + work.packets_serial
    bounds[0], bounds[1] = low, max(high, low)
