"""FeFET: polarisation sets a threshold, the threshold sets a conductance."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from .base import FloatArray
from .stored import Ratio, ReadTime, StoredCell, Stream


class FefetCell(StoredCell):
    """Multi-level FeFET whose threshold is off by d, normal, with a deviation that depends on the state.

    It is ``threshold_sigma_V`` at ``conductance_max_uS`` (low threshold) and ``threshold_sigma_low_V`` at
    ``conductance_min_uS`` (high threshold; None: the same), linear in the target between, times
    ``threshold_scale_ratio``.

    ``triode``: channel conductance is linear in the threshold over the window,
    G = max(0, target - d (conductance_max_uS - conductance_min_uS) / memory_window_V).
    ``subthreshold``: G = target exp(-d / subthreshold_V); lognormal, the target is its median.

    Retention from ``time_s`` > 0 on: both ends of the window move to its middle m by ``window_loss_ratio`` of the
    distance a decade, G = m + (G - m) max(0, 1 - window_loss_ratio log10(max(1, time_s / retention_start_s))).

    Attributes:
        region: how the read gate voltage lies to the thresholds.
        memory_window_V: difference between the two end thresholds.
        subthreshold_V: voltage over which the current falls by e.
    """

    kind: Literal["fefet"] = "fefet"
    region: Literal["triode", "subthreshold"] = "triode"
    threshold_sigma_V: float = Field(default=0.0, ge=0, le=5)
    threshold_sigma_low_V: float | None = Field(default=None, ge=0, le=5)
    threshold_scale_ratio: Ratio = 1.0
    memory_window_V: float | None = Field(default=None, gt=0, le=20)
    subthreshold_V: float | None = Field(default=None, gt=0, le=1)
    time_s: ReadTime = 0.0
    retention_start_s: float | None = Field(default=None, gt=0)
    window_loss_ratio: Ratio = 0.0

    @model_validator(mode="after")
    def _spread_is_complete(self) -> FefetCell:
        spread = self.threshold_sigma_V > 0.0 or bool(self.threshold_sigma_low_V)
        needed = "memory_window_V" if self.region == "triode" else "subthreshold_V"
        if spread and getattr(self, needed) is None:
            raise ValueError(f"region={self.region} turns threshold_sigma_V into conductance by {needed}; add it")
        if self.window_loss_ratio > 0.0 and self.retention_start_s is None:
            raise ValueError("window_loss_ratio counts decades from retention_start_s; add it")
        return self

    def threshold_deviation_V(self, target_uS: FloatArray) -> FloatArray:
        """Standard deviation of the threshold, same shape."""
        high = self.threshold_sigma_V
        low = high if self.threshold_sigma_low_V is None else self.threshold_sigma_low_V
        share = (target_uS - self.conductance_min_uS) / (self.conductance_max_uS - self.conductance_min_uS)
        return np.asarray(self.threshold_scale_ratio * (low + (high - low) * share), dtype=np.float64)

    def _written_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        target_uS = self.target_uS(codes, cell_bits)
        sigma_V = self.threshold_deviation_V(target_uS)
        if not sigma_V.any():
            return target_uS
        shift_V = sigma_V * draws.normal(Stream.THRESHOLD)
        if self.region == "subthreshold":
            assert self.subthreshold_V is not None  # held by the validator
            return np.asarray(target_uS * np.exp(-shift_V / self.subthreshold_V), dtype=np.float64)
        assert self.memory_window_V is not None  # held by the validator
        slope = (self.conductance_max_uS - self.conductance_min_uS) / self.memory_window_V
        return np.maximum(target_uS - slope * shift_V, 0.0)

    def _aged_uS(self, written_uS: FloatArray, draws: CellDraws) -> FloatArray:
        del draws
        if self.window_loss_ratio == 0.0 or self.retention_start_s is None or self.time_s <= self.retention_start_s:
            return written_uS
        kept = max(0.0, 1.0 - self.window_loss_ratio * math.log10(self.time_s / self.retention_start_s))
        middle_uS = 0.5 * (self.conductance_min_uS + self.conductance_max_uS)
        return np.asarray(middle_uS + (written_uS - middle_uS) * kept, dtype=np.float64)
