"""Random activity: who draws what, and the codes that it stands for."""

import numpy as np
import pytest
from networks import design

from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
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


def pooled_network(*, bits=2, signed=False, static=True, pool_input=False):
    """Input (1, 24, 24) -> [pool] -> 1x1 conv -> LIF -> pool -> 12x12 or 6x6 conv of one row a pixel."""
    size = 12 if pool_input else 24
    nodes = [
        InputNode(name="in", shape=(1, 24, 24), bits=bits, signed=signed, static=static),
        *([SumPoolNode(name="pool0", kernel=2, stride=2)] if pool_input else []),
        ConvNode(name="c1", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        LifNode(name="l1", theta=1, membrane_bits=2),
        SumPoolNode(name="pool1", kernel=2, stride=2),
        ConvNode(name="c2", weight=np.ones((1, 1, 1, 1), dtype=np.int64), weight_bits=2),
        LifNode(name="l2", theta=1, membrane_bits=2),
        LinearNode(name="fc", weight=np.ones((2, (size // 2) ** 2), dtype=np.int64), weight_bits=2),
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


@pytest.mark.parametrize(("signed", "low", "high"), [(False, 0, 12), (True, -8, 7)])
def test_pooled_pixels_stay_within_their_largest_sum(signed, low, high):
    codes = codes_of(drawn(pooled_network(bits=2, signed=signed, pool_input=True))[0], signed=signed)
    assert (codes.min(), codes.max()) == (low, high)


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
