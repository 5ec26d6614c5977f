"""Runs the engine and its naive twin on the same work, demands equality, and names the hard cases that occurred.

A longer run than the tests do, from the folder ``tests``: ``python -m oracles.compare_clock TABLES NETWORKS``
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter

import numpy as np
from oracles.cycle_cases import random_machine
from oracles.cycle_twin import run_twin
from oracles.program_twin import run_program
from oracles.table_cases import random_tables

from spikeloop.simulator.cycle.clock import run_tables
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.machine.driven import driven_planes
from spikeloop.simulator.program import UNIT_KINDS
from spikeloop.simulator.tables import END, INJECT, LINK, QUEUE, ROUTE

COUNTERS = ("busy", "waited", "queue_peak", "arrived", "served", "span_start", "span_end")


def compare_tables(tables):
    """The twin's result; every counter, report and recorded edge of the engine equals it."""
    engine, twin = run_tables(tables, record=True), run_twin(tables)
    assert engine.end == twin.end
    assert [tuple(wait) for wait in engine.deadlock] == twin.deadlock
    for name in COUNTERS:
        np.testing.assert_array_equal(getattr(engine, name), getattr(twin, name), err_msg=name)
    stalled = np.bincount(tables.src, weights=engine.waited, minlength=tables.unit.size)
    np.testing.assert_array_equal(stalled, twin.stalled)
    compare_record(tables, engine.record, twin)
    plain = run_tables(tables)
    assert plain.record is None
    assert (plain.end, plain.deadlock) == (engine.end, engine.deadlock)
    for name in COUNTERS:
        np.testing.assert_array_equal(getattr(plain, name), getattr(engine, name), err_msg=name)
    return twin


def compare_record(tables, record, twin):
    for unit, tokens in enumerate(twin.tokens):
        rows = record.token[record.first_token[unit] : record.first_token[unit + 1]]
        assert len(rows) == tables.n_tokens[unit]
        expected = [[token.start, token.leave, max(token.hop, 0), token.number, token.came] for token in tokens]
        assert rows[: len(tokens)].tolist() == expected
        assert (rows[len(tokens) :, :2] == -1).all()
    for channel, edges in enumerate(twin.arrivals):
        rows = record.arrival[record.first_arrival[channel] : record.first_arrival[channel + 1]]
        assert rows[: len(edges)].tolist() == edges
        assert (rows[len(edges) :] == -1).all()


def hard_cases(tables, twin):
    """Names of what a random phase really showed."""
    t, finished = tables, not twin.deadlock
    real = t.kind != ROUTE
    flows = [np.unique(root_of(t)[t.hop_unit == unit]).size for unit in np.flatnonzero(t.role == LINK)]
    stalled, waited = np.array(twin.stalled), np.array(twin.waited)
    cases = {
        "finished": finished,
        "stalled": bool(stalled.any()),
        "stalled link": bool(stalled[t.role == LINK].any()),
        "stalled interface": bool(stalled[t.role == INJECT].any()),
        "depth 1": bool((t.depth[t.kind == QUEUE] == 1).any()),
        "join": finished and bool((np.bincount(t.dst[real & (t.dst >= 0)]) > 1).any()),
        "join of flows": finished and bool((np.bincount(t.dst[(t.kind == END) & (t.dst >= 0)]) > 1).any()),
        "fork": finished and bool((np.bincount(t.src[t.kind == QUEUE], minlength=1) > 1).any()),
        "window that frees later": finished and any(window(t, c) for c in np.flatnonzero(real & (t.dst >= 0))),
        "two flows on a link": any(n > 1 for n in flows),
        "FIFO tie": twin.ties > 0,
        "reservation waited": finished and twin.reservations > 0,
        "multicast copies at different edges": uneven_copies(t, twin),
        "several lanes stalled": bool((stalled[t.lanes > 1] > 0).any()),
        "token overtaken in its unit": any(
            a.leave > b.leave >= 0 for tokens in twin.tokens for a, b in itertools.pairwise(tokens)
        ),
        "packet waited in a router": any(x.came >= 0 and x.start > x.came for tokens in twin.tokens for x in tokens),
        "lead before service": any(x.lead_end < x.end for tokens in twin.tokens for x in tokens),
        "lead is service": any(x.hop >= 0 and x.lead_end == x.end for tokens in twin.tokens for x in tokens),
        "sink": bool(((t.dst < 0) & (np.array(twin.arrived) > 0)).any()),
        "far end filled": bool((np.array(twin.queue_peak) >= t.depth)[(t.kind == END) & (t.dst >= 0)].any()),
        "spans of several groups": bool((t.span_shape > 1).all()),
        "loop of credits that runs": finished and loop(t),
        "deadlock": not finished,
        "deadlock: stalled before": not finished and bool(waited.any()),
        "deadlock: cycle": not finished and twin.deadlock[-1][1] == twin.deadlock[0][0],
        "deadlock: chain": not finished and twin.deadlock[-1][1] != twin.deadlock[0][0],
        "deadlock: nothing came": any(not full for *_, full in twin.deadlock),
        "deadlock: far end full": any(full and t.kind[c] == END for _, _, c, full in twin.deadlock),
        "deadlock: ring of links": any(full and t.kind[c] == ROUTE for _, _, c, full in twin.deadlock),
    }
    return {case for case, occurred in cases.items() if occurred}


def root_of(tables):
    """(hops,) root of each hop."""
    parent = np.arange(tables.hop_unit.size)
    for hop in range(parent.size):
        parent[tables.child[tables.child_start[hop] : tables.child_start[hop + 1]]] = hop
    while (parent[parent] != parent).any():
        parent = parent[parent]
    return parent


def window(tables, c):
    """Some token of the channel needs more than it frees."""
    period = tables.take_period[c]
    need = tables.pattern_values[tables.need_start[c] : tables.need_start[c] + period]
    return bool((need > tables.pattern_values[tables.free_start[c] : tables.free_start[c] + period]).any())


def uneven_copies(tables, twin):
    """Some packet reached the children of one hop at different edges."""
    came = {(x.hop, x.number): x.came for tokens in twin.tokens for x in tokens if x.came >= 0}
    for hop in range(tables.hop_unit.size):
        children = tables.child[tables.child_start[hop] : tables.child_start[hop + 1]].tolist()
        for number in {packet for h, packet in came if h in children}:
            if len({came[child, number] for child in children if (child, number) in came}) > 1:
                return True
    return False


def loop(tables):
    """The units, their queues and flows contain a directed cycle."""
    real = tables.kind != ROUTE
    edges = {(a, b) for a, b in zip(tables.src[real].tolist(), tables.dst[real].tolist(), strict=True) if b >= 0}
    units = set(range(tables.unit.size))
    while sources := {u for u in units if not any(b == u for _, b in edges)}:
        units -= sources
        edges = {(a, b) for a, b in edges if a in units}
    return bool(units)


def compare_program(program, activity):
    """The engine's trace and the twin's run; every counter and every edge of the trace equals it."""
    trace, twin = run_cycles(program, activity), run_program(program, activity)
    assert trace.total_cycles == twin.total_cycles
    for name in (
        "image_start",
        "image_end",
        "busy",
        "stalled",
        "stalled_by",
        "waited",
        "queue_peak",
        "arrived",
        "tokens",
    ):
        assert getattr(trace, name).tolist() == getattr(twin, name), name
    assert len(twin.phase_start) == trace.phase_start.size
    for key, edge in twin.phase_start.items():
        assert trace.phase_start[key] == edge
        assert trace.phase_end[key] == twin.phase_end[key]
    np.testing.assert_array_equal(trace.busy + trace.stalled + trace.idle, trace.total_cycles)
    assert trace.idle.min() >= 0
    assert trace.token_services == sum(twin.tokens)
    return trace, twin


def hard_cases_of_program(program, activity, trace, twin):
    """Names of what a random mapped network really showed."""
    hw, mapping = program.hw, program.mapping
    kinds = np.array(UNIT_KINDS)[program.unit_kind]
    static = mapping.layers[0].layer.input.static and mapping.network.n_timesteps > 1
    ops = [op for mapped in mapping.layers for op in mapped.layer.ops]
    pipelined, in_registers = hw.dataflow.order == "layer_pipelined", hw.dataflow.loop == "layer_major"
    skipping = hw.dataflow.zero_skipping
    driven = driven_planes(program, 0, activity.layers[0].active_rows)
    link = kinds == "link"
    interfaces = [
        np.unique(program.hop_inject[program.hop_unit == unit]).size for unit in program.units_of("link").tolist()
    ]
    cases = {
        hw.dataflow.order: True,
        hw.dataflow.loop: True,
        f"zero skipping {skipping}": True,
        "pipelined layer major": pipelined and in_registers,
        "pipelined images": pipelined and activity.n_images > 1 and bool(trace.image_start[1] < trace.image_end[0]),
        "pipelined replicas": pipelined and any(mapped.n_replicas > 1 for mapped in mapping.layers),
        "replicas": any(mapped.n_replicas > 1 for mapped in mapping.layers),
        "idle tiles": mapping.n_chip_tiles > mapping.n_tiles,
        "stalled": bool(trace.stalled.any()),
        "stalled link": bool(trace.stalled[link].any()),
        "depth 1": hw.tile.fifo_depth == 1,
        "partial sums travel": bool(((kinds == "inject") & (program.unit_number < 0)).any()),
        "two flows on a link": any(n > 1 for n in interfaces),
        "multicast": bool((np.bincount(program.hop_parent[program.hop_parent >= 0], minlength=1) > 1).any()),
        "FIFO tie": any(phase.ties > 0 for phase in twin.phases),
        "reservation waited": any(phase.reservations > 0 for phase in twin.phases),
        "pool": "pool" in kinds,
        "residual of spikes": any(op.kind == "add" and not op.signed for op in ops),
        "residual stream": any(op.kind == "add" and op.signed for op in ops),
        "pipelined residual": pipelined and "add" in kinds,
        "no sample and hold": "read" not in kinds,
        "held current": static and not in_registers,
        "held current in registers": static and in_registers,
        "skipped read": skipping != "none" and bool((driven == 0).any() and driven.any()),
        "several reads": hw.crossbar.reads_per_vector > 1,
        "small input buffer": pipelined and hw.tile.input_buffer_positions is not None,
    }
    return {case for case, occurred in cases.items() if occurred}


def count_tables(seeds):
    """How many random phases showed each hard case."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        tables = random_tables(np.random.default_rng(seed))
        seen.update(hard_cases(tables, compare_tables(tables)))
    return seen


def count_programs(seeds):
    """How many random machines showed each hard case."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        program, activity = random_machine(np.random.default_rng(seed))
        seen.update(hard_cases_of_program(program, activity, *compare_program(program, activity)))
    return seen


if __name__ == "__main__":
    n_tables, n_networks = int(sys.argv[1]), int(sys.argv[2])
    for what, count, n in (("tables", count_tables, n_tables), ("networks", count_programs, n_networks)):
        seen = count(range(n))  # raises at the first difference
        print(f"{n} random {what}: engine and twin agree on every counter")
        for case, occurred in sorted(seen.items()):
            print(f"  {occurred:6d}  {case}")
