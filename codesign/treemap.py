"""A treemap: nested rectangles whose areas are the values. The layout is plain data; ``draw_treemap`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .figure_tables import TreeMap, component_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Width of a letter and height of a line by font size, in units of a map 1.6 wide that is drawn 9.3 inches wide.
_LETTER, _LINE = {9: 0.0132, 7: 0.0103}, {9: 0.027, 7: 0.021}


class Rectangle(NamedTuple):
    """Lower left corner and size."""

    x: float
    y: float
    width: float
    height: float


def squarify(values: Sequence[float], room: Rectangle) -> list[Rectangle]:
    """One rectangle a value inside ``room``, areas in proportion, as square as rows allow; 0 gets an empty one.

    Source: Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000), section 3: fill rows along the shorter side as
    long as the worst aspect ratio of the row does not grow.

    Raises:
        ValueError: a negative value.
    """
    if any(value < 0 for value in values):
        raise ValueError(f"squarify: got {min(values)}; areas are not negative")
    total = sum(values)
    placed = [Rectangle(room.x, room.y, 0.0, 0.0)] * len(values)
    if total == 0:
        return placed
    scale = room.width * room.height / total
    left = sorted((i for i, value in enumerate(values) if value > 0), key=lambda i: -values[i])
    while left:
        row = _best_row([values[i] * scale for i in left], min(room.width, room.height))
        rectangles, room = _lay([values[i] * scale for i in left[:row]], room, last=row == len(left))
        for i, rectangle in zip(left[:row], rectangles, strict=True):
            placed[i] = rectangle
        left = left[row:]
    return placed


def draw_treemap(axes: Axes, table: TreeMap, *, width: float = 1.6, height: float = 1.0) -> None:
    """Components as coloured blocks, their layers as rectangles inside, both labelled where there is room."""
    from matplotlib.patches import Rectangle as Patch

    blocks = squarify([part.value for part in table.parts], Rectangle(0.0, 0.0, width, height))
    for part, block in zip(table.parts, blocks, strict=True):
        colour = component_colour(part.name)
        for layer, cell in zip(part.layers, squarify([layer.value for layer in part.layers], block), strict=True):
            axes.add_patch(Patch(cell[:2], cell.width, cell.height, facecolor=colour, edgecolor="white", linewidth=0.5))
            if len(part.layers) > 1 and _fits(layer.name, cell, 7) and cell.height > _LINE[9] * 2 + _LINE[7]:
                middle, foot = cell.x + cell.width / 2, cell.y + 0.6 * _LINE[7]
                axes.text(middle, foot, layer.name, ha="center", va="center", fontsize=7, color=_ink(colour))
        axes.add_patch(Patch(block[:2], block.width, block.height, fill=False, edgecolor="white", linewidth=2.5))
        _label(axes, block, part.name, f"{100 * part.value / (table.total or 1.0):.0f} %", _ink(colour))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _label(axes: Axes, block: Rectangle, name: str, share: str, colour: str) -> None:
    """Name and share in the upper left corner: on one line, on two, small, upright, or not at all."""
    turned = Rectangle(block.x, block.y, block.height, block.width)
    for size in (9, 7):
        for text in (f"{name} {share}", f"{name}\n{share}"):
            for room, rotation in ((block, 0), (turned, 90)):
                if _fits(text, room, size):
                    corner = (block.x + 0.008, block.y + block.height - 0.008)
                    axes.text(*corner, text, ha="left", va="top", fontsize=size, color=colour, rotation=rotation)
                    return


def _fits(text: str, room: Rectangle, size: int) -> bool:
    lines = text.splitlines()
    longest = max(len(line) for line in lines)
    return longest * _LETTER[size] + 0.016 < room.width and len(lines) * _LINE[size] + 0.016 < room.height


def _ink(colour: str) -> str:
    """Black or white, whichever reads better on a colour (relative luminance of WCAG 2, without its gamma)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


def _best_row(areas: Sequence[float], side: float) -> int:
    """How many of the areas make the first row along a side."""
    size = 1
    while size < len(areas) and _worst(areas[: size + 1], side) <= _worst(areas[:size], side):
        size += 1
    return size


def _worst(areas: Sequence[float], side: float) -> float:
    """Largest aspect ratio in a row along a side."""
    if side == 0.0:  # nothing of the room is left but rounding
        return 1.0
    thickness = sum(areas) / side
    return max(max(thickness**2 / area, area / thickness**2) for area in areas)


def _lay(areas: Sequence[float], room: Rectangle, *, last: bool) -> tuple[list[Rectangle], Rectangle]:
    """Rectangles of a row along the shorter side, and the room that is left; the last row takes all that there is."""
    placed, at, total = [], 0.0, sum(areas)
    upright = room.width >= room.height
    side, depth = (room.height, room.width) if upright else (room.width, room.height)
    thickness = depth if last or side == 0.0 else min(total / side, depth)
    for area in areas:
        length = side * area / total
        corner = (room.x, room.y + at) if upright else (room.x + at, room.y)
        placed.append(Rectangle(*corner, *((thickness, length) if upright else (length, thickness))))
        at += length
    if upright:
        return placed, Rectangle(room.x + thickness, room.y, room.width - thickness, room.height)
    return placed, Rectangle(room.x, room.y + thickness, room.width, room.height - thickness)
