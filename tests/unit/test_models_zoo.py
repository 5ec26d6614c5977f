"""Networks of the zoo, their export, and the random networks of hardware studies."""

import math

import numpy as np
import pytest
import torch
from oracles.integer_network import walk

from spikeloop.models.export import to_network
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student, build_teacher, sum_pool
from spikeloop.models.plan import (
    Architecture,
    Classifier,
    Conv,
    MembraneBlock,
    SpikeBlock,
    StreamConv,
    SumPool,
    geometries,
    values,
)
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.random_export import random_network, random_student, uniform_codes
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.network.graph import AddNode, BatchNormNode, ConvNode, InputNode, LifNode, LinearNode
from spikeloop.simulator.network.io import load_network, save_network


def student(name="demo", **fields):
    quantisation = QuantisationSpec(**{"weight_bits": 4, "membrane_bits": 4, **fields})
    return build_student(
        architecture(name), n_timesteps=2, neuron=NeuronSpec(), quantisation=quantisation, seed=3
    ).eval()


@pytest.mark.parametrize("name", ["demo", "ms_resnet_tiny", "sew_resnet_tiny"])
def test_teacher_and_student_share_names_and_shapes(name):
    teacher = build_teacher(architecture(name), n_timesteps=2, neuron=NeuronSpec(), seed=3)
    assert {key: value.shape for key, value in teacher.state_dict().items()} == {
        key: value.shape for key, value in student(name).state_dict().items()
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


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_gradient_of_a_sum_pool_goes_to_the_cells_of_whole_windows(kernel):
    x = torch.rand(2, 1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: sum_pool(given, kernel), (x,))


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(NetworkError, match=r"did you mean 'vgg9'\? available: demo, fashion, vgg9, ms_resnet_tiny"):
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


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        *[(name, bits) for name in ("demo", "ms_resnet_tiny", "sew_resnet_tiny") for bits in ((2, 2), (4, 4), (8, 8))],
        ("vgg9", (2, 2)),
        ("vgg9", (8, 8)),
        ("ms_resnet18", (4, 4)),
        ("sew_resnet18", (4, 4)),
    ],
)
def test_every_layer_of_a_random_network_fires_5_to_30_percent(name, bits):
    steps = 2 if name.endswith("18") else 4
    net = random_student(name, seed=11, weight_bits=bits[0], membrane_bits=bits[1], n_timesteps=steps)
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


def test_wider_batch_norm_constants_leave_a_random_network_the_same_function():
    """Every unit of the last place of m, n is 2^16 finer, and e drops 16 bits more: (m P + (n << k)) / 2^e is equal."""
    narrow = random_network("demo", seed=1, weight_bits=3, membrane_bits=3)
    wide = random_network("demo", seed=1, weight_bits=3, membrane_bits=3, bn_bits=24)
    codes = np.random.default_rng(5).integers(0, 16, (3, 1, 8, 8))
    assert {node.bn_bits for node in wide.nodes if isinstance(node, BatchNormNode)} == {24}
    logits = [walk(network, codes).logits for network in (narrow, wide)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert np.unique(logits[0]).size > 3


def test_a_random_network_survives_its_file(tmp_path):
    network = random_network("demo", seed=1, weight_bits=3, membrane_bits=3, bn_bits=6)
    save_network(network, tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors").content_hash() == network.content_hash()
    assert all(node.bn_bits == 6 for node in network.nodes if isinstance(node, BatchNormNode))


@pytest.mark.parametrize("name", ["ms_resnet18", "sew_resnet18"])
def test_resnet18_has_the_published_layers(name):
    """He et al. 2016 for 32x32 images: 17 3x3 convolutions, 3 shortcuts 1x1, 11.17 million parameters."""
    plan = architecture(name)
    shapes = {key: geometry.weight_shape for key, geometry in geometries(plan).items()}
    assert sum(shape[2:] == (3, 3) for shape in shapes.values()) == 17
    assert [shape for shape in shapes.values() if shape[2:] == (1, 1)] == [
        (128, 64, 1, 1),
        (256, 128, 1, 1),
        (512, 256, 1, 1),
    ]
    assert shapes["fc"] == (10, 512)
    assert [values(plan)[f"s{stage}b2_add"].shape for stage in (1, 2, 3, 4)] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    # Two batch-norm constants a channel, the classifier's bias; the pool passes the sum over 4x4.
    channels = sum(shape[0] for shape in shapes.values() if len(shape) == 4)
    assert sum(math.prod(shape) for shape in shapes.values()) + 2 * channels + 10 == 11_173_962
    assert values(plan)["pool"].code_max == 16 * (1 if name == "ms_resnet18" else 3)


def test_the_stream_of_ms_resnet_is_as_wide_as_stated_wherever_it_travels():
    network = random_network("ms_resnet_tiny", seed=0, weight_bits=4, membrane_bits=4)
    layers = lower_network(network)
    travelling = [layers[s.layer].ops[s.op] for layer in layers for op in layer.ops for s in op.residuals]
    assert [op.name for op in travelling] == ["stem_add", "s2b1_shortcut_add"]
    assert all((op.bits, op.signed) == (8, True) for op in travelling)
    # s_r = 8 theta / 2^7 = theta / 16; the guard grid of a 4-bit membrane has theta = 2^(3 + 4).
    assert {node.input_shift for node in network.nodes if isinstance(node, LifNode)} == {0, 3}


def test_sew_adds_state_the_bits_of_their_largest_sum():
    network = to_network(student("sew_resnet_tiny"), "sew")
    assert {node.stream_bits for node in network.nodes if isinstance(node, AddNode)} == {2}
    plan = Architecture(
        name="deep",
        input=InputNode(name="input", shape=(1, 4, 4)),
        layers=(
            Conv(name="stem", channels=2),
            *(SpikeBlock(name=f"b{i}", channels=2) for i in range(4)),
            Classifier(name="fc", classes=2),
        ),
    )
    assert [values(plan)[f"b{i}_add"].code_max for i in range(4)] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [Conv(name="a", channels=2), MembraneBlock(name="b", channels=2)],
            "b_in reads a, which gives codes; it takes",
        ),
        ([StreamConv(name="a", channels=2), Conv(name="b", channels=2)], "b reads a, which gives the residual stream"),
        (
            [StreamConv(name="a", channels=2), SpikeBlock(name="b", channels=2)],
            "b_conv1 reads a, which gives the resid",
        ),
        ([StreamConv(name="a", channels=2), SumPool(name="p")], "p reads a, which gives the residual stream; it takes"),
        ([Conv(name="a", channels=2, kernel=7, padding=0)], "a: its window does not fit the input"),
    ],
)
def test_plans_that_make_no_sense_are_refused(layers, message):
    plan = Architecture(
        name="odd",
        input=InputNode(name="input", shape=(1, 4, 4)),
        layers=(*layers, Classifier(name="fc", classes=2)),
    )
    with pytest.raises(NetworkError, match=message):
        geometries(plan)
