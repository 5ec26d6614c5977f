"""Networks whose values float64 could not hold exactly are refused, and what is accepted agrees at the edge."""

import numpy as np
import pytest
from networks import design

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    BatchNormNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    chain_edges,
)


def one_neuron(*, weight_bits=2, bn=None, **lif):
    fields = {"theta": 1, "membrane_bits": 2, "guard_bits": 0, **lif}
    top = 2 ** (weight_bits - 1) - 1
    nodes = (
        InputNode(name="in", shape=(1, 1, 1)),
        LinearNode(name="fc", weight=np.full((1, 1), top), weight_bits=weight_bits),
        *([] if bn is None else [BatchNormNode(name="bn", bn_bits=24, **{k: np.array([v]) for k, v in bn.items()})]),
        LifNode(name="lif", **fields),
        LinearNode(name="last", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    return Network(name="edge", n_timesteps=2, nodes=nodes, edges=chain_edges(nodes))


@pytest.mark.parametrize(
    "lif",
    [
        {"membrane_bits": 32, "guard_bits": 16, "leak_mul": 2**16, "leak_shift": 16},
        {"membrane_bits": 32, "guard_bits": 16, "leak_mul": 2**6, "leak_shift": 6},
    ],
)
def test_a_membrane_beyond_2_to_the_53_is_refused_with_its_layer_named(lif):
    with pytest.raises(NetworkError, match=r"fc: lif: a membrane can reach \d+, exact arithmetic ends at 2\^53"):
        lower_network(one_neuron(**lif))


def test_the_widest_membrane_of_a_baseline_chip_is_accepted():
    lower_network(one_neuron(membrane_bits=32, guard_bits=16, leak_mul=1, leak_shift=1))


def test_a_current_that_is_shifted_up_counts():
    lower_network(one_neuron(weight_bits=21, input_shift=31))
    with pytest.raises(NetworkError, match="a membrane can reach"):
        lower_network(one_neuron(weight_bits=23, input_shift=32))


def test_every_term_of_the_batch_norm_counts():
    """m*P alone is small; its offset, or its left shift, is what reaches 2^53."""
    m = 2**22
    lower_network(one_neuron(bn={"m": m, "n": 1, "k": 0, "e": 0}))
    for constants in ({"n": 2**22, "k": 31, "e": 0}, {"n": 1, "k": 0, "e": -31}, {"n": 2**22, "k": 20, "e": -11}):
        with pytest.raises(NetworkError, match="fc: a sum can reach"):
            lower_network(one_neuron(bn={"m": m, **constants}))


@pytest.mark.parametrize(("bound", "bits"), [(1, 2), (3, 3), (7, 4)])
def test_sums_get_a_sign_bit(bound, bits):
    """A register of ``bits`` two's-complement bits is the smallest that holds -bound to bound."""
    (layer, _) = map_network(one_neuron(weight_bits=bits), design()).layers
    assert layer.layer.psum_bound == bound
    assert layer.layer.psum_bits == bits
