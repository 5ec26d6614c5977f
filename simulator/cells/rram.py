"""Filamentary RRAM: spread of SET and RESET, write-verify, relaxation, read disturb."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from .base import FloatArray
from .spread import Distribution, Spread, expected_writes, fitted_sigma_uS, write_verified
from .stored import Coefficients, Ratio, ReadTime, StoredCell, Stream


class RramCell(StoredCell):
    """RRAM cell. Every spread is the standard deviation of a conductance whose mean is what was meant.

    One write scatters by ``programming_sigma_ratio`` G at ``conductance_max_uS`` (after SET) and by
    ``programming_sigma_low_ratio`` G at ``conductance_min_uS`` (after RESET), linear in the target between; or by the
    polynomial ``programming_sigma_uS`` of G / ``sigma_reference_uS``. Both are times ``programming_scale_ratio``.

    With ``write_iterations`` n a cell is written until it lies within ``write_tolerance_uS`` of its target, at most
    n times, each write anew; the last one stays.

    After that, from ``time_s`` > 0 on (nothing earlier than ``relaxation_start_s`` is told apart), t = time_s / start:
    G = max(0, G t^-retention_exponent + sigma z),
    sigma = relaxation_scale_ratio P(G) (1 + relaxation_growth_ratio log10 t),
    with the polynomial P of ``relaxation_sigma_uS``. Relaxation in place of a shift, and its growth with the logarithm
    of time, are what Wan et al. measured (Nature 608, 2022, Extended Data Fig. 3d).

    Attributes:
        distribution: of one write, ``normal`` (cut at 0) or ``lognormal``; mean and deviation are the same.
        programming_sigma_ratio, programming_sigma_low_ratio: deviation over target; low None: as the other.
        programming_sigma_uS: coefficients c_i, lowest first, in place of the two ratios.
        sigma_reference_uS: conductance that both polynomials are written for; they hold their end values outside.
        programming_scale_ratio, relaxation_scale_ratio: knobs for a sweep; 0 turns the spread off.
        write_iterations, write_tolerance_uS: write-verify; both or neither.
        time_s: time from programming to reading.
        relaxation_sigma_uS: coefficients of P; None: no relaxation.
        relaxation_growth_ratio: growth of its deviation a decade of time, relative to P.
        retention_exponent: loss of the mean.
        reads, disturb_ratio: earlier reads, and the share of the way to ``conductance_max_uS`` (above 0) or
            to ``conductance_min_uS`` (below 0) that one of them moves a cell: G += (end - G)(1 - exp(-reads |ratio|)).
    """

    kind: Literal["rram"] = "rram"
    distribution: Distribution = "normal"
    programming_sigma_ratio: Ratio = 0.0
    programming_sigma_low_ratio: Ratio | None = None
    programming_sigma_uS: Coefficients | None = None
    sigma_reference_uS: float | None = Field(default=None, gt=0)
    programming_scale_ratio: Ratio = 1.0
    write_iterations: int | None = Field(default=None, ge=1, le=10_000)
    write_tolerance_uS: float | None = Field(default=None, gt=0)
    time_s: ReadTime = 0.0
    relaxation_sigma_uS: Coefficients | None = None
    relaxation_start_s: float | None = Field(default=None, gt=0)
    relaxation_growth_ratio: Ratio = 0.0
    relaxation_scale_ratio: Ratio = 1.0
    retention_exponent: float = Field(default=0.0, ge=-1, le=1)
    reads: int = Field(default=0, ge=0)
    disturb_ratio: float = Field(default=0.0, ge=-1, le=1)

    @model_validator(mode="after")
    def _one_spread(self) -> RramCell:
        ratios = self.programming_sigma_ratio > 0.0 or self.programming_sigma_low_ratio is not None
        if ratios and self.programming_sigma_uS is not None:
            raise ValueError(
                "programming_sigma_ratio and programming_sigma_uS both say how far a write scatters; set "
                "programming_sigma_uS: null, or leave the ratios out"
            )
        fits = [name for name in ("programming_sigma_uS", "relaxation_sigma_uS") if getattr(self, name) is not None]
        if fits and self.sigma_reference_uS is None:
            raise ValueError(f"{fits[0]} is a polynomial of G / sigma_reference_uS; add sigma_reference_uS")
        if self.distribution == "lognormal" and self.conductance_min_uS == 0.0 and self._sigma_of_zero_uS() > 0.0:
            raise ValueError(
                "distribution=lognormal cannot scatter a cell of conductance_min_uS=0; give it a conductance above 0, "
                "or use distribution: normal"
            )
        return self

    @model_validator(mode="after")
    def _pairs_are_complete(self) -> RramCell:
        if (self.write_iterations is None) != (self.write_tolerance_uS is None):
            raise ValueError("write_iterations and write_tolerance_uS go together; give both, or neither")
        ages = self.relaxation_sigma_uS is not None or self.retention_exponent != 0.0
        if ages and self.relaxation_start_s is None:
            raise ValueError("relaxation and retention count from relaxation_start_s; add it")
        return self

    def write_pulses(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> NDArray[np.int64]:
        """Write-verify iterations (rows, cols) that each cell took."""
        if self.write_iterations is None:
            return np.ones(codes.shape, dtype=np.int64)
        return self._verified(codes, cell_bits, draws)[1]

    def expected_pulses(self, cell_bits: int) -> FloatArray:
        """Mean number of iterations of a cell with each code, shape (2^cell_bits,)."""
        if self.write_iterations is None or self.write_tolerance_uS is None:
            return super().expected_pulses(cell_bits)
        codes = np.arange(2**cell_bits, dtype=np.uint8)
        return expected_writes(
            self._spread(self.target_uS(codes, cell_bits)), self.write_tolerance_uS, self.write_iterations
        )

    def programming_deviation_uS(self, target_uS: FloatArray) -> FloatArray:
        """Standard deviation of one write, same shape."""
        if self.programming_sigma_uS is not None and self.sigma_reference_uS is not None:
            sigma = fitted_sigma_uS(target_uS, self.programming_sigma_uS, self.sigma_reference_uS)
        else:
            high = self.programming_sigma_ratio
            low = high if self.programming_sigma_low_ratio is None else self.programming_sigma_low_ratio
            share = (target_uS - self.conductance_min_uS) / (self.conductance_max_uS - self.conductance_min_uS)
            sigma = (low + (high - low) * share) * target_uS
        return np.asarray(self.programming_scale_ratio * sigma, dtype=np.float64)

    def relaxation_deviation_uS(self, written_uS: FloatArray) -> FloatArray:
        """Standard deviation of the change since programming, same shape; 0 at ``time_s`` = 0."""
        if self.relaxation_sigma_uS is None or self.sigma_reference_uS is None or self.time_s == 0.0:
            return np.zeros_like(written_uS)
        growth = 1.0 + self.relaxation_growth_ratio * math.log10(self._age())
        sigma = fitted_sigma_uS(written_uS, self.relaxation_sigma_uS, self.sigma_reference_uS)
        return np.asarray(self.relaxation_scale_ratio * growth * sigma, dtype=np.float64)

    def _sigma_of_zero_uS(self) -> float:
        return float(self.programming_deviation_uS(np.zeros(1))[0])

    def _age(self) -> float:
        """Time over ``relaxation_start_s``, at least 1."""
        return 1.0 if self.relaxation_start_s is None else max(self.time_s / self.relaxation_start_s, 1.0)

    def _spread(self, target_uS: FloatArray) -> Spread:
        return Spread(
            target_uS=target_uS, sigma_uS=self.programming_deviation_uS(target_uS), distribution=self.distribution
        )

    def _verified(
        self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        assert self.write_iterations is not None
        assert self.write_tolerance_uS is not None  # held by the validator
        return write_verified(
            self._spread(self.target_uS(np.arange(2**cell_bits, dtype=np.uint8), cell_bits)),
            codes,
            self.write_tolerance_uS,
            self.write_iterations,
            draws.uniform(Stream.WRITE_COUNT),
            draws.uniform(Stream.WRITE),
        )

    def _written_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        target_uS = self.target_uS(codes, cell_bits)
        spread = self._spread(target_uS)
        if not spread.sigma_uS.any():
            return target_uS
        z = draws.normal(Stream.WRITE) if self.write_iterations is None else self._verified(codes, cell_bits, draws)[0]
        return spread.at(z)

    def _aged_uS(self, written_uS: FloatArray, draws: CellDraws) -> FloatArray:
        aged = written_uS
        if self.time_s > 0.0:
            aged = aged * self._age() ** -self.retention_exponent
            sigma = self.relaxation_deviation_uS(written_uS)
            if sigma.any():
                aged = np.maximum(aged + sigma * draws.normal(Stream.AGE), 0.0)
        if self.reads and self.disturb_ratio:
            end = self.conductance_max_uS if self.disturb_ratio > 0.0 else self.conductance_min_uS
            aged = aged + (end - aged) * -math.expm1(-self.reads * abs(self.disturb_ratio))
        return np.asarray(aged, dtype=np.float64)
