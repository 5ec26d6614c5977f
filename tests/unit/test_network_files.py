"""Network files round-trip, and a damaged one is refused in one sentence."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, one_layer
from safetensors.numpy import save_file

from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import ConvNode, InputNode, LifNode, Network, ReadoutNode, chain_edges
from spikeloop.simulator.network.io import load_network, save_network


@settings(max_examples=30)
@given(network=networks())
def test_round_trip_keeps_every_integer(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_network(network, path)
    again = load_network(path)
    assert again.content_hash() == network.content_hash()
    assert [n.name for n in again.order()] == [n.name for n in network.order()]
    assert again.shapes == network.shapes


@settings(max_examples=40)
@given(cut=st.floats(0.0, 0.999))
def test_truncated_file_is_refused(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_network(one_layer(np.ones((3, 5), dtype=np.int64), weight_bits=2), path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * cut)])
    with pytest.raises(NetworkError, match=r"net\.safetensors") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_other_schema_and_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({"a": np.ones(3)}, path)
    with pytest.raises(NetworkError, match="not a spikeloop network"):
        load_network(path)
    save_file({"a": np.ones(3)}, path, metadata={"format": "spikeloop-network", "schema": "99"})
    with pytest.raises(NetworkError, match="schema 99"):
        load_network(path)
    header = {"name": "x", "n_timesteps": 1, "nodes": [{"kind": "alien", "name": "a"}], "edges": []}
    metadata = {"format": "spikeloop-network", "schema": "1", "network": json.dumps(header)}
    save_file({"a": np.ones(3)}, path, metadata=metadata)
    with pytest.raises(NetworkError, match="alien"):
        load_network(path)
    with pytest.raises(NetworkError, match="no such file"):
        load_network(tmp_path / "missing.safetensors")


def test_saving_into_a_missing_folder_is_one_sentence(tmp_path):
    network = one_layer(np.ones((3, 5), dtype=np.int64), weight_bits=2)
    with pytest.raises(NetworkError, match="cannot be written"):
        save_network(network, tmp_path / "no" / "net.safetensors")


def _network(*nodes, n_timesteps=1):
    return Network(name="bad", n_timesteps=n_timesteps, nodes=nodes, edges=chain_edges(nodes))


READOUT = ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64))
INPUT = InputNode(name="in", shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: one_layer(np.full((2, 3), 4), weight_bits=3), "does not fit weight_bits=3"),
        (lambda: one_layer(np.ones((2, 3)), weight_bits=3), "tensors hold integers"),
        (lambda: one_layer(np.ones((2, 3), dtype=np.int64), weight_bits=1), "weight_bits=1; allowed 2 to 32"),
        (
            lambda: _network(INPUT, LifNode(name="lif", theta=1, membrane_bits=1), READOUT),
            "membrane_bits=1; allowed 2 to 32",
        ),
        (lambda: _network(INPUT, READOUT, n_timesteps=0), "n_timesteps=0"),
        (lambda: _network(INPUT, INPUT, READOUT), "is used 2 times"),
        (
            lambda: _network(
                INPUT,
                ConvNode(name="c", weight=np.ones((2, 3, 3, 3), dtype=np.int64), weight_bits=2),
                READOUT,
            ),
            "c: input has 1 channels, weight expects 3",
        ),
        (
            lambda: Network(
                name="loop",
                n_timesteps=1,
                nodes=(INPUT, LifNode(name="a", theta=1, membrane_bits=2), READOUT),
                edges=(("a", "a"), ("in", "out")),
            ),
            "cycle",
        ),
    ],
)
def test_wrong_networks_say_what_where_and_what_is_allowed(build, message):
    with pytest.raises(NetworkError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
