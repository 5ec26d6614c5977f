"""Batch norm over a batch that is spread over several processes, as if one process had all of it.

The processes exchange the sums of the values and of their squares, in float64. A student's sums are whole numbers, so
these are exact, and its statistics have the same bits however the batch is cut.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch


class Peers(Protocol):
    """The processes that train one network together, each on its part of every batch."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of ``values`` over the processes, the same bits in each; its gradient is the sum of theirs."""

    def part(self, n_images: int) -> slice:
        """Which of so many images are those of this process; there may be none."""


class Moments(NamedTuple):
    """Of all values of a channel, (C,) float64; ``n_values`` is a scalar, ``var`` divides by it."""

    n_values: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor

    @property
    def unbiased(self) -> torch.Tensor:
        """Variance that divides by one less, as running variances do."""
        return self.var * (self.n_values / (self.n_values - 1).clamp(min=1))


def moments(values: torch.Tensor, peers: Peers) -> Moments:
    """Mean and variance over all axes but the second, and over the processes; differentiable.

    Args:
        values: (N, C, H, W), N may be 0.
        peers: the processes.
    """
    exact, axes = values.double(), [axis for axis in range(values.ndim) if axis != 1]
    count = exact.new_full((1,), values.numel() // values.shape[1])
    sums = peers.total(torch.cat([count, exact.sum(axes), exact.square().sum(axes)]))
    n, (first, second) = sums[0], sums[1:].reshape(2, -1)
    mean = first / n
    # Rounding may put the variance of a constant channel below 0.
    return Moments(n, mean, (second / n - mean.square()).clamp(min=0))


def shared_batch_norm(
    values: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, eps: float, peers: Peers
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``batch_norm`` of training, with the mean and the unbiased variance that it used, (C,) like ``values``.

    Args:
        values: (N, C, H, W), the part of this process.
        gamma: gain (C,).
        beta: offset (C,).
        eps: added to the variance.
        peers: the processes.
    """
    with torch.no_grad():
        found = moments(values, peers)
    normal: torch.Tensor = _SharedBatchNorm.apply(values, gamma, beta, found, eps, peers)  # type: ignore[no-untyped-call]
    return normal, found.mean.to(values.dtype), found.unbiased.to(values.dtype)


class _SharedBatchNorm(torch.autograd.Function):
    """Keeps its input only. Gradient of batch norm: Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        found: Moments,
        eps: float,
        peers: Peers,
    ) -> torch.Tensor:
        inverse = torch.rsqrt(found.var + eps)
        gain = gamma.double() * inverse
        ctx.save_for_backward(values, gamma, found.n_values, found.mean, inverse)
        ctx.peers = peers
        return torch.addcmul(_column(beta.double() - found.mean * gain, values), values, _column(gain, values))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        values, gamma, count, mean, inverse = ctx.saved_tensors
        centred = values - _column(mean, values)
        axes = (0, 2, 3)
        own = torch.stack([grad.double().sum(axes), (grad * centred).double().sum(axes)])
        first, second = ctx.peers.total(own) / count
        back = grad - _column(first, grad) - centred * _column(second * inverse.square(), grad)
        # Those of the constants are of this process alone: all gradients of parameters are added up at the end.
        to_gamma, to_beta = (own[1] * inverse).to(gamma.dtype), own[0].to(gamma.dtype)
        return back * _column(gamma.double() * inverse, grad), to_gamma, to_beta, None, None, None


def _column(constants: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return constants.to(like.dtype).reshape(-1, 1, 1)
