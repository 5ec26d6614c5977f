"""Placement by simulated annealing: swaps of tiles on the mesh, started from the greedy placement.

Source: S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, Optimization by simulated annealing, Science 220 (1983). A swap
is taken if the cost grows by at most -temperature * ln(u), u uniform: the Metropolis rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .place import Flow, Multicast, Placement, multicasts, place_greedy, traffic_cost

if TYPE_CHECKING:
    from ..kernels.placement import MulticastTables, Proposals

IntArray = NDArray[np.int64]

#: Swaps tried for each tile that has traffic, as long as they stay below ``MAX_STEPS`` steps of the kernel together.
SWAPS_PER_TILE = 1000
MAX_STEPS = 1_000_000_000
#: First and last temperature, as parts of the start's cost a tile: the better of a few pairs tried on VGG-9.
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.2, 0.005


def place_annealed(
    traffic: Sequence[Flow], n_tiles: int, mesh: tuple[int, int] | None = None, seed: int = 0
) -> Placement:
    """The best placement met by annealing, never worse than the greedy one; the same for the same seed.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    # Numba takes a while to import, and only this placement needs it.
    from ..kernels.placement import improve_placement

    start = place_greedy(traffic, n_tiles, mesh)
    cost = traffic_cost(start, traffic)
    tables, fixed = _tables(multicasts(traffic), n_tiles)
    busy = np.flatnonzero(np.diff(tables.member_start))
    if cost == 0 or busy.size == 0:
        return start
    x, y = (np.array(side, dtype=np.int64) for side in zip(*start.xy, *fixed, strict=True))
    tile_at = np.full(start.width * start.height, -1, dtype=np.int64)
    tile_at[y[:n_tiles] * start.width + x[:n_tiles]] = np.arange(n_tiles)
    n = min(SWAPS_PER_TILE * busy.size, max(1, MAX_STEPS // _steps(tables, busy, start.width)))
    proposals = _proposals(busy, tile_at.size, n, cost / busy.size, seed)
    best_x, best_y = np.empty_like(x), np.empty_like(y)
    improve_placement(tables, proposals, x, y, tile_at, start.width, best_x, best_y)
    xy = tuple(zip(best_x[:n_tiles].tolist(), best_y[:n_tiles].tolist(), strict=True))
    return Placement(width=start.width, height=start.height, xy=xy)


def _proposals(busy: IntArray, n_routers: int, n: int, scale: float, seed: int) -> Proposals:
    """``n`` seeded swaps of a tile that has traffic with any router, under a temperature that falls geometrically."""
    from ..kernels.placement import Proposals

    draw = np.random.Generator(np.random.Philox(seed))
    temperature = scale * np.geomspace(FIRST_TEMPERATURE, LAST_TEMPERATURE, n)
    return Proposals(
        tile=busy[draw.integers(0, busy.size, size=n)],
        router=draw.integers(0, n_routers, size=n),
        limit=temperature * draw.standard_exponential(n),
    )


def _tables(groups: list[Multicast], n_tiles: int) -> tuple[MulticastTables, list[tuple[int, int]]]:
    """Multicasts for the kernel, and the routers of the sources that are no tiles, numbered from ``n_tiles`` on."""
    from ..kernels.placement import MulticastTables

    fixed: list[tuple[int, int]] = []
    sources: list[list[int]] = []
    members: list[list[int]] = [[] for _ in range(n_tiles)]
    for g, group in enumerate(groups):
        sources.append(group.sources.tolist())
        for tile in sorted({*sources[g], *group.targets.tolist()}):
            members[tile].append(g)
        for _, router in group.fixed:
            sources[g].append(n_tiles + len(fixed))
            fixed.append(router)
    flits = [[*group.flits.tolist(), *(flits for flits, _ in group.fixed)] for group in groups]
    targets = [group.targets.tolist() for group in groups]
    tables = MulticastTables(
        *(_starts(sources), _flat(sources), _flat(flits)),
        *(_starts(targets), _flat(targets)),
        *(_starts(members), _flat(members)),
    )
    return tables, fixed


def _flat(rows: list[list[int]]) -> IntArray:
    return np.array([value for row in rows for value in row], dtype=np.int64)


def _starts(rows: list[list[int]]) -> IntArray:
    return np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)


def _steps(tables: MulticastTables, busy: IntArray, width: int) -> int:
    """Steps of the kernel's loops that one proposal takes, about."""
    each = width + np.diff(tables.target_start) + width * np.diff(tables.source_start)
    return int(2 * each[tables.member].sum() / busy.size)
