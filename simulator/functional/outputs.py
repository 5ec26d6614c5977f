"""What the crossbars computed."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .activity import Activity


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Result of a functional run over B images.

    Attributes:
        logits: (B, classes) int64, sum over the steps.
        activity: active rows of the first ``cycle_images`` images.
        conversions: (layers,) int64, ADC conversions of driven reads over all images.
        clipped: (layers,) int64, conversions that hit the top code although the sum was larger.
        adc_shift: (layers,) log2 of each layer's ADC lsb in unit-cell counts.
        spikes: LIF name -> (T, B, C, H, W) uint8; empty unless recorded.
        membranes: LIF name -> (T, B, C, H, W) int64 stored codes U; empty unless recorded.
    """

    logits: NDArray[np.int64]
    activity: Activity
    conversions: NDArray[np.int64]
    clipped: NDArray[np.int64]
    adc_shift: tuple[int, ...]
    spikes: MappingProxyType[str, NDArray[np.uint8]]
    membranes: MappingProxyType[str, NDArray[np.int64]]

    def predictions(self) -> NDArray[np.int64]:
        """(B,) class numbers; a tie goes to the lowest index."""
        return np.asarray(np.argmax(self.logits, axis=1), dtype=np.int64)
