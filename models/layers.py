"""The layers of teacher and student: weights, batch norm, LIF; and the classifier.

Between layers travel *codes*: pixel codes, spikes, or sums of spikes (pooled, or of a SEW block), shaped
(T, B, C, H, W), with a first axis of 1 while nothing depends on the step. The teacher multiplies its weights by
``input_scale`` to undo the codes; the student's batch norm absorbs it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.quant import QuantSpec, round_half_up, rshift_float

from .batch_norm import Peers, shared_batch_norm
from .currents import put_on_grid
from .lif import LifCodes, MembraneGrid, NeuronSpec, lif_codes, lif_sequence
from .neuron_constants import NeuronConstants
from .quantisers import (
    FoldedBatchNorm,
    QuantisationSpec,
    WeightQuantiser,
    fake_quantised_weight,
    fold_batch_norm,
    straight_through,
)

#: Added to a variance.
BN_EPS = 1e-5
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


class SumReader(Protocol):
    """What computes the sums of a layer in place of a product: its crossbars (``hardware_loop``)."""

    def training_sums(self, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Sums (S, B, C_out, H, W) with gradients to codes and weight codes."""

    def exact_sums(self, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Sums of ``eval()``, float64."""


class WeightLayer(nn.Module):
    """Parameters of a convolution or linear layer with batch norm over (T, B, H, W)."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, geometry: LayerGeometry, neuron: NeuronSpec | None = None) -> None:
        super().__init__()
        self.geometry = geometry
        #: Of the neurons behind; a layer onto a stream has none.
        self.constants = NeuronConstants(neuron or NeuronSpec())
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
        #: Those that have the rest of each batch; None where this process has all of it.
        self.peers: Peers | None = None

    def float_current(self, codes: torch.Tensor) -> torch.Tensor:
        """Currents in units of the threshold, in full precision."""
        sums = matrix_product(codes, self.weight * self.geometry.input_scale, self.geometry)
        return torch.unflatten(self._normalise(sums.flatten(0, 1), 1.0)[0], 0, sums.shape[:2])

    def affine(self) -> tuple[torch.Tensor, ...]:
        """Gain and offset (C,) behind the normalised sums, in units of the threshold."""
        return self.constants.over_threshold(self.gamma, self.beta)

    def _normalise(self, flat: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch norm of scale*sums, sums (S*B, C, H, W), and the mean and variance of the sums (C,) that it used."""
        mean, var = (self.running_mean / scale).detach(), (self.running_var / scale**2).detach()
        from_batch = self.training and not self.statistics_frozen
        if flat.shape[0] == 1:
            # Of one picture whose channels lie last, torch's batch norm (2.13, CPU) gets the gradient wrong.
            flat = flat.contiguous()
        if from_batch:
            mean, var = torch.zeros_like(mean), torch.ones_like(var)
        gamma, beta = self.affine()
        if from_batch and self.peers is not None:
            normal, mean, var = shared_batch_norm(flat, gamma, beta, BN_EPS / scale**2, self.peers)
        else:
            normal = functional.batch_norm(flat, mean, var, gamma, beta, from_batch, 1.0, BN_EPS / scale**2)
        if from_batch:
            with torch.no_grad():
                self.running_mean.lerp_(mean * scale, self.momentum)
                self.running_var.lerp_(var * scale**2, self.momentum)
        return normal, mean, var


class FloatLayer(WeightLayer):
    """Full-precision layer of the teacher."""

    def __init__(self, geometry: LayerGeometry, neuron: NeuronSpec, n_timesteps: int) -> None:
        super().__init__(geometry, neuron)
        self.n_timesteps = n_timesteps

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of input codes (T or 1, B, C, H, W)."""
        own = self.constants
        return LayerOutput(*lif_sequence(self.float_current(codes), self.n_timesteps, own.neuron, leak=own.leak()))


class QuantWeightLayer(WeightLayer):
    """Weights and batch norm of the student, on integers; currents on a grid of ``codes_per_theta``."""

    def __init__(
        self,
        geometry: LayerGeometry,
        neuron: NeuronSpec | None = None,
        *,
        weight_spec: QuantSpec,
        bn_bits: int,
        codes_per_theta: float,
    ) -> None:
        super().__init__(geometry, neuron)
        self.quantiser = WeightQuantiser(weight_spec)
        self.reader: SumReader | None = None
        self.bn_bits = bn_bits
        self.codes_per_theta = codes_per_theta

    def training_current(self, codes: torch.Tensor) -> torch.Tensor:
        """Currents in units of the threshold, rounded as the integers will be; gradients as if they were not."""
        step = self.quantiser.training_step(self.weight)
        sums = self.training_sums(codes, fake_quantised_weight(self.weight, step, self.quantiser.spec))
        # Batch norm undoes the factor of its input, so a learned step gets all of its gradient through the codes.
        scale = step.detach() * self.geometry.input_scale
        flat = sums.flatten(0, 1)
        real, mean, var = self._normalise(flat, float(scale))
        folded = self._fold(scale, mean.double(), var.double())
        return torch.unflatten(put_on_grid(real, flat, folded, self.codes_per_theta), 0, sums.shape[:2])

    def training_sums(self, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Sums of codes and weight codes: a product, or what the crossbars make of them."""
        if self.reader is not None:
            return self.reader.training_sums(codes, weight)
        return matrix_product(codes, weight, self.geometry)

    def start_step(self) -> None:
        """First value of a learned step, for the present weights."""
        self.quantiser.start(self.weight)

    def integer_weight(self) -> torch.Tensor:
        """Weight codes, float64 that holds integers."""
        return self.quantiser.codes(self.weight)

    def sum_scale(self) -> torch.Tensor:
        """Real value of a sum of codes of 1, float64 scalar."""
        return self.quantiser.step(self.weight) * self.geometry.input_scale

    def folded(self) -> FoldedBatchNorm:
        """Integer constants of the batch norm with running statistics."""
        scale = self.sum_scale()
        return self._fold(scale, self.running_mean.double() / scale, self.running_var.double() / scale**2)

    def integer_run(self, codes: torch.Tensor) -> LifCodes | torch.Tensor:
        """The layer on integer codes (T or 1, B, C, H, W): neurons, or currents."""
        return self.integer_output(self.integer_sums(codes))

    @abstractmethod
    def integer_output(self, sums: torch.Tensor) -> LifCodes | torch.Tensor:
        """What the layer makes of its integer sums."""

    @torch.no_grad()
    def integer_sums(self, codes: torch.Tensor) -> torch.Tensor:
        """Integer sums (T or 1, B, C, H, W) float64 of codes."""
        if self.reader is not None:
            return self.reader.exact_sums(codes, self.integer_weight())
        return exact_product(codes, self.integer_weight(), self.geometry)

    @torch.no_grad()
    def integer_current(self, sums: torch.Tensor) -> torch.Tensor:
        """Integer currents (T or 1, B, C, H, W) float64 of integer sums."""
        folded = self.folded()
        m, n, k, e = (part.reshape(-1, 1, 1) for part in folded)
        self._check_exact(folded)
        current: torch.Tensor = rshift_float(m * sums + n * 2.0**k, e, torch)
        return current

    @torch.no_grad()
    def _fold(self, scale: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> FoldedBatchNorm:
        """Constants for sums of codes with the given mean and variance, (C,) float64."""
        gamma, beta = self.affine()
        gain = gamma.double() * torch.rsqrt(var + BN_EPS / scale**2)
        offset = beta.double() - mean * gain
        return fold_batch_norm(gain * self.codes_per_theta, offset * self.codes_per_theta, self.bn_bits)

    def _check_exact(self, folded: FoldedBatchNorm) -> None:
        bound = sum_bound(self.integer_weight(), self.geometry)
        left, half = 2.0 ** (-folded.e).clamp(min=0), 2.0 ** (folded.e - 1).clamp(min=0)
        worst = ((folded.m.abs() * bound + folded.n.abs() * 2.0**folded.k) * left + half).max()
        _refuse_inexact(float(worst), self.geometry.name)

    def _current_bound(self) -> float:
        """Largest magnitude of an integer current."""
        folded = self.folded()
        bound = sum_bound(self.integer_weight(), self.geometry)
        return float((folded.gain.abs() * bound + folded.offset.abs()).max()) + 1


class QuantLayer(QuantWeightLayer):
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
        grid = MembraneGrid(bits=quantisation.membrane_width(geometry.name), guard_bits=quantisation.guard_bits)
        super().__init__(
            geometry, neuron, weight_spec=weight_spec, bn_bits=quantisation.bn_bits, codes_per_theta=float(grid.theta)
        )
        self.n_timesteps = n_timesteps
        self.base_grid = grid

    @property
    def grid(self) -> MembraneGrid:
        """Grids of the membrane."""
        return self.base_grid

    @property
    def neuron(self) -> NeuronSpec:
        """The neuron with the leak of the network file."""
        return self.constants.rounded()

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Spikes and membrane of input codes (T or 1, B, C, H, W)."""
        if not self.training:
            run = self.integer_output(self.integer_sums(codes))
            return LayerOutput(run.spikes.to(codes.dtype), (run.membrane / self.grid.theta).to(codes.dtype))
        return self._spiking(self.training_current(codes), self.grid)

    @torch.no_grad()
    def integer_output(self, sums: torch.Tensor) -> LifCodes:
        """Spikes, membrane and stored codes of integer sums."""
        current, neuron = self.integer_current(sums), self.neuron
        check_membrane(self._current_bound(), neuron, self.grid, self.geometry.name)
        return lif_codes(current, self.n_timesteps, neuron, self.grid)

    def _spiking(self, current: torch.Tensor, grid: MembraneGrid) -> LayerOutput:
        """Neurons in training, of currents on the grid in units of the threshold."""
        own = self.constants
        return LayerOutput(*lif_sequence(current, self.n_timesteps, own.neuron, grid, own.rounded_leak()))


class FloatReadout(nn.Module):
    """Classifier without LIF: logits at every step."""

    def __init__(self, geometry: LayerGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.weight = nn.Parameter(torch.zeros(geometry.weight_shape))
        self.bias = nn.Parameter(torch.zeros(geometry.weight_shape[0]))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Logits (T or 1, B, classes) of input codes (T or 1, B, C, H, W)."""
        return functional.linear(codes.flatten(2), self.weight * self.geometry.input_scale, self.bias).to(codes.dtype)


class QuantReadout(FloatReadout):
    """Classifier on integer codes; the bias is an integer on the grid of the sums."""

    def __init__(self, geometry: LayerGeometry, *, weight_spec: QuantSpec) -> None:
        super().__init__(geometry)
        self.quantiser = WeightQuantiser(weight_spec)
        self.reader: SumReader | None = None

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Real-valued logits (T or 1, B, classes): integer ones times the scale of the sums."""
        if not self.training:
            return (self.integer_run(codes) * self.scale()).to(codes.dtype)
        step = self.quantiser.training_step(self.weight)
        scale = self._training_scale(step)
        weight = fake_quantised_weight(self.weight, step, self.quantiser.spec)
        bias = straight_through(self.bias / scale, round_half_up(self.bias.detach() / self.scale(), torch))
        if self.reader is not None:
            return (self.reader.training_sums(codes, weight).flatten(2) + bias).to(codes.dtype) * scale
        return functional.linear(codes.flatten(2), weight, bias).to(codes.dtype) * scale

    def start_step(self) -> None:
        """First value of a learned step, for the present weights."""
        self.quantiser.start(self.weight)

    def _training_scale(self, step: torch.Tensor) -> torch.Tensor | float:
        """Scale of the sums; with a learned step it carries the gradient of LSQ, step included."""
        if self.quantiser.learned:
            return step.to(self.weight.dtype) * self.geometry.input_scale
        return float(step) * self.geometry.input_scale

    def scale(self) -> float:
        """Real value of an integer logit of 1."""
        return float(self.quantiser.step(self.weight)) * self.geometry.input_scale

    def integer_weight(self) -> torch.Tensor:
        """Weight codes, float64 that holds integers."""
        return self.quantiser.codes(self.weight)

    def integer_bias(self) -> torch.Tensor:
        """Bias codes, float64 that holds integers."""
        bias: torch.Tensor = round_half_up(self.bias.detach().double() / self.scale(), torch)
        return bias

    @torch.no_grad()
    def integer_run(self, codes: torch.Tensor) -> torch.Tensor:
        """Integer logits of every step, (T or 1, B, classes) float64."""
        weight = self.integer_weight()
        if self.reader is not None:
            return self.reader.exact_sums(codes, weight).flatten(2) + self.integer_bias()
        return exact_product(codes, weight, self.geometry).flatten(2) + self.integer_bias()


def matrix_product(codes: torch.Tensor, weight: torch.Tensor, geometry: LayerGeometry) -> torch.Tensor:
    """Sums (S, B, C_out, H, W) of codes (S, B, C, H, W), in their dtype; a linear layer gives H = W = 1."""
    # Autocast gives products of fewer bits; batch norm, neurons and grids need the full ones.
    if weight.ndim == 2:
        return functional.linear(codes.flatten(2), weight)[..., None, None].to(codes.dtype)
    flat = functional.conv2d(codes.flatten(0, 1), weight, stride=geometry.stride, padding=geometry.padding)
    return torch.unflatten(flat, 0, codes.shape[:2]).to(codes.dtype)


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


def check_membrane(current: float, neuron: NeuronSpec, grid: MembraneGrid, name: str) -> None:
    """Refuse neurons whose membrane could reach 2^53; ``current`` bounds what they read.

    Raises:
        NetworkError: the layer is named.
    """
    leaked = neuron.leak_mul * (-grid.code_min << grid.guard_bits)
    before_reset = leaked / 2**neuron.leak_shift + 1 + current + grid.theta
    _refuse_inexact(max(leaked, before_reset), name, "a membrane", "membrane_bits or guard_bits")


def _refuse_inexact(worst: float, name: str, what: str = "a sum", cure: str = "weight_bits or bn_bits") -> None:
    if worst >= _FLOAT64_EXACT:
        raise NetworkError(f"{name}: {what} can reach {worst:.3g}, exact arithmetic ends at 2^53; lower {cure}")
