"""The layers of teacher and student: weights, batch norm, LIF; and the classifier.

Between layers travel *codes*: pixel codes, spikes, or sums of pooled spikes, shaped (T, B, C, H, W), with a
first axis of 1 while nothing depends on the step. The teacher multiplies its weights by ``input_scale``
to undo the codes; the student's batch norm absorbs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.quant import QuantSpec, round_half_up, rshift_float

from .lif import LifCodes, MembraneGrid, NeuronSpec, lif_codes, lif_sequence
from .quantisers import (
    FoldedBatchNorm,
    QuantisationSpec,
    fake_quantised_weight,
    fold_batch_norm,
    straight_through,
    weight_codes,
    weight_step,
)

_EPS = 1e-5
#: Default share of the newest batch in the running statistics.
MOMENTUM = 0.1
_FLOAT32_EXACT = 2**24
_FLOAT64_EXACT = 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerGeometry:
    """Where a weight layer stands: tensor shape, window, and the codes that reach it."""

    name: str
    weight_shape: tuple[int, ...]
    stride: int
    padding: int
    #: Largest magnitude of an input code.
    code_max: int
    #: Real value of input code 1.
    input_scale: float


class LayerOutput(NamedTuple):
    """Spikes and membrane before reset in units of the threshold, both (T, B, C, H, W)."""

    spikes: torch.Tensor
    membrane: torch.Tensor


class WeightLayer(nn.Module):
    """Parameters of a convolution or linear layer with batch norm over (T, B, H, W)."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, geometry: LayerGeometry, neuron: NeuronSpec, n_timesteps: int) -> None:
        super().__init__()
        self.geometry = geometry
        self.neuron = neuron
        self.n_timesteps = n_timesteps
        channels = geometry.weight_shape[0]
        self.weight = nn.Parameter(torch.zeros(geometry.weight_shape))
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        # Statistics of the real-valued sums, so that they stay true when the weight scale moves.
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.statistics_frozen = False
        #: Share of the newest batch in the running statistics.
        self.momentum = MOMENTUM

    def _normalise(self, sums: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch norm of scale*sums, and the mean and variance of ``sums`` (C,) that it used."""
        flat = sums.flatten(0, 1)
        mean, var = (self.running_mean / scale).detach(), (self.running_var / scale**2).detach()
        from_batch = self.training and not self.statistics_frozen
        if from_batch:
            mean, var = torch.zeros_like(mean), torch.ones_like(var)
        normal = functional.batch_norm(flat, mean, var, self.gamma, self.beta, from_batch, 1.0, _EPS / scale**2)
        if from_batch:
            with torch.no_grad():
                self.running_mean.lerp_(mean * scale, self.momentum)
                self.running_var.lerp_(var * scale**2, self.momentum)
        return torch.unflatten(normal, 0, sums.shape[:2]), mean, var


class FloatLayer(WeightLayer):
    """Full-precision layer of the teacher."""

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of input codes (T or 1, B, C, H, W)."""
        sums = matrix_product(codes, self.weight * self.geometry.input_scale, self.geometry)
        current, _, _ = self._normalise(sums, 1.0)
        return LayerOutput(*lif_sequence(current, self.n_timesteps, self.neuron))


class QuantLayer(WeightLayer):
    """Quantised layer of the student; in ``eval()`` it computes exactly what the network file says."""

    def __init__(
        self,
        geometry: LayerGeometry,
        neuron: NeuronSpec,
        n_timesteps: int,
        *,
        weight_spec: QuantSpec,
        quantisation: QuantisationSpec,
    ) -> None:
        super().__init__(geometry, neuron, n_timesteps)
        self.weight_spec = weight_spec
        self.bn_bits = quantisation.bn_bits
        self.grid = MembraneGrid(bits=quantisation.membrane_bits, guard_bits=quantisation.guard_bits)

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of input codes (T or 1, B, C, H, W)."""
        if not self.training:
            run = self.integer_run(codes)
            return LayerOutput(run.spikes.to(codes.dtype), (run.membrane / self.grid.theta).to(codes.dtype))
        step = weight_step(self.weight, self.weight_spec)
        sums = matrix_product(codes, fake_quantised_weight(self.weight, step, self.weight_spec), self.geometry)
        scale = step * self.geometry.input_scale
        real, mean, var = self._normalise(sums, float(scale))
        folded = self._fold(scale, mean.double(), var.double())
        current = straight_through(real, self._current_on_grid(sums.detach(), folded))
        return LayerOutput(*lif_sequence(current, self.n_timesteps, self.neuron, self.grid))

    def integer_weight(self) -> torch.Tensor:
        """Weight codes, float64 that holds integers."""
        return weight_codes(self.weight, weight_step(self.weight, self.weight_spec), self.weight_spec)

    def sum_scale(self) -> torch.Tensor:
        """Real value of a sum of codes of 1, float64 scalar."""
        return weight_step(self.weight, self.weight_spec) * self.geometry.input_scale

    def folded(self) -> FoldedBatchNorm:
        """Integer constants of the batch norm with running statistics."""
        scale = self.sum_scale()
        return self._fold(scale, self.running_mean.double() / scale, self.running_var.double() / scale**2)

    @torch.no_grad()
    def integer_run(self, codes: torch.Tensor) -> LifCodes:
        """The layer on integers: spikes, membrane and stored codes."""
        sums = exact_product(codes, self.integer_weight(), self.geometry)
        folded = self.folded()
        m, n, k, e = (part.reshape(-1, 1, 1) for part in folded)
        self._check_exact(folded)
        current = rshift_float(m * sums + n * 2.0**k, e, torch)
        return lif_codes(current, self.n_timesteps, self.neuron, self.grid)

    @torch.no_grad()
    def _fold(self, scale: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> FoldedBatchNorm:
        """Constants for sums of codes with the given mean and variance, (C,) float64."""
        gain = self.gamma.double() * torch.rsqrt(var + _EPS / scale**2)
        offset = self.beta.double() - mean * gain
        return fold_batch_norm(gain * self.grid.theta, offset * self.grid.theta, self.bn_bits)

    def _current_on_grid(self, sums: torch.Tensor, folded: FoldedBatchNorm) -> torch.Tensor:
        gain, offset = (part.to(sums.dtype).reshape(-1, 1, 1) for part in (folded.gain, folded.offset))
        current: torch.Tensor = round_half_up(sums * gain + offset, torch)
        return current.div_(self.grid.theta)

    def _check_exact(self, folded: FoldedBatchNorm) -> None:
        bound = sum_bound(self.integer_weight(), self.geometry)
        left, half = 2.0 ** (-folded.e).clamp(min=0), 2.0 ** (folded.e - 1).clamp(min=0)
        worst = ((folded.m.abs() * bound + folded.n.abs() * 2.0**folded.k) * left + half).max()
        _refuse_inexact(float(worst), self.geometry.name)
        current = float((folded.gain.abs() * bound + folded.offset.abs()).max()) + 1
        leaked = self.neuron.leak_mul * self.grid.theta
        before_reset = leaked / 2**self.neuron.leak_shift + 1 + current + self.grid.theta
        _refuse_inexact(max(leaked, before_reset), self.geometry.name, "a membrane", "membrane_bits or guard_bits")


class FloatReadout(nn.Module):
    """Classifier without LIF: logits at every step."""

    def __init__(self, geometry: LayerGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.weight = nn.Parameter(torch.zeros(geometry.weight_shape))
        self.bias = nn.Parameter(torch.zeros(geometry.weight_shape[0]))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Logits (T or 1, B, classes) of input codes (T or 1, B, C, H, W)."""
        return functional.linear(codes.flatten(2), self.weight * self.geometry.input_scale, self.bias)


class QuantReadout(FloatReadout):
    """Classifier on integer codes; the bias is an integer on the grid of the sums."""

    def __init__(self, geometry: LayerGeometry, *, weight_spec: QuantSpec) -> None:
        super().__init__(geometry)
        self.weight_spec = weight_spec

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Real-valued logits (T or 1, B, classes): integer ones times the scale of the sums."""
        if not self.training:
            return (self.integer_run(codes) * self.scale()).to(codes.dtype)
        step = weight_step(self.weight, self.weight_spec)
        scale = float(step) * self.geometry.input_scale
        weight = fake_quantised_weight(self.weight, step, self.weight_spec)
        bias = straight_through(self.bias / scale, round_half_up(self.bias.detach() / scale, torch))
        return functional.linear(codes.flatten(2), weight, bias) * scale

    def scale(self) -> float:
        """Real value of an integer logit of 1."""
        return float(weight_step(self.weight, self.weight_spec)) * self.geometry.input_scale

    def integer_weight(self) -> torch.Tensor:
        """Weight codes, float64 that holds integers."""
        return weight_codes(self.weight, weight_step(self.weight, self.weight_spec), self.weight_spec)

    def integer_bias(self) -> torch.Tensor:
        """Bias codes, float64 that holds integers."""
        bias: torch.Tensor = round_half_up(self.bias.detach().double() / self.scale(), torch)
        return bias

    @torch.no_grad()
    def integer_run(self, codes: torch.Tensor) -> torch.Tensor:
        """Integer logits of every step, (T or 1, B, classes) float64."""
        sums = exact_product(codes, self.integer_weight(), self.geometry)
        return sums.flatten(2) + self.integer_bias()


def matrix_product(codes: torch.Tensor, weight: torch.Tensor, geometry: LayerGeometry) -> torch.Tensor:
    """Sums (S, B, C_out, H, W) of codes (S, B, C, H, W); a linear layer gives H = W = 1."""
    if weight.ndim == 2:
        return functional.linear(codes.flatten(2), weight)[..., None, None]
    flat = functional.conv2d(codes.flatten(0, 1), weight, stride=geometry.stride, padding=geometry.padding)
    return torch.unflatten(flat, 0, codes.shape[:2])


def exact_product(codes: torch.Tensor, weight: torch.Tensor, geometry: LayerGeometry) -> torch.Tensor:
    """Integer sums in float64; convolved in float32 where every sum stays below 2^24.

    Raises:
        NetworkError: a sum can reach 2^53; the layer is named.
    """
    bound = sum_bound(weight, geometry)
    _refuse_inexact(bound, geometry.name)
    dtype = torch.float32 if bound < _FLOAT32_EXACT else torch.float64
    with torch.autocast(codes.device.type, enabled=False):
        sums = matrix_product(codes.to(dtype), weight.to(dtype), geometry)
    # A library may choose a Winograd convolution, which leaves fractions far below one half.
    return sums.double().round_()


def sum_bound(weight: torch.Tensor, geometry: LayerGeometry) -> float:
    """Largest magnitude that a sum can reach: sum |w| * max |x|."""
    return float(weight.abs().flatten(1).sum(1).max()) * geometry.code_max


def _refuse_inexact(worst: float, name: str, what: str = "a sum", cure: str = "weight_bits or bn_bits") -> None:
    if worst >= _FLOAT64_EXACT:
        raise NetworkError(f"{name}: {what} can reach {worst:.3g}, exact arithmetic ends at 2^53; lower {cure}")
