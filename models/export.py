"""A trained student as the simulator's network, integer for integer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    LifNode,
    LinearNode,
    Network,
    Node,
    ReadoutNode,
    SumPoolNode,
    WeightNode,
    WeightScheme,
    chain_edges,
)

from .layers import QuantLayer, QuantReadout, QuantWeightLayer
from .lif import MembraneGrid, NeuronSpec
from .net import SpikingNet
from .plan import Add, Classifier, Dense, Step, SumPool, Value, values
from .residual import QuantStreamLif, StreamAdd


def to_network(student: SpikingNet, name: str, notes: Mapping[str, str] | None = None) -> Network:
    """Network that computes, bit for bit, what ``student.eval()`` computes.

    A layer ``conv1`` becomes the nodes ``conv1``, ``conv1_bn`` and ``conv1_lif`` (on a residual stream the first two);
    neurons ``last`` on the stream become ``last_lif``; the classifier ``fc`` becomes ``fc`` and ``fc_readout``.

    Raises:
        NetworkError: a full-precision network, or weights that are not finite; the layer is named.
    """
    table = values(student.plan)
    nodes: list[Node] = [student.plan.input]
    edges: list[tuple[str, str]] = []
    #: step -> node that holds its output
    output = {student.plan.input.name: student.plan.input.name}
    for step in student.steps:
        new = _step_nodes(step, student.blocks[step.name], table, name)
        edges += [(output[source], new[0].name) for source in step.sources]
        edges += chain_edges(new)
        nodes += new
        output[step.name] = new[-1].name
    return Network(
        name=name, n_timesteps=student.n_timesteps, nodes=tuple(nodes), edges=tuple(edges), notes=notes or {}
    )


def _step_nodes(step: Step, block: nn.Module, table: Mapping[str, Value], name: str) -> list[Node]:
    """Nodes that a step becomes, a chain."""
    item = step.plan
    if isinstance(item, SumPool):
        return [SumPoolNode(name=item.name, kernel=item.kernel, stride=item.kernel)]
    if isinstance(item, Add) and item.mode == "sew":
        bits = max(2, table[item.name].code_max.bit_length())
        return [AddNode(name=item.name, mode="sew", stream_bits=bits)]
    if isinstance(block, StreamAdd):
        return [AddNode(name=item.name, mode="stream", stream_bits=block.grid.bits)]
    if not all(bool(torch.isfinite(value).all()) for value in block.state_dict().values()):
        raise NetworkError(f"network {name}: {item.name} holds a value that is not finite; train it again")
    if isinstance(block, QuantStreamLif):
        return [_lif_node(item.name, block.grid, block.neuron, block.input_shift)]
    if not isinstance(block, QuantWeightLayer | QuantReadout):
        raise NetworkError(f"network {name}: {item.name} has full precision; export a quantised student")
    nodes: list[Node] = [_weight_node(block)]
    if isinstance(item, Dense | Classifier) and table[step.sources[0]].is_map:
        nodes.insert(0, FlattenNode(name=f"{item.name}_flatten"))
    if isinstance(block, QuantReadout):
        return [*nodes, ReadoutNode(name=f"{item.name}_readout", bias=_integers(block.integer_bias()))]
    nodes.append(_batch_norm_node(block))
    if isinstance(block, QuantLayer):
        nodes.append(_lif_node(item.name, block.grid, block.neuron, 0))
    return nodes


def lif_node_name(layer: str) -> str:
    """Name of the LIF node that a step of the zoo becomes."""
    return f"{layer}_lif"


def _integers(values: torch.Tensor) -> NDArray[np.int64]:
    return values.detach().cpu().numpy().astype(np.int64)


def _weight_node(block: QuantWeightLayer | QuantReadout) -> WeightNode:
    geometry, weight = block.geometry, _integers(block.integer_weight())
    bits = block.quantiser.spec.bits
    scheme: WeightScheme = "affine" if block.quantiser.spec.affine else "symmetric"
    if weight.ndim == 2:
        return LinearNode(name=geometry.name, weight=weight, weight_bits=bits, weight_scheme=scheme)
    return ConvNode(
        name=geometry.name,
        weight=weight,
        weight_bits=bits,
        weight_scheme=scheme,
        stride=geometry.stride,
        padding=geometry.padding,
    )


def _batch_norm_node(block: QuantWeightLayer) -> BatchNormNode:
    folded = block.folded()
    return BatchNormNode(
        name=f"{block.geometry.name}_bn",
        m=_integers(folded.m),
        n=_integers(folded.n),
        k=_integers(folded.k),
        e=_integers(folded.e),
        bn_bits=block.bn_bits,
    )


def _lif_node(step: str, grid: MembraneGrid, neuron: NeuronSpec, input_shift: int) -> LifNode:
    return LifNode(
        name=lif_node_name(step),
        theta=grid.theta,
        membrane_bits=grid.bits,
        guard_bits=grid.guard_bits,
        leak_mul=neuron.leak_mul,
        leak_shift=neuron.leak_shift,
        reset=neuron.reset,
        input_shift=input_shift,
    )
