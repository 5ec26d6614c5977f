"""ADC ranges: fixed from the crossbar, or from calibration sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, networks, one_layer, random_spikes

from spikeloop.simulator.config import UniformAdc
from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.functional.adc import (
    conversion_error,
    fixed_shift,
    shift_from_histogram,
    shifts_from_histograms,
)
from spikeloop.simulator.functional.run import calibrate_adc, column_sum_histograms, run_functional
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.spikes import SpikeTrain


@given(rows=st.integers(1, 512), bits=st.integers(1, 10), cell_bits=st.integers(1, 4))
def test_max_range_reaches_the_largest_sum_with_the_smallest_lsb(rows, bits, cell_bits):
    hw = design(rows=rows, cols=4, cell_bits=cell_bits, adc_bits=bits, full_scale="max")
    top, shift = 2**bits - 1, fixed_shift(hw)
    assert top * 2**shift >= hw.crossbar.column_sum_max
    assert shift == 0 or top * 2 ** (shift - 1) < hw.crossbar.column_sum_max


def test_64_one_bit_rows_need_7_bits_to_be_lossless():
    assert design(rows=64, cols=4).adc_bits == 7


def test_calibrated_range_clips_what_is_rare_and_keeps_what_is_common():
    """Sums 0..7 are common, 60 occurs once: with 3 bits, lsb 1 costs 53^2, lsb 16 rounds everything away."""
    histogram = np.zeros((1, 1, 1, 65), dtype=np.int64)
    histogram[0, 0, 0, :8] = 1000
    histogram[0, 0, 0, 60] = 1
    hw = design(rows=64, cols=4, adc_bits=3)
    assert shifts_from_histograms([histogram], hw) == (0,)
    assert shifts_from_histograms([histogram], design(rows=64, cols=4, adc_bits=3, full_scale="max")) == (4,)


def test_conversion_error_by_hand():
    """lsb 2, top code 1: sums 0, 1, 5 become 0, 2, 2: errors 0, 1, 9; second slice of 1-bit cells counts 4-fold."""
    histogram = np.zeros((1, 2, 6), dtype=np.int64)
    histogram[0, :, [0, 1, 5]] = 1
    assert conversion_error(histogram, 1, 1, 1) == 10 + 4 * 10


def test_conversion_error_rounds_to_the_nearest_code_and_weighs_slices_by_their_place():
    """lsb 4: sum 3 becomes 4, not 0; the second slice of 2-bit cells counts 16-fold."""
    histogram = np.zeros((2, 2, 4), dtype=np.int64)
    histogram[:, :, 3] = 1
    assert conversion_error(histogram, 2, 3, 2) == (1 + 16) + 4 * (1 + 16)


@pytest.mark.parametrize(("percentile", "shift"), [(50.0, 0), (80.0, 0), (80.1, 1), (99.0, 3), (100.0, 4)])
def test_percentile_range_is_the_smallest_that_reaches_it(percentile, shift):
    """Of 100 sums 80 are 0 to 7 (10 each), then 9, 30 and 64: 3 bits reach 7, 14, 28, 56, 112."""
    histogram = np.zeros((1, 1, 2, 65), dtype=np.int64)
    histogram[0, 0, 0, :8] = 10
    histogram[0, 0, 1, [9, 30, 64]] = [10, 9, 1]
    adc = UniformAdc(bits=3, full_scale="percentile", percentile=percentile, columns_per_adc=1)
    hw = design(rows=64, cols=4).model_copy(update={"adc": adc})
    assert shifts_from_histograms([histogram], hw) == (shift,)


@given(network=networks(), seed=st.integers(0, 20))
@settings(max_examples=30)
def test_calibration_sees_the_sums_of_ideal_conversions_upstream(network, seed):
    spikes, seen = random_spikes(network, 2, seed), []
    for bits in (1, 8):
        hw = design(rows=8, cols=8, adc_bits=bits)
        seen.append(column_sum_histograms(network, map_network(network, hw), hw, spikes))
    for coarse, fine in zip(*seen, strict=True):
        assert np.array_equal(coarse, fine)


def test_column_sums_are_counted_by_plane_and_slice():
    """Two rows, codes 3 and 1: plane 0 drives both rows, plane 1 the first. Weights 5 and -2 on 2-bit cells."""
    network = one_layer(np.array([[5, -2]]), weight_bits=4, input_bits=2)
    hw = design(rows=2, cols=4, cell_bits=2)
    codes = np.array([3, 1]).reshape(1, 1, 2, 1, 1)
    spikes = SpikeTrain(name="two", codes=codes, labels=None, indices=np.arange(1, dtype=np.int64))
    (histogram,) = column_sum_histograms(network, map_network(network, hw), hw, spikes)
    # 5 = 1 + 1*4 on the positive columns, 2 = 2 + 0*4 on the negative ones.
    expected = np.zeros((2, 2, 7), dtype=np.int64)
    expected[0, 0, [1, 2]] = 1
    expected[0, 1, [1, 0]] = 1
    expected[1, 0, [1, 0]] = 1
    expected[1, 1, [1, 0]] = 1
    assert np.array_equal(histogram[0], expected)


@given(seed=st.integers(0, 50), bits=st.integers(1, 6))
def test_calibrated_is_never_worse_than_max_on_its_own_data(seed, bits):
    rng = np.random.default_rng(seed)
    histogram = rng.integers(0, 100, size=(1, 2, 65))
    hw = design(rows=64, cols=4, adc_bits=bits)
    best = shift_from_histogram(histogram, hw)
    top = 2**bits - 1
    assert conversion_error(histogram, best, top, 1) <= conversion_error(histogram, fixed_shift(hw), top, 1)


def test_calibration_without_data_is_refused():
    network = one_layer(np.ones((2, 4), dtype=np.int64), weight_bits=2)
    hw = design(adc_bits=3)
    with pytest.raises(DatasetError, match="calibration"):
        calibrate_adc(network, map_network(network, hw), hw, None)


@given(network=networks(), seed=st.integers(0, 20))
def test_wide_calibrated_adc_is_lossless(network, seed):
    spikes = random_spikes(network, 2, seed)
    ideal = design(rows=16, cols=16)
    wide = design(rows=16, cols=16, adc_bits=8)
    mapping = map_network(network, wide)
    shift = calibrate_adc(network, mapping, wide, spikes)
    assert shift == (0,) * len(mapping.layers)
    got = run_functional(network, mapping, wide, spikes, adc_shift=shift)
    expected = run_functional(network, map_network(network, ideal), ideal, spikes, adc_shift=shift)
    assert np.array_equal(got.logits, expected.logits)
    assert not got.clipped.any()
