"""Real spikes for the closed forms: means of a measured activity on its own crossbars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..functional.activity import Activity
from ..machine.driven import driven_planes, mapped_crossbars, row_parts
from ..program import Program


class MeasuredLayer(NamedTuple):
    """Means over images, runs and positions, summed over the row groups of a position.

    They hold for the row cuts of the design that they were measured on (crossbar rows, rows_active, crossbars_per_pe,
    zero_skipping).

    Attributes:
        driven: driven planes of the row part that has most of them.
        slowest: the most driven planes of any row part, read by read.
        crossbar_reads: driven planes times crossbars with mapped rows, of all row parts.
        pe_additions: tokens with a driven plane times (crossbars with mapped rows - 1).
        driven_tokens: tokens with a driven plane, of all row parts.
        wordlines: active rows of all planes.
    """

    driven: float
    slowest: float
    crossbar_reads: float
    pe_additions: float
    driven_tokens: float
    wordlines: float


N_MEASURED = len(MeasuredLayer._fields)


def measure(program: Program, activity: Activity) -> dict[str, MeasuredLayer]:
    """Layer -> what ``estimate`` needs to know of the activity; convolution groups count as their mean."""
    found: dict[str, MeasuredLayer] = {}
    for mapped, layer in zip(program.mapping.layers, activity.layers, strict=True):
        index, groups = mapped.layer.index, mapped.layer.n_groups
        parts, _ = row_parts(mapped)
        crossbars = np.stack([mapped_crossbars(mapped, part) for part in parts])
        driven = driven_planes(program, index, layer.active_rows).reshape(len(parts), -1, mapped.reads_per_vector)
        anything = (driven > 0).mean(axis=1)
        found[mapped.layer.name] = MeasuredLayer(
            driven=float(driven.mean(axis=1).sum(axis=1).max()),
            slowest=float(driven.max(axis=0).mean(axis=0).sum()),
            crossbar_reads=float((driven.mean(axis=1) * crossbars).sum()) / groups,
            pe_additions=float((anything * np.maximum(crossbars - 1, 0)).sum()) / groups,
            driven_tokens=float(anything.sum()) / groups,
            wordlines=float(layer.active_rows.sum(axis=(3, 4), dtype=np.int64).mean()) / groups,
        )
    return found
