"""Plotly figures over all points of a study: what each axis does, and how the hypervolume grew."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from .report_table import metric_label, shown_value
from .study_view import Effect, StudyView

_COLOUR = "#0072B2"
#: An objective that spans more than this is drawn on a logarithmic axis.
_LOG_SPAN = 10.0


def view_plots(view: StudyView) -> dict[str, dict[str, Any]]:
    """Plots by name: ``effect_<metric>`` for each objective, ``volume``; every text is escaped for HTML."""
    plots = {f"effect_{metric}": _effect_plot(metric, found) for metric, found in view.effects.items() if found}
    if len(view.volumes) > 1:
        plots["volume"] = _volume_plot(view)
    return plots


def _effect_plot(metric: str, effects: Sequence[Effect]) -> dict[str, Any]:
    """One line a value of an axis, axes below each other, so that it is readable in a narrow window."""
    names, place = [], 0
    places = []
    for number, effect in enumerate(effects):
        # An empty line between two axes.
        place += 2 if number and effects[number - 1].axis != effect.axis else 1
        places.append(place)
        names.append(f"{escape(_short(effect.axis))} = {escape(str(effect.level))}")
    mean, low, high = (
        [shown_value(metric, getattr(effect, part)) for effect in effects] for part in ("mean", "low", "high")
    )
    layout = plot_layout(escape(metric_label(metric)), height=110 + 19 * place)
    layout["yaxis"] = {
        "tickvals": places,
        "ticktext": names,
        "range": [place + 0.8, 0.2],
        "automargin": True,
        "tickfont": {"size": 12},
        "zeroline": False,
        "gridcolor": "#eee",
    }
    is_log = min(low) > 0 and max(high) > _LOG_SPAN * min(low)
    layout["xaxis"] = {"type": "log" if is_log else "linear", "exponentformat": "power", "nticks": 6, "zeroline": False}
    layout["xaxis"] |= {"gridcolor": "#e5e5e5", "automargin": True}
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": mean,
        "y": places,
        "marker": {"color": _COLOUR, "size": 8},
        "error_x": {
            "type": "data",
            "symmetric": False,
            # The mean of skewed values may lie outside the two percentiles.
            "array": [max(0.0, h - m) for m, h in zip(mean, high, strict=True)],
            "arrayminus": [max(0.0, m - x) for m, x in zip(mean, low, strict=True)],
            "thickness": 2,
            "width": 4,
        },
        "text": [
            f"{name}<br>mean {m:.5g}<br>10 % below {x:.5g}, 10 % above {h:.5g}<br>n = {effect.n}"
            for name, m, x, h, effect in zip(names, mean, low, high, effects, strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def _volume_plot(view: StudyView) -> dict[str, Any]:
    layout = plot_layout("Hypervolume over evaluated points", height=340)
    layout["xaxis"] = {"title": {"text": "points evaluated"}, "rangemode": "tozero", "gridcolor": "#e5e5e5"}
    layout["yaxis"] = {"exponentformat": "power", "rangemode": "tozero", "automargin": True, "gridcolor": "#e5e5e5"}
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [point.n for point in view.volumes],
        "y": [point.volume for point in view.volumes],
        "line": {"shape": "hv", "color": _COLOUR, "width": 2},
        "marker": {"size": 4},
        "hovertemplate": "%{x} points: %{y:.5g}<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def _short(axis: str) -> str:
    """Name of an axis without the part that all of its half share."""
    return axis.removeprefix("hw.").removeprefix("student.")


def plot_layout(title: str, *, height: int) -> dict[str, Any]:
    """Layout that all plots of the page share."""
    return {
        "title": {"text": title, "font": {"size": 16}, "x": 0.01, "xanchor": "left"},
        "height": height,
        "margin": {"l": 70, "r": 20, "t": 60, "b": 55},
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        "hoverlabel": {"align": "left"},
    }
