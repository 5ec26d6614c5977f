"""Laws of the analytic mode on random machines: bounds, monotony, and counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.cycle_cases import changed, random_hardware, random_machine, random_network

from spikeloop.simulator.analytic.bounds import run_bounds
from spikeloop.simulator.analytic.estimate import PLACED_ACTIONS, estimate, estimate_many
from spikeloop.simulator.analytic.measured import measure
from spikeloop.simulator.analytic.summary import summarise
from spikeloop.simulator.cycle.counts import count_actions
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network

SEEDS = st.integers(0, 2**32 - 1)


def summary_of(network, density):
    return summarise(lower_network(network), network.n_timesteps, density)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_the_clock_lies_between_the_bounds_of_its_tables(seed):
    program, activity = random_machine(np.random.default_rng(seed))
    bounds = run_bounds(program, activity)
    assert bounds.resource <= run_cycles(program, activity).total_cycles <= bounds.serial


def test_estimates_lie_between_their_bounds_and_clipping_is_rare():
    seen = Counter()

    @settings(deadline=None, max_examples=200, database=None, derandomize=True)
    @given(SEEDS, st.sampled_from([0.0, 0.05, 0.3, 1.0]))
    def check(seed, density):
        rng = np.random.default_rng(seed)
        hw, network = random_hardware(rng), random_network(rng)
        found = estimate(summary_of(network, density), hw)
        assert 0 < found.lower_bound_cycles <= found.latency_cycles <= found.upper_bound_cycles
        assert found.interval_cycles >= (found.lower_bound_cycles if hw.dataflow.order == "layer_pipelined" else 0)
        assert np.isfinite(found.layer_cycles).all()
        seen["all"] += 1
        seen["clipped"] += found.unclipped_cycles != found.latency_cycles
        seen[hw.dataflow.order] += 1

    check()
    assert min(seen["layer_sequential"], seen["layer_pipelined"]) > 20
    assert seen["clipped"] <= 0.05 * seen["all"], seen


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from(["input_bus_bits", "output_bus_bits", "accumulator_lanes", "pe_accumulator_lanes"]))
def test_wider_tiles_are_never_slower(seed, field):
    rng = np.random.default_rng(seed)
    hw, network = random_hardware(rng), random_network(rng)
    summary = summary_of(network, 0.2)
    before = estimate(summary, hw)
    after = estimate(summary, changed(hw, "tile", **{field: 4 * getattr(hw.tile, field)}))
    assert after.latency_cycles <= before.latency_cycles * (1 + 1e-9)
    assert after.interval_cycles <= before.interval_cycles * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_more_converters_are_never_slower(seed):
    rng = np.random.default_rng(seed)
    # A plane that is skipped must not take longer than one that is read.
    hw, network = changed(random_hardware(rng), "dataflow", skip_cycles=1), random_network(rng)
    summary = summary_of(network, 0.2)
    before = estimate(summary, hw)
    after = estimate(summary, changed(hw, "adc", columns_per_adc=1))
    assert after.latency_cycles <= before.latency_cycles * (1 + 1e-9)
    assert after.interval_cycles <= before.interval_cycles * (1 + 1e-9)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from(["vector", "row_group"]))
def test_zero_density_costs_no_conversion_of_spikes(seed, skipping):
    rng = np.random.default_rng(seed)
    hw, network = changed(random_hardware(rng), "dataflow", zero_skipping=skipping), random_network(rng)
    found = estimate(summary_of(network, 0.0), hw)
    layers = lower_network(network)
    for layer in layers:
        pixels = layer.input_signal.layer < 0 or layer.input.signed
        assert pixels or found.action_counts["adc_conversion"][layer.index] == 0


def test_counts_with_measured_activity_are_those_of_the_machine():
    seen = Counter()

    @settings(deadline=None, max_examples=120, database=None, derandomize=True)
    @given(SEEDS)
    def check(seed):
        program, activity = random_machine(np.random.default_rng(seed))
        mapping = program.mapping
        true = count_actions(program, activity)
        summary = summary_of(mapping.network, 0.2)
        found = estimate(summary, program.hw, measure(program, activity)).action_counts
        assert found.keys() == true.keys()
        for action, counts in true.items():
            if action in PLACED_ACTIONS:
                continue
            for mapped in mapping.layers:
                got = found[action][mapped.layer.index] * activity.n_images
                assert got == pytest.approx(counts[mapped.layer.index], rel=1e-9), (action, mapped.layer.name)
        seen["replicas"] += any(mapped.n_replicas > 1 for mapped in mapping.layers)
        seen["packed"] += program.hw.tile.sharing == "packed"
        seen["residual"] += bool(true["residual_add"].sum())
        seen["held"] += bool(true["current_write_bits"].sum())
        seen["foreign"] += bool(true["psum_flit_hops"].sum())

    check()
    assert min(seen[case] for case in ("replicas", "packed", "residual", "held", "foreign")) > 5, seen


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_it_needs_the_tiles_of_the_mapping(seed):
    rng = np.random.default_rng(seed)
    hw, network = random_hardware(rng), random_network(rng)
    tiles = map_network(network, hw).n_tiles
    summary = summary_of(network, 0.2)
    sizes = [tiles - 1, tiles] if tiles > 1 else [tiles]
    found = estimate_many(summary, [changed(hw, "chip", tiles=size) for size in sizes])
    assert np.isnan(found.latency_cycles).tolist() == [size < tiles for size in sizes]
