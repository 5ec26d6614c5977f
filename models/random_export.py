"""Untrained quantised networks for hardware studies: random weights, batch norm calibrated to let every layer fire."""

from __future__ import annotations

from typing import cast

import torch

from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.network.graph import InputNode, Network

from .export import to_network
from .layers import QuantLayer, exact_product
from .lif import NeuronSpec
from .quantisers import QuantisationSpec
from .zoo import SpikingNet, SumPool, architecture, build_student, sum_pool

_N_IMAGES = 4
_RATE_AIM = 0.15
_RATE_TOLERANCE = 0.01
_RATE_LOW, _RATE_HIGH = 0.05, 0.30
_OFFSET_LIMIT = 8.0
_BISECTIONS = 12


def random_network(
    name: str, *, seed: int, weight_bits: int, membrane_bits: int, bn_bits: int = 8, n_timesteps: int = 4
) -> Network:
    """Network of the zoo with seeded random weights of ``weight_bits`` in every layer, the first and last too.

    Each batch norm takes the statistics of its sums over seeded uniform input codes and one common offset
    that lets the layer fire near 15 % of the time.

    Raises:
        NetworkError: not a network of the zoo, or sums beyond exact arithmetic.
        SimulationError: a layer could not be brought to fire between 5 and 30 % of the time.
    """
    student = random_student(
        name,
        seed=seed,
        weight_bits=weight_bits,
        membrane_bits=membrane_bits,
        bn_bits=bn_bits,
        n_timesteps=n_timesteps,
    )
    notes = {"origin": f"untrained, random weights of seed {seed}, batch norm calibrated to fire near 15 %"}
    return to_network(student, name, notes)


def random_student(
    name: str, *, seed: int, weight_bits: int, membrane_bits: int, bn_bits: int = 8, n_timesteps: int = 4
) -> SpikingNet:
    """The student that ``random_network`` exports, in ``eval()``.

    Raises:
        NetworkError: not a network of the zoo, or sums beyond exact arithmetic.
        SimulationError: a layer could not be brought to fire between 5 and 30 % of the time.
    """
    # The largest of many random weights says little about the rest: scale by a percentile instead.
    quantisation = QuantisationSpec(
        weight_bits=weight_bits,
        membrane_bits=membrane_bits,
        bn_bits=bn_bits,
        first_layer_bits=weight_bits,
        last_layer_bits=weight_bits,
        weight_scale="percentile",
        weight_percentile=95.0,
    )
    student = build_student(
        architecture(name), n_timesteps=n_timesteps, neuron=NeuronSpec(), quantisation=quantisation, seed=seed
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    calibrate(student, uniform_codes(student.plan.input, n_timesteps, _N_IMAGES, generator))
    return student


def uniform_codes(node: InputNode, n_timesteps: int, n_images: int, generator: torch.Generator) -> torch.Tensor:
    """Uniform input codes, (B, C, H, W) if the input is static, else (T, B, C, H, W)."""
    low = -(2 ** (node.bits - 1)) if node.signed else 0
    lead = (n_images,) if node.static else (n_timesteps, n_images)
    codes = torch.randint(low, low + 2**node.bits, (*lead, *node.shape), generator=generator)
    return codes.to(torch.float32)


@torch.no_grad()
def calibrate(student: SpikingNet, codes: torch.Tensor) -> dict[str, float]:
    """Set every batch norm of ``student`` for these input codes; returns the firing rate per layer.

    Raises:
        SimulationError: a layer could not be brought to fire between 5 and 30 % of the time.
    """
    x = codes[None] if student.plan.input.static else codes
    rates: dict[str, float] = {}
    for item in student.plan.layers[:-1]:
        if isinstance(item, SumPool):
            x = sum_pool(x, item.kernel)
            continue
        block = cast(QuantLayer, student.blocks[item.name])
        _set_statistics(block, x)
        x, rates[item.name] = _bisect_offset(block, x)
        if not _RATE_LOW <= rates[item.name] <= _RATE_HIGH:
            raise SimulationError(
                f"network {student.plan.name}: {item.name} fires {100 * rates[item.name]:.1f} % of the time after "
                "calibration, 5 to 30 % is wanted; use another seed or more bits"
            )
    return rates


def _set_statistics(block: QuantLayer, x: torch.Tensor) -> None:
    scale = float(block.sum_scale())
    sums = exact_product(x, block.integer_weight(), block.geometry).flatten(0, 1)
    var, mean = torch.var_mean(sums, dim=(0, 2, 3), correction=0)
    # A channel that never varies would get an unbounded gain.
    floor = var.mean().clamp(min=1.0) * 1e-2
    block.running_mean.copy_(mean * scale)
    block.running_var.copy_(var.clamp(min=float(floor)) * scale**2)


def _bisect_offset(block: QuantLayer, x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Spikes and firing rate with the common offset that comes nearest to the aim."""
    low, high = -_OFFSET_LIMIT, _OFFSET_LIMIT
    tried: list[tuple[float, float]] = []
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        block.beta.fill_(middle)
        rate = float(block.integer_run(x).spikes.mean())
        tried.append((abs(rate - _RATE_AIM), middle))
        if tried[-1][0] < _RATE_TOLERANCE:
            break
        low, high = (middle, high) if rate < _RATE_AIM else (low, middle)
    block.beta.fill_(min(tried)[1])
    spikes = block.integer_run(x).spikes
    return spikes, float(spikes.mean())
