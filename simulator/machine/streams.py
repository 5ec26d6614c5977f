"""Streams of a program: what each far end between layers carries, and who needs which part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..mapping.lower import Signal
from ..mapping.tiles import Mapping
from ..mapping.traffic import Receiver
from .units import KIND, NETWORK_INPUT
from .windows import Geometry, Stream, interleave_steps, pointwise, stream, whole_map

if TYPE_CHECKING:
    from ..program import Program

IntArray = NDArray[np.int64]


def signal_size(mapping: Mapping, signal: Signal) -> tuple[int, int]:
    """Rows and columns of a signal's map."""
    if signal.layer == NETWORK_INPUT:
        return mapping.network.input.shape[1], mapping.network.input.shape[2]
    shape = mapping.layers[signal.layer].layer.ops[signal.op].shape
    return shape[1], shape[2]


def geometry_of(mapping: Mapping, receiver: Receiver) -> Geometry:
    """Windows of a receiver on the map that it reads."""
    layer = mapping.layers[receiver.layer].layer
    if receiver.op is not None:
        return pointwise((layer.out_shape[1], layer.out_shape[2]))
    size = signal_size(mapping, layer.input_signal)
    if layer.kind == "linear":
        return whole_map(size)
    return Geometry(size, (layer.out_shape[1], layer.out_shape[2]), layer.kernel, layer.stride, layer.padding)


def signal_columns(mapping: Mapping, signal: Signal, replica: int) -> IntArray:
    """Columns of a signal's map that one replica of its producer sends."""
    rows, columns = signal_size(mapping, signal)
    if signal.layer == NETWORK_INPUT:
        return np.arange(columns, dtype=np.int64)
    positions = mapping.layers[signal.layer].positions(replica, signal.op)
    return positions[: positions.size // rows]


class Streams:
    """Streams of a program, made once each; the far ends of one flow to one replica share theirs."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[tuple[Signal, int, Receiver, int], Stream] = {}

    def between_layers(self, channel: int) -> bool:
        """Whether a far end carries values of an op (or the input), not partial sums."""
        source = int(self._program.channel_src[channel])
        return bool(self._program.unit_layer[source] == NETWORK_INPUT or self._program.unit_number[source] >= 0)

    def ends(self, channel: int) -> tuple[Signal, int, Receiver, int]:
        """Signal, producer's replica, receiver, receiver's replica of a far end between layers."""
        p = self._program
        src, dst = int(p.channel_src[channel]), int(p.channel_dst[channel])
        signal = Signal(int(p.unit_layer[src]), int(p.unit_number[src]))
        op = None if p.unit_kind[dst] == KIND["fetch"] else int(p.unit_number[dst])
        return signal, int(p.unit_replica[src]), Receiver(int(p.unit_layer[dst]), op), int(p.unit_replica[dst])

    def of(self, channel: int) -> Stream:
        """Stream of a far end between layers; in ``layer_major`` with all steps of each position."""
        ends = self.ends(channel)
        if ends not in self._known:
            signal, source_replica, receiver, replica = ends
            mapping = self._program.mapping
            columns = signal_columns(mapping, signal, source_replica)
            windows = signal_columns(mapping, Signal(receiver.layer, 0), replica)
            made = stream(geometry_of(mapping, receiver), columns, windows)
            static = receiver.op is None and mapping.layers[receiver.layer].layer.input.static
            if self._program.hw.dataflow.loop == "layer_major" and not static:
                made = interleave_steps(made, mapping.network.n_timesteps)
            self._known[ends] = made
        return self._known[ends]
