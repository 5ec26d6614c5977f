"""Ideal hardware is a choice of cells, not of results: every mapping computes the integer network."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, networks, random_spikes
from oracles.integer_network import walk

from spikeloop.simulator.functional.crossbar import read_layer
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.mapping.tiles import map_network
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

_SEEN: Counter[str] = Counter()


def functional(network, hw, spikes, **options):
    mapping = map_network(network, hw)
    shift = (0,) * len(mapping.layers)
    return run_functional(network, mapping, hw, spikes, adc_shift=shift, record=True, **options)


@settings(max_examples=120)
@given(network=networks(), hw=designs(), seed=st.integers(0, 999))
def _check_against_the_walk(network, hw, seed):
    spikes = random_spikes(network, 2, seed)
    outputs, expected = functional(network, hw, spikes), walk(network, spikes.codes)
    assert np.array_equal(outputs.logits, expected.logits)
    for node in network.nodes:
        if isinstance(node, LifNode):
            assert np.array_equal(outputs.spikes[node.name], expected.spikes[node.name])
            assert np.array_equal(outputs.membranes[node.name], expected.membranes[node.name])
        elif isinstance(node, BatchNormNode):
            _SEEN["negative mantissa"] += int((node.m < 0).sum())
    assert not outputs.clipped.any()
    _SEEN["tie at threshold"] += expected.ties_at_threshold
    _SEEN["tie to even"] += expected.ties_to_even
    _SEEN["negative membrane"] += expected.negative_membranes
    _SEEN["saturated high"] += expected.saturated_high
    _SEEN["saturated low"] += expected.saturated_low
    _SEEN["spike"] += sum(int(np.sum(part)) for part in expected.spikes.values())
    _SEEN[hw.crossbar.scheme] += 1


def test_functional_equals_the_integer_walk_and_the_hard_cases_occurred():
    _SEEN.clear()
    _check_against_the_walk()
    for case in (
        "negative mantissa",
        "tie at threshold",
        "tie to even",
        "negative membrane",
        "saturated high",
        "saturated low",
        "spike",
    ):
        assert _SEEN[case] >= 30, (case, _SEEN)
    assert min(_SEEN["differential"], _SEEN["offset"]) >= 20


@settings(max_examples=40)
@given(network=networks(), hw=designs(lossless=False), seed=st.integers(0, 999))
def test_an_image_does_not_depend_on_its_batch(network, hw, seed):
    spikes = random_spikes(network, 3, seed)
    together = functional(network, hw, spikes)
    for image in range(3):
        alone = functional(network, hw, spikes.take(image, image + 1))
        assert np.array_equal(alone.logits[0], together.logits[image])


@settings(max_examples=40)
@given(network=networks(), hw=designs(), seed=st.integers(0, 999))
def test_the_clock_gets_the_activity_of_the_first_images(network, hw, seed):
    spikes = random_spikes(network, 3, seed)
    kept = functional(network, hw, spikes, cycle_images=2)
    assert kept.activity.n_images == 2
    for image in range(2):
        alone = functional(network, hw, spikes.take(image, image + 1)).activity
        for layer, own in zip(kept.activity.layers, alone.layers, strict=True):
            assert np.array_equal(layer.active_rows[image], own.active_rows[0])
            assert np.array_equal(layer.input_ones[image], own.input_ones[0])
    sent = [part for name, part in kept.spikes.items() if isinstance(network.node(name), LifNode)]
    for layer, spiked in zip(kept.activity.layers, sent, strict=False):
        assert np.array_equal(layer.spikes_out, spiked[:, :2].sum(axis=(2, 3, 4)).T)
    lead = spikes.codes[None] if network.input.static else spikes.codes
    bits = [[sum(bin(int(v) % 2**network.input.bits).count("1") for v in image.flat) for image in run] for run in lead]
    assert np.array_equal(kept.activity.layers[0].input_ones, np.array(bits)[:, :2].T)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999),
    bits=st.integers(2, 5),
    static=st.booleans(),
    kernel=st.integers(1, 3),
    steps=st.integers(1, 3),
)
def test_a_pooled_stream_read_by_the_classifier_equals_the_walk(seed, bits, static, kernel, steps):
    """A signed sum has the planes of its two's complement codes and no spare one."""
    rng = np.random.default_rng(seed)
    nodes = (
        InputNode(name="in", shape=(2, 3, 3), bits=3, static=static),
        ConvNode(name="a", weight=rng.integers(-3, 4, size=(2, 2, 1, 1)), weight_bits=3),
        ConvNode(name="b", weight=rng.integers(-3, 4, size=(2, 2, 1, 1)), weight_bits=3),
        AddNode(name="add", mode="stream", stream_bits=bits),
        SumPoolNode(name="pool", kernel=kernel, stride=1),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=rng.integers(-3, 4, size=(3, 2 * (4 - kernel) ** 2)), weight_bits=3),
        ReadoutNode(name="out", bias=rng.integers(-5, 6, size=3)),
    )
    edges = (("in", "a"), ("in", "b"), ("a", "add"), ("b", "add"), *chain_edges(nodes[3:]))
    network = Network(name="pooled", n_timesteps=steps, nodes=nodes, edges=edges)
    spikes = random_spikes(network, 2, seed)
    assert np.array_equal(functional(network, design(), spikes).logits, walk(network, spikes.codes).logits)
    planes = map_network(network, design()).layers[2].layer.input.n_planes
    lowest, highest = -(2 ** (bits - 1)) * kernel**2, (2 ** (bits - 1) - 1) * kernel**2
    assert planes == next(b for b in range(1, 12) if -(2 ** (b - 1)) <= lowest and highest < 2 ** (b - 1))


@settings(max_examples=30)
@given(network=networks(), hw=designs(), seed=st.integers(0, 999))
def test_active_rows_are_the_spikes_that_the_windows_saw(network, hw, seed):
    """Sum over row groups does not depend on how rows are cut, and zero input drives nothing."""
    spikes = random_spikes(network, 2, seed)
    cut = functional(network, hw, spikes, cycle_images=2).activity
    whole = functional(network, design(rows=4096, cols=4), spikes, cycle_images=2).activity
    for a, b in zip(cut.layers, whole.layers, strict=True):
        total_a = a.active_rows.astype(np.int64).sum(axis=(3, 4))
        total_b = b.active_rows.astype(np.int64).sum(axis=(3, 4))
        assert np.array_equal(total_a, total_b)
        assert np.array_equal(a.spikes_out, b.spikes_out)
    silent = spikes.__class__(name="silent", codes=np.zeros_like(spikes.codes), labels=None, indices=spikes.indices)
    assert not functional(network, hw, silent).activity.layers[0].active_rows.any()


@settings(max_examples=40)
@given(network=networks(), hw=designs(), seed=st.integers(0, 999), shift=st.integers(1, 4))
def test_rounding_error_stays_below_half_an_lsb_a_conversion(network, hw, seed, shift):
    mapped = map_network(network, hw).layers[0]
    scheme, layer = mapped.scheme, mapped.layer
    spikes = random_spikes(network, 2, seed)
    codes = spikes.codes if not network.input.static else spikes.codes[None]
    exact = read_layer(mapped, codes, adc_shift=0, adc_bits=14).psum
    coarse = read_layer(mapped, codes, adc_shift=shift, adc_bits=14)
    places = sum(2**plane for plane in range(layer.input.n_planes)) * sum(
        2 ** (piece * scheme.cell_bits) for piece in range(scheme.n_slices)
    )
    reads = mapped.row_blocks * mapped.reads_per_vector
    bound = scheme.weight_gain * scheme.n_signs * reads * places * 2 ** (shift - 1)
    assert np.abs(coarse.psum - exact).max() <= bound
    assert not coarse.clipped.any()
