"""How a written conductance scatters around its target, and what verifying and rewriting makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from .base import FloatArray

Distribution = Literal["normal", "lognormal"]

_TINY = 1e-300


def fitted_sigma_uS(conductance_uS: FloatArray, coefficients_uS: tuple[float, ...], reference_uS: float) -> FloatArray:
    """Polynomial sum_i c_i (G / reference)^i, never negative.

    Outside 0 to ``reference_uS``, where nothing was fitted, it holds its value at the nearer end.
    """
    share = np.clip(conductance_uS / reference_uS, 0.0, 1.0)
    sigma = np.polynomial.polynomial.polyval(share, np.array(coefficients_uS))
    return np.asarray(np.maximum(sigma, 0.0), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Distribution of one write: mean ``target_uS`` and standard deviation ``sigma_uS``, same shape.

    ``normal`` is cut at 0 (mass below becomes 0). ``lognormal``: G = target exp(s z - s^2/2) with
    s^2 = ln(1 + (sigma/target)^2), so mean and standard deviation are the same two numbers; a target of 0 stays 0.
    """

    target_uS: FloatArray
    sigma_uS: FloatArray
    distribution: Distribution

    def at(self, z: FloatArray) -> FloatArray:
        """Conductances for standard normal ``z``."""
        if self.distribution == "normal":
            return np.maximum(self.target_uS + self.sigma_uS * z, 0.0)
        s = self._log_sigma()
        return np.asarray(self.target_uS * np.exp(s * z - 0.5 * s * s), dtype=np.float64)

    def accepted(self, tolerance_uS: float) -> tuple[FloatArray, FloatArray]:
        """Interval of z whose conductances lie within ``tolerance_uS`` of the target; infinite ends where open."""
        below_zero = self.target_uS <= tolerance_uS
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.distribution == "normal":
                high = tolerance_uS / self.sigma_uS
                low = np.where(below_zero, -np.inf, -high)
            else:
                s = self._log_sigma()
                step = tolerance_uS / self.target_uS
                high = (np.log1p(step) + 0.5 * s * s) / s
                low = np.where(below_zero, -np.inf, (np.log1p(-np.minimum(step, 1.0)) + 0.5 * s * s) / s)
        exact = (self.sigma_uS == 0.0) | ((self.target_uS == 0.0) & (self.distribution == "lognormal"))
        return np.where(exact, -np.inf, low), np.where(exact, np.inf, high)

    def _log_sigma(self) -> FloatArray:
        ratio = np.divide(
            self.sigma_uS, self.target_uS, out=np.zeros_like(self.sigma_uS), where=np.asarray(self.target_uS > 0.0)
        )
        return np.asarray(np.sqrt(np.log1p(ratio * ratio)), dtype=np.float64)


def write_verified(
    by_code: Spread,
    codes: NDArray[np.uint8],
    tolerance_uS: float,
    iterations: int,
    first: FloatArray,
    last: FloatArray,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Result of write-verify from two uniform numbers a cell, however many iterations are allowed.

    Writes are independent, so the number of them is geometric with p = P(accepted), what is accepted follows the
    spread cut to the tolerance whatever the number, and what still fails after n writes follows the spread
    outside of it.

    Args:
        by_code: spread of a cell with each code, shape (2^cell_bits,).
        codes: (rows, cols).
        tolerance_uS: distance from the target that is accepted.
        iterations: most writes of a cell.
        first: (rows, cols) in (0, 1), decides the number of writes.
        last: (rows, cols) in (0, 1), decides the value that stays.

    Returns:
        Standard normal value of the write that stays (the accepted one, or the last), and writes of each cell.
    """
    low, high = by_code.accepted(tolerance_uS)
    under, over = ndtr(low), ndtr(-high)
    missed = under + over
    with np.errstate(divide="ignore"):
        # Never missed: 1 / -inf = -0, one write; always missed: infinitely many.
        rate = np.where(missed >= 1.0, -np.inf, 1.0 / np.log(missed))
    needed = np.maximum(np.ceil(np.log(first) * rate[codes]), 1.0)
    inside = under[codes] + last * (1.0 - missed)[codes]
    z = np.asarray(ndtri(np.clip(inside, _TINY, 1.0 - 2.0**-53)), dtype=np.float64)
    failed = needed > iterations
    if failed.any():
        z[failed] = _outside(under[codes[failed]], over[codes[failed]], last[failed])
    return z, np.asarray(np.minimum(needed, iterations), dtype=np.int64)


def _outside(under: FloatArray, over: FloatArray, uniform: FloatArray) -> FloatArray:
    """Standard normal values from the two tails of masses ``under`` and ``over``."""
    mass = uniform * (under + over)
    high = -ndtri(np.maximum(under + over - mass, _TINY))
    return np.asarray(np.where(mass < under, ndtri(np.maximum(mass, _TINY)), high), dtype=np.float64)


def expected_writes(spread: Spread, tolerance_uS: float, iterations: int) -> FloatArray:
    """Mean number of writes, (1 - q^n) / (1 - q) with q = P(not accepted): a geometric number cut at n."""
    low, high = spread.accepted(tolerance_uS)
    missed = ndtr(low) + ndtr(-high)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (1.0 - missed**iterations) / (1.0 - missed)
    return np.asarray(np.where(missed >= 1.0, float(iterations), mean), dtype=np.float64)
