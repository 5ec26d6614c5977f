"""Surrogate derivatives: what stands for dS/dH in the backward pass, H in units of the threshold."""

from __future__ import annotations

import math
from typing import Literal

import torch

SurrogateName = Literal["triangle", "rectangle", "arctan", "fast_sigmoid"]

#: Makes the fast sigmoid fall to a quarter at a distance of a quarter of a threshold.
_FAST_SIGMOID_SLOPE = 4.0


def surrogate_derivative(name: SurrogateName, membrane: torch.Tensor) -> torch.Tensor:
    """Derivative that replaces the step's, same shape as ``membrane`` (before reset, threshold 1).

    With u = H - 1: ``triangle`` max(0, 1 - |u|); ``rectangle`` 1 where |u| < 1/2; ``arctan``
    1 / (1 + (pi*u)^2); ``fast_sigmoid`` 1 / (1 + 4|u|)^2. The peak is 1 in all, so a learning rate carries over.
    Source: rectangle, Wu et al. 2018 (STBP), Eq. 24 with a = 1; arctan, Fang et al. 2021 (arXiv 2007.05785),
    with alpha = 2; triangle, the code of MINT (arXiv 2305.09850); fast sigmoid, Zenke and Ganguli 2018
    (SuperSpike, arXiv 1705.11146), where the slope is a free parameter; 4 is our choice.
    """
    u = membrane - 1.0
    if name == "triangle":
        return u.abs_().neg_().add_(1.0).clamp_(min=0.0)
    if name == "rectangle":
        return (u.abs_() < 0.5).to(membrane.dtype)
    if name == "fast_sigmoid":
        return u.abs_().mul_(_FAST_SIGMOID_SLOPE).add_(1.0).square_().reciprocal_()
    return u.mul_(math.pi).square_().add_(1.0).reciprocal_()
