"""What the figures of a study show, as plain data: no drawing here, so that every number can be tested."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .results import Cell, DesignPoint, StudyResults

Quantity = Literal["energy", "area"]

#: Component -> colour, the same in every picture; kinds of components share a hue (Okabe and Ito's where they suffice).
COMPONENT_COLOURS = {
    "adc": "#0072B2",
    "column_mux": "#7FB8D8",
    "sample_and_hold": "#BFDCEC",
    "shift_add": "#56B4E9",
    "crossbar": "#000000",
    "wordline_driver": "#666666",
    "noc": "#E69F00",
    "tile_bus": "#F0E442",
    "input_load": "#F2CF7F",
    "pe_accumulator": "#CC79A7",
    "tile_accumulator": "#E5BCD3",
    "batch_norm": "#D55E00",
    "neuron": "#009E73",
    "pooling": "#7FCEB9",
    "residual_adder": "#BFE6DC",
    "membrane_memory": "#7A5195",
    "current_memory": "#B497CC",
    "residual_memory": "#D5C6E2",
    "input_buffer": "#A6761D",
    "spike_buffer": "#D2BA8E",
    "global_buffer": "#E9DDC7",
    # Parts of a chip that not every version of the library prices.
    "spike_counter": "#8FCBEF",
    "control": "#999933",
    "dram": "#661100",
}
#: Components that have no colour of their own, and what is drawn together as "other".
OTHER_COLOUR = "#DDDDDD"

#: Parts below this share of every bar are drawn together as "other", and so are those beyond ``_MAX_PARTS``.
_SMALL_SHARE = 0.02
_MAX_PARTS = 9
#: Quantity -> field of the parts, and the unit of 10^6 of them.
_FIELDS = {"energy": ("energy_fJ", "nJ"), "area": ("area_um2", "mm2")}


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """A value with its 95 % interval; accuracies are in per cent."""

    x: float
    y: float
    low: float
    high: float
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points of one colour, sorted by x."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EdapTable:
    """Accuracy (%) over EDAP (J s mm2); ``steps`` are the corners of the front's step line."""

    dominated: tuple[CurvePoint, ...]
    front: tuple[CurvePoint, ...]
    picked: CurvePoint | None
    steps: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BarTable:
    """Stacked bars: ``values[part][bar]``, in ``unit``."""

    bars: tuple[str, ...]
    parts: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TreePart:
    """One component of a treemap; ``layers`` are (layer, value) leaves that add up to ``value``."""

    name: str
    value: float
    layers: tuple[TreeLeaf, ...]


class TreeLeaf(NamedTuple):
    """One layer of a component."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeMap:
    """Components of a design, the largest first, in ``unit``."""

    parts: tuple[TreePart, ...]
    total: float
    unit: str


class LogTick(NamedTuple):
    """A tick at ``digit`` x 10^``exponent`` of a logarithmic axis."""

    digit: int
    exponent: int

    @property
    def value(self) -> float:
        """Place of the tick."""
        return float(f"{self.digit}e{self.exponent}")


def log_ticks(values: Sequence[float]) -> list[LogTick]:
    """Ticks for a log axis over ``values``: about three to ten, whether it spans a half or ten decades."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    low, high = min(positive), max(positive)
    digits = _tick_digits(math.log10(high / low))
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = [LogTick(digit, exponent) for exponent in exponents for digit in digits]
    # The axes end a little outside the data.
    return [tick for tick in ticks if low / 1.12 <= tick.value <= high * 1.12]


def _tick_digits(decades: float) -> tuple[int, ...]:
    """Leading digits whose labels do not touch on an axis of that many decades."""
    choices = ((0.7, (1, 2, 3, 4, 5, 6, 8)), (1.1, (1, 2, 3, 5)), (2.5, (1, 2, 5)), (4.0, (1, 3)))
    return next((digits for limit, digits in choices if decades < limit), (1,))


def edap_table(results: StudyResults) -> EdapTable:
    """What the accuracy over EDAP figure shows; designs without accuracy are left out."""
    front = sorted((_accuracy_point(p, p.edap_J_s_mm2) for p in judged(results) if p.on_front), key=_by_x)
    steps: list[tuple[float, float]] = []
    for point in front:
        # A front over more than two objectives is not a staircase in this plane: keep its upper left edge.
        if not steps or point.y > steps[-1][1]:
            steps.append((point.x, point.y))
    picked = results.picked
    return EdapTable(
        dominated=tuple(
            sorted((_accuracy_point(p, p.edap_J_s_mm2) for p in judged(results) if not p.on_front), key=_by_x)
        ),
        front=tuple(front),
        picked=_accuracy_point(picked, picked.edap_J_s_mm2) if picked and picked.accuracy is not None else None,
        steps=tuple(steps),
    )


def membrane_table(results: StudyResults) -> tuple[Curve, ...]:
    """Accuracy over membrane bits, one curve per weight bits, on the picked design's hardware."""
    picked = results.picked
    if picked is None:
        return ()
    rows = [p for p in judged(results) if p.hardware_key == picked.hardware_key and p.membrane_bits is not None]
    return _curves(
        ((f"{p.weight_bits}-bit weights", _accuracy_point(p, float(p.membrane_bits or 0))) for p in rows),
    )


def adc_table(results: StudyResults) -> tuple[Curve, ...]:
    """Accuracy over ADC bits, one curve per crossbar size, for the picked design's network."""
    picked = results.picked
    if picked is None:
        return ()
    rows = [p for p in judged(results) if p.network == picked.network]
    return _curves((f"{p.rows} x {p.cols} cells", _accuracy_point(p, float(p.adc_bits))) for p in rows)


def breakdown_table(points: Sequence[DesignPoint], quantity: Quantity) -> BarTable:
    """Energy (nJ an inference) or area (mm2) by component, one bar per design, largest component first."""
    field, unit = _FIELDS[quantity]
    columns = [{part.name: getattr(part, field) / 1e6 for part in point.components} for point in points]
    bars = tuple(f"{point.name} (picked)" if point.picked else point.name for point in points)
    return _stacked(bars, columns, unit)


def layer_table(point: DesignPoint, quantity: Quantity) -> BarTable:
    """Energy (nJ an inference) or area (mm2) of a design by component, one bar a layer in network order."""
    field, unit = _FIELDS[quantity]
    layers: dict[str, dict[str, float]] = {}
    for cell in point.cells:
        layers.setdefault(cell.layer, {})[cell.component] = getattr(cell, field) / 1e6
    return _stacked(tuple(layers), list(layers.values()), unit)


def tree_table(point: DesignPoint, quantity: Quantity) -> TreeMap:
    """Energy (nJ an inference) or area (mm2) of a design by component and, inside, by layer."""
    field, unit = _FIELDS[quantity]
    found: dict[str, list[Cell]] = {}
    for cell in point.cells:
        if getattr(cell, field):
            found.setdefault(cell.component, []).append(cell)
    parts = [
        TreePart(
            name=name,
            value=math.fsum(getattr(cell, field) / 1e6 for cell in cells),
            layers=tuple(TreeLeaf(cell.layer, getattr(cell, field) / 1e6) for cell in cells),
        )
        for name, cells in found.items()
    ]
    return TreeMap(
        parts=tuple(sorted(parts, key=lambda part: (-part.value, part.name))),
        total=math.fsum(part.value for part in parts),
        unit=unit,
    )


def component_colour(name: str) -> str:
    """Colour of a component, grey for what has none of its own."""
    return COMPONENT_COLOURS.get(name, OTHER_COLOUR)


def _stacked(bars: tuple[str, ...], columns: list[dict[str, float]], unit: str) -> BarTable:
    """Bars of parts, the largest part first; small ones and those beyond ``_MAX_PARTS`` are "other"."""
    names = dict.fromkeys(name for column in columns for name in column)
    totals = [sum(column.values()) or 1.0 for column in columns]
    share = {
        name: max((c.get(name, 0.0) / t for c, t in zip(columns, totals, strict=True)), default=0.0) for name in names
    }
    large = sorted((name for name in names if share[name] >= _SMALL_SHARE), key=lambda name: (-share[name], name))
    sums = {name: sum(column.get(name, 0.0) for column in columns) for name in large[:_MAX_PARTS]}
    large = sorted(sums, key=lambda name: (-sums[name], name))
    parts = [*large, "other"] if len(large) < len(names) else large
    values = [tuple(column.get(name, 0.0) for column in columns) for name in large]
    if len(parts) > len(large):
        values.append(tuple(sum(v for k, v in column.items() if k not in large) for column in columns))
    return BarTable(bars=bars, parts=tuple(parts), values=tuple(values), unit=unit)


def latency_table(point: DesignPoint) -> BarTable:
    """Latency (us an image) on the critical path by layer, network order; what no layer does is the input load."""
    layers = [layer for layer in point.layers if layer.latency_ns > 0]
    return BarTable(
        bars=tuple("input load" if layer.name == "shared" else layer.name for layer in layers),
        parts=("latency",),
        values=(tuple(layer.latency_ns / 1e3 for layer in layers),),
        unit="us",
    )


def _curves(named: Iterable[tuple[str, CurvePoint]]) -> tuple[Curve, ...]:
    groups: dict[str, list[CurvePoint]] = {}
    for name, point in named:
        groups.setdefault(name, []).append(point)
    order = sorted(groups, key=lambda name: (int(name.split()[0].split("-")[0]) if name[0].isdigit() else -1, name))
    return tuple(Curve(name=name, points=tuple(sorted(groups[name], key=_by_x))) for name in order)


def _accuracy_point(point: DesignPoint, x: float) -> CurvePoint:
    value = 100.0 * (point.accuracy or 0.0)
    low, high = point.ci95 if point.ci95 is not None else (value / 100.0, value / 100.0)
    return CurvePoint(x=x, y=value, low=100.0 * low, high=100.0 * high, label=point.name)


def interval_note(results: StudyResults) -> str:
    """What the error bars cover and what they do not: every network was trained once."""
    counts = sorted({point.n for point in judged(results)})
    images = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    return f"bars: 95 % interval over {images} test images; every network trained once"


def judged(results: StudyResults) -> list[DesignPoint]:
    """Designs that have an accuracy."""
    return [p for p in results.points if p.accuracy is not None]


def _by_x(point: CurvePoint) -> tuple[float, float]:
    return (point.x, point.y)
