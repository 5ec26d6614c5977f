"""The figures of a study: ``*_table`` says what is drawn (plain data), ``draw_*`` draws it.

Every picture is written as PNG and SVG, with nothing in it that depends on the day it was drawn.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .results import DesignPoint, StudyResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Quantity = Literal["energy", "area"]
_Picture = tuple[str, tuple[float, float], "Callable[[Axes], None]"]

#: Okabe and Ito, "Color Universal Design" (2008), and three greys for long stacks: safe for colour-blind readers.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#666666",
    "#000000",
    "#BBBBBB",
)
GREY = "#A8A8A8"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Parts below this share of every bar are drawn together as "other".
_SMALL_SHARE = 0.02

_STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    # Ids inside an SVG are salted with this instead of a random number: same data, same bytes.
    "svg.hashsalt": "spikeloop",
    "svg.fonttype": "none",
    "axes.xmargin": 0.04,
}


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


def edap_table(results: StudyResults) -> EdapTable:
    """What the accuracy over EDAP figure shows; designs without accuracy are left out."""
    front = sorted((_accuracy_point(p, p.edap_J_s_mm2) for p in _judged(results) if p.on_front), key=_by_x)
    steps: list[tuple[float, float]] = []
    for point in front:
        # A front over more than two objectives is not a staircase in this plane: keep its upper left edge.
        if not steps or point.y > steps[-1][1]:
            steps.append((point.x, point.y))
    picked = results.picked
    return EdapTable(
        dominated=tuple(
            sorted((_accuracy_point(p, p.edap_J_s_mm2) for p in _judged(results) if not p.on_front), key=_by_x)
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
    rows = [p for p in _judged(results) if p.hardware_key == picked.hardware_key and p.membrane_bits is not None]
    return _curves(
        ((f"{p.weight_bits}-bit weights", _accuracy_point(p, float(p.membrane_bits or 0))) for p in rows),
    )


def adc_table(results: StudyResults) -> tuple[Curve, ...]:
    """Accuracy over ADC bits, one curve per crossbar size, for the picked design's network."""
    picked = results.picked
    if picked is None:
        return ()
    rows = [p for p in _judged(results) if p.network == picked.network]
    return _curves((f"{p.rows} x {p.cols} cells", _accuracy_point(p, float(p.adc_bits))) for p in rows)


def breakdown_table(points: Sequence[DesignPoint], quantity: Quantity) -> BarTable:
    """Energy (nJ an inference) or area (mm2) by component, one bar per design, largest component first."""
    field, scale, unit = ("energy_fJ", 1e6, "nJ") if quantity == "energy" else ("area_um2", 1e6, "mm2")
    names = dict.fromkeys(part.name for point in points for part in point.components)
    columns = [{part.name: getattr(part, field) / scale for part in point.components} for point in points]
    totals = [sum(column.values()) or 1.0 for column in columns]
    share = {
        name: max((c.get(name, 0.0) / t for c, t in zip(columns, totals, strict=True)), default=0.0) for name in names
    }
    large = sorted((name for name in names if share[name] >= _SMALL_SHARE), key=lambda name: (-share[name], name))
    large = large[: len(PALETTE) - 1]
    parts = [*large, "other"] if len(large) < len(names) else large
    values = [tuple(column.get(name, 0.0) for column in columns) for name in large]
    if len(parts) > len(large):
        values.append(tuple(sum(v for k, v in column.items() if k not in large) for column in columns))
    return BarTable(bars=tuple(point.name for point in points), parts=tuple(parts), values=tuple(values), unit=unit)


def latency_table(point: DesignPoint) -> BarTable:
    """Latency (us an image) on the critical path by layer, network order."""
    layers = [layer for layer in point.layers if layer.latency_ns > 0]
    return BarTable(
        bars=tuple(layer.name for layer in layers),
        parts=("latency",),
        values=(tuple(layer.latency_ns / 1e3 for layer in layers),),
        unit="us",
    )


def draw_edap(axes: Axes, table: EdapTable) -> None:
    """Scatter of all designs, the front as a step line, the picked design marked and named."""
    _errors(axes, table.dominated, colour=GREY, marker="o", size=4, label="dominated design", alpha=0.75)
    if table.steps:
        right = max(point.x for point in (*table.dominated, *table.front))
        x = [*(s[0] for s in table.steps), right]
        y = [*(s[1] for s in table.steps), table.steps[-1][1]]
        axes.plot(x, y, drawstyle="steps-post", color=PALETTE[0], linewidth=1.6, zorder=3)
    _errors(axes, table.front, colour=PALETTE[0], marker="o", size=6, label="Pareto front", alpha=1.0)
    if table.picked is not None:
        _mark_picked(axes, table)
    axes.set_xscale("log")
    axes.set_xlabel("EDAP of one inference (J s mm², log scale); smaller is better")
    axes.set_ylabel("accuracy on simulated hardware (%)")
    axes.margins(y=0.12)
    axes.legend(loc="lower right")


def draw_curves(axes: Axes, curves: Iterable[Curve], *, xlabel: str) -> None:
    """Accuracy (%) with 95 % intervals over a number of bits, one line per curve."""
    ticks: set[float] = set()
    shown = list(curves)
    for number, curve in enumerate(shown):
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        # Equal accuracies are common: curves stand a little apart so that none hides another.
        shift = 0.05 * (number - (len(shown) - 1) / 2)
        points = [dataclasses.replace(p, x=p.x + shift) for p in curve.points]
        axes.plot([p.x for p in points], [p.y for p in points], color=colour, linewidth=1.5)
        _errors(axes, points, colour=colour, marker=marker, size=6, label=curve.name, alpha=1.0)
        ticks |= {p.x for p in curve.points}
    axes.set_xticks(sorted(ticks), [f"{x:g}" for x in sorted(ticks)])
    axes.set_xlabel(xlabel)
    axes.set_ylabel("accuracy on simulated hardware (%)")
    axes.legend(loc="lower right")


def draw_breakdown(axes: Axes, table: BarTable, *, xlabel: str) -> None:
    """Stacked horizontal bars, the first bar on top."""
    left = [0.0] * len(table.bars)
    for number, (part, values) in enumerate(zip(table.parts, table.values, strict=True)):
        colour = "#DDDDDD" if part == "other" else PALETTE[number % len(PALETTE)]
        axes.barh(range(len(table.bars)), values, left=left, color=colour, label=part, edgecolor="white", linewidth=0.5)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(range(len(table.bars)), table.bars)
    axes.set_ylim(len(table.bars) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(xlabel)
    if len(table.parts) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def draw_figures(results: StudyResults, folder: Path) -> tuple[Path, ...]:
    """Write every figure that the results support as PNG and SVG; returns the files, PNG before SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    style: Any = {**mpl.rcParamsDefault, "backend": "agg", **_STYLE}
    with mpl.rc_context(style):
        for name, size, draw in _plan(results):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure.add_subplot())
            written += _save(figure, folder / name)
    return tuple(written)


def _plan(results: StudyResults) -> list[_Picture]:
    """(name, size in inches, drawing) of every figure that the results support."""
    plan: list[_Picture] = []
    if _judged(results):
        plan.append(("accuracy_edap", (8.4, 5.4), lambda axes: _titled(axes, draw_edap, edap_table(results))))
    plan += _curve_plan(results)
    bars = _bar_points(results)
    for quantity, label in (("energy", "energy of one inference (nJ)"), ("area", "chip area (mm²)")):
        table = breakdown_table(bars, "energy" if quantity == "energy" else "area")
        size = (9.6, max(3.4, 1.6 + 0.42 * len(bars)))
        if bars:
            plan.append((f"{quantity}_breakdown", size, _breakdown_drawer(table, quantity, label)))
    if (picked := results.picked) is not None:
        layers = latency_table(picked)
        size = (7.6, 1.6 + 0.42 * len(layers.bars))
        plan.append(("latency_layers", size, lambda axes: _latency(axes, layers, picked)))
    return plan


def _curve_plan(results: StudyResults) -> list[_Picture]:
    picked = results.picked
    if picked is None:
        return []
    plan: list[_Picture] = []
    hardware = f"{picked.rows} x {picked.cols} cells, {picked.adc_bits}-bit ADC"
    if membrane := membrane_table(results):
        plan.append(("accuracy_membrane_bits", (7.0, 4.8), lambda axes: _bits(axes, membrane, "membrane", hardware)))
    if adc := adc_table(results):
        network = f"W{picked.weight_bits} V{picked.membrane_bits}" if picked.weight_bits else picked.network
        plan.append(("accuracy_adc_bits", (7.0, 4.8), lambda axes: _bits(axes, adc, "ADC", network)))
    return plan


def _breakdown_drawer(table: BarTable, quantity: str, label: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        draw_breakdown(axes, table, xlabel=label)
        axes.set_title(f"{quantity.capitalize()} by component, designs of the front", loc="left")

    return draw


def _titled(axes: Axes, draw: Callable[[Axes, EdapTable], None], table: EdapTable) -> None:
    draw(axes, table)
    axes.set_title("Accuracy against energy x delay x area; bars are 95 % intervals", loc="left")


def _bits(axes: Axes, curves: tuple[Curve, ...], what: str, where: str) -> None:
    draw_curves(axes, curves, xlabel=f"{what} bits")
    axes.set_title(f"Accuracy by {what} bits ({where})", loc="left")


def _latency(axes: Axes, table: BarTable, picked: DesignPoint) -> None:
    draw_breakdown(axes, table, xlabel="latency of one image on the critical path (us)")
    axes.set_title(f"Latency by layer of {picked.name}", loc="left")


def _bar_points(results: StudyResults, limit: int = 14) -> tuple[DesignPoint, ...]:
    """Designs of the front, thinned evenly if there are many; the picked one stays."""
    front = results.front
    if len(front) <= limit:
        return front
    keep = {round(i * (len(front) - 1) / (limit - 1)) for i in range(limit)}
    return tuple(p for i, p in enumerate(front) if i in keep or p.picked)


def _mark_picked(axes: Axes, table: EdapTable) -> None:
    point = table.picked
    if point is None:
        return
    axes.plot(
        [point.x], [point.y], "*", color=PALETTE[5], markersize=16, markeredgecolor="black", zorder=6, label="picked"
    )
    xs = [p.x for p in (*table.dominated, *table.front) if p.x > 0]
    # Above the staircase is empty by definition, but at its left end only below has room.
    right_half = point.x > math.sqrt(min(xs) * max(xs))
    axes.annotate(
        f"picked: {point.label}\n{point.y:.1f} %, {point.x:.3g} J s mm²",
        (point.x, point.y),
        xytext=(-18, 30) if right_half else (22, -42),
        ha="right" if right_half else "left",
        textcoords="offset points",
        fontsize=10,
        zorder=7,
        arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.8},
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "#888888", "alpha": 0.92},
    )


def _errors(
    axes: Axes, points: Sequence[CurvePoint], *, colour: str, marker: str, size: float, label: str, alpha: float
) -> None:
    if not points:
        return
    axes.errorbar(
        [p.x for p in points],
        [p.y for p in points],
        # An interval may end a rounding error inside its value: a bar has no negative length.
        yerr=[[max(p.y - p.low, 0.0) for p in points], [max(p.high - p.y, 0.0) for p in points]],
        fmt=marker,
        color=colour,
        ecolor=colour,
        markersize=size,
        elinewidth=0.8,
        capsize=2,
        alpha=alpha,
        label=label,
        zorder=2 if colour == GREY else 4,
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


def _judged(results: StudyResults) -> list[DesignPoint]:
    return [p for p in results.points if p.accuracy is not None]


def _by_x(point: CurvePoint) -> tuple[float, float]:
    return (point.x, point.y)


def _save(figure: Figure, stem: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    FigureCanvasAgg(figure)
    figure.savefig(png, metadata={"Software": None})
    FigureCanvasSVG(figure)
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
