"""Cycles of layers that stream into each other (``layer_pipelined``), in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .analytic_cycles import input_work
from .analytic_tiles import Tables, ceil_div

Array = NDArray[np.float64]


@kernel
def _count(layer: Any, op: Any, y: int, x: int) -> float:
    """Positions of a layer's sums, in raster order, until an op's element (y, x) is there."""
    if op.height != layer.height or op.width != layer.width:
        stretch = max(1, layer.height // max(1, op.height))
        y, x = min(layer.height - 1, y * stretch + stretch - 1), min(layer.width - 1, x * stretch + stretch - 1)
    return float(y * layer.width + x + 1)


#: How a layer takes the map of its source: ``share`` of it before the first window, ``behind`` the source by at most
#: this share of its own map at the source's end (below 0: by more than a map), ``tail`` of its work after the last
#: element, ``fetched``: share of its work until the last window is fetched.
COUPLING = np.dtype([(name, np.float64) for name in ["share", "behind", "tail", "fetched"]])

#: Images of the recurrence in ``pipelined``.
N_IMAGES = 4


@kernel
def maker_of(net: Tables, signal: int) -> int:
    """Layer that makes a signal, -1 for the network input."""
    maker = -1
    for number in range(net.layer.size):
        if net.layer[number].first_op < signal:
            maker = number
    return maker if signal > 0 else -1


@kernel
def _couple(d: Any, net: Tables, number: int, steps: int, cut: Any, out: Any) -> None:
    """Fill ``out`` (``COUPLING``)."""
    layer = net.layer[number]
    height, width = layer.map_height, layer.map_width
    tokens = cut.reads * (steps if d.layer_major and not layer.static else 1)
    if layer.linear:
        y, x, out.tail = height - 1, width - 1, 1.0
        depth = height * width + width
        out.fetched = max(0.0, tokens - 1.0 - d.fifo_depth) / tokens
    else:
        y = min(height, max(1, layer.kernel_height - layer.padding)) - 1
        x = min(width, max(1, layer.kernel_width - layer.padding)) - 1
        # Windows come in raster order: those from the first that holds the last element on.
        first_y = max(0, ceil_div(height - layer.kernel_height + layer.padding, layer.stride))
        first_x = max(0, ceil_div(width - layer.kernel_width + layer.padding, layer.stride))
        before = min(layer.height, first_y) * layer.width + min(layer.width, first_x)
        out.tail = max(0.0, 1.0 - before / float(layer.height * layer.width))
        depth = layer.kernel_height * width + layer.kernel_width
        out.fetched = 1.0
    if d.buffer_positions > 0:
        depth = d.buffer_positions
    free = depth - (0 if layer.linear else layer.padding * width)
    out.behind = max(-1.0, 1.0 - free / float(height * width))
    out.share = (y * width + x + 1.0) / (height * width)
    maker = maker_of(net, layer.source)
    if maker >= 0:
        made = net.layer[maker]
        out.share = _count(made, net.op[layer.source - 1], y, x) / float(made.height * made.width)


@kernel
def _map_work(d: Any, layer: Any, cut: Any, work: Any, step: int, steps: int) -> float:
    """Cycles of one map of a layer, by its slowest unit."""
    n, runs = float(cut.positions), 1 if layer.static else steps
    if d.layer_major:
        return float(n * max(work.crossbars * runs, work.ops_between * steps))
    ops = work.ops_first if step == 0 else work.ops_last if step == steps - 1 else work.ops_between
    return float(n * max(work.crossbars, ops) if step < runs else n * ops)


@kernel
def _lowest(d: Any, layer: Any, cut: Any, work: Any, steps: int) -> float:
    """Work of the busiest unit of a layer, an image."""
    runs = 1 if layer.static else steps
    ops = work.ops_between * steps
    if not d.layer_major:
        ops = work.ops_first
        if steps > 1:
            ops += work.ops_last + work.ops_between * (steps - 2)
    return float(cut.positions * max(work.crossbars_lowest * runs, ops))


@kernel
def pipelined(
    d: Any, net: Tables, steps: int, tiles: int, cuts: Any, works: Any, cycles: Array, bounds: Array
) -> tuple[float, float]:
    """Latency of the first image and interval of ``N_IMAGES``, by a recurrence over whole maps.

    A map of a layer starts when the first window of it is there and the map before it is done, and ends when its work
    is done and the last window's elements came. A source cannot be further ahead than the buffers of its readers.
    ``cycles``: work of each layer an image.
    """
    n_layers = works.size
    bursts, load, positions, pace, chain = input_work(d, net, steps, tiles, cuts)
    couples = np.zeros(n_layers, dtype=COUPLING)
    makers = np.zeros(n_layers, dtype=np.int64)
    cycles[0] = bursts * max(load, positions * pace)
    low = cycles[0]
    high = bursts * (load + positions * (2.0 * chain + 4.0 * pace * tiles))
    links = positions * pace * bursts + works[0].link * (tiles > 1)
    maps = 1 if d.layer_major else steps
    for number in range(n_layers):
        layer, work = net.layer[number], works[number]
        _couple(d, net, number, steps, cuts[number], couples[number])
        makers[number] = maker_of(net, layer.source)
        for step in range(maps):
            cycles[1 + number] += _map_work(d, layer, cuts[number], work, step, steps)
        low = max(low, _lowest(d, layer, cuts[number], work, steps))
        links = max(links, work.link)
        runs = 1 if layer.static else steps
        whole = float(layer.height * layer.width)
        high += whole * (work.crossbars_serial * runs + work.ops_serial * steps) + work.packets_serial
    bounds[0], bounds[1] = low, max(high, low)
    # Row 0 is the network input; start and end of the current map, end of the fetches of the one before.
    start, end, fetched = np.zeros(1 + n_layers), np.zeros(1 + n_layers), np.zeros(1 + n_layers)
    loaded = latency = done = 0.0
    first_done = np.zeros(n_layers)
    for m in range(N_IMAGES * maps):
        step = m % maps
        if step == 0 or bursts > 1.0:
            loaded += load
            start[0] = max(loaded, end[0])
            end[0] = start[0] + positions * pace
        for number in range(n_layers):
            layer, couple, source = net.layer[number], couples[number], 1 + makers[number]
            begin, amount = end[1 + number], _map_work(d, layer, cuts[number], works[number], step, steps)
            if layer.static and step == 0 and m > 0:
                # While later steps use the held sums, the crossbars fill the queues with the next image.
                queued = d.fifo_depth + (3.0 * d.fifo_depth + 4.0) / cuts[number].reads
                ahead = min(begin - first_done[number], queued * works[number].crossbars)
                amount = max(0.0, amount - max(0.0, ahead))
            last = begin + amount
            if not layer.static or step == 0:
                lag = chain if source == 0 else works[source - 1].chain + works[source - 1].op_chain
                if source > 0:
                    lag += works[source - 1].flight
                begin = max(begin, start[source] + couple.share * (end[source] - start[source]) + lag)
                last = max(begin + amount, end[source] + lag + couple.tail * amount)
            for reader in range(number + 1, n_layers):
                behind = couples[reader].behind
                if makers[reader] == number and behind < 0.0 and m > 0:
                    last = max(last, fetched[1 + reader] + (1.0 + behind) * amount)
            start[1 + number], end[1 + number] = begin, last
        for number in range(n_layers):
            fetched[1 + number] = start[1 + number] + couples[number].fetched * (end[1 + number] - start[1 + number])
        for reader in range(n_layers - 1, -1, -1):
            behind, source = couples[reader].behind, 1 + makers[reader]
            if behind >= 0.0 and (step == 0 or not net.layer[reader].static):
                end[source] = max(end[source], start[1 + reader] + behind * (end[1 + reader] - start[1 + reader]))
            if step == 0 and net.layer[reader].static:
                first_done[reader] = end[1 + reader]
        if m == maps - 1:
            latency = end[n_layers] + works[n_layers - 1].chain + works[n_layers - 1].op_chain
            done = end[n_layers]
    interval = max(links, (end[n_layers] - done) / (N_IMAGES - 1.0))
    return max(latency, links), interval
