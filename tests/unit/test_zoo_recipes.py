"""Architectures of the zoo with parameters: sizes, widths, classes, events; and how a file names them."""

import math

import pytest
import torch
import yaml

from spikeloop.distill.config import TrainingConfig
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student, build_teacher
from spikeloop.models.network_spec import NetworkSpec, network_spec
from spikeloop.models.plan import SumPool, geometries, values
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.random_export import random_student, uniform_codes
from spikeloop.models.zoo import architecture, available_networks, changed, normal_form, read_network
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.spec import validate_spec

NAMES = available_networks()


def plan(name, **fields):
    return architecture(NetworkSpec(name=name, **fields))


def teacher(name, **fields):
    return build_teacher(plan(name, **fields), n_timesteps=2, neuron=NeuronSpec(), seed=3)


def n_parameters(net) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def pools(name, **fields) -> list[tuple[str, int]]:
    return [(layer.name, layer.kernel) for layer in plan(name, **fields).layers if isinstance(layer, SumPool)]


def test_the_zoo_has_every_architecture_that_the_documentation_lists():
    wanted = "demo fashion vgg9 ms_resnet_tiny sew_resnet_tiny ms_resnet18 sew_resnet18 nmnist cifar_small"
    assert list(NAMES) == [*wanted.split(), "vgg16", "ms_resnet19", "ms_resnet34", "resnet20", "mlp"]


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        # Convolutions 1,734,336, linear 4096*1024 + 1024*10 + 10, two batch-norm constants for 2,176 channels.
        ("vgg9", {}, 1_734_336 + 4_204_554 + 4_352),
        # 13 convolutions 14,710,464, batch norm of 4,224 channels, linear 512*10 + 10: the 14.72 M of QP-SNN, Table 6
        # (58.88 MB of 32 bits).
        ("vgg16", {}, 14_710_464 + 2 * 4_224 + 5_130),
        # ResNet-18 and 34 of torchvision (11,689,512 and 21,797,672) and the shortcut 64*64 + 2*64 of the first stage.
        ("ms_resnet18", {"size": 224, "classes": 1000}, 11_689_512 + 4_224),
        ("sew_resnet18", {"size": 224, "classes": 1000}, 11_689_512 + 4_224),
        ("ms_resnet34", {"size": 224, "classes": 1000}, 21_797_672 + 4_224),
        # Stem 3,456; stages 884,736, 3,244,032, 8,257,536; shortcuts 163,840; batch norm of 5,248 channels and of the
        # 256 of the first linear layer, 512*256; last one 256*10 + 10.
        ("ms_resnet19", {}, 3_456 + 884_736 + 3_244_032 + 8_257_536 + 163_840 + 2 * 5_504 + 131_072 + 2_570),
        ("mlp", {}, 784 * 800 + 2 * 800 + 800 * 10 + 10),
        ("cifar_small", {}, 27 * 24 + 24 * 48 * 9 + 48 * 96 * 9 + 96 * 96 * 9 + 2 * 264 + 1536 * 10 + 10),
    ],
)
def test_parameters_are_as_many_as_published_or_counted_by_hand(name, fields, count):
    assert n_parameters(teacher(name, **fields)) == count


def test_resnet20_has_the_size_that_qp_snn_states():
    """68.4 MB of 32-bit parameters for CIFAR-100 (Table 6); their shortcuts have none, ours are 1x1 convolutions."""
    net = teacher("resnet20", classes=100)
    shortcuts = sum(n_parameters(block) for name, block in net.blocks.items() if name.endswith("_shortcut"))
    assert shortcuts == 64 * 128 + 128 * 256 + 256 * 512 + 2 * (128 + 256 + 512)
    assert round(4 * (n_parameters(net) - shortcuts) / 1e6, 1) == 68.4
    convolutions = [g for g in geometries(net.plan).values() if g.weight_shape[2:] == (3, 3)]
    assert len(convolutions) == 19  # and the classifier: 20


def test_resnet19_has_19_layers_and_the_blocks_3_3_2():
    found = geometries(plan("ms_resnet19"))
    assert sum(not name.endswith("_shortcut") for name in found) == 19
    outputs = {name: found[name].weight_shape[0] for name in found if name.endswith("conv2")}
    assert list(outputs.values()) == [128] * 3 + [256] * 3 + [512] * 2


def test_resnet34_has_the_blocks_3_4_6_3():
    found = geometries(plan("ms_resnet34"))
    outputs = [found[name].weight_shape[0] for name in found if name.endswith("conv2")]
    assert outputs == [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 9, 31, 64, 65, 224])
def test_every_architecture_fits_every_size_and_input(name, size):
    for fields in ({}, {"events": True}, {"channels": 5, "events": False, "bits": 3}):
        made = plan(name, size=size, classes=7, width=0.5, **fields)
        table = values(made)
        assert made.input.shape[1:] == (size, size)
        assert (made.input.static, made.input.shape[0]) == {
            "channels": (True, 5),
            "events": (False, 2),
            "": (name != "nmnist", made.input.shape[0]),
        }[next(iter(fields), "")]
        assert table[made.classifier.name].shape == (7, 1, 1)
        # What stands before the classifier is never more than 15 positions a side.
        last = made.steps[-1].sources[0]
        assert name == "mlp" or max(table[last].shape[1:]) <= 15


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        # 32, 16, 8, 4, 2, 1.
        ("vgg16", 32, [(f"pool{i}", 2) for i in range(1, 6)]),
        # 224, 112, 56, 28, 14, and all 14 x 14 positions at once: the last pool and the final one (7) in one.
        ("vgg16", 224, [*((f"pool{i}", 2) for i in range(1, 5)), ("pool5", 14)]),
        # 8, 4, 2, 1: nothing to pool behind the third.
        ("vgg16", 8, [("pool1", 2), ("pool2", 2), ("pool3", 2)]),
        # 50, 25, 12, 6, 3, then 3 // 2 = 1: the odd row stays out.
        ("vgg16", 50, [(f"pool{i}", 2) for i in range(1, 6)]),
        ("vgg9", 32, [("pool1", 2), ("pool2", 2), ("pool3", 2)]),
        # 64, 32, 16, 8, and 8 // 4 = 2 more: 4 x 4 positions before the linear layer, as at 32.
        ("vgg9", 64, [("pool1", 2), ("pool2", 2), ("pool3", 4)]),
        ("ms_resnet18", 32, [("pool", 4)]),
        ("ms_resnet18", 64, [("pool", 8)]),
        # 65, stem 33, stages 17, 9, 5, 3.
        ("ms_resnet18", 65, [("pool", 3)]),
        ("ms_resnet18", 224, [("pool", 7)]),
        # 8, 8, 4, 2, 1.
        ("ms_resnet18", 8, []),
        ("resnet20", 48, [("pool", 12)]),
    ],
)
def test_pools_follow_the_map_by_hand(name, size, expected):
    assert pools(name, size=size) == expected
    # The divisor of the last pool is folded behind it: its sums have the scale 1 / kernel^2.
    table = values(plan(name, size=size))
    for pool, kernel in expected[-1:]:
        assert (table[pool].code_max, table[pool].scale) == (kernel**2, 1 / kernel**2)


@pytest.mark.parametrize("name", ["ms_resnet18", "sew_resnet18", "ms_resnet34"])
def test_large_pictures_take_the_7x7_stem_and_halve_five_times(name):
    large = plan(name, size=224)
    stem = geometries(large)["stem"]
    assert (stem.weight_shape, stem.stride, stem.padding) == ((64, 3, 7, 7), 2, 3)
    ends = [step.name for step in large.steps if step.name.endswith("_add") and step.name[:4] in ("s1b2", "s4b2")]
    assert [values(large)[key].shape for key in ("stem", *ends)] == [(64, 112, 112), (64, 56, 56), (512, 7, 7)]
    assert geometries(plan(name, size=64))["stem"].weight_shape == (64, 3, 3, 3)


@pytest.mark.parametrize("name", NAMES)
def test_teacher_and_student_run_at_a_small_size(name):
    fields = {"size": 10, "classes": 3, "width": 0.125, "events": name in ("vgg9", "ms_resnet19")}
    first = teacher(name, **fields)
    second = build_student(
        plan(name, **fields),
        n_timesteps=2,
        neuron=NeuronSpec(),
        quantisation=QuantisationSpec(weight_bits=4, membrane_bits=4),
        seed=3,
    )
    shapes = {key: value.shape for key, value in first.state_dict().items()}
    assert shapes == {key: value.shape for key, value in second.state_dict().items()}
    codes = uniform_codes(first.plan.input, 2, 2, torch.Generator().manual_seed(0))
    for net in (first, second):
        logits = net(codes).logits
        assert logits.shape == (2, 2, 3)
        assert bool(torch.isfinite(logits).all())
        assert logits.unique().numel() > 1


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_every_small_random_network_fires_5_to_30_percent(name):
    net = random_student(
        NetworkSpec(name=name, size=16, width=0.25), seed=2, weight_bits=4, membrane_bits=6, n_timesteps=4
    )
    fresh = uniform_codes(net.plan.input, 4, 4, torch.Generator().manual_seed(99))
    rates = {layer: float(run.spikes.mean()) for layer, run in net.integer_run(fresh).layers.items()}
    assert len(rates) == len(net.lif_names())
    assert all(0.05 <= rate <= 0.30 for rate in rates.values()), rates


@pytest.mark.parametrize(("name", "size"), [("vgg9", 66), ("ms_resnet19", 66), ("mlp", 28)])
def test_linear_layers_fire_5_to_30_percent_on_new_pictures_of_a_single_step(name, size):
    """One sum a picture is all that a linear layer has at T = 1: statistics of one picture let half of it fire."""
    net = random_student(
        NetworkSpec(name=name, size=size, width=0.125), seed=2, weight_bits=4, membrane_bits=6, n_timesteps=1
    )
    fresh = uniform_codes(net.plan.input, 1, 8, torch.Generator().manual_seed(99))
    rates = {layer: float(run.spikes.mean()) for layer, run in net.integer_run(fresh).layers.items()}
    assert all(0.05 <= rate <= 0.30 for rate in rates.values()), rates


def test_a_width_rounds_half_up_and_spares_the_classifier():
    found = geometries(plan("cifar_small", width=0.1875))
    # 24 * 0.1875 = 4.5, 48 * 0.1875 = 9, 96 * 0.1875 = 18.
    assert [item.weight_shape[0] for item in found.values()] == [5, 9, 18, 18, 10]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "vgg-16"}, r"network 'vgg-16' is not in the zoo; did you mean 'vgg16'\? available: demo, fashion"),
        ({"name": "vgg16", "size": 7}, "size: got 7; input should be greater than or equal to 8"),
        ({"name": "vgg16", "size": 225}, "size: got 225; input should be less than or equal to 224"),
        ({"name": "vgg16", "sise": 64}, "sise: unknown field; did you mean 'size'"),
        ({"name": "demo", "classes": 1}, "classes: got 1; input should be greater"),
        ({"name": "demo", "width": 0.0}, "width: got 0.0; input should be greater than 0"),
        (
            {"name": "demo", "width": 0.05},
            r"width=0.05 leaves layer conv1 of 8 channels with 0; allowed 0.0625 and above",
        ),
        ({"name": "demo", "events": True, "channels": 3}, "channels=3 with events: true; events have the 2 polarities"),
        ({"name": "nmnist", "channels": 1}, "or set events: false for static pixels"),
    ],
)
def test_parameters_that_make_no_network_are_refused_in_one_sentence(fields, message):
    with pytest.raises(NetworkError, match=message) as caught:
        architecture(network_spec(fields))
    assert "\n" not in str(caught.value)


def test_the_smallest_width_of_the_sentence_is_allowed():
    assert geometries(plan("demo", width=0.0625))["conv1"].weight_shape[0] == 1


TRAINING = {"role": "teacher", "dataset": "digits", "network": "demo", "epochs": 1, "lr": 0.01}


def training(**fields) -> TrainingConfig:
    return validate_spec(TrainingConfig, {**TRAINING, **fields}, where="t.yaml")


def test_a_name_and_its_written_out_defaults_are_one_network():
    """The hash of a file with a plain name is what it was before networks had parameters."""
    plain = training()
    assert plain.resolved()["network"] == "demo"
    assert plain.content_hash() == training(network={"name": "demo", "size": 8, "width": 1.0}).content_hash()
    other = training(network={"name": "demo", "size": 12})
    assert other.content_hash() != plain.content_hash()
    assert training(network=other.resolved()["network"]) == other
    assert other.network == training(network={"name": "demo", "size": 12, "channels": 1, "events": False}).network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("dema", r"^t.yaml: network 'dema' is not in the zoo; did you mean 'demo'"),
        ({"name": "dema"}, r"^t.yaml: network: network 'dema' is not in the zoo; did you mean 'demo'"),
        ({"name": "demo", "size": 500}, r"^t.yaml: network: size: got 500; input should be less than or equal to 224"),
        (5, r"^t.yaml: network: got 5; give a name of the zoo, or \{name: vgg9, size: 64, classes: 200\}"),
    ],
)
def test_a_training_file_that_names_no_network_is_refused_in_one_sentence(network, message):
    with pytest.raises(ConfigError, match=message):
        training(network=network)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"name": "vgg16"}, "vgg16"),
        ({"name": "vgg16", "size": 32, "bits": 8}, "vgg16"),
        ({"name": "vgg16", "size": 64, "classes": 200, "width": 0.5}, "vgg16-3x64x64-200classes-0.5wide"),
        ({"name": "vgg16", "events": True}, "vgg16-events"),
        ({"name": "vgg16", "events": True, "bits": 4}, "vgg16-events-4bit"),
        ({"name": "nmnist", "events": False}, "nmnist-pixels"),
    ],
)
def test_titles_say_what_differs_from_the_plain_name(fields, title):
    assert architecture(network_spec(fields)).name == title


@pytest.mark.parametrize("name", NAMES)
def test_what_a_cure_says_is_that_network(name):
    for fields in ({"size": 40, "classes": 12}, {"events": True}, {"events": False, "channels": 4}, {"width": 2.0}):
        text = changed(name, **fields)
        assert read_network(yaml.safe_load(text)) == normal_form(NetworkSpec(name=name, **fields))


def test_a_wider_network_has_more_weights_in_every_layer_but_the_classifier_outputs():
    narrow, wide = (geometries(plan("ms_resnet18", width=width)) for width in (0.5, 1.0))
    for name in narrow:
        ratio = math.prod(wide[name].weight_shape) / math.prod(narrow[name].weight_shape)
        assert ratio == (2 if name in ("stem", "fc") else 4)
