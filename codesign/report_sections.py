"""Sections of the report that its script fills: the points as plot, table and lines; and what has no result."""

from __future__ import annotations

from html import escape

from .study_view import StudyView

#: Different reasons that the page lists; a study can have thousands.
_REASONS_SHOWN = 200


def explorer(view: StudyView) -> str:
    """Plot, parallel lines and table of the points, empty until the page's script fills them."""
    if not view.rows:
        return "<p>No point is finished yet.</p>"
    return (
        f"<section><h2>Points of the study</h2>{_what_is_shown(view)}{_STAGES_NOTE if len(view.stages) > 1 else ''}"
        f"{_PLOT}{_COMPARISON}{_LINES}{_TABLE}</section>"
    )


def points_without_result(view: StudyView | None) -> str:
    """How many points have no result, by reason; empty if all have one."""
    if view is None or not view.reasons:
        return ""
    total = sum(n for _, _, n, _ in view.reasons)
    rows = "".join(
        f"<tr><td>{status}</td><td>{n}</td><td>{first}</td><td>{escape(reason)}</td></tr>"
        for status, reason, n, first in view.reasons[:_REASONS_SHOWN]
    )
    rest = len(view.reasons) - _REASONS_SHOWN
    more = f"<p>and {rest} more reasons; the ledger holds them all</p>" if rest > 0 else ""
    head = "".join(f'<th scope="col">{text}</th>' for text in ("status", "points", "first point", "reason"))
    return (
        f"<section><h2>Points without a result ({total})</h2>"
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{more}</section>"
    )


def _what_is_shown(view: StudyView) -> str:
    kept = "" if view.n_admissible == view.n_ok else f", {view.n_admissible:,} keep the constraints"
    facts = (
        f"{view.n_points:,} points are finished, {view.n_ok:,} with a result{kept}; {len(view.front):,} on the front."
    )
    if view.n_sampled is None:
        return f'<p class="note" id="shown">{facts} Plot and table hold all of them.</p>'
    return (
        f'<p class="note" id="shown">{facts} Plot and table hold the whole front and a random sample of '
        f"{view.n_sampled:,} of the other designs; the front, the effects and the hypervolume below are computed from "
        "all points, and points without a result are listed by reason.</p>"
    )


_STAGES_NOTE = (
    '<p class="note">The points come from several stages, whose figures must not be compared: each stage has its own '
    "front and its own symbol, and a column of the table.</p>"
)

_PLOT = """
<div class="tools">
<label>across <select id="axis-x"></select></label>
<label>upwards <select id="axis-y"></select></label>
<label><input type="checkbox" id="log-axes" checked> logarithmic axes</label>
<label><input type="checkbox" id="only-front"> only the front</label>
<label><input type="checkbox" id="only-selected"> only selected</label>
<button type="button" id="select-shown">select what the filters pass</button>
<button type="button" id="select-none">select nothing</button>
<button type="button" id="reset">reset filters and order</button>
</div>
<div id="plot-points" role="img" aria-label="Scatter plot of the points that the table below holds"></div>
<p class="note">Drag over points, or click one, to select them; their rows are marked in the table, and the other
way round. Filters below the headers of the table hold for the plot too.</p>
"""

_COMPARISON = """
<h3>Selected design against a baseline</h3>
<div class="tools">
<button type="button" id="make-baseline">make the selected design the baseline</button>
<button type="button" id="first-baseline">first baseline again</button>
</div>
<p id="compare-text" aria-live="polite"></p>
<div class="grid">
<div id="plot-compare-energy" role="img" aria-label="Energy by component, selected design and baseline"></div>
<div id="plot-compare-area" role="img" aria-label="Area by component, selected design and baseline"></div>
</div>
"""

_LINES = """
<h3>All axes at once</h3>
<div class="scroll" tabindex="0" role="region" aria-label="parallel coordinates">
<canvas id="lines" role="img" aria-label="One line a design across axes and objectives"></canvas>
</div>
<p class="note">One line a design with a result: grey, blue on the front, purple where selected. What the filters leave
out is not drawn. Scales run from the smallest to the largest value, logarithmic where these are a factor of
ten apart.</p>
"""

_TABLE = """
<h3>Table</h3>
<div class="tools">
<span id="count" aria-live="polite"></span>
<button type="button" id="page-back">previous page</button>
<span id="page-text"></span>
<button type="button" id="page-on">next page</button>
</div>
<div class="scroll" tabindex="0" role="region" aria-label="table of points">
<table id="points-table"><thead></thead><tbody></tbody></table>
</div>
<div id="detail"></div>
"""
