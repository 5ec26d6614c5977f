"""Laws of the machine on random designs: conservation, bounds, more hardware, more time steps."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from oracles.cycle_cases import changed, make_activity, make_hardware, make_network, random_machine

from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.functional.activity import Activity
from spikeloop.simulator.machine.units import KIND
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.phases import bind_phase, phases
from spikeloop.simulator.program import compile_program
from spikeloop.simulator.tables import END


def emitted(tables, channel):
    """Elements that the source's tokens put into a channel, counted one by one."""
    start, period = int(tables.emit_start[channel]), int(tables.emit_period[channel])
    tokens = int(tables.n_tokens[tables.src[channel]])
    return sum(int(tables.pattern_values[start + token % period]) for token in range(tokens))


def test_what_is_sent_arrives_and_every_cycle_is_busy_stalled_or_idle():
    seen: Counter[str] = Counter()
    for seed in range(40):
        program, activity = random_machine(np.random.default_rng(9000 + seed))
        trace = run_cycles(program, activity)
        assert (trace.busy + trace.stalled + trace.idle == trace.total_cycles).all()
        assert trace.idle.min() >= 0
        sent = np.zeros(program.channel_src.size, dtype=np.int64)
        for phase in phases(program, activity.n_images):
            tables = bind_phase(program, activity, phase)
            for c in np.flatnonzero(tables.kind == END):
                sent[tables.channel[c]] += emitted(tables, c)
        far = program.channel_kind == END
        assert trace.arrived[far].tolist() == sent[far].tolist()
        seen["far ends"] += int(far.sum())
        seen["elements"] += int(sent.sum())
        again = run_cycles(program, activity)
        for name in ("busy", "stalled", "queue_peak", "phase_end", "link_flits"):
            assert getattr(again, name).tolist() == getattr(trace, name).tolist()
    assert min(seen.values()) > 400


def test_a_run_is_never_shorter_than_its_busiest_unit_nor_longer_than_all_of_them_in_turn():
    seen: Counter[str] = Counter()
    for seed in range(60):
        program, activity = random_machine(np.random.default_rng(7000 + seed))
        trace = run_cycles(program, activity)
        cycles = trace.total_cycles
        assert cycles >= trace.busy.max()
        assert cycles >= trace.link_flits.max(initial=0)
        converters = program.units_of("convert")
        per_adc = trace.busy[converters].max()
        assert cycles >= per_adc
        memories = program.units_of("membrane")
        ports = program.hw.neuron.memory.banks * program.hw.neuron.memory.ports
        words = trace.action_counts["membrane_read_bits"] + trace.action_counts["membrane_write_bits"]
        if memories.size:
            homes = max(1, memories.size)
            assert cycles * homes * ports * program.hw.neuron.memory.word_bits >= words.sum()
        # One service after the other, and every packet's way to its far ends after that.
        flights = int((program.unit_flits * trace.tokens)[program.unit_kind == KIND["inject"]].sum())
        edges = int(trace.tokens.sum())  # a copy or slot may wait one edge
        assert cycles <= trace.busy.sum() + flights + edges
        seen[program.hw.dataflow.order] += 1
    assert min(seen.values()) >= 15


def test_more_hardware_is_never_slower_where_no_router_output_is_shared():
    """On a chip of one tile: more ADCs, wider buses, more lanes, deeper queues.

    Each made something faster but the queues: with one bottleneck they only fill up.
    """
    rng = np.random.default_rng(5)
    faster: Counter[str] = Counter()
    for _ in range(25):
        channels = int(rng.integers(2, 6))
        network = make_network(
            rng,
            [("conv", channels, 2, 1, 0, 1), ("linear", int(rng.integers(2, 7)))],
            (2, 3, 3),
            n_timesteps=int(rng.integers(1, 3)),
        )
        hw = make_hardware(
            crossbar={"rows": 8, "cols": 8},
            adc={"kind": "lossless", "columns_per_adc": 8},
            tile={
                "pes_per_tile": 256,
                "crossbars_per_pe": 2,
                "input_bus_bits": 4,
                "output_bus_bits": 16,
                "accumulator_lanes": 2,
                "pe_accumulator_lanes": 1,
                "fifo_depth": 1,
                "sharing": "packed",
            },
            neuron={"lanes": 1, "memory": {"word_bits": 4, "banks": 1, "ports": 1}},
        )
        activity, cycles = None, {}
        for name, section, fields in (
            ("base", "tile", {}),
            ("adcs", "adc", {"columns_per_adc": 2}),
            ("input bus", "tile", {"input_bus_bits": 64}),
            ("output bus", "tile", {"output_bus_bits": 512}),
            ("accumulator", "tile", {"accumulator_lanes": 64}),
            ("pe accumulator", "tile", {"pe_accumulator_lanes": 16}),
            ("queues", "tile", {"fifo_depth": 8}),
            ("neurons", "neuron", {"lanes": 8}),
        ):
            design = changed(hw, section, **fields)
            program = compile_program(map_network(network, design), design)
            assert program.n_links == 0
            activity = activity or make_activity(rng, program.mapping, density=0.4)
            cycles[name] = run_cycles(program, activity).total_cycles
        assert all(value <= cycles["base"] for value in cycles.values()), cycles
        for name, value in cycles.items():
            faster[name] += value < cycles["base"]
    assert all(count >= 3 for name, count in faster.items() if name not in ("base", "queues")), faster


def test_twice_the_steps_with_the_same_spikes_are_twice_the_work_of_what_runs_every_step():
    rng = np.random.default_rng(11)
    for static in (True, False):
        shape = {"shape": (2, 4, 4), "bits": 2, "static": static}
        layers = [("conv", 3, 3, 1, 1, 1), ("conv", 2, 1, 1, 0, 1)]
        once, twice = (
            make_network(np.random.default_rng(3), layers, shape["shape"], bits=2, static=static, n_timesteps=steps)
            for steps in (2, 4)
        )
        hw = make_hardware(crossbar={"rows": 8, "cols": 8}, tile={"pes_per_tile": 2, "crossbars_per_pe": 2})
        program, longer = (compile_program(map_network(net, hw), hw) for net in (once, twice))
        activity = make_activity(rng, program.mapping, density=0.3)
        repeated = Activity(
            layers=tuple(
                layer
                if item.layer.input.static
                else dataclasses.replace(layer, active_rows=np.concatenate([layer.active_rows] * 2, axis=1))
                for item, layer in zip(program.mapping.layers, activity.layers, strict=True)
            ),
            origin="twice",
        )
        a, b = run_cycles(program, activity), run_cycles(longer, repeated)
        first = program.unit_layer == 0
        crossbars = (program.unit_kind < KIND["norm"]) & (program.unit_layer >= 0)
        once_only = (first & crossbars) | (program.unit_layer < 0) if static else np.zeros(first.size, dtype=bool)
        once_only &= program.unit_kind != KIND["link"]
        per_step = ~once_only & (program.unit_kind != KIND["link"])
        sums = (program.unit_kind == KIND["inject"]) & (program.unit_number < 0) & first & static
        per_step &= ~sums
        assert b.tokens[once_only].tolist() == a.tokens[once_only].tolist()
        assert b.tokens[per_step].tolist() == (2 * a.tokens[per_step]).tolist()
        reads = slice(1, None) if static else slice(None)
        assert (
            b.action_counts["adc_conversion"][reads].tolist() == (2 * a.action_counts["adc_conversion"][reads]).tolist()
        )
        if static:
            assert b.action_counts["adc_conversion"][0] == a.action_counts["adc_conversion"][0] > 0


def test_silence_costs_no_read_and_the_least_time():
    rng = np.random.default_rng(2)
    for _ in range(10):
        network = make_network(rng, [("conv", 4, 2, 1, 0, 1)], (2, 3, 3), n_timesteps=2)
        hw = make_hardware(crossbar={"rows": 4, "cols": 8}, tile={"pes_per_tile": 64, "crossbars_per_pe": 2})
        program = compile_program(map_network(network, hw), hw)
        silent, loud = (make_activity(rng, program.mapping, density=density) for density in (0.0, 0.6))
        a, b = run_cycles(program, silent), run_cycles(program, loud)
        for action in ("crossbar_read", "wordline_drive", "cell_read", "adc_conversion", "tile_add"):
            if action != "tile_add":  # sums of other tiles are added, silent or not
                assert a.action_counts[action].sum() == 0 < b.action_counts[action].sum()
        assert a.total_cycles < b.total_cycles
