"""What is too large is refused before it is allocated, with an estimate."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, networks

from spikeloop.simulator.config import TileConfig
from spikeloop.simulator.errors import MappingError
from spikeloop.simulator.limits import MAX_BYTES
from spikeloop.simulator.mapping import tiles
from spikeloop.simulator.network.graph import (
    BatchNormNode,
    ConvNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)
from spikeloop.simulator.pipeline import simulate_density


def _chain(*nodes, n_timesteps=1):
    return Network(name="big", n_timesteps=n_timesteps, nodes=nodes, edges=chain_edges(nodes))


def _wide(size, n_timesteps):
    """A convolution of a size x size image whose outputs are pooled to one position."""
    return _chain(
        InputNode(name="in", shape=(1, size, size)),
        ConvNode(name="conv", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        LifNode(name="lif", theta=1, membrane_bits=4),
        SumPoolNode(name="pool", kernel=1024, stride=1024),
        LinearNode(name="fc", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
        n_timesteps=n_timesteps,
    )


def test_a_run_beyond_the_memory_limit_is_refused_before_it_is_allocated():
    hw = design(rows=64, cols=64)
    tracemalloc.start()
    try:
        with pytest.raises(MappingError, match=r"time steps would take about \d+ GiB \(most in conv\), at most 4 GiB"):
            simulate_density(_wide(1024, 4096), hw, 0.1, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6 < MAX_BYTES


def test_a_chip_of_too_many_pes_is_refused_before_they_are_made():
    nodes = (
        InputNode(name="in", shape=(512, 1, 1)),
        LinearNode(name="fc", weight=np.ones((256, 512), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(256, dtype=np.int64)),
    )
    hw = design(rows=1, cols=1, columns_per_adc=1, tile=TileConfig(crossbars_per_pe=1))
    with pytest.raises(MappingError, match=r"262144 PEs of 1 x 1 cells, at most 65536"):
        tiles.map_network(_chain(*nodes), hw)


@settings(max_examples=60)
@given(
    network=networks(),
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    per_pe=st.integers(1, 4),
    cell_bits=st.integers(1, 3),
)
def test_the_count_before_mapping_is_the_number_of_pes_made(network, rows, cols, per_pe, cell_bits):
    hw = design(rows=rows, cols=cols, cell_bits=cell_bits, tile=TileConfig(crossbars_per_pe=per_pe))
    for item in tiles.map_network(network, hw).layers:
        assert tiles._count_pes(item.layer, hw) == len(item.pes)


@pytest.mark.parametrize(
    "middle",
    [
        (SumPoolNode(name="pool", kernel=2, stride=2), LifNode(name="lif", theta=1, membrane_bits=4)),
        (
            LifNode(name="lif", theta=1, membrane_bits=4),
            BatchNormNode(name="bn", m=np.array([2]), n=np.zeros(1), k=np.zeros(1), e=np.zeros(1), bn_bits=3),
        ),
    ],
)
def test_nodes_in_an_order_that_no_tile_computes_are_refused(middle):
    middle = tuple(_as_integers(node) for node in middle)
    size = math.prod(2 if isinstance(node, SumPoolNode) else 1 for node in middle)
    side = 4 // size
    nodes = (
        InputNode(name="in", shape=(1, 4, 4)),
        ConvNode(name="conv", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        *middle,
        LinearNode(name="fc", weight=np.ones((2, side * side), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    with pytest.raises(MappingError, match=f"conv: {middle[1].name} comes after {middle[0].name}"):
        tiles.map_network(_chain(*nodes), design(rows=64, cols=64))


def test_a_network_without_weights_is_refused():
    nodes = (InputNode(name="in", shape=(2, 1, 1)), ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)))
    with pytest.raises(MappingError, match="no conv or linear node"):
        tiles.map_network(_chain(*nodes), design(rows=64, cols=64))


def _as_integers(node):
    if not isinstance(node, BatchNormNode):
        return node
    zeros = np.zeros(1, dtype=np.int64)
    return BatchNormNode(name=node.name, m=node.m, n=zeros, k=zeros, e=zeros, bn_bits=node.bn_bits)
