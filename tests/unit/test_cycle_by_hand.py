"""Timelines worked out by hand. ``[a,b)`` is a service from edge a to edge b."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from oracles.cycle_cases import make_activity, make_hardware, make_network, make_tables

from spikeloop.simulator.cycle.clock import Wait, run_tables
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import DeadlockError, SimulationError
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.program import UNIT_KINDS, compile_program


def unit(program, kind, layer=0, tile=None):
    """Numbers of the units of a kind in a layer."""
    found = (program.unit_kind == UNIT_KINDS.index(kind)) & (program.unit_layer == layer)
    return np.flatnonzero(found if tile is None else found & (program.unit_tile == tile)).tolist()


def one_crossbar(skipping="row_group"):
    """4 inputs, 2 outputs, 3-bit weights on 2-bit cells: 1 slice x 2 signs, so 4 columns on 2 ADCs; 2 reads."""
    network = make_network(np.random.default_rng(0), [], (4, 1, 1), n_timesteps=1, classes=2, weight_bits=3)
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 4, "cell_bits": 2, "rows_active": 2},
        adc={"kind": "lossless", "columns_per_adc": 2},
        tile={"input_bus_bits": 2, "accumulator_lanes": 1, "fifo_depth": 2},
        neuron={"lanes": 1},
        noc={"input_bits_per_cycle": 2},
        dataflow={"zero_skipping": skipping},
    )
    return compile_program(map_network(network, hw), hw)


def rows(program, *per_read):
    """One image whose only layer drives so many rows in each read."""
    active = np.array(per_read, dtype=np.uint16).reshape(1, 1, 1, 1, -1)
    layer = LayerActivity(
        active_rows=active,
        input_ones=np.full((1, 1), sum(per_read), dtype=np.int64),
        spikes_out=np.zeros((1, 1), dtype=np.int64),
    )
    return Activity(layers=(layer,), origin="by hand")


#: Cycles of the input's phase: 4 bits at 2 bits a cycle [0,2), the global buffer [2,3), the interface starts at 3; its
#: only packet (1 flit: 4 + 16 bits in 64) stays at router (0, 0), so it arrives 1 + 1 edges later.
INPUT = 5


def test_one_crossbar_three_spikes():
    """Two reads (2 and 1 spikes) pass the chain; the ADC needs 2 rounds, accumulator, norm and readout 2 cycles each.

    fetch            [0,1) [1,2)           2 rows x 1 bit over a 2-bit bus
    read             [1,2) [2,3)
    convert          [2,4) [4,6)           the second token waits in the queue from edge 3 to edge 4
    pe_accumulate    [4,5) [6,7)           1 crossbar x 2 outputs on 64 lanes
    bus              [5,6) [7,8)
    tile_accumulate  [6,8) [8,10)          2 sums, one lane; only the second, the last row group, is sent on
    norm             [10,12)
    neuron           [12,14)               2 logits, one lane
    """
    program = one_crossbar()
    trace = run_cycles(program, rows(program, 2, 1))
    names = [UNIT_KINDS[kind] for kind in program.unit_kind]
    assert names == [
        *("input", "global_buffer", "inject"),
        *("fetch", "read", "convert", "pe_accumulate", "bus", "tile_accumulate", "norm", "neuron"),
    ]
    assert trace.total_cycles == INPUT + 14
    assert trace.image_start.tolist() == [0]
    assert trace.phase_start.tolist() == [[[INPUT]]]
    assert trace.phase_end.tolist() == [[[INPUT + 14]]]
    assert trace.image_end.tolist() == [INPUT + 14]
    assert trace.busy.tolist() == [2, 1, 1, 2, 2, 4, 2, 2, 4, 2, 2]
    assert trace.stalled.tolist() == [0] * 11
    assert (trace.busy + trace.idle == INPUT + 14).all()
    assert trace.tokens.tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1]
    assert trace.token_services == 17
    names = [program.unit_name(c) for c in program.channel_dst[trace.queue_peak > 0]]
    assert names == ["linear0/tile0/convert0"]
    counts = {action: int(count[0]) for action, count in trace.action_counts.items() if count[0]}
    assert counts == {
        "input_load_bits": 4,
        "global_buffer_read_bits": 4,
        "input_buffer_write_bits": 4,
        "input_buffer_read_bits": 4,
        "crossbar_read": 2,
        "wordline_drive": 3,
        "cell_read": 3 * 4,
        "adc_conversion": 2 * 4,
        "shift_add": 2 * 4,
        "tile_add": 2 * 2,
        "neuron_update": 2,
    }


def test_two_images_with_the_same_spikes_in_different_places_take_different_times():
    """A silent read is converted in one cycle and has no sums for the tile to add.

    1 + 1 spikes: as above, 14 cycles.
    2 + 0 spikes: convert [2,4) [4,5), pe_accumulate [4,5) [5,6), bus [5,6) [6,7), tile_accumulate [6,8) [8,9),
                  norm [9,11), neuron [11,13): 13 cycles.
    """
    program = one_crossbar()
    assert run_cycles(program, rows(program, 1, 1)).total_cycles == INPUT + 14
    assert run_cycles(program, rows(program, 2, 0)).total_cycles == INPUT + 13
    blind = one_crossbar(skipping="none")
    assert run_cycles(blind, rows(blind, 2, 0)).total_cycles == INPUT + 14


def test_zero_spikes_cost_no_read():
    program = one_crossbar()
    counts = run_cycles(program, rows(program, 0, 0)).action_counts
    for action in ("crossbar_read", "wordline_drive", "cell_read", "adc_conversion", "shift_add", "tile_add"):
        assert counts[action].tolist() == [0]


def three_tiles_in_a_row(header_bits):
    """12 inputs on 4-row crossbars, one a tile: the sums of tiles 0 and 1 travel to their home, tile 2."""
    network = make_network(np.random.default_rng(0), [], (12, 1, 1), n_timesteps=1, classes=2, weight_bits=3)
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 4, "cell_bits": 2},
        adc={"kind": "lossless", "columns_per_adc": 1},
        tile={"pes_per_tile": 1, "crossbars_per_pe": 1, "input_bus_bits": 64, "accumulator_lanes": 64},
        neuron={"lanes": 2},
        noc={"flit_bits": 4, "header_bits": header_bits, "router_cycles": 2, "mesh": [3, 1], "placement": "row_major"},
    )
    return compile_program(map_network(network, hw), hw)


def test_two_flows_share_one_router_output():
    """Packets of 5 flits from tiles 0 and 1 to tile 2; both pass the link from router 1 to router 2.

    every tile:  fetch [0,1) read [1,2) convert [2,3) pe_accumulate [3,4) bus [4,5) tile_accumulate [5,6)
    interfaces   [6,11) at tiles 0 and 1; the heads leave at 7
    link 0-1     tile 0's packet [7,12); its head leaves at 9
    link 1-2     tile 1's packet [7,12), its head leaves at 9, all of it is there at 14;
                 tile 0's packet came at 9 and waits: [12,17), head at 14, all of it there at 19
                 (alone it would have been there at 9 + 2 + 5 = 16)
    norm         2 neurons on 2 lanes, and 4 foreign sums on 64 lanes: [19,21); readout [21,22)
    """
    psum_bits = three_tiles_in_a_row(0).mapping.layers[0].layer.psum_bits
    program = three_tiles_in_a_row(20 - 2 * psum_bits)
    senders = np.flatnonzero(program.unit_number < 0)
    assert program.unit_flits[senders].tolist() == [5, 5]
    assert program.unit_links[senders].tolist() == [2, 1]
    trace = run_cycles(program, rows(program, 1, 1, 1))
    assert int(trace.phase_end[0, 0, 0] - trace.phase_start[0, 0, 0]) == 22
    links = [u for u in range(program.n_units) if program.unit_name(u).startswith("noc")]
    assert {program.unit_name(u): int(trace.link_flits[u]) for u in links}["noc/(1,0)-(2,0)"] >= 10
    assert trace.stalled[links].sum() == 0  # a packet that waits in a router queue holds no lane
    assert trace.action_counts["psum_flit_hops"].tolist() == [5 * 2 + 5]


def test_a_slow_consumer_stalls_its_producer_when_the_queue_has_depth_one():
    """Three tokens, producer 1 cycle each, consumer 3 cycles each.

    edge  producer                        queue   consumer
    0     starts token 0                  0
    1     0 moves; starts token 1         0       starts token 0 [1,4)
    2     1 moves; starts token 2         1
    3     2 is done, queue full: held     1
    4     held: the slot freed now is     0       starts token 1 [4,7)
          usable at edge 5
    5     2 moves                         1
    7                                     0       starts token 2 [7,10)
    """
    tables = make_tables([3, 3], [[1], [3]], [1, 1], [(0, 1, 1, [1], [1])])
    counts = run_tables(tables)
    assert counts.end == 10
    assert counts.busy.tolist() == [3, 9]
    assert counts.waited.tolist() == [2]
    assert counts.queue_peak.tolist() == [1]


def test_queue_depth_decides_when_services_vary():
    """Producer services 1, 1, 1, 4; consumer 4, 1, 1, 1; the consumer's first token runs [1,5).

    depth 1: token 1 fills the queue at 2; token 2 is done at 3; the slot freed at 5 is usable at 6, so token 3
             runs [6,10) and the consumer ends with it, [10,11).
    depth 2: token 2 moves at 3, token 3 runs [3,7); the consumer runs [1,5) [5,6) [6,7) [7,8).
    """

    def end(depth):
        return run_tables(make_tables([4, 4], [[1, 1, 1, 4], [4, 1, 1, 1]], [1, 1], [(0, 1, depth, [1], [1])])).end

    assert end(1) == 11
    assert end(2) == 8


def test_a_join_waits_for_the_slower_of_its_producers():
    """Units 0 (1 cycle) and 1 (4 cycles) feed unit 2 (2 cycles), one token each: 2 runs [4,6)."""
    tables = make_tables([1, 1, 1], [[1], [4], [2]], [1, 1, 1], [(0, 2, 1, [1], [1]), (1, 2, 1, [1], [1])])
    counts = run_tables(tables)
    assert counts.end == 6
    assert counts.queue_peak.tolist() == [1, 0]


def test_two_lanes_serve_two_tokens_and_the_oldest_done_leaves_first():
    """Services 5, 2, 1 on two lanes into a queue of depth 1 that feeds a 10-cycle consumer.

    Lane 0 has token 0 [0,5), lane 1 token 1 [0,2); token 1 moves at 2 (consumer [2,12)), lane 1 takes token 2
    [2,3), which moves at 3 and fills the queue. Token 0 is done at 5 and held until edge 13: the slot was freed
    at 12. The consumer runs [12,22) and [22,32).
    """
    tables = make_tables([3, 3], [[5, 2, 1], [10]], [2, 1], [(0, 1, 1, [1], [1])])
    counts = run_tables(tables)
    assert counts.end == 32
    assert counts.waited.tolist() == [13 - 5]


def test_a_fork_whose_join_needs_more_copies_than_the_queue_holds_deadlocks():
    """Unit 0 sends every token to 1 and 2; 1 sends only with its fourth token; 2 joins 0 and 1.

    Queue 0->2 holds one token. Token 0 fills it; token 1 goes to unit 1, but its copy for 2 finds the queue
    full. With one lane unit 0 is held there; unit 1 wants a third token, which unit 0 can not start.
    Waits: 0 for 2 (full), 2 for 1 (empty), 1 for 0 (empty).
    """
    tables = make_tables(
        [4, 4, 1],
        [[1], [1], [1]],
        [1, 1, 1],
        [(0, 1, 1, [1], [1]), (0, 2, 1, [1], [1]), (1, 2, 1, [0, 0, 0, 1], [1])],
    )
    counts = run_tables(tables)
    assert counts.deadlock == (
        Wait(unit=0, other=2, channel=1, full=True),
        Wait(unit=2, other=1, channel=2, full=False),
        Wait(unit=1, other=0, channel=0, full=False),
    )


def test_a_deadlock_names_the_cycle_of_waits():
    program = one_crossbar()
    # An extra queue from the neuron back to the fetch: nobody can start.
    (fetch,), (neuron,) = unit(program, "fetch"), unit(program, "neuron")
    looped = dataclasses.replace(
        program,
        channel_src=np.append(program.channel_src, neuron),
        channel_dst=np.append(program.channel_dst, fetch),
        channel_kind=np.append(program.channel_kind, 0),
        channel_depth=np.append(program.channel_depth, 1),
        channel_hop=np.append(program.channel_hop, -1),
    )
    with pytest.raises(DeadlockError) as caught:
        run_cycles(looped, rows(program, 2, 1))
    assert str(caught.value) == (
        f"deadlock at cycle {INPUT} (image 0, step 0): "
        "linear0/tile0/fetch waits for linear0/tile0/neuron (nothing came); "
        "linear0/tile0/neuron waits for linear0/tile0/norm (nothing came); "
        "linear0/tile0/norm waits for linear0/tile0/tile_accumulate (nothing came); "
        "linear0/tile0/tile_accumulate waits for linear0/tile0/bus (nothing came); "
        "linear0/tile0/bus waits for linear0/tile0/pe_accumulate0 (nothing came); "
        "linear0/tile0/pe_accumulate0 waits for linear0/tile0/convert0 (nothing came); "
        "linear0/tile0/convert0 waits for linear0/tile0/read0 (nothing came); "
        "linear0/tile0/read0 waits for linear0/tile0/fetch (nothing came)"
    )


@pytest.mark.parametrize(("loop", "ports", "memory"), [("timestep_major", 1, 3), ("timestep_major", 2, 2)])
def test_a_membrane_memory_with_one_port_and_two_lanes(loop, ports, memory):
    """4 neurons on 2 lanes need 2 cycles; 4 x 6 membrane bits are 3 words of 8 bits in one bank.

    one port:   3 cycles to read, 3 to write. Step 0 only writes, step 1 does both, the last only reads: 3, 6, 3.
    two ports:  2 cycles each: 2, 4, 2.
    All steps do the same otherwise, so step 1 is as much longer as the second access.
    """
    program, trace = membranes(loop, ports)
    (membrane,), (neuron,) = unit(program, "membrane"), unit(program, "neuron")
    assert program.step_cycles[membrane].tolist() == [memory, 2 * memory, memory]
    assert trace.busy[membrane] == 4 * memory
    assert trace.busy[neuron] == 3 * 2
    lengths = (trace.phase_end - trace.phase_start)[0, :, 0]
    assert (lengths - lengths[0]).tolist() == [0, memory, 0]
    assert trace.action_counts["membrane_read_bits"][0] == 2 * 3 * 8
    assert trace.action_counts["membrane_write_bits"][0] == 2 * 3 * 8
    assert trace.action_counts["membrane_register_bits"][0] == 0


def test_membranes_stay_in_registers_in_layer_major():
    program, trace = membranes("layer_major", 1)
    assert unit(program, "membrane") == []
    assert trace.action_counts["membrane_read_bits"][0] == 0
    assert trace.action_counts["membrane_register_bits"][0] == 4 * 6 * 4


def membranes(loop, ports):
    rng = np.random.default_rng(0)
    network = make_network(rng, [("linear", 4)], (2, 1, 1), n_timesteps=3)
    nodes = tuple(
        dataclasses.replace(node, membrane_bits=6) if node.name.startswith("lif") else node for node in network.nodes
    )
    network = dataclasses.replace(network, nodes=nodes)
    hw = make_hardware(
        crossbar={"rows": 4, "cols": 64},
        neuron={"lanes": 2, "memory": {"word_bits": 8, "banks": 1, "ports": ports}},
        dataflow={"loop": loop},
    )
    program = compile_program(map_network(network, hw), hw)
    return program, run_cycles(program, make_activity(rng, program.mapping, density=1.0))


def test_activity_of_another_mapping_is_refused():
    program = one_crossbar()
    with pytest.raises(SimulationError, match=r"layer linear0 has shape \(1, 1, 1, 1, 3\); this mapping needs"):
        run_cycles(program, rows(program, 1, 1, 1))
    with pytest.raises(SimulationError, match="activity of 0 layers; the mapped network has 1"):
        run_cycles(program, Activity(layers=(), origin="nothing"))
