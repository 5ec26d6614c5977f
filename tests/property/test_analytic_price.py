"""The closed-form price holds the chip that the mapping makes, and the energy of a run under the same densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.cycle_cases import changed, random_hardware, random_network

from spikeloop.models.random_export import shape_network
from spikeloop.simulator.analytic.price import AnalyticCost, price_many
from spikeloop.simulator.analytic.summary import summarise
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.pipeline import simulate_density


def priced(network, designs, technology, density=0.15):
    summary = summarise(lower_network(network), network.n_timesteps, density)
    return price_many(network, summary, designs, technology)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_area_is_that_of_the_mapped_chip(seed):
    rng = np.random.default_rng(seed)
    hw, network = random_hardware(rng), random_network(rng)
    technology = load_technology("rram_65nm")
    (found,) = priced(network, [hw], technology)
    parts = cost_library(map_network(network, hw), hw, technology)
    assert isinstance(found, AnalyticCost)
    assert found.area_um2 == pytest.approx(math.fsum(part.area_um2 for part in parts), rel=1e-12)


@pytest.mark.parametrize("preset", ["demo", "spikeflow_64"])
def test_energy_and_latency_are_near_a_run_of_the_clock(preset):
    hw = load_hardware(preset)
    network = shape_network("demo", seed=1, weight_bits=3, membrane_bits=4)
    (found,) = priced(network, [hw], load_technology(hw.technology))
    run = simulate_density(network, hw, 0.15, seed=1, n_images=4).metrics
    assert isinstance(found, AnalyticCost)
    assert found.energy_fJ == pytest.approx(run.energy_fJ, rel=0.03)
    assert found.latency_ns == pytest.approx(run.latency_ns, rel=0.1)
    assert found.area_um2 == pytest.approx(run.area_um2, rel=1e-12)
    assert found.tops * found.interval_ns == pytest.approx(run.dense_ops / 1000.0, rel=1e-12)


def test_a_chip_that_is_too_small_has_a_reason_and_no_cost():
    hw = load_hardware("demo")
    network = shape_network("demo", seed=1, weight_bits=3, membrane_bits=4)
    small = changed(changed(hw, "chip", tiles=1), "tile", pes_per_tile=1, crossbars_per_pe=1)
    found = priced(network, [small, hw], load_technology(hw.technology))
    assert isinstance(found[0], str)
    assert "chip.tiles is 1" in found[0]
    assert isinstance(found[1], AnalyticCost)
