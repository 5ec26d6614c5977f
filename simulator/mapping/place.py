"""Placement of tiles on the mesh, and the length of the routes between them (XY routing)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Mesh of ``width x height`` routers; ``xy[tile]`` are a tile's coordinates."""

    width: int
    height: int
    xy: tuple[tuple[int, int], ...]

    def hops(self, a: int, b: int) -> int:
        """Links on the XY route between two tiles."""
        (ax, ay), (bx, by) = self.xy[a], self.xy[b]
        return abs(ax - bx) + abs(ay - by)

    def multicast_links(self, source: int, targets: tuple[int, ...]) -> int:
        """Links of the XY multicast tree: along the source's row, then along each target column."""
        sx, sy = self.xy[source]
        points = [self.xy[target] for target in targets]
        xs = [x for x, _ in points] + [sx]
        links = max(xs) - min(xs)
        for column in {x for x, _ in points}:
            ys = [y for x, y in points if x == column] + [sy]
            links += max(ys) - min(ys)
        return links


def place_row_major(n_tiles: int) -> Placement:
    """Tiles in row-major order on the smallest near-square mesh."""
    width = max(1, math.isqrt(max(0, n_tiles - 1)) + 1) if n_tiles > 1 else 1
    height = max(1, math.ceil(n_tiles / width))
    return Placement(width=width, height=height, xy=tuple((i % width, i // width) for i in range(n_tiles)))
