"""Slots of the far ends between layers in ``layer_pipelined``: input buffers, and buffers of residual values.

An input buffer holds at least one receptive field. The buffer of a residual must take all values that its producer
can have sent while the add still waits for the other branch: with less, a producer that feeds both branches
would wait for a slot while the add waits for that producer, a deadlock (docs/machine.md, "Streams").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..errors import MappingError
from ..mapping.lower import INPUT, Signal
from ..mapping.tiles import Mapping
from ..mapping.traffic import Receiver
from ..tables import END
from .streams import Streams, geometry_of, signal_size
from .units import NETWORK_INPUT, ceil_div
from .windows import stream

if TYPE_CHECKING:
    from ..program import Program

IntArray = NDArray[np.int64]


def far_end_depths(program: Program) -> dict[int, int]:
    """Channel -> slots of every far end between layers.

    Raises:
        MappingError: ``tile.input_buffer_positions`` is less than a receptive field; the layer is named.
    """
    streams = Streams(program)
    branches = _Branches(program.mapping)
    depths: dict[int, int] = {}
    for channel in np.flatnonzero(program.channel_kind == END):
        if not streams.between_layers(int(channel)):
            continue
        signal, _, receiver, _ = streams.ends(int(channel))
        depth = _input_depth if receiver.op is None else _residual_depth
        depths[int(channel)] = depth(program, streams, branches, int(channel), signal, receiver)
    return depths


def _share(program: Program, signal: Signal) -> int:
    """Producers over which a signal's positions are spread."""
    return 1 if signal.layer == NETWORK_INPUT else program.mapping.layers[signal.layer].n_replicas


def _steps(program: Program, signal: Signal, receiver: Receiver) -> int:
    """Elements a position: all steps of it in ``layer_major``."""
    if program.hw.dataflow.loop == "timestep_major":
        return 1
    static = receiver.op is None and program.mapping.layers[receiver.layer].layer.input.static
    return 1 if static else program.mapping.network.n_timesteps


def _input_depth(
    program: Program, streams: Streams, branches: _Branches, channel: int, signal: Signal, receiver: Receiver
) -> int:
    """Receptive field and a row, or what the design says."""
    least = streams.of(channel).depth_needed()
    steps, share = _steps(program, signal, receiver), _share(program, signal)
    given = program.hw.tile.input_buffer_positions
    if given is None:
        return least + ceil_div(signal_size(program.mapping, signal)[1], share) * steps
    depth = ceil_div(given, share) * steps
    if depth < least:
        name = program.mapping.layers[receiver.layer].layer.name
        raise MappingError(
            f"tile.input_buffer_positions={given}: the input buffer of {name} must hold a receptive field, "
            f"{ceil_div(least, steps) * share} positions; give at least that, or leave it out"
        )
    return depth


def _residual_depth(
    program: Program, streams: Streams, branches: _Branches, channel: int, signal: Signal, receiver: Receiver
) -> int:
    """What the producer can be ahead of the other branch, and a row."""
    ahead = branches.ahead(receiver, signal)
    row = signal_size(program.mapping, signal)[1]
    each = ceil_div(ahead + row, _share(program, signal)) * _steps(program, signal, receiver)
    return max(each, streams.of(channel).depth_needed())


class _Branches:
    """How far two branches of a network can drift apart, in positions; replicas are left out (see the spare row)."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._asked: dict[tuple[Signal, Signal], IntArray | None] = {}
        self._graph = _signal_graph(mapping)
        self._dominators = nx.immediate_dominators(self._graph, INPUT)

    def ahead(self, receiver: Receiver, residual: Signal) -> int:
        """Elements of ``residual`` that can have been made but not taken by an add, at most."""
        most = 1
        op = self._mapping.layers[receiver.layer].layer.ops[receiver.op or 0]
        others = [Signal(receiver.layer, source) for source in op.sources]
        others += [signal for signal in op.residuals if signal != residual]
        for other in others:
            for origin in self._origins(residual, other):
                made, wanted = self.needs(residual, origin), self.needs(other, origin)
                if made is not None and wanted is not None:
                    stored = np.searchsorted(made, wanted, side="right") - np.arange(wanted.size)
                    most = max(most, int(stored.max()))
        return most

    def _origins(self, a: Signal, b: Signal) -> list[Signal]:
        """Common ancestors of two signals, from the last one on that everything to both goes through."""
        common = (nx.ancestors(self._graph, a) | {a}) & (nx.ancestors(self._graph, b) | {b})
        above = [a]
        while above[-1] != INPUT:
            above.append(self._dominators[above[-1]])
        gate = b
        while gate not in above:
            gate = self._dominators[gate]
        return sorted(common & (nx.descendants(self._graph, gate) | {gate}))

    def needs(self, signal: Signal, origin: Signal) -> IntArray | None:
        """(positions,) elements of ``origin`` that must be there for each element of ``signal``; None if none are."""
        key = (signal, origin)
        if key not in self._asked:
            self._asked[key] = self._needs(signal, origin)
        return self._asked[key]

    def _needs(self, signal: Signal, origin: Signal) -> IntArray | None:
        rows, columns = signal_size(self._mapping, signal)
        if signal == origin:
            return np.arange(1, rows * columns + 1, dtype=np.int64)
        if signal.layer == NETWORK_INPUT or signal.layer < origin.layer:
            return None
        layer = self._mapping.layers[signal.layer].layer
        op = layer.ops[signal.op]
        if signal.op == 0:
            inputs = self.needs(layer.input_signal, origin)
            return None if inputs is None else _through(inputs, self._windows(signal.layer))
        parts = [
            self.needs(source, origin) for source in (*(Signal(signal.layer, s) for s in op.sources), *op.residuals)
        ]
        known = [part for part in parts if part is not None]
        if not known:
            return None
        if op.kind == "pool":
            return np.asarray(known[0][self._last_of_window(signal)], dtype=np.int64)
        return np.asarray(np.max(np.stack(known), axis=0), dtype=np.int64)

    def _windows(self, layer: int) -> IntArray:
        geometry = geometry_of(self._mapping, Receiver(layer, None))
        whole = stream(geometry, np.arange(geometry.in_size[1]), np.arange(geometry.out_size[1]))
        # Elements that no window uses are not sent, but come past: count all of them.
        sent = np.append(0, np.flatnonzero(whole.emit) + 1)
        return np.asarray(sent[whole.need], dtype=np.int64)

    def _last_of_window(self, signal: Signal) -> IntArray:
        """(pooled positions,) raster index of the last position of each pooling window."""
        layer = self._mapping.layers[signal.layer].layer
        node = layer.ops[signal.op].node
        rows, columns = signal_size(self._mapping, signal)
        _, _, width = layer.ops[layer.ops[signal.op].sources[0]].shape
        y = np.arange(rows) * node.stride + node.kernel - 1  # type: ignore[union-attr]  # a pool's node is a SumPoolNode
        x = np.arange(columns) * node.stride + node.kernel - 1  # type: ignore[union-attr]
        return np.asarray((y[:, None] * width + x[None, :]).ravel(), dtype=np.int64)


def _signal_graph(mapping: Mapping) -> nx.DiGraph:
    """What each signal is made from."""
    graph = nx.DiGraph()
    for item in mapping.layers:
        layer = item.layer
        graph.add_edge(layer.input_signal, Signal(layer.index, 0))
        for number, op in enumerate(layer.ops):
            graph.add_edges_from((Signal(layer.index, source), Signal(layer.index, number)) for source in op.sources)
            graph.add_edges_from((signal, Signal(layer.index, number)) for signal in op.residuals)
    return graph


def _through(inputs: IntArray, counts: IntArray) -> IntArray:
    """Elements of the origin behind ``counts`` elements of the input."""
    return np.asarray(np.append(0, inputs)[counts], dtype=np.int64)
