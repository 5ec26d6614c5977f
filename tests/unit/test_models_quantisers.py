"""Weights and batch-norm constants as integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.models.quantisers import fake_quantised_weight, fold_batch_norm, weight_codes, weight_step
from spikeloop.simulator.network.graph import BatchNormNode
from spikeloop.simulator.network.quant import QuantSpec, rhe, rhe_float, rshift, rshift_float

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
