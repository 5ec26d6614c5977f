"""Traffic between tiles: who receives what, and how many flits an image takes there.

Every packet carries one output position: the partial sums of one tile for one home tile, or the values of one op at
one home tile for all tiles that read them. Flits do not depend on the activity: a packet has room for every value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..config import HardwareConfig
from .lower import INPUT, LoweredLayer, Signal
from .place import GLOBAL_BUFFER, Flow

if TYPE_CHECKING:
    from .tiles import MappedLayer


class Receiver(NamedTuple):
    """Who reads a value: the crossbars of a layer (``op`` None) or an add, an op of that layer."""

    layer: int
    op: int | None


def receivers(layers: Sequence[LoweredLayer]) -> dict[Signal, tuple[Receiver, ...]]:
    """Receivers of every value that leaves its layer, by layer, crossbars before ops."""
    found: dict[Signal, list[Receiver]] = {}
    for layer in layers:
        found.setdefault(layer.input_signal, []).append(Receiver(layer.index, None))
        for index, op in enumerate(layer.ops):
            for signal in dict.fromkeys(op.residuals):
                found.setdefault(signal, []).append(Receiver(layer.index, index))
    return {signal: tuple(found[signal]) for signal in sorted(found)}


def receiving_tiles(layers: Sequence[MappedLayer], readers: Sequence[Receiver]) -> tuple[int, ...]:
    """Tiles that some receivers need a value at, ascending: all tiles of a layer, or the homes of an add's layer."""
    tiles: set[int] = set()
    for layer, op in readers:
        tiles.update(layers[layer].tiles if op is None else layers[layer].home_tiles)
    return tuple(sorted(tiles))


def partial_sums(mapped: MappedLayer, replica: int) -> dict[tuple[int, int], int]:
    """(tile, home tile) -> outputs whose partial sums go there at every position; own sums are not sent."""
    outputs: Counter[tuple[int, int]] = Counter()
    for block in mapped.blocks_of(replica):
        pes = mapped.pes[block.first_pe : block.first_pe + block.n_pes]
        for tile in {pe.tile for pe in pes} - {block.home_tile}:
            outputs[tile, block.home_tile] += block.n_outputs
    return {ends: outputs[ends] for ends in sorted(outputs)}


def packet_flits(payload_bits: int, hw: HardwareConfig) -> int:
    """Flits of a packet with a header, at least 1."""
    return max(1, math.ceil((hw.noc.header_bits + payload_bits) / hw.noc.flit_bits))


def network_traffic(layers: Sequence[MappedLayer], hw: HardwareConfig, n_timesteps: int) -> tuple[Flow, ...]:
    """Flits an image of every flow of packets between tiles, and from the global buffer to the tiles that read it."""
    readers = receivers([mapped.layer for mapped in layers])
    targets = {signal: receiving_tiles(layers, items) for signal, items in readers.items()}
    flits: Counter[tuple[int | tuple[int, int], tuple[int, ...]]] = Counter()
    if INPUT in targets:
        flits[GLOBAL_BUFFER, targets[INPUT]] += _input_flits(layers, hw, n_timesteps)
    for mapped in layers:
        layer = mapped.layer
        runs = 1 if layer.input.static else n_timesteps
        sent = [
            (i, op, targets[Signal(layer.index, i)]) for i, op in enumerate(layer.ops) if (layer.index, i) in targets
        ]
        for replica in range(mapped.n_replicas):
            packets = len(mapped.positions(replica)) * runs
            for (tile, home), outputs in partial_sums(mapped, replica).items():
                flits[tile, (home,)] += packets * packet_flits(outputs * layer.psum_bits, hw)
            for index, op, tiles in sent:
                packets = len(mapped.positions(replica, index)) * n_timesteps
                for home in mapped.home_tiles_of(replica):
                    flits[home, tiles] += packets * packet_flits(mapped.neurons_at(home, replica) * op.bits, hw)
    return tuple(Flow(source, tiles, count) for (source, tiles), count in flits.items())


def _input_flits(layers: Sequence[MappedLayer], hw: HardwareConfig, n_timesteps: int) -> int:
    """Flits of the network input; a packet is a position of the map with all its channels."""
    first = next(mapped.layer for mapped in layers if mapped.layer.input_signal == INPUT)
    channels, height, width = first.in_shape
    runs = 1 if first.input.static else n_timesteps
    return height * width * runs * packet_flits(channels * first.input.bits, hw)
