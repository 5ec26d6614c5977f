"""When everything happened: the record that the cycle engine returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .path import CriticalPath

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Cycles and counts of a run over ``n_images`` images.

    Attributes:
        n_images: images run.
        total_cycles: edge at which the last work of the last image was done.
        image_start: (images,) edge at which each image began to be brought onto the chip.
        image_end: (images,) edge at which each image's last output was there.
        phase_start, phase_end: (images, T, layers) first and last edge of each layer's work at each step; in
            ``layer_major`` the steps of a layer share its edges. In ``layer_pipelined`` they overlap.
        busy, stalled, idle: (units,) lane cycles; their sum is total_cycles.
        stalled_by: (units,) channel to which the unit lost most stalled cycles, -1 if none.
        waited: (channels,) lane cycles that the source's tokens were held, blamed on the channel.
        queue_peak: (channels,) most that a queue held after the starts of an edge.
        arrived: (channels,) tokens, packets or elements that came in.
        tokens: (units,) tokens served; of a router output the packets that passed.
        link_flits: (units,) flits that passed a router output, else 0.
        action_counts: action name -> (layers,) int64, e.g. ``crossbar_read``; the list is in ``actions.py``.
        token_services: tokens served by all units, the measure of the engine's work.
        path: critical path, if it was walked.
    """

    n_images: int
    total_cycles: int
    image_start: IntArray
    image_end: IntArray
    phase_start: IntArray
    phase_end: IntArray
    busy: IntArray
    stalled: IntArray
    idle: IntArray
    stalled_by: IntArray
    waited: IntArray
    queue_peak: IntArray
    arrived: IntArray
    tokens: IntArray
    link_flits: IntArray
    action_counts: dict[str, IntArray]
    token_services: int
    path: CriticalPath | None

    @property
    def latency_cycles(self) -> float:
        """Mean cycles from an image's first input to its last output."""
        return float((self.image_end - self.image_start).mean())

    @property
    def interval_cycles(self) -> float:
        """Mean spacing of the outputs after the first image; of a single image its latency."""
        if self.n_images == 1:
            return self.latency_cycles
        return float(self.image_end[-1] - self.image_end[0]) / (self.n_images - 1)
