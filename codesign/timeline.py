"""The timeline of a run: when each layer worked, and what held it up."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.files import write_atomic

from .figures import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spikeloop.simulator.cycle.trace import Trace
    from spikeloop.simulator.program import Program

#: Unit kinds that get a colour of their own, in this order, if they are any layer's bottleneck.
_COLOURS = dict(
    zip(
        ("convert", "norm", "fetch", "membrane", "link", "neuron", "pool", "bus", "read", "add"),
        PALETTE,
        strict=True,
    )
)
_ROW_INCH = 0.34
#: A layer with less of the critical path than this is drawn grey.
_LEAST_SHARE = 0.005


def write_timeline(program: Program, trace: Trace, path: Path) -> None:
    """Draw phases (layer_sequential) or overlapping spans (layer_pipelined) of every layer, image and step.

    A bar is coloured by the kind of unit at which the layer spent most of its cycles on the critical path, grey if its
    share of the path is below half a percent; the numbers at the right are the shares.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = [item.layer.name for item in program.mapping.layers]
    figure = Figure(figsize=(9.5, 1.7 + _ROW_INCH * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    kinds, shares = _bottlenecks(trace, layers)
    _bars(axes, trace, layers, kinds)
    _right_axis(axes, layers, shares)
    axes.set_yticks(range(len(layers)), layers)
    axes.invert_yaxis()
    axes.set_xlim(0, trace.total_cycles)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"clock cycles ({program.hw.clock_GHz:g} GHz)")
    axes.set_title(
        f"{program.mapping.network.name} on {program.hw.name}: latency {trace.latency_cycles:,.0f} cycles"
        + (f", one image every {trace.interval_cycles:,.0f}" if trace.n_images > 1 else ""),
        loc="left",
        fontsize=11,
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#E4E4E4")
    axes.set_axisbelow(True)
    _legend(axes, sorted({kind for kind in kinds.values() if kind}, key=list(_COLOURS).index))
    content = io.BytesIO()
    # No dates inside: the same run gives the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(content, format=path.suffix[1:], dpi=150, metadata=metadata)
    write_atomic(path, content.getvalue())


def _bottlenecks(trace: Trace, layers: list[str]) -> tuple[dict[str, str], dict[str, float]]:
    """Kind of unit with most cycles of the path, and share of the path, of each layer."""
    kinds, shares = dict.fromkeys(layers, ""), dict.fromkeys(layers, 0.0)
    for line in trace.path.bottlenecks() if trace.path is not None else ():
        if line.layer not in kinds:
            continue
        shares[line.layer] += line.share
        if not kinds[line.layer] and line.kind in _COLOURS:
            kinds[line.layer] = line.kind
    return {name: kind if shares[name] >= _LEAST_SHARE else "" for name, kind in kinds.items()}, shares


def _bars(axes: Axes, trace: Trace, layers: list[str], kinds: dict[str, str]) -> None:
    """One bar an image and step; neighbours differ in shade so that steps can be told apart."""
    n_images, n_steps, _ = trace.phase_start.shape
    for row, name in enumerate(layers):
        seen: Counter[tuple[int, int]] = Counter()
        for image in range(n_images):
            for step in range(n_steps):
                span = (int(trace.phase_start[image, step, row]), int(trace.phase_end[image, step, row]))
                seen[span] += 1
                if seen[span] > 1 or span[1] <= span[0]:
                    continue  # in layer_major the steps of a layer share one span
                axes.barh(
                    row,
                    span[1] - span[0],
                    left=span[0],
                    height=0.72,
                    color=_COLOURS.get(kinds[name], GREY),
                    alpha=0.95 if (image * n_steps + step) % 2 == 0 else 0.6,
                    edgecolor=_COLOURS.get(kinds[name], GREY),
                    linewidth=0.4,
                )


def _right_axis(axes: Axes, layers: list[str], shares: dict[str, float]) -> None:
    for row, name in enumerate(layers):
        text = f"{100 * shares[name]:.0f} %" if shares[name] >= 0.005 else "<1 %"
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color="#444444")
    axes.text(1.01, 1.0, "of the path", transform=axes.transAxes, va="bottom", fontsize=8, color="#444444")


def _legend(axes: Axes, kinds: list[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=_COLOURS[kind], label=f"{kind}-bound") for kind in kinds]
    handles.append(Patch(color=GREY, label="less than 1 % of the critical path"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False, fontsize=9)
