"""A trained student as the simulator's network, integer for integer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import (
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
    chain_edges,
)

from .layers import QuantLayer, QuantReadout
from .zoo import Conv, SpikingNet, SumPool


def to_network(student: SpikingNet, name: str, notes: Mapping[str, str] | None = None) -> Network:
    """Network that computes, bit for bit, what ``student.eval()`` computes.

    A layer ``conv1`` becomes the nodes ``conv1``, ``conv1_bn`` and ``conv1_lif``; the classifier ``fc``
    becomes ``fc`` and ``fc_readout``.

    Raises:
        NetworkError: a full-precision network, or weights that are not finite; the layer is named.
    """
    nodes: list[Node] = [student.plan.input]
    for item in student.plan.layers:
        if isinstance(item, SumPool):
            nodes.append(SumPoolNode(name=item.name, kernel=item.kernel, stride=item.kernel))
            continue
        block = student.blocks[item.name]
        if not isinstance(block, QuantLayer | QuantReadout):
            raise NetworkError(f"network {name}: {item.name} has full precision; export a quantised student")
        if not all(bool(torch.isfinite(value).all()) for value in block.state_dict().values()):
            raise NetworkError(f"network {name}: {item.name} holds a value that is not finite; train it again")
        if isinstance(item, Conv):
            nodes += _layer_nodes(cast(QuantLayer, block))
            continue
        if _is_map(nodes):
            nodes.append(FlattenNode(name=f"{item.name}_flatten"))
        nodes += _layer_nodes(block) if isinstance(block, QuantLayer) else _readout_nodes(block)
    return Network(
        name=name,
        n_timesteps=student.n_timesteps,
        nodes=tuple(nodes),
        edges=chain_edges(nodes),
        notes=notes or {},
    )


def lif_node_name(layer: str) -> str:
    """Name of the LIF node that a layer of the zoo becomes."""
    return f"{layer}_lif"


def _is_map(nodes: list[Node]) -> bool:
    weights = [node for node in nodes if isinstance(node, ConvNode | LinearNode)]
    return not weights or isinstance(weights[-1], ConvNode)


def _integers(values: torch.Tensor) -> NDArray[np.int64]:
    return values.detach().cpu().numpy().astype(np.int64)


def _weight_node(block: QuantLayer | QuantReadout) -> WeightNode:
    geometry, weight = block.geometry, _integers(block.integer_weight())
    bits = block.weight_spec.bits
    if weight.ndim == 2:
        return LinearNode(name=geometry.name, weight=weight, weight_bits=bits)
    return ConvNode(
        name=geometry.name, weight=weight, weight_bits=bits, stride=geometry.stride, padding=geometry.padding
    )


def _layer_nodes(block: QuantLayer) -> list[Node]:
    name, folded = block.geometry.name, block.folded()
    return [
        _weight_node(block),
        BatchNormNode(
            name=f"{name}_bn",
            m=_integers(folded.m),
            n=_integers(folded.n),
            k=_integers(folded.k),
            e=_integers(folded.e),
            bn_bits=block.bn_bits,
        ),
        LifNode(
            name=lif_node_name(name),
            theta=block.grid.theta,
            membrane_bits=block.grid.bits,
            guard_bits=block.grid.guard_bits,
            leak_mul=block.neuron.leak_mul,
            leak_shift=block.neuron.leak_shift,
            reset=block.neuron.reset,
        ),
    ]


def _readout_nodes(block: QuantReadout) -> list[Node]:
    name = block.geometry.name
    return [_weight_node(block), ReadoutNode(name=f"{name}_readout", bias=_integers(block.integer_bias()))]
