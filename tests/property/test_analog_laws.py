"""Laws of analog reads: noise folded into a column against noise of every cell, converters, ranges, energy."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from analog_cases import gain_cell, layer_on_chip, on_chip, random_codes, rram_cell, single_layer, with_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design
from scipy import stats

from spikeloop.simulator.config import UniformAdc
from spikeloop.simulator.functional.adc import conversion_error, shifts_from_histograms
from spikeloop.simulator.functional.mismatch import adc_gain_and_offset, adc_thresholds
from spikeloop.simulator.mapping.tiles import map_network

ROWS, READS = 24, 20_000


def _far(n: int, m: int) -> float:
    """Distance of two samples above this has a probability below 1e-4 (Smirnov's asymptotic law)."""
    return float(stats.kstwobign.isf(1e-4)) * math.sqrt((n + m) / (n * m))


def _noisy_sums(driven: int, *, sigma: float, adc_bits: int | None = None, outputs: int = 1) -> np.ndarray:
    """(READS, outputs) sums of a column of ones, ``driven`` rows of 24, each read with new noise."""
    network = single_layer(np.ones((outputs, ROWS), dtype=np.int64), weight_bits=2)
    hw = on_chip(design(rows=32, cols=4, adc_bits=adc_bits), cell=gain_cell(sigma_counts=sigma))
    mapped = map_network(network, hw).layers[0]
    codes = np.zeros((1, READS, ROWS, 1, 1), dtype=np.int64)
    codes[:, :, :driven] = 1
    reads = layer_on_chip(mapped, hw, codes, np.arange(READS), 0)
    return reads.psum.reshape(READS, outputs)


def _cell_by_cell(driven: int, sigma: float, top: int) -> np.ndarray:
    """The same with a normal number for each driven cell, rounded and clipped as an ADC of lsb 1 does."""
    noise = np.random.default_rng(5).normal(0.0, sigma, size=(READS, driven)).sum(axis=1)
    return np.clip(np.floor(driven + noise + 0.5), 0, top)


@pytest.mark.parametrize("driven", [1, 4, 16, 24])
def test_folded_noise_has_the_law_of_noise_in_every_cell(driven):
    folded, plain = _noisy_sums(driven, sigma=0.8)[:, 0], _cell_by_cell(driven, 0.8, 63)
    assert stats.ks_2samp(folded, plain).statistic < _far(READS, READS)
    assert len(set(folded.tolist())) >= 5  # noise of several codes: the comparison could have failed


def test_noise_acts_before_the_converter_clips():
    """A 4-bit converter of lsb 1 holds 15: 16 driven cells lie just above, and noise brings two in five back."""
    folded, plain = _noisy_sums(16, sigma=0.8, adc_bits=4)[:, 0], _cell_by_cell(16, 0.8, 15)
    assert stats.ks_2samp(folded, plain).statistic < _far(READS, READS)
    assert 0.2 < (folded < 15).mean() < 0.5


def test_the_comparison_tells_noise_of_rows_that_are_not_driven():
    """Power of the tests above: five rows' noise instead of four's is too far."""
    folded = _noisy_sums(4, sigma=0.8)[:, 0]
    more = np.floor(4 + np.random.default_rng(6).normal(0.0, 0.8, size=(READS, 5)).sum(axis=1) + 0.5)
    assert stats.ks_2samp(folded, np.clip(more, 0, 63)).statistic > _far(READS, READS)


def test_columns_and_reads_are_independent():
    sums = _noisy_sums(16, sigma=0.8, outputs=3)
    limit = 4.0 / math.sqrt(READS)
    for a, b in itertools.combinations(range(3), 2):
        assert abs(np.corrcoef(sums[:, a], sums[:, b])[0, 1]) < limit
    for column in sums.T:
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < limit


_SEEN: Counter[str] = Counter()


@settings(max_examples=80)
@given(seed=st.integers(0, 10**6), bits=st.integers(3, 8), counts=st.floats(0.3, 1.7))
def _check_lsb(seed, bits, counts):
    """One slice and one row block: the sum of an output is code * lsb."""
    rng = np.random.default_rng(seed)
    network = single_layer(rng.integers(0, 2, size=(5, ROWS)), weight_bits=2)
    hw = on_chip(design(rows=32, cols=4, adc_bits=bits), cell=gain_cell(counts=counts))
    mapped = map_network(network, hw).layers[0]
    codes = random_codes(rng, mapped, 1, 6, 0.6)
    exact = counts * (codes.reshape(6, ROWS) @ mapped.layer.matrix[0])
    finer, unclipped = np.zeros(0), False
    for shift in range(5):
        found = layer_on_chip(mapped, hw, codes, np.arange(6), shift).psum.reshape(6, 5)
        error, top = np.abs(found - exact), (2**bits - 1) << shift
        inside = exact <= top
        assert (error[inside] <= 2**shift / 2 + 1e-6).all()
        assert (found[~inside] == top).all()
        if unclipped and inside.all():
            assert (finer <= error + 1e-6).all()
            _SEEN["halved"] += 1
            _SEEN["better"] += bool((finer < error - 1e-6).any())
        _SEEN["clipped"] += not inside.all()
        finer, unclipped = error, bool(inside.all())


def test_halving_the_lsb_is_never_worse_and_errors_stay_below_half_of_it():
    _SEEN.clear()
    _check_lsb()
    assert _SEEN["better"] >= 30
    assert _SEEN["clipped"] >= 10


def test_on_off_ratio_to_infinity_is_ideal_with_the_baseline_kept():
    rng = np.random.default_rng(0)
    network = single_layer(rng.integers(-3, 4, size=(12, 40)), weight_bits=3)
    plain = design(rows=48, cols=16, cell_bits=2, scheme="offset")
    mapped = map_network(network, plain).layers[0]
    codes = random_codes(rng, mapped, 1, 20, 0.5)
    ideal = layer_on_chip(mapped, plain, codes, np.arange(20), 0, ideal=True).psum
    errors = []
    for ratio in (2.0, 10.0, 100.0, 1000.0, 1e6):
        cell = rram_cell(conductance_min_uS=40.0 / ratio)
        hw = on_chip(plain, cell=cell, baseline="kept")
        mapped = map_network(network, hw).layers[0]
        errors.append(float(np.abs(layer_on_chip(mapped, hw, codes, np.arange(20), 0).psum - ideal).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.0
    assert errors[-1] == 0.0


def test_a_kept_baseline_by_hand():
    """G_min is half a unit: 6 driven rows add 3 counts to a column; a differential pair cancels them.

    Weights +1, +1 and four zeros: positive column 2 + 3, negative 0 + 3. With ``offset`` (codes w + 2: 3, 3, 2, 2, 2, 2
    of 2 bits) the column holds 14 + 3 and 2 * 6 is taken away: 5.
    """
    weight = np.array([[1, 1, 0, 0, 0, 0]])
    for scheme, cell_bits, baseline, expected in (
        ("differential", 1, "kept", 2),
        ("differential", 1, "subtracted", 2),
        ("offset", 2, "kept", 5),
        ("offset", 2, "subtracted", 2),
    ):
        unit = 10.0
        cell = rram_cell(conductance_min_uS=unit / 2, conductance_max_uS=unit / 2 + unit * (2**cell_bits - 1))
        hw = on_chip(design(rows=8, cols=4, cell_bits=cell_bits, scheme=scheme), cell=cell, baseline=baseline)
        mapped = map_network(single_layer(weight, weight_bits=2), hw).layers[0]
        reads = layer_on_chip(mapped, hw, np.ones((1, 1, 6, 1, 1), dtype=np.int64), np.arange(1), 0)
        assert reads.psum.ravel().tolist() == [expected], (scheme, baseline)


def test_read_energy_by_hand():
    """V^2 t G of every cell on a driven wordline: 2 of 3 rows, 4 columns (one output: two slices and signs).

    Weights 3, -1, 2 (3 bits): row 0 has both positive slices on (2 * 40 + 2 * 2 uS), row 1 one negative slice
    (40 + 3 * 2), row 2 is not driven. 0.3^2 V^2 * 7 ns * (84 + 46) uS = 81.9 fJ.
    """
    network = single_layer(np.array([[3, -1, 2]]), weight_bits=3)
    hw = on_chip(design(rows=3, cols=4), cell=rram_cell())
    mapped = map_network(network, hw).layers[0]
    codes = np.array([1, 1, 0]).reshape(1, 1, 3, 1, 1)
    reads = layer_on_chip(mapped, hw, codes, np.arange(1), 0)
    assert reads.read_fJ is not None
    assert reads.read_fJ.ravel().tolist() == pytest.approx([0.09 * 7.0 * 130.0])
    # Padded cells of a wider crossbar are programmed to the lowest state and conduct as well.
    wide = on_chip(design(rows=3, cols=6), cell=rram_cell())
    padded = layer_on_chip(map_network(network, wide).layers[0], wide, codes, np.arange(1), 0)
    assert padded.read_fJ.ravel().tolist() == pytest.approx([0.09 * 7.0 * (130.0 + 2 * 2 * 2.0)])


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), bits=st.integers(1, 6), crossbars=st.integers(1, 5))
def test_ranges_of_crossbars_are_never_worse_than_one_for_the_layer(seed, bits, crossbars):
    rng = np.random.default_rng(seed)
    histogram = np.zeros((crossbars, 1, 2, 65), dtype=np.int64)
    for own in histogram:  # crossbars whose sums differ in size
        reach = int(rng.integers(2, 66))
        own[0, :, :reach] = rng.integers(0, 50, size=(2, reach))
    error = {}
    for granularity in ("layer", "crossbar"):
        adc = UniformAdc(bits=bits, full_scale="calibrated", granularity=granularity, columns_per_adc=1)
        (shift,) = shifts_from_histograms([histogram], with_fields(design(rows=64, cols=4), adc=adc))
        error[granularity] = sum(
            conversion_error(own, int(j), 2**bits - 1, 1)
            for own, j in zip(histogram, np.broadcast_to(shift, crossbars), strict=True)
        )
    assert error["crossbar"] <= error["layer"]


N_ADCS = 4000


def _thresholds(architecture: str, bits: int, sigma: float) -> np.ndarray:
    """(ADCs, codes)."""
    adc = UniformAdc(bits=bits, columns_per_adc=1, architecture=architecture, unit_sigma=sigma)
    return adc_thresholds(adc, 17, N_ADCS)


def _assert_deviation(thresholds: np.ndarray, sigma: np.ndarray) -> None:
    """Deviations from k - 1/2 within five standard errors (1 / sqrt(2n)), their means within five of theirs."""
    sample = thresholds - (np.arange(1, sigma.size + 1) - 0.5)
    assert sample.std(axis=0) == pytest.approx(sigma, rel=5 / math.sqrt(2 * N_ADCS))
    assert (np.abs(sample.mean(axis=0)) <= 5 * sigma / math.sqrt(N_ADCS)).all()


def test_errors_of_a_ramp_add_up_as_a_random_walk():
    k = np.arange(1, 16)
    _assert_deviation(_thresholds("ramp", 4, 0.02), 0.02 * np.sqrt(k))


def test_errors_of_a_flash_ladder_are_a_bridge_between_its_references():
    """Ladder of N equal resistors: variance of tap k is sigma^2 k (N - k) / N, largest in the middle."""
    k, n = np.arange(1, 16), 16
    _assert_deviation(_thresholds("flash", 4, 0.02), 0.02 * np.sqrt(k * (n - k) / n))


def test_errors_of_a_capacitor_array_follow_the_bits_of_the_code():
    """Bit b is 2^b units that scatter by sigma / sqrt(2^b) each: the level of code k has deviation sigma sqrt(k)."""
    _assert_deviation(_thresholds("sar", 4, 0.01), 0.01 * np.sqrt(np.arange(1, 16)))


@pytest.mark.parametrize("architecture", ["sar", "ramp", "flash"])
def test_codes_rise_with_the_input_and_large_errors_lose_codes(architecture):
    found = _thresholds(architecture, 4, 0.4)
    assert (np.diff(found, axis=1) >= 0).all()
    missing = (np.diff(found, axis=1) == 0).any(axis=1).mean()
    assert missing > 0.2 if architecture == "sar" else missing < 0.2


def test_gain_and_offset_of_converters_have_their_deviations():
    adc = UniformAdc(bits=4, columns_per_adc=1, gain_sigma=0.03, offset_sigma_lsb=0.6)
    gain, offset = adc_gain_and_offset(adc, 3, N_ADCS)
    far = float(stats.kstwo.isf(1e-4, N_ADCS))
    assert stats.kstest(gain, stats.norm(1.0, 0.03).cdf).statistic < far
    assert stats.kstest(offset, stats.norm(0.0, 0.6).cdf).statistic < far
    assert abs(np.corrcoef(gain, offset)[0, 1]) < 4 / math.sqrt(N_ADCS)


def test_neighbouring_bitlines_share_a_converter():
    """16 equal columns with offsets of many lsb: the 4 bitlines of an ADC agree, those of others differ."""
    network = single_layer(np.ones((8, 6), dtype=np.int64), weight_bits=2)  # bitlines: 8 outputs x 2 signs
    adc = UniformAdc(bits=8, full_scale="max", columns_per_adc=4, offset_sigma_lsb=20.0)
    hw = with_fields(on_chip(design(rows=8, cols=16), cell=gain_cell(counts=10.0)), adc=adc)
    mapped = map_network(network, hw).layers[0]
    reads = layer_on_chip(mapped, hw, np.ones((1, 1, 6, 1, 1), dtype=np.int64), np.arange(1), 0)
    by_adc = reads.psum.reshape(4, 2)  # two outputs an ADC
    assert (by_adc[:, 0] == by_adc[:, 1]).all()
    assert len(set(by_adc[:, 0].tolist())) >= 3
