"""Phase-change memory: programming noise, drift whose exponent differs from cell to cell, 1/f read noise."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from .base import FloatArray
from .spread import fitted_sigma_uS
from .stored import Coefficients, Ratio, ReadTime, StoredCell, Stream

#: (constant,) or (c0, c1, low, high): c0 + c1 ln(g), cut to low ... high.
Exponent = Annotated[tuple[float, ...], Field(min_length=1, max_length=4, strict=False)]

#: Below this share of the reference the logarithm of a conductance is taken of the share itself.
_SHARE_MIN = 1e-7


def fitted_exponent(conductance_uS: FloatArray, fit: tuple[float, ...], reference_uS: float) -> FloatArray:
    """clip(c0 + c1 ln(G / reference), low, high), or a constant."""
    if len(fit) == 1:
        return np.full(conductance_uS.shape, fit[0])
    constant, slope, low, high = fit
    share = np.maximum(conductance_uS / reference_uS, _SHARE_MIN)
    return np.asarray(np.clip(constant + slope * np.log(share), low, high), dtype=np.float64)


class PcmCell(StoredCell):
    """PCM cell by the statistical model of Joshi et al. (Nature Communications 11, 2473, 2020), g = G / reference_uS.

    Written: G = max(0, target + sigma z), sigma = programming_scale_ratio sum_i programming_sigma_uS[i] g^i.

    Drift, t = max(time_s, drift_start_s): G(t) = G (t / drift_start_s)^-nu, nu of each cell normal, cut at 0, with a
    mean and deviation that depend on its written conductance: ``mean_drift_exponent`` and ``sigma_drift_exponent``,
    each (constant,) or (c0, c1, low, high) for clip(c0 + c1 ln g, low, high).

    1/f noise: a cell integrated from ``flicker_read_ns`` = r up to t deviates by G Q sqrt(ln((t + r) / (2 r))) with
    Q = min(flicker_ratio / g^flicker_exponent, flicker_max_ratio), g of the conductance that is read. Frequencies
    below 1 / ``image_time_ns`` = 1 / T are frozen while an image is computed, those above differ from read to read:
    the variance G^2 Q^2 ln((t + r) / (2 r)) is split into ln((t + r) / (T + r)) and ln((T + r) / (2 r)).

    Attributes:
        time_s: time from programming to reading.
        image_time_ns: how long an image takes; None: all 1/f noise is frozen.
        drift_compensation: ``mean``: the periphery's gain makes up for the mean drift of ``conductance_max_uS``,
            ``read_gain_ratio`` = (t / drift_start_s)^nu_mean; its conductances are those times the gain.
    """

    kind: Literal["pcm"] = "pcm"
    reference_uS: float | None = Field(default=None, gt=0)
    programming_sigma_uS: Coefficients | None = None
    programming_scale_ratio: Ratio = 1.0
    time_s: ReadTime = 0.0
    drift_start_s: float | None = Field(default=None, gt=0)
    mean_drift_exponent: Exponent | None = None
    sigma_drift_exponent: Exponent | None = None
    drift_compensation: Literal["none", "mean"] = "none"
    flicker_ratio: Ratio = 0.0
    flicker_exponent: float = Field(default=0.0, ge=0, le=2)
    flicker_max_ratio: Ratio | None = None
    flicker_read_ns: float | None = Field(default=None, gt=0)
    image_time_ns: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _parts_are_complete(self) -> PcmCell:
        drifts = self.mean_drift_exponent is not None
        needs = {
            "reference_uS": self.programming_sigma_uS is not None or drifts or self.flicker_ratio > 0.0,
            "drift_start_s": drifts or self.flicker_ratio > 0.0,
            "mean_drift_exponent": self.sigma_drift_exponent is not None or self.drift_compensation != "none",
            "flicker_max_ratio": self.flicker_ratio > 0.0,
            "flicker_read_ns": self.flicker_ratio > 0.0,
        }
        missing = [name for name, needed in needs.items() if needed and getattr(self, name) is None]
        if missing:
            raise ValueError(f"{missing[0]} is missing for the drift, the noise or the compensation that is asked for")
        return self

    @model_validator(mode="after")
    def _fits_are_whole(self) -> PcmCell:
        for name in ("mean_drift_exponent", "sigma_drift_exponent"):
            fit = getattr(self, name)
            if fit is None:
                continue
            if len(fit) not in (1, 4):
                raise ValueError(f"{name}={list(fit)}; expected [constant] or [c0, c1, low, high]")
            low = fit[2] if len(fit) == 4 else fit[0]
            if low < 0.0 or low > fit[-1]:
                raise ValueError(f"{name}={list(fit)}; expected 0 <= low <= high")
        if self.image_time_ns is not None and self.image_time_ns < (self.flicker_read_ns or 0.0):
            raise ValueError(
                f"image_time_ns={self.image_time_ns} is below flicker_read_ns={self.flicker_read_ns}; an image takes "
                "at least one read"
            )
        return self

    @property
    def read_gain_ratio(self) -> float:
        """Gain against the mean drift; 1 without compensation."""
        if self.drift_compensation == "none" or self.mean_drift_exponent is None or self.reference_uS is None:
            return 1.0
        top = np.array([self.conductance_max_uS])
        return float(self._age() ** fitted_exponent(top, self.mean_drift_exponent, self.reference_uS)[0])

    def read_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """White noise, and the part of the 1/f noise that is faster than an image."""
        fast = 0.0
        if self.image_time_ns is not None and self.flicker_read_ns is not None:
            read = self.flicker_read_ns
            fast = math.log((self.image_time_ns + read) / (2.0 * read))
        return _joined(super().read_sigma_uS(conductance_uS), self._flicker_sigma_uS(conductance_uS, fast))

    def image_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """``image_noise_ratio`` G, and the part of the 1/f noise that is slower than an image."""
        slow = 0.0
        if self.flicker_read_ns is not None and self.drift_start_s is not None:
            read = self.flicker_read_ns
            since_ns = 1e9 * self._age() * self.drift_start_s
            image_ns = read if self.image_time_ns is None else min(self.image_time_ns, since_ns)
            slow = math.log((since_ns + read) / (image_ns + read))
        return _joined(super().image_sigma_uS(conductance_uS), self._flicker_sigma_uS(conductance_uS, slow))

    def _flicker_sigma_uS(self, conductance_uS: FloatArray, decades: float) -> FloatArray | None:
        """G Q sqrt(natural logarithm of the band's ends)."""
        if self.flicker_ratio == 0.0 or decades <= 0.0 or self.reference_uS is None or self.flicker_max_ratio is None:
            return None
        share = np.maximum(conductance_uS / self.reference_uS, _SHARE_MIN)
        ratio = np.minimum(self.flicker_ratio / share**self.flicker_exponent, self.flicker_max_ratio)
        return np.asarray(conductance_uS * ratio * math.sqrt(decades), dtype=np.float64)

    def _age(self) -> float:
        """Time over ``drift_start_s``, at least 1."""
        return 1.0 if self.drift_start_s is None else max(self.time_s / self.drift_start_s, 1.0)

    def _written_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        target_uS = self.target_uS(codes, cell_bits)
        if self.programming_sigma_uS is None or self.reference_uS is None or self.programming_scale_ratio == 0.0:
            return target_uS
        sigma = self.programming_scale_ratio * fitted_sigma_uS(target_uS, self.programming_sigma_uS, self.reference_uS)
        return np.maximum(target_uS + sigma * draws.normal(Stream.WRITE), 0.0)

    def drift_exponents(self, written_uS: FloatArray, draws: CellDraws) -> FloatArray:
        """Exponent nu of each cell, same shape, at least 0."""
        if self.mean_drift_exponent is None or self.reference_uS is None:
            return np.zeros_like(written_uS)
        nu = fitted_exponent(written_uS, self.mean_drift_exponent, self.reference_uS)
        if self.sigma_drift_exponent is not None:
            sigma = fitted_exponent(written_uS, self.sigma_drift_exponent, self.reference_uS)
            nu = np.maximum(nu + sigma * draws.normal(Stream.DRIFT), 0.0)
        return nu

    def _aged_uS(self, written_uS: FloatArray, draws: CellDraws) -> FloatArray:
        if self._age() == 1.0:
            return written_uS
        return np.asarray(written_uS * self._age() ** -self.drift_exponents(written_uS, draws), dtype=np.float64)


def _joined(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    """Deviation of the sum of two independent noises."""
    if first is None or second is None:
        return second if first is None else first
    return np.asarray(np.hypot(first, second), dtype=np.float64)
