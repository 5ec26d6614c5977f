"""Energy and area by component of the designs that the report compares, as plain data for the page's script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .ledger import Row
from .report_table import shown_value
from .study_view import StudyView

#: Points whose components the page holds; some 300 bytes each, beside a plotting script of megabytes.
BREAKDOWN_POINTS = 500
_QUANTITIES = ("energy_fJ", "area_um2")


def page_breakdown(view: StudyView) -> dict[str, Any]:
    """What the page needs to compare two designs, ready for JSON.

    ``components``: names, the largest energy first. ``energy`` (nJ) and ``area`` (mm2): place of a row in
    ``view.rows`` -> one value a component. ``left_out``: places of rows that have components but found no room: the
    pick, the fronts and then the others by number come in, up to ``BREAKDOWN_POINTS``. ``baseline``: place of the row
    that the others are compared with at first, None without a result.
    """
    rows, baseline = view.rows, _baseline(view)
    known = [place for place, row in enumerate(rows) if row.metrics.get("by_component")]
    known.sort(key=lambda place: (place != baseline, rows[place].key not in view.front, place))
    kept = known[:BREAKDOWN_POINTS]
    names = _components([rows[place] for place in kept])
    energy, area = (
        {str(place): [_part(rows[place], name, quantity) for name in names] for place in kept}
        for quantity in _QUANTITIES
    )
    return {
        "components": names,
        "energy": energy,
        "area": area,
        "left_out": sorted(known[BREAKDOWN_POINTS:]),
        "limit": BREAKDOWN_POINTS,
        "baseline": baseline,
    }


def _baseline(view: StudyView) -> int | None:
    """The pick; without one the design of the front with the least EDAP, then the first with a result."""
    wanted = None if view.choice is None else view.choice.row.key
    good = [place for place, row in enumerate(view.rows) if row.status == "ok" and row.stage == view.stage]
    if wanted is not None:
        # The pick need not be on the front of the study's own objectives, but it is always shown.
        return next((place for place in good if view.rows[place].key == wanted), None)
    front = [place for place in good if view.rows[place].key in view.front]
    if not front:
        return good[0] if good else None
    return min(front, key=lambda place: (view.rows[place].metrics.get("edap_J_s_mm2", 0.0), place))


def _components(rows: list[Row]) -> list[str]:
    """Components of these rows that cost anything, by their energy over all rows, then by their area."""
    totals: dict[str, list[float]] = {}
    for row in rows:
        for name, part in row.metrics["by_component"].items():
            total = totals.setdefault(name, [0.0, 0.0])
            for i, quantity in enumerate(_QUANTITIES):
                total[i] += part[quantity]
    return sorted((name for name, total in totals.items() if any(total)), key=lambda name: [-t for t in totals[name]])


def _part(row: Row, name: str, quantity: str) -> float:
    part: Mapping[str, float] | None = row.metrics["by_component"].get(name)
    # Five digits: a page of bars, not the ledger.
    return 0.0 if part is None else float(f"{shown_value(quantity, part[quantity]):.5g}")
