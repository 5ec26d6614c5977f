"""Networks of the zoo, their export, and the random networks of hardware studies."""

import numpy as np
import pytest
import torch
from oracles.integer_network import walk

from spikeloop.models.export import to_network
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.random_export import random_network, random_student, uniform_codes
from spikeloop.models.zoo import architecture, build_student, build_teacher, sum_pool
from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.graph import BatchNormNode, ConvNode, LinearNode
from spikeloop.simulator.network.io import load_network, save_network


def student(**fields):
    quantisation = QuantisationSpec(**{"weight_bits": 4, "membrane_bits": 4, **fields})
    return build_student(
        architecture("demo"), n_timesteps=2, neuron=NeuronSpec(), quantisation=quantisation, seed=3
    ).eval()


def test_teacher_and_student_share_names_and_shapes():
    teacher = build_teacher(architecture("demo"), n_timesteps=2, neuron=NeuronSpec(), seed=3)
    assert {key: value.shape for key, value in teacher.state_dict().items()} == {
        key: value.shape for key, value in student().state_dict().items()
    }


def test_vgg9_has_the_published_widths():
    network = to_network(
        build_student(
            architecture("vgg9"),
            n_timesteps=1,
            neuron=NeuronSpec(),
            quantisation=QuantisationSpec(weight_bits=2, membrane_bits=2),
            seed=0,
        ),
        "vgg9",
    )
    widths = [node.weight.shape[0] for node in network.nodes if isinstance(node, ConvNode | LinearNode)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, 1024, 10]
    assert network.input.shape == (3, 32, 32)
    assert network.node("fc1").weight.shape == (1024, 256 * 4 * 4)


def test_first_and_last_layer_keep_their_own_precision():
    network = to_network(student(weight_bits=2, first_layer_bits=8, last_layer_bits=6), "mixed")
    bits = {node.name: node.weight_bits for node in network.nodes if isinstance(node, ConvNode | LinearNode)}
    assert bits == {"conv1": 8, "conv2": 2, "fc": 6}


@pytest.mark.parametrize(("size", "kernel"), [(8, 2), (7, 2), (7, 3), (4, 4), (5, 1)])
def test_sum_pool_adds_whole_windows_only(size, kernel):
    x = torch.randint(0, 9, (2, 3, 4, size, size + 1), generator=torch.Generator().manual_seed(0)).double()
    expected = torch.nn.functional.avg_pool2d(x.flatten(0, 1), kernel, divisor_override=1)
    assert torch.equal(sum_pool(x, kernel).flatten(0, 1), expected)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(NetworkError, match=r"did you mean 'vgg9'\? available: demo, vgg9"):
        architecture("vgg-9")


def test_a_teacher_cannot_be_exported():
    teacher = build_teacher(architecture("demo"), n_timesteps=2, neuron=NeuronSpec(), seed=3)
    with pytest.raises(NetworkError, match="conv1 has full precision; export a quantised student"):
        to_network(teacher, "teacher")


def test_weights_that_are_not_finite_cannot_be_exported():
    broken = student()
    with torch.no_grad():
        broken.blocks["conv2"].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NetworkError, match="conv2 holds a value that is not finite"):
        to_network(broken, "broken")


def test_sums_beyond_exact_arithmetic_are_refused_by_name():
    wide = student(weight_bits=32, first_layer_bits=32, bn_bits=24)
    with pytest.raises(NetworkError, match=r"conv1: a sum can reach .* exact arithmetic ends at 2\^53"):
        wide(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("name", ["demo", "vgg9"])
@pytest.mark.parametrize("bits", [(2, 2), (8, 8)])
def test_every_layer_of_a_random_network_fires_5_to_30_percent(name, bits):
    net = random_student(name, seed=11, weight_bits=bits[0], membrane_bits=bits[1])
    fresh = uniform_codes(net.plan.input, net.n_timesteps, 2, torch.Generator().manual_seed(99))
    rates = {layer: float(run.spikes.mean()) for layer, run in net.integer_run(fresh).layers.items()}
    assert len(rates) == len(net.lif_names())
    assert all(0.05 <= rate <= 0.30 for rate in rates.values()), rates


@pytest.mark.parametrize("n_timesteps", [1, 6])
def test_the_exported_random_network_fires_5_to_30_percent(n_timesteps):
    network = random_network("demo", seed=1, weight_bits=3, membrane_bits=3, n_timesteps=n_timesteps)
    codes = np.random.default_rng(5).integers(0, 16, (8, 1, 8, 8))
    rates = [float(np.mean(spikes)) for spikes in walk(network, codes).spikes.values()]
    assert len(rates) == 2
    assert all(0.05 <= rate <= 0.30 for rate in rates), rates


def test_random_networks_are_a_function_of_their_seed():
    def make(seed):
        return random_network("demo", seed=seed, weight_bits=3, membrane_bits=3).content_hash()

    assert make(1) == make(1)
    assert make(1) != make(2)


def test_a_random_network_survives_its_file(tmp_path):
    network = random_network("demo", seed=1, weight_bits=3, membrane_bits=3, bn_bits=6)
    save_network(network, tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors").content_hash() == network.content_hash()
    assert all(node.bn_bits == 6 for node in network.nodes if isinstance(node, BatchNormNode))
