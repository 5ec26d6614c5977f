"""Service times, queues and tokens of compiled networks, each number worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.cycle_cases import make_activity, make_hardware, make_network

from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.machine.binding import window_ends
from spikeloop.simulator.machine.driven import driven_planes
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.phases import Phase, bind_phase, phases
from spikeloop.simulator.program import UNIT_KINDS, compile_program


def compiled(layers, shape, hw, **network):
    made = make_network(np.random.default_rng(0), layers, shape, **network)
    return compile_program(map_network(made, hw), hw)


def units(program, kind, layer=0):
    code = UNIT_KINDS.index(kind)
    return np.flatnonzero((program.unit_kind == code) & (program.unit_layer == layer))


def names(program, layer=0):
    return [program.unit_name(i) for i in np.flatnonzero(program.unit_layer == layer)]


def channels(program, layer=0):
    return [
        (program.unit_name(a), program.unit_name(b))
        for a, b in zip(program.channel_src, program.channel_dst, strict=True)
        if program.unit_layer[a] == layer
    ]


def service(tables, i, token):
    return int(tables.service_values[tables.service_start[i] + token % tables.service_period[i]])


def sends(tables, channel, tokens):
    start, period = tables.emit_start[channel], tables.emit_period[channel]
    return [int(tables.pattern_values[start + token % period]) for token in range(tokens)]


def needs(tables, channel, tokens):
    start, period, step = tables.need_start[channel], tables.take_period[channel], tables.take_step[channel]
    return [int(tables.pattern_values[start + j % period] + j // period * step) for j in range(tokens)]


def place(tables, unit):
    (found,) = np.flatnonzero(tables.unit == unit)
    return int(found)


CHAIN = (
    ("fetch", "read0"),
    ("read0", "convert0"),
    ("convert0", "pe_accumulate0"),
    ("pe_accumulate0", "bus"),
    ("bus", "tile_accumulate"),
)
CHAIN_1 = tuple((a.replace("0", "1"), b.replace("0", "1")) for a, b in CHAIN)


def test_partial_sums_of_another_tile_travel_to_the_home_of_the_block():
    """8 rows on 4-row crossbars, one crossbar a PE, one PE a tile: PE 0 in tile 0, PE 1 at home in tile 1.

    3 classes of 3-bit weights on 2-bit cells: 6 columns; sums reach 3 x 8 = 24 at most (psum_bits <= 6).
    """
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 6, "cell_bits": 2},
        adc={"kind": "lossless", "columns_per_adc": 3},
        tile={
            "pes_per_tile": 1,
            "crossbars_per_pe": 1,
            "input_bus_bits": 3,
            "accumulator_lanes": 2,
            "output_bus_bits": 16,
        },
        neuron={"lanes": 2},
        noc={"flit_bits": 8, "header_bits": 5, "router_cycles": 4},
    )
    program = compiled([], (8, 1, 1), hw)
    tile0, tile1 = "linear0/tile0", "linear0/tile1"
    assert names(program) == [
        *(f"{tile0}/{kind}" for kind in ("fetch", "read0", "convert0", "pe_accumulate0", "bus", "tile_accumulate")),
        f"{tile0}/inject-sums-to-tile1",
        *(f"{tile1}/{kind}" for kind in ("fetch", "read1", "convert1", "pe_accumulate1", "bus", "tile_accumulate")),
        f"{tile1}/norm",
        f"{tile1}/neuron",
    ]
    assert [program.unit_name(u) for u in np.flatnonzero(program.unit_layer == -1)] == [
        "input",
        "input/global_buffer",
        "input/inject",
        "noc/(0,0)-(1,0)",
    ]
    assert channels(program) == [
        *((f"{tile0}/{a}", f"{tile0}/{b}") for a, b in CHAIN),
        (f"{tile0}/tile_accumulate", f"{tile0}/inject-sums-to-tile1"),
        (f"{tile0}/inject-sums-to-tile1", f"{tile1}/norm"),
        (f"{tile0}/inject-sums-to-tile1", "noc/(0,0)-(1,0)"),
        *((f"{tile1}/{a}", f"{tile1}/{b}") for a, b in CHAIN_1),
        (f"{tile1}/tile_accumulate", f"{tile1}/norm"),
        (f"{tile1}/norm", f"{tile1}/neuron"),
    ]
    bits = program.mapping.layers[0].layer.psum_bits
    flits = -(-(5 + 3 * bits) // 8)
    assert 2 <= flits <= 3
    own = program.unit_layer == 0
    # fetch 4 rows over 3 bits: 2; read 1 and convert 3 a plane; 3 sums: 1 cycle on 64 lanes, on the bus of 16 bits
    # as many as it takes, 2 on 2 lanes; norm and readout 2 each.
    bus = -(-3 * bits // 16)
    chain = [2, 0, 0, 1, bus, 2]
    assert program.base_cycles[own].tolist() == [*chain, 0, *chain, 2, 2]
    assert program.plane_cycles[own].tolist() == [0, 1, 3, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0]
    (inject,) = units(program, "inject")
    assert program.unit_flits[inject] == flits
    assert program.unit_links[inject] == 1
    # The norm adds the 3 foreign sums on 2 accumulator lanes; a classifier has no membrane.
    assert program.step_cycles[units(program, "norm")[0]].tolist() == [2, 2]


def test_a_packet_holds_its_lanes_for_its_flits_and_moves_on_after_its_lead():
    """Router 4 cycles, 6 flits: the interface leads 1 and holds 6; the link leads 4 and holds 6; delivery 6 later."""
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 6, "cell_bits": 2},
        tile={"pes_per_tile": 1, "crossbars_per_pe": 1},
        noc={"flit_bits": 1, "header_bits": 0, "router_cycles": 4},
    )
    program = compiled([], (8, 1, 1), hw, classes=1)
    bits = program.mapping.layers[0].layer.psum_bits
    activity = make_activity(np.random.default_rng(0), program.mapping, density=1.0)
    tables = bind_phase(program, activity, Phase(0, 0, 0))
    assert tables.hop_lead.tolist() == [1, 4]
    assert tables.hop_service.tolist() == [bits, max(4, bits)]
    assert tables.hop_flits.tolist() == [bits, bits]
    assert tables.hop_channel[0] == -1
    assert tables.child.tolist() == [1]


@pytest.mark.parametrize(("sample_and_hold", "kinds", "plane"), [(True, 2, [1, 3]), (False, 1, [4])])
def test_sample_and_hold_separates_reading_from_conversion(sample_and_hold, kinds, plane):
    """4 of 6 columns used, 3 columns an ADC: 3 rounds, plus the read when nothing holds the samples."""
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 6, "cell_bits": 2, "scheme": "offset"},
        adc={"kind": "lossless", "columns_per_adc": 3, "sample_and_hold": sample_and_hold},
    )
    program = compiled([], (4, 1, 1), hw, classes=2, weight_bits=3)
    pe_units = [*units(program, "read"), *units(program, "convert")]
    assert len(pe_units) == kinds
    assert program.plane_cycles[pe_units].tolist() == plane


def test_rounds_are_limited_by_the_columns_in_use():
    hw = make_hardware(crossbar={"rows": 4, "cols": 8, "cell_bits": 2}, adc={"kind": "lossless", "columns_per_adc": 8})
    program = compiled([], (4, 1, 1), hw, classes=3, weight_bits=3)
    assert program.plane_cycles[units(program, "convert")].tolist() == [6]


def test_a_token_costs_its_driven_planes_and_a_skip_for_each_other_plane():
    """2-bit input, rounds = 2, skip = 3. Planes driven 2, 1, 0: convert 4, 2 + 3, 6; read 2, 1 + 3, 6."""
    hw = make_hardware(
        crossbar={"rows": 6, "cols": 4, "cell_bits": 2, "rows_active": 2},
        adc={"kind": "lossless", "columns_per_adc": 2},
        dataflow={"skip_cycles": 3},
    )
    program = compiled([], (6, 1, 1), hw, bits=2, n_timesteps=1, classes=2)
    active = np.array([[2, 0, 0], [1, 1, 0]], dtype=np.uint16).reshape(1, 1, 1, 2, 3)
    zeros = np.zeros((1, 1), dtype=np.int64)
    activity = Activity(layers=(LayerActivity(active_rows=active, input_ones=zeros, spikes_out=zeros),), origin="hand")
    assert driven_planes(program, 0, active).ravel().tolist() == [2, 1, 0]
    tables = bind_phase(program, activity, Phase(0, 0, 0))
    read, convert = (place(tables, units(program, kind)[0]) for kind in ("read", "convert"))
    assert [service(tables, read, token) for token in range(3)] == [2, 4, 6]
    assert [service(tables, convert, token) for token in range(3)] == [4, 5, 6]


def test_sums_of_silent_pes_are_not_moved():
    """6 rows on 2-row crossbars, one a PE: 3 PEs of one tile, 2 outputs each, but only one of them is driven.

    4-bit bus, psum_bits b, one accumulator lane: the bus moves 2 sums in ceil(2b / 4), all 6 in ceil(6b / 4); the
    accumulator adds 2 or 6. PE accumulators: 1 crossbar x 2 outputs on one lane: 2, or 1 if silent.
    """
    hw = make_hardware(
        crossbar={"rows": 2, "cols": 4, "cell_bits": 2},
        tile={
            "pes_per_tile": 4,
            "crossbars_per_pe": 1,
            "output_bus_bits": 4,
            "accumulator_lanes": 1,
            "pe_accumulator_lanes": 1,
        },
    )
    program = compiled([], (6, 1, 1), hw, n_timesteps=3, classes=2)
    bits = program.mapping.layers[0].layer.psum_bits
    zeros = np.zeros((1, 3), dtype=np.int64)
    active = np.array([[1, 0, 0], [2, 2, 2], [0, 0, 0]], dtype=np.uint16).reshape(1, 3, 1, 1, 3)
    activity = Activity(layers=(LayerActivity(active_rows=active, input_ones=zeros, spikes_out=zeros),), origin="hand")
    found = {}
    for step in range(3):
        tables = bind_phase(program, activity, Phase(0, step, 0))
        for kind in ("pe_accumulate", "bus", "tile_accumulate"):
            found[kind, step] = [service(tables, place(tables, u), 0) for u in units(program, kind)]
    assert [found["pe_accumulate", step] for step in range(3)] == [[2, 1, 1], [2, 2, 2], [1, 1, 1]]
    assert [found["bus", step] for step in range(3)] == [[-(-2 * bits // 4)], [-(-6 * bits // 4)], [1]]
    assert [found["tile_accumulate", step] for step in range(3)] == [[2], [6], [1]]


def test_zero_skipping_looks_at_the_vector_or_at_the_row_group():
    """3 rows on 2-row crossbars read row by row: crossbar 0 has rows in both reads, crossbar 1 in the first only."""
    active = np.array([[0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.uint16).reshape(1, 2, 1, 1, 4)
    driven = {}
    for skipping in ("none", "vector", "row_group"):
        hw = make_hardware(
            crossbar={"rows": 2, "cols": 4, "rows_active": 1, "cell_bits": 2},
            tile={"crossbars_per_pe": 1},
            dataflow={"zero_skipping": skipping},
        )
        program = compiled([], (3, 1, 1), hw, classes=1)
        # (parts, runs, reads): the only image and position.
        driven[skipping] = driven_planes(program, 0, active)[:, 0, :, 0, :].tolist()
    assert driven["none"] == [[[1, 1], [1, 1]], [[1, 0], [1, 0]]]
    assert driven["vector"] == [[[1, 1], [0, 0]], [[1, 0], [0, 0]]]
    assert driven["row_group"] == [[[0, 0], [0, 0]], [[1, 0], [0, 0]]]


def test_a_fetch_hands_over_each_distinct_row_block_of_the_tile_once():
    """6 rows of 2 bits on 4-row crossbars, blocks of 4 and 2 rows; 2 PEs of one output each share both blocks."""
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 2, "cell_bits": 2, "rows_active": 3},
        tile={"crossbars_per_pe": 2, "input_bus_bits": 4},
    )
    program = compiled([], (6, 1, 1), hw, bits=2, classes=2)
    assert len(program.mapping.layers[0].pes) == 2
    # A full read takes 3 rows of block 0 and 2 of block 1: 5 x 2 bits over 4 bits a cycle.
    assert program.base_cycles[units(program, "fetch")].tolist() == [3]


def test_spikes_go_to_all_tiles_of_the_next_layer():
    """4 neurons, sum-pooled 2x2 (3-bit codes): 12 bits + 4 header = 4 flits of 4; tiles 1 and 2 on a 2x2 mesh.

    The farthest, tile 2 at (0, 1), and tile 1 at (1, 0) are both one hop away; the tree has two links.
    """
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 8, "cell_bits": 2},
        adc={"kind": "lossless", "columns_per_adc": 4},
        tile={"pes_per_tile": 1, "crossbars_per_pe": 1},
        noc={"flit_bits": 4, "header_bits": 4, "router_cycles": 9, "placement": "row_major"},
    )
    program = compiled([("conv", 4, 1, 1, 0, 1), ("pool", 2, 2)], (1, 2, 4), hw, classes=3)
    assert program.mapping.layers[1].tiles == (1, 2)
    (inject,) = units(program, "inject")
    assert program.unit_flits[inject] == 4
    assert program.unit_links[inject] == 2
    assert names(program)[-1] == "conv0/tile0/inject-pool"


def test_a_spike_packet_follows_the_tree_to_the_farthest_tile():
    """Tiles 1, 2 and 3 of a 2 x 2 mesh are 1, 1 and 2 hops from tile 0; the tree has 3 links, one behind another."""
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 8, "cell_bits": 2},
        adc={"kind": "lossless", "columns_per_adc": 4},
        tile={"pes_per_tile": 1, "crossbars_per_pe": 1},
        noc={"flit_bits": 4, "header_bits": 4, "router_cycles": 9, "placement": "row_major"},
    )
    program = compiled([("conv", 4, 1, 1, 0, 1)], (1, 1, 1), hw, classes=12)
    assert program.mapping.layers[1].tiles == (1, 2, 3)
    (inject,) = units(program, "inject")
    assert program.unit_flits[inject] == 2
    assert program.unit_links[inject] == 3
    hops = np.flatnonzero(program.hop_inject == inject)
    depth = {}
    for hop in hops:
        depth[hop] = 0 if program.hop_parent[hop] < 0 else depth[program.hop_parent[hop]] + 1
    assert sorted(depth.values()) == [0, 1, 1, 2]


def test_a_pool_sends_where_a_window_is_completed():
    """4 x 5 positions, windows of 2 x 2 every 2: completed at rows 1, 3 and columns 1, 3; column 4 is cut."""
    program = compiled([("conv", 2, 1, 1, 0, 1), ("pool", 2, 2)], (1, 4, 5), make_hardware())
    ends = window_ends(program.mapping.layers[0], 2).reshape(4, 5)
    assert np.argwhere(ends).tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]
    overlapping = compiled([("conv", 2, 1, 1, 0, 1), ("pool", 3, 1)], (1, 4, 4), make_hardware())
    ends = window_ends(overlapping.mapping.layers[0], 2).reshape(4, 4)
    assert np.argwhere(ends).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_held_sums_and_membranes_cost_reads_and_writes_of_whole_words():
    """3 neurons; membranes m bits and sums psum_bits wide in 4-bit words, one bank, one port."""
    hw = make_hardware(neuron={"lanes": 4, "memory": {"word_bits": 4, "banks": 1, "ports": 1}})
    program = compiled([("linear", 3)], (2, 1, 1), hw, static=True, n_timesteps=3)
    layer = program.mapping.layers[0].layer
    membrane = -(-3 * layer.lifs[0].membrane_bits // 4)
    held = -(-3 * layer.psum_bits // 4)
    (norm,), (memory,) = units(program, "norm"), units(program, "membrane")
    assert program.step_cycles[norm].tolist() == [held] * 3
    assert program.step_cycles[memory].tolist() == [membrane, 2 * membrane, membrane]


def test_an_add_reads_the_residuals_that_it_stored():
    """A stream of 5 bits, 2 neurons a position, one lane: 2 additions, and 2 x 5 bits in 4-bit words: 3 reads."""
    hw = make_hardware(
        crossbar={"rows": 64, "cols": 64},
        neuron={"lanes": 1, "memory": {"word_bits": 4, "banks": 1, "ports": 1}},
    )
    program = compiled([("conv", 2, 1, 1, 0, 1), ("stream", 1)], (2, 2, 2), hw)
    adds = program.units_of("add")
    residuals = {}
    for unit in adds:
        op = program.mapping.layers[program.unit_layer[unit]].layer.ops[program.unit_number[unit]]
        residuals[int(unit)] = [program.mapping.layers[s.layer].layer.ops[s.op].bits for s in op.residuals]
    assert any(residuals.values())
    for unit, bits in residuals.items():
        op = program.mapping.layers[program.unit_layer[unit]].layer.ops[program.unit_number[unit]]
        inputs = len(op.sources) + len(bits)
        assert program.base_cycles[unit] == 2 * (inputs - 1) + sum(-(-2 * width // 4) for width in bits)


def test_a_static_layer_runs_its_crossbars_at_the_first_step_only():
    rng = np.random.default_rng(1)
    hw = make_hardware()
    program = compiled([("conv", 2, 1, 1, 0, 1)], (1, 2, 2), hw, static=True, bits=2, n_timesteps=3)
    activity = make_activity(rng, program.mapping, density=0.5)
    first, later = (bind_phase(program, activity, Phase(0, step, 0)) for step in (0, 1))
    assert first.n_tokens[place(first, units(program, "convert")[0])] == 4
    kinds = [UNIT_KINDS[program.unit_kind[i]] for i in later.unit]
    assert [kind for kind in kinds if kind != "link"] == ["norm", "membrane", "neuron", "inject"]
    assert place(later, units(program, "norm")[0]) not in later.dst  # it uses the held sums
    trace = run_cycles(program, activity)
    assert trace.tokens[units(program, "convert")].tolist() == [4] * units(program, "convert").size
    assert trace.tokens[units(program, "neuron")].tolist() == [4 * 3]


def test_layer_major_orders_tokens_by_position_then_step_then_row_group():
    """2 positions, 2 steps, 2 reads: token 0..7 = (0,0,0) (0,0,1) (0,1,0) (0,1,1) (1,0,0) ..."""
    hw = make_hardware(
        crossbar={"rows": 2, "cols": 4, "cell_bits": 2, "rows_active": 1},
        dataflow={"loop": "layer_major", "skip_cycles": 9},
    )
    program = compiled([("conv", 2, 1, 1, 0, 1)], (2, 1, 2), hw, n_timesteps=2)
    activity = make_activity(np.random.default_rng(0), program.mapping, density=1.0)
    active = np.zeros((1, 2, 2, 1, 2), dtype=np.uint16)
    active[0, 1, 0, 0, 1] = 1  # step 1, position 0, read 1: token 3
    active[0, 0, 1, 0, 0] = 1  # step 0, position 1, read 0: token 4
    first = LayerActivity(
        active_rows=active, input_ones=activity.layers[0].input_ones, spikes_out=activity.layers[0].spikes_out
    )
    activity = Activity(layers=(first, *activity.layers[1:]), origin="hand")
    assert list(phases(program, 2)) == [(image, None, layer) for image in (0, 1) for layer in (-1, 0, 1)]
    tables = bind_phase(program, activity, Phase(0, None, 0))
    read = place(tables, units(program, "read")[0])
    assert tables.n_tokens[read] == 8
    assert [service(tables, read, token) for token in range(8)] == [9, 9, 9, 1, 1, 9, 9, 9]
    accumulate = place(tables, units(program, "tile_accumulate")[0])
    (out,) = np.flatnonzero(tables.src == accumulate)
    assert sends(tables, out, 8) == [0, 1] * 4


def test_layer_major_pools_each_step_of_a_position_before_the_next_position():
    """4 positions of one 2 x 2 window, 3 steps: the last position completes it, once a step."""
    hw = make_hardware(dataflow={"loop": "layer_major"})
    program = compiled([("conv", 1, 1, 1, 0, 1), ("pool", 2, 2)], (1, 2, 2), hw, n_timesteps=3)
    activity = make_activity(np.random.default_rng(0), program.mapping, density=0.5)
    tables = bind_phase(program, activity, Phase(0, None, 0))
    pool, inject = (place(tables, units(program, kind)[0]) for kind in ("pool", "inject"))
    (out,) = np.flatnonzero(tables.src == pool)
    assert tables.n_tokens[pool] == 12
    assert tables.n_tokens[inject] == 3
    assert sends(tables, out, 12) == [0] * 9 + [1] * 3


def test_layer_major_adds_foreign_sums_of_a_static_layer_at_the_first_step_of_each_position():
    """3 neurons, 2 lanes: 2 cycles; 3 sums from another tile over 1 accumulator lane: 3 more, at step 0."""
    hw = make_hardware(
        tile={"pes_per_tile": 1, "crossbars_per_pe": 1, "accumulator_lanes": 1},
        crossbar={"rows": 4, "cols": 16},
        neuron={"lanes": 2},
        dataflow={"loop": "layer_major"},
    )
    program = compiled([("linear", 3)], (5, 1, 1), hw, static=True, n_timesteps=3)
    activity = make_activity(np.random.default_rng(0), program.mapping, density=0.5)
    tables = bind_phase(program, activity, Phase(0, None, 0))
    norm = place(tables, units(program, "norm")[0])
    assert (program.unit_number[units(program, "inject")] < 0).sum() == 1
    assert [service(tables, norm, token) for token in range(3)] == [5, 2, 2]


def test_layer_major_takes_a_held_current_once_for_all_steps_of_a_position():
    hw = make_hardware(dataflow={"loop": "layer_major"})
    program = compiled([("conv", 1, 1, 1, 0, 1)], (1, 1, 2), hw, static=True, n_timesteps=3)
    activity = make_activity(np.random.default_rng(0), program.mapping, density=0.5)
    tables = bind_phase(program, activity, Phase(0, None, 0))
    norm, convert = (place(tables, units(program, kind)[0]) for kind in ("norm", "convert"))
    assert tables.n_tokens[norm] == 6
    assert tables.n_tokens[convert] == 2
    (inward,) = np.flatnonzero(tables.dst == norm)
    assert needs(tables, inward, 6) == [1, 1, 1, 2, 2, 2]


def test_the_input_comes_once_or_at_every_step():
    """2 x 3 x 3 pixels of 2 bits over 5 bits a cycle: 36 bits in 8 cycles, once or at each of 3 steps.

    A position (4 bits) takes the global buffer's bus of 3 bits 2 cycles.
    """
    hw = make_hardware(noc={"input_bits_per_cycle": 5}, global_buffer={"bus_bits": 3, "slots": 1})
    still, moving = (
        compiled([("conv", 1, 1, 1, 0, 1)], (2, 3, 3), hw, bits=2, static=static, n_timesteps=3)
        for static in (True, False)
    )
    for program, bursts in ((still, 1), (moving, 3)):
        (load,), (buffer,) = program.units_of("input"), program.units_of("global_buffer")
        assert program.base_cycles[[load, buffer]].tolist() == [8, 2]
        trace = run_cycles(program, make_activity(np.random.default_rng(0), program.mapping, density=0.5))
        assert trace.tokens[[load, buffer]].tolist() == [bursts, 9 * bursts]
        assert [phase.layer for phase in phases(program, 1)].count(-1) == bursts
    whole = make_hardware(noc={"input_bits_per_cycle": 5}, dataflow={"loop": "layer_major"})
    program = compiled([("conv", 1, 1, 1, 0, 1)], (2, 3, 3), whole, bits=2, n_timesteps=3)
    assert program.base_cycles[program.units_of("input")].tolist() == [22]


def test_units_and_channels_ascend_and_only_flows_leave_a_layer():
    program = compiled([("conv", 6, 2, 1, 0, 2), ("linear", 5)], (2, 4, 4), make_hardware(tile={"pes_per_tile": 2}))
    pairs = list(zip(program.channel_src.tolist(), program.channel_dst.tolist(), strict=True))
    assert pairs == sorted(pairs)
    queues = program.channel_kind == 0
    layer = program.unit_layer
    assert (layer[program.channel_src[queues]] == layer[program.channel_dst[queues]]).all()
    computing = program.unit_kind != UNIT_KINDS.index("link")
    keys = ("unit_layer", "unit_replica", "unit_tile", "unit_kind", "unit_number")
    order = list(zip(*(getattr(program, key)[computing] for key in keys), strict=True))
    assert order == sorted(order)
    assert not computing[len(order) :].any()
    (far,) = {int(kind) for kind in program.channel_kind[program.channel_hop >= 0]}
    assert far == 2
