"""Network files round-trip, and a damaged one is refused in one sentence."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, one_layer
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

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


def _rewritten(path, change_header=None, change_tensors=None):
    """The file again, with its header or its tensors changed."""
    with safe_open(path, framework="numpy") as stream:
        metadata = stream.metadata()
    tensors, header = load_file(path), json.loads(metadata["network"])
    if change_header is not None:
        change_header(header)
    if change_tensors is not None:
        change_tensors(tensors)
    save_file(tensors, path, metadata={**metadata, "network": json.dumps(header)})


def _set_node(**fields):
    return lambda header: header["nodes"][1].update(fields)


def _conv_file(tmp_path):
    conv = ConvNode(name="c", weight=np.ones((2, 1, 4, 4), dtype=np.int64), weight_bits=2)
    path = tmp_path / "net.safetensors"
    save_network(_network(INPUT, conv, READOUT), path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(n_timesteps=2.7), r"n_timesteps is 2\.7; expected a whole number"),
        (lambda header: header.update(n_timesteps=True), "n_timesteps is True; expected a whole number"),
        (lambda header: header.update(n_timesteps=float("inf")), "n_timesteps is inf"),
        (lambda header: header.update(name=None), "name is None; expected a text"),
        (lambda header: header.update(name=""), "name '': allowed are 1 to 200 printable"),
        (lambda header: header.update(name="\x1b[31m"), "printable characters"),
        (_set_node(weight_bits=3.5), r"c: weight_bits is 3\.5; expected a whole number"),
        (_set_node(padding=1.0), r"c: padding is 1\.0"),
        (_set_node(weight_scheme="ternary"), "c: weight_scheme is 'ternary'; allowed: symmetric, affine"),
        (_set_node(weight=[1, 2]), "c: weight is .*; expected a tensor"),
        (_set_node(foo=1), "c: unknown field 'foo'; a conv has name, weight"),
        (lambda header: header["nodes"][0].update(static="no"), "in: static is 'no'; expected true or false"),
        (lambda header: header["nodes"][0].update(shape=[1, 4.0, 4]), "in: shape is .*; expected whole numbers"),
    ],
)
def test_a_field_of_another_type_is_refused_and_never_converted(tmp_path, change, message):
    path = _conv_file(tmp_path)
    _rewritten(path, change)
    with pytest.raises(NetworkError, match=message) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((2, 1, 4, 4), dtype=np.float32), "c: weight is float32; network tensors hold integers"),
        (np.full((2, 1, 4, 4), np.nan), "c: weight is float64"),
        (np.ones((2, 1, 4, 4), dtype=bool), "c: weight is bool"),
        (np.full((2, 1, 4, 4), 2**64 - 1, dtype=np.uint64), "c: weight holds 18446744073709551615"),
        (np.full((2, 1, 4, 4), -(2**63), dtype=np.int64), "weight 9223372036854775808 does not fit weight_bits=2"),
    ],
)
def test_tensors_that_hold_no_integers_are_refused_and_never_rounded(tmp_path, weight, message):
    path = _conv_file(tmp_path)
    _rewritten(path, change_tensors=lambda tensors: tensors.update({"c.weight": weight}))
    with pytest.raises(NetworkError, match=message):
        load_network(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_number_formats_that_numpy_lacks_are_refused(tmp_path, dtype):
    size = 2 if dtype == "BF16" else 1
    metadata = {"format": "spikeloop-network", "schema": "1", "network": "{}"}
    fields = {"__metadata__": metadata, "a": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}
    header = json.dumps(fields).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(NetworkError, match="no integers"):
        load_network(path)


def test_a_header_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    metadata = {"format": "spikeloop-network", "schema": "1", "network": "[" * 100_000}
    save_file({"a": np.ones(1, dtype=np.int8)}, path, metadata=metadata)
    with pytest.raises(NetworkError, match="damaged"):
        load_network(path)


def test_a_bias_beyond_exact_arithmetic_is_refused():
    with pytest.raises(NetworkError, match="largest magnitude of bias"):
        _network(INPUT, ReadoutNode(name="out", bias=np.array([0, -(2**62)])))
