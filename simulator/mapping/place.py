"""The mesh: where tiles lie, the routes between them, and placements that keep the traffic short.

XY routing: a packet goes along its row first, then along its column. A packet to several tiles goes along the
*multicast tree*, the union of the XY routes to them. A placement costs the flits of every flow times the links of its
tree, summed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..errors import MappingError

#: (x, y) of a router on the mesh.
Router = tuple[int, int]
Link = tuple[Router, Router]

IntArray = NDArray[np.int64]

#: Router of the global buffer.
GLOBAL_BUFFER: Router = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Mesh of ``width x height`` routers; ``xy[tile]`` are a tile's coordinates.

    The ends of a route are tiles (numbers) or routers (coordinates).
    """

    width: int
    height: int
    xy: tuple[Router, ...]

    def router(self, end: int | Router) -> Router:
        """Router of a tile; a router is its own."""
        return self.xy[end] if isinstance(end, int) else end

    def hops(self, a: int | Router, b: int | Router) -> int:
        """Links on the XY route between two ends."""
        (ax, ay), (bx, by) = self.router(a), self.router(b)
        return abs(ax - bx) + abs(ay - by)

    def route(self, a: int | Router, b: int | Router) -> list[Router]:
        """Routers on the XY route, both ends included."""
        (x, y), (bx, by) = self.router(a), self.router(b)
        routers = [(x, y)]
        while (x, y) != (bx, by):
            x, y = (x + (1 if bx > x else -1), y) if x != bx else (x, y + (1 if by > y else -1))
            routers.append((x, y))
        return routers

    def multicast_tree(self, source: int | Router, targets: tuple[int, ...]) -> list[Link]:
        """Links of the XY multicast tree, each after the link that it continues.

        They come in the order of ``targets``, along the route to each; a link that is there already is not repeated.
        """
        links: dict[Link, None] = {}
        for target in targets:
            routers = self.route(source, target)
            links.update(dict.fromkeys(itertools.pairwise(routers)))
        return list(links)

    def multicast_links(self, source: int | Router, targets: tuple[int, ...]) -> int:
        """Links of the XY multicast tree: along the source's row, then along each target column."""
        sx, sy = self.router(source)
        columns: dict[int, list[int]] = {}
        for target in targets:
            x, y = self.xy[target]
            columns.setdefault(x, [sy]).append(y)
        return max(sx, *columns) - min(sx, *columns) + sum(max(ys) - min(ys) for ys in columns.values())


class Flow(NamedTuple):
    """Packets from a tile, or from a router without one, to ``targets``; ``flits`` an image."""

    source: int | Router
    targets: tuple[int, ...]
    flits: int


def traffic_cost(placement: Placement, traffic: Sequence[Flow]) -> int:
    """Flits times links of their multicast trees, an image."""
    return sum(flow.flits * placement.multicast_links(flow.source, flow.targets) for flow in traffic)


def mesh_size(n_tiles: int, mesh: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of the given mesh, or of the smallest near-square one that holds the tiles.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    if mesh is None:
        width = math.isqrt(max(0, n_tiles - 1)) + 1
        return width, max(1, math.ceil(n_tiles / width))
    if mesh[0] * mesh[1] < n_tiles:
        raise MappingError(
            f"noc.mesh={list(mesh)} has {mesh[0] * mesh[1]} routers and {n_tiles} tiles need one each: a NoC too small "
            "for its tiles; enlarge the mesh, or leave it out to have the smallest near-square one"
        )
    return mesh


def place_row_major(n_tiles: int, mesh: tuple[int, int] | None = None) -> Placement:
    """Tiles in row-major order.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    width, height = mesh_size(n_tiles, mesh)
    return Placement(width=width, height=height, xy=tuple((i % width, i // width) for i in range(n_tiles)))


def place_greedy(traffic: Sequence[Flow], n_tiles: int, mesh: tuple[int, int] | None = None) -> Placement:
    """Tiles that exchange much traffic close together; never more traffic than in row-major order.

    Deterministic: of several equals the first. A multicast pulls at each target either with all its flits or with an
    equal share of them; both are tried.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    width, height = mesh_size(n_tiles, mesh)
    placements = [place_row_major(n_tiles, mesh)]
    for shared in (False, True):
        routers = _grow(multicasts(traffic), n_tiles, width, height, shared)
        xy = tuple((router % width, router // width) for router in routers)
        placements.append(Placement(width=width, height=height, xy=xy))
    return min(placements, key=lambda placement: traffic_cost(placement, traffic))


class Multicast(NamedTuple):
    """Flows to the same targets: ``flits`` (sources,) an image from each source."""

    sources: IntArray
    flits: IntArray
    #: Flits and routers of the sources that are no tiles.
    fixed: tuple[tuple[int, Router], ...]
    targets: IntArray


def multicasts(traffic: Sequence[Flow]) -> list[Multicast]:
    """Flows by their targets, in the order of the first flow to them."""
    by_targets: dict[tuple[int, ...], list[Flow]] = {}
    for flow in traffic:
        by_targets.setdefault(flow.targets, []).append(flow)
    return [
        Multicast(
            sources=np.array([flow.source for flow in flows if isinstance(flow.source, int)], dtype=np.int64),
            flits=np.array([flow.flits for flow in flows if isinstance(flow.source, int)], dtype=np.int64),
            fixed=tuple((flow.flits, flow.source) for flow in flows if not isinstance(flow.source, int)),
            targets=np.array(targets, dtype=np.int64),
        )
        for targets, flows in by_targets.items()
    ]


def _grow(groups: list[Multicast], n_tiles: int, width: int, height: int, shared: bool) -> list[int]:
    """Router (raster index) of every tile, grown from the global buffer.

    The tile with the most traffic to those placed goes to the free router with the least traffic times distance.
    Distances along x and y add up, so the sums over placed tiles are kept as one vector along x and one along y.
    """
    x, y = np.arange(width), np.arange(height)

    def away(router: Router) -> NDArray[np.int64]:
        return np.concatenate((np.abs(x - router[0]), np.abs(y - router[1])))

    # Summed distances (groups, width + height) to the placed targets, and flits times those to the placed sources.
    to_targets = np.zeros((len(groups), width + height))
    to_sources = np.zeros((len(groups), width + height))
    strength = np.zeros(n_tiles)
    sends: list[list[tuple[int, float]]] = [[] for _ in range(n_tiles)]
    receives: list[list[int]] = [[] for _ in range(n_tiles)]
    pull = [1.0 / group.targets.size if shared else 1.0 for group in groups]
    for g, group in enumerate(groups):
        for tile, flits in zip(group.sources.tolist(), group.flits.tolist(), strict=True):
            sends[tile].append((g, flits * pull[g]))
        for tile in group.targets.tolist():
            receives[tile].append(g)
        for flits, router in group.fixed:
            to_sources[g] += flits * pull[g] * away(router)
            strength[group.targets] += flits * pull[g]
    taken = np.zeros((height, width))
    routers = [0] * n_tiles
    for _ in range(n_tiles):
        tile = int(np.argmax(strength))
        price = np.zeros(width + height)
        for g, flits in sends[tile]:
            price += flits * to_targets[g]
        for g in receives[tile]:
            price += to_sources[g]
        best = int(np.argmin(price[None, :width] + price[width:, None] + taken))
        routers[tile] = best
        row, column = divmod(best, width)
        taken[row, column] = np.inf
        distance = away((column, row))
        for g, flits in sends[tile]:
            to_sources[g] += flits * distance
            strength[groups[g].targets] += flits
        for g in receives[tile]:
            to_targets[g] += distance
            strength[groups[g].sources] += groups[g].flits * pull[g]
        strength[tile] = -np.inf
    return routers


def place_tiles(hw: HardwareConfig, traffic: Sequence[Flow], n_tiles: int) -> Placement:
    """Placement of a design.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    if hw.noc.placement == "row_major":
        return place_row_major(n_tiles, hw.noc.mesh)
    greedy = place_greedy(traffic, n_tiles, hw.noc.mesh)
    return greedy if hw.noc.placement == "greedy" else anneal(greedy, traffic, hw.noc.placement_seed)


#: Swaps that ``anneal`` proposes for each tile, and its first temperature as a share of the cost a tile.
_SWAPS_PER_TILE = 100
_FIRST_TEMPERATURE = 0.5


def anneal(start: Placement, traffic: Sequence[Flow], seed: int) -> Placement:
    """Swaps of two tiles (or of a tile and a free router) by simulated annealing; never worse than ``start``.

    Kirkpatrick, Gelatt and Vecchi, Science 220 (1983) 671; the temperature falls in even ratios to 1/1000.
    """
    n_tiles, n_routers = len(start.xy), start.width * start.height
    if n_routers < 2 or not traffic:
        return start
    routers = [(i % start.width, i // start.width) for i in range(n_routers)]
    occupied = set(start.xy)
    seats = list(start.xy) + [router for router in routers if router not in occupied]
    touching: list[list[int]] = [[] for _ in range(n_routers)]
    for i, flow in enumerate(traffic):
        for tile in {*flow.targets, *([flow.source] if isinstance(flow.source, int) else [])}:
            touching[tile].append(i)
    place = Placement(width=start.width, height=start.height, xy=tuple(seats))
    links = [flow.flits * place.multicast_links(flow.source, flow.targets) for flow in traffic]
    cost = best_cost = sum(links)
    best = list(seats)
    draws = np.random.Generator(np.random.Philox(key=seed))
    n_swaps = _SWAPS_PER_TILE * n_tiles
    temperature = max(1.0, _FIRST_TEMPERATURE * cost / n_tiles)
    cooling = 1e-3 ** (1 / n_swaps)
    pairs = np.stack((draws.integers(0, n_tiles, n_swaps), draws.integers(0, n_routers, n_swaps)), axis=1).tolist()
    for (a, b), luck in zip(pairs, draws.random(n_swaps).tolist(), strict=True):
        temperature *= cooling
        seats[a], seats[b] = seats[b], seats[a]
        moved = Placement(width=start.width, height=start.height, xy=tuple(seats))
        changed = {
            i: traffic[i].flits * moved.multicast_links(traffic[i].source, traffic[i].targets)
            for i in {*touching[a], *touching[b]}
        }
        delta = sum(changed.values()) - sum(links[i] for i in changed)
        if delta > 0 and luck >= math.exp(-delta / temperature):
            seats[a], seats[b] = seats[b], seats[a]
            continue
        cost += delta
        for i, value in changed.items():
            links[i] = value
        if cost < best_cost:
            best_cost, best = cost, list(seats)
    return Placement(width=start.width, height=start.height, xy=tuple(best[:n_tiles]))
