"""The rounding rules, stated once and parametrised by the array module.

``rshift`` rounds half up, ``rhe`` rounds half to even (half up would bias a leaking state by half a step).
The torch student calls the same functions with ``torch`` tensors of float64; numpy callers pass int64.
Both are exact as long as every value stays below 2^53, which lowering guarantees.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..spec import Spec

IntArray = NDArray[np.int64]


class ArrayModule(Protocol):
    """What the rules need of ``numpy`` or ``torch``."""

    def floor(self, x: Any, /) -> Any:
        """Largest integer not above x."""

    def clip(self, x: Any, low: Any, high: Any, /) -> Any:
        """X limited to [low, high]."""


class QuantSpec(Spec):
    """A uniform quantiser: how many bits, signed or not, and how its scale is found.

    Codes: signed ``[-(2^(b-1)-1), 2^(b-1)-1]`` (symmetric, zero is a level), unsigned ``[0, 2^b - 1]``,
    affine ``2*code - (2^b - 1)`` with code in ``[0, 2^b - 1]`` (QP-SNN, arXiv 2502.05905, Eq. 4: zero is no
    level). ``scale``: ``max`` = largest magnitude, ``percentile`` of the magnitudes, ``mean`` = mean
    magnitude (QP-SNN, Eq. 10), ``learned`` = trained with the weights (LSQ, Esser et al. 2020), ``fixed`` = given by
    the caller.
    """

    bits: int = Field(ge=1, le=32)
    signed: bool = True
    affine: bool = False
    scale: Literal["max", "percentile", "mean", "learned", "fixed"] = "max"
    percentile: float = Field(default=99.9, gt=0, le=100)
    rounding: Literal["half_up", "half_even"] = "half_up"

    @property
    def code_max(self) -> int:
        """Largest code."""
        if self.affine or not self.signed:
            return (1 << self.bits) - 1
        return (1 << (self.bits - 1)) - 1

    @property
    def code_min(self) -> int:
        """Smallest code."""
        if self.affine:
            return -((1 << self.bits) - 1)
        return -self.code_max if self.signed else 0


def round_half_up(x: Any, xp: Any = np) -> Any:
    """floor(x + 1/2) of a float array."""
    return xp.floor(x + 0.5)


def quantise_codes(x: Any, step: Any, spec: QuantSpec, xp: Any = np) -> Any:
    """Codes (as floats, same shape as ``x``) of real values ``x`` with step size ``step`` > 0."""
    if spec.affine:
        levels = 2**spec.bits - 1
        return 2 * xp.clip(round_half_up((x / step + levels) / 2, xp), 0, levels) - levels
    scaled = x / step
    rounded = round_half_up(scaled, xp) if spec.rounding == "half_up" else xp.round(scaled)
    return xp.clip(rounded, spec.code_min, spec.code_max)


def rshift_float(v: Any, k: Any, xp: Any) -> Any:
    """``rshift`` for float arrays that hold integers: floor(v * 2^-k + 1/2), exact below 2^53.

    Nothing is rounded for k <= 0, where 1/2 would not fit beside an integer above 2^52.
    """
    return xp.floor(v * 2.0 ** (-k) + 0.5 * (k > 0))


def rhe_float(v: Any, k: int, xp: Any) -> Any:
    """``rhe`` for float arrays that hold integers: v / 2^k, ties to even, exact below 2^53."""
    return xp.round(v * 2.0 ** (-k))


def rshift(v: IntArray, k: IntArray | int) -> IntArray:
    """Integer shift that rounds half up: (v + 2^(k-1)) >> k for k > 0, v << -k otherwise."""
    values = np.asarray(v, dtype=np.int64)
    shift = np.asarray(k, dtype=np.int64)
    right = np.maximum(shift, 0)
    half = np.where(shift > 0, np.left_shift(np.int64(1), np.maximum(shift - 1, 0)), 0)
    return np.left_shift(np.right_shift(values + half, right), np.maximum(-shift, 0))


def rhe(v: IntArray, k: int) -> IntArray:
    """Integer shift that rounds half to even, k >= 0.

    Raises:
        ValueError: k is negative.
    """
    if k < 0:
        raise ValueError(f"rhe shifts right only: got k={k}, allowed k >= 0")
    values = np.asarray(v, dtype=np.int64)
    if k == 0:
        return values.copy()
    quotient = values >> k
    rest = values - (quotient << k)
    half = np.int64(1) << np.int64(k - 1)
    up = (rest > half) | ((rest == half) & ((quotient & 1) == 1))
    return np.asarray(quotient + up, dtype=np.int64)
