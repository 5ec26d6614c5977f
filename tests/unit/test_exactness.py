"""Networks whose values float64 could not hold exactly are refused, and what is accepted agrees at the edge."""

import numpy as np
import pytest
from networks import design

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    chain_edges,
)
from spikeloop.simulator.pipeline import simulate_density


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
def test_a_membrane_beyond_2_to_the_53_is_refused_with_its_neurons_named(lif):
    with pytest.raises(NetworkError, match=r"lif: a membrane can reach \d+, exact arithmetic ends at 2\^53"):
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


def residual(*, mode, stream_bits, n_adds=2, width=8, **lif):
    """Input -> ``n_adds`` linear layers -> (LIF for sew) -> add -> LIF for stream -> linear -> readout."""
    top = 2 ** (width - 1) - 1
    nodes, edges, sources = [InputNode(name="in", shape=(1, 1, 1))], [], []
    for i in range(n_adds):
        nodes.append(LinearNode(name=f"fc{i}", weight=np.full((1, 1), top), weight_bits=width))
        edges.append(("in", f"fc{i}"))
        sources.append(f"fc{i}")
        if mode == "sew":
            nodes.append(LifNode(name=f"lif{i}", theta=1, membrane_bits=2))
            edges.append((f"fc{i}", f"lif{i}"))
            sources[-1] = f"lif{i}"
    nodes.append(AddNode(name="add", mode=mode, stream_bits=stream_bits))
    edges += [(source, "add") for source in sources]
    last = "add"
    if mode == "stream":
        nodes.append(LifNode(name="lif", **{"theta": 1, "membrane_bits": 2, **lif}))
        edges.append(("add", "lif"))
        last = "lif"
    nodes += [
        LinearNode(name="last", weight=np.ones((2, 1), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    ]
    edges += [(last, "last"), ("last", "out")]
    return Network(name="residual", n_timesteps=1, nodes=tuple(nodes), edges=tuple(edges))


@pytest.mark.parametrize(("n_adds", "bits"), [(2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_a_sum_of_n_spikes_has_as_many_bits_as_n_and_its_file_may_not_say_fewer(n_adds, bits):
    add = lower_network(residual(mode="sew", stream_bits=bits, n_adds=n_adds))[n_adds - 1].ops[-1]
    assert (add.bits, add.signed, add.code_max) == (bits, False, n_adds)
    if bits > 2:
        with pytest.raises(NetworkError, match=rf"add: a sum of spikes can reach {n_adds} and does not fit"):
            lower_network(residual(mode="sew", stream_bits=bits - 1, n_adds=n_adds))


def test_a_stream_holds_its_bits_and_a_neuron_reads_it_shifted():
    (*_, owner, _) = lower_network(residual(mode="stream", stream_bits=6, input_shift=3))
    assert (owner.ops[1].bits, owner.ops[1].signed, owner.ops[1].code_max) == (6, True, 32)
    lower_network(residual(mode="stream", stream_bits=21, input_shift=32))
    with pytest.raises(NetworkError, match="lif: a membrane can reach"):
        lower_network(residual(mode="stream", stream_bits=22, input_shift=32))


@pytest.mark.parametrize("mode", ["stream", "sew"])
def test_an_add_of_one_bit_is_refused(mode):
    with pytest.raises(NetworkError, match="add: stream_bits=1; allowed 2 to 48"):
        residual(mode=mode, stream_bits=1)


def test_a_stream_of_one_input_saturates_it_and_a_sum_of_one_spike_is_refused():
    (owner, _) = lower_network(residual(mode="stream", stream_bits=6, n_adds=1))
    assert [op.kind for op in owner.ops] == ["norm", "add", "lif"]
    assert (owner.ops[0].bits, owner.ops[1].bits) == (8, 6)
    with pytest.raises(NetworkError, match="add: 1 inputs; add nodes take 2 to 64"):
        residual(mode="sew", stream_bits=6, n_adds=1)


def test_a_network_of_wide_sums_can_be_priced_though_not_run():
    """The 32-bit baseline: the same sums are refused where they would be computed, and mapped where they are not."""
    network, hw = one_neuron(weight_bits=32, bn={"m": 2**22, "n": 0, "k": 0, "e": 30}), design(rows=4, cols=64)
    with pytest.raises(NetworkError, match=r"exact arithmetic ends at 2\^53.*--density"):
        map_network(network, hw)
    mapped = map_network(network, hw, exact=False)
    assert mapped.layers[0].layer.psum_bits == 32
    # The checked and the unchecked lowering are kept apart.
    with pytest.raises(NetworkError):
        map_network(network, hw)
    assert simulate_density(network, hw, 0.5, seed=1).metrics.energy_fJ > 0
