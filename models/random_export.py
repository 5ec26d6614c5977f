"""Untrained quantised networks for hardware studies: random weights, batch norm calibrated to let every layer fire."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.network.graph import BatchNormNode, InputNode, Network, Node

from .export import to_network
from .layers import QuantWeightLayer
from .lif import LifCodes, NeuronSpec
from .net import SpikingNet, build_student, sent_by
from .network_spec import NetworkSpec
from .plan import Architecture, Dense, Step
from .quantisers import QuantisationSpec
from .zoo import architecture

_N_IMAGES = 4
#: Images where no position but the image itself gives sums.
_N_VECTORS = 64
#: Pixels up to which a calibration takes all of them.
_SMALL_PIXELS = 64 * 64
_RATE_AIM = 0.15
_RATE_TOLERANCE = 0.01
_RATE_LOW, _RATE_HIGH = 0.05, 0.30
_OFFSET_LIMIT = 8.0
_BISECTIONS = 12
_CALIBRATED_BN_BITS = 8


def random_network(
    network: str | NetworkSpec,
    *,
    seed: int,
    weight_bits: int,
    membrane_bits: int,
    bn_bits: int = 8,
    n_timesteps: int = 4,
) -> Network:
    """Network of the zoo with seeded random weights of ``weight_bits`` in every layer, the first and last too.

    Each batch norm takes the statistics of its sums over seeded uniform input codes and one common offset
    that lets the layer fire near 15 % of the time. Constants of more than 8 bits are those of 8 bits with zeros behind
    them, so that widths whose sums exceed exact arithmetic can still be priced (``simulate --density``).

    Raises:
        NetworkError: not a network of the zoo, or sums beyond exact arithmetic.
        SimulationError: a layer could not be brought to fire between 5 and 30 % of the time.
    """
    student = random_student(
        network,
        seed=seed,
        weight_bits=weight_bits,
        membrane_bits=membrane_bits,
        bn_bits=min(bn_bits, _CALIBRATED_BN_BITS),
        n_timesteps=n_timesteps,
    )
    notes = {"origin": f"untrained, random weights of seed {seed}, batch norm calibrated to fire near 15 %"}
    return _with_bn_bits(to_network(student, student.plan.name, notes), bn_bits)


def _with_bn_bits(network: Network, bn_bits: int) -> Network:
    """The same function with batch norm constants of ``bn_bits``.

    rshift(m P + (n << k), e) does not change if m and n are shifted up by the bits that e grows by.
    """

    def widened(node: Node) -> Node:
        if not isinstance(node, BatchNormNode):
            return node
        more = bn_bits - node.bn_bits
        return replace(node, bn_bits=bn_bits, m=node.m << more, n=node.n << more, e=node.e + more)

    return replace(network, nodes=tuple(widened(node) for node in network.nodes))


def shape_network(
    network: str | NetworkSpec,
    *,
    seed: int,
    weight_bits: int,
    membrane_bits: int,
    bn_bits: int = 8,
    n_timesteps: int = 4,
) -> Network:
    """The network of ``random_network`` before its batch norms are calibrated: made in a second, hardly fires.

    It is for costs under spikes of a given density: those depend on shapes and widths, which are the same.

    Raises:
        NetworkError: not a network of the zoo, or sums beyond exact arithmetic.
    """
    student = _untrained(network, seed, weight_bits, membrane_bits, bn_bits, n_timesteps)
    notes = {"origin": f"untrained, random weights of seed {seed}, batch norm not calibrated: for costs only"}
    return to_network(student, student.plan.name, notes)


def random_student(
    network: str | NetworkSpec,
    *,
    seed: int,
    weight_bits: int,
    membrane_bits: int,
    bn_bits: int = 8,
    n_timesteps: int = 4,
) -> SpikingNet:
    """The student that ``random_network`` exports, in ``eval()``.

    Raises:
        NetworkError: not a network of the zoo, or sums beyond exact arithmetic.
        SimulationError: a layer could not be brought to fire between 5 and 30 % of the time.
    """
    student = _untrained(network, seed, weight_bits, membrane_bits, bn_bits, n_timesteps)
    generator = torch.Generator().manual_seed(seed)
    calibrate(student, uniform_codes(student.plan.input, n_timesteps, _n_images(student.plan), generator))
    return student


def _untrained(
    network: str | NetworkSpec, seed: int, weight_bits: int, membrane_bits: int, bn_bits: int, n_timesteps: int
) -> SpikingNet:
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
    return build_student(
        architecture(network), n_timesteps=n_timesteps, neuron=NeuronSpec(), quantisation=quantisation, seed=seed
    ).eval()


def _n_images(plan: Architecture) -> int:
    """Images of a calibration.

    A large one has positions enough to count spikes at, and takes the memory of many. But a linear layer has one sum
    an image and step, and its mean and variance want several; of static pixels the first one has one an image.
    """
    if isinstance(plan.layers[0], Dense):
        return _N_VECTORS
    if any(isinstance(layer, Dense) for layer in plan.layers):
        return _N_IMAGES
    node = plan.input
    return max(1, min(_N_IMAGES, _N_IMAGES * _SMALL_PIXELS // (node.shape[1] * node.shape[2])))


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
    values = student.first_values(codes)
    rates: dict[str, float] = {}
    layer: _Layer | None = None
    for index, step in enumerate(student.steps[:-1]):
        block = student.blocks[step.name]
        if isinstance(block, QuantWeightLayer):
            layer = _Layer(block, index, block.integer_sums(values[step.sources[0]]))
            _set_statistics(block, layer.sums)
            sent = block.integer_output(layer.sums)
            values[step.name] = sent_by(sent)
        else:
            sent = student.integer_step(step, values)
        if layer is None or not isinstance(sent, LifCodes):
            continue
        # The neurons of a stream follow the offset of the last convolution that was added to it.
        rates[step.name] = _bisect_offset(student, layer, student.steps[layer.place : index + 1], values)
        if not _RATE_LOW <= rates[step.name] <= _RATE_HIGH:
            raise SimulationError(
                f"network {student.plan.name}: {step.name} fires {100 * rates[step.name]:.1f} % of the time after "
                "calibration, 5 to 30 % is wanted; use another seed or more bits"
            )
    return rates


class _Layer(NamedTuple):
    """A weight layer, its place among the steps, and its sums, which do not depend on the batch norm."""

    block: QuantWeightLayer
    place: int
    sums: torch.Tensor


def _set_statistics(block: QuantWeightLayer, sums: torch.Tensor) -> None:
    scale = float(block.sum_scale())
    var, mean = torch.var_mean(sums.flatten(0, 1), dim=(0, 2, 3), correction=0)
    # A channel that never varies would get an unbounded gain.
    floor = var.mean().clamp(min=1.0) * 1e-2
    block.running_mean.copy_(mean * scale)
    block.running_var.copy_(var.clamp(min=float(floor)) * scale**2)


def _bisect_offset(
    student: SpikingNet, layer: _Layer, steps: tuple[Step, ...], values: dict[str, torch.Tensor]
) -> float:
    """Firing rate of the last of ``steps`` with the common offset in ``layer``, the first, nearest to the aim."""
    low, high = -_OFFSET_LIMIT, _OFFSET_LIMIT
    tried: list[tuple[float, float]] = []
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rate = _rate(student, layer, steps, values, middle)
        tried.append((abs(rate - _RATE_AIM), middle))
        if tried[-1][0] < _RATE_TOLERANCE:
            break
        low, high = (middle, high) if rate < _RATE_AIM else (low, middle)
    return _rate(student, layer, steps, values, min(tried)[1])


def _rate(
    student: SpikingNet, layer: _Layer, steps: tuple[Step, ...], values: dict[str, torch.Tensor], offset: float
) -> float:
    layer.block.beta.fill_(offset)
    values[steps[0].name] = sent_by(layer.block.integer_output(layer.sums))
    for step in steps[1:]:
        student.integer_step(step, values)
    return float(values[steps[-1].name].mean())
