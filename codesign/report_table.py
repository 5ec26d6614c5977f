"""Columns and rows of the report's table and plots, as plain data for the page's script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .ledger import Row
from .pareto import value_of
from .results import design_label
from .study_view import StudyView

#: Metric -> (label with unit, factor from the ledger's unit).
METRIC_LABELS: Mapping[str, tuple[str, float]] = {
    "accuracy": ("accuracy (%)", 100.0),
    "energy_fJ": ("energy (nJ)", 1e-6),
    "latency_ns": ("latency (us)", 1e-3),
    "interval_ns": ("interval (us)", 1e-3),
    "area_um2": ("area (mm²)", 1e-6),
    "edap_J_s_mm2": ("EDAP (J s mm²)", 1.0),
    "edap_interval_J_s_mm2": ("EDAP of the interval (J s mm²)", 1.0),
    "tops": ("TOPS", 1.0),
    "tops_per_W": ("TOPS/W", 1.0),
    "tops_per_mm2": ("TOPS/mm²", 1.0),
    "cycles": ("cycles", 1.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableColumn:
    """A column: its key, its header with the unit, what it holds, and how a row fills it."""

    key: str
    label: str
    kind: str
    cell: Callable[[Row], Any]


def metric_label(metric: str) -> str:
    """Name of a metric with the unit in which the report prints it."""
    return METRIC_LABELS[metric][0]


def shown_value(metric: str, value: float) -> float:
    """A metric of the ledger in the report's unit, to seven digits."""
    return float(f"{value * METRIC_LABELS[metric][1]:.7g}")


def page_table(view: StudyView) -> dict[str, Any]:
    """What the page's script needs, ready for JSON: columns, rows and the marks of the rows."""
    columns, axes = table_columns(view.rows), {name for row in view.rows for name in row.values}
    picked = view.choice.row.key if view.choice is not None else None
    x, y = _first_axes(view)
    return {
        "columns": [{"key": c.key, "label": c.label, "kind": c.kind, "axis": c.key in axes} for c in columns],
        "rows": [[c.cell(row) for c in columns] for row in view.rows],
        "front": [i for i, row in enumerate(view.rows) if row.key in view.front],
        "picked": [i for i, row in enumerate(view.rows) if row.key == picked],
        "objectives": [{"key": item.metric, "goal": item.goal} for item in view.objectives],
        "stages": list(view.stages),
        "x": x,
        "y": y,
        "total": view.n_points,
        "total_ok": view.n_ok,
        "sampled": view.n_sampled,
    }


def table_columns(rows: Sequence[Row]) -> list[TableColumn]:
    """Columns that these rows fill: number, name, stage, status, axes, accuracy with its interval, metrics, reason."""
    axes = dict.fromkeys(name for row in rows for name in row.values)
    metrics = [name for name in METRIC_LABELS if any(value_of(row, name) is not None for row in rows)]
    columns = [
        TableColumn(key="point", label="point", kind="number", cell=lambda row: row.index),
        TableColumn(key="stage", label="stage", kind="text", cell=lambda row: row.stage),
        TableColumn(key="status", label="status", kind="text", cell=lambda row: row.status),
    ]
    if any("hardware" in row.config for row in rows):
        columns.insert(1, TableColumn(key="design", label="design", kind="text", cell=design_label))
    columns += [_axis_column(name, rows) for name in axes]
    for name in metrics:
        columns.append(_metric_column(name))
        if name == "accuracy":
            columns += [_interval_column(end, place) for place, end in enumerate(("low", "high"))]
    if any(row.reason for row in rows):
        columns.append(TableColumn(key="reason", label="reason", kind="text", cell=lambda row: row.reason))
    return columns


def _axis_column(name: str, rows: Sequence[Row]) -> TableColumn:
    values = [row.values[name] for row in rows if name in row.values]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def cell(row: Row) -> Any:
        value = row.values.get(name)
        return value if numbers or value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return TableColumn(
        key=name,
        label=name.removeprefix("hw.").removeprefix("student."),
        kind="number" if numbers else "text",
        cell=cell,
    )


def _metric_column(name: str) -> TableColumn:
    def cell(row: Row) -> float | None:
        value = value_of(row, name)
        return None if value is None else shown_value(name, value)

    return TableColumn(key=name, label=metric_label(name), kind="number", cell=cell)


def _interval_column(end: str, place: int) -> TableColumn:
    def cell(row: Row) -> float | None:
        ends = (row.metrics.get("accuracy") or {}).get("ci95")
        return None if ends is None else float(f"{100 * ends[place]:.4g}")

    return TableColumn(key=f"ci95_{end}", label=f"95 % {end} (%)", kind="number", cell=cell)


def _first_axes(view: StudyView) -> tuple[str, str]:
    """Metrics of the first picture: cost across, accuracy (or the second cost) upwards, where there are two."""
    names = [item.metric for item in view.objectives]
    spare = [name for name in ("energy_fJ", "area_um2") if name not in names]
    names = [*names, *spare][:2]
    return (names[1], names[0]) if names[0] == "accuracy" else (names[0], names[1])
