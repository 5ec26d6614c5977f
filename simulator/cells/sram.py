"""SRAM bit cell that computes: its read transistor's threshold differs from cell to cell."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from .base import FloatArray
from .stored import StoredCell, Stream


class SramCell(StoredCell):
    """One-bit cell. Code 1 draws ``conductance_max_uS`` times the read voltage, code 0 leaks ``conductance_min_uS``.

    The threshold of the read transistor is off by d, normal with ``threshold_sigma_V``:
    on: G = conductance_max_uS max(0, 1 - d / overdrive_V)^overdrive_exponent, the alpha-power law (Sakurai and Newton,
    JSSC 25, 1990), so that to first order the current spreads by overdrive_exponent threshold_sigma_V / overdrive_V;
    off: G = conductance_min_uS exp(-d / subthreshold_V): the leakage is lognormal, ``conductance_min_uS`` its median.
    A six- or eight-transistor cell keeps its bit as long as it is supplied: no retention.

    Attributes:
        threshold_sigma_V: mismatch of one cell's threshold.
        overdrive_V: read wordline voltage above the nominal threshold.
        overdrive_exponent: velocity saturation index, 1 to 2.
        subthreshold_V: voltage over which leakage falls by e.
    """

    kind: Literal["sram"] = "sram"
    levels: int | None = Field(default=2, ge=2, le=2)
    threshold_sigma_V: float = Field(default=0.0, ge=0, le=1)
    overdrive_V: float | None = Field(default=None, gt=0, le=5)
    overdrive_exponent: float | None = Field(default=None, ge=1, le=2)
    subthreshold_V: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_bit(self) -> SramCell:
        if self.levels is None:
            raise ValueError("levels=None; an SRAM cell has two, leave the field out")
        return self

    @model_validator(mode="after")
    def _mismatch_is_complete(self) -> SramCell:
        needed = ("overdrive_V", "overdrive_exponent", "subthreshold_V")
        missing = [name for name in needed if getattr(self, name) is None]
        if self.threshold_sigma_V > 0.0 and missing:
            raise ValueError(f"threshold_sigma_V turns into current by {', '.join(missing)}; add it")
        return self

    def _written_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        target_uS = self.target_uS(codes, cell_bits)
        if self.threshold_sigma_V == 0.0:
            return target_uS
        assert self.overdrive_V is not None
        assert self.overdrive_exponent is not None
        assert self.subthreshold_V is not None  # held by the validator
        shift_V = self.threshold_sigma_V * draws.normal(Stream.THRESHOLD)
        on = np.maximum(1.0 - shift_V / self.overdrive_V, 0.0) ** self.overdrive_exponent
        off = np.exp(-shift_V / self.subthreshold_V)
        middle_uS = 0.5 * (self.conductance_min_uS + self.conductance_max_uS)
        return np.asarray(target_uS * np.where(target_uS > middle_uS, on, off), dtype=np.float64)
