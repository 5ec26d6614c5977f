"""Plans of networks: a short list of layers and blocks, spelled out into steps that name what feeds them.

Residual blocks come in two kinds. *Membrane shortcut* (MS-ResNet; Hu et al., arXiv 2112.08954): currents add up on an
integer residual stream, which neurons read. *Spike-element-wise* (SEW-ResNet with ADD; Fang et al.,
arXiv 2102.04159): the spikes of a block's end and of its beginning add up to small integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import InputNode

from .layers import LayerGeometry
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
class StreamConv:
    """Convolution and batch norm, whose currents go onto the residual stream."""

    name: str
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamLif:
    """LIF that reads the residual stream."""

    name: str


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
class Add:
    """Sum of several steps: of currents onto the ``stream``, or of spikes (``sew``).

    On a stream the sum saturates. With a single source it only does that: the value that then travels to later
    blocks has the bits of the stream, not those of a current.
    """

    name: str
    mode: Literal["stream", "sew"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """Linear layer without LIF at the end; its logits are summed over the steps."""

    name: str
    classes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MembraneBlock:
    """MS-ResNet block: LIF-conv-BN-LIF-conv-BN added to the stream.

    Where the map or its channels change, the shortcut is a 1x1 convolution with batch norm. It reads the spikes of
    the block's first LIF, not the stream itself as in the paper: crossbars then read one bit plane, not
    ``stream_bits``.
    """

    name: str
    channels: int
    stride: int = 1

    def steps(self, source: str, channels: int) -> tuple[Step, ...]:
        """Steps behind ``source`` of so many channels; the last one is the block's output."""
        name, stride = self.name, self.stride
        lif = Step(StreamLif(name=f"{name}_in"), (source,))
        conv1 = Step(Conv(name=f"{name}_conv1", channels=self.channels, stride=stride), (lif.name,))
        conv2 = Step(StreamConv(name=f"{name}_conv2", channels=self.channels), (conv1.name,))
        if stride == 1 and channels == self.channels:
            return lif, conv1, conv2, Step(Add(name=f"{name}_add", mode="stream"), (source, conv2.name))
        plan = StreamConv(name=f"{name}_shortcut", channels=self.channels, kernel=1, stride=stride, padding=0)
        shortcut = Step(plan, (lif.name,))
        saved = Step(Add(name=f"{name}_shortcut_add", mode="stream"), (shortcut.name,))
        added = Step(Add(name=f"{name}_add", mode="stream"), (saved.name, conv2.name))
        return lif, shortcut, saved, conv1, conv2, added


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeBlock:
    """SEW-ResNet block with ADD: conv-BN-LIF-conv-BN-LIF, its spikes added to those that entered the block.

    Where the map or its channels change, the shortcut is a 1x1 convolution with batch norm and LIF.
    """

    name: str
    channels: int
    stride: int = 1

    def steps(self, source: str, channels: int) -> tuple[Step, ...]:
        """Steps behind ``source`` of so many channels; the last one is the block's output."""
        name, stride = self.name, self.stride
        conv1 = Step(Conv(name=f"{name}_conv1", channels=self.channels, stride=stride), (source,))
        conv2 = Step(Conv(name=f"{name}_conv2", channels=self.channels), (conv1.name,))
        if stride == 1 and channels == self.channels:
            return conv1, conv2, Step(Add(name=f"{name}_add", mode="sew"), (source, conv2.name))
        plan = Conv(name=f"{name}_shortcut", channels=self.channels, kernel=1, stride=stride, padding=0)
        shortcut = Step(plan, (source,))
        return shortcut, conv1, conv2, Step(Add(name=f"{name}_add", mode="sew"), (shortcut.name, conv2.name))


StepPlan = Conv | StreamConv | StreamLif | Dense | SumPool | Add | Classifier
Block = MembraneBlock | SpikeBlock
LayerPlan = StepPlan | Block
WeightPlan = Conv | StreamConv | Dense | Classifier


class Step(NamedTuple):
    """One computation of a network and the steps that feed it (or the input node)."""

    plan: StepPlan
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name, unique in the network."""
        return self.plan.name


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

    @property
    def steps(self) -> tuple[Step, ...]:
        """All computations, each after those that feed it."""
        found: list[Step] = []
        last, channels = self.input.name, self.input.shape[0]
        for item in self.layers:
            if isinstance(item, MembraneBlock | SpikeBlock):
                found += item.steps(last, channels)
            else:
                found.append(Step(item, (last,)))
            last, channels = found[-1].name, getattr(item, "channels", channels)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """What a step puts out.

    Attributes:
        shape: (C, H, W).
        on_stream: currents of the residual stream, else codes.
        code_max: largest magnitude of a code.
        scale: real value of code 1.
        is_map: positions in rows and columns; False behind a linear layer.
    """

    shape: tuple[int, int, int]
    on_stream: bool = False
    code_max: int = 1
    scale: float = 1.0
    is_map: bool = True


def values(plan: Architecture) -> dict[str, Value]:
    """Output of the input node and of every step.

    Raises:
        NetworkError: a window does not fit its input, or a step cannot read what feeds it.
    """
    top = 2 ** (plan.input.bits - 1) if plan.input.signed else 2**plan.input.bits - 1
    found = {plan.input.name: Value(shape=plan.input.shape, code_max=top, scale=1.0 / top)}
    for step in plan.steps:
        where = f"network {plan.name}: {step.name}"
        inputs = [found[name] for name in step.sources]
        _check_inputs(step, inputs, where)
        found[step.name] = _output(step.plan, inputs)
        if min(found[step.name].shape) < 1:
            raise NetworkError(f"{where}: its window does not fit the input; make it smaller")
    return found


def _check_inputs(step: Step, inputs: list[Value], where: str) -> None:
    wants_stream = isinstance(step.plan, StreamLif) or (isinstance(step.plan, Add) and step.plan.mode == "stream")
    for name, value in zip(step.sources, inputs, strict=True):
        if value.on_stream != wants_stream:
            got, wanted = ("the residual stream", "codes") if value.on_stream else ("codes", "the residual stream")
            cure = "a StreamLif" if value.on_stream else "a StreamConv"
            raise NetworkError(
                f"{where} reads {name}, which gives {got}; it takes {wanted}, so put {cure} between them"
            )
        if value.shape != inputs[0].shape:
            raise NetworkError(f"{where}: {name} has shape {value.shape}, {step.sources[0]} has {inputs[0].shape}")
        if isinstance(step.plan, Add) and value.scale != inputs[0].scale:
            raise NetworkError(
                f"{where} adds {name} and {step.sources[0]}, pooled over unequal windows; pool their sum"
            )


def _output(plan: StepPlan, inputs: list[Value]) -> Value:
    channels, height, width = inputs[0].shape
    if isinstance(plan, StreamLif):
        return Value(shape=inputs[0].shape)
    if isinstance(plan, Add):
        return replace(inputs[0], code_max=sum(value.code_max for value in inputs))
    if isinstance(plan, SumPool):
        area = plan.kernel**2
        return replace(
            inputs[0],
            shape=(channels, height // plan.kernel, width // plan.kernel),
            code_max=inputs[0].code_max * area,
            scale=inputs[0].scale / area,
        )
    if isinstance(plan, Dense | Classifier):
        return Value(shape=(plan.features if isinstance(plan, Dense) else plan.classes, 1, 1), is_map=False)
    rows, columns = ((size + 2 * plan.padding - plan.kernel) // plan.stride + 1 for size in (height, width))
    return Value(shape=(plan.channels, rows, columns), on_stream=isinstance(plan, StreamConv))


def geometries(plan: Architecture) -> dict[str, LayerGeometry]:
    """Geometry of each weight layer, in order.

    Raises:
        NetworkError: as for ``values``.
    """
    table = values(plan)
    return {
        step.name: _geometry(step.plan, table[step.sources[0]], table[step.name].shape[0])
        for step in plan.steps
        if isinstance(step.plan, WeightPlan)
    }


def neuron_steps(plan: Architecture) -> tuple[str, ...]:
    """Names of the steps with neurons, in order."""
    return tuple(step.name for step in plan.steps if isinstance(step.plan, Conv | Dense | StreamLif))


def check_student(plan: Architecture, quantisation: QuantisationSpec) -> None:
    """Refuse a quantisation that the network cannot have.

    Raises:
        NetworkError: a width for a layer that is not there, or MINT on a residual stream; the sentence says what is
            allowed.
    """
    known = geometries(plan)
    for name in quantisation.layer_bits:
        if name not in known:
            raise NetworkError(
                f"quantisation.layer_bits: network {plan.name} has no layer '{name}'; allowed: {', '.join(known)}"
            )
    neurons = neuron_steps(plan)
    for name in quantisation.membrane_layer_bits:
        if name not in neurons:
            raise NetworkError(
                f"quantisation.membrane_layer_bits: network {plan.name} has no neurons '{name}'; allowed: "
                f"{', '.join(neurons)}"
            )
    if quantisation.weight_quantiser == "mint" and any(isinstance(step.plan, StreamLif) for step in plan.steps):
        raise NetworkError(
            f"quantisation.weight_quantiser: mint gives every layer a step of its own, which the residual stream of "
            f"network {plan.name} cannot have; use uniform or rescaw, or a network without a stream"
        )


def _geometry(plan: WeightPlan, source: Value, outputs: int) -> LayerGeometry:
    channels, height, width = source.shape
    shape: tuple[int, ...] = (outputs, channels * height * width)
    stride, padding = 1, 0
    if isinstance(plan, Conv | StreamConv):
        shape, stride, padding = (outputs, channels, plan.kernel, plan.kernel), plan.stride, plan.padding
    return LayerGeometry(
        name=plan.name,
        weight_shape=shape,
        stride=stride,
        padding=padding,
        code_max=source.code_max,
        input_scale=source.scale,
    )
