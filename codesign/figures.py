"""The figures of a study: ``*_table`` says what is drawn (plain data), ``draw_*`` draws it.

Every picture is written as PNG and SVG, with nothing in it that depends on the day it was drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figure_tables import (
    COMPONENT_COLOURS,
    OTHER_COLOUR,
    BarTable,
    Curve,
    CurvePoint,
    EdapTable,
    adc_table,
    breakdown_table,
    edap_table,
    interval_note,
    judged,
    latency_table,
    layer_table,
    log_ticks,
    membrane_table,
    tree_table,
)
from .results import DesignPoint, StudyResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    ticks = log_ticks([p.x for p in (*table.dominated, *table.front)])
    axes.set_xticks([t.value for t in ticks], [rf"${t.digit} \times 10^{{{t.exponent}}}$" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("EDAP of one inference (J s mm², log scale); smaller is better")
    axes.set_ylabel("accuracy on simulated hardware (%)")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.16 * (top - bottom))  # headroom for the label of the picked design
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= 100])
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
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))  # outside: no bar hides behind it


def draw_breakdown(axes: Axes, table: BarTable, *, xlabel: str) -> None:
    """Stacked horizontal bars, the first bar on top."""
    left = [0.0] * len(table.bars)
    for number, (part, values) in enumerate(zip(table.parts, table.values, strict=True)):
        plain = OTHER_COLOUR if part == "other" else PALETTE[number % len(PALETTE)]
        colour = COMPONENT_COLOURS.get(part, plain)
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
    if judged(results):
        plan.append(("accuracy_edap", (8.4, 5.4), lambda axes: _edap(axes, results)))
    plan += _curve_plan(results)
    bars = bar_points(results)
    for quantity, label in (("energy", "energy of one inference (nJ)"), ("area", "chip area (mm²)")):
        table = breakdown_table(bars, "energy" if quantity == "energy" else "area")
        size = (9.6, max(3.4, 1.6 + 0.42 * len(bars)))
        if bars:
            plan.append((f"{quantity}_breakdown", size, _breakdown_drawer(table, quantity, label)))
    if (picked := results.picked) is not None:
        plan += _cell_plan(picked)
        layers = latency_table(picked)
        size = (7.6, 1.6 + 0.42 * len(layers.bars))
        plan.append(("latency_layers", size, lambda axes: _latency(axes, layers, picked)))
    return plan


def _cell_plan(picked: DesignPoint) -> list[_Picture]:
    """What needs energy and area by layer and component."""
    if not picked.cells:
        return []
    from .treemap import draw_treemap

    tree, energy, area = tree_table(picked, "area"), layer_table(picked, "energy"), layer_table(picked, "area")

    def draw_tree(axes: Axes) -> None:
        draw_treemap(axes, tree)
        axes.set_title(f"Area by component and layer of {picked.name}: {tree.total:.4g} mm²", loc="left")

    def layers(table: BarTable, quantity: str, label: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            draw_breakdown(axes, table, xlabel=label)
            axes.set_title(f"{quantity} by layer and component of {picked.name}", loc="left")

        return draw

    size = (9.6, max(3.4, 1.6 + 0.42 * len(energy.bars)))
    return [
        ("area_treemap", (9.6, 6.3), draw_tree),
        ("energy_layers", size, layers(energy, "Energy", "energy of one inference (nJ)")),
        ("area_layers", size, layers(area, "Area", "chip area (mm²)")),
    ]


def _curve_plan(results: StudyResults) -> list[_Picture]:
    picked = results.picked
    if picked is None:
        return []
    plan: list[_Picture] = []
    note = interval_note(results)
    hardware = f"{picked.rows} x {picked.cols} cells, {picked.adc_bits}-bit ADC"
    if membrane := membrane_table(results):
        plan.append(
            ("accuracy_membrane_bits", (8.0, 4.8), lambda axes: _bits(axes, membrane, "membrane", hardware, note))
        )
    if adc := adc_table(results):
        network = f"W{picked.weight_bits} V{picked.membrane_bits}" if picked.weight_bits else picked.network
        plan.append(("accuracy_adc_bits", (8.0, 4.8), lambda axes: _bits(axes, adc, "ADC", network, note)))
    return plan


def _breakdown_drawer(table: BarTable, quantity: str, label: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        draw_breakdown(axes, table, xlabel=label)
        axes.set_title(f"{quantity.capitalize()} by component, designs of the front", loc="left")

    return draw


def _edap(axes: Axes, results: StudyResults) -> None:
    draw_edap(axes, edap_table(results))
    axes.set_title(f"Accuracy against energy x delay x area\n{interval_note(results)}", loc="left")


def _bits(axes: Axes, curves: tuple[Curve, ...], what: str, where: str, note: str) -> None:
    draw_curves(axes, curves, xlabel=f"{what} bits")
    axes.set_title(f"Accuracy by {what} bits ({where})\n{note}", loc="left")


def _latency(axes: Axes, table: BarTable, picked: DesignPoint) -> None:
    draw_breakdown(axes, table, xlabel="latency of one image on the critical path (us)")
    axes.set_title(f"Latency by layer of {picked.name}", loc="left")


def bar_points(results: StudyResults, limit: int = 14) -> tuple[DesignPoint, ...]:
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
    axes.annotate(
        f"picked: {point.label}\n{point.y:.1f} %, {point.x:.3g} J s mm²",
        (point.x, point.y),
        # Above the staircase there is no design: the upper left corner is always free.
        xytext=(0.015, 0.985),
        textcoords="axes fraction",
        va="top",
        fontsize=10,
        zorder=7,
        arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.8, "shrinkB": 8},
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "#888888"},
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


def _save(figure: Figure, stem: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    FigureCanvasAgg(figure)
    figure.savefig(png, metadata={"Software": None})
    FigureCanvasSVG(figure)
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
