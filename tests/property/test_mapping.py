"""Mapping laws: every weight lies on exactly one set of cells, and the cells give the weight back."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import affine_weights, designs, networks, residual_networks, symmetric_weights

from spikeloop.simulator.config import ChipConfig, DataflowConfig
from spikeloop.simulator.mapping.place import place_row_major
from spikeloop.simulator.mapping.slices import cell_codes, slice_scheme, weights_from_cells
from spikeloop.simulator.mapping.tiles import map_network

_SEEN: Counter[str] = Counter()


@given(
    bits=st.integers(2, 12),
    cell_bits=st.integers(1, 8),
    kind=st.sampled_from(["differential", "offset", "affine"]),
    seed=st.integers(0, 99),
)
def test_slices_recombine_to_the_weight(bits, cell_bits, kind, seed):
    rng = np.random.default_rng(seed)
    make = affine_weights if kind == "affine" else symmetric_weights
    weights = make(rng, (5, 7), bits)
    scheme = slice_scheme(
        bits, "affine" if kind == "affine" else "symmetric", cell_bits, "offset" if kind == "offset" else "differential"
    )
    codes = cell_codes(weights, scheme)
    assert codes.shape == (5, 7, scheme.n_slices, scheme.n_signs)
    assert codes.max() < 2**cell_bits
    assert np.array_equal(weights_from_cells(codes, scheme), weights)


@settings(max_examples=150)
@given(network=networks(), hw=designs())
def test_every_cell_position_is_covered_once(network, hw):
    for mapped in map_network(network, hw).layers:
        layer, scheme = mapped.layer, mapped.scheme
        columns = layer.n_outputs * scheme.columns_per_output
        covered = np.zeros((layer.n_groups, mapped.row_blocks, columns), dtype=int)
        for pe in mapped.pes:
            block = mapped.blocks[pe.block]
            first = block.first_output * scheme.columns_per_output + pe.first_column
            rows = slice(pe.first_row_block, pe.first_row_block + pe.n_crossbars)
            covered[block.group, rows, first : first + pe.cols_used - scheme.dummy_columns] += 1
            assert 1 <= pe.cols_used <= hw.crossbar.cols
            assert 1 <= pe.n_crossbars <= hw.tile.crossbars_per_pe
        assert (covered == 1).all()
        rows = sum(
            mapped.rows_in_group(block, read)
            for block in range(mapped.row_blocks)
            for read in range(mapped.reads_per_vector)
        )
        assert rows == layer.n_rows
        assert sum(mapped.neurons_at(tile) for tile in mapped.home_tiles) == layer.n_groups * layer.n_outputs


@settings(max_examples=150)
@given(network=networks(), hw=designs())
def test_used_and_padded_cells_are_all_cells(network, hw):
    """Cells that hold weights are counted from the matrix, all cells from the crossbars."""
    for mapped in map_network(network, hw).layers:
        dummies = sum(
            min(hw.crossbar.rows, mapped.layer.n_rows - block * hw.crossbar.rows) * mapped.scheme.dummy_columns
            for pe in mapped.pes
            for block in range(pe.first_row_block, pe.first_row_block + pe.n_crossbars)
        )
        weights = mapped.layer.matrix.size * mapped.scheme.columns_per_output + dummies
        assert mapped.cells.weights == weights
        assert weights + mapped.padded_cells == mapped.n_crossbars * hw.crossbar.rows * hw.crossbar.cols
        _SEEN["row padding"] += mapped.cells.row_padding > 0
        _SEEN["column padding"] += mapped.cells.column_padding > 0
        _SEEN["no padding"] += mapped.padded_cells == 0


@st.composite
def replicated(draw):
    """A network on a chip with some tiles to spare, filled with replicas."""
    network, hw = draw(st.one_of(networks(), residual_networks())), draw(designs())
    tiles = map_network(network, hw).n_tiles + draw(st.integers(0, 12))
    update = {"chip": ChipConfig(tiles=tiles), "dataflow": DataflowConfig(replication="balanced")}
    return map_network(network, hw.model_copy(update=update)), hw


@settings(max_examples=120)
@given(case=replicated())
def test_every_position_is_in_one_replica_and_windows_are_not_cut(case):
    mapping, _ = case
    for mapped in mapping.layers:
        layer = mapped.layer
        for number, op in enumerate(layer.ops):
            _, height, width = op.shape
            share = [mapped.positions(replica, number) for replica in range(mapped.n_replicas)]
            assert sorted(np.concatenate(share).tolist()) == list(range(height * width))
            assert all((np.diff(positions) > 0).all() for positions in share)
            owner = {int(p): replica for replica, positions in enumerate(share) for p in positions}
            if op.kind != "pool":
                continue
            source_width = layer.ops[op.sources[0]].shape[2]
            before = {
                int(p): replica
                for replica in range(mapped.n_replicas)
                for p in mapped.positions(replica, op.sources[0])
            }
            k, stride = op.node.kernel, op.node.stride
            for y, x in np.ndindex(height, width):
                window = {before[(y * stride + i) * source_width + x * stride + j] for i in range(k) for j in range(k)}
                assert window == {owner[y * width + x]}
            _SEEN["pooled replicas"] += mapped.n_replicas > 1
        _SEEN["replicas"] += mapped.n_replicas > 1


@settings(max_examples=120)
@given(case=replicated())
def test_replicas_hold_the_same_weights_on_pes_of_their_own(case):
    mapping, hw = case
    assert mapping.n_tiles <= mapping.n_chip_tiles == len(set(mapping.placement.xy))
    slots = Counter(pe.tile for mapped in mapping.layers for pe in mapped.pes)
    assert max(slots.values()) <= hw.tile.pes_per_tile
    assert set(slots) == set(range(mapping.n_tiles))
    assert mapping.n_idle_pes == mapping.n_chip_tiles * hw.tile.pes_per_tile - sum(slots.values()) >= 0
    assert mapping.n_idle_crossbars == mapping.n_crossbar_slots - mapping.n_crossbars >= 0
    for mapped in mapping.layers:
        held = []
        for replica in range(mapped.n_replicas):
            pes, blocks = mapped.pes_of(replica), mapped.blocks_of(replica)
            assert {pe.replica for pe in pes} == {block.replica for block in blocks} == {replica}
            assert mapped.tiles_of(replica) == tuple(sorted({pe.tile for pe in pes}))
            assert all(mapped.pes[block.first_pe + block.n_pes - 1].tile == block.home_tile for block in blocks)
            assert sum(mapped.neurons_at(tile, replica) for tile in mapped.home_tiles_of(replica)) == (
                mapped.layer.n_groups * mapped.layer.n_outputs
            )
            held.append([(_weights(mapped, pe), pe.index - pes[0].index) for pe in pes])
            if hw.tile.sharing == "exclusive":
                others = {pe.tile for other in mapping.layers for pe in other.pes if pe not in pes or other != mapped}
                assert not others & set(mapped.tiles_of(replica))
        assert all(weights == held[0] for weights in held)
        assert [pe.index for pe in mapped.pes] == list(range(len(mapped.pes)))
        assert [block.index for block in mapped.blocks] == list(range(len(mapped.blocks)))


def _weights(mapped, pe):
    block = mapped.blocks[pe.block]
    return (
        *(block.group, block.first_output, block.n_outputs, block.n_pes),
        *(pe.first_column, pe.cols_used, pe.first_row_block, pe.n_crossbars),
    )


def test_the_mapped_networks_were_hard():
    hard = ("row padding", "column padding", "no padding", "replicas", "pooled replicas")
    assert min(_SEEN[name] for name in hard) >= 10


@settings(max_examples=80)
@given(network=networks(), hw=designs())
def test_tiles_hold_at_most_their_pes(network, hw):
    mapping = map_network(network, hw)
    per_tile: dict[int, int] = {}
    for mapped in mapping.layers:
        for pe in mapped.pes:
            per_tile[pe.tile] = per_tile.get(pe.tile, 0) + 1
    assert max(per_tile.values()) <= hw.tile.pes_per_tile
    assert max(per_tile) == mapping.n_tiles - 1
    if hw.tile.sharing == "exclusive":
        owners = [set(mapped.tiles) for mapped in mapping.layers]
        assert sum(len(owner) for owner in owners) == len(set().union(*owners))


@pytest.mark.parametrize(
    ("n", "width", "height"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (9, 3, 3), (10, 4, 3)]
)
def test_the_mesh_is_the_smallest_square_without_its_empty_rows(n, width, height):
    placement = place_row_major(n)
    assert (placement.width, placement.height) == (width, height)
    assert placement.xy == tuple((x, y) for y in range(height) for x in range(width))[:n]
