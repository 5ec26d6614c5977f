"""A penalty on spikes, each weighed by the energy that it costs the layers that read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spikeloop.models.plan import Architecture, geometries, neuron_steps, values
from spikeloop.simulator.errors import ConfigError

#: Components whose energy a spike that arrives does not cause: they work on the sums, neurons and outputs of a layer.
_BEHIND_SUMS = ("batch_norm", "residual_adder", "membrane_memory", "neuron", "pooling")


def firing_penalty(spikes: tuple[torch.Tensor, ...], energy_fJ: tuple[float, ...] | None = None) -> torch.Tensor:
    """Mean firing rate, spikes weighed by ``energy_fJ`` of their layer; a scalar in [0, 1], 1 where all fire.

    sum_l e_l * spikes_l / sum_l e_l * n_l, with n_l neurons times steps times images of layer l; without energies every
    spike weighs the same. ``spikes`` one (T, B, C, H, W) a layer, with the gradient of the surrogate.
    """
    weights = energy_fJ if energy_fJ is not None else (1.0,) * len(spikes)
    paid = torch.stack([weight * part.sum() for weight, part in zip(weights, spikes, strict=True)]).sum()
    return paid / sum(weight * part.numel() for weight, part in zip(weights, spikes, strict=True))


def spike_energy_fJ(path: Path, plan: Architecture, n_timesteps: int) -> tuple[float, ...]:
    """Energy (fJ) of a spike of every layer with neurons, from the JSON that ``spikeloop simulate`` writes.

    For each layer that reads the spikes: what its crossbars, ADCs, buffers and transport spend on an inference (all of
    the layer's components but those behind the sums; their leakage is in it), over the input bits that were 1. A sum of
    spikes counts by its bits, so behind a pool the figure is that of a bit.

    Raises:
        ConfigError: no such file, not such a file, one of another network, or one whose spikes cost nothing.
    """
    layers = _by_layer(path)
    readers, geometry, table = readers_of(plan), geometries(plan), values(plan)
    steps = {step.name: step for step in plan.steps}
    found = []
    for name in neuron_steps(plan):
        energy_fJ = 0.0
        for reader in readers[name]:
            if reader not in layers:
                raise ConfigError(f"{path}: no layer '{reader}' in by_layer; give a file of network {plan.name}")
            row = layers[reader]
            inputs = table[steps[reader].sources[0]]
            n_bits = inputs.shape[0] * inputs.shape[1] * inputs.shape[2] * geometry[reader].code_max.bit_length()
            ones = float(row["input_density"]) * n_bits * n_timesteps
            energy_fJ += _reading_fJ(row) / ones if ones > 0 else 0.0
        found.append(energy_fJ)
    if not sum(found) > 0:
        raise ConfigError(f"{path}: no spike costs energy there; simulate on images in which the layers fire")
    return tuple(found)


def readers_of(plan: Architecture) -> dict[str, tuple[str, ...]]:
    """Weight layers that a spike of each layer with neurons reaches, through pools and sums of spikes."""
    neurons, weighted = neuron_steps(plan), geometries(plan)
    origin: dict[str, set[str]] = {plan.input.name: set()}
    readers: dict[str, list[str]] = {name: [] for name in neurons}
    for step in plan.steps:
        sent = set[str]().union(*(origin[source] for source in step.sources))
        if step.name in weighted:
            for name in sent:
                readers[name].append(step.name)
            sent = set()
        origin[step.name] = {step.name} if step.name in neurons else sent
    return {name: tuple(found) for name, found in readers.items()}


def _reading_fJ(row: Mapping[str, Any]) -> float:
    return sum(float(part["energy_fJ"]) for name, part in row["by_component"].items() if name not in _BEHIND_SUMS)


def _by_layer(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        rows = {str(row["name"]): row for row in metrics["by_layer"]}
        for row in rows.values():
            float(row["input_density"]), _reading_fJ(row)
    except OSError as error:
        raise ConfigError(
            f"losses.energy_from: {path} cannot be read ({error.strerror}); give the file of 'simulate --json'"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"losses.energy_from: {path} has no by_layer; give the file of 'simulate --json'") from None
    return rows
