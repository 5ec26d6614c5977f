"""From real weights and batch-norm constants to the integers of the network file, with straight-through gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import nn

from spikeloop.simulator.network.quant import QuantSpec, quantise_codes, round_half_up
from spikeloop.simulator.spec import Spec

WeightScale = Literal["max", "percentile", "mean", "learned"]
#: Scales of each weight quantiser, the default first.
_SCALES: Mapping[str, tuple[WeightScale, ...]] = MappingProxyType(
    {"uniform": ("max", "percentile", "learned"), "rescaw": ("mean", "max", "percentile"), "mint": ("learned",)}
)
#: Largest shift that a network file holds for k and |e|.
_MAX_SHIFT = 50
#: Floor under a learned step, so that it cannot pass through zero.
_MIN_STEP = 1e-6


class QuantisationSpec(Spec):
    """Precision of a student: every stored number is an integer of these widths, sign included.

    ``first_layer_bits`` and ``last_layer_bits`` apply to the layer that reads the input and to the
    classifier; the layers between take ``weight_bits``; ``layer_bits`` names layers with a width of their own, and
    ``membrane_layer_bits`` layers with neurons whose membranes have one.

    ``weight_quantiser`` holds for the layers between; the two at the ends are always ``uniform``.
    ``uniform``: ``weight_scale`` puts the largest weight code at the largest magnitude of the layer, at its
    ``weight_percentile``, or learns it. ``rescaw`` (QP-SNN, arXiv 2502.05905, Eq. 8-10): affine codes, their
    largest at the ``mean`` magnitude, at the largest or at a percentile. ``mint`` (arXiv 2305.09850): one learned
    step for weights and membrane. ``weight_scale`` is the quantiser's own default where it is left out: ``max``,
    ``mean``, ``learned``.

    A residual stream has ``stream_bits`` bits that span -stream_thresholds to +stream_thresholds. The default, a
    sixteenth of a threshold up to 8 thresholds, holds the sum of a stage's branches: each has the spread of its
    batch norm, about one threshold, and a stage has three of them.
    """

    weight_bits: int = Field(ge=1, le=32)
    membrane_bits: int = Field(ge=2, le=32)
    bn_bits: int = Field(default=8, ge=3, le=24)
    guard_bits: int = Field(default=4, ge=0, le=16)
    first_layer_bits: int = Field(default=8, ge=2, le=32)
    last_layer_bits: int = Field(default=8, ge=2, le=32)
    stream_bits: int = Field(default=8, ge=2, le=24)
    stream_thresholds: Literal[1, 2, 4, 8, 16, 32] = 8
    layer_bits: dict[str, int] = Field(default_factory=dict)
    membrane_layer_bits: dict[str, int] = Field(default_factory=dict)
    weight_quantiser: Literal["uniform", "rescaw", "mint"] = "uniform"
    weight_scale: WeightScale | None = None
    weight_percentile: float = Field(default=99.0, gt=0, le=100)

    @model_validator(mode="after")
    def _fields_fit_the_quantiser(self) -> QuantisationSpec:
        allowed = _SCALES[self.weight_quantiser]
        if self.weight_scale is not None and self.weight_scale not in allowed:
            raise ValueError(
                f"weight_scale={self.weight_scale} does not go with weight_quantiser={self.weight_quantiser}; "
                f"allowed {', '.join(allowed)}"
            )
        least = 1 if self.weight_quantiser == "rescaw" else 2
        for field, bits in [("weight_bits", self.weight_bits), *self.layer_bits.items()]:
            where = field if field == "weight_bits" else f"layer_bits.{field}"
            if not least <= bits <= 32:
                raise ValueError(
                    f"{where}={bits} with weight_quantiser={self.weight_quantiser}; allowed {least} to 32 "
                    "(a sign and one bit; rescaw needs no sign)"
                )
        for layer, bits in self.membrane_layer_bits.items():
            if not 2 <= bits <= 32:
                raise ValueError(f"membrane_layer_bits.{layer}={bits}; allowed 2 to 32")
        return self

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A field that came later is written only where it is used, so that older files keep their hashes.
        fields: dict[str, Any] = write(self)
        if not self.membrane_layer_bits:
            del fields["membrane_layer_bits"]
        return fields

    def membrane_width(self, layer: str) -> int:
        """Bits of the membranes of a layer."""
        return self.membrane_layer_bits.get(layer, self.membrane_bits)

    def shares_step(self, reads_input: bool) -> bool:
        """Whether a layer with neurons has one step for weights and membrane."""
        return self.weight_quantiser == "mint" and not reads_input

    def weight_spec(self, position: Literal["first", "inner", "last"], layer: str | None = None) -> QuantSpec:
        """Quantiser of the weights of a layer at that position; the name finds its own bits, if it has any."""
        bits = {"first": self.first_layer_bits, "inner": self.weight_bits, "last": self.last_layer_bits}[position]
        bits = bits if layer is None else self.layer_bits.get(layer, bits)
        scale = self.weight_scale or _SCALES[self.weight_quantiser][0]
        if position != "inner" and self.weight_quantiser != "uniform":
            return QuantSpec(bits=bits, scale="max")
        affine = self.weight_quantiser == "rescaw"
        return QuantSpec(bits=bits, scale=scale, percentile=self.weight_percentile, affine=affine)


class _StraightThrough(torch.autograd.Function):
    """Value of the second argument, gradient to the first."""

    @staticmethod
    def forward(ctx: Any, real: torch.Tensor, quantised: torch.Tensor) -> torch.Tensor:
        return quantised

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


def straight_through(real: torch.Tensor, quantised: torch.Tensor) -> torch.Tensor:
    """``quantised`` in the forward pass; the gradient goes to ``real`` unchanged."""
    value: torch.Tensor = _StraightThrough.apply(real, quantised)  # type: ignore[no-untyped-call]
    return value


def weight_step(weight: torch.Tensor, spec: QuantSpec) -> torch.Tensor:
    """Scalar step s_w of a layer in float64: the scale's magnitude divided by the largest code."""
    magnitudes = weight.detach().abs().double().flatten()
    if spec.scale == "percentile":
        rank = max(1, round(magnitudes.numel() * spec.percentile / 100))
        largest = magnitudes.kthvalue(rank).values
    elif spec.scale == "mean":
        largest = magnitudes.mean()
    else:
        largest = magnitudes.max()
    # A layer of zeros has no scale; any positive step gives codes 0.
    return torch.where(largest > 0, largest, torch.ones_like(largest)) / spec.code_max


def weight_codes(weight: torch.Tensor, step: torch.Tensor, spec: QuantSpec) -> torch.Tensor:
    """Integer codes in float64, same shape as ``weight``: what the network file stores."""
    codes: torch.Tensor = quantise_codes(weight.detach().double(), step, spec, torch)
    return codes


def fake_quantised_weight(weight: torch.Tensor, step: torch.Tensor, spec: QuantSpec) -> torch.Tensor:
    """Codes in the dtype of ``weight``; gradient 1/step inside the range, 0 where the code is clipped.

    Affine codes pass the gradient where they are clipped too: at the mean magnitude nearly half of the weights are.
    """
    real = weight / step.to(weight.dtype)
    if not spec.affine:
        real = real.clamp(spec.code_min, spec.code_max)
    return straight_through(real, weight_codes(weight, step.detach(), spec).to(weight.dtype))


class WeightQuantiser(nn.Module):
    """Step and codes of the weights of one layer; holds a parameter where the step is learned."""

    def __init__(self, spec: QuantSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.scale == "learned":
            self.step_size = nn.Parameter(torch.ones(()))

    @property
    def learned(self) -> bool:
        """Whether the step is a parameter."""
        return self.spec.scale == "learned"

    @torch.no_grad()
    def start(self, weight: torch.Tensor) -> None:
        """Set a learned step to 2*mean|w|/sqrt(code_max) (LSQ, Esser et al. 2020, section 2.1)."""
        mean = float(weight.abs().mean())
        if self.learned and mean > 0:
            self.step_size.fill_(2 * mean / math.sqrt(self.spec.code_max))

    def step(self, weight: torch.Tensor) -> torch.Tensor:
        """Real value of code 1, a float64 scalar above 0 without gradient."""
        if self.learned:
            return self.step_size.detach().double().abs().clamp(min=_MIN_STEP)
        return weight_step(weight, self.spec)

    def training_step(self, weight: torch.Tensor) -> torch.Tensor:
        """``step`` with the gradient of a learned one, divided by sqrt(weights * code_max) (LSQ, section 2.2)."""
        step = self.step(weight)
        if not self.learned:
            return step
        scaled = self.step_size.abs() / math.sqrt(weight.numel() * self.spec.code_max)
        return straight_through(scaled.double(), step)

    def codes(self, weight: torch.Tensor) -> torch.Tensor:
        """Codes of ``weight``, float64 that holds integers."""
        return weight_codes(weight, self.step(weight), self.spec)

    def codes_at(self, weight: torch.Tensor, step: float) -> torch.Tensor:
        """Codes of ``weight`` at a step of the caller's."""
        return weight_codes(weight, torch.tensor(step, dtype=torch.float64), self.spec)


class FoldedBatchNorm(NamedTuple):
    """I = rshift(m*P + (n << k), e); float64 (C,) tensors that hold integers."""

    m: torch.Tensor
    n: torch.Tensor
    k: torch.Tensor
    e: torch.Tensor

    @property
    def gain(self) -> torch.Tensor:
        """Factor of the sum that the integers stand for."""
        return self.m * 2.0 ** (-self.e)

    @property
    def offset(self) -> torch.Tensor:
        """Constant that the integers stand for."""
        return self.n * 2.0 ** (self.k - self.e)


def fold_batch_norm(gain: torch.Tensor, offset: torch.Tensor, bn_bits: int) -> FoldedBatchNorm:
    """Nearest mantissas and shifts of I = gain*P + offset, per channel (float64 (C,)), I on the guard grid.

    Each channel has a floating-point gain m*2^-e with |m| in [2^(bn_bits-2), 2^(bn_bits-1)) and an offset
    aligned to the same e. A gain too small to be aligned with its offset in exact arithmetic becomes 0.
    """
    mantissa, exponent = _normalised(gain, bn_bits)
    e = -exponent
    _, offset_exponent = torch.frexp(offset)
    offset_exponent = offset_exponent.to(torch.float64)
    lost = (mantissa == 0) | (e > _MAX_SHIFT) | (e + offset_exponent > _MAX_SHIFT)
    m = torch.where(lost, 0.0, mantissa)
    e = torch.where(lost, (bn_bits - 1 - offset_exponent).clamp(-_MAX_SHIFT, _MAX_SHIFT), e)
    k = (offset_exponent + e - (bn_bits - 1)).clamp(min=0)
    n: torch.Tensor = round_half_up(offset * 2.0 ** (e - k), torch)
    spilt = n.abs() >= 2 ** (bn_bits - 1)
    k = torch.where(spilt, k + 1, k)
    n = torch.where(spilt, round_half_up(offset * 2.0 ** (e - k), torch), n)
    k = torch.where(n == 0, 0.0, k)
    return FoldedBatchNorm(m, n, k, e)


def _normalised(x: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mantissa of ``bits`` bits, sign included, and exponent, so that x is about mantissa * 2^exponent."""
    fraction, exponent = torch.frexp(x)
    mantissa = round_half_up(fraction * 2.0 ** (bits - 1), torch)
    # Rounding up can reach the next power of two.
    spilt = mantissa.abs() >= 2 ** (bits - 1)
    mantissa = torch.where(spilt, mantissa / 2, mantissa)
    return mantissa, exponent.to(torch.float64) + spilt.to(torch.float64) - (bits - 1)
