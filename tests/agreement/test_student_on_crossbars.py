"""The agreement everything rests on: torch student == functional simulator on ideal hardware, bit for bit.

The student computes with torch convolutions on codes in float; the simulator with cells, planes, slices and
ADC codes in integers. Spikes and stored membranes of every layer and step, and the logits, must be equal.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs

from spikeloop.distill.config import load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import encode
from spikeloop.distill.train import train_student, train_teacher
from spikeloop.models.export import lif_node_name, to_network
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student
from spikeloop.models.plan import Architecture, Classifier, Conv, Dense, SumPool
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.random_export import random_student
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import BatchNormNode, InputNode, LifNode
from spikeloop.simulator.network.spikes import SpikeTrain

_SEEN: Counter[str] = Counter()
QUANTISERS = [
    ("uniform", "max"),
    ("uniform", "percentile"),
    ("uniform", "learned"),
    ("rescaw", "mean"),
    ("rescaw", "max"),
    ("mint", "learned"),
]


def assert_agree(student, network, hw, spikes):
    """Every spike, stored membrane and logit of both, and count the hard cases that occurred."""
    mapping = map_network(network, hw)
    shift = (0,) * len(mapping.layers)
    outputs = run_functional(network, mapping, hw, spikes, adc_shift=shift, record=True)
    run = student.integer_run(torch.from_numpy(spikes.codes.astype(np.float32)))
    assert np.array_equal(outputs.logits, run.logits.numpy())
    assert not outputs.clipped.any()
    for name, layer in run.layers.items():
        node = network.node(lif_node_name(name))
        assert np.array_equal(outputs.spikes[node.name], layer.spikes.numpy())
        stored = outputs.membranes[node.name]
        assert np.array_equal(stored, layer.stored.numpy())
        top = 2 ** (node.membrane_bits - 1)
        _SEEN["tie at threshold"] += int((layer.membrane == node.theta).sum())
        _SEEN["negative membrane"] += int((stored < 0).sum())
        _SEEN["saturated membrane"] += int(((stored == -top) | (stored == top - 1)).sum())
        _SEEN["shift"] += node.input_shift != 0
        _SEEN["spike"] += int(outputs.spikes[node.name].sum())
    for node in network.nodes:
        _SEEN["negative mantissa"] += int((node.m < 0).sum()) if isinstance(node, BatchNormNode) else 0
    return outputs


@st.composite
def students(draw, quantiser, scale):
    """Untrained student of a random small architecture, batch norm of both signs, and inputs for it."""
    seed = draw(st.integers(0, 2**31))
    torch.manual_seed(seed)
    channels, size = draw(st.integers(1, 2)), draw(st.integers(4, 6))
    layers = [Conv(name="conv1", channels=draw(st.integers(2, 6)), kernel=draw(st.sampled_from([1, 3])))]
    if draw(st.booleans()):
        layers.append(SumPool(name="pool1"))
    if draw(st.booleans()):
        layers.append(Conv(name="conv2", channels=draw(st.integers(2, 5)), stride=draw(st.integers(1, 2))))
    if draw(st.booleans()):
        layers.append(Dense(name="fc1", features=draw(st.integers(2, 8))))
    layers.append(Classifier(name="fc", classes=3))
    bits, static = draw(st.integers(1, 4)), draw(st.booleans())
    plan = Architecture(
        name="random",
        input=InputNode(name="input", shape=(channels, size, size), bits=bits, static=static),
        layers=tuple(layers),
    )
    n_timesteps = draw(st.integers(1, 4))
    _SEEN[f"{quantiser} {scale}"] += any(isinstance(item, Conv | Dense) for item in layers[1:])
    student = build_student(
        plan,
        n_timesteps=n_timesteps,
        neuron=NeuronSpec(reset=draw(st.sampled_from(["hard", "soft"]))),
        quantisation=QuantisationSpec(
            weight_bits=draw(st.integers(2, 6)),
            weight_quantiser=quantiser,
            weight_scale=scale,
            membrane_bits=draw(st.integers(2, 8)),
            bn_bits=draw(st.integers(3, 10)),
            guard_bits=draw(st.integers(0, 5)),
        ),
        seed=seed % 1000,
    ).eval()
    for block in student.blocks.values():
        if hasattr(block, "gamma"):
            torch.nn.init.normal_(block.gamma, 0.5, 1.0)
            torch.nn.init.normal_(block.beta, 0.5, 0.5)
            block.running_var.fill_(draw(st.sampled_from([0.05, 0.2, 1.0])))
    student.start_steps()
    rng = np.random.default_rng(seed)
    lead = (3,) if static else (n_timesteps, 3)
    spikes = SpikeTrain(
        name="random",
        codes=rng.integers(0, 2**bits, size=(*lead, channels, size, size)),
        labels=None,
        indices=np.arange(3),
    )
    return student, spikes


def _check_random_students(quantiser, scale):
    @settings(max_examples=16)
    @given(case=students(quantiser, scale), hw=designs())
    def check(case, hw):
        student, spikes = case
        assert_agree(student, to_network(student, "random"), hw, spikes)
        _SEEN[hw.crossbar.scheme] += 1

    check()


def test_random_students_agree_and_the_hard_cases_occurred():
    _SEEN.clear()
    for quantiser, scale in QUANTISERS:
        _check_random_students(quantiser, scale)
    for case in ("tie at threshold", "negative membrane", "saturated membrane", "negative mantissa", "spike"):
        assert _SEEN[case] >= 100, (case, _SEEN)
    for quantiser, scale in QUANTISERS:
        assert _SEEN[f"{quantiser} {scale}"] >= 4, (quantiser, scale, _SEEN)
    assert min(_SEEN["differential"], _SEEN["offset"]) >= 15


@pytest.mark.parametrize("name", ["ms_resnet_tiny", "sew_resnet_tiny"])
@pytest.mark.parametrize("rows", [7, 64])
@pytest.mark.parametrize("scheme", ["differential", "offset"])
def test_residual_students_agree_on_every_crossbar(name, rows, scheme):
    _SEEN.clear()
    student = random_student(name, seed=2, weight_bits=3, membrane_bits=4, n_timesteps=3)
    codes = np.random.default_rng(3).integers(0, 16, (6, 1, 8, 8))
    spikes = SpikeTrain(name="random", codes=codes, labels=None, indices=np.arange(6))
    assert_agree(student, to_network(student, name), design(rows=rows, cols=16, scheme=scheme), spikes)
    assert _SEEN["spike"] > 1000
    assert _SEEN["negative membrane"] > 100
    assert (_SEEN["shift"] > 0) == name.startswith("ms")


@pytest.fixture(scope="module")
def trained():
    """The demo's student after a short training: two epochs of teacher, two of student."""
    digits = load_dataset("digits")
    brief = {"epochs": 2, "frozen_epochs": 0}
    teacher = train_teacher(load_training_config("digits_teacher").model_copy(update=brief), digits)
    student = train_student(load_training_config("digits_student").model_copy(update=brief), digits, teacher.net)
    network = to_network(student.net, "student")
    spikes = encode(digits.test_images, digits.test_labels, np.arange(24), network.input, "digits test")
    return student.net, network, spikes


@pytest.mark.parametrize("rows", [1, 7, 32, 128])
@pytest.mark.parametrize("scheme", ["differential", "offset"])
@pytest.mark.parametrize("cell_bits", [1, 3])
def test_trained_student_agrees_on_every_crossbar(trained, rows, scheme, cell_bits):
    student, network, spikes = trained
    _SEEN.clear()
    hw = design(rows=rows, cols=16 if rows > 1 else 1, cell_bits=cell_bits, scheme=scheme)
    assert_agree(student, network, hw, spikes.take(0, 24 if rows > 1 else 2))
    assert _SEEN["spike"] > 0
    assert _SEEN["negative membrane"] > 0


def test_trained_student_agrees_with_fewer_rows_active(trained):
    student, network, spikes = trained
    assert_agree(student, network, design(rows=64, cols=64, rows_active=5), spikes)


def test_a_coarse_adc_does_change_the_logits(trained):
    """The agreement above would be empty if the ADC could not be felt."""
    _, network, spikes = trained
    hw = design(rows=64, cols=64, adc_bits=2, full_scale="max")
    mapping = map_network(network, hw)
    coarse = run_functional(network, mapping, hw, spikes, adc_shift=(5,) * len(mapping.layers))
    ideal = run_functional(network, mapping, design(rows=64, cols=64), spikes, adc_shift=(0,) * len(mapping.layers))
    assert not np.array_equal(coarse.logits, ideal.logits)


@pytest.mark.parametrize("name", ["ms_resnet_tiny", "sew_resnet_tiny"])
def test_a_trained_residual_student_agrees_and_beats_chance(name):
    """Two epochs of teacher and student through the same trainer as a chain."""
    digits = load_dataset("digits")
    brief = {"network": name, "epochs": 2, "frozen_epochs": 0}
    teacher = train_teacher(load_training_config("digits_teacher").model_copy(update=brief), digits)
    student = train_student(load_training_config("digits_student").model_copy(update=brief), digits, teacher.net)
    assert student.history[-1].test_accuracy > 0.3
    network = to_network(student.net, name)
    spikes = encode(digits.test_images, digits.test_labels, np.arange(16), network.input, "digits test")
    assert_agree(student.net, network, design(rows=64, cols=64), spikes)


@pytest.mark.parametrize(
    "neuron",
    [
        NeuronSpec(leak_mul=1, leak_shift=0, reset="hard"),
        NeuronSpec(leak_mul=1, leak_shift=0, reset="soft"),
        NeuronSpec(leak_training="power_of_two", threshold_training="learned", surrogate="arctan"),
        NeuronSpec(leak_mul=5, leak_shift=3, leak_training="fraction", threshold_training="learned", reset="soft"),
    ],
    ids=["IF hard", "IF soft", "learned, power of two", "learned, fraction"],
)
def test_other_neurons_train_and_agree_on_crossbars(neuron):
    digits = load_dataset("digits")
    brief = {"epochs": 2, "frozen_epochs": 1, "neuron": neuron, "weight_decay": 0.0}
    teacher = train_teacher(load_training_config("digits_teacher").model_copy(update=brief), digits)
    student = train_student(load_training_config("digits_student").model_copy(update=brief), digits, teacher.net)
    network = to_network(student.net, "student")
    leaks = [node.leak_mul / 2**node.leak_shift for node in network.nodes if isinstance(node, LifNode)]
    if neuron.leak_training == "fixed":
        assert leaks == [1.0, 1.0]
    learned = [parameter for key, parameter in student.net.named_parameters() if ".constants." in key]
    assert len(learned) == (0 if neuron.leak_training == "fixed" else 4)
    assert all(float(parameter.detach()) != 0 for parameter in learned)
    spikes = encode(digits.test_images, digits.test_labels, np.arange(48), network.input, "digits test")
    _SEEN.clear()
    outputs = assert_agree(student.net, network, design(rows=32, cols=16), spikes)
    assert _SEEN["spike"] > 1000
    # Two epochs learn; guessing would give 0.1.
    assert float(np.mean(outputs.logits.argmax(1) == spikes.labels)) > 0.5
