"""One self-contained ``report.html``: plotly's script inside, no network access, every text escaped.

The same ledger gives the same bytes: nothing in the file depends on the time or the place of writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.units import format_si

from .report_breakdown import page_breakdown
from .report_plots import interval_text, percent_text, report_plots
from .report_sections import explorer, points_without_result
from .report_table import metric_label, page_table, shown_value
from .results import DesignPoint, StudyResults
from .study_view import StudyView

#: The page may run its own script and nothing else: no request leaves the browser.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

#: Parts of the page's own script, one after the other.
_SCRIPTS = ("report_compare.js", "report.js")

_EFFECTS_NOTE = (
    '<p class="note">One objective over all designs with a result that have this value of an axis, whatever their '
    "other values: the dot is the mean, the bar reaches from the 10th to the 90th percentile, n counts the designs. A "
    "sampler visits good regions more often: its designs are not a fair sample of the space.</p>"
)

Column = tuple[str, Callable[[DesignPoint], str]]

_COLUMNS: tuple[Column, ...] = (
    ("design", lambda p: p.name),
    ("weight (bit)", lambda p: _bits(p.weight_bits)),
    ("membrane (bit)", lambda p: _bits(p.membrane_bits)),
    ("crossbar (rows x cols)", lambda p: f"{p.rows} x {p.cols}"),
    ("ADC (bit)", lambda p: str(p.adc_bits)),
    ("accuracy (%)", lambda p: percent_text(p.accuracy)),
    ("95 % interval (%)", lambda p: interval_text(p.ci95)),
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
        explorer(results.view) if results.view is not None else "",
        _plot_section(plots, results),
        _section(f"Designs of the front ({len(results.front)})", _front_table(results)) if results.front else "",
        _section("Hardware of the picked design", _picked_tables(results)) if results.points else "",
        _section("Trained networks", _training_table(results)) if results.points else "",
        points_without_result(results.view),
        _section("Assumptions and sources", _assumptions(results)) if results.points else "",
        _section("Run record", _record(results)),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_shipped('report.css')}</style>",
            f"<script>{get_plotlyjs()}</script></head><body><main>",
            *(part for part in body if part),
            "</main>",
            f"<script>{_data_script(plots, results)}{''.join(map(_shipped, _SCRIPTS))}</script></body></html>",
            "",
        ]
    )


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _data_script(plots: Mapping[str, Any], results: StudyResults) -> str:
    view = None
    if results.view is not None:
        view = {**page_table(results.view), "breakdown": page_breakdown(results.view)}
    # "</script>" inside a JSON text would end the script: the escaped sign is the same text to JSON.
    text = json.dumps({"plots": plots, "view": view}, sort_keys=True, allow_nan=False).replace("<", "\\u003c")
    return f"const report = {text};\n"


def _headline(results: StudyResults) -> str:
    picked = results.picked
    if picked is None:
        return f'<p class="pick">{escape(results.pick_reason)}</p>'
    facts = [
        (
            "accuracy",
            f"{percent_text(picked.accuracy)} %",
            f"95 %: {interval_text(picked.ci95)} %, n\u00a0=\u00a0{picked.n}",
        ),
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


def _plot_section(plots: Mapping[str, Any], results: StudyResults) -> str:
    divs = {name: f'<div class="plot" id="plot-{name}"></div>' for name in plots}
    effects = "".join(divs.pop(name) for name in tuple(divs) if name.startswith("effect_"))
    volume, tree = divs.pop("volume", ""), divs.pop("tree", "")
    front = "".join(divs.pop(name) for name in ("front_energy", "front_area") if name in divs)
    parts = []
    if effects:
        parts.append(_section("What each axis does", f'{_EFFECTS_NOTE}<div class="grid">{effects}</div>'))
    if volume and results.view is not None:
        parts.append(_section("How the front grew", _volume_note(results.view) + volume))
    if results.picked is not None:
        pictures = f'{tree}<div class="grid">{"".join(divs.values())}</div>{_weak_box(results)}'
        parts.append(_section("Where the picked design spends", pictures))
    if front:
        parts.append(_section("Where the designs of the front spend", f'<div class="grid">{front}</div>'))
    return "".join(parts)


def _volume_note(view: StudyView) -> str:
    names = ", ".join(metric_label(item.metric) for item in view.objectives)
    point = ", ".join(
        f"{shown_value(item.metric, value):.4g}"
        for item, value in zip(view.objectives, view.reference_point or (), strict=True)
    )
    whose = "of the study" if view.is_whole else "the worst values so far: the study is not finished"
    return (
        f'<p class="note">Hypervolume of the front of the first n points, in the order of their numbers, in plain '
        f"units of {escape(names)}. Reference point ({escape(whose)}): {escape(point)}.</p>"
    )


def _weak_box(results: StudyResults) -> str:
    """What these pictures rest on where nobody published a firm number."""
    if not results.warnings:
        return ""
    lines = "".join(f"<li>{escape(text)}</li>" for text in results.warnings)
    return (
        '<div class="weak"><b>How far to trust these pictures.</b> Doubted numbers and assumptions behind more than '
        f"5 % of the energy or area of the picked design:<ul>{lines}</ul></div>"
    )


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
        f'<div class="scroll"><table class="designs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
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
            percent_text(t.accuracy),
            interval_text(t.ci95),
            str(t.n),
        )
        for t in results.trainings
    ]
    note = "<p>Accuracy of the network itself, before crossbars and ADCs; bits of the teacher are full precision.</p>"
    return note + _table(header, rows)


def _assumptions(results: StudyResults) -> str:
    sources = "".join(f"<li>{escape(key)}</li>" for key in results.sources) or "<li>none reported</li>"
    title = f"Numbers of the technology file that these results used ({len(results.sources)}), with their sources"
    weak = len(results.warnings)
    about = (
        f"<p>{weak} doubted numbers and assumptions stand behind more than 5 % of the picked design's energy or area; "
        "they are listed below its pictures.</p>"
        if weak
        else "<p>No doubted number and no assumption stands behind more than 5 % of the picked design.</p>"
    )
    return f"{about}<details><summary>{title}</summary><ul>{sources}</ul></details>"


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
