"""The mesh: where tiles lie, and the routes between them.

XY routing: a packet goes along its row first, then along its column. A packet to several tiles goes along the
*multicast tree*, the union of the XY routes to them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from ..errors import MappingError

#: (x, y) of a router on the mesh.
Router = tuple[int, int]
Link = tuple[Router, Router]

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
        points = [self.xy[target] for target in targets]
        xs = [x for x, _ in points] + [sx]
        links = max(xs) - min(xs)
        for column in {x for x, _ in points}:
            ys = [y for x, y in points if x == column] + [sy]
            links += max(ys) - min(ys)
        return links


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
