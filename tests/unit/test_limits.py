"""What is too large is refused before it is allocated, with an estimate."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, networks

from spikeloop.simulator import limits
from spikeloop.simulator.config import TileConfig
from spikeloop.simulator.errors import MappingError
from spikeloop.simulator.limits import MAX_BYTES
from spikeloop.simulator.mapping import tiles
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.replicate import footprint
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
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
        assert footprint(item.layer, hw, network.n_timesteps).n_pes == len(item.pes)


def _streamed(size, n_timesteps):
    """A stem whose stream waits for a second layer, behind two that are small."""
    one = np.ones((1, 1, 1, 1), dtype=np.int64)
    nodes = (
        InputNode(name="in", shape=(1, size, size)),
        ConvNode(name="stem", weight=one, weight_bits=2),
        LifNode(name="lif", theta=1, membrane_bits=4),
        ConvNode(name="first", weight=one, weight_bits=2),
        LifNode(name="lif1", theta=1, membrane_bits=4),
        ConvNode(name="second", weight=one, weight_bits=2),
        AddNode(name="add", mode="stream", stream_bits=4),
        SumPoolNode(name="pool", kernel=size, stride=size),
        LinearNode(name="fc", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    edges = (*chain_edges(nodes), ("stem", "add"))
    return Network(name="residual", n_timesteps=n_timesteps, nodes=nodes, edges=edges)


def test_a_residual_is_held_until_the_add_that_reads_it():
    """16 positions of int64 codes and 3 steps wait while ``first`` is computed; nothing waits elsewhere."""
    mapping = tiles.map_network(_streamed(4, 3), design(rows=64, cols=64))
    assert limits._held_bytes(mapping) == [0, 16 * 3 * 8, 0, 0]


def test_a_pipelined_run_is_one_phase_and_a_recorded_one_keeps_its_tokens():
    """``stem``: 3 runs of 16 positions, one row part, one tile: 5 services of 8 bytes three times each token."""
    mapping = tiles.map_network(_streamed(4, 3), design(rows=64, cols=64))
    apart = limits.clock_bytes(mapping, cycle_images=5, pipelined=False)
    assert apart[0] == 3 * 16 * 5 * 8 * 3
    assert limits.clock_bytes(mapping, cycle_images=5, pipelined=True) == [5 * value for value in apart]
    recorded = limits.clock_bytes(mapping, cycle_images=5, pipelined=False, recorded=True)
    assert recorded[0] - apart[0] == 3 * 16 * 6 * 48


def test_a_clock_beyond_the_memory_limit_is_refused():
    mapping = tiles.map_network(_streamed(64, 64), design(rows=64, cols=64))
    limits.check_memory(mapping, n_images=1, cycle_images=1, pipelined=True)
    limits.check_memory(mapping, n_images=1, cycle_images=100, pipelined=False)
    with pytest.raises(MappingError, match=r"about \d+\.\d+ GiB \(most in stem\), at most 4 GiB"):
        limits.check_memory(mapping, n_images=1, cycle_images=100, pipelined=True)


def _node(kind, name):
    fields = {
        "pool": (SumPoolNode, {"kernel": 1, "stride": 1}),
        "lif": (LifNode, {"theta": 1, "membrane_bits": 4}),
        "bn": (BatchNormNode, {**dict.fromkeys("nke", np.zeros(1, dtype=np.int64)), "m": np.array([2]), "bn_bits": 3}),
        "conv": (ConvNode, {"weight": np.ones((1, 1, 1, 1), dtype=np.int64), "weight_bits": 2}),
        "flat": (FlattenNode, {}),
        "stream": (AddNode, {"mode": "stream", "stream_bits": 4}),
        "wide": (AddNode, {"mode": "stream", "stream_bits": 32}),
        "sew": (AddNode, {"mode": "sew", "stream_bits": 4}),
    }
    cls, values = fields[kind]
    return cls(name=name, **values)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (["pool"], "n0 reads in, the network input; a pool reads spikes or a sum of spikes or a residual stream, so"),
        (["lif"], "n0 reads in, the network input; a LIF reads sums behind weights or batch norm or a residual"),
        (["conv", "pool"], "n1 reads n0, sums behind weights or batch norm; a pool reads spikes"),
        (["conv", "lif", "lif"], "n2 reads n1, spikes; a LIF reads sums"),
        (["conv", "lif", "pool", "lif"], "n3 reads n2, pooled values; a LIF reads sums"),
        (["conv", "lif", "pool", "pool"], "n3 reads n2, pooled values; a pool reads spikes"),
        (["conv", "lif", "bn"], "n2 follows n1; a tile applies batch norm to the sums of a conv or linear node"),
        (["conv", "bn", "bn"], "n2 follows n1; a tile applies batch norm"),
        (["conv", "conv"], "n1 reads n0, the sums of another layer; put a LIF or a residual add"),
        (["conv", "bn", "conv"], "n2 reads n1, the sums of another layer"),
        (["conv", "flat", "lif"], "n2 reads n1; a flattened map can only be read by a linear node"),
        (["conv", "lif", "flat", "conv"], "n3 reads n2; a flattened map can only be read by a linear node"),
        # An add has the first conv as its other source.
        (["conv", "lif", "conv", "lif", "stream"], "add reads n3, spikes; an add of mode stream reads sums"),
        (["conv", "lif", "conv", "sew"], "add reads n2, sums behind weights or batch norm; an add of mode sew reads"),
        (["conv", "lif", "conv", "wide", "conv"], "n4 reads codes of 32 bits; wordlines take at most 31 bit planes"),
    ],
)
def test_nodes_in_an_order_that_no_tile_computes_are_refused_with_the_node_named(middle, message):
    adds = ("stream", "wide", "sew")
    nodes = [InputNode(name="in", shape=(1, 1, 1))]
    nodes += [_node(kind, "add" if kind in adds else f"n{i}") for i, kind in enumerate(middle)]
    nodes.append(LinearNode(name="fc", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2))
    nodes.append(ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)))
    edges = list(chain_edges(nodes))
    edges += [("n0", "add")] if nodes[-3].name == "add" or "wide" in middle else []
    network = Network(name="big", n_timesteps=1, nodes=tuple(nodes), edges=tuple(edges))
    with pytest.raises(MappingError, match=message) as caught:
        lower_network(network)
    assert "\n" not in str(caught.value)


def test_an_add_on_the_network_input_and_sums_with_two_readers_before_their_batch_norm_are_refused():
    conv, bn = _node("conv", "conv"), _node("bn", "bn")
    ends = (
        LinearNode(name="fc", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    nodes = (InputNode(name="in", shape=(1, 1, 1)), conv, bn, _node("stream", "add"), *ends)
    with pytest.raises(MappingError, match="add reads in, the network input; an add of mode stream reads sums"):
        lower_network(Network(name="x", n_timesteps=1, nodes=nodes, edges=(*chain_edges(nodes), ("in", "add"))))
    with pytest.raises(MappingError, match="bn: conv feeds other nodes beside its batch norm; let them read bn"):
        lower_network(Network(name="x", n_timesteps=1, nodes=nodes, edges=(*chain_edges(nodes), ("conv", "add"))))


def test_a_readout_of_something_else_than_sums_is_refused():
    nodes = (InputNode(name="in", shape=(2, 1, 1)), ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)))
    with pytest.raises(MappingError, match="out reads in, the network input; the readout reads sums behind weights"):
        tiles.map_network(_chain(*nodes), design(rows=64, cols=64))
