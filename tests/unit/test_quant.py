import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloop.simulator.network.quant import (
    QuantSpec,
    quantise_codes,
    rhe,
    rhe_float,
    rshift,
    rshift_float,
)

VALUES = st.integers(-(2**40), 2**40)


@given(v=VALUES, k=st.integers(-8, 20))
def test_rshift_is_floor_of_x_plus_half(v, k):
    exact = math.floor(Fraction(v) / Fraction(2) ** k + Fraction(1, 2)) if k > 0 else v * 2**-k
    assert int(rshift(np.array([v]), k)[0]) == exact
    assert int(rshift_float(np.array([float(v)]), float(k), np)[0]) == exact


@given(v=st.integers(2**52, 2**53 - 1), sign=st.sampled_from([-1, 1]))
def test_a_float_shift_by_nothing_keeps_integers_up_to_2_to_the_53(v, sign):
    assert int(rshift_float(np.array([float(sign * v)]), 0.0, np)[0]) == sign * v


@given(v=VALUES, k=st.integers(0, 20))
def test_rhe_rounds_ties_to_even(v, k):
    exact = round(Fraction(v, 2**k))  # Python rounds half to even
    assert int(rhe(np.array([v]), k)[0]) == exact
    assert int(rhe_float(np.array([float(v)]), k, np)[0]) == exact


def test_ties_by_hand():
    ties = np.array([-3, -1, 1, 3])  # -1.5, -0.5, 0.5, 1.5
    assert rshift(ties, 1).tolist() == [-1, 0, 1, 2]
    assert rhe(ties, 1).tolist() == [-2, 0, 0, 2]


def test_rhe_refuses_a_left_shift():
    with pytest.raises(ValueError, match="k=-1"):
        rhe(np.array([1]), -1)


@given(bits=st.integers(2, 8), x=st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_symmetric_codes_are_odd_bounded_and_near(bits, x):
    spec = QuantSpec(bits=bits)
    values, step = np.array(x), 1.0 / spec.code_max
    codes = quantise_codes(values, step, spec)
    assert codes.min() >= spec.code_min
    assert codes.max() <= spec.code_max
    inside = np.abs(values) <= 1
    assert np.all(np.abs(codes * step - values)[inside] <= step / 2 + 1e-12)
    assert np.array_equal(quantise_codes(codes * step, step, spec), codes)


@given(bits=st.integers(1, 6), x=st.floats(-2, 2))
def test_affine_codes_are_odd_and_never_zero(bits, x):
    spec = QuantSpec(bits=bits, affine=True)
    code = int(quantise_codes(np.array([x]), 1.0 / spec.code_max, spec)[0])
    assert code % 2 == 1
    assert spec.code_min <= code <= spec.code_max
