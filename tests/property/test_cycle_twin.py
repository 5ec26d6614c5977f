"""The engine agrees with the naive twin on every counter, and the hard cases really occurred."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.compare_clock import count_programs, count_tables
from oracles.cycle_cases import make_activity, make_hardware, make_network, random_machine
from oracles.table_cases import random_tables

from spikeloop.simulator.cycle.clock import run_tables
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.machine.driven import driven_planes
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.program import UNIT_KINDS, compile_program
from spikeloop.simulator.tables import END, LINK, QUEUE, ROUTE

#: Random phases and random machines of a run of the tests; ``oracles/compare_clock.py`` runs as many as it is told.
N_TABLES, N_NETWORKS = 400, 90


def test_engine_and_twin_agree_on_random_graphs_with_every_hard_case():
    seen = count_tables(range(N_TABLES))
    least = {
        "finished": N_TABLES * 3 // 4,
        "stalled": N_TABLES // 2,
        "stalled link": 40,
        "stalled interface": 40,
        "depth 1": N_TABLES // 3,
        "join": 60,
        "join of flows": 20,
        "fork": 100,
        "window that frees later": 100,
        "two flows on a link": N_TABLES // 3,
        "FIFO tie": 100,
        "reservation waited": 80,
        "multicast copies at different edges": 20,
        "several lanes stalled": 60,
        "token overtaken in its unit": 60,
        "packet waited in a router": 100,
        "lead before service": 100,
        "lead is service": 100,
        "sink": 100,
        "far end filled": 50,
        "spans of several groups": 100,
        "loop of credits that runs": 5,
        "deadlock": 30,
        "deadlock: stalled before": 20,
        "deadlock: cycle": 20,
        "deadlock: chain": 5,
        "deadlock: nothing came": 20,
        "deadlock: far end full": 5,
        "deadlock: ring of links": 5,
    }
    assert {case: seen[case] for case in least if seen[case] < least[case]} == {}
    assert set(seen) == set(least)


def test_engine_and_twin_agree_on_random_networks_with_every_hard_case():
    seen = count_programs(range(N_NETWORKS))
    least = dict.fromkeys(seen, 5) | {
        "stalled": N_NETWORKS // 2,
        "two flows on a link": N_NETWORKS // 3,
        "layer_pipelined": N_NETWORKS // 3,
        "layer_sequential": N_NETWORKS // 3,
    }
    assert len(least) == 30
    assert {case: seen[case] for case in least if seen[case] < least[case]} == {}


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_no_phase_is_faster_than_its_units_nor_slower_than_one_thing_after_the_other(seed):
    """At every edge before the end a lane is in service, an element under way, or something moves or starts."""
    tables = random_tables(np.random.default_rng(seed))
    counts = run_tables(tables)
    if counts.deadlock:
        return
    assert counts.end >= np.max(-(-counts.busy // tables.lanes))
    flits = np.zeros(tables.channel.size, dtype=np.int64)
    for hop in range(tables.hop_unit.size):
        flits[tables.deliver[tables.deliver_start[hop] : tables.deliver_start[hop + 1]]] = tables.hop_flits[hop]
    flying = (flits * counts.arrived)[tables.kind == END].sum()
    assert counts.end <= counts.busy.sum() + flying + counts.arrived.sum() + counts.served.sum()


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_every_packet_passes_every_hop_and_every_element_arrives(seed):
    tables = random_tables(np.random.default_rng(seed))
    counts = run_tables(tables)
    if counts.deadlock:
        return
    np.testing.assert_array_equal(counts.served, tables.n_tokens)
    routed = np.bincount(tables.dst[tables.kind == ROUTE], counts.arrived[tables.kind == ROUTE], tables.unit.size)
    links = tables.role == LINK
    np.testing.assert_array_equal(routed[links], tables.n_tokens[links])
    for c in np.flatnonzero(tables.kind != ROUTE):
        j = np.arange(tables.n_tokens[tables.src[c]])
        assert counts.arrived[c] == tables.pattern_values[tables.emit_start[c] + j % tables.emit_period[c]].sum()


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_far_end_never_holds_more_than_its_slots(seed):
    tables = random_tables(np.random.default_rng(seed))
    peak = run_tables(tables).queue_peak
    assert (peak <= tables.depth).all()
    assert (peak[tables.dst < 0] == 0).all()


@pytest.mark.parametrize("change", ["depth", "service_values"])
def test_without_links_more_slots_or_faster_units_are_never_slower(change):
    """Where flows share a link this is false: who comes first may change."""
    faster = runs = 0
    for seed in range(1000):
        tables = random_tables(np.random.default_rng(seed))
        before = run_tables(tables)
        if before.deadlock or (tables.kind == ROUTE).any() or not (tables.kind == QUEUE).any():
            continue
        values = getattr(tables, change)
        after = run_tables(tables._replace(**{change: 2 * values if change == "depth" else (values + 1) // 2}))
        assert not after.deadlock
        assert after.end <= before.end
        faster += after.end < before.end
        runs += 1
    assert runs >= 100
    assert faster >= 10


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_repeating_a_run_changes_nothing(seed):
    program, activity = random_machine(np.random.default_rng(seed))
    first, second = run_cycles(program, activity), run_cycles(program, activity)
    for name in ("busy", "stalled", "idle", "stalled_by", "waited", "queue_peak", "arrived", "tokens"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("phase_start", "phase_end", "image_start", "image_end"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for action, counts in first.action_counts.items():
        np.testing.assert_array_equal(counts, second.action_counts[action])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_layer_is_never_faster_than_the_conversions_of_a_pe_over_its_adcs(seed):
    program, activity = random_machine(np.random.default_rng(seed))
    trace = run_cycles(program, activity)
    for index, mapped in enumerate(program.mapping.layers):
        driven = driven_planes(program, index, activity.layers[index].active_rows)
        spent = (trace.phase_end - trace.phase_start)[:, :, index]
        in_registers = program.hw.dataflow.loop == "layer_major"
        if program.hw.dataflow.order == "layer_pipelined":
            work = trace.phase_end[:, :, index].max(axis=1) - trace.phase_start[:, :, index].min(axis=1)
        else:
            work = spent[:, 0] if in_registers else spent.sum(axis=1)
        for replica in range(mapped.n_replicas):
            mine = driven[..., mapped.positions(replica), :]
            for pe in mapped.pes_of(replica):
                conversions = (
                    mine.reshape(driven.shape[0], activity.n_images, -1).sum(axis=2).min(axis=0) * pe.cols_used
                )
                adcs = -(-pe.cols_used // program.hw.adc.columns_per_adc)
                assert (work * adcs >= conversions).all()


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_twice_the_steps_are_twice_the_tokens_of_units_that_run_at_every_step(seed):
    layers = [("conv", 3, 2, 1, 1, 1), ("pool", 2, 2), ("linear", 4)]
    hw = make_hardware(tile={"pes_per_tile": 2})
    tokens = []
    for n_timesteps in (2, 4):
        rng = np.random.default_rng(seed)
        network = make_network(rng, layers, (1, 4, 4), static=True, n_timesteps=n_timesteps)
        program = compile_program(map_network(network, hw), hw)
        tokens.append(run_cycles(program, make_activity(rng, program.mapping, density=0.3)).tokens)
    kind = np.array(UNIT_KINDS)[program.unit_kind]
    sums = (kind == "inject") & (program.unit_number < 0)
    behind = np.isin(kind, ("norm", "add", "membrane", "neuron", "pool")) | ((kind == "inject") & ~sums)
    once = (program.unit_layer < 0) | ((program.unit_layer == 0) & ~behind)
    mixed = kind == "link"
    np.testing.assert_array_equal(tokens[1][~mixed], np.where(once, tokens[0], 2 * tokens[0])[~mixed])


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_silence_costs_no_crossbar_read_when_row_groups_are_skipped(seed):
    rng = np.random.default_rng(seed)
    network = make_network(rng, [("conv", 4, 2, 1, 0, 1), ("linear", 5)], (1, 3, 3), n_timesteps=2)
    hw = make_hardware(dataflow={"zero_skipping": "row_group"})
    program = compile_program(map_network(network, hw), hw)
    counts = run_cycles(program, make_activity(rng, program.mapping, density=0.0)).action_counts
    for action in ("crossbar_read", "wordline_drive", "cell_read", "adc_conversion", "shift_add", "pe_add"):
        assert counts[action].tolist() == [0, 0, 0]
    assert counts["neuron_update"].min() > 0
