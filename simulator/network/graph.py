"""The network as integers: nodes, edges, and the rules that make it valid.

Axis order everywhere: time, batch, channel, row, column. Every tensor is an integer array; real weights
became codes once, when the network file was made. Semantics: docs/model.md, "What is computed".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..spec import canonical_hash
from .hashing import array_digest

IntArray = NDArray[np.int64]
Shape = tuple[int, int, int]
WeightScheme = Literal["symmetric", "affine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputNode:
    """Input codes of shape (C, H, W): ``bits`` wide, two's complement if ``signed``.

    ``static`` codes are the same at every step (direct coding), so the first layer runs once per image.
    """

    name: str
    shape: Shape
    bits: int = 1
    signed: bool = False
    static: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvNode:
    """2-D convolution on codes; weight (C_out, C_in/groups, K_h, K_w). Padding is code 0."""

    name: str
    weight: IntArray
    weight_bits: int
    weight_scheme: WeightScheme = "symmetric"
    stride: int = 1
    padding: int = 0
    groups: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearNode:
    """Matrix product on codes; weight (out, in). Inputs are flattened channel-major."""

    name: str
    weight: IntArray
    weight_bits: int
    weight_scheme: WeightScheme = "symmetric"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchNormNode:
    """Folded batch norm: I = rshift(m*P + (n << k), e), arrays (C,) or, per step, (T, C)."""

    name: str
    m: IntArray
    n: IntArray
    k: IntArray
    e: IntArray
    bn_bits: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LifNode:
    """Leaky integrate-and-fire neuron; leak = leak_mul / 2^leak_shift.

    ``theta`` lies on H's grid (membrane step * 2^-guard_bits). ``input_shift`` reads a residual stream:
    I = stream << input_shift (rounded shift right if negative).
    """

    name: str
    theta: int
    membrane_bits: int
    guard_bits: int = 4
    leak_mul: int = 1
    leak_shift: int = 1
    reset: Literal["hard", "soft"] = "hard"
    input_shift: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SumPoolNode:
    """Average pooling that passes the *sum*; its divisor is folded into the next batch norm."""

    name: str
    kernel: int
    stride: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FlattenNode:
    """(C, H, W) -> (C*H*W, 1, 1), channel-major."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AddNode:
    """Sum of all inputs: ``stream`` saturates to ``stream_bits`` signed, ``sew`` adds spikes unsigned.

    A ``stream`` of one input saturates that; the sum of a ``sew`` must fit ``stream_bits``.
    """

    name: str
    mode: Literal["stream", "sew"]
    stream_bits: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadoutNode:
    """Classifier output: L_t = P_t + bias, logits = sum over t; bias (classes,)."""

    name: str
    bias: IntArray


Node = InputNode | ConvNode | LinearNode | BatchNormNode | LifNode | SumPoolNode | FlattenNode | AddNode | ReadoutNode
WeightNode = ConvNode | LinearNode
NODE_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "input": InputNode,
        "conv": ConvNode,
        "linear": LinearNode,
        "batch_norm": BatchNormNode,
        "lif": LifNode,
        "sum_pool": SumPoolNode,
        "flatten": FlattenNode,
        "add": AddNode,
        "readout": ReadoutNode,
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A quantised spiking network: named nodes, edges (from, to), and the number of time steps.

    ``notes`` holds texts for people (data set, training run); they do not enter the hash.

    Raises:
        NetworkError: on construction, if the graph or a tensor breaks a rule; the node is named.
    """

    name: str
    n_timesteps: int
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    graph: nx.DiGraph = field(init=False, repr=False)
    shapes: Mapping[str, Shape] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from .validate import build_graph, infer_shapes

        object.__setattr__(self, "notes", MappingProxyType(dict(self.notes)))
        object.__setattr__(self, "graph", build_graph(self))
        object.__setattr__(self, "shapes", MappingProxyType(infer_shapes(self)))

    def node(self, name: str) -> Node:
        """Node of that name.

        Raises:
            NetworkError: no such node.
        """
        if name not in self.graph:
            raise NetworkError(f"network {self.name}: no node '{name}'; nodes: {', '.join(self.graph)}")
        node: Node = self.graph.nodes[name]["node"]
        return node

    def order(self) -> tuple[Node, ...]:
        """Nodes from input to readout; among free choices the order of ``nodes``."""
        position = {node.name: i for i, node in enumerate(self.nodes)}
        names = nx.lexicographical_topological_sort(self.graph, key=position.__getitem__)
        return tuple(self.node(name) for name in names)

    def sources(self, name: str) -> tuple[Node, ...]:
        """Nodes that feed ``name``, in the order of the edges."""
        return tuple(self.node(a) for a, b in self.edges if b == name)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Nodes fed by ``name``, in the order of the edges."""
        return tuple(self.node(b) for a, b in self.edges if a == name)

    @property
    def input(self) -> InputNode:
        """The input node."""
        return next(node for node in self.nodes if isinstance(node, InputNode))

    @property
    def readout(self) -> ReadoutNode:
        """The classifier's output node."""
        return next(node for node in self.nodes if isinstance(node, ReadoutNode))

    @property
    def n_classes(self) -> int:
        """Number of logits."""
        return int(self.readout.bias.size)

    def content_hash(self) -> str:
        """sha256 of everything that is computed: graph, constants and tensors, not the notes."""
        return canonical_hash(
            {
                "n_timesteps": self.n_timesteps,
                "nodes": [_node_digest(node) for node in self.nodes],
                "edges": [list(edge) for edge in self.edges],
            }
        )


def chain_edges(nodes: Iterable[Node]) -> tuple[tuple[str, str], ...]:
    """Edges of a plain chain of nodes."""
    names = [node.name for node in nodes]
    return tuple(itertools.pairwise(names))


def node_fields(node: Node) -> dict[str, object]:
    """Field name -> value of a node, in declaration order."""
    return {name: getattr(node, name) for name in type(node).__dataclass_fields__}


def node_kind(node: Node) -> str:
    """Name of the node's type in files."""
    return next(kind for kind, cls in NODE_TYPES.items() if type(node) is cls)


def _node_digest(node: Node) -> dict[str, object]:
    return {
        "kind": node_kind(node),
        **{
            key: array_digest(value) if isinstance(value, np.ndarray) else value
            for key, value in node_fields(node).items()
        },
    }
