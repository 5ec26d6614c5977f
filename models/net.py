"""Teacher and student of an architecture: the same layers in floating point, and quantised with an integer path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import nn

from spikeloop.simulator.errors import NetworkError

from .batch_norm import Peers
from .layers import (
    MOMENTUM,
    FloatLayer,
    FloatReadout,
    LayerOutput,
    QuantLayer,
    QuantReadout,
    QuantWeightLayer,
    WeightLayer,
)
from .lif import LifCodes, NeuronSpec
from .mint import MintLayer
from .neuron_constants import NeuronConstants
from .plan import (
    Add,
    Architecture,
    Classifier,
    Step,
    StreamConv,
    StreamLif,
    SumPool,
    check_student,
    geometries,
    neuron_steps,
)
from .quantisers import QuantisationSpec
from .residual import (
    FloatStreamConv,
    FloatStreamLif,
    PlainAdd,
    QuantStreamConv,
    QuantStreamLif,
    StreamAdd,
    stream_grid,
)


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
    """Teacher or student of one architecture; ``blocks`` holds one module for each step."""

    def __init__(self, plan: Architecture, blocks: Mapping[str, nn.Module], n_timesteps: int) -> None:
        super().__init__()
        self.plan = plan
        self.steps = plan.steps
        self.n_timesteps = n_timesteps
        self.blocks = nn.ModuleDict(blocks)
        self._peers: Peers | None = None

    @property
    def quantised(self) -> bool:
        """Whether this is a student, which has an ``integer_run``."""
        return isinstance(self.blocks[self.plan.classifier.name], QuantReadout)

    def forward(self, codes: torch.Tensor) -> NetOutput:
        """Output for input codes (B, C, H, W) if the input is static, else (T, B, C, H, W)."""
        values = self.first_values(codes)
        outputs: list[LayerOutput] = []
        for step in self.steps:
            value = self.blocks[step.name](*(values[name] for name in step.sources))
            if isinstance(value, LayerOutput):
                outputs.append(value)
            values[step.name] = value.spikes if isinstance(value, LayerOutput) else value
        logits = values[self.plan.classifier.name].expand(self.n_timesteps, -1, -1)
        return NetOutput(logits, tuple(out.membrane for out in outputs), tuple(out.spikes for out in outputs))

    @torch.no_grad()
    def integer_run(self, codes: torch.Tensor) -> IntegerRun:
        """The exported network, computed with torch convolutions on codes (a student only).

        Args:
            codes: as for ``forward``.
        """
        values = self.first_values(codes)
        layers: dict[str, LifCodes] = {}
        for step in self.steps:
            value = self.integer_step(step, values)
            if isinstance(value, LifCodes):
                layers[step.name] = value
        logits = values[self.plan.classifier.name].expand(self.n_timesteps, -1, -1).sum(0)
        return IntegerRun(logits.to(torch.int64), layers)

    def first_values(self, codes: torch.Tensor) -> dict[str, torch.Tensor]:
        """The network input with a time axis, by the name of its node; whole numbers become float32."""
        codes = codes if codes.is_floating_point() else codes.to(torch.float32)
        return {self.plan.input.name: codes[None] if self.plan.input.static else codes}

    def integer_step(self, step: Step, values: dict[str, torch.Tensor]) -> LifCodes | torch.Tensor:
        """One step on integers; what it sends is entered in ``values``."""
        block = cast(_OnIntegers, self.blocks[step.name])
        value = block.integer_run(*(values[name] for name in step.sources))
        values[step.name] = sent_by(value)
        return value

    def freeze_statistics(self, frozen: bool) -> None:
        """Let training use the running statistics of the batch norms, and hold the weights of their layers.

        A weight code that flips moves the statistics, and so does a leak; only the constants around them keep learning.
        """
        for block in self.blocks.values():
            if isinstance(block, WeightLayer):
                block.statistics_frozen = frozen
                block.weight.requires_grad_(not frozen)
                if isinstance(block, QuantWeightLayer):
                    block.quantiser.requires_grad_(not frozen)
        for module in self.modules():
            if isinstance(module, NeuronConstants):
                module.hold_leak(frozen)

    def share_batches(self, peers: Peers | None) -> None:
        """Take batch statistics over the parts of all these processes from now on; None: of what is here."""
        self._peers = peers
        for block in self.blocks.values():
            if isinstance(block, WeightLayer):
                block.peers = peers

    def start_from(self, teacher: SpikingNet) -> None:
        """Take the teacher's parameters; what only a student has (learned steps) starts from the new weights.

        Raises:
            NetworkError: the teacher has a parameter that this network lacks.
        """
        _, unknown = self.load_state_dict(teacher.state_dict(), strict=False)
        if unknown:
            raise NetworkError(
                f"network {self.plan.name}: the teacher also learns {unknown[0]}; give both one 'neuron'"
            )
        self.start_steps()

    def start_steps(self) -> None:
        """Set every learned step to its first value for the present weights."""
        for block in self.blocks.values():
            if isinstance(block, QuantWeightLayer | QuantReadout):
                block.start_step()

    @torch.no_grad()
    def settle_statistics(self, codes: torch.Tensor, batch_size: int) -> None:
        """Replace the running statistics by the plain mean over all batches of ``codes``, weights held still.

        Running statistics lag behind weights whose codes still flip: at 2 bits that costs tens of points. Processes
        that share batches each take their part of every one.
        """
        layers = [block for block in self.blocks.values() if isinstance(block, WeightLayer)]
        self.train()
        self.freeze_statistics(False)
        for index, batch in enumerate(torch.split(codes, batch_size, dim=-4)):
            for layer in layers:
                layer.momentum = 1.0 / (index + 1)
            if self._peers is not None:
                batch = batch[..., self._peers.part(batch.shape[-4]), :, :, :]
            self(batch.to(layers[0].weight.device))
        for layer in layers:
            layer.momentum = MOMENTUM

    def lif_names(self) -> tuple[str, ...]:
        """Names of the steps with neurons, in order."""
        return neuron_steps(self.plan)


def sent_by(value: LifCodes | torch.Tensor) -> torch.Tensor:
    """What travels on: the spikes of neurons, or the value itself."""
    return value.spikes if isinstance(value, LifCodes) else value


class _OnIntegers(Protocol):
    """A module of a student."""

    def integer_run(self, *codes: torch.Tensor) -> LifCodes | torch.Tensor: ...


class Pool(nn.Module):
    """Sum over windows; ``kernel`` is the stride too."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Window sums of codes (T, B, C, H, W)."""
        return sum_pool(codes, self.kernel)

    def integer_run(self, codes: torch.Tensor) -> torch.Tensor:
        """Window sums of integers."""
        return sum_pool(codes, self.kernel)


def sum_pool(codes: torch.Tensor, kernel: int) -> torch.Tensor:
    """Sums over kernel x kernel windows of (..., H, W); rows and columns that fill no window are left out."""
    sums: torch.Tensor = _SumPool.apply(codes, kernel)  # type: ignore[no-untyped-call]
    return sums


class _SumPool(torch.autograd.Function):
    """Adding slices is about twice as fast as avg_pool2d on a CPU, and exact in any dtype; so is filling them."""

    @staticmethod
    def forward(ctx: Any, codes: torch.Tensor, kernel: int) -> torch.Tensor:
        ctx.shape, ctx.kernel = codes.shape, kernel
        height, width = codes.shape[-2] // kernel, codes.shape[-1] // kernel
        whole = codes[..., : height * kernel, : width * kernel]
        rows = reduce(torch.add, torch.unflatten(whole, -2, (height, kernel)).unbind(-2))
        return reduce(torch.add, torch.unflatten(rows, -1, (width, kernel)).unbind(-1))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        kernel, (height, width) = ctx.kernel, ctx.shape[-2:]
        fits = height % kernel == 0 and width % kernel == 0
        found = grads[0].new_empty(ctx.shape) if fits else grads[0].new_zeros(ctx.shape)
        for row in range(kernel):
            for column in range(kernel):
                found[..., row : height - height % kernel : kernel, column : width - width % kernel : kernel] = grads[0]
        return found, None


def build_teacher(plan: Architecture, *, n_timesteps: int, neuron: NeuronSpec, seed: int) -> SpikingNet:
    """Full-precision network with seeded random weights."""
    geometry = geometries(plan)
    blocks: dict[str, nn.Module] = {}
    for step in plan.steps:
        name, item = step.name, step.plan
        if isinstance(item, SumPool):
            blocks[name] = Pool(item.kernel)
        elif isinstance(item, Add):
            blocks[name] = PlainAdd()
        elif isinstance(item, StreamLif):
            blocks[name] = FloatStreamLif(neuron, n_timesteps)
        elif isinstance(item, StreamConv):
            blocks[name] = FloatStreamConv(geometry[name])
        elif isinstance(item, Classifier):
            blocks[name] = FloatReadout(geometry[name])
        else:
            blocks[name] = FloatLayer(geometry[name], neuron, n_timesteps)
    return _initialised(SpikingNet(plan, blocks, n_timesteps), seed)


def build_student(
    plan: Architecture, *, n_timesteps: int, neuron: NeuronSpec, quantisation: QuantisationSpec, seed: int
) -> SpikingNet:
    """Quantised network with seeded random weights; its parameters have the teacher's names and shapes.

    Raises:
        NetworkError: ``layer_bits`` names a layer that the network does not have, or the weight quantiser does not
            go with its residual stream.
    """
    geometry = geometries(plan)
    check_student(plan, quantisation)
    blocks: dict[str, nn.Module] = {}
    for step in plan.steps:
        name, item = step.name, step.plan
        spec = quantisation.weight_spec("first" if step.sources[0] == plan.input.name else "inner", name)
        if isinstance(item, SumPool):
            blocks[name] = Pool(item.kernel)
        elif isinstance(item, Add):
            blocks[name] = StreamAdd(stream_grid(quantisation)) if item.mode == "stream" else PlainAdd()
        elif isinstance(item, StreamLif):
            blocks[name] = QuantStreamLif(name, neuron, n_timesteps, quantisation)
        elif isinstance(item, StreamConv):
            blocks[name] = QuantStreamConv(geometry[name], weight_spec=spec, quantisation=quantisation)
        elif isinstance(item, Classifier):
            blocks[name] = QuantReadout(geometry[name], weight_spec=quantisation.weight_spec("last", name))
        else:
            layer = MintLayer if quantisation.shares_step(step.sources[0] == plan.input.name) else QuantLayer
            blocks[name] = layer(geometry[name], neuron, n_timesteps, weight_spec=spec, quantisation=quantisation)
    return _initialised(SpikingNet(plan, blocks, n_timesteps), seed)


def _initialised(net: SpikingNet, seed: int) -> SpikingNet:
    """Weights drawn from N(0, 2 / fan_in) (He et al. 2015) by a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in net.blocks.values():
            if not isinstance(block, WeightLayer | FloatReadout):
                continue
            weight = block.weight
            weight.normal_(0.0, math.sqrt(2.0 / weight[0].numel()), generator=generator)
    net.start_steps()
    return net
