"""Random activity: who draws what, and the codes that it stands for."""

import numpy as np
import pytest
from networks import design

from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    AddNode,
    ConvNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)

N_IMAGES, STEPS = 3, 2


def pooled_network(*, bits=2, signed=False, static=True):
    """Input (1, 24, 24) -> 1x1 conv -> LIF -> pool -> 1x1 conv -> LIF -> classifier; one row a pixel."""
    nodes = [
        InputNode(name="in", shape=(1, 24, 24), bits=bits, signed=signed, static=static),
        ConvNode(name="c1", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        LifNode(name="l1", theta=1, membrane_bits=2),
        SumPoolNode(name="pool1", kernel=2, stride=2),
        ConvNode(name="c2", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        LifNode(name="l2", theta=1, membrane_bits=2),
        LinearNode(name="fc", weight=np.ones((2, 12**2), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    ]
    return Network(name="pooled", n_timesteps=STEPS, nodes=tuple(nodes), edges=chain_edges(nodes))


def drawn(network, density=0.3, n_images=N_IMAGES, seed=5):
    return random_activity(map_network(network, design()), density, n_images=n_images, seed=seed).layers


def codes_of(layer, *, signed=False):
    """Codes (images, runs, positions) of a layer with one row: its active rows are the bits."""
    bits = layer.active_rows[..., 0].astype(np.int64)
    place = 2 ** np.arange(bits.shape[-1])
    if signed:
        place[-1] *= -1
    return (bits * place).sum(axis=-1)


def test_static_pixels_are_drawn_once_and_spikes_at_every_step():
    still, moving = drawn(pooled_network()), drawn(pooled_network(static=False))
    assert [layer.active_rows.shape[1] for layer in still] == [1, STEPS, STEPS]
    assert [layer.active_rows.shape[1] for layer in moving] == [STEPS, STEPS, STEPS]


@pytest.mark.parametrize(("signed", "low", "high"), [(False, 0, 7), (True, -4, 3)])
def test_pixels_are_uniform_over_all_codes(signed, low, high):
    codes = codes_of(drawn(pooled_network(bits=3, signed=signed))[0], signed=signed)
    values, counts = np.unique(codes, return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


def residual_network(*, bits):
    """Input (1, 24, 24) -> two 1x1 convs -> stream of ``bits`` -> 1x1 conv -> LIF, plus the spikes of another LIF."""
    one = np.ones((1, 1, 1, 1), dtype=np.int64)
    nodes = (
        InputNode(name="in", shape=(1, 24, 24), bits=4, static=True),
        ConvNode(name="a", weight=one, weight_bits=2),
        ConvNode(name="b", weight=one, weight_bits=2),
        AddNode(name="stream", mode="stream", stream_bits=bits),
        LifNode(name="l0", theta=1, membrane_bits=2),
        ConvNode(name="c", weight=one, weight_bits=2),
        LifNode(name="l1", theta=1, membrane_bits=2),
        AddNode(name="sew", mode="sew", stream_bits=2),
        ConvNode(name="d", weight=one, weight_bits=2),
        LifNode(name="l2", theta=1, membrane_bits=2),
        LinearNode(name="fc", weight=np.ones((2, 24 * 24), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    edges = [("in", "a"), ("in", "b"), ("a", "stream"), ("b", "stream"), ("stream", "l0"), ("stream", "c"), ("c", "l1")]
    edges += [("l0", "sew"), ("l1", "sew"), ("sew", "d"), ("d", "l2"), ("l2", "fc"), ("fc", "out")]
    return Network(name="residual", n_timesteps=STEPS, nodes=nodes, edges=tuple(edges))


def test_a_stream_is_uniform_over_its_codes_and_a_sum_of_spikes_binomial():
    _, _, c, d, _ = drawn(residual_network(bits=3), density=0.3)
    values, counts = np.unique(codes_of(c, signed=True), return_counts=True)
    assert values.tolist() == list(range(-4, 4))
    assert counts.min() > 0.7 * counts.mean()
    shares = np.bincount(codes_of(d).ravel(), minlength=3) / codes_of(d).size
    np.testing.assert_allclose(shares, [0.49, 0.42, 0.09], atol=0.04)


def test_every_layer_can_have_a_density_of_its_own():
    layers = drawn(pooled_network(), density={"c1": 0.5, "c2": 0.0, "fc": 1.0})
    assert not layers[1].active_rows.any()
    assert (layers[2].active_rows.sum(axis=(-2, -1)) == 12 * 12).all()
    together = drawn(pooled_network(), density={"c1": 0.3, "c2": 0.3, "fc": 0.3})
    for a, b in zip(together, drawn(pooled_network(), density=0.3), strict=True):
        assert np.array_equal(a.active_rows, b.active_rows)


def test_neurons_send_what_their_readers_read():
    layers = drawn(pooled_network(), density={"c1": 0.5, "c2": 0.25, "fc": 1.0})
    assert [int(layer.spikes_out[0, 0]) for layer in layers] == [24 * 24 // 4, 12 * 12, 0]


@pytest.mark.parametrize(
    ("density", "message"),
    [
        ({"c1": 0.5, "c2": 0.5}, "density: fc is missing; give one for each of c1, c2, fc"),
        ({"c1": 0.5, "c2": 0.5, "fc": 0.1, "fc9": 0.1}, "density: fc9 is no layer; give one for each"),
        ({"c1": 0.5, "c2": 1.5, "fc": 0.1}, "c2: density=1.5; allowed 0 to 1"),
        (-0.1, "density=-0.1; allowed 0 to 1"),
        (float("nan"), "density=nan; allowed 0 to 1"),
    ],
)
def test_a_wrong_density_is_one_sentence(density, message):
    with pytest.raises(ConfigError, match=message):
        drawn(pooled_network(), density=density)


def test_a_pooled_spike_count_is_binomial():
    codes = codes_of(drawn(pooled_network(), density=0.3)[1])
    shares = np.bincount(codes.ravel(), minlength=5) / codes.size
    np.testing.assert_allclose(shares, [0.7**4, 4 * 0.3 * 0.7**3, 6 * 0.09 * 0.49, 4 * 0.027 * 0.7, 0.3**4], atol=0.05)
    assert (codes_of(drawn(pooled_network(), density=1.0)[1]) == 4).all()
    assert not drawn(pooled_network(), density=0.0)[2].active_rows.any()


def test_every_image_and_layer_has_a_draw_of_its_own_that_no_other_image_moves():
    many, few = drawn(pooled_network()), drawn(pooled_network(), n_images=1)
    for layer, alone in zip(many, few, strict=True):
        assert np.array_equal(layer.active_rows[:1], alone.active_rows)
        assert not np.array_equal(layer.active_rows[0], layer.active_rows[1])
    other = drawn(pooled_network(), seed=6)
    assert not np.array_equal(many[0].active_rows, other[0].active_rows)


def test_input_ones_count_the_bits_of_the_codes():
    layer = drawn(pooled_network(bits=3, signed=True))[0]
    assert np.array_equal(layer.input_ones, layer.active_rows.sum(axis=(2, 3, 4)))
