"""Tiles: how a layer's matrix is cut into crossbars, crossbars into PEs, PEs into tiles.

Rows are cut every ``rows`` rows. Columns are cut into *output blocks*: as many whole outputs as fit
``cols``; an output with more columns than a crossbar spans several crossbars. A PE holds up to
``crossbars_per_pe`` row blocks of the same columns and reads them in lockstep. PEs are numbered by replica,
output block, span, row part, and fill tiles in that order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..errors import MappingError
from ..network.graph import Network
from .anneal import place_annealed
from .lower import LoweredLayer, lower_network
from .place import Flow, Placement, place_greedy, place_row_major, traffic_cost
from .replicate import Footprint, balance, column_group, footprint
from .slices import SliceScheme, slice_scheme
from .traffic import network_traffic

IntArray = NDArray[np.int64]

#: Most PEs of a chip: the tables of the clock grow with them, and 2^16 already take seconds to build.
MAX_PES = 65_536


@dataclass(frozen=True, kw_only=True)
class Pe:
    """One processing element of a layer.

    Attributes:
        index: number inside the layer, all replicas counted.
        replica: copy of the weights that it belongs to.
        block: output block that it serves.
        first_row_block: first of its ``n_crossbars`` row blocks.
        first_column: first physical column, counted inside the output block.
        cols_used: bitlines that hold weights, a dummy column included, per crossbar.
        tile: global tile number.
    """

    index: int
    replica: int
    block: int
    first_row_block: int
    n_crossbars: int
    first_column: int
    cols_used: int
    tile: int


@dataclass(frozen=True, kw_only=True)
class OutputBlock:
    """Outputs ``first_output .. + n_outputs`` of a convolution group and the PEs that compute them.

    Their neurons live in ``home_tile``, the tile of the last of these PEs. Every replica has blocks of its own.
    """

    index: int
    replica: int
    group: int
    first_output: int
    n_outputs: int
    first_pe: int
    n_pes: int
    home_tile: int


class CellCount(NamedTuple):
    """Cells of a layer's crossbars, all replicas: those that hold weights and those that pad.

    ``row_padding`` are the rows below the last weight in columns that hold weights, ``column_padding`` whole columns.
    """

    weights: int
    row_padding: int
    column_padding: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedLayer:
    """A lowered layer on its crossbars.

    Replica q computes the output positions (y, x) with ``(x // column_group) % n_replicas == q``; all replicas hold
    the same weights on PEs that are alike. ``blocks`` and ``pes`` list replica 0 first.
    """

    layer: LoweredLayer
    scheme: SliceScheme
    row_blocks: int
    rows_per_crossbar: int
    cols_per_crossbar: int
    rows_per_read: int
    reads_per_vector: int
    n_replicas: int
    column_group: int
    blocks: tuple[OutputBlock, ...]
    pes: tuple[Pe, ...]

    @property
    def tiles(self) -> tuple[int, ...]:
        """Tiles that hold PEs of this layer, ascending."""
        return tuple(sorted({pe.tile for pe in self.pes}))

    @property
    def home_tiles(self) -> tuple[int, ...]:
        """Tiles that hold neurons of this layer, ascending."""
        return tuple(sorted({block.home_tile for block in self.blocks}))

    @property
    def n_crossbars(self) -> int:
        """Crossbars that hold weights of this layer, all replicas."""
        return sum(pe.n_crossbars for pe in self.pes)

    @property
    def n_row_groups(self) -> int:
        """Row groups of one vector: groups x row blocks x reads of a full crossbar (padding included)."""
        return self.layer.n_groups * self.row_blocks * self.reads_per_vector

    @property
    def cells(self) -> CellCount:
        """Cells of this layer's crossbars."""
        weights = rows = columns = 0
        for pe in self.pes:
            for row_block in range(pe.first_row_block, pe.first_row_block + pe.n_crossbars):
                used = min(self.rows_per_crossbar, self.layer.n_rows - row_block * self.rows_per_crossbar)
                weights += used * pe.cols_used
                rows += (self.rows_per_crossbar - used) * pe.cols_used
                columns += self.rows_per_crossbar * (self.cols_per_crossbar - pe.cols_used)
        return CellCount(weights, rows, columns)

    @property
    def padded_cells(self) -> int:
        """Cells of this layer's crossbars that hold no weight."""
        return self.cells.row_padding + self.cells.column_padding

    def pes_of(self, replica: int) -> tuple[Pe, ...]:
        """PEs of a replica."""
        each = len(self.pes) // self.n_replicas
        return self.pes[replica * each : (replica + 1) * each]

    def blocks_of(self, replica: int) -> tuple[OutputBlock, ...]:
        """Output blocks of a replica."""
        each = len(self.blocks) // self.n_replicas
        return self.blocks[replica * each : (replica + 1) * each]

    def tiles_of(self, replica: int) -> tuple[int, ...]:
        """Tiles that hold PEs of a replica, ascending."""
        return tuple(sorted({pe.tile for pe in self.pes_of(replica)}))

    def home_tiles_of(self, replica: int) -> tuple[int, ...]:
        """Tiles that hold neurons of a replica, ascending."""
        return tuple(sorted({block.home_tile for block in self.blocks_of(replica)}))

    def positions(self, replica: int, op: int = 0) -> IntArray:
        """Raster indices y*W + x of the positions that a replica computes, ascending.

        Args:
            replica: which copy of the weights.
            op: op of the layer whose output is meant; behind a pool a column stands for a whole column group.
        """
        width = self.layer.out_shape[2]
        _, height, op_width = self.layer.ops[op].shape
        group = self.column_group if op_width == width else 1
        mine = (np.arange(op_width, dtype=np.int64) // group) % self.n_replicas == replica
        return np.flatnonzero(np.broadcast_to(mine, (height, op_width)))

    def row_group(self, group: int, row_block: int, read: int) -> int:
        """Index of a row group in ``Activity``."""
        return (group * self.row_blocks + row_block) * self.reads_per_vector + read

    def rows_in_group(self, row_block: int, read: int) -> int:
        """Mapped rows of a row group (0: only padding)."""
        in_block = min(self.rows_per_crossbar, self.layer.n_rows - row_block * self.rows_per_crossbar)
        return max(0, min(self.rows_per_read, in_block - read * self.rows_per_read))

    def neurons_at(self, tile: int, replica: int = 0) -> int:
        """Output channels of a replica whose neurons live in a tile."""
        return sum(block.n_outputs for block in self.blocks_of(replica) if block.home_tile == tile)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping:
    """A network on a chip: layers on PEs, PEs on tiles, tiles on the mesh.

    Attributes:
        n_tiles: tiles that hold weights.
        n_chip_tiles: tiles on the chip, each with a place on the mesh; those from ``n_tiles`` on are idle.
        n_pe_slots: PEs on the chip.
        n_crossbar_slots: crossbars on the chip.
        traffic: flows between tiles, flits an image; the placement keeps their routes short.
    """

    network: Network
    layers: tuple[MappedLayer, ...]
    n_tiles: int
    n_chip_tiles: int
    n_pe_slots: int
    n_crossbar_slots: int
    traffic: tuple[Flow, ...]
    placement: Placement

    @property
    def placement_gain(self) -> float:
        """Flits times links in row-major order, as a multiple of those of this placement."""
        mesh = (self.placement.width, self.placement.height)
        row_major = traffic_cost(place_row_major(self.n_chip_tiles, mesh), self.traffic)
        cost = traffic_cost(self.placement, self.traffic)
        return row_major / cost if cost else 1.0

    @property
    def graph(self) -> nx.DiGraph:
        """The network's graph."""
        return self.network.graph

    @property
    def n_crossbars(self) -> int:
        """Crossbars that hold weights."""
        return sum(layer.n_crossbars for layer in self.layers)

    @property
    def n_idle_pes(self) -> int:
        """PEs of the chip without weights."""
        return self.n_pe_slots - sum(len(layer.pes) for layer in self.layers)

    @property
    def n_idle_crossbars(self) -> int:
        """Crossbars of the chip without weights."""
        return self.n_crossbar_slots - self.n_crossbars


def map_network(network: Network, hw: HardwareConfig, *, exact: bool = True) -> Mapping:
    """Place every layer of a network on the crossbars, PEs and tiles of a design.

    ``exact=False`` is for runs that only price the network: sums may then be wider than exact arithmetic.

    Raises:
        MappingError: a graph that cannot be mapped, one that needs more than ``MAX_PES`` PEs or more tiles than the
            chip has, or a mesh smaller than the tiles.
        NetworkError: sums too large for exact arithmetic.
    """
    lowered = lower_network(network, exact=exact)
    footprints = [footprint(layer, hw, network.n_timesteps) for layer in lowered]
    _check_size(network, hw, footprints)
    replicas = _replicas(footprints, hw)
    layers: list[MappedLayer] = []
    slot = 0
    for layer, n_replicas in zip(lowered, replicas, strict=True):
        mapped, slot = _map_layer(layer, hw, slot, n_replicas)
        layers.append(mapped)
    n_tiles = math.ceil(slot / hw.tile.pes_per_tile)
    n_chip_tiles = n_tiles if hw.chip.tiles is None else hw.chip.tiles
    _check_capacity(network, hw, layers, n_tiles)
    traffic = network_traffic(layers, hw, network.n_timesteps)
    n_pe_slots = n_chip_tiles * hw.tile.pes_per_tile
    return Mapping(
        network=network,
        layers=tuple(layers),
        n_tiles=n_tiles,
        n_chip_tiles=n_chip_tiles,
        n_pe_slots=n_pe_slots,
        n_crossbar_slots=n_pe_slots * hw.tile.crossbars_per_pe,
        traffic=traffic,
        placement=_place(traffic, n_chip_tiles, hw),
    )


def _place(traffic: tuple[Flow, ...], n_tiles: int, hw: HardwareConfig) -> Placement:
    if hw.noc.placement == "row_major":
        return place_row_major(n_tiles, hw.noc.mesh)
    if hw.noc.placement == "greedy":
        return place_greedy(traffic, n_tiles, hw.noc.mesh)
    return place_annealed(traffic, n_tiles, hw.noc.mesh, hw.noc.placement_seed)


def _check_size(network: Network, hw: HardwareConfig, footprints: list[Footprint]) -> None:
    n_pes = sum(item.n_pes for item in footprints)
    if n_pes > MAX_PES:
        raise MappingError(
            f"network {network.name} on {hw.name}: {n_pes} PEs of {hw.crossbar.rows} x {hw.crossbar.cols} cells, at "
            f"most {MAX_PES} are simulated; use larger crossbars or more tile.crossbars_per_pe"
        )


def _check_capacity(network: Network, hw: HardwareConfig, layers: list[MappedLayer], n_tiles: int) -> None:
    if hw.chip.tiles is None or n_tiles <= hw.chip.tiles:
        return
    homeless = sum(pe.n_crossbars for layer in layers for pe in layer.pes if pe.tile >= hw.chip.tiles)
    raise MappingError(
        f"network {network.name} on {hw.name}: the weights need {n_tiles} tiles and chip.tiles is {hw.chip.tiles}, so "
        f"{n_tiles - hw.chip.tiles} tiles with {homeless} crossbars of weights do not fit; give chip.tiles at least "
        f"{n_tiles}, or use larger crossbars, more PEs a tile, or fewer weight bits"
    )


def _replicas(footprints: list[Footprint], hw: HardwareConfig) -> list[int]:
    """Replicas of each layer; one each where the chip is too small, which ``_check_capacity`` then says."""
    if hw.dataflow.replication == "none" or hw.chip.tiles is None:
        return [1] * len(footprints)
    return balance(footprints, hw, min(hw.chip.tiles, MAX_PES // hw.tile.pes_per_tile))


def _map_layer(layer: LoweredLayer, hw: HardwareConfig, slot: int, n_replicas: int) -> tuple[MappedLayer, int]:
    """The layer on the PE slots of the chip from ``slot`` on, and the first slot behind it."""
    crossbar = hw.crossbar
    scheme = slice_scheme(
        layer.weight_bits, layer.weight_scheme, crossbar.cell_bits, crossbar.scheme, crossbar.dummy_column
    )
    row_blocks = math.ceil(layer.n_rows / crossbar.rows)
    blocks: list[OutputBlock] = []
    pes: list[Pe] = []
    for replica in range(n_replicas):
        if hw.tile.sharing == "exclusive":
            slot = math.ceil(slot / hw.tile.pes_per_tile) * hw.tile.pes_per_tile
        first = len(pes)
        _map_replica(layer, scheme, row_blocks, hw, replica, slot, blocks, pes)
        slot += len(pes) - first
    mapped = MappedLayer(
        layer=layer,
        scheme=scheme,
        row_blocks=row_blocks,
        rows_per_crossbar=crossbar.rows,
        cols_per_crossbar=crossbar.cols,
        rows_per_read=crossbar.rows_per_read,
        reads_per_vector=crossbar.reads_per_vector,
        n_replicas=n_replicas,
        column_group=column_group(layer),
        blocks=tuple(blocks),
        pes=tuple(pes),
    )
    return mapped, slot


def _map_replica(
    layer: LoweredLayer,
    scheme: SliceScheme,
    row_blocks: int,
    hw: HardwareConfig,
    replica: int,
    slot: int,
    blocks: list[OutputBlock],
    pes: list[Pe],
) -> None:
    """Append the blocks and PEs of one replica that starts at a PE slot of the chip."""
    cols, crossbars_per_pe = hw.crossbar.cols - scheme.dummy_columns, hw.tile.crossbars_per_pe
    per_block = max(1, cols // scheme.columns_per_output)
    slot -= len(pes)
    for group in range(layer.n_groups):
        for first_output in range(0, layer.n_outputs, per_block):
            n_outputs = min(per_block, layer.n_outputs - first_output)
            first_pe, columns = len(pes), n_outputs * scheme.columns_per_output
            for first_column, first_row_block in _parts(columns, cols, row_blocks, crossbars_per_pe):
                pes.append(
                    Pe(
                        index=len(pes),
                        replica=replica,
                        block=len(blocks),
                        first_row_block=first_row_block,
                        n_crossbars=min(crossbars_per_pe, row_blocks - first_row_block),
                        first_column=first_column,
                        cols_used=min(cols, columns - first_column) + scheme.dummy_columns,
                        tile=(slot + len(pes)) // hw.tile.pes_per_tile,
                    )
                )
            blocks.append(
                OutputBlock(
                    index=len(blocks),
                    replica=replica,
                    group=group,
                    first_output=first_output,
                    n_outputs=n_outputs,
                    first_pe=first_pe,
                    n_pes=len(pes) - first_pe,
                    home_tile=pes[-1].tile,
                )
            )


def _parts(columns: int, cols: int, row_blocks: int, crossbars_per_pe: int) -> list[tuple[int, int]]:
    """(first column, first row block) of every PE of one output block."""
    return [
        (first_column, first_row_block)
        for first_column in range(0, columns, cols)
        for first_row_block in range(0, row_blocks, crossbars_per_pe)
    ]
