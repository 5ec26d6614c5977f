"""Rules that make a network valid: bit ranges, tensor shapes, edges; every error names the node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from . import graph as g

if TYPE_CHECKING:
    from .graph import Network, Node, Shape

MAX_TIMESTEPS = 4096
#: Below this, every float64 the torch student holds is an exact integer.
EXACT_LIMIT = 2**53
#: Longest name of a network or a node.
MAX_NAME = 200


def build_graph(network: Network) -> nx.DiGraph:
    """Checked networkx graph of the nodes.

    Raises:
        NetworkError: names not unique, dangling or duplicate edges, a cycle, wrong fan-in, wrong values.
    """
    _check_names(network)
    where = f"network {network.name}"
    if not 1 <= network.n_timesteps <= MAX_TIMESTEPS:
        raise NetworkError(
            f"{where}: n_timesteps={network.n_timesteps}; allowed 1 to {MAX_TIMESTEPS}, choose one of these"
        )
    names = Counter(node.name for node in network.nodes)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise NetworkError(f"{where}: node name '{twice[0]}' is used {names[twice[0]]} times; make it unique")
    graph = nx.DiGraph()
    for node in network.nodes:
        graph.add_node(node.name, node=node)
    for edge in network.edges:
        for end in edge:
            if end not in names:
                raise NetworkError(f"{where}: edge {edge[0]} -> {edge[1]} names '{end}', which is no node")
        if graph.has_edge(*edge):
            raise NetworkError(f"{where}: edge {edge[0]} -> {edge[1]} is given twice; keep one")
        graph.add_edge(*edge)
    if not nx.is_directed_acyclic_graph(graph):
        loop = " -> ".join(edge[0] for edge in nx.find_cycle(graph))
        raise NetworkError(f"{where}: the graph has a cycle ({loop}); only feed-forward networks are mapped")
    _check_roles(network, graph, where)
    for node in network.nodes:
        _check_node(node, network.n_timesteps, f"{where}: {node.name}")
    return graph


def _check_names(network: Network) -> None:
    """Names are written to terminals, tables and reports, so they are short and hold no control characters."""
    for name in (network.name, *(node.name for node in network.nodes)):
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise NetworkError(f"name {name[:40]!r}: allowed are 1 to {MAX_NAME} printable characters; choose another")


def _check_roles(network: Network, graph: nx.DiGraph, where: str) -> None:
    for cls, role in ((g.InputNode, "input"), (g.ReadoutNode, "readout")):
        count = sum(isinstance(node, cls) for node in network.nodes)
        if count != 1:
            raise NetworkError(f"{where}: {count} {role} nodes; exactly one is needed")
    for node in network.nodes:
        fan_in = graph.in_degree(node.name)
        least, most = _fan_in(node)
        if not least <= fan_in <= most:
            kind = g.node_kind(node)
            raise NetworkError(f"{where}: {node.name}: {fan_in} inputs; {kind} nodes take {least} to {most}")
        if graph.out_degree(node.name) == 0 and not isinstance(node, g.ReadoutNode):
            raise NetworkError(f"{where}: {node.name}: its output goes nowhere; connect it or remove it")


def _fan_in(node: Node) -> tuple[int, int]:
    if isinstance(node, g.InputNode):
        return 0, 0
    if isinstance(node, g.AddNode):
        # A stream add of one input saturates it to the bits of the stream.
        return (1 if node.mode == "stream" else 2), 64
    return 1, 1


def _check_node(node: Node, n_timesteps: int, where: str) -> None:
    for key, value in g.node_fields(node).items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "iu":
                raise NetworkError(f"{where}: {key} is {value.dtype}; network tensors hold integers")
            if value.size == 0:
                raise NetworkError(f"{where}: {key} is empty, shape {value.shape}")
    if isinstance(node, g.InputNode):
        _check_range(where, "bits", node.bits, 1, 16)
        if len(node.shape) != 3 or min(node.shape) < 1:
            raise NetworkError(f"{where}: shape {node.shape}; expected (channels, rows, columns), each >= 1")
        if node.signed and node.bits < 2:
            raise NetworkError(f"{where}: a signed input has at least 2 bits, got {node.bits}")
    elif isinstance(node, g.ConvNode | g.LinearNode):
        _check_weights(node, where)
    elif isinstance(node, g.BatchNormNode):
        _check_batch_norm(node, n_timesteps, where)
    elif isinstance(node, g.LifNode):
        _check_lif(node, where)
    elif isinstance(node, g.SumPoolNode):
        _check_range(where, "kernel", node.kernel, 1, 1024)
        _check_range(where, "stride", node.stride, 1, 1024)
    elif isinstance(node, g.AddNode):
        if node.mode not in ("stream", "sew"):
            raise NetworkError(f"{where}: mode='{node.mode}'; allowed 'stream' or 'sew'")
        # A stream has a sign, a sum of two spikes needs two bits.
        _check_range(where, "stream_bits", node.stream_bits, 2, 48)
    elif isinstance(node, g.ReadoutNode):
        if node.bias.ndim != 1:
            raise NetworkError(f"{where}: bias has shape {node.bias.shape}; expected (classes,)")
        _check_range(where, "largest magnitude of bias", _magnitude(node.bias), 0, 2**40)


def _magnitude(array: NDArray[np.integer]) -> int:
    return max(int(array.max()), -int(array.min()))


def _check_range(where: str, name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise NetworkError(f"{where}: {name}={value}; allowed {low} to {high}")


def _check_weights(node: g.ConvNode | g.LinearNode, where: str) -> None:
    affine = node.weight_scheme == "affine"
    if not affine and node.weight_scheme != "symmetric":
        raise NetworkError(f"{where}: weight_scheme='{node.weight_scheme}'; allowed 'symmetric' or 'affine'")
    _check_range(where, "weight_bits", node.weight_bits, 1 if affine else 2, 32)
    limit = 2**node.weight_bits - 1 if affine else 2 ** (node.weight_bits - 1) - 1
    worst = _magnitude(node.weight)
    if worst > limit:
        raise NetworkError(
            f"{where}: weight {worst} does not fit weight_bits={node.weight_bits} ({node.weight_scheme}); "
            f"allowed -{limit} to {limit}"
        )
    if affine and bool((node.weight % 2 == 0).any()):
        raise NetworkError(f"{where}: an affine weight is odd (2*code - {limit}); found an even one")
    if isinstance(node, g.LinearNode):
        if node.weight.ndim != 2:
            raise NetworkError(f"{where}: weight has shape {node.weight.shape}; expected (out, in)")
        return
    if node.weight.ndim != 4:
        raise NetworkError(f"{where}: weight has shape {node.weight.shape}; expected (C_out, C_in/groups, K_h, K_w)")
    _check_range(where, "stride", node.stride, 1, 64)
    _check_range(where, "padding", node.padding, 0, 64)
    _check_range(where, "groups", node.groups, 1, node.weight.shape[0])
    if node.weight.shape[0] % node.groups:
        raise NetworkError(f"{where}: {node.weight.shape[0]} output channels do not divide into groups={node.groups}")


def _check_batch_norm(node: g.BatchNormNode, n_timesteps: int, where: str) -> None:
    bits = node.bn_bits
    _check_range(where, "bn_bits", bits, 2, 24)
    if node.m.ndim not in (1, 2) or (node.m.ndim == 2 and node.m.shape[0] != n_timesteps):
        raise NetworkError(f"{where}: m has shape {node.m.shape}; expected (C,) or ({n_timesteps}, C)")
    for name in ("n", "k", "e"):
        if getattr(node, name).shape != node.m.shape:
            raise NetworkError(f"{where}: {name} has shape {getattr(node, name).shape}, m has {node.m.shape}")
    m = np.abs(node.m.astype(np.float64))  # exact below 2^53, and no overflow at -2^63
    normal = (m == 0) | ((m >= 2 ** (bits - 2)) & (m < 2 ** (bits - 1)))
    if not bool(normal.all()):
        raise NetworkError(
            f"{where}: mantissa {int(m[~normal].flat[0])} is not 0 and not in [2^{bits - 2}, 2^{bits - 1})"
        )
    if _magnitude(node.n) >= 2 ** (bits - 1):
        raise NetworkError(f"{where}: an offset mantissa n does not fit bn_bits={bits}")
    if int(node.k.min()) < 0 or int(node.k.max()) > 50:
        raise NetworkError(f"{where}: k from {int(node.k.min())} to {int(node.k.max())}; allowed 0 to 50")
    if int(node.e.min()) < -50 or int(node.e.max()) > 50:
        raise NetworkError(f"{where}: e from {int(node.e.min())} to {int(node.e.max())}; allowed -50 to 50")


def _check_lif(node: g.LifNode, where: str) -> None:
    _check_range(where, "membrane_bits", node.membrane_bits, 2, 32)
    _check_range(where, "guard_bits", node.guard_bits, 0, 16)
    _check_range(where, "leak_shift", node.leak_shift, 0, 16)
    _check_range(where, "leak_mul", node.leak_mul, 0, 2**node.leak_shift)
    _check_range(where, "theta", node.theta, 1, 2**50)
    _check_range(where, "input_shift", node.input_shift, -32, 32)
    if node.reset not in ("hard", "soft"):
        raise NetworkError(f"{where}: reset='{node.reset}'; allowed 'hard' or 'soft'")


def infer_shapes(network: Network) -> dict[str, Shape]:
    """Output shape (C, H, W) of every node.

    Raises:
        NetworkError: a tensor does not fit the shape that reaches it.
    """
    shapes: dict[str, Shape] = {}
    for node in network.order():
        incoming = [shapes[source.name] for source in network.sources(node.name)]
        shapes[node.name] = _output_shape(node, incoming, f"network {network.name}: {node.name}")
    return shapes


def _output_shape(node: Node, incoming: list[Shape], where: str) -> Shape:
    if isinstance(node, g.InputNode):
        return node.shape
    c, h, w = incoming[0]
    if isinstance(node, g.ConvNode):
        if c != node.weight.shape[1] * node.groups:
            raise NetworkError(f"{where}: input has {c} channels, weight expects {node.weight.shape[1] * node.groups}")
        kh, kw = node.weight.shape[2:]
        out_h = (h + 2 * node.padding - kh) // node.stride + 1
        out_w = (w + 2 * node.padding - kw) // node.stride + 1
        if out_h < 1 or out_w < 1 or h + 2 * node.padding < kh or w + 2 * node.padding < kw:
            raise NetworkError(f"{where}: kernel {kh}x{kw} does not fit the padded input {h}x{w}")
        return node.weight.shape[0], out_h, out_w
    if isinstance(node, g.LinearNode):
        if c * h * w != node.weight.shape[1]:
            raise NetworkError(f"{where}: input has {c * h * w} values, weight expects {node.weight.shape[1]}")
        return node.weight.shape[0], 1, 1
    if isinstance(node, g.SumPoolNode):
        out_h, out_w = (h - node.kernel) // node.stride + 1, (w - node.kernel) // node.stride + 1
        if h < node.kernel or w < node.kernel:
            raise NetworkError(f"{where}: kernel {node.kernel} does not fit the input {h}x{w}")
        return c, out_h, out_w
    if isinstance(node, g.FlattenNode):
        return c * h * w, 1, 1
    if isinstance(node, g.BatchNormNode) and node.m.shape[-1] != c:
        raise NetworkError(f"{where}: {node.m.shape[-1]} channels of constants, input has {c}")
    if isinstance(node, g.ReadoutNode) and (node.bias.size != c or h * w != 1):
        raise NetworkError(f"{where}: {node.bias.size} biases for an input of shape {incoming[0]}")
    if isinstance(node, g.AddNode) and any(shape != incoming[0] for shape in incoming):
        raise NetworkError(f"{where}: inputs have different shapes {incoming}")
    return c, h, w
