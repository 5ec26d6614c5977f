"""Residual blocks of teacher and student: the stream of currents, the neurons that read it, and the adds.

Between modules the stream travels in units of the threshold, in ``eval()`` too: a student's values then are
``code / codes_per_theta``, exact in float32. Shapes are (T, B, C, H, W), the first axis 1 while nothing depends on
the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import nn

from spikeloop.simulator.network.quant import QuantSpec, round_half_up, rshift_float

from .layers import LayerGeometry, LayerOutput, QuantWeightLayer, WeightLayer, check_membrane
from .lif import LifCodes, MembraneGrid, NeuronSpec, lif_codes, lif_sequence
from .neuron_constants import NeuronConstants
from .quantisers import QuantisationSpec, straight_through


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamGrid:
    """Grid of a residual stream: signed codes of ``bits`` bits that span -thresholds to +thresholds."""

    bits: int
    thresholds: int

    @property
    def codes_per_theta(self) -> float:
        """Threshold in codes, a power of two (below 1 if few bits span many thresholds)."""
        return float(self.code_max + 1) / self.thresholds

    @property
    def code_min(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1))

    @property
    def code_max(self) -> int:
        """Largest code."""
        return (1 << (self.bits - 1)) - 1

    def input_shift(self, grid: MembraneGrid) -> int:
        """Left shift from the stream to the guard grid of a neuron."""
        return grid.bits - 1 + grid.guard_bits - (self.bits - 1) + self.thresholds.bit_length() - 1


def stream_grid(quantisation: QuantisationSpec) -> StreamGrid:
    """Grid of every residual stream of a student."""
    return StreamGrid(bits=quantisation.stream_bits, thresholds=quantisation.stream_thresholds)


class FloatStreamConv(WeightLayer):
    """Convolution and batch norm of the teacher, onto the stream."""

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Currents (T or 1, B, C, H, W) in units of the threshold."""
        return self.float_current(codes)


class QuantStreamConv(QuantWeightLayer):
    """Convolution and batch norm of the student; each current is rounded once, onto the stream's grid."""

    def __init__(self, geometry: LayerGeometry, *, weight_spec: QuantSpec, quantisation: QuantisationSpec) -> None:
        codes_per_theta = stream_grid(quantisation).codes_per_theta
        super().__init__(
            geometry, weight_spec=weight_spec, bn_bits=quantisation.bn_bits, codes_per_theta=codes_per_theta
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Currents (T or 1, B, C, H, W) in units of the threshold."""
        if not self.training:
            return (self.integer_output(self.integer_sums(codes)) / self.codes_per_theta).to(codes.dtype)
        return self.training_current(codes)

    def integer_output(self, sums: torch.Tensor) -> torch.Tensor:
        """Currents in codes of the stream, float64."""
        return self.integer_current(sums)


class FloatStreamLif(nn.Module):
    """Neurons of the teacher that read the stream."""

    def __init__(self, neuron: NeuronSpec, n_timesteps: int) -> None:
        super().__init__()
        self.constants = NeuronConstants(neuron)
        self.n_timesteps = n_timesteps

    def forward(self, stream: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of the stream, in units of the threshold of these neurons."""
        own = self.constants
        (current,) = own.over_threshold(stream)
        return LayerOutput(*lif_sequence(current, self.n_timesteps, own.neuron, leak=own.leak()))


class QuantStreamLif(nn.Module):
    """Neurons of the student that read the stream by shift."""

    def __init__(self, name: str, neuron: NeuronSpec, n_timesteps: int, quantisation: QuantisationSpec) -> None:
        super().__init__()
        self.name = name
        self.constants = NeuronConstants(neuron)
        self.n_timesteps = n_timesteps
        self.base_grid = MembraneGrid(bits=quantisation.membrane_width(name), guard_bits=quantisation.guard_bits)
        self.stream = stream_grid(quantisation)
        self.input_shift = self.stream.input_shift(self.base_grid)

    @property
    def grid(self) -> MembraneGrid:
        """Grids of the membrane."""
        return self.constants.on_stream(self.base_grid)

    @property
    def neuron(self) -> NeuronSpec:
        """The neuron with the leak of the network file."""
        return self.constants.rounded()

    def forward(self, stream: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of the stream, which is in units of the threshold."""
        if not self.training:
            run = self.integer_run(round_half_up(stream.double() * self.stream.codes_per_theta, torch))
            return LayerOutput(run.spikes.to(stream.dtype), (run.membrane / self.grid.theta).to(stream.dtype))
        own, grid = self.constants, self.grid
        codes = round_half_up(stream.detach() * self.base_grid.theta, torch)
        (real,) = own.over_threshold(stream)
        current = straight_through(real, codes / grid.theta)
        return LayerOutput(*lif_sequence(current, self.n_timesteps, own.neuron, grid, own.rounded_leak()))

    @torch.no_grad()
    def integer_run(self, stream: torch.Tensor) -> LifCodes:
        """Spikes, membrane and stored codes of stream codes."""
        current: torch.Tensor = rshift_float(stream, -self.input_shift, torch)
        # The bound of all possible currents is that of lowering; here those that came are enough.
        neuron, grid = self.neuron, self.grid
        check_membrane(float(current.abs().max()), neuron, grid, self.name)
        return lif_codes(current, self.n_timesteps, neuron, grid)


class PlainAdd(nn.Module):
    """Sum of the teacher's currents, or of spikes (SEW with ADD)."""

    def forward(self, *terms: torch.Tensor) -> torch.Tensor:
        """Sum of (T or 1, B, C, H, W) terms."""
        return reduce(torch.add, terms)

    def integer_run(self, *terms: torch.Tensor) -> torch.Tensor:
        """Sum of integers."""
        return self.forward(*terms)


class StreamAdd(nn.Module):
    """Sum on the student's stream, saturating at its bits; no gradient passes where it saturates."""

    def __init__(self, grid: StreamGrid) -> None:
        super().__init__()
        self.grid = grid
        self._sum = PlainAdd()

    def forward(self, *terms: torch.Tensor) -> torch.Tensor:
        """Sum of currents in units of the threshold."""
        scale = self.grid.codes_per_theta
        total: torch.Tensor = self._sum(*terms)
        return total.clamp(self.grid.code_min / scale, self.grid.code_max / scale)

    def integer_run(self, *terms: torch.Tensor) -> torch.Tensor:
        """Sum of stream codes."""
        return self._sum.integer_run(*terms).clamp(self.grid.code_min, self.grid.code_max)
