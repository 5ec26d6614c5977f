"""Analytic mode: every design of a table on one network, cycles and action counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .analytic_counts import count_layer
from .analytic_cycles import WORK, layer_work, sequential
from .analytic_stream import pipelined
from .analytic_tiles import CUT, Sums, Tables, cut_layer
from .analytic_tokens import TOKENS, expect_tokens

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def estimate_designs(
    designs: Any,
    replicas: IntArray,
    measured: Array,
    steps: int,
    net: Tables,
    cycles: Array,
    totals: Array,
    counts: Array,
    placed: IntArray,
) -> None:
    """One row for each design.

    Args:
        designs: (n,) records ``DESIGN``.
        replicas: (n, layers).
        measured: (layers, 6) as ``MeasuredLayer``; nan: expect them from the densities.
        steps: T.
        net: the network.
        cycles: (n, 1 + layers), written: the input, then each layer, an image.
        totals: (n, 6), written: latency, interval, lower, upper bound of the latency, lower bound of the interval,
            estimate before clipping; all of them nan where the chip is too small.
        counts: (n, layers, actions), written.
        placed: (n, 1 + layers, 3), written: tiles of the chip (``chip.tiles``, or as many as needed), tiles that hold
            weights, PE slots up to the last weight; then of each layer its tiles, home tiles and PEs.
    """
    n_layers = net.layer.size
    for i in range(designs.size):
        d = designs[i]
        cuts, works = np.zeros(n_layers, dtype=CUT), np.zeros(n_layers, dtype=WORK)
        tokens = np.zeros(n_layers, dtype=TOKENS)
        sums = Sums(
            np.zeros(net.op.size, dtype=np.int64),
            np.zeros(net.residual_bits.size, dtype=np.int64),
            np.zeros(net.op.size, dtype=np.int64),
        )
        slot = 0
        for number in range(n_layers):
            slot = cut_layer(d, net, number, slot, replicas[i, number], cuts[number], sums)
        tiles = -(-slot // d.pes_per_tile)
        placed[i, 0, 0], placed[i, 0, 1], placed[i, 0, 2] = max(d.chip_tiles, tiles), tiles, slot
        for number in range(n_layers):
            row = placed[i, 1 + number]
            row[0], row[1] = cuts[number].tiles, cuts[number].homes
            row[2] = cuts[number].n_pes * replicas[i, number]
        if d.chip_tiles > 0:
            if tiles > d.chip_tiles:
                totals[i] = np.nan
                cycles[i] = np.nan
                counts[i] = np.nan
                continue
            tiles = d.chip_tiles
        for number in range(n_layers):
            expect_tokens(d, net, number, cuts[number], measured[number], tokens[number])
            layer_work(d, net, number, steps, tiles, replicas[i, number], cuts, tokens[number], sums, works[number])
            count_layer(d, net, number, steps, tiles, cuts, tokens[number], sums, counts[i, number])
        bounds = totals[i, 2:4]
        if d.pipelined:
            latency, interval = pipelined(d, net, steps, tiles, cuts, works, cycles[i], bounds)
            totals[i, 1] = max(interval, bounds[0])
        else:
            sequential(d, net, steps, tiles, cuts, works, cycles[i], bounds)
            latency = cycles[i].sum()
        totals[i, 5] = latency
        totals[i, 0] = min(max(latency, bounds[0]), bounds[1])
        totals[i, 4] = bounds[0]
        if not d.pipelined:
            totals[i, 1] = totals[i, 0]
