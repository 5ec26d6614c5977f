"""Replication: several copies of a layer's weights, each with a share of the output positions.

Replica q of n computes the positions of the output columns x with ``(x // column_group) % n == q``, so that each
pooling window lies in one replica.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..config import HardwareConfig
from ..network.graph import SumPoolNode
from .lower import LoweredLayer
from .slices import slice_scheme


class Footprint(NamedTuple):
    """What one replica of a layer takes, and how far the layer can be split.

    Attributes:
        n_pes: PEs of a replica.
        n_column_groups: most replicas that still have work; 1 if the layer cannot be replicated.
        group_cycles: cycles an image that the converters of a PE are busy with the positions of one column group
            when nothing is skipped.
    """

    n_pes: int
    n_column_groups: int
    group_cycles: int

    def cycles(self, n_replicas: int) -> int:
        """Converter cycles an image of the busiest of ``n_replicas``."""
        return self.group_cycles * math.ceil(self.n_column_groups / n_replicas)


def pools_of(layer: LoweredLayer) -> tuple[SumPoolNode, ...]:
    """Pools among a layer's ops, in op order."""
    return tuple(op.node for op in layer.ops if isinstance(op.node, SumPoolNode))


def column_group(layer: LoweredLayer) -> int:
    """Neighbouring output columns that stay in one replica: the stride of the layer's pool, 1 without one."""
    pools = pools_of(layer)
    return pools[0].stride if pools else 1


def can_replicate(layer: LoweredLayer) -> bool:
    """Whether every pooling window lies in one column group: windows do not overlap, all pools have one stride."""
    pools = pools_of(layer)
    return all(pool.kernel == pool.stride == pools[0].stride for pool in pools)


def footprint(layer: LoweredLayer, hw: HardwareConfig, n_timesteps: int) -> Footprint:
    """PEs and converter cycles of one replica of a layer.

    A plane of a position takes a read and ``rounds`` conversions in each row group, ``rounds`` the bitlines that
    share an ADC: ``positions * reads * planes * (rounds + 1) * runs``.
    """
    crossbar = hw.crossbar
    scheme = slice_scheme(
        layer.weight_bits, layer.weight_scheme, crossbar.cell_bits, crossbar.scheme, crossbar.dummy_column
    )
    columns, cols = scheme.columns_per_output, crossbar.cols - scheme.dummy_columns
    per_block = min(layer.n_outputs, max(1, cols // columns))
    full, rest = divmod(layer.n_outputs, per_block)
    spans = full * math.ceil(per_block * columns / cols) + math.ceil(rest * columns / cols)
    parts = math.ceil(math.ceil(layer.n_rows / crossbar.rows) / hw.tile.crossbars_per_pe)
    rounds = min(hw.adc.columns_per_adc, min(cols, per_block * columns) + scheme.dummy_columns)
    _, height, width = layer.out_shape
    group = column_group(layer) if can_replicate(layer) else width
    runs = 1 if layer.input.static else n_timesteps
    reads = crossbar.reads_per_vector * layer.input.n_planes * (rounds + 1) * runs
    return Footprint(
        n_pes=layer.n_groups * spans * parts,
        n_column_groups=math.ceil(width / group),
        group_cycles=height * min(width, group) * reads,
    )


def tiles_needed(footprints: list[Footprint], n_replicas: list[int], hw: HardwareConfig) -> int:
    """Tiles that so many replicas of each layer fill."""
    per_tile = hw.tile.pes_per_tile
    if hw.tile.sharing == "exclusive":
        return sum(n * math.ceil(item.n_pes / per_tile) for item, n in zip(footprints, n_replicas, strict=True))
    return math.ceil(sum(n * item.n_pes for item, n in zip(footprints, n_replicas, strict=True)) / per_tile)


def balance(footprints: list[Footprint], hw: HardwareConfig, max_tiles: int) -> list[int]:
    """Replicas of each layer: the slowest layer gets more as long as they fit ``max_tiles``.

    The slowest layer (of several, the first) gets as many more replicas as its busiest one needs to lose a column
    group. A layer that has one column group a replica, or whose next replicas do not fit, is left as it is and the
    next slowest follows, until no layer is left. Until a layer is left, every step speeds up the slowest layer: so
    a larger chip never has a slower slowest layer.
    """
    replicas = [1] * len(footprints)
    growing = set(range(len(footprints)))
    while growing:
        slowest = min(growing, key=lambda i: (-footprints[i].cycles(replicas[i]), i))
        item = footprints[slowest]
        share = math.ceil(item.n_column_groups / replicas[slowest])
        if share == 1:
            growing.remove(slowest)
            continue
        more = replicas.copy()
        more[slowest] = math.ceil(item.n_column_groups / (share - 1))
        if tiles_needed(footprints, more, hw) > max_tiles:
            growing.remove(slowest)
        else:
            replicas = more
    return replicas
