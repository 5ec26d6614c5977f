"""Where the first value that is not finite stands."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from spikeloop.models.net import SpikingNet

from .parallel import ALONE, Ranks


def finite(*values: torch.Tensor, ranks: Ranks = ALONE) -> bool:
    """Whether all values are, in every process; overflow of the sum of a tensor counts as divergence too."""
    sums = torch.stack([value.detach().sum() for value in values])
    return bool(torch.isfinite(ranks.total(sums)).all())


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor with a NaN or an infinity; None if there is none."""
    return next((name for name, value in tensors.items() if not bool(torch.isfinite(value).all())), None)


@torch.no_grad()
def not_finite_sentence(net: SpikingNet, codes: torch.Tensor, epoch: int, ranks: Ranks = ALONE) -> str:
    """Sentence that names the first layer whose weights, output or gradient is not finite, in any process."""
    names = (*net.lif_names(), net.plan.classifier.name)
    output = net(codes)
    for name, value in zip(names, (*output.membranes, output.logits), strict=True):
        if not finite(value, *net.blocks[name].parameters(), ranks=ranks):
            return f"epoch {epoch}: layer {name} is the first with values that are not finite; lower lr"
    grads = {
        name: [p.grad for p in block.parameters() if p.grad is not None]
        for name, block in reversed(list(net.blocks.items()))
        if any(p.grad is not None for p in block.parameters())
    }
    bad = next((name for name, parts in grads.items() if not finite(*parts)), names[-1])
    return f"epoch {epoch}: the loss or the gradient of layer {bad} is not finite; lower lr or the loss weights"


def diverged_layer(net: SpikingNet) -> str | None:
    """Name of the first step whose parameters or statistics are not finite; None if there is none."""
    bad = first_not_finite(net.state_dict())
    return None if bad is None else bad.split(".")[1]
