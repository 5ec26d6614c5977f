"""When everything happened: the record that the cycle engine returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Cycles and counts of a run over ``n_images`` images.

    Attributes:
        n_images: images run.
        total_cycles: edge at which the last token of the last image was delivered, input loading included.
        input_load_cycles: (images,) cycles of the off-chip input, before each image's first phase.
        image_end: (images,) edge at which each image's last output was delivered.
        phase_start, phase_end: (images, T, layers) first and last edge of each layer's work at each step;
            in ``layer_major`` the steps of a layer share one phase and its edges.
        busy, stalled, idle: (units,) lane cycles; their sum is lanes * total_cycles.
        stalled_by: (units,) channel to which the unit lost most stalled cycles, -1 if none.
        queue_peak: (channels,) most tokens a queue held after the starts of an edge.
        tokens: (units,) tokens served.
        action_counts: action name -> (layers,) int64, e.g. ``crossbar_read``; the list is in
            ``actions.py``.
        token_services: tokens served by all units, the measure of the engine's work.
    """

    n_images: int
    total_cycles: int
    input_load_cycles: IntArray
    image_end: IntArray
    phase_start: IntArray
    phase_end: IntArray
    busy: IntArray
    stalled: IntArray
    idle: IntArray
    stalled_by: IntArray
    queue_peak: IntArray
    tokens: IntArray
    action_counts: dict[str, IntArray]
    token_services: int
