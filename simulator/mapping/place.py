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


#: Highest strip of a serpentine that ``place_greedy`` tries.
MAX_STRIP = 8


def place_greedy(traffic: Sequence[Flow], n_tiles: int, mesh: tuple[int, int] | None = None) -> Placement:
    """The placement with the least traffic of a few that cost little to find; never more than in row-major order.

    Tried are row-major order, serpentines in strips of one to ``MAX_STRIP`` rows (tiles are numbered by layer, so
    they keep neighbouring layers close), and tiles placed one by one where their traffic to those placed is least,
    once with a multicast's flits counted at each target, once shared between them. Of several equals the first.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    width, height = mesh_size(n_tiles, mesh)
    placements = [place_row_major(n_tiles, mesh)]
    for strip in range(1, min(MAX_STRIP, height) + 1):
        placements.append(place_serpentine(n_tiles, strip, mesh))
    groups = multicasts(traffic)
    for shared in (False, True):
        xy = tuple((router % width, router // width) for router in _grow(groups, n_tiles, width, height, shared))
        placements.append(Placement(width=width, height=height, xy=xy))
    return min(placements, key=lambda placement: traffic_cost(placement, traffic))


def place_serpentine(n_tiles: int, strip: int, mesh: tuple[int, int] | None = None) -> Placement:
    """Tiles in strips of ``strip`` rows: column by column, down and up, along one strip and back along the next.

    Raises:
        MappingError: the given mesh has fewer routers than tiles.
    """
    width, height = mesh_size(n_tiles, mesh)
    xy: list[Router] = []
    for i, top in enumerate(range(0, height, strip)):
        rows = range(top, min(top + strip, height))
        for k, x in enumerate(range(width) if i % 2 == 0 else reversed(range(width))):
            xy += [(x, y) for y in (rows if k % 2 == 0 else reversed(rows))]
    return Placement(width=width, height=height, xy=tuple(xy[:n_tiles]))


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
    Tiles without traffic fill the routers that are left, in order.
    """
    growth = _Growth(groups, n_tiles, width, height, shared)
    taken = np.zeros((height, width))
    routers = [0] * n_tiles
    for _ in range(n_tiles - len(growth.idle)):
        tile = int(np.argmax(growth.strength))
        price = growth.price(tile)
        routers[tile] = int(np.argmin(price[None, :width] + price[width:, None] + taken))
        row, column = divmod(routers[tile], width)
        taken[row, column] = np.inf
        growth.settle(tile, (column, row))
    for tile, router in zip(growth.idle, np.flatnonzero(taken == 0).tolist(), strict=False):
        routers[tile] = router
    return routers


class _Growth:
    """Traffic of the tiles that are not placed yet to those that are.

    Distances along x and y add up, so the sums over placed tiles are kept as one vector along x and one along y.
    """

    def __init__(self, groups: list[Multicast], n_tiles: int, width: int, height: int, shared: bool) -> None:
        self._x, self._y = np.arange(width), np.arange(height)
        self._groups = groups
        self._pull = [1.0 / group.targets.size if shared else 1.0 for group in groups]
        # Summed distances (groups, width + height) to the placed targets; flits times those to the placed sources.
        self._to_targets = np.zeros((len(groups), width + height))
        self._to_sources = np.zeros((len(groups), width + height))
        self._sends: list[list[tuple[int, float]]] = [[] for _ in range(n_tiles)]
        self._receives: list[list[int]] = [[] for _ in range(n_tiles)]
        #: (tiles,) flits between a tile and those placed; -inf once it is placed, or if it has no traffic.
        self.strength = np.zeros(n_tiles)
        for g, group in enumerate(groups):
            for tile, flits in zip(group.sources.tolist(), group.flits.tolist(), strict=True):
                self._sends[tile].append((g, flits * self._pull[g]))
            for tile in group.targets.tolist():
                self._receives[tile].append(g)
            for flits, router in group.fixed:
                self._to_sources[g] += flits * self._pull[g] * self._away(router)
                self.strength[group.targets] += flits * self._pull[g]
        self.idle = [tile for tile in range(n_tiles) if not self._sends[tile] and not self._receives[tile]]
        self.strength[self.idle] = -np.inf

    def _away(self, router: Router) -> IntArray:
        return np.concatenate((np.abs(self._x - router[0]), np.abs(self._y - router[1])))

    def price(self, tile: int) -> NDArray[np.float64]:
        """(width + height,) flits times distance to the placed tiles, along x and along y."""
        price = np.zeros(self._x.size + self._y.size)
        for g, flits in self._sends[tile]:
            price += flits * self._to_targets[g]
        for g in self._receives[tile]:
            price += self._to_sources[g]
        return price

    def settle(self, tile: int, router: Router) -> None:
        """A tile got its router."""
        distance = self._away(router)
        for g, flits in self._sends[tile]:
            self._to_sources[g] += flits * distance
            self.strength[self._groups[g].targets] += flits
        for g in self._receives[tile]:
            self._to_targets[g] += distance
            self.strength[self._groups[g].sources] += self._groups[g].flits * self._pull[g]
        self.strength[tile] = -np.inf
