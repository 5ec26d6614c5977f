"""Plotly figures of the report, as plain data: no drawing here, and every text in them is escaped for HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from .figure_tables import (
    COMPONENT_COLOURS,
    OTHER_COLOUR,
    BarTable,
    TreeMap,
    breakdown_table,
    component_colour,
    latency_table,
    layer_table,
    tree_table,
)
from .figures import PALETTE, bar_points
from .report_effects import plot_layout, view_plots
from .results import StudyResults


def report_plots(results: StudyResults) -> dict[str, dict[str, Any]]:
    """Plotly figures of the report by name, as plain data; every text in them is escaped for HTML."""
    plots: dict[str, dict[str, Any]] = {}
    if results.view is not None:
        plots |= view_plots(results.view)
    picked = results.picked
    if picked is not None:
        if picked.cells:
            plots["tree"] = _treemap("Area by component and layer (mm²)", tree_table(picked, "area"))
            plots["energy"] = _stacks("Energy by layer and component (nJ an inference)", layer_table(picked, "energy"))
            plots["area"] = _stacks("Area by layer and component (mm²)", layer_table(picked, "area"))
        layers = latency_table(picked)
        plots["latency"] = _bars("Latency by layer (us an image)", layers.bars, layers.values[0])
    if front := bar_points(results):
        plots["front_energy"] = _stacks("Energy by component (nJ an inference)", breakdown_table(front, "energy"))
        plots["front_area"] = _stacks("Area by component (mm²)", breakdown_table(front, "area"))
    return plots


def _bars(title: str, names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    layout = plot_layout(title, height=110 + 30 * len(names))
    layout["yaxis"] = {"autorange": "reversed", "automargin": True}
    layout["xaxis"] = {"rangemode": "tozero"}
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(values),
        "y": [escape(name) for name in names],
        "text": [f"{value:.3g}" for value in values],
        "textposition": "auto",
        "marker": {"color": PALETTE[0]},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def _stacks(title: str, table: BarTable) -> dict[str, Any]:
    """Stacked horizontal bars; a component has the same colour in every plot."""
    # Room for the bars, the axis, and a legend of two columns below it; ``y`` of the legend is in heights of the plot.
    bars, legend = 15 + 26 * len(table.bars), 20 * ((len(table.parts) + 1) // 2)
    layout = plot_layout(title, height=60 + bars + 45 + legend)
    layout["margin"] = {**layout["margin"], "b": 45 + legend}
    layout["barmode"] = "stack"
    layout["yaxis"] = {"autorange": "reversed", "automargin": True, "tickfont": {"size": 12}}
    layout["xaxis"] = {"rangemode": "tozero"}
    layout["legend"] = {"orientation": "h", "y": -35 / bars, "yanchor": "top", "traceorder": "normal"}
    layout["legend"]["font"] = {"size": 12}
    totals = [sum(values) or 1.0 for values in zip(*table.values, strict=True)]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": escape(part),
            "x": list(values),
            "y": [escape(bar) for bar in table.bars],
            "marker": {"color": _colour(part, number), "line": {"color": "white", "width": 0.5}},
            "customdata": [100 * value / total for value, total in zip(values, totals, strict=True)],
            "hovertemplate": f"%{{y}}, {escape(part)}: %{{x:.4g}} {table.unit} (%{{customdata:.1f}} %)<extra></extra>",
        }
        for number, (part, values) in enumerate(zip(table.parts, table.values, strict=True))
    ]
    return {"data": traces, "layout": layout}


def _colour(part: str, number: int) -> str:
    plain = OTHER_COLOUR if part == "other" else PALETTE[number % len(PALETTE)]
    return COMPONENT_COLOURS.get(part, plain)


def _treemap(title: str, table: TreeMap) -> dict[str, Any]:
    """Components with their layers inside; ids keep apart the same layer in several components."""
    # (id, label, parent, own value, component): with "remainder" a component owns only what its layers do not. "total"
    # would refuse to draw if the sum of the layers rounds otherwise than their component.
    nodes = [(part.name, _shared(part.name, part.value, table), "", 0.0, part.name) for part in table.parts]
    nodes += [
        (f"{part.name}/{leaf.name}", _shared(leaf.name, leaf.value, table), part.name, leaf.value, part.name)
        for part in table.parts
        for leaf in part.layers
    ]
    trace = {
        "type": "treemap",
        "ids": [escape(node[0]) for node in nodes],
        "labels": [escape(node[1]) for node in nodes],
        "parents": [escape(node[2]) for node in nodes],
        "values": [node[3] for node in nodes],
        "branchvalues": "remainder",
        "marker": {
            "colors": [component_colour(node[4]) for node in nodes],
            "line": {"color": "white", "width": 1},
            "pad": {"t": 20, "l": 2, "r": 2, "b": 2},
        },
        "texttemplate": "%{label}",
        "hovertemplate": f"%{{id}}: %{{value:.4g}} {table.unit} (%{{percentRoot:.1%}})<extra></extra>",
        "tiling": {"packing": "squarify"},
        "pathbar": {"visible": False},
    }
    layout = plot_layout(f"{title}: {table.total:.4g} in all", height=460)
    layout["margin"] = {"l": 8, "r": 8, "t": 50, "b": 8}
    return {"data": [trace], "layout": layout}


def _shared(name: str, value: float, table: TreeMap) -> str:
    """Name with its share of the whole, where that is not next to nothing."""
    share = 100 * value / (table.total or 1.0)
    return f"{name} {share:.0f} %" if share >= 1 else name


def percent_text(value: float | None) -> str:
    """A share in per cent, a dash if there is none."""
    return "-" if value is None else f"{100 * value:.2f}"


def interval_text(ci95: tuple[float, float] | None) -> str:
    """An interval of shares in per cent, a dash if there is none."""
    return "-" if ci95 is None else f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f}"
