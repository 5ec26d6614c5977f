"""Leak and threshold of one layer of neurons: numbers of the training file, or parameters that learn.

A learned leak is the idea of PLIF (Fang et al., ICCV 2021, arXiv 2007.05785), where 1/tau = sigmoid(w) is learned, one
w a layer; here it is the leak itself that is sigmoid(w), as the currents have a batch norm of their own. The rounding
to what hardware multiplies with, and the threshold exp(w) of a layer, are ours.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from .lif import MembraneGrid, NeuronSpec
from .quantisers import straight_through

#: Largest shift of a leak in a network file.
_MAX_LEAK_SHIFT = 16


class NeuronConstants(nn.Module):
    """What a layer of neurons may learn beside its weights; without parameters where all is fixed."""

    def __init__(self, neuron: NeuronSpec) -> None:
        super().__init__()
        self.neuron = neuron
        if neuron.leak_training != "fixed":
            start = math.log(neuron.leak / (1 - neuron.leak))
            self.leak_logit = nn.Parameter(torch.tensor(start))
        if neuron.threshold_training != "fixed":
            self.log_threshold = nn.Parameter(torch.zeros(()))

    def leak(self) -> torch.Tensor | None:
        """Learned leak in full precision, a scalar; None where it is fixed."""
        return torch.sigmoid(self.leak_logit) if self.neuron.leak_training != "fixed" else None

    def rounded_leak(self) -> torch.Tensor | None:
        """Learned leak as the network file holds it; the gradient is that of the unrounded one."""
        real = self.leak()
        return None if real is None else straight_through(real, torch.full_like(real, self.rounded().leak))

    def rounded(self) -> NeuronSpec:
        """The neuron with the leak of the network file."""
        rule = self.neuron.leak_training
        if rule == "fixed":
            return self.neuron
        # Below half of the smallest power all leaks are one, and 0 has no logarithm.
        leak = max(float(torch.sigmoid(self.leak_logit.detach().double())), 2.0 ** -(_MAX_LEAK_SHIFT + 1))
        if rule == "fraction":
            code = math.floor(leak * (1 << self.neuron.leak_shift) + 0.5)
            return self.neuron.model_copy(update={"leak_mul": code})
        # Half a power lies at the geometric mean of two neighbours.
        shift = min(max(math.floor(-math.log2(leak) + 0.5), 0), _MAX_LEAK_SHIFT)
        return self.neuron.model_copy(update={"leak_mul": 1, "leak_shift": shift})

    def threshold(self) -> torch.Tensor | None:
        """Learned threshold, a scalar above 0 that is 1 at the start; None where it is fixed."""
        return self.log_threshold.exp() if self.neuron.threshold_training != "fixed" else None

    def over_threshold(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The values divided by a learned threshold, or as they are."""
        threshold = self.threshold()
        return values if threshold is None else tuple(value / threshold for value in values)

    def on_stream(self, grid: MembraneGrid) -> MembraneGrid:
        """The grid with a learned threshold as a whole number of its steps, at most twice the unlearned one.

        For neurons that read a residual stream, whose currents no batch norm can scale.
        """
        threshold = self.threshold()
        if threshold is None:
            return grid
        code = math.floor(float(threshold.detach()) * grid.theta + 0.5)
        return MembraneGrid(bits=grid.bits, guard_bits=grid.guard_bits, theta_code=min(max(code, 1), 2 * grid.theta))

    def hold_leak(self, held: bool) -> None:
        """Keep a learned leak as it is, or let it learn."""
        if self.neuron.leak_training != "fixed":
            self.leak_logit.requires_grad_(not held)
