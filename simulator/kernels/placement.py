"""Swaps of tiles on the mesh that shorten the traffic; ``simulator/mapping/place.py`` says what a placement costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

IntArray = NDArray[np.int64]


class MulticastTables(NamedTuple):
    """Multicasts (flows to the same targets) as rows of flat arrays; ``*_start`` (multicasts + 1,) says where.

    ``sources`` and ``targets`` are tiles, or numbers from the number of tiles on for sources that never move.
    ``member_start`` (tiles + 1,) and ``member`` list the multicasts that each tile is an end of.
    """

    source_start: IntArray
    sources: IntArray
    flits: IntArray
    target_start: IntArray
    targets: IntArray
    member_start: IntArray
    member: IntArray


class Proposals(NamedTuple):
    """Moves to try in this order: tile to router, taken if the cost grows by at most ``limit``."""

    tile: IntArray
    router: IntArray
    limit: NDArray[np.float64]


@kernel
def _multicast_cost(g: int, tables: MulticastTables, x: IntArray, y: IntArray, low: IntArray, high: IntArray) -> int:
    """Flits times links of one multicast; ``low`` and ``high`` (width,) are scratch."""
    low[:] = np.iinfo(np.int64).max
    high[:] = -1
    left, right = low.size, -1
    for k in range(tables.target_start[g], tables.target_start[g + 1]):
        column, row = x[tables.targets[k]], y[tables.targets[k]]
        low[column] = min(low[column], row)
        high[column] = max(high[column], row)
        left = min(left, column)
        right = max(right, column)
    total = 0
    for k in range(tables.source_start[g], tables.source_start[g + 1]):
        column, row = x[tables.sources[k]], y[tables.sources[k]]
        links = max(right, column) - min(left, column)
        for c in range(left, right + 1):
            if high[c] >= 0:
                links += max(high[c], row) - min(low[c], row)
        total += tables.flits[k] * links
    return total


@kernel
def _touch(tile: int, tables: MulticastTables, mark: IntArray, stamp: int, touched: IntArray, n: int) -> int:
    """Append the multicasts of a tile that are not marked with ``stamp`` yet; returns how many there are now."""
    for k in range(tables.member_start[tile], tables.member_start[tile + 1]):
        g = tables.member[k]
        if mark[g] != stamp:
            mark[g] = stamp
            touched[n] = g
            n += 1
    return n


@kernel
def improve_placement(
    tables: MulticastTables,
    proposals: Proposals,
    x: IntArray,
    y: IntArray,
    tile_at: IntArray,
    width: int,
    best_x: IntArray,
    best_y: IntArray,
) -> int:
    """Cost of the best placement met, the start included.

    Args:
        tables: the multicasts.
        proposals: moves; the tile that lies on the wanted router, if any, goes to the free one.
        x: (tiles + sources that never move,) columns, changed in place.
        y: likewise the rows.
        tile_at: (routers,) tile of each router in raster order, -1 without one; changed in place.
        width: of the mesh.
        best_x: like ``x``, written: the best placement.
        best_y: like ``y``, written.
    """
    n_multicasts = tables.source_start.size - 1
    low, high = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)
    cost, new = np.zeros(n_multicasts, dtype=np.int64), np.zeros(n_multicasts, dtype=np.int64)
    mark, touched = np.full(n_multicasts, -1, dtype=np.int64), np.zeros(n_multicasts, dtype=np.int64)
    for g in range(n_multicasts):
        cost[g] = _multicast_cost(g, tables, x, y, low, high)
    total = int(cost.sum())
    best = total
    best_x[:] = x
    best_y[:] = y
    for i in range(proposals.tile.size):
        tile, router = proposals.tile[i], proposals.router[i]
        left = y[tile] * width + x[tile]
        other = tile_at[router]
        if router == left:
            continue
        x[tile], y[tile] = router % width, router // width
        n = _touch(tile, tables, mark, i, touched, 0)
        if other >= 0:
            x[other], y[other] = left % width, left // width
            n = _touch(other, tables, mark, i, touched, n)
        growth = 0
        for k in range(n):
            g = touched[k]
            new[g] = _multicast_cost(g, tables, x, y, low, high)
            growth += new[g] - cost[g]
        if growth > proposals.limit[i]:
            x[tile], y[tile] = left % width, left // width
            if other >= 0:
                x[other], y[other] = router % width, router // width
            continue
        for k in range(n):
            cost[touched[k]] = new[touched[k]]
        tile_at[router], tile_at[left] = tile, other
        total += growth
        if total < best:
            best = total
            best_x[:] = x
            best_y[:] = y
    return best
