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
from .place import GLOBAL_BUFFER, Flow, Router

if TYPE_CHECKING:
    from .tiles import MappedLayer, OutputBlock


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


def receiving_tiles(
    layers: Sequence[MappedLayer], readers: Sequence[Receiver], channels: frozenset[int] | None = None
) -> tuple[int, ...]:
    """Tiles that receivers need some channels of a value at (None: all of them), ascending.

    Crossbars need every channel at all tiles of their layer, an add only those whose outputs it keeps at a home.
    """
    tiles: set[int] = set()
    for number, op in readers:
        mapped = layers[number]
        if op is None:
            tiles.update(mapped.tiles)
            continue
        tiles.update(
            block.home_tile for block in mapped.blocks if channels is None or channels & block_channels(mapped, block)
        )
    return tuple(sorted(tiles))


def block_channels(mapped: MappedLayer, block: OutputBlock) -> frozenset[int]:
    """Output channels of a block, counted over all convolution groups."""
    first = block.group * mapped.layer.n_outputs + block.first_output
    return frozenset(range(first, first + block.n_outputs))


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
    flits: Counter[tuple[int | Router, tuple[int, ...]]] = Counter()
    flits[GLOBAL_BUFFER, receiving_tiles(layers, readers[INPUT])] += _input_flits(layers, hw, n_timesteps)
    for mapped in layers:
        for replica in range(mapped.n_replicas):
            packets = mapped.positions(replica).size * (1 if mapped.layer.input.static else n_timesteps)
            for (tile, home), outputs in partial_sums(mapped, replica).items():
                flits[tile, (home,)] += packets * packet_flits(outputs * mapped.layer.psum_bits, hw)
            for number, op in enumerate(mapped.layer.ops):
                found = readers.get(Signal(mapped.layer.index, number), ())
                packets = mapped.positions(replica, number).size * n_timesteps if found else 0
                for home, channels in _home_channels(mapped, replica).items() if found else ():
                    tiles = receiving_tiles(layers, found, channels)
                    flits[home, tiles] += packets * packet_flits(len(channels) * op.bits, hw)
    return tuple(Flow(source, tiles, count) for (source, tiles), count in flits.items())


def _home_channels(mapped: MappedLayer, replica: int) -> dict[int, frozenset[int]]:
    """Output channels of a replica at each of its home tiles."""
    channels: dict[int, frozenset[int]] = {}
    for block in mapped.blocks_of(replica):
        channels[block.home_tile] = channels.get(block.home_tile, frozenset()) | block_channels(mapped, block)
    return channels


def _input_flits(layers: Sequence[MappedLayer], hw: HardwareConfig, n_timesteps: int) -> int:
    """Flits of the network input; a packet is a position of the map with all its channels."""
    first = next(mapped.layer for mapped in layers if mapped.layer.input_signal == INPUT)
    channels, height, width = first.in_shape
    runs = 1 if first.input.static else n_timesteps
    return height * width * runs * packet_flits(channels * first.input.bits, hw)
