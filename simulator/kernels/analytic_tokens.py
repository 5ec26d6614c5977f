"""Expected services of a layer's row groups, from the densities of its input bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .analytic_tiles import Tables, ceil_div

Array = NDArray[np.float64]

#: Per output position of a layer, summed over its row groups: services of the busiest unit of each kind, cycles of
#: all of them in step (``lockstep``), and what the counts need, each for one column of PEs.
TOKENS = np.dtype(
    [
        (name, np.float64)
        for name in [
            "fetch",
            "read",
            "convert",
            "pe_accumulate",
            "bus",
            "tile_accumulate",
            "lockstep",
            "together",
            "position",
            "chain",
            "crossbar_reads",
            "pe_additions",
            "driven_tokens",
            "wordlines",
        ]
    ]
)

_VECTOR, _ROW_GROUP = 1, 2


@kernel
def _plane_counts(d: Any, net: Tables, number: int, rows: float, vector: float, chance: Array) -> float:
    """Probability of each number of driven planes of a read with so many rows on the map; returns that of any.

    A plane is driven if one of its rows is: 1 - (1 - density)^rows. ``vector`` is the chance that the whole input
    vector is not silent.
    """
    planes = net.layer[number].planes
    chance[: planes + 1] = 0.0
    if rows <= 0.0 and d.skipping != 0:
        chance[0] = 1.0
        return 0.0
    if d.skipping != _ROW_GROUP:
        any_driven = vector if d.skipping == _VECTOR else 1.0
        chance[planes] = any_driven
        chance[0] += 1.0 - any_driven
        return float(any_driven)
    chance[0] = 1.0
    for k in range(planes):
        driven = 1.0 - (1.0 - net.density[number, k]) ** rows
        for n in range(k + 1, 0, -1):
            chance[n] = chance[n] * (1.0 - driven) + chance[n - 1] * driven
        chance[0] *= 1.0 - driven
    return float(1.0 - (1.0 - net.nonzero[number]) ** rows)


@kernel
def _mean(chance: Array, planes: int) -> float:
    total = 0.0
    for n in range(planes + 1):
        total += n * chance[n]
    return float(total)


@kernel
def _slowest(
    full: Array,
    last: Array,
    n_full: float,
    n_last: float,
    planes: int,
    base: float,
    each: float,
    silent: float,
    driven: float,
) -> float:
    """Mean of the slowest of several converters and of what works beside them (when silent, when driven)."""
    total, before = 0.0, 0.0
    below_full = below_last = 0.0
    for i in range(planes + 1):
        # From the fastest count of driven planes to the slowest.
        n = i if each >= 0.0 else planes - i
        below_full += full[n]
        below_last += last[n]
        now = below_full**n_full * below_last**n_last
        beside = driven if n > 0 or each < 0.0 else silent
        total += (now - before) * max(beside, base + each * n)
        before = now
    return float(total)


@kernel
def _moved(sums: float, parts: float, chance: float, per_sum: float, lanes: float) -> float:
    """Mean cycles of a token that hands on the sums of its driven parts: ceil(sums * per_sum / lanes), at least 1."""
    full = math.ceil(sums * per_sum / lanes)
    if parts <= 1.0:
        return max(1.0, full * chance + 1.0 - chance)
    silent = (1.0 - chance) ** parts
    if silent >= 1.0:
        return 1.0
    mean = sums * per_sum / lanes * chance / (1.0 - silent)
    driven = min(float(max(1, full)), max(1.0, mean + 0.5 * (1.0 - chance)))
    return float(silent + (1.0 - silent) * driven)


@kernel
def expect_tokens(d: Any, net: Tables, number: int, cut: Any, measured: Array, out: Any) -> None:
    """Fill ``out`` (``TOKENS``); ``measured`` (6,) as ``MeasuredLayer``, nan: from the densities."""
    layer, planes = net.layer[number], net.layer[number].planes
    last_rows = layer.rows - (ceil_div(layer.rows, d.rows) - 1) * d.rows
    full, last = np.zeros(planes + 1), np.zeros(planes + 1)
    bits = 0.0
    for k in range(planes):
        bits += net.density[number, k]
    read = 0
    while read < cut.reads:
        rows_full = min(d.rows_active, d.rows - read * d.rows_active)
        rows_last = max(0, min(d.rows_active, last_rows - read * d.rows_active))
        times = 1
        while read + times < cut.reads:
            at = (read + times) * d.rows_active
            if min(d.rows_active, d.rows - at) != rows_full or max(0, min(d.rows_active, last_rows - at)) != rows_last:
                break
            times += 1
        read += times
        for c in range(net.inside.shape[1]):
            weight = net.inside[number, c, 1] * times
            if weight > 0.0:
                inside = net.inside[number, c, 0]
                _expect_read(d, net, number, cut, out, rows_full, rows_last, inside, weight, bits, full, last)
    if not np.isnan(measured[0]):
        rounds = min(d.columns_per_adc, cut.columns_used)
        each = (rounds if d.sample_and_hold else 1 + rounds) - d.skip_cycles
        base = float(planes * d.skip_cycles * cut.reads)
        out.convert = base + measured[0] * each
        out.lockstep = max(out.fetch, base + measured[1] * each)
        out.crossbar_reads, out.pe_additions = measured[2], measured[3]
        out.driven_tokens, out.wordlines = measured[4], measured[5]
    stages = max(out.fetch, out.read, out.convert, out.pe_accumulate, out.bus, out.tile_accumulate)
    # Queues even out what varies from token to token: the mean of w tokens varies less by the root of w.
    slack = math.sqrt(1.0 + d.fifo_depth * (2 if d.sample_and_hold else 1))
    out.position = stages + max(0.0, out.lockstep - stages) / slack
    # Tiles that share a block wait for each other once a position, not at every token.
    out.position = max(out.position, stages + max(0.0, out.together - stages) / (slack * math.sqrt(cut.reads)))
    chain = out.fetch + out.read + out.convert + out.pe_accumulate + out.bus + out.tile_accumulate
    out.chain = chain / cut.reads


@kernel
def _expect_read(
    d: Any,
    net: Tables,
    number: int,
    cut: Any,
    out: Any,
    rows_full: int,
    rows_last: int,
    inside: float,
    weight: float,
    bits: float,
    full: Array,
    last: Array,
) -> None:
    """Add the row groups of one kind at the positions whose windows lie on the map by one share."""
    layer, planes = net.layer[number], net.layer[number].planes
    vector = 1.0 - (1.0 - net.nonzero[number]) ** (layer.rows * inside)
    n_full = cut.crossbars_last - 1
    mapped_last = n_full + (rows_last > 0)
    in_last = (n_full * rows_full + rows_last) * inside
    in_full = d.crossbars_per_pe * rows_full * inside if cut.parts > 1 else in_last
    any_full = _plane_counts(d, net, number, in_full, vector, full)
    any_last = _plane_counts(d, net, number, in_last, vector, last)
    if mapped_last == 0:
        # Only padding rows: never read.
        last[:] = 0.0
        last[0], any_last = 1.0, 0.0
    if cut.parts == 1:
        full[:], any_full = last, any_last
    mean_full, mean_last = _mean(full, planes), _mean(last, planes)
    rounds = min(d.columns_per_adc, cut.columns_used)
    plane = rounds if d.sample_and_hold else 1 + rounds
    base, skip = float(planes * d.skip_cycles), d.skip_cycles
    most, likely = max(mean_full, mean_last), max(any_full, any_last)
    fewest = most if plane >= skip else min(mean_full, mean_last)
    fetch = max(1, ceil_div(cut.fetch_rows_max * planes, d.input_bus))
    sums = ceil_div(
        min(d.crossbars_per_pe, cut.crossbars_last if cut.parts == 1 else d.crossbars_per_pe) * cut.outputs_max,
        d.pe_lanes,
    )
    parts = float(cut.parts_max) if d.skipping == _ROW_GROUP else 1.0
    bus = _moved(cut.sums_max, parts, likely, layer.psum_bits, d.output_bus)
    adder = _moved(cut.sums_max, parts, likely, 1.0, d.accumulator_lanes)
    adding = sums * likely + 1.0 - likely
    out.fetch += weight * fetch
    if d.sample_and_hold:
        out.read += weight * max(1.0, base + most * (1 - skip))
    out.convert += weight * max(1.0, base + fewest * (plane - skip))
    out.pe_accumulate += weight * adding
    out.bus += weight * bus
    out.tile_accumulate += weight * adder
    beside = max(float(fetch), bus, adder, float(sums))
    for all_parts in range(1 + cut.split):
        coupled = float(max(cut.parts, cut.parts_max) if all_parts else cut.parts_max)
        n_last = float(coupled // cut.parts)
        if d.skipping == _VECTOR:
            coupled, n_last = 1.0, 0.0 if cut.parts > 1 else 1.0
        found = weight * _slowest(
            full, last, coupled - n_last, n_last, planes, base, float(plane - skip), float(fetch), beside
        )
        if all_parts:
            out.together += found
        else:
            out.lockstep += found
    many = cut.parts - 1
    out.crossbar_reads += weight * (many * mean_full * d.crossbars_per_pe + mean_last * mapped_last)
    out.pe_additions += weight * (many * any_full * (d.crossbars_per_pe - 1) + any_last * max(0, mapped_last - 1))
    out.driven_tokens += weight * (many * any_full + any_last)
    out.wordlines += weight * bits * (many * in_full + in_last)
