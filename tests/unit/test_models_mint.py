"""MINT layers: one step for weights and membrane, no multiplier, the threshold in codes."""

import math

import numpy as np
import pytest
import torch

from spikeloop.models.export import to_network
from spikeloop.models.layers import LayerGeometry, QuantLayer
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.mint import MintLayer
from spikeloop.models.net import build_student
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.quant import QuantSpec

SPEC = QuantisationSpec(weight_bits=3, membrane_bits=4, guard_bits=2, weight_quantiser="mint")


def mint_layer(shape=(2, 2), layer=MintLayer, spec=SPEC) -> MintLayer:
    geometry = LayerGeometry(name="a", weight_shape=shape, stride=1, padding=0, code_max=1, input_scale=0.5)
    weights = QuantSpec(bits=3, scale="learned" if layer is MintLayer else "max")
    return layer(geometry, NeuronSpec(), 3, weight_spec=weights, quantisation=spec)


def test_codes_threshold_and_constants_by_hand():
    """Gain 2 and input scale 1/2 cancel: codes of tanh(w), step 0.3, largest code 3.

    tanh(1) = 0.7616 -> 2.54 -> 3; tanh(-2) = -0.964 -> -3.2 -> -3; tanh(0.2) = 0.197 -> 0.66 -> 1; 0 -> 0.
    Threshold: 1/0.3 = 3.33 codes, 13.3 on a grid four times finer, so the first integer that fires is 14.
    """
    layer = mint_layer()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0], [0.2, 0.0]]))
        layer.gamma.fill_(2.0)
        layer.beta.copy_(torch.tensor([0.3, -0.6]))
        layer.running_var.fill_(1.0 - 1e-5)
        layer.quantiser.step_size.fill_(0.3)
    layer.eval()
    assert layer.integer_weight().tolist() == [[3.0, -3.0], [1.0, 0.0]]
    assert layer.grid.theta == 14
    # Offsets of one step and of minus two: 4 and -8 on the finer grid; the gain is one membrane code.
    assert layer.folded().gain.tolist() == [4.0, 4.0]
    assert layer.folded().offset.tolist() == pytest.approx([4.0, -8.0], rel=1e-2)


def test_every_mantissa_is_one_power_of_two_and_the_first_layer_is_uniform():
    student = build_student(architecture("demo"), n_timesteps=2, neuron=NeuronSpec(), quantisation=SPEC, seed=0).eval()
    network = to_network(student, "mint")
    assert set(network.node("conv2_bn").m.tolist()) == {64}
    assert len(set(network.node("conv2_bn").e.tolist())) == 1
    assert len(set(network.node("conv1_bn").m.tolist())) > 1 or type(student.blocks["conv1"]) is QuantLayer
    assert network.node("conv1").weight_bits == network.node("fc").weight_bits == 8
    assert network.node("conv2_lif").theta == math.ceil(4 / float(student.blocks["conv2"].quantiser.step_size.detach()))


def test_the_training_pass_equals_the_integers_once_the_statistics_are_frozen():
    student = build_student(architecture("demo"), n_timesteps=4, neuron=NeuronSpec(), quantisation=SPEC, seed=1)
    codes = torch.randint(0, 16, (20, 1, 8, 8), generator=torch.Generator().manual_seed(2)).float()
    student.settle_statistics(codes, 10)
    student.start_steps()
    student.train()
    student.freeze_statistics(True)
    trained = student(codes)
    exact = student.eval()(codes)
    assert 0 < float(exact.spikes[1].mean()) < 1
    for mine, its in zip(trained.spikes, exact.spikes, strict=True):
        assert float((mine != its).double().mean()) < 0.002
    assert float((trained.membranes[1].detach() - exact.membranes[1]).abs().median()) < 1e-6


def test_statistics_are_those_of_any_layer():
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(5, 4, generator=generator)
    codes = torch.randint(0, 2, (3, 8, 4, 1, 1), generator=generator).float()
    mint, plain = mint_layer((5, 4)), mint_layer((5, 4), QuantLayer, SPEC.model_copy(update={"weight_bits": 3}))
    plain.quantiser.spec = QuantSpec(bits=24)
    for layer in (mint, plain):
        with torch.no_grad():
            layer.weight.copy_(weight)
        layer.train()(codes)
    torch.testing.assert_close(mint.running_mean, plain.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mint.running_var, plain.running_var, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient():
    layer = mint_layer((5, 4)).train()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(0))
    layer.start_step()
    codes = torch.randint(0, 2, (3, 8, 4, 1, 1), generator=torch.Generator().manual_seed(1)).float()
    layer(codes).membrane.square().sum().backward()
    for name, value in layer.named_parameters():
        assert float(value.grad.abs().sum()) > 0, name


def test_a_residual_stream_is_refused():
    with pytest.raises(NetworkError, match="mint gives every layer a step of its own") as caught:
        build_student(architecture("ms_resnet_tiny"), n_timesteps=1, neuron=NeuronSpec(), quantisation=SPEC, seed=0)
    assert "\n" not in str(caught.value)
    assert np.char.endswith(str(caught.value), "a network without a stream")
