"""MINT (Yin et al., ASP-DAC 2024, arXiv 2305.09850): one step for the weights and the membrane of a layer.

The gain of the batch norm is folded into the weights, the weights go through tanh and are quantised with a learned
step s, and the membrane is stored in the same step. A current is then the integer sum of weight codes plus an offset:
no multiplier. The threshold of 1 becomes ceil(1/s), in codes.

As in MINT: the tanh, the shared learned step, the folded threshold. Ours: the membrane is rounded and saturated
without a tanh (as neuron units do), the step starts as in LSQ and learns from the weights alone, and the widths of
weights and membrane may differ.
"""

from __future__ import annotations

import math

import torch

from spikeloop.simulator.network.quant import round_half_up

from .batch_norm import moments
from .layers import BN_EPS, LayerOutput, QuantLayer, matrix_product
from .lif import MembraneGrid
from .quantisers import FoldedBatchNorm, fake_quantised_weight, fold_batch_norm, straight_through

#: Floor under a shared step, in thresholds: the threshold stays below 2^12 codes.
_MIN_SHARED_STEP = 2.0**-12


class MintLayer(QuantLayer):
    """Quantised layer whose weights and membrane have one step; its parameters are those of any layer."""

    @property
    def grid(self) -> MembraneGrid:
        """Membrane with the threshold in codes of the present step."""
        theta = math.ceil(2**self.base_grid.guard_bits / self._shared_step())
        return MembraneGrid(bits=self.base_grid.bits, guard_bits=self.base_grid.guard_bits, theta_code=theta)

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of input codes (T or 1, B, C, H, W)."""
        if not self.training:
            return super().forward(codes)
        mean, var = self._statistics(codes)
        gamma, beta = self.affine()
        gain = gamma * torch.rsqrt(var + BN_EPS)
        offset = beta - mean * gain
        step = self.quantiser.training_step(self.weight).clamp(min=_MIN_SHARED_STEP).to(codes.dtype)
        sums = self.training_sums(codes, fake_quantised_weight(self._squashed(gain), step, self.quantiser.spec))
        real = sums * step + offset.reshape(-1, 1, 1)
        grid = self.grid
        with torch.no_grad():
            folded = self._integers(offset)
            on_grid = (
                round_half_up(sums * _column(folded.gain, sums) + _column(folded.offset, sums), torch) / grid.theta
            )
        return self._spiking(straight_through(real, on_grid), grid)

    def start_step(self) -> None:
        """First value of the step, for the weights with the running statistics folded in."""
        self.quantiser.start(self._squashed(self._running_gain()))

    @torch.no_grad()
    def integer_weight(self) -> torch.Tensor:
        """Weight codes, float64 that holds integers."""
        return self.quantiser.codes_at(self._squashed(self._running_gain()), self._shared_step())

    def sum_scale(self) -> torch.Tensor:
        """Real value of a sum of codes of 1, float64 scalar, in units of the threshold."""
        return torch.tensor(self._shared_step(), dtype=torch.float64)

    @torch.no_grad()
    def folded(self) -> FoldedBatchNorm:
        """A gain of one membrane code for every channel, and the offsets."""
        return self._integers(self.affine()[1] - self.running_mean * self._running_gain())

    def _shared_step(self) -> float:
        return max(float(self.quantiser.step(self.weight)), _MIN_SHARED_STEP)

    def _running_gain(self) -> torch.Tensor:
        return self.affine()[0] * torch.rsqrt(self.running_var + BN_EPS)

    def _squashed(self, gain: torch.Tensor) -> torch.Tensor:
        """Tanh of the weights times gain and input scale."""
        per_channel = gain.reshape(-1, *(1 for _ in self.weight.shape[1:]))
        return torch.tanh(self.weight * per_channel * self.geometry.input_scale)

    def _integers(self, offset: torch.Tensor) -> FoldedBatchNorm:
        one = float(1 << self.base_grid.guard_bits)
        gain = torch.full_like(offset, one, dtype=torch.float64)
        return fold_batch_norm(gain, offset.double() * (one / self._shared_step()), self.bn_bits)

    def _statistics(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance (C,) of the sums in full precision: of the batch, or the running ones."""
        if self.statistics_frozen:
            return self.running_mean, self.running_var
        sums = matrix_product(codes, self.weight * self.geometry.input_scale, self.geometry)
        if self.peers is not None:
            found = moments(sums.flatten(0, 1), self.peers)
            mean, var, unbiased = (part.to(sums.dtype) for part in (found.mean, found.var, found.unbiased))
        else:
            var, mean = torch.var_mean(sums, dim=(0, 1, 3, 4), correction=0)
            count = sums.numel() / sums.shape[2]
            unbiased = var * (count / max(count - 1, 1))
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            # Running variances are unbiased, as those of torch's batch norm.
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, var


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.dtype).reshape(-1, 1, 1)
