"""Lowering: each weight node becomes a matrix layer with the nodes that follow it up to the next weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import MappingError
from ..network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    Node,
    ReadoutNode,
    Shape,
    SumPoolNode,
    WeightNode,
    WeightScheme,
)
from .exact import check_lif_exact, check_sum_exact, check_total_exact

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class InputFormat:
    """Codes that reach a layer: ``bits`` planes, magnitude at most ``code_max``."""

    bits: int
    signed: bool
    code_max: int
    #: The same codes at every step, so that the layer's sums are computed once per image.
    static: bool

    @property
    def n_planes(self) -> int:
        """Bit-serial reads of one vector."""
        return self.bits


class Signal(NamedTuple):
    """Where a value comes from: op ``op`` of layer ``layer``; layer -1 is the network input (op 0)."""

    layer: int
    op: int


#: The network input as a signal.
INPUT = Signal(-1, 0)
#: Widest input of a layer: its windows are int32.
MAX_INPUT_BITS = 31
OpKind = Literal["norm", "add", "lif", "pool", "readout"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operation of a layer's tail, done position by position at the home of the layer's outputs.

    Attributes:
        name: network node (a norm without batch norm: the weight node).
        sources: ops of this layer that feed it, ascending; () for op 0.
        residuals: of an add: values that arrive from other layers, in edge order.
        shape: (C, H, W) of its output.
        bits, signed: format of one output value; ``code_max`` is its largest magnitude.
    """

    kind: OpKind
    name: str
    node: BatchNormNode | AddNode | LifNode | SumPoolNode | ReadoutNode | None
    sources: tuple[int, ...]
    residuals: tuple[Signal, ...]
    shape: Shape
    bits: int
    signed: bool
    code_max: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LoweredLayer:
    """One matrix layer: weights, input format, and what happens to its sums.

    Attributes:
        index: position among the layers, from 0.
        name: name of the weight node.
        kind: ``conv`` or ``linear``.
        matrix: (groups, rows, outputs) int64; rows = input channel x kernel position.
        in_shape: (C, H, W) at the weight node.
        out_shape: (C, H, W) of the sums; H*W output positions.
        kernel: (K_h, K_w), stride, padding: the geometry of the windows.
        psum_bound: largest magnitude that a sum can reach.
        input_signal: what its crossbars read.
        ops: what its homes do with the sums, each after its sources; ``ops[0]`` is always the norm (without a node if
            there is no batch norm), the classifier's last one the readout.
    """

    index: int
    name: str
    kind: Literal["conv", "linear"]
    matrix: IntArray
    weight_bits: int
    weight_scheme: WeightScheme
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int]
    stride: int
    padding: int
    input: InputFormat
    psum_bound: int
    input_signal: Signal
    ops: tuple[Op, ...]

    @property
    def batch_norm(self) -> BatchNormNode | None:
        """Batch norm of the sums."""
        node = self.ops[0].node
        return node if isinstance(node, BatchNormNode) else None

    @property
    def lifs(self) -> tuple[LifNode, ...]:
        """Neurons of the tail, in op order."""
        return tuple(op.node for op in self.ops if isinstance(op.node, LifNode))

    @property
    def pools(self) -> tuple[SumPoolNode, ...]:
        """Pools of the tail, in op order."""
        return tuple(op.node for op in self.ops if isinstance(op.node, SumPoolNode))

    @property
    def is_readout(self) -> bool:
        """Whether this is the classifier."""
        return self.ops[-1].kind == "readout"

    @property
    def n_groups(self) -> int:
        """Convolution groups; each has crossbars of its own."""
        return int(self.matrix.shape[0])

    @property
    def n_rows(self) -> int:
        """Logical rows of a group."""
        return int(self.matrix.shape[1])

    @property
    def n_outputs(self) -> int:
        """Output channels of a group."""
        return int(self.matrix.shape[2])

    @property
    def n_positions(self) -> int:
        """Output positions of one step."""
        return self.out_shape[1] * self.out_shape[2]

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of one run: positions x rows x outputs, zero padding included."""
        return self.n_positions * self.n_groups * self.n_rows * self.n_outputs

    @property
    def psum_bits(self) -> int:
        """Bits of a signed register that holds every sum."""
        return self.psum_bound.bit_length() + 1


def lower_network(network: Network, *, exact: bool = True) -> tuple[LoweredLayer, ...]:
    """Layers in execution order, each with the ops that its homes do.

    An op belongs to the layer of its source; a residual add to the highest layer that feeds it. With ``exact=False``
    sums may be wider than float64 holds, which is enough to price a network but not to run it.

    Raises:
        NetworkError: a sum that float64 could not hold exactly; the layer is named.
        MappingError: a graph that tiles cannot compute; the node is named.
    """
    # A sweep maps one network on many designs; lowering depends on the network alone, which never changes.
    known = _LOWERED.setdefault(network, {})
    if exact not in known:
        known[exact] = _Lowering(network, exact=exact).layers()
    return known[exact]


#: network -> whether its sums were checked -> its layers
_LOWERED: WeakKeyDictionary[Network, dict[bool, tuple[LoweredLayer, ...]]] = WeakKeyDictionary()


class _Lowering:
    """One walk over the nodes of a network, in topological order."""

    def __init__(self, network: Network, *, exact: bool) -> None:
        self.network = network
        self.exact = exact
        self.weights: list[WeightNode] = []
        self.matrices: list[IntArray] = []
        self.ops: list[list[Op]] = []
        self.inputs: list[Signal] = []
        self.bounds: list[int] = []
        #: node -> its output
        self.signal: dict[str, Signal] = {}

    def layers(self) -> tuple[LoweredLayer, ...]:
        for node in self.network.order():
            if isinstance(node, InputNode):
                self.signal[node.name] = INPUT
            elif isinstance(node, FlattenNode):
                self._flatten(node)
            elif isinstance(node, ConvNode | LinearNode):
                self._weights(node)
            elif isinstance(node, BatchNormNode):
                self._batch_norm(node)
            else:
                self._op(node)
        return tuple(self._layer(index) for index in range(len(self.weights)))

    def _where(self, node: Node) -> str:
        return f"network {self.network.name}: {node.name}"

    def _source(self, node: Node) -> Signal:
        return self.signal[self.network.sources(node.name)[0].name]

    def _op_of(self, signal: Signal) -> Op | None:
        return None if signal == INPUT else self.ops[signal.layer][signal.op]

    def _flatten(self, node: FlattenNode) -> None:
        """No op: it only renames positions, which a linear layer does not care about."""
        for consumer in self.network.consumers(node.name):
            if not isinstance(consumer, LinearNode | FlattenNode):
                raise MappingError(
                    f"{self._where(consumer)} reads {node.name}; a flattened map can only be read by a linear node, "
                    f"so let {consumer.name} read what {node.name} reads"
                )
        self.signal[node.name] = self._source(node)

    def _weights(self, node: WeightNode) -> None:
        signal = self._source(node)
        source = self._op_of(signal)
        if source is not None and source.kind in ("norm", "readout"):
            # Wordlines take codes of a stated width: spikes, their sums, or a stream that saturates.
            raise MappingError(
                f"{self._where(node)} reads {source.name}, the sums of another layer; put a LIF or a residual add "
                "(whose stream_bits limit the input) between them"
            )
        if self._format(signal).bits > MAX_INPUT_BITS:
            raise MappingError(
                f"{self._where(node)} reads codes of {self._format(signal).bits} bits; wordlines take at most "
                f"{MAX_INPUT_BITS} bit planes, so lower stream_bits"
            )
        index = len(self.weights)
        matrix = weight_matrix(node)
        bound = int(np.abs(matrix).sum(axis=1).max()) * self._format(signal).code_max
        check_sum_exact(bound, None, self._where(node), exact=self.exact)
        self.weights.append(node)
        self.matrices.append(matrix)
        self.inputs.append(signal)
        self.bounds.append(bound)
        norm = Op(
            kind="norm",
            name=node.name,
            node=None,
            sources=(),
            residuals=(),
            shape=self.network.shapes[node.name],
            bits=bound.bit_length() + 1,
            signed=True,
            code_max=bound,
        )
        self.ops.append([norm])
        self.signal[node.name] = Signal(index, 0)

    def _batch_norm(self, node: BatchNormNode) -> None:
        source = self.network.sources(node.name)[0]
        if not isinstance(source, ConvNode | LinearNode):
            raise MappingError(
                f"{self._where(node)} follows {source.name}; a tile applies batch norm to the sums of a conv or "
                "linear node, so put it behind one"
            )
        if len(self.network.consumers(source.name)) > 1:
            raise MappingError(
                f"{self._where(node)}: {source.name} feeds other nodes beside its batch norm; let them read {node.name}"
            )
        signal = self._source(node)
        current = check_sum_exact(self.bounds[signal.layer], node, self._where(source), exact=self.exact)
        norm = self.ops[signal.layer][0]
        self.ops[signal.layer][0] = replace(
            norm, name=node.name, node=node, bits=current.bit_length() + 1, code_max=current
        )
        self.signal[node.name] = signal

    def _op(self, node: AddNode | LifNode | SumPoolNode | ReadoutNode) -> None:
        names = [source.name for source in self.network.sources(node.name)]
        signals = [self.signal[name] for name in names]
        for name, signal in zip(names, signals, strict=True):
            self._check_source(node, name, signal)
        owner = max(signal.layer for signal in signals)
        inner = sorted(signal.op for signal in signals if signal.layer == owner)
        bits, signed, code_max = self._value(node, [self.ops[s.layer][s.op] for s in signals])
        self.signal[node.name] = Signal(owner, len(self.ops[owner]))
        self.ops[owner].append(
            Op(
                kind=_OP_KINDS[type(node)],
                name=node.name,
                node=node,
                sources=tuple(inner),
                residuals=tuple(signal for signal in signals if signal.layer != owner),
                shape=self.network.shapes[node.name],
                bits=bits,
                signed=signed,
                code_max=code_max,
            )
        )

    def _check_source(self, node: Node, name: str, signal: Signal) -> None:
        """Refuse what a home cannot do with its source."""
        source = self._op_of(signal)
        got = "input" if source is None else _mode(source)
        wanted = node.mode if isinstance(node, AddNode) else _OP_KINDS[type(node)]
        allowed = _READS[wanted]
        if got not in allowed:
            raise MappingError(
                f"{self._where(node)} reads {name}, {_VALUES[got]}; {_READERS[wanted]} reads "
                f"{' or '.join(_VALUES[item] for item in allowed)}, so change the order of the nodes"
            )

    def _value(self, node: AddNode | LifNode | SumPoolNode | ReadoutNode, sources: list[Op]) -> tuple[int, bool, int]:
        """Bits, sign and largest magnitude of an op's output; refuses what is not exact."""
        where = self._where(node)
        if isinstance(node, LifNode):
            check_lif_exact(sources[0].code_max, node, where, exact=self.exact)
            return 1, False, 1
        if isinstance(node, SumPoolNode):
            top = sources[0].code_max * node.kernel**2
            # -2^(b-1) is a code of a signed stream, +2^(b-1) is not, so its sums need no spare bit.
            return (top - 1).bit_length() + 1 if sources[0].signed else top.bit_length(), sources[0].signed, top
        total = sum(source.code_max for source in sources)
        check_total_exact(total, node, where, exact=self.exact)
        if isinstance(node, ReadoutNode):
            return total.bit_length() + 1, True, total
        if node.mode == "sew":
            return total.bit_length(), False, total
        return node.stream_bits, True, 1 << (node.stream_bits - 1)

    def _format(self, signal: Signal) -> InputFormat:
        """Codes that reach the crossbars."""
        source = self._op_of(signal)
        if source is not None:
            return InputFormat(bits=source.bits, signed=source.signed, code_max=source.code_max, static=False)
        node = self.network.input
        top = 2 ** (node.bits - 1) if node.signed else 2**node.bits - 1
        return InputFormat(bits=node.bits, signed=node.signed, code_max=top, static=node.static)

    def _layer(self, index: int) -> LoweredLayer:
        node, signal = self.weights[index], self.inputs[index]
        conv = node if isinstance(node, ConvNode) else None
        return LoweredLayer(
            index=index,
            name=node.name,
            kind="conv" if conv else "linear",
            matrix=self.matrices[index],
            weight_bits=node.weight_bits,
            weight_scheme=node.weight_scheme,
            in_shape=self.network.shapes[self.network.sources(node.name)[0].name],
            out_shape=self.network.shapes[node.name],
            kernel=(int(conv.weight.shape[2]), int(conv.weight.shape[3])) if conv else (1, 1),
            stride=conv.stride if conv else 1,
            padding=conv.padding if conv else 0,
            input=self._format(signal),
            psum_bound=self.bounds[index],
            input_signal=signal,
            ops=tuple(self.ops[index]),
        )


_OP_KINDS: dict[type, OpKind] = {AddNode: "add", LifNode: "lif", SumPoolNode: "pool", ReadoutNode: "readout"}
#: What a value is, in words.
_VALUES = {
    "input": "the network input",
    "norm": "sums behind weights or batch norm",
    "stream": "a residual stream",
    "sew": "a sum of spikes",
    "lif": "spikes",
    "pool": "pooled values",
    "readout": "the classifier's output",
}
_READERS = {
    "lif": "a LIF",
    "stream": "an add of mode stream",
    "sew": "an add of mode sew",
    "pool": "a pool",
    "readout": "the readout",
}
#: What each op reads: a LIF currents, a stream add currents and streams, a sum of spikes spikes, ...
_READS: dict[str, tuple[str, ...]] = {
    "lif": ("norm", "stream"),
    "stream": ("norm", "stream"),
    "sew": ("lif", "sew"),
    "pool": ("lif", "sew", "stream"),
    "readout": ("norm",),
}


def _mode(op: Op) -> str:
    return op.node.mode if isinstance(op.node, AddNode) else op.kind


def weight_matrix(node: WeightNode) -> IntArray:
    """Weights as (groups, rows, outputs), rows = input channel x kernel position."""
    weight = node.weight.astype(np.int64)
    if isinstance(node, LinearNode):
        return np.ascontiguousarray(weight.T[None])
    per_group = weight.reshape(node.groups, weight.shape[0] // node.groups, -1)
    return np.ascontiguousarray(per_group.transpose(0, 2, 1))
