"""Optimiser and learning rate; its state as named tensors, so that it can be saved without pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from .config import TrainingConfig


def make_optimiser(net: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over all parameters of ``net``."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            net.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def lr_at(config: TrainingConfig, step: int, batches: int) -> float:
    """Learning rate of a step, counted from 0, with so many batches an epoch: linear rise, then cosine or constant."""
    rise, steps = config.warmup_epochs * batches, config.epochs * batches
    if step < rise:
        return config.lr * ((step + 1) / rise)
    if not config.cosine:
        return config.lr
    return config.lr * (0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / (steps - rise)))))


def optimiser_tensors(optimiser: torch.optim.Optimizer, net: nn.Module) -> dict[str, torch.Tensor]:
    """State by ``<entry>:<parameter>``, e.g. ``exp_avg:blocks.fc.weight``; a parameter without a step has none."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in net.named_parameters()}
    return {
        f"{entry}:{names[parameter]}": value.detach()
        for parameter, entries in optimiser.state.items()
        for entry, value in entries.items()
        if isinstance(value, torch.Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, net: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a new optimiser the state that ``optimiser_tensors`` took.

    Raises:
        ValueError: a tensor belongs to no parameter, or has not its shape.
    """
    parameters = {name: (index, value) for index, (name, value) in enumerate(net.named_parameters())}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for label, value in tensors.items():
        entry, _, name = label.partition(":")
        if name not in parameters or value.shape not in ((), parameters[name][1].shape):
            raise ValueError(f"optimiser tensor {label} of shape {tuple(value.shape)} fits no parameter")
        state.setdefault(parameters[name][0], {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
