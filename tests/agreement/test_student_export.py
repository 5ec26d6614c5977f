"""The student in ``eval()`` computes the integers of its exported network, judged by plain loops."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.integer_network import Walk, walk

from spikeloop.models.export import lif_node_name, to_network
from spikeloop.models.layers import QuantReadout, QuantWeightLayer
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import SpikingNet, build_student
from spikeloop.models.neuron_constants import NeuronConstants
from spikeloop.models.plan import (
    Add,
    Architecture,
    Classifier,
    Conv,
    Dense,
    MembraneBlock,
    SpikeBlock,
    StreamConv,
    StreamLif,
    SumPool,
)
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.network.graph import BatchNormNode, InputNode, LifNode, Network


def shake(student: SpikingNet, seed: int) -> SpikingNet:
    """Random batch-norm constants, gains of both signs, so that the neurons see everything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in student.blocks.values():
            if isinstance(block, QuantWeightLayer):
                fan = float(np.prod(block.geometry.weight_shape[1:]))
                block.gamma.normal_(0.0, 1.0, generator=generator)
                block.beta.normal_(0.3, 0.5, generator=generator)
                block.running_mean.normal_(0.0, 0.1, generator=generator)
                spread = float(block.weight.square().mean().sqrt()) * fan**0.5 * 0.3
                block.running_var.uniform_(0.5 * spread**2, 2.0 * spread**2, generator=generator)
            elif isinstance(block, QuantReadout):
                block.bias.normal_(0.0, 0.1, generator=generator)
        for block in student.modules():
            if isinstance(block, NeuronConstants):
                for parameter in block.parameters():
                    parameter.normal_(0.0, 1.0, generator=generator)
    student.start_steps()
    return student.eval()


def assert_same(student: SpikingNet, network: Network, codes: np.ndarray) -> Walk:
    truth = walk(network, codes)
    run = student.integer_run(torch.from_numpy(codes.astype(np.float32)))
    for name, layer in run.layers.items():
        node = lif_node_name(name)
        np.testing.assert_array_equal(layer.spikes.numpy(), truth.spikes[node])
        np.testing.assert_array_equal(layer.stored.numpy(), truth.membranes[node])
        np.testing.assert_array_equal(layer.membrane.numpy(), truth.before_reset[node])
    np.testing.assert_array_equal(run.logits.numpy(), truth.logits)
    return truth


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize(
    ("quantiser", "scale"), [("uniform", "max"), ("uniform", "learned"), ("rescaw", "mean"), ("mint", "learned")]
)
def test_demo_student_equals_the_integer_walk_where_it_is_delicate(reset, quantiser, scale):
    quantisation = QuantisationSpec(
        weight_bits=3, membrane_bits=3, bn_bits=6, guard_bits=2, weight_quantiser=quantiser, weight_scale=scale
    )
    plan = architecture("demo")
    student = build_student(plan, n_timesteps=4, neuron=NeuronSpec(reset=reset), quantisation=quantisation, seed=1)
    network = to_network(shake(student, 2), "demo")
    codes = np.random.default_rng(3).integers(0, 2**plan.input.bits, (12, *plan.input.shape))
    truth = assert_same(student, network, codes)
    negative_gains = sum(int((node.m < 0).sum()) for node in network.nodes if isinstance(node, BatchNormNode))
    assert truth.ties_at_threshold >= 20
    assert truth.ties_to_even >= 20
    assert truth.negative_membranes >= 100
    assert truth.saturated_low >= 20
    assert truth.saturated_high >= 20
    # MINT folds the gains of all layers but the first into the weights.
    assert negative_gains >= (4 if quantiser == "mint" else 10)
    assert len(np.unique(truth.logits, axis=0)) == 12


@pytest.mark.parametrize(("name", "layers"), [("demo", ("conv1", "conv2")), ("ms_resnet_tiny", ("s1b1_in", "last"))])
def test_layers_with_widths_of_their_own_equal_the_integer_walk(name, layers):
    plan = architecture(name)
    quantisation = QuantisationSpec(
        weight_bits=3,
        membrane_bits=6,
        bn_bits=6,
        guard_bits=2,
        layer_bits={next(iter(plan.steps)).name: 2, "fc": 5},
        membrane_layer_bits=dict(zip(layers, (2, 4), strict=True)),
    )
    student = build_student(plan, n_timesteps=4, neuron=NeuronSpec(reset="soft"), quantisation=quantisation, seed=1)
    network = to_network(shake(student, 2), name)
    codes = np.random.default_rng(3).integers(0, 2**plan.input.bits, (12, *plan.input.shape))
    assert_same(student, network, codes)
    found = {node.name: node.membrane_bits for node in network.nodes if isinstance(node, LifNode)}
    assert [found[lif_node_name(layer)] for layer in layers] == [2, 4]
    assert all(bits == 6 for node, bits in found.items() if node not in map(lif_node_name, layers))
    widths = {node.name: node.weight_bits for node in network.nodes if hasattr(node, "weight_bits")}
    assert (widths[plan.steps[0].name], widths["fc"]) == (2, 5)


def test_forward_in_eval_is_the_integer_run_in_real_units():
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4)
    student = build_student(architecture("demo"), n_timesteps=3, neuron=NeuronSpec(), quantisation=quantisation, seed=5)
    shake(student, 6)
    codes = torch.randint(0, 16, (7, 1, 8, 8), generator=torch.Generator().manual_seed(7)).float()
    output, run = student(codes), student.integer_run(codes)
    scale = student.blocks["fc"].scale()
    torch.testing.assert_close(output.logits.sum(0).double() / scale, run.logits.double(), rtol=0, atol=1e-3)
    for spikes, membrane, layer in zip(output.spikes, output.membranes, run.layers.values(), strict=True):
        assert torch.equal(spikes.double(), layer.spikes)
        assert torch.equal(membrane.double() * student.blocks["conv1"].grid.theta, layer.membrane)


def _chain(draw):
    layers = [Conv(name="a", channels=draw(st.integers(1, 5)), kernel=draw(st.sampled_from([1, 3])), stride=1)]
    layers += [SumPool(name="p", kernel=draw(st.integers(2, 3)))] if draw(st.booleans()) else []
    layers += [Conv(name="b", channels=3, kernel=3, stride=draw(st.integers(1, 2)))] if draw(st.booleans()) else []
    return layers + ([Dense(name="d", features=6)] if draw(st.booleans()) else [])


def _blocks(draw, block):
    return [
        block(name=f"b{i}", channels=draw(st.sampled_from([2, 3])), stride=draw(st.sampled_from([1, 1, 2])))
        for i in range(draw(st.integers(1, 3)))
    ]


def _membrane_blocks(draw):
    layers = [StreamConv(name="stem", channels=2)]
    layers += [Add(name="stem_add", mode="stream")] if draw(st.booleans()) else []
    layers += [*_blocks(draw, MembraneBlock), StreamLif(name="last")]
    return layers + ([Dense(name="d", features=6)] if draw(st.booleans()) else [])


def _spike_blocks(draw):
    layers = [Conv(name="stem", channels=2), *_blocks(draw, SpikeBlock)]
    return layers + ([Dense(name="d", features=6)] if draw(st.booleans()) else [])


QUANTISERS = [
    ("uniform", "max"),
    ("uniform", "percentile"),
    ("uniform", "learned"),
    ("rescaw", "mean"),
    ("rescaw", "max"),
    ("rescaw", "percentile"),
]


@st.composite
def students(draw) -> tuple[SpikingNet, np.ndarray]:
    signed, static = draw(st.booleans()), draw(st.booleans())
    bits = draw(st.integers(2, 6)) if signed else draw(st.integers(1, 8))
    shape = (draw(st.integers(1, 3)), draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    layers = draw(st.sampled_from([_chain, _membrane_blocks, _spike_blocks]))(draw)
    layers += [Classifier(name="f", classes=4)]
    plan = Architecture(
        name="drawn",
        input=InputNode(name="input", shape=shape, bits=bits, signed=signed, static=static),
        layers=tuple(layers),
    )
    leak_shift = draw(st.integers(0, 3))
    leak_mul, reset = draw(st.integers(0, 2**leak_shift)), draw(st.sampled_from(["hard", "soft"]))
    quantiser, scale = draw(st.sampled_from(QUANTISERS))
    quantisation = QuantisationSpec(
        weight_bits=draw(st.integers(1 if quantiser == "rescaw" else 2, 8)),
        membrane_bits=draw(st.integers(2, 9)),
        bn_bits=draw(st.integers(3, 12)),
        guard_bits=draw(st.integers(0, 5)),
        first_layer_bits=draw(st.integers(2, 8)),
        last_layer_bits=draw(st.integers(2, 8)),
        weight_quantiser=quantiser,
        weight_scale=scale,
        weight_percentile=90.0,
        stream_bits=draw(st.integers(2, 10)),
        stream_thresholds=draw(st.sampled_from([1, 2, 4, 8])),
    )
    seed = draw(st.integers(0, 2**20))
    n_timesteps = draw(st.integers(1, 4))
    learns = 0 < leak_mul < 2**leak_shift
    neuron = NeuronSpec(
        leak_mul=leak_mul,
        leak_shift=leak_shift,
        reset=reset,
        leak_training=("fixed", "power_of_two", "fraction")[seed % 3] if learns else "fixed",
        threshold_training=("fixed", "learned")[seed // 3 % 2],
    )
    student = build_student(plan, n_timesteps=n_timesteps, neuron=neuron, quantisation=quantisation, seed=seed)
    low = -(2 ** (bits - 1)) if signed else 0
    lead = (3,) if static else (n_timesteps, 3)
    codes = np.random.default_rng(seed).integers(low, low + 2**bits, (*lead, *shape))
    return shake(student, seed), codes


_SEEN: Counter[str] = Counter()


@settings(max_examples=120, deadline=None)
@given(students())
def _check_random_students(drawn):
    student, codes = drawn
    network = to_network(student, "drawn")
    truth = assert_same(student, network, codes)
    for step in student.steps:
        if isinstance(own := getattr(student.blocks[step.name], "constants", None), NeuronConstants):
            _SEEN[f"leak {own.neuron.leak_training}"] += own.rounded().leak != own.neuron.leak
            where = "stream" if isinstance(step.plan, StreamLif) else "layer"
            _SEEN[f"threshold on a {where}"] += own.threshold() is not None
    for step in student.steps[1:]:
        if not isinstance(block := student.blocks[step.name], QuantWeightLayer):
            continue
        quantiser = block.quantiser
        _SEEN[f"affine {quantiser.spec.affine}, {quantiser.spec.scale}"] += 1
    _SEEN["stream saturated"] += truth.stream_saturated > 0
    _SEEN["sew above one"] += truth.sew_above_one > 0
    for node in network.nodes:
        if isinstance(node, LifNode):
            _SEEN["shift left"] += node.input_shift > 0
            _SEEN["shift right"] += node.input_shift < 0


def test_random_students_equal_the_integer_walk_with_and_without_residuals():
    _SEEN.clear()
    _check_random_students()
    learned = ("leak power_of_two", "leak fraction", "threshold on a stream", "threshold on a layer")
    for case in ("stream saturated", "sew above one", "shift left", "shift right", *learned):
        assert _SEEN[case] >= 10, (case, _SEEN)
    for quantiser, scale in QUANTISERS:
        assert _SEEN[f"affine {quantiser == 'rescaw'}, {scale}"] >= 5, (quantiser, scale, _SEEN)


@pytest.mark.parametrize("name", ["ms_resnet_tiny", "sew_resnet_tiny"])
def test_residual_forward_in_eval_is_the_integer_run_in_real_units(name):
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4, stream_bits=6)
    student = build_student(architecture(name), n_timesteps=3, neuron=NeuronSpec(), quantisation=quantisation, seed=5)
    shake(student, 6)
    codes = torch.randint(0, 16, (7, 1, 8, 8), generator=torch.Generator().manual_seed(7)).float()
    output, run = student(codes), student.integer_run(codes)
    scale = student.blocks["fc"].scale()
    torch.testing.assert_close(output.logits.sum(0).double() / scale, run.logits.double(), rtol=1e-6, atol=1e-3)
    for spikes, membrane, (layer, codes_of) in zip(output.spikes, output.membranes, run.layers.items(), strict=True):
        assert torch.equal(spikes.double(), codes_of.spikes)
        assert torch.equal(membrane.double() * student.blocks[layer].grid.theta, codes_of.membrane)
