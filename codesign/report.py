"""One self-contained ``report.html``: plotly's script inside, no network access, every text escaped.

The same ledger gives the same bytes: nothing in the file depends on the time or the place of writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.units import format_si

from .figure_tables import CurvePoint, breakdown_table, edap_table, interval_note, latency_table, log_ticks
from .figures import GREY, PALETTE
from .report_style import SORT_SCRIPT, STYLE
from .results import DesignPoint, StudyResults

#: The page may run its own script and nothing else: no request leaves the browser.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

Column = tuple[str, Callable[[DesignPoint], str]]

#: Rows of the table of points without a result; a study can have thousands.
_FAILURES_SHOWN = 200

_COLUMNS: tuple[Column, ...] = (
    ("design", lambda p: p.name),
    ("weight (bit)", lambda p: _bits(p.weight_bits)),
    ("membrane (bit)", lambda p: _bits(p.membrane_bits)),
    ("crossbar (rows x cols)", lambda p: f"{p.rows} x {p.cols}"),
    ("ADC (bit)", lambda p: str(p.adc_bits)),
    ("accuracy (%)", lambda p: _percent(p.accuracy)),
    ("95 % interval (%)", lambda p: _interval(p.ci95)),
    ("energy (nJ)", lambda p: f"{p.energy_fJ / 1e6:.4g}"),
    ("latency (us)", lambda p: f"{p.latency_ns / 1e3:.4g}"),
    ("area (mm²)", lambda p: f"{p.area_um2 / 1e6:.4g}"),
    ("EDAP (J s mm²)", lambda p: f"{p.edap_J_s_mm2:.4g}"),
    ("TOPS/W", lambda p: f"{p.tops_per_W:.4g}"),
    ("TOPS/mm²", lambda p: f"{p.tops_per_mm2:.4g}"),
)


def write_report(path: Path, results: StudyResults) -> None:
    """Write the report of a study, whole or not at all.

    Raises:
        OSError: the folder of ``path`` does not exist or is full.
    """
    write_atomic(path, render_report(results))


def render_report(results: StudyResults) -> str:
    """HTML text of the report; the same results give the same text."""
    from plotly.offline import get_plotlyjs

    plots = report_plots(results)
    title = f"spikeloop: {results.name}"
    body = [
        f"<h1>Study: {escape(results.name)}</h1>",
        _headline(results),
        _plot_section(plots),
        _section(f"Designs of the front ({len(results.front)})", _front_table(results)),
        _section("Hardware of the picked design", _picked_tables(results)),
        _section("Trained networks", _training_table(results)),
        _section(f"All designs ({len(results.points)})", _design_table(results.points, picked=results.picked)),
        _failures(results),
        _section("Assumptions and sources", _assumptions(results)),
        _section("Run record", _record(results)),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f"<script>{get_plotlyjs()}</script></head><body><main>",
            *body,
            "</main>",
            f"<script>{_plot_script(plots)}{SORT_SCRIPT}</script></body></html>",
            "",
        ]
    )


def report_plots(results: StudyResults) -> dict[str, dict[str, Any]]:
    """Plotly figures of the report by name, as plain data; every text in them is escaped for HTML."""
    plots: dict[str, dict[str, Any]] = {}
    if any(p.accuracy is not None for p in results.points):
        plots["edap"] = _edap_plot(results)
    picked = results.picked
    if picked is not None:
        energy, area = breakdown_table([picked], "energy"), breakdown_table([picked], "area")
        plots["energy"] = _bars("Energy by component (nJ an inference)", energy.parts, [v[0] for v in energy.values])
        plots["area"] = _bars("Area by component (mm²)", area.parts, [v[0] for v in area.values])
        layers = latency_table(picked)
        plots["latency"] = _bars("Latency by layer (us an image)", layers.bars, layers.values[0])
    return plots


def _edap_plot(results: StudyResults) -> dict[str, Any]:
    table = edap_table(results)
    hover = {point.name: _hover(point) for point in results.points}
    right = max((p.x for p in (*table.dominated, *table.front)), default=1.0)
    steps = [*table.steps, (right, table.steps[-1][1])] if table.steps else []
    traces = [
        _scatter("dominated design", table.dominated, hover, {"color": GREY, "size": 6}),
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for x, _ in steps],
            "y": [y for _, y in steps],
            "line": {"shape": "hv", "color": PALETTE[0], "width": 2},
            "hoverinfo": "skip",
            "showlegend": False,
        },
        _scatter("Pareto front", table.front, hover, {"color": PALETTE[0], "size": 9}),
    ]
    if table.picked is not None:
        star = {"color": PALETTE[5], "size": 17, "symbol": "star", "line": {"color": "black", "width": 1}}
        traces.append(_scatter("picked design", [table.picked], hover, star))
    layout = _layout(f"Accuracy on simulated hardware against EDAP ({interval_note(results)})", height=520)
    ticks = log_ticks([p.x for p in (*table.dominated, *table.front)])
    layout["xaxis"] = {
        "type": "log",
        "title": {"text": "EDAP of one inference (J s mm², log scale); smaller is better"},
        "tickvals": [tick.value for tick in ticks],
        "ticktext": [f"{tick.digit}×10<sup>{tick.exponent}</sup>" for tick in ticks],
    }
    layout["yaxis"] = {"title": {"text": "accuracy (%)"}}
    layout["legend"] = {"orientation": "h", "y": 1.06, "x": 1, "xanchor": "right"}
    return {"data": traces, "layout": layout}


def _scatter(
    name: str, points: Sequence[CurvePoint], hover: Mapping[str, str], marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [p.x for p in points],
        "y": [p.y for p in points],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [p.high - p.y for p in points],
            "arrayminus": [p.y - p.low for p in points],
            "thickness": 1,
            "width": 2,
        },
        "marker": marker,
        "text": [hover[p.label] for p in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(point: DesignPoint) -> str:
    lines = [
        f"<b>{escape(point.name)}</b>",
        f"accuracy {_percent(point.accuracy)} % ({_interval(point.ci95)} %, n = {point.n})",
        f"energy {format_si(point.energy_fJ, 'fJ')}, latency {format_si(point.latency_ns, 'ns')}, "
        f"area {format_si(point.area_um2, 'um2')}",
        f"EDAP {point.edap_J_s_mm2:.4g} J s mm²",
        *(f"{escape(str(key))} = {escape(str(value))}" for key, value in point.settings.items()),
    ]
    return "<br>".join(lines)


def _bars(title: str, names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    layout = _layout(title, height=110 + 30 * len(names))
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


def _layout(title: str, *, height: int) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 16}, "x": 0.01, "xanchor": "left"},
        "height": height,
        "margin": {"l": 70, "r": 20, "t": 60, "b": 55},
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        "hoverlabel": {"align": "left"},
    }


def _plot_script(plots: Mapping[str, Any]) -> str:
    # "</script>" inside a JSON text would end the script: the escaped slash is the same text to JSON.
    text = json.dumps(plots, sort_keys=True, allow_nan=False).replace("<", "\\u003c")
    return (
        f"const plots = {text};\n"
        "for (const [name, plot] of Object.entries(plots)) {\n"
        "  const config = {displaylogo: false, responsive: true, displayModeBar: name === 'edap' ? 'hover' : false};\n"
        "  Plotly.newPlot('plot-' + name, plot.data, plot.layout, config);\n"
        "}\n"
    )


def _headline(results: StudyResults) -> str:
    picked = results.picked
    if picked is None:
        return f'<p class="pick">{escape(results.pick_reason)}</p>'
    facts = [
        ("accuracy", f"{_percent(picked.accuracy)} %", f"95 %: {_interval(picked.ci95)} %, n\u00a0=\u00a0{picked.n}"),
        ("energy", format_si(picked.energy_fJ, "fJ"), "one inference"),
        ("latency", format_si(picked.latency_ns, "ns"), "one image"),
        ("area", format_si(picked.area_um2, "um2").replace("mm2", "mm²"), "whole chip"),
        ("EDAP", f"{picked.edap_J_s_mm2:.3g}", "J s mm²"),
        ("efficiency", f"{picked.tops_per_W:.3g}", "TOPS/W, dense operations"),
    ]
    cards = "".join(
        f'<div class="card"><span>{escape(a)}</span><b>{escape(b)}</b><span>{escape(c)}</span></div>'
        for a, b, c in facts
    )
    return (
        f'<p class="pick"><b>Build {escape(picked.name)}.</b> {escape(results.pick_reason)}</p>'
        f'<div class="cards">{cards}</div>'
        "<p>Names of designs: W weight bits, V membrane bits, rows x columns of a crossbar, ADC bits.</p>"
    )


def _plot_section(plots: Mapping[str, Any]) -> str:
    divs = {name: f'<div class="plot" id="plot-{name}"></div>' for name in plots}
    wide = divs.pop("edap", "<p>This study ran without data, so no design has an accuracy.</p>")
    return f'{wide}<h2>Where the picked design spends</h2><div class="grid">{"".join(divs.values())}</div>'


def _front_table(results: StudyResults) -> str:
    return _design_table(results.front, picked=results.picked)


def _design_table(points: Iterable[DesignPoint], *, picked: DesignPoint | None) -> str:
    rows = [([render(p) for _, render in _COLUMNS], p is picked) for p in points]
    head = "".join(f"<th>{escape(title)}</th>" for title, _ in _COLUMNS)
    body = "".join(
        f"<tr{' class=picked' if marked else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for cells, marked in rows
    )
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _picked_tables(results: StudyResults) -> str:
    if not results.hardware:
        return "<p>No design was picked.</p>"
    return _key_values(_flat(results.hardware))


def _training_table(results: StudyResults) -> str:
    if not results.trainings:
        return "<p>No network was trained in this study.</p>"
    header = ("network", "role", "weight (bit)", "membrane (bit)", "accuracy (%)", "95 % interval (%)", "test images")
    rows = [
        (
            t.name,
            t.role,
            _bits(t.weight_bits),
            _bits(t.membrane_bits),
            _percent(t.accuracy),
            _interval(t.ci95),
            str(t.n),
        )
        for t in results.trainings
    ]
    note = "<p>Accuracy of the network itself, before crossbars and ADCs; bits of the teacher are full precision.</p>"
    return note + _table(header, rows)


def _failures(results: StudyResults) -> str:
    if not results.failures:
        return ""
    shown = results.failures[:_FAILURES_SHOWN]
    rest = len(results.failures) - len(shown)
    more = f"<p>and {rest} more; the ledger holds them all</p>" if rest else ""
    title = f"Points without a result ({len(results.failures)})"
    return _section(title, _table(("design", "reason"), shown) + more)


def _assumptions(results: StudyResults) -> str:
    warnings = "".join(f"<li>{escape(text)}</li>" for text in results.warnings) or "<li>none reported</li>"
    sources = "".join(f"<li>{escape(key)}</li>" for key in results.sources) or "<li>none reported</li>"
    title = f"Numbers of the technology file that these results used ({len(results.sources)}), with their sources"
    about = "<p>What the energy and area of the picked design rest on, where nobody published a firm number:</p>"
    return f"{about}<ul>{warnings}</ul><details><summary>{title}</summary><ul>{sources}</ul></details>"


def _record(results: StudyResults) -> str:
    command = "spikeloop explore study.yaml --out again"
    note = "<p>To reproduce, run this beside the study.yaml of this folder; the front must come out the same:</p>"
    study = json.dumps(results.study, indent=2, sort_keys=True)
    return (
        f"{note}<pre>{escape(command)}</pre>{_key_values(_flat(results.record))}"
        f"<details><summary>Resolved study</summary><pre>{escape(study)}</pre></details>"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _key_values(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs)
    return f'<dl class="pairs">{rows}</dl>'


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, part in value.items() for pair in _flat(part, f"{prefix}.{key}" if prefix else str(key))]
    text = json.dumps(value, sort_keys=True) if isinstance(value, list | Mapping | bool | None) else str(value)
    return [(prefix, text)]


def _bits(value: int | None) -> str:
    return "-" if value is None else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _interval(ci95: tuple[float, float] | None) -> str:
    return "-" if ci95 is None else f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f}"
