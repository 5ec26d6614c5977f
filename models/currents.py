"""Currents of a student in training: the values of its integers, the gradient of the batch norm."""

from __future__ import annotations

from typing import Any

import torch

from spikeloop.simulator.network.quant import round_half_up

from .lif_kernel import kernel_current_on_grid, kernel_takes
from .quantisers import FoldedBatchNorm


def put_on_grid(
    real: torch.Tensor, sums: torch.Tensor, folded: FoldedBatchNorm, codes_per_theta: float
) -> torch.Tensor:
    """``real`` with its values replaced by floor(gain*sums + offset + 1/2) / codes_per_theta, gradient unchanged.

    Args:
        real: (N, C, H, W) currents of the batch norm; overwritten, since nothing else reads them.
        sums: (N, C, H, W) sums of codes.
        folded: the rounded batch norm.
        codes_per_theta: grid of the result.
    """
    gain, offset = folded.gain.to(sums.dtype), folded.offset.to(sums.dtype)
    current: torch.Tensor = _OnGrid.apply(real, sums.detach(), gain, offset, codes_per_theta)  # type: ignore[no-untyped-call]
    return current


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        real: torch.Tensor,
        sums: torch.Tensor,
        gain: torch.Tensor,
        offset: torch.Tensor,
        codes_per_theta: float,
    ) -> torch.Tensor:
        ctx.mark_dirty(real)
        if kernel_takes(sums) and kernel_takes(real):
            kernel_current_on_grid(sums, gain, offset, codes_per_theta, real)
        else:
            column = (-1, 1, 1)
            codes = round_half_up(sums * gain.reshape(column) + offset.reshape(column), torch)
            torch.div(codes, codes_per_theta, out=real)
        return real

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        return grads[0], None, None, None, None
