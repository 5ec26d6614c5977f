"""The leaky integrate-and-fire neuron over a whole sequence: one for training, one on integer codes.

Both follow one order: integrate, compare, reset, store. Training works in units of the threshold
(theta = 1); the integer walk works on the grids of the network file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from spikeloop.simulator.network.quant import rhe_float
from spikeloop.simulator.spec import Spec

from .lif_kernel import kernel_backward, kernel_forward, kernel_takes
from .surrogate import SurrogateName, surrogate_derivative


class NeuronSpec(Spec):
    """Leak, threshold, reset and surrogate of every LIF layer; leak = leak_mul / 2^leak_shift, threshold 1.

    ``leak_training`` and ``threshold_training`` other than ``fixed`` give every layer one leak or threshold that
    learns, from these values on. A student rounds a learned leak to a ``power_of_two``, or to a ``fraction`` of
    2^leak_shift; the threshold needs no rounding of its own.
    """

    leak_mul: int = Field(default=1, ge=0)
    leak_shift: int = Field(default=1, ge=0, le=16)
    reset: Literal["hard", "soft"] = "hard"
    surrogate: SurrogateName = "triangle"
    leak_training: Literal["fixed", "power_of_two", "fraction"] = "fixed"
    threshold_training: Literal["fixed", "learned"] = "fixed"

    @property
    def leak(self) -> float:
        """Factor that the membrane keeps from one step to the next."""
        return self.leak_mul / (1 << self.leak_shift)

    @model_validator(mode="after")
    def _leak_at_most_one(self) -> NeuronSpec:
        if self.leak_mul > 2**self.leak_shift:
            raise ValueError(
                f"leak_mul={self.leak_mul} with leak_shift={self.leak_shift} is a leak above 1; "
                f"allowed leak_mul 0 to {2**self.leak_shift}"
            )
        if self.leak_training != "fixed" and not 0 < self.leak_mul < 2**self.leak_shift:
            raise ValueError(
                f"leak_training={self.leak_training} starts at leak_mul={self.leak_mul} over 2^{self.leak_shift}, "
                "where a sigmoid learns nothing; allowed a leak above 0 and below 1, or leak_training: fixed"
            )
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class MembraneGrid:
    """Grids of a quantised membrane: step s_u = theta / 2^(bits-1); H and I are finer by 2^-guard_bits.

    ``theta_code`` is the threshold on the grid of H where the step is another (MINT); None for the rule above.
    """

    bits: int
    guard_bits: int
    theta_code: int | None = None

    @property
    def codes_per_theta(self) -> float:
        """Threshold in membrane steps: by the rule, one above the largest stored code."""
        return self.theta / (1 << self.guard_bits)

    @property
    def theta(self) -> int:
        """Threshold as an integer on the grid of H."""
        return self.theta_code if self.theta_code is not None else 1 << (self.bits - 1 + self.guard_bits)

    @property
    def code_min(self) -> int:
        """Smallest stored code."""
        return -(1 << (self.bits - 1))

    @property
    def code_max(self) -> int:
        """Largest stored code."""
        return (1 << (self.bits - 1)) - 1


def lif_sequence(
    current: torch.Tensor,
    n_timesteps: int,
    neuron: NeuronSpec,
    grid: MembraneGrid | None = None,
    leak: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes and membrane before reset, both (T, B, ...), differentiable in both outputs.

    Float32 on a CPU goes through the kernel (``lif_kernel.py``), everything else through torch; with a leak that is a
    power of two both give the same bits.

    Args:
        current: (T, B, ...) or (1, B, ...) when it is the same at every step; units of the threshold.
        n_timesteps: T.
        neuron: leak, reset, surrogate.
        grid: stored precision of the membrane; None keeps it in floating point.
        leak: scalar that stands for the neuron's leak and takes a gradient; None for the neuron's own.
    """
    steps = current.expand(n_timesteps, *current.shape[1:])
    spikes, membrane = _LifSequence.apply(steps, leak, neuron, grid)  # type: ignore[no-untyped-call]
    return spikes, membrane


class _LifSequence(torch.autograd.Function):
    """T steps as one graph node; saves only H. The reset path is detached."""

    @staticmethod
    def forward(
        ctx: Any, current: torch.Tensor, leak: torch.Tensor | None, neuron: NeuronSpec, grid: MembraneGrid | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        factor = neuron.leak if leak is None else float(leak.detach())
        if kernel_takes(current):
            spikes, membrane = kernel_forward(current, factor, neuron.reset, grid)
        else:
            spikes, membrane = _torch_forward(current, factor, neuron, grid)
        ctx.save_for_backward(membrane)
        ctx.leak, ctx.neuron, ctx.grid = factor, neuron, grid
        ctx.set_materialize_grads(False)
        return spikes, membrane

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        grad_spikes, grad_membrane = grads
        (membrane,) = ctx.saved_tensors
        neuron: NeuronSpec = ctx.neuron
        if grad_spikes is None and grad_membrane is None:
            return None, None, None, None
        if kernel_takes(membrane):
            total = kernel_backward(
                membrane, grad_spikes, grad_membrane, ctx.leak, neuron.reset, neuron.surrogate, ctx.grid
            )
        else:
            total = _torch_backward(membrane, grad_spikes, grad_membrane, ctx.leak, neuron, ctx.grid)
        leak = _leak_gradient(membrane, total, neuron, ctx.grid) if ctx.needs_input_grad[1] else None
        return total, leak, None, None


def _torch_forward(
    current: torch.Tensor, leak: float, neuron: NeuronSpec, grid: MembraneGrid | None
) -> tuple[torch.Tensor, torch.Tensor]:
    membrane = torch.empty(current.shape, dtype=current.dtype, device=current.device)
    spikes = torch.empty_like(membrane)
    state = torch.zeros_like(membrane[0])
    for t in range(membrane.shape[0]):
        kept = state if grid is None else _leak_on_grid(state, leak, grid)
        torch.add(current[t], kept, alpha=leak if grid is None else 1.0, out=membrane[t])
        torch.ge(membrane[t], 1.0, out=spikes[t])
        _reset(membrane[t], spikes[t], neuron, out=state)
        if grid is not None:
            _store(state, grid)
    return spikes, membrane


def _torch_backward(
    membrane: torch.Tensor,
    grad_spikes: torch.Tensor | None,
    grad_membrane: torch.Tensor | None,
    leak: float,
    neuron: NeuronSpec,
    grid: MembraneGrid | None,
) -> torch.Tensor:
    total = torch.zeros_like(membrane)
    if grad_spikes is not None:
        total = surrogate_derivative(neuron.surrogate, membrane).mul_(grad_spikes)
    if grad_membrane is not None:
        total += grad_membrane
    passes = _passes_to_next_step(membrane[:-1], neuron, grid)
    for t in range(membrane.shape[0] - 2, -1, -1):
        total[t].addcmul_(total[t + 1], passes[t], value=leak)
    return total


def _leak_gradient(
    membrane: torch.Tensor, total: torch.Tensor, neuron: NeuronSpec, grid: MembraneGrid | None
) -> torch.Tensor:
    """Sum of dL/dH[t] * U[t-1], with U made again from H; as if the leaked state were not rounded."""
    found = torch.zeros((), dtype=torch.float64, device=membrane.device)
    state = torch.empty_like(membrane[0])
    for t in range(membrane.shape[0] - 1):
        _reset(membrane[t], (membrane[t] >= 1.0).to(membrane.dtype), neuron, out=state)
        if grid is not None:
            _store(state, grid)
        found += state.mul_(total[t + 1]).sum(dtype=torch.float64)
    return found.to(membrane.dtype)


def _leak_on_grid(state: torch.Tensor, leak: float, grid: MembraneGrid) -> torch.Tensor:
    # Powers of two scale exactly, so this is rhe((U << g) * leak_mul, leak_shift) in units of theta.
    theta = float(grid.theta)
    return (state * (theta * leak)).round_().div_(theta)


def _store(state: torch.Tensor, grid: MembraneGrid) -> None:
    """Round to the membrane grid and saturate, in place."""
    scale = grid.codes_per_theta
    state.mul_(scale).round_().clamp_(grid.code_min, grid.code_max).div_(scale)


def _reset(membrane: torch.Tensor, spikes: torch.Tensor, neuron: NeuronSpec, *, out: torch.Tensor) -> None:
    if neuron.reset == "soft":
        torch.sub(membrane, spikes, out=out)
    else:
        # H - H*S: twice as fast as filling under a mask.
        torch.addcmul(membrane, membrane, spikes, value=-1.0, out=out)


def _passes_to_next_step(membrane: torch.Tensor, neuron: NeuronSpec, grid: MembraneGrid | None) -> torch.Tensor:
    """1 where dU/dH of the stored state is 1, 0 where a hard reset or the saturation cuts it."""
    fires = membrane >= 1.0
    after = membrane - fires.to(membrane.dtype) if neuron.reset == "soft" else membrane
    passes = torch.ones_like(fires) if neuron.reset == "soft" else ~fires
    if grid is not None:
        # code_max is odd and code_min even: ties at their outer half steps go out, and stay in, respectively.
        scale = grid.codes_per_theta
        passes &= (after < (grid.code_max + 0.5) / scale) & (after >= (grid.code_min - 0.5) / scale)
    return passes.to(membrane.dtype)


class LifCodes(NamedTuple):
    """A LIF layer on integers, all (T, B, C, H, W) float64 that hold integers."""

    spikes: torch.Tensor
    #: Membrane before reset, on the guard grid.
    membrane: torch.Tensor
    #: Stored codes after reset.
    stored: torch.Tensor


def lif_codes(current: torch.Tensor, n_timesteps: int, neuron: NeuronSpec, grid: MembraneGrid) -> LifCodes:
    """Integer neuron: H = rhe((U << g)*leak_mul, leak_shift) + I, compare, reset, U = sat(rhe(H', g)).

    Args:
        current: (T, B, ...) or (1, B, ...) float64 integers on the guard grid.
        n_timesteps: T.
        neuron: leak and reset.
        grid: precision of the stored membrane.
    """
    steps = current.expand(n_timesteps, *current.shape[1:])
    membrane, spikes, stored = (torch.empty(steps.shape, dtype=torch.float64, device=steps.device) for _ in range(3))
    state = torch.zeros_like(membrane[0])
    for t in range(n_timesteps):
        kept = rhe_float(state * float(neuron.leak_mul << grid.guard_bits), neuron.leak_shift, torch)
        membrane[t] = kept + steps[t]
        fires = membrane[t] >= grid.theta
        spikes[t] = fires
        reset_to_zero = membrane[t].masked_fill(fires, 0.0)
        after = membrane[t] - spikes[t] * grid.theta if neuron.reset == "soft" else reset_to_zero
        state = rhe_float(after, grid.guard_bits, torch).clamp_(grid.code_min, grid.code_max)
        stored[t] = state
    return LifCodes(spikes, membrane, stored)
