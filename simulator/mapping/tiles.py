"""Tiles: how a layer's matrix is cut into crossbars, crossbars into PEs, PEs into tiles.

Rows are cut every ``rows`` rows. Columns are cut into *output blocks*: as many whole outputs as fit
``cols``; an output with more columns than a crossbar spans several crossbars. A PE holds up to
``crossbars_per_pe`` row blocks of the same columns and reads them in lockstep. PEs are numbered by output
block, span, row part, and fill tiles in that order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import networkx as nx

from ..config import HardwareConfig
from ..errors import MappingError
from ..network.graph import Network
from .lower import LoweredLayer, lower_network
from .place import Placement, place_row_major
from .slices import SliceScheme, slice_scheme

#: Most PEs of a chip: the tables of the clock grow with them, and 2^16 already take seconds to build.
MAX_PES = 65_536


@dataclass(frozen=True, kw_only=True)
class Pe:
    """One processing element of a layer.

    Attributes:
        index: number inside the layer.
        block: output block that it serves.
        first_row_block: first of its ``n_crossbars`` row blocks.
        first_column: first physical column, counted inside the output block.
        cols_used: bitlines that hold weights, per crossbar.
        tile: global tile number.
    """

    index: int
    block: int
    first_row_block: int
    n_crossbars: int
    first_column: int
    cols_used: int
    tile: int


@dataclass(frozen=True, kw_only=True)
class OutputBlock:
    """Outputs ``first_output .. + n_outputs`` of a convolution group and the PEs that compute them.

    Their neurons live in ``home_tile``, the tile of the last of these PEs.
    """

    index: int
    group: int
    first_output: int
    n_outputs: int
    first_pe: int
    n_pes: int
    home_tile: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedLayer:
    """A lowered layer on its crossbars."""

    layer: LoweredLayer
    scheme: SliceScheme
    row_blocks: int
    rows_per_crossbar: int
    rows_per_read: int
    reads_per_vector: int
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
        """Crossbars that hold weights of this layer."""
        return sum(pe.n_crossbars for pe in self.pes)

    @property
    def n_row_groups(self) -> int:
        """Row groups of one vector: groups x row blocks x reads of a full crossbar (padding included)."""
        return self.layer.n_groups * self.row_blocks * self.reads_per_vector

    def row_group(self, group: int, row_block: int, read: int) -> int:
        """Index of a row group in ``Activity``."""
        return (group * self.row_blocks + row_block) * self.reads_per_vector + read

    def rows_in_group(self, row_block: int, read: int) -> int:
        """Mapped rows of a row group (0: only padding)."""
        in_block = min(self.rows_per_crossbar, self.layer.n_rows - row_block * self.rows_per_crossbar)
        return max(0, min(self.rows_per_read, in_block - read * self.rows_per_read))

    def neurons_at(self, tile: int) -> int:
        """Output channels whose neurons live in a tile."""
        return sum(block.n_outputs for block in self.blocks if block.home_tile == tile)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping:
    """A network on a chip: layers on PEs, PEs on tiles, tiles on the mesh."""

    network: Network
    layers: tuple[MappedLayer, ...]
    n_tiles: int
    placement: Placement

    @property
    def graph(self) -> nx.DiGraph:
        """The network's graph."""
        return self.network.graph

    @property
    def n_crossbars(self) -> int:
        """Crossbars that hold weights."""
        return sum(layer.n_crossbars for layer in self.layers)


def map_network(network: Network, hw: HardwareConfig) -> Mapping:
    """Place every layer of a network on the crossbars, PEs and tiles of a design.

    Raises:
        MappingError: a graph that cannot be mapped, or one that needs more than ``MAX_PES`` PEs.
        NetworkError: sums too large for exact arithmetic.
    """
    layers: list[MappedLayer] = []
    per_tile = hw.tile.pes_per_tile
    next_pe = 0
    lowered_layers = lower_network(network)
    n_pes = sum(_count_pes(lowered, hw) for lowered in lowered_layers)
    if n_pes > MAX_PES:
        raise MappingError(
            f"network {network.name} on {hw.name}: {n_pes} PEs of {hw.crossbar.rows} x {hw.crossbar.cols} cells, at "
            f"most {MAX_PES} are simulated; use larger crossbars or more tile.crossbars_per_pe"
        )
    for lowered in lowered_layers:
        if hw.tile.sharing == "exclusive":
            next_pe = math.ceil(next_pe / per_tile) * per_tile
        mapped = _map_layer(lowered, hw, next_pe)
        next_pe += len(mapped.pes)
        layers.append(mapped)
    n_tiles = math.ceil(next_pe / per_tile)
    return Mapping(network=network, layers=tuple(layers), n_tiles=n_tiles, placement=place_row_major(n_tiles))


def _count_pes(layer: LoweredLayer, hw: HardwareConfig) -> int:
    """PEs that ``_map_layer`` will make, without making them."""
    crossbar = hw.crossbar
    columns = slice_scheme(
        layer.weight_bits, layer.weight_scheme, crossbar.cell_bits, crossbar.scheme
    ).columns_per_output
    per_block = max(1, crossbar.cols // columns)
    full, rest = divmod(layer.n_outputs, per_block)
    spans = full * math.ceil(per_block * columns / crossbar.cols) + math.ceil(rest * columns / crossbar.cols)
    parts = math.ceil(math.ceil(layer.n_rows / crossbar.rows) / hw.tile.crossbars_per_pe)
    return layer.n_groups * spans * parts


def _map_layer(layer: LoweredLayer, hw: HardwareConfig, first_pe: int) -> MappedLayer:
    crossbar = hw.crossbar
    scheme = slice_scheme(layer.weight_bits, layer.weight_scheme, crossbar.cell_bits, crossbar.scheme)
    row_blocks = math.ceil(layer.n_rows / crossbar.rows)
    per_block = max(1, crossbar.cols // scheme.columns_per_output)
    blocks: list[OutputBlock] = []
    pes: list[Pe] = []
    for group in range(layer.n_groups):
        for first_output in range(0, layer.n_outputs, per_block):
            n_outputs = min(per_block, layer.n_outputs - first_output)
            first = len(pes)
            for first_column, first_row_block in _parts(
                n_outputs * scheme.columns_per_output, crossbar.cols, row_blocks, hw.tile.crossbars_per_pe
            ):
                pes.append(
                    Pe(
                        index=len(pes),
                        block=len(blocks),
                        first_row_block=first_row_block,
                        n_crossbars=min(hw.tile.crossbars_per_pe, row_blocks - first_row_block),
                        first_column=first_column,
                        cols_used=min(crossbar.cols, n_outputs * scheme.columns_per_output - first_column),
                        tile=(first_pe + len(pes)) // hw.tile.pes_per_tile,
                    )
                )
            blocks.append(
                OutputBlock(
                    index=len(blocks),
                    group=group,
                    first_output=first_output,
                    n_outputs=n_outputs,
                    first_pe=first,
                    n_pes=len(pes) - first,
                    home_tile=pes[-1].tile,
                )
            )
    return MappedLayer(
        layer=layer,
        scheme=scheme,
        row_blocks=row_blocks,
        rows_per_crossbar=crossbar.rows,
        rows_per_read=crossbar.rows_per_read,
        reads_per_vector=crossbar.reads_per_vector,
        blocks=tuple(blocks),
        pes=tuple(pes),
    )


def _parts(columns: int, cols: int, row_blocks: int, crossbars_per_pe: int) -> list[tuple[int, int]]:
    """(first column, first row block) of every PE of one output block."""
    return [
        (first_column, first_row_block)
        for first_column in range(0, columns, cols)
        for first_row_block in range(0, row_blocks, crossbars_per_pe)
    ]
