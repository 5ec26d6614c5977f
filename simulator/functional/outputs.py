"""What the crossbars computed."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .activity import Activity
from .adc import LayerShift


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Result of a functional run over B images.

    Attributes:
        logits: (B, classes) int64, sum over the steps.
        activity: active rows of the first ``cycle_images`` images.
        crossbar_conversions: (crossbars of one replica,) int64 for each layer, ADC conversions of driven reads over all
            images.
        crossbar_clipped: likewise, conversions that hit the top code although the sum was larger.
        adc_shift: (layers,) log2 of the lsb of each layer's ADCs in unit-cell counts, or (crossbars,) of each
            crossbar's.
        saturated: LIF name -> (T,) int64, membranes of all images that were cut to the ends of their range.
        memory_errors: LIF name -> (T,) int64, bits of membranes that were read otherwise than they were written.
        spikes: LIF name -> (T, B, C, H, W) uint8; empty unless recorded.
        membranes: LIF name -> (T, B, C, H, W) int64 stored codes U; empty unless recorded.
    """

    logits: NDArray[np.int64]
    activity: Activity
    crossbar_conversions: tuple[NDArray[np.int64], ...]
    crossbar_clipped: tuple[NDArray[np.int64], ...]
    adc_shift: tuple[LayerShift, ...]
    saturated: MappingProxyType[str, NDArray[np.int64]]
    memory_errors: MappingProxyType[str, NDArray[np.int64]]
    spikes: MappingProxyType[str, NDArray[np.uint8]]
    membranes: MappingProxyType[str, NDArray[np.int64]]

    @property
    def conversions(self) -> NDArray[np.int64]:
        """(layers,) ADC conversions of driven reads."""
        return np.array([counts.sum() for counts in self.crossbar_conversions], dtype=np.int64)

    @property
    def clipped(self) -> NDArray[np.int64]:
        """(layers,) conversions that clipped."""
        return np.array([counts.sum() for counts in self.crossbar_clipped], dtype=np.int64)

    def predictions(self) -> NDArray[np.int64]:
        """(B,) class numbers; a tie goes to the lowest index."""
        return np.asarray(np.argmax(self.logits, axis=1), dtype=np.int64)
