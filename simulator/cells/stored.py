"""What memory cells have in common: writing, ageing, stuck cells, read noise, in this order."""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from .base import CellModel, FloatArray

Ratio = Annotated[float, Field(ge=0, le=10)]
Fraction = Annotated[float, Field(ge=0, le=1)]
#: Coefficients of a polynomial, lowest power first; YAML has lists, records have tuples.
Coefficients = Annotated[tuple[float, ...], Field(min_length=1, max_length=8, strict=False)]
#: From programming to reading, at most 100 years.
ReadTime = Annotated[float, Field(ge=0, le=3.2e9)]


class Stream(IntEnum):
    """Which of a cell's random numbers: a new use takes a new number, so that old ones never move."""

    WRITE = 0
    WRITE_COUNT = 1
    STUCK = 2
    AGE = 3
    THRESHOLD = 4
    DRIFT = 5


class StoredCell(CellModel):
    """Cell with stuck-at faults and read noise; ``_written_uS`` and ``_aged_uS`` say the rest.

    Attributes:
        stuck_off_fraction, stuck_on_fraction: cells that conduct ``conductance_min_uS`` or ``conductance_max_uS``
            whatever is written.
        read_noise_ratio, read_noise_uS: white noise of one read, in proportion to the conductance and constant; the
            two are independent.
        image_noise_ratio: slow (1/f) noise, frozen while one image is computed, in proportion to the conductance.
    """

    stuck_off_fraction: Fraction = 0.0
    stuck_on_fraction: Fraction = 0.0
    read_noise_ratio: Ratio = 0.0
    read_noise_uS: float = Field(default=0.0, ge=0)
    image_noise_ratio: Ratio = 0.0

    @model_validator(mode="after")
    def _stuck_one_way(self) -> StoredCell:
        if self.stuck_off_fraction + self.stuck_on_fraction > 1.0:
            raise ValueError(
                f"stuck_off_fraction={self.stuck_off_fraction} and stuck_on_fraction={self.stuck_on_fraction} are "
                "together above 1; a cell is stuck one way only"
            )
        return self

    def programmed_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        """Conductances (rows, cols) when read, times ``read_gain_ratio``; stuck cells neither scatter nor age."""
        written = self._written_uS(codes, cell_bits, draws)
        aged = np.maximum(self._aged_uS(written, draws), 0.0)
        if self.stuck_off_fraction > 0.0 or self.stuck_on_fraction > 0.0:
            u = draws.uniform(Stream.STUCK)
            aged = np.where(u < self.stuck_off_fraction, self.conductance_min_uS, aged)
            aged = np.where(u > 1.0 - self.stuck_on_fraction, self.conductance_max_uS, aged)
        return np.asarray(aged * self.read_gain_ratio, dtype=np.float64)

    @abstractmethod
    def _written_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        """Conductances (rows, cols) right after programming; may be negative, which becomes 0."""

    def _aged_uS(self, written_uS: FloatArray, draws: CellDraws) -> FloatArray:
        """Conductances when they are read."""
        del draws
        return written_uS

    def read_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """sqrt((read_noise_ratio G)^2 + read_noise_uS^2); None when both are 0."""
        if self.read_noise_ratio == 0.0 and self.read_noise_uS == 0.0:
            return None
        return np.asarray(np.hypot(self.read_noise_ratio * conductance_uS, self.read_noise_uS), dtype=np.float64)

    def image_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """image_noise_ratio G; None when it is 0."""
        return None if self.image_noise_ratio == 0.0 else self.image_noise_ratio * conductance_uS
