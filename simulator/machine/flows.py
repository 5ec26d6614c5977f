"""Flows between tiles: who sends what to whom, over which router outputs.

A flow is the packets of one network interface: the partial sums of a tile for one home tile, or one op's values
for all their receivers, sent along the XY multicast tree (docs/machine.md, "Network on chip").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..mapping.lower import INPUT, Signal
from ..mapping.place import GLOBAL_BUFFER, Router
from ..mapping.tiles import MappedLayer, Mapping
from ..mapping.traffic import Receiver, packet_flits, partial_sums, receivers
from .units import (
    KIND,
    Queue,
    Unit,
    UnitKey,
    channels_of,
    entry_kind,
    exit_kind,
)

IntArray = NDArray[np.int64]


class Delivery(NamedTuple):
    """A far end of a flow: the unit that takes the elements, and its tile."""

    dst: UnitKey
    tile: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """Packets of one network interface (``inject``) from a router to the tiles of the deliveries."""

    inject: Unit
    queue: Queue | None
    source: int | Router
    deliveries: tuple[Delivery, ...]


@dataclass
class Hops:
    """Trees of all flows, one row a hop; ``link`` is None at a root (the interface itself)."""

    flow: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    link: list[tuple[Router, Router] | None] = field(default_factory=list)
    #: (flow, delivery) -> hop that delivers it.
    of_delivery: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, flow: int, parent: int, link: tuple[Router, Router] | None) -> int:
        """Append a hop; returns its row."""
        self.flow.append(flow)
        self.parent.append(parent)
        self.link.append(link)
        return len(self.flow) - 1


def input_flow(mapping: Mapping, hw: HardwareConfig, inject: Unit) -> Flow:
    """From the global buffer at router (0, 0) to the layers that read the network input."""
    found = receivers([item.layer for item in mapping.layers])[INPUT]
    deliveries = [delivery for item in found for delivery in _deliveries(mapping, hw, item, None)]
    return Flow(inject=inject, queue=None, source=GLOBAL_BUFFER, deliveries=tuple(deliveries))


def layer_flows(mapping: Mapping, hw: HardwareConfig, mapped: MappedLayer, replica: int) -> Iterator[Flow]:
    """Flows that leave one replica of a layer."""
    layer = mapped.layer
    for (tile, home), outputs in partial_sums(mapped, replica).items():
        key = UnitKey(layer.index, replica, tile, KIND["inject"], -1 - home)
        norm = UnitKey(layer.index, replica, home, KIND["norm"], 0)
        yield Flow(
            inject=Unit(key, items=outputs, flits=packet_flits(outputs * layer.psum_bits, hw)),
            queue=Queue(UnitKey(layer.index, replica, tile, KIND["tile_accumulate"]), key),
            source=tile,
            deliveries=(Delivery(norm, home),),
        )
    readers = receivers([item.layer for item in mapping.layers])
    for number, op in enumerate(layer.ops):
        found = readers.get(Signal(layer.index, number), ())
        for home in mapped.home_tiles_of(replica) if found else ():
            neurons = mapped.neurons_at(home, replica)
            key = UnitKey(layer.index, replica, home, KIND["inject"], number)
            sent = channels_of([b for b in mapped.blocks_of(replica) if b.home_tile == home], layer.n_outputs)
            yield Flow(
                inject=Unit(key, items=neurons, flits=packet_flits(neurons * op.bits, hw)),
                queue=Queue(UnitKey(layer.index, replica, home, KIND[exit_kind(op)], number), key),
                source=home,
                deliveries=tuple(d for item in found for d in _deliveries(mapping, hw, item, sent)),
            )


def _deliveries(mapping: Mapping, hw: HardwareConfig, receiver: Receiver, sent: set[int] | None) -> Iterator[Delivery]:
    """Far ends at one receiver: the buffers of all its tiles, or the home tiles that need some of the channels sent."""
    mapped = mapping.layers[receiver.layer]
    for replica in range(mapped.n_replicas):
        if receiver.op is None:
            for tile in mapped.tiles_of(replica):
                yield Delivery(UnitKey(receiver.layer, replica, tile, KIND["fetch"]), tile)
            continue
        kind = KIND[entry_kind(mapped.layer.ops[receiver.op], hw)]
        for home in mapped.home_tiles_of(replica):
            here = channels_of([b for b in mapped.blocks_of(replica) if b.home_tile == home], mapped.layer.n_outputs)
            if sent is None or sent & here:
                yield Delivery(UnitKey(receiver.layer, replica, home, kind, receiver.op), home)


def hop_trees(mapping: Mapping, flows: list[Flow]) -> Hops:
    """Multicast trees of all flows: the interface, then the router outputs along the XY routes."""
    hops = Hops()
    place = mapping.placement
    for number, flow in enumerate(flows):
        tiles = tuple(dict.fromkeys(delivery.tile for delivery in flow.deliveries))
        at = {place.router(flow.source): hops.add(number, -1, None)}
        for link in place.multicast_tree(flow.source, tiles):
            at[link[1]] = hops.add(number, at[link[0]], link)
        for i, delivery in enumerate(flow.deliveries):
            hops.of_delivery[number, i] = at[place.router(delivery.tile)]
    return hops
