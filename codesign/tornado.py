"""The tornado chart: which numbers of the technology file move a result, and how far."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.files import write_atomic

from .figures import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spikeloop.simulator.sensitivity import Figures, Sensitivity, Swing

    from .cli_sensitivity import SensitivityStudy

#: Trust in a number -> its colour: what nobody measured stands out.
STATUS_COLOURS = {"read": PALETTE[0], "derived": PALETTE[4], "doubted": PALETTE[1], "assumption": PALETTE[5]}
PANELS = (("energy", "energy_fJ"), ("area", "area_um2"), ("EDAP", "edap_J_s_mm2"))
_SHOWN = 16
_ROW_INCH = 0.32


@dataclass(frozen=True, kw_only=True, slots=True)
class TornadoRow:
    """One number; ``low`` and ``high`` are changes in per cent of energy, area and EDAP, None where refused."""

    key: str
    status: str
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TornadoTable:
    """What the chart shows: the largest spread of EDAP first, and how many numbers it leaves out."""

    rows: tuple[TornadoRow, ...]
    n_left_out: int


def tornado_table(found: Sensitivity, *, limit: int = _SHOWN) -> TornadoTable:
    """The ``limit`` numbers that move EDAP most."""
    return TornadoTable(
        rows=tuple(_row(swing, found.base) for swing in found.swings[:limit]),
        n_left_out=max(0, len(found.swings) - limit) + len(found.without_effect),
    )


def draw_tornado(panels: Sequence[Axes], table: TornadoTable) -> None:
    """Bars to the low (light) and the high end (dark) of every number, one panel each for energy, area and EDAP."""
    for number, (axes, (name, _)) in enumerate(zip(panels, PANELS, strict=True)):
        for row, line in enumerate(table.rows):
            colour = STATUS_COLOURS.get(line.status, GREY)
            ends = ((line.low[number], 0.45), (line.high[number], 1.0))
            # If both ends lie on one side, the longer bar goes behind the shorter one.
            for end, alpha in sorted(ends, key=lambda pair: -abs(pair[0] or 0.0)):
                axes.barh(row, end or 0.0, height=0.7, color="white", linewidth=0)
                axes.barh(row, end or 0.0, height=0.7, color=colour, alpha=alpha, linewidth=0)
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_xlabel(f"change of {name} (%)")
        axes.grid(axis="x", color="#E4E4E4")
        axes.set_axisbelow(True)
        axes.margins(x=0.06)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_yticks(range(len(table.rows)), [line.key for line in table.rows])
    panels[0].set_ylim(len(table.rows) - 0.5, -0.5)


def write_tornado(study: SensitivityStudy, path: Path) -> None:
    """Draw the chart of a study.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = tornado_table(study.found)
    figure = Figure(figsize=(10.0, 1.9 + _ROW_INCH * len(table.rows)), layout="constrained")
    FigureCanvasAgg(figure)
    draw_tornado(figure.subplots(1, 3, sharex=True, sharey=True), table)
    figure.suptitle(
        f"{study.network} (T = {study.n_timesteps}) on {study.hw.name}: each number of {study.hw.technology} "
        f"alone, over {study.found.factor:g} (light) and times {study.found.factor:g} (dark)",
        fontsize=11,
    )
    seen = [status for status in STATUS_COLOURS if any(row.status == status for row in table.rows)]
    figure.legend(
        handles=[Patch(color=STATUS_COLOURS[status], label=status) for status in seen],
        loc="outside lower center",
        ncols=len(seen),
        frameon=False,
        fontsize=9,
    )
    content = io.BytesIO()
    # No dates inside: the same run gives the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}[path.suffix]
    figure.savefig(content, format=path.suffix[1:], dpi=150, metadata=metadata)
    write_atomic(path, content.getvalue())


def _row(swing: Swing, base: Figures) -> TornadoRow:
    return TornadoRow(
        key=swing.key, status=swing.status, low=_changes(swing.low, base), high=_changes(swing.high, base)
    )


def _changes(end: Figures | None, base: Figures) -> tuple[float | None, ...]:
    if end is None:
        return (None,) * len(PANELS)
    return tuple(100.0 * (getattr(end, field) / getattr(base, field) - 1.0) for _, field in PANELS)
