"""Torch crossbars give the logits of the simulator: bit for bit where cells are ideal, and noise of the same law."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from analog_cases import gain_cell, on_chip, rram_cell, single_layer, small_networks, with_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, random_spikes
from scipy import stats

from spikeloop.models.crossbar import TorchCrossbars
from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import UniformAdc, load_hardware
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import map_network

_SEEN: Counter[str] = Counter()


def _both(network, hw, spikes, *, seed=0, chip=0):
    """Logits of the simulator and of torch."""
    mapping = map_network(network, hw)
    silicon = AnalogChip(hw=hw, seed=seed, chip=chip)
    shift = calibrate_adc(network, mapping, hw, spikes)
    mine = run_functional(network, mapping, hw, spikes, adc_shift=shift, chip=silicon)
    theirs = TorchCrossbars(network, mapping, hw, adc_shift=shift, seed=seed, chip=chip)
    _SEEN["clipped"] += int(mine.clipped.sum()) > 0
    _SEEN["rounded"] += any(np.max(j) > 0 for j in shift)
    return mine.logits, theirs.logits(np.asarray(spikes.codes), batch_size=2)


@settings(max_examples=120)
@given(network=small_networks, hw=designs(lossless=False), seed=st.integers(0, 999))
def _check_ideal(network, hw, seed):
    mine, theirs = _both(network, hw, random_spikes(network, 3, seed))
    np.testing.assert_array_equal(theirs, mine)
    _SEEN[map_network(network, hw).layers[0].scheme.kind] += 1
    _SEEN["signed"] += network.input.signed
    _SEEN["static"] += network.input.static
    _SEEN["fired"] += bool(mine.any())


def test_ideal_cells_bit_for_bit_and_the_hard_cases_occurred():
    _SEEN.clear()
    _check_ideal()
    for case in ("clipped", "rounded", "differential", "offset", "affine", "signed", "static", "fired"):
        assert _SEEN[case] >= 8, (case, _SEEN)


@pytest.mark.parametrize("name", ["ms_resnet_tiny", "sew_resnet_tiny"])
def test_residual_networks_bit_for_bit(name):
    network = random_network(name, seed=1, weight_bits=3, membrane_bits=5)
    mine, theirs = _both(network, load_hardware("spikeflow_64"), random_spikes(network, 3, 0))
    np.testing.assert_array_equal(theirs, mine)


@pytest.mark.parametrize("architecture", ["none", "sar", "ramp", "flash"])
def test_varying_cells_and_converters_agree_but_for_sums_at_a_threshold(architecture):
    """No sum of these 200 images happens to lie at a threshold within the rounding of 32-bit floats."""
    network = random_network("demo", seed=2, weight_bits=4, membrane_bits=5)
    cell = rram_cell(programming_sigma_ratio=0.15, stuck_on_fraction=0.01)
    hw = on_chip(design(rows=32, cols=32, adc_bits=4, columns_per_adc=4), cell=cell)
    if architecture != "none":
        adc = UniformAdc(
            bits=4, columns_per_adc=4, architecture=architecture, unit_sigma=0.1, offset_sigma_lsb=0.4, gain_sigma=0.05
        )
        hw = with_fields(hw, adc=adc)
    spikes = random_spikes(network, 200, 3)
    mine, theirs = _both(network, hw, spikes, seed=5, chip=2)
    assert (mine == theirs).all(axis=1).mean() >= 0.99
    ideal, _ = _both(network, design(rows=32, cols=32), spikes)
    assert (ideal == mine).all(axis=1).mean() < 0.5  # the chip matters


def test_read_noise_has_the_law_of_the_simulator():
    network = single_layer(np.ones((1, 24), dtype=np.int64), weight_bits=2)
    hw = on_chip(design(rows=32, cols=4), cell=gain_cell(sigma_counts=0.8))
    mapping, n = map_network(network, hw), 20_000
    codes = np.zeros((1, n, 24, 1, 1), dtype=np.int64)
    codes[:, :, :16] = 1
    found = TorchCrossbars(network, mapping, hw, adc_shift=(0,), seed=1).logits(codes, batch_size=n)[:, 0]
    plain = np.floor(16 + np.random.default_rng(3).normal(0.0, 0.8, size=(n, 16)).sum(axis=1) + 0.5)
    assert stats.ks_2samp(found, plain).pvalue > 1e-4
    again = TorchCrossbars(network, mapping, hw, adc_shift=(0,), seed=1).logits(codes, batch_size=n)[:, 0]
    np.testing.assert_array_equal(found, again)


def test_wires_are_those_of_the_simulator():
    network = random_network("demo", seed=2, weight_bits=3, membrane_bits=5)
    wires = {"source": "made for tests", "row_ohm": 4.0, "column_ohm": 4.0}
    hw = on_chip(design(rows=32, cols=32, adc_bits=5), cell=rram_cell(programming_sigma_ratio=0.05), wires=wires)
    mine, theirs = _both(network, hw, random_spikes(network, 50, 4), seed=1)
    assert (mine == theirs).all(axis=1).mean() >= 0.98


@pytest.mark.parametrize(
    ("crossbar", "more", "text"),
    [
        ({"cell": rram_cell(image_noise_ratio=0.1)}, {}, "frozen for an image"),
        (
            {"cell": rram_cell(nonlinearity_per_V=1.0), "wires": {"source": "x", "row_ohm": 1, "column_ohm": 1}},
            {},
            "solved",
        ),
        ({}, {"neuron": {"memory": {"bit_error_ratio": 0.1}}}, "faults of neurons"),
    ],
)
def test_what_only_the_simulator_computes_is_refused(crossbar, more, text):
    network = random_network("demo", seed=0, weight_bits=2, membrane_bits=4)
    hw = with_fields(on_chip(design(rows=32, cols=32), **crossbar), **more)
    with pytest.raises(ConfigError, match=text):
        TorchCrossbars(network, map_network(network, hw), hw, adc_shift=(0, 0, 0))


def test_codes_of_another_shape_are_refused():
    network, hw = random_network("demo", seed=0, weight_bits=2, membrane_bits=4), design(rows=32, cols=32)
    there = TorchCrossbars(network, map_network(network, hw), hw, adc_shift=(0, 0, 0))
    with pytest.raises(DatasetError, match=r"it takes images of shape \(1, 8, 8\)"):
        there.logits(np.zeros((2, 1, 9, 8), dtype=np.int64))
    assert there.logits(np.zeros((0, 1, 8, 8), dtype=np.int64)).shape == (0, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same_logits():
    network, hw = random_network("demo", seed=0, weight_bits=4, membrane_bits=5), load_hardware("spikeflow_64")
    mapping, spikes = map_network(network, hw), random_spikes(network, 20, 0)
    shift = calibrate_adc(network, mapping, hw, spikes)
    cpu, gpu = (
        TorchCrossbars(network, mapping, hw, adc_shift=shift, device=device).logits(spikes.codes)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_array_equal(cpu, gpu)
