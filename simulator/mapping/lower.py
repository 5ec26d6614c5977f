"""Lowering: each weight node becomes a matrix layer with the nodes that follow it up to the next weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import MappingError, NetworkError
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
from ..network.validate import EXACT_LIMIT

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
        source: index of the layer whose output feeds this one, None for the network input.
        pool: pooling between this layer's spikes and the next layer.
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
    source: int | None
    batch_norm: BatchNormNode | None
    lif: LifNode | None
    pool: SumPoolNode | None
    sent_shape: Shape
    is_readout: bool

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


def lower_network(network: Network) -> tuple[LoweredLayer, ...]:
    """Layers in execution order.

    Raises:
        NetworkError: a sum that float64 could not hold exactly; the layer is named.
        MappingError: a graph that this version cannot place (a residual add, a branch).
    """
    layers: list[LoweredLayer] = []
    made_by: dict[str, int] = {}
    for node in network.order():
        if isinstance(node, AddNode):
            raise MappingError(
                f"network {network.name}: {node.name}: residual adds cannot be mapped to tiles in this version; "
                "use a network that is a chain"
            )
        if isinstance(node, ConvNode | LinearNode):
            layer = _lower(network, node, len(layers), made_by)
            layers.append(layer)
            made_by[node.name] = layer.index
    if not layers:
        raise MappingError(f"network {network.name}: no conv or linear node, so nothing lies on crossbars; add one")
    return tuple(layers)


def _lower(network: Network, node: WeightNode, index: int, made_by: dict[str, int]) -> LoweredLayer:
    where = f"network {network.name}: {node.name}"
    source_node, input_format = input_format_of(network, node)
    tail = _tail(network, node)
    _check_order(tail, where)
    matrix = weight_matrix(node)
    in_shape = network.shapes[network.sources(node.name)[0].name]
    bound = int(np.abs(matrix).sum(axis=1).max()) * input_format.code_max
    batch_norm = _only(tail, BatchNormNode)
    pool = _only(tail, SumPoolNode)
    lif = _only(tail, LifNode)
    check_exact(bound, batch_norm, lif, where)
    sent = pool or lif or node
    conv = node if isinstance(node, ConvNode) else None
    return LoweredLayer(
        index=index,
        name=node.name,
        kind="conv" if conv else "linear",
        matrix=matrix,
        weight_bits=node.weight_bits,
        weight_scheme=node.weight_scheme,
        in_shape=in_shape,
        out_shape=network.shapes[node.name],
        kernel=(int(conv.weight.shape[2]), int(conv.weight.shape[3])) if conv else (1, 1),
        stride=conv.stride if conv else 1,
        padding=conv.padding if conv else 0,
        input=input_format,
        psum_bound=bound,
        source=made_by.get(source_node) if source_node else None,
        batch_norm=batch_norm,
        lif=lif,
        pool=pool,
        sent_shape=network.shapes[sent.name],
        is_readout=any(isinstance(item, ReadoutNode) for item in tail),
    )


def weight_matrix(node: WeightNode) -> IntArray:
    """Weights as (groups, rows, outputs), rows = input channel x kernel position."""
    weight = node.weight.astype(np.int64)
    if isinstance(node, LinearNode):
        return np.ascontiguousarray(weight.T[None])
    per_group = weight.reshape(node.groups, weight.shape[0] // node.groups, -1)
    return np.ascontiguousarray(per_group.transpose(0, 2, 1))


def input_format_of(network: Network, node: WeightNode) -> tuple[str | None, InputFormat]:
    """Name of the weight node upstream (None: the network input) and the codes that arrive from it.

    Raises:
        MappingError: a source that is neither spikes nor the input.
    """
    name, gain = node.name, 1
    while True:
        source = network.sources(name)[0]
        if isinstance(source, SumPoolNode):
            gain *= source.kernel**2
        elif isinstance(source, InputNode):
            code_max = 2**source.bits - 1 if not source.signed else 2 ** (source.bits - 1)
            # Two's complement reaches -2^(bits-1), so the largest magnitude of a signed code needs one bit less.
            bits = (code_max * gain - int(source.signed)).bit_length() + int(source.signed)
            return None, InputFormat(bits=bits, signed=source.signed, code_max=code_max * gain, static=source.static)
        elif isinstance(source, LifNode):
            weights = _upstream_weights(network, source)
            return weights, InputFormat(bits=gain.bit_length(), signed=False, code_max=gain, static=False)
        elif not isinstance(source, FlattenNode):
            raise MappingError(
                f"network {network.name}: {node.name} reads {source.name}, which holds no spikes; "
                "put a LIF between two weight layers"
            )
        name = source.name


def _upstream_weights(network: Network, node: Node) -> str:
    while not isinstance(node, ConvNode | LinearNode):
        node = network.sources(node.name)[0]
    return node.name


def _tail(network: Network, node: WeightNode) -> list[Node]:
    tail: list[Node] = []
    current: Node = node
    while True:
        consumers = network.consumers(current.name)
        if len(consumers) > 1:
            raise MappingError(
                f"network {network.name}: {current.name} feeds {len(consumers)} nodes; branches cannot be mapped "
                "to tiles in this version; use a network that is a chain"
            )
        if not consumers or isinstance(consumers[0], ConvNode | LinearNode):
            return tail
        current = consumers[0]
        tail.append(current)


#: A tile works on its sums in this order: batch norm, neurons, pooling of their spikes, then they leave.
_TAIL_ORDER: tuple[type, ...] = (BatchNormNode, LifNode, SumPoolNode, FlattenNode, ReadoutNode)


def _check_order(tail: list[Node], where: str) -> None:
    ranks = [_TAIL_ORDER.index(type(node)) for node in tail if type(node) in _TAIL_ORDER]
    for first, second, earlier, later in zip(ranks, ranks[1:], tail, tail[1:], strict=False):
        if second < first:
            raise MappingError(
                f"{where}: {later.name} comes after {earlier.name}; a tile computes batch norm, neurons and "
                "pooling in this order, so reorder the nodes"
            )


NodeT = TypeVar("NodeT", bound=Node)


def _only(tail: list[Node], cls: type[NodeT]) -> NodeT | None:
    found = [node for node in tail if isinstance(node, cls)]
    if len(found) > 1:
        raise MappingError(f"{found[1].name}: a second {cls.__name__} after one weight layer cannot be mapped")
    return found[0] if found else None


def check_exact(bound: int, batch_norm: BatchNormNode | None, lif: LifNode | None, where: str) -> None:
    """Refuse values that float64, and therefore the torch student, could not hold exactly.

    Raises:
        NetworkError: the bound of the sum, of m*P + (n << k), or of the membrane before reset reaches 2^53.
    """
    worst = current = bound
    if batch_norm is not None:
        m = [abs(int(value)) for value in batch_norm.m.flat]
        offset = [abs(int(n)) << int(k) for n, k in zip(batch_norm.n.flat, batch_norm.k.flat, strict=True)]
        shift = [int(e) for e in batch_norm.e.flat]
        before = [(mi * bound + oi) << max(0, -e) for mi, oi, e in zip(m, offset, shift, strict=True)]
        worst = max(value + (1 << max(0, e - 1)) for value, e in zip(before, shift, strict=True))
        current = max((value >> max(0, e)) + 1 for value, e in zip(before, shift, strict=True))
    if worst >= EXACT_LIMIT:
        raise NetworkError(
            f"{where}: a sum can reach {worst}, exact arithmetic ends at 2^53; lower weight_bits or bn_bits"
        )
    if lif is None:
        return
    leaked = lif.leak_mul << (lif.membrane_bits - 1 + lif.guard_bits)
    before_reset = (leaked >> lif.leak_shift) + 1 + (current << max(0, lif.input_shift)) + lif.theta
    if max(leaked, before_reset) >= EXACT_LIMIT:
        raise NetworkError(
            f"{where}: {lif.name}: a membrane can reach {max(leaked, before_reset)}, exact arithmetic ends at 2^53; "
            "lower membrane_bits, guard_bits or leak_shift with leak_mul"
        )
