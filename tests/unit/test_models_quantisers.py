"""Weights and batch-norm constants as integers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student
from spikeloop.models.quantisers import (
    QuantisationSpec,
    WeightQuantiser,
    fake_quantised_weight,
    fold_batch_norm,
    weight_codes,
    weight_step,
)
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.network.graph import BatchNormNode
from spikeloop.simulator.network.quant import QuantSpec, rhe, rhe_float, rshift, rshift_float
from spikeloop.simulator.spec import validate_spec

reals = st.floats(-1e4, 1e4, allow_subnormal=False).map(lambda x: 0.0 if abs(x) < 1e-12 else x)


@settings(max_examples=200, deadline=None)
@given(gain=reals, offset=reals, bn_bits=st.integers(3, 16))
def test_folded_constants_are_near_and_fit_the_file(gain, offset, bn_bits):
    folded = fold_batch_norm(
        torch.tensor([gain], dtype=torch.float64), torch.tensor([offset], dtype=torch.float64), bn_bits
    )
    m, n, k, e = (int(part) for part in folded)
    assert m == 0 or 2 ** (bn_bits - 2) <= abs(m) < 2 ** (bn_bits - 1)
    assert abs(n) < 2 ** (bn_bits - 1)
    assert 0 <= k <= 50
    assert abs(e) <= 50
    if m != 0:
        assert abs(float(folded.gain) - gain) <= abs(gain) * 2.0 ** -(bn_bits - 1)
        # Half a unit of the offset's mantissa, or of the shared exponent where the offset is the smaller one.
        assert abs(float(folded.offset) - offset) <= max(abs(offset) * 2.0 ** -(bn_bits - 2), 2.0 ** -(e + 1))
    assert abs(n) << k < 2**52


@pytest.mark.parametrize(
    ("gain", "offset", "expected"),
    [
        (1.0, 0.0, (64, 0, 0, 6)),
        (-1.0, 1.0, (-64, 64, 0, 6)),
        # 0.999 rounds up to the next power of two: 2 * 64 / 2^7, never the mantissa 128.
        (0.999, 3.0, (64, 96, 1, 6)),
        (0.0, -5.0, (0, -80, 0, 4)),
        (200.0, 0.25, (100, 0, 0, -1)),
    ],
)
def test_fold_by_hand(gain, offset, expected):
    folded = fold_batch_norm(torch.tensor([gain], dtype=torch.float64), torch.tensor([offset], dtype=torch.float64), 8)
    assert tuple(int(part) for part in folded) == expected
    BatchNormNode(name="bn", **{key: part.numpy().astype(int) for key, part in folded._asdict().items()}, bn_bits=8)


def test_a_gain_that_cannot_be_aligned_with_its_offset_becomes_zero():
    folded = fold_batch_norm(torch.tensor([1e-13], dtype=torch.float64), torch.tensor([4096.0], dtype=torch.float64), 8)
    assert int(folded.m) == 0
    assert float(folded.offset) == 4096.0


def test_torch_and_numpy_shift_alike_for_every_shift_a_file_can_hold():
    values = np.random.default_rng(0).integers(-(2**20), 2**20, 400)
    for k in range(-20, 51):
        shifted = rshift_float(torch.from_numpy(values).double(), torch.tensor(float(k), dtype=torch.float64), torch)
        np.testing.assert_array_equal(shifted.numpy(), rshift(values, k))
    for k in range(17):
        np.testing.assert_array_equal(rhe_float(torch.from_numpy(values).double(), k, torch).numpy(), rhe(values, k))


def test_torch_powers_of_two_are_exact():
    shifts = torch.arange(-50, 51, dtype=torch.float64)
    np.testing.assert_array_equal((2.0**shifts).numpy(), np.ldexp(1.0, np.arange(-50, 51)))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weight_codes_reach_the_largest_code_and_no_further(bits):
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    spec = QuantSpec(bits=bits)
    codes = weight_codes(weight, weight_step(weight, spec), spec)
    assert int(codes.abs().max()) == 2 ** (bits - 1) - 1
    assert torch.equal(codes, codes.round())


def test_percentile_scale_clips_the_tail_and_stops_its_gradient():
    weight = torch.linspace(-1, 1, 201, requires_grad=True)
    spec = QuantSpec(bits=4, scale="percentile", percentile=50.0)
    step = weight_step(weight, spec)
    assert float(step) == pytest.approx(0.5 / 7)
    fake_quantised_weight(weight, step, spec).sum().backward()
    outside = weight.detach().abs() > 0.5 + 1e-6
    assert torch.equal(weight.grad[outside], torch.zeros(int(outside.sum())))
    inside = weight.detach().abs() < 0.5 - 1e-6
    torch.testing.assert_close(weight.grad[inside], torch.full((int(inside.sum()),), float(1 / step)))


def test_a_layer_of_zero_weights_gives_zero_codes():
    weight = torch.zeros(2, 3)
    spec = QuantSpec(bits=4)
    assert not bool(weight_codes(weight, weight_step(weight, spec), spec).any())


# --- learned steps (LSQ)


def test_a_learned_step_starts_at_twice_the_mean_over_the_root_of_the_largest_code():
    quantiser = WeightQuantiser(QuantSpec(bits=3, scale="learned"))
    # mean |w| = 3/4, largest code 3.
    quantiser.start(torch.tensor([1.0, -1.0, 0.5, 0.5]))
    assert float(quantiser.step(torch.zeros(4))) == pytest.approx(1.5 / math.sqrt(3))


def test_gradient_of_a_learned_step_is_that_of_lsq_by_hand():
    """Step 1/2, codes -3 to 3: w/s = 0.4, 1.8, -10, so codes 0, 2, -3.

    d(s*q)/ds is q - w/s inside and the code outside: -0.4, 0.2, -3; with weights 1, 10, 100 of the three outputs
    the sum is -0.4 + 2 - 300, times 1/sqrt(3 weights * largest code 3) = 1/3.
    """
    quantiser = WeightQuantiser(QuantSpec(bits=3, scale="learned"))
    weight = torch.tensor([0.2, 0.9, -5.0], requires_grad=True)
    with torch.no_grad():
        quantiser.step_size.fill_(0.5)
    step = quantiser.training_step(weight)
    codes = fake_quantised_weight(weight, step, quantiser.spec)
    assert codes.tolist() == [0.0, 2.0, -3.0]
    (codes * step.float() * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert quantiser.step_size.grad.item() == pytest.approx((-0.4 + 2 - 300) / 3, rel=1e-5)
    # d(s*q)/dw is 1 inside, 0 outside.
    assert weight.grad.tolist() == pytest.approx([1.0, 10.0, 0.0])


# --- ReScaW (QP-SNN)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        # gamma = 1: (3/2)*(clamp(w) + 1) = 1.95, 0.9, 3, 0, rounded 2, 1, 3, 0; codes 2*q - 3.
        ("mean", [1, -1, 3, -3]),
        # gamma = 2: (3/2)*(w/2 + 1) = 1.725, 1.2, 2.475, 0.
        ("max", [1, -1, 1, -3]),
    ],
)
def test_rescaw_by_hand(scale, expected):
    weight = torch.tensor([0.3, -0.4, 1.3, -2.0], requires_grad=True)
    spec = QuantSpec(bits=2, scale=scale, affine=True)
    step = weight_step(weight, spec)
    assert float(step) == pytest.approx({"mean": 1.0, "max": 2.0}[scale] / 3)
    codes = fake_quantised_weight(weight, step, spec)
    assert codes.tolist() == expected
    codes.sum().backward()
    # The gradient passes where the code is clipped too.
    torch.testing.assert_close(weight.grad, torch.full((4,), 1 / float(step)))


def test_rescaw_of_one_bit_is_the_sign():
    weight = torch.tensor([0.3, -0.4, 5.0, -0.1])
    spec = QuantSpec(bits=1, scale="mean", affine=True)
    assert weight_codes(weight, weight_step(weight, spec), spec).tolist() == [1.0, -1.0, 1.0, -1.0]


# --- the training file


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"weight_scale": "mean"},
            "weight_scale=mean does not go with weight_quantiser=uniform; allowed max, percentile",
        ),
        ({"weight_quantiser": "rescaw", "weight_scale": "learned"}, "allowed mean, max, percentile"),
        ({"weight_bits": 1}, "weight_bits=1 with weight_quantiser=uniform; allowed 2 to 32"),
        ({"layer_bits": {"conv2": 33}}, "layer_bits.conv2=33 with weight_quantiser=uniform; allowed 2 to 32"),
    ],
)
def test_a_quantiser_that_does_not_fit_is_one_sentence(fields, sentence):
    with pytest.raises(ConfigError) as caught:
        validate_spec(QuantisationSpec, {"weight_bits": 4, "membrane_bits": 4, **fields}, where="x.yaml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_widths_of_single_layers_and_of_the_ends():
    spec = QuantisationSpec(weight_bits=1, membrane_bits=4, weight_quantiser="rescaw", layer_bits={"b": 3, "c": 4})
    assert spec.weight_spec("first", "a") == QuantSpec(bits=8, scale="max")
    assert spec.weight_spec("inner", "x") == QuantSpec(bits=1, scale="mean", affine=True, percentile=99.0)
    assert spec.weight_spec("inner", "b").bits == 3
    assert spec.weight_spec("last", "c") == QuantSpec(bits=4, scale="max")
    plan = architecture("demo")
    with pytest.raises(NetworkError, match="network demo has no layer 'b'; allowed: conv1, conv2, fc"):
        build_student(plan, n_timesteps=1, neuron=NeuronSpec(), quantisation=spec, seed=0)


def test_widths_of_membranes_by_layer_leave_the_hash_of_older_files_alone():
    plain = QuantisationSpec(weight_bits=3, membrane_bits=4)
    assert "membrane_layer_bits" not in plain.resolved()
    own = QuantisationSpec(weight_bits=3, membrane_bits=4, membrane_layer_bits={"conv1": 6})
    assert own.resolved()["membrane_layer_bits"] == {"conv1": 6}
    assert validate_spec(QuantisationSpec, own.resolved(), where="q") == own
    assert (own.membrane_width("conv1"), own.membrane_width("conv2")) == (6, 4)
    with pytest.raises(ConfigError, match=r"membrane_layer_bits.conv1=1; allowed 2 to 32"):
        validate_spec(QuantisationSpec, {**plain.resolved(), "membrane_layer_bits": {"conv1": 1}}, where="q")
    with pytest.raises(NetworkError, match=r"demo has no neurons 'fc'; allowed: conv1, conv2"):
        build_student(
            architecture("demo"),
            n_timesteps=2,
            neuron=NeuronSpec(),
            quantisation=plain.model_copy(update={"membrane_layer_bits": {"fc": 4}}),
            seed=1,
        )
