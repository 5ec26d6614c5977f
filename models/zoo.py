"""The networks: each a short list of layers, from which teacher and student are built alike."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import nn

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import InputNode

from .layers import MOMENTUM, FloatLayer, FloatReadout, LayerGeometry, LayerOutput, QuantLayer, QuantReadout
from .lif import LifCodes, NeuronSpec
from .quantisers import QuantisationSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv:
    """Convolution, batch norm, LIF."""

    name: str
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Dense:
    """Linear layer, batch norm, LIF."""

    name: str
    features: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SumPool:
    """Average pooling that passes the sum over kernel x kernel, stride = kernel."""

    name: str
    kernel: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """Linear layer without LIF at the end; its logits are summed over the steps."""

    name: str
    classes: int


LayerPlan = Conv | Dense | SumPool | Classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Input format and layers in order; the last one is the classifier."""

    name: str
    input: InputNode
    layers: tuple[LayerPlan, ...]

    @property
    def classifier(self) -> Classifier:
        """The last layer."""
        return cast(Classifier, self.layers[-1])


def _pixels(shape: tuple[int, int, int], bits: int) -> InputNode:
    return InputNode(name="input", shape=shape, bits=bits, static=True)


_DEMO = Architecture(
    name="demo",
    input=_pixels((1, 8, 8), 4),
    layers=(
        Conv(name="conv1", channels=8),
        SumPool(name="pool1"),
        Conv(name="conv2", channels=16),
        SumPool(name="pool2"),
        Classifier(name="fc", classes=10),
    ),
)
_VGG9 = Architecture(
    name="vgg9",
    input=_pixels((3, 32, 32), 8),
    layers=(
        Conv(name="conv1", channels=64),
        Conv(name="conv2", channels=64),
        SumPool(name="pool1"),
        Conv(name="conv3", channels=128),
        Conv(name="conv4", channels=128),
        SumPool(name="pool2"),
        Conv(name="conv5", channels=256),
        Conv(name="conv6", channels=256),
        Conv(name="conv7", channels=256),
        SumPool(name="pool3"),
        Dense(name="fc1", features=1024),
        Classifier(name="fc2", classes=10),
    ),
)
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({plan.name: plan for plan in (_DEMO, _VGG9)})


def architecture(name: str) -> Architecture:
    """Architecture of that name.

    Raises:
        NetworkError: unknown; the sentence lists the nearest name and all of them.
    """
    if name not in ARCHITECTURES:
        close = difflib.get_close_matches(name, ARCHITECTURES, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise NetworkError(f"network '{name}' is not in the zoo; {hint}available: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


class NetOutput(NamedTuple):
    """What a forward pass leaves for the losses.

    ``logits`` (T, B, classes), real-valued; ``membranes`` one (T, B, C, H, W) a LIF layer, before reset, in
    units of the threshold; ``spikes`` likewise.
    """

    logits: torch.Tensor
    membranes: tuple[torch.Tensor, ...]
    spikes: tuple[torch.Tensor, ...]


class IntegerRun(NamedTuple):
    """A student's run on integers: ``logits`` (B, classes) int64, summed over the steps; layers by name."""

    logits: torch.Tensor
    layers: dict[str, LifCodes]


class SpikingNet(nn.Module):
    """Teacher or student of one architecture; ``blocks`` holds one module for each weight layer."""

    def __init__(self, plan: Architecture, blocks: Mapping[str, nn.Module], n_timesteps: int) -> None:
        super().__init__()
        self.plan = plan
        self.n_timesteps = n_timesteps
        self.blocks = nn.ModuleDict(blocks)

    def forward(self, codes: torch.Tensor) -> NetOutput:
        """Output for input codes (B, C, H, W) if the input is static, else (T, B, C, H, W)."""
        x = self._with_time(codes)
        outputs: list[LayerOutput] = []
        for item in self.plan.layers[:-1]:
            if isinstance(item, SumPool):
                x = sum_pool(x, item.kernel)
            else:
                outputs.append(self.blocks[item.name](x))
                x = outputs[-1].spikes
        logits = self.blocks[self.plan.classifier.name](x).expand(self.n_timesteps, -1, -1)
        return NetOutput(logits, tuple(out.membrane for out in outputs), tuple(out.spikes for out in outputs))

    @torch.no_grad()
    def integer_run(self, codes: torch.Tensor) -> IntegerRun:
        """The exported network, computed with torch convolutions on codes (a student only).

        Args:
            codes: as for ``forward``.
        """
        x = self._with_time(codes)
        layers: dict[str, LifCodes] = {}
        for item in self.plan.layers[:-1]:
            if isinstance(item, SumPool):
                x = sum_pool(x, item.kernel)
            else:
                layers[item.name] = cast(QuantLayer, self.blocks[item.name]).integer_run(x)
                x = layers[item.name].spikes
        readout = cast(QuantReadout, self.blocks[self.plan.classifier.name])
        logits = readout.integer_run(x).expand(self.n_timesteps, -1, -1).sum(0)
        return IntegerRun(logits.to(torch.int64), layers)

    def freeze_statistics(self, frozen: bool) -> None:
        """Let training use the running statistics of the batch norms, and hold the weights of their layers.

        A weight code that flips moves the statistics; only the constants around them keep learning.
        """
        for block in self.blocks.values():
            if isinstance(block, FloatLayer | QuantLayer):
                block.statistics_frozen = frozen
                block.weight.requires_grad_(not frozen)

    @torch.no_grad()
    def settle_statistics(self, codes: torch.Tensor, batch_size: int) -> None:
        """Replace the running statistics by the plain mean over all batches of ``codes``, weights held still.

        Running statistics lag behind weights whose codes still flip: at 2 bits that costs tens of points.
        """
        layers = [block for block in self.blocks.values() if isinstance(block, FloatLayer | QuantLayer)]
        self.train()
        self.freeze_statistics(False)
        for index, batch in enumerate(torch.split(codes, batch_size, dim=-4)):
            for layer in layers:
                layer.momentum = 1.0 / (index + 1)
            self(batch)
        for layer in layers:
            layer.momentum = MOMENTUM

    def lif_names(self) -> tuple[str, ...]:
        """Names of the layers with neurons, in order."""
        return tuple(item.name for item in self.plan.layers if isinstance(item, Conv | Dense))

    def _with_time(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[None] if self.plan.input.static else codes


def sum_pool(codes: torch.Tensor, kernel: int) -> torch.Tensor:
    """Sums over kernel x kernel windows of (..., H, W); rows and columns that fill no window are left out."""
    height, width = codes.shape[-2] // kernel, codes.shape[-1] // kernel
    whole = codes[..., : height * kernel, : width * kernel]
    # Adding slices is about twice as fast as avg_pool2d on a CPU, and exact in any dtype.
    rows = reduce(torch.add, torch.unflatten(whole, -2, (height, kernel)).unbind(-2))
    return reduce(torch.add, torch.unflatten(rows, -1, (width, kernel)).unbind(-1))


def geometries(plan: Architecture) -> dict[str, LayerGeometry]:
    """Geometry of each weight layer, in order.

    Raises:
        NetworkError: a window does not fit its input.
    """
    channels, height, width = plan.input.shape
    code_max = 2 ** (plan.input.bits - 1) if plan.input.signed else 2**plan.input.bits - 1
    scale = 1.0 / code_max
    found: dict[str, LayerGeometry] = {}
    for item in plan.layers:
        if isinstance(item, SumPool):
            height, width = height // item.kernel, width // item.kernel
            code_max, scale = code_max * item.kernel**2, scale / item.kernel**2
        else:
            if isinstance(item, Conv):
                shape: tuple[int, ...] = (item.channels, channels, item.kernel, item.kernel)
                stride, padding = item.stride, item.padding
                height = (height + 2 * padding - item.kernel) // stride + 1
                width = (width + 2 * padding - item.kernel) // stride + 1
            else:
                outputs = item.features if isinstance(item, Dense) else item.classes
                shape, stride, padding = (outputs, channels * height * width), 1, 0
                height = width = 1
            found[item.name] = LayerGeometry(
                name=item.name,
                weight_shape=shape,
                stride=stride,
                padding=padding,
                code_max=code_max,
                input_scale=scale,
            )
            channels, code_max, scale = shape[0], 1, 1.0
        if min(height, width) < 1:
            raise NetworkError(f"network {plan.name}: {item.name}: its window does not fit the input; make it smaller")
    return found


def build_teacher(plan: Architecture, *, n_timesteps: int, neuron: NeuronSpec, seed: int) -> SpikingNet:
    """Full-precision network with seeded random weights."""
    blocks: dict[str, nn.Module] = {}
    for name, geometry in geometries(plan).items():
        last = name == plan.classifier.name
        blocks[name] = FloatReadout(geometry) if last else FloatLayer(geometry, neuron, n_timesteps)
    return _initialised(SpikingNet(plan, blocks, n_timesteps), seed)


def build_student(
    plan: Architecture, *, n_timesteps: int, neuron: NeuronSpec, quantisation: QuantisationSpec, seed: int
) -> SpikingNet:
    """Quantised network with seeded random weights; its parameters have the teacher's names and shapes."""
    blocks: dict[str, nn.Module] = {}
    for index, (name, geometry) in enumerate(geometries(plan).items()):
        if name == plan.classifier.name:
            blocks[name] = QuantReadout(geometry, weight_spec=quantisation.weight_spec("last"))
            continue
        spec = quantisation.weight_spec("first" if index == 0 else "inner")
        blocks[name] = QuantLayer(geometry, neuron, n_timesteps, weight_spec=spec, quantisation=quantisation)
    return _initialised(SpikingNet(plan, blocks, n_timesteps), seed)


def _initialised(net: SpikingNet, seed: int) -> SpikingNet:
    """Weights drawn from N(0, 2 / fan_in) (He et al. 2015) by a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in net.blocks.values():
            weight = cast(torch.Tensor, block.weight)
            weight.normal_(0.0, math.sqrt(2.0 / weight[0].numel()), generator=generator)
    return net
