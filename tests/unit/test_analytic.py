"""Analytic mode: examples by hand, expectations against draws, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from networks import one_layer
from oracles.cycle_cases import changed, make_hardware, make_network

from spikeloop.simulator.analytic.bounds import run_bounds
from spikeloop.simulator.analytic.estimate import PLACED_ACTIONS, estimate, estimate_many
from spikeloop.simulator.analytic.summary import InputDensity, bernoulli_density, summarise
from spikeloop.simulator.cycle.actions import ACTIONS
from spikeloop.simulator.cycle.counts import count_actions
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import ConfigError, MappingError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.program import compile_program


def summary_of(network, density=0.2):
    return summarise(lower_network(network), network.n_timesteps, density)


def conv_network(**more):
    layers = [("conv", 8, 3, 1, 1, 1), ("conv", 8, 3, 1, 1, 1), ("pool", 2, 2), ("linear", 16)]
    kind = {"bits": 3, "static": True, "n_timesteps": 3} | more
    return make_network(np.random.default_rng(3), layers, (2, 8, 8), **kind)


def test_one_linear_layer_by_hand():
    """2 inputs of 1 bit, 1 output, on one 2 x 2 crossbar without skipping, one ADC a column.

    Weight bits 2: one differential slice, two bitlines. Input: load 2 bits at 1 a cycle: 2; one packet of the position:
    buffer 2, there after a lead of 1 and ceil((0 + 2)/2) = 1 flit: 2 + 2 + 1 + 1 = 6. The layer: fetch 2 rows / 2 bits
    = 1, convert 1 + 1 round = 2, PE 1, bus 1, tile 1, norm 1, neuron 1: 8. The busiest units: 2 and 2.
    """
    network = one_layer(np.array([[1, -1]]), weight_bits=2)
    hw = make_hardware(
        crossbar={"rows": 2, "cols": 2},
        adc={"kind": "lossless", "columns_per_adc": 1, "sample_and_hold": False},
        tile={"input_bus_bits": 2},
        global_buffer={"bus_bits": 1},
        noc={"flit_bits": 2, "header_bits": 0, "input_bits_per_cycle": 1},
        dataflow={"zero_skipping": "none"},
    )
    found = estimate(summary_of(network, 1.0), hw)
    assert found.input_cycles == 6
    assert found.layer_cycles.tolist() == [8]
    assert found.latency_cycles == found.interval_cycles == 14
    assert found.lower_bound_cycles == 4
    assert found.action_counts["adc_conversion"].tolist() == [2]
    program = compile_program(map_network(network, hw), hw)
    activity = random_activity(program.mapping, 1.0, n_images=1, seed=0)
    assert run_cycles(program, activity).total_cycles == 14


def test_density_of_pooled_spikes():
    """Four spikes of density 1/2 each: the sum is 1 with chance 1/4, 2 with 3/8, 3 with 1/4, 4 with 1/16."""
    network = make_network(
        np.random.default_rng(0), [("conv", 2, 1, 1, 0, 1), ("pool", 2, 2), ("linear", 2)], (1, 4, 4)
    )
    found = bernoulli_density(lower_network(network)[1], 0.5)
    np.testing.assert_allclose(found.planes, [1 / 4 + 1 / 4, 3 / 8 + 1 / 4, 1 / 16])
    assert found.nonzero == pytest.approx(15 / 16)


@pytest.mark.parametrize("skipping", ["none", "vector", "row_group"])
def test_expected_counts_against_draws(skipping):
    network = conv_network()
    hw = make_hardware(
        crossbar={"rows": 16, "cols": 16, "rows_active": 4},
        tile={"crossbars_per_pe": 2, "pes_per_tile": 3},
        dataflow={"zero_skipping": skipping},
    )
    program = compile_program(map_network(network, hw), hw)
    images = 100
    true = count_actions(program, random_activity(program.mapping, 0.1, n_images=images, seed=1))
    found = estimate(summary_of(network, 0.1), hw).action_counts
    exact = "adc_conversion" if skipping == "none" else "membrane_read_bits"
    np.testing.assert_array_equal(found[exact] * images, true[exact])
    for action in ACTIONS:
        if action not in PLACED_ACTIONS:
            np.testing.assert_allclose(found[action] * images, true[action], rtol=0.06, err_msg=action)


@pytest.mark.parametrize("order", ["layer_sequential", "layer_pipelined"])
@pytest.mark.parametrize("loop", ["timestep_major", "layer_major"])
def test_estimate_against_the_clock(order, loop):
    network = conv_network()
    hw = make_hardware(
        crossbar={"rows": 32, "cols": 32},
        adc={"kind": "lossless", "columns_per_adc": 8},
        dataflow={"order": order, "loop": loop},
    )
    program = compile_program(map_network(network, hw), hw)
    trace = run_cycles(program, random_activity(program.mapping, 0.2, n_images=4, seed=1))
    found = estimate(summary_of(network), hw)
    assert found.latency_cycles == pytest.approx(trace.image_end[0] - trace.image_start[0], rel=0.1)
    assert found.interval_cycles == pytest.approx(trace.interval_cycles, rel=0.2)


def test_many_designs_are_the_same_as_one_by_one():
    summary, hw = summary_of(conv_network()), make_hardware()
    designs = [hw, changed(hw, "adc", columns_per_adc=1), changed(hw, "dataflow", order="layer_pipelined")]
    many = estimate_many(summary, designs)
    for i, design in enumerate(designs):
        one = estimate(summary, design)
        assert one.latency_cycles == many.latency_cycles[i]
        assert one.interval_cycles == many.interval_cycles[i]
        np.testing.assert_array_equal(one.layer_cycles, many.layer_cycles[i, 1:])


def test_replicas_are_those_of_the_mapping():
    network, hw = conv_network(), make_hardware(crossbar={"rows": 32, "cols": 32})
    tiles = map_network(network, hw).n_tiles
    large = changed(changed(hw, "chip", tiles=3 * tiles), "dataflow", replication="balanced")
    assert any(layer.n_replicas > 1 for layer in map_network(network, large).layers)
    summary = summary_of(network)
    assert estimate(summary, large).latency_cycles < estimate(summary, hw).latency_cycles


def test_bounds_of_a_run_enclose_it():
    network = conv_network()
    hw = make_hardware(crossbar={"rows": 16, "cols": 16})
    program = compile_program(map_network(network, hw), hw)
    activity = random_activity(program.mapping, 0.2, n_images=2, seed=0)
    bounds = run_bounds(program, activity)
    assert bounds.resource < run_cycles(program, activity).total_cycles < bounds.serial


def test_a_chip_that_is_too_small_is_refused():
    summary, hw = summary_of(conv_network()), changed(make_hardware(), "chip", tiles=1)
    with pytest.raises(MappingError, match=r"chip\.tiles=1"):
        estimate(summary, hw)
    assert np.isnan(estimate_many(summary, [hw]).latency_cycles[0])


def test_densities_are_checked():
    layers = lower_network(conv_network())
    with pytest.raises(ConfigError, match="allowed 0 to 1"):
        summarise(layers, 3, 1.5)
    with pytest.raises(ConfigError, match="give one for each"):
        summarise(layers, 3, {"conv0": 0.1})
    with pytest.raises(ConfigError, match="one value a plane"):
        summarise(layers, 3, [InputDensity(planes=np.ones(1), nonzero=1.0)])
