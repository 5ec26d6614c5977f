"""Mapping laws: every weight lies on exactly one set of cells, and the cells give the weight back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import affine_weights, designs, networks, symmetric_weights

from spikeloop.simulator.mapping.place import place_row_major
from spikeloop.simulator.mapping.slices import cell_codes, slice_scheme, weights_from_cells
from spikeloop.simulator.mapping.tiles import map_network


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
            covered[block.group, rows, first : first + pe.cols_used] += 1
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


@given(n=st.integers(1, 60), source=st.integers(0, 59), seed=st.integers(0, 99))
def test_multicast_tree_is_the_union_of_xy_routes(n, source, seed):
    placement = place_row_major(n)
    source %= n
    targets = tuple(int(t) for t in np.random.default_rng(seed).integers(0, n, size=5))
    links = set()
    for target in targets:
        (x, y), (tx, ty) = placement.xy[source], placement.xy[target]
        while (x, y) != (tx, ty):
            step = (x + (tx > x) - (tx < x), y) if x != tx else (x, y + (ty > y) - (ty < y))
            links.add(((x, y), step))
            x, y = step
        assert placement.hops(source, target) == sum(1 for _ in _route(placement, source, target))
    assert placement.multicast_links(source, targets) == len(links)


def _route(placement, source, target):
    (x, y), (tx, ty) = placement.xy[source], placement.xy[target]
    while (x, y) != (tx, ty):
        x, y = (x + (tx > x) - (tx < x), y) if x != tx else (x, y + (ty > y) - (ty < y))
        yield x, y
