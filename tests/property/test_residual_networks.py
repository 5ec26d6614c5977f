"""Residual graphs compute the integers of the plain walk on any crossbars, and lower into the layers they should."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, random_spikes, residual_networks
from oracles.integer_network import walk

from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.lower import INPUT, lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    AddNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    chain_edges,
)

_SEEN: Counter[str] = Counter()


def functional(network, hw, spikes):
    mapping = map_network(network, hw)
    shift = (0,) * len(mapping.layers)
    return run_functional(network, mapping, hw, spikes, adc_shift=shift, record=True)


@settings(max_examples=280, deadline=None)
@given(network=residual_networks(), hw=designs(), seed=st.integers(0, 999))
def _check_against_the_walk(network, hw, seed):
    spikes = random_spikes(network, 2, seed)
    outputs, expected = functional(network, hw, spikes), walk(network, spikes.codes)
    assert np.array_equal(outputs.logits, expected.logits)
    for node in network.nodes:
        if isinstance(node, LifNode):
            assert np.array_equal(outputs.spikes[node.name], expected.spikes[node.name])
            assert np.array_equal(outputs.membranes[node.name], expected.membranes[node.name])
            _SEEN["shift left"] += node.input_shift > 0
            _SEEN["shift right"] += node.input_shift < 0
        _SEEN["add of one input"] += isinstance(node, AddNode) and len(network.sources(node.name)) == 1
        _SEEN["three consumers"] += len(network.consumers(node.name)) >= 3
    assert not outputs.clipped.any()
    _SEEN["spike"] += sum(int(np.sum(part)) for part in expected.spikes.values())
    _SEEN["stream saturated"] += expected.stream_saturated > 0
    _SEEN["sew above one"] += expected.sew_above_one > 0
    for layer in lower_network(network):
        _SEEN["signed conv input"] += layer.input.signed
        _SEEN["static stem feeds an add"] += (
            layer.input.static
            and network.n_timesteps > 1
            and any((layer.index, 0) in op.residuals for other in lower_network(network) for op in other.ops)
        )


def test_residual_graphs_equal_the_walk_and_the_hard_cases_occurred():
    _SEEN.clear()
    _check_against_the_walk()
    for case in (
        "spike",
        "shift left",
        "shift right",
        "three consumers",
        "add of one input",
        "stream saturated",
        "sew above one",
        "signed conv input",
        "static stem feeds an add",
    ):
        assert _SEEN[case] >= 10, (case, _SEEN)


@settings(max_examples=80, deadline=None)
@given(network=residual_networks())
def test_every_node_is_a_layer_or_an_op_of_its_owner(network):
    """Written down again from the rule: an op belongs to the source's layer, an add to the highest of them."""
    layers = lower_network(network)
    owner = {network.input.name: -1}
    weights = [node for node in network.order() if isinstance(node, ConvNode | LinearNode)]
    assert [layer.name for layer in layers] == [node.name for node in weights]
    for node in network.order():
        sources = [owner[source.name] for source in network.sources(node.name)]
        if node in weights:
            owner[node.name] = weights.index(node)
            assert layers[owner[node.name]].input_signal.layer == sources[0] < owner[node.name]
        elif sources:
            owner[node.name] = max(sources)
            if not isinstance(node, FlattenNode):
                (op,) = [op for op in layers[max(sources)].ops if op.name == node.name]
                assert op.shape == network.shapes[node.name]
                if isinstance(node, AddNode):
                    far = [source for source in sources if source != max(sources)]
                    assert [signal.layer for signal in op.residuals] == far
                    assert len(op.sources) == len(sources) - len(far)
    for layer in layers:
        assert layer.ops[0].kind == "norm"
        assert all(source < i for i, op in enumerate(layer.ops) for source in op.sources)
        assert all(signal.layer < layer.index for op in layer.ops for signal in op.residuals)


@settings(max_examples=80, deadline=None)
@given(network=residual_networks(), seed=st.integers(0, 999))
def test_no_value_exceeds_the_format_of_its_op(network, seed):
    """Bits and magnitudes are bounds: of streams, sums of spikes and pooled values on real runs."""
    seen = {}
    spikes = random_spikes(network, 2, seed)
    walk(network, spikes.codes, seen=seen)
    for op in (op for layer in lower_network(network) for op in layer.ops if op.kind != "readout"):
        low, high = min(map(np.min, seen[op.name])), max(map(np.max, seen[op.name]))
        assert max(abs(int(low)), int(high)) <= op.code_max
        assert -(2 ** (op.bits - 1)) <= low if op.signed else low >= 0
        assert high < 2 ** (op.bits - op.signed)


@settings(max_examples=30, deadline=None)
@given(network=residual_networks(), hw=designs(lossless=False), seed=st.integers(0, 999))
def test_calibration_and_random_activity_cover_residual_networks(network, hw, seed):
    mapping = map_network(network, hw)
    shift = calibrate_adc(network, mapping, hw, random_spikes(network, 2, seed))
    measured = run_functional(network, mapping, hw, random_spikes(network, 1, seed), adc_shift=shift).activity
    drawn = random_activity(mapping, 0.2, n_images=1, seed=seed)
    for a, b, item in zip(measured.layers, drawn.layers, mapping.layers, strict=True):
        assert a.active_rows.shape == b.active_rows.shape
        assert a.n_runs == (1 if item.layer.input_signal == INPUT and network.input.static else network.n_timesteps)


def test_a_stream_of_held_sums_is_read_at_every_step():
    """A static input's sums are held, but the layer behind the stream runs T times: [1, 1, 3] runs."""
    one = np.ones((1, 1, 1, 1), dtype=np.int64)
    nodes = (
        InputNode(name="in", shape=(1, 2, 2), bits=2, static=True),
        ConvNode(name="a", weight=one, weight_bits=2),
        ConvNode(name="b", weight=-one, weight_bits=2),
        AddNode(name="add", mode="stream", stream_bits=4),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=np.ones((2, 4), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    edges = (("in", "a"), ("in", "b"), ("a", "add"), ("b", "add"), *chain_edges(nodes[3:]))
    network = Network(name="held", n_timesteps=3, nodes=nodes, edges=edges)
    spikes = random_spikes(network, 2, 0)
    outputs = functional(network, design(), spikes)
    assert [layer.n_runs for layer in outputs.activity.layers] == [1, 1, 3]
    assert np.array_equal(outputs.logits, walk(network, spikes.codes).logits)
