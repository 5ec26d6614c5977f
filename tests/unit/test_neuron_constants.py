"""Learned leaks and thresholds: gradients, rounding, and what they do to a layer."""

import pytest
import torch
from oracles.lif_stepwise import lif_stepwise

from spikeloop.models.export import to_network
from spikeloop.models.layers import FloatLayer, LayerGeometry
from spikeloop.models.lif import MembraneGrid, NeuronSpec, lif_sequence
from spikeloop.models.net import build_student, build_teacher
from spikeloop.models.neuron_constants import NeuronConstants
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.residual import QuantStreamLif
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.network.graph import LifNode
from spikeloop.simulator.spec import validate_spec

LEARNED = {"leak_training": "power_of_two", "threshold_training": "learned"}


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 + 0.2


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("surrogate", ["triangle", "rectangle", "arctan", "fast_sigmoid"])
@pytest.mark.parametrize("grid", [None, MembraneGrid(bits=3, guard_bits=2)])
def test_gradient_of_the_leak_equals_stepwise_autograd(reset, surrogate, grid):
    current = drawn((5, 2, 3, 2, 2), 1)
    current = current if grid is None else torch.round(current * grid.theta) / grid.theta
    found = []
    for mine in (True, False):
        leak = torch.tensor(0.75, dtype=torch.float64, requires_grad=True)
        if mine:
            neuron = NeuronSpec(reset=reset, surrogate=surrogate)
            spikes, membrane = lif_sequence(current, 5, neuron, grid, leak)
        else:
            bits = {} if grid is None else {"bits": grid.bits, "guard_bits": grid.guard_bits}
            spikes, membrane = lif_stepwise(current, leak=leak, reset=reset, surrogate=surrogate, **bits)
        (spikes * drawn(spikes.shape, 2) + membrane.square() * drawn(spikes.shape, 3)).sum().backward()
        found.append(leak.grad)
    assert abs(float(found[1])) > 0.1
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_layer_learns_leak_and_threshold_as_stepwise_autograd_does(reset):
    geometry = LayerGeometry(name="a", weight_shape=(3, 2, 3, 3), stride=1, padding=1, code_max=1, input_scale=1.0)
    layer = FloatLayer(geometry, NeuronSpec(reset=reset, **LEARNED), 4).double()
    layer.statistics_frozen = True
    with torch.no_grad():
        layer.weight.copy_(drawn(layer.weight.shape, 1))
        layer.constants.leak_logit.fill_(0.4)
        layer.constants.log_threshold.fill_(0.3)
    codes = drawn((4, 2, 2, 4, 4), 2)
    spikes, membrane = layer(codes)
    (spikes * drawn(spikes.shape, 3) + membrane.square()).sum().backward()

    logit = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    log_threshold = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    sums = torch.nn.functional.conv2d(codes.flatten(0, 1), layer.weight.detach(), padding=1).unflatten(0, (4, 2))
    leak, threshold = 1 / (1 + torch.exp(-logit)), torch.exp(log_threshold)
    true_spikes, true_membrane = lif_stepwise(
        sums / (1 + 1e-5) ** 0.5, leak=leak, reset=reset, surrogate="triangle", threshold=threshold
    )
    (true_spikes * drawn(spikes.shape, 3) + true_membrane.square()).sum().backward()
    assert torch.equal(spikes, true_spikes)
    torch.testing.assert_close(membrane, true_membrane, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.constants.leak_logit.grad, logit.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.constants.log_threshold.grad, log_threshold.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("leak", "power", "code_of_8"),
    # 0.7 and 0.72 lie on either side of 2^-1/2, where a power of two is rounded up to 1.
    [(0.7, 1, 6), (0.72, 0, 6), (0.5, 1, 4), (0.26, 2, 2), (0.05, 4, 0), (0.97, 0, 8), (1e-6, 16, 0)],
)
def test_a_learned_leak_is_rounded_to_what_hardware_multiplies_with(leak, power, code_of_8):
    logit = torch.logit(torch.tensor(leak))
    for rule, expected in (("power_of_two", (1, power)), ("fraction", (code_of_8, 3))):
        own = NeuronConstants(NeuronSpec(leak_mul=4, leak_shift=3, leak_training=rule))
        own.leak_logit.data.copy_(logit)
        assert (own.rounded().leak_mul, own.rounded().leak_shift) == expected
        rounded = own.rounded_leak()
        assert float(rounded.detach()) == expected[0] / 2 ** expected[1]
        rounded.backward()
        # Straight through: the slope of the sigmoid at the unrounded leak.
        assert float(own.leak_logit.grad) == pytest.approx(leak * (1 - leak), rel=1e-4)


def test_what_learns_starts_at_the_numbers_of_the_training_file():
    own = NeuronConstants(NeuronSpec(leak_mul=1, leak_shift=2, **LEARNED))
    assert float(own.leak().detach()) == pytest.approx(0.25)
    assert float(own.threshold().detach()) == 1.0
    assert own.rounded().leak == 0.25
    assert not list(NeuronConstants(NeuronSpec()).parameters())


def test_a_leak_that_vanished_still_rounds_and_one_that_is_no_number_is_not_exported():
    own = NeuronConstants(NeuronSpec(**LEARNED))
    own.leak_logit.data.fill_(-2000.0)
    assert (own.rounded().leak_mul, own.rounded().leak_shift) == (1, 16)
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4)
    parts = {"n_timesteps": 2, "neuron": NeuronSpec(**LEARNED), "seed": 3}
    student = build_student(architecture("ms_resnet_tiny"), quantisation=quantisation, **parts)
    student.blocks["last"].constants.leak_logit.data.fill_(float("nan"))
    with pytest.raises(NetworkError, match="last holds a value that is not finite"):
        to_network(student, "student")


@pytest.mark.parametrize("leak_mul", [0, 2])
def test_a_learned_leak_starts_between_zero_and_one(leak_mul):
    with pytest.raises(ConfigError, match="allowed a leak above 0 and below 1, or leak_training: fixed"):
        validate_spec(NeuronSpec, {"leak_mul": leak_mul, "leak_training": "fraction"}, where="x.yaml")


def test_a_threshold_on_a_stream_is_a_whole_number_of_steps_and_bounded():
    grid = MembraneGrid(bits=3, guard_bits=2)
    own = NeuronConstants(NeuronSpec(threshold_training="learned"))
    # theta is 16 codes; 1.3 * 16 = 20.8.
    for threshold, theta in ((1.0, 16), (1.3, 21), (0.5, 8), (7.0, 32), (1e-3, 1)):
        own.log_threshold.data.copy_(torch.tensor(threshold).log())
        assert own.on_stream(grid).theta == theta
    fixed = NeuronConstants(NeuronSpec())
    assert fixed.on_stream(grid) is grid


@pytest.mark.parametrize("log_threshold", [-0.6931472, 0.0, 0.6931472])
def test_neurons_on_a_stream_train_as_they_compute(log_threshold):
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4, stream_bits=8)
    block = QuantStreamLif("last", NeuronSpec(**LEARNED), 4, quantisation)
    with torch.no_grad():
        block.constants.log_threshold.fill_(log_threshold)
        block.constants.leak_logit.fill_(-1.0)
    stream = torch.round(drawn((4, 2, 3, 4, 4), 1).float() * 16) / 16
    stream.requires_grad_()
    spikes, membrane = block.train()(stream)
    (spikes.sum() + membrane.square().sum()).backward()
    assert all(float(p.grad.abs()) > 0 for p in block.constants.parameters())
    truth = block.eval()(stream.detach())
    assert torch.equal(spikes.detach(), truth.spikes)
    assert torch.equal(membrane.detach(), truth.membrane)
    assert 0 < int(spikes.sum()) < spikes.numel()


@pytest.mark.parametrize("quantiser", ["uniform", "mint"])
def test_every_layer_of_a_student_learns_its_own_and_exports_it(quantiser):
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4, weight_quantiser=quantiser)
    parts = {"n_timesteps": 3, "neuron": NeuronSpec(**LEARNED), "seed": 3}
    teacher = build_teacher(architecture("demo"), **parts)
    with torch.no_grad():
        teacher.blocks["conv1"].constants.leak_logit.fill_(-1.5)
        teacher.blocks["conv2"].constants.log_threshold.fill_(0.25)
    student = build_student(architecture("demo"), quantisation=quantisation, **parts)
    student.start_from(teacher)
    codes = torch.randint(0, 16, (6, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    student.train()(codes).logits.square().sum().backward()
    for name in ("conv1", "conv2"):
        own = student.blocks[name].constants
        assert torch.equal(own.leak_logit, teacher.blocks[name].constants.leak_logit)
        assert all(float(p.grad.abs()) > 0 for p in own.parameters()), name
    shifts = [node.leak_shift for node in to_network(student, "learned").nodes if isinstance(node, LifNode)]
    # sigmoid(-1.5) = 0.18 is nearest to 2^-2 by its logarithm.
    assert shifts == [2, 1]
    student.freeze_statistics(True)
    assert not student.blocks["conv1"].constants.leak_logit.requires_grad
    assert student.blocks["conv1"].constants.log_threshold.requires_grad


def test_a_student_with_fixed_neurons_refuses_a_teacher_that_learned_them():
    parts = {"n_timesteps": 2, "seed": 3}
    teacher = build_teacher(architecture("demo"), neuron=NeuronSpec(**LEARNED), **parts)
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4)
    student = build_student(architecture("demo"), neuron=NeuronSpec(), quantisation=quantisation, **parts)
    with pytest.raises(NetworkError, match=r"the teacher also learns blocks\.conv1\.constants"):
        student.start_from(teacher)
