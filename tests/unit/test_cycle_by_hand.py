"""Timelines worked out by hand. ``[a,b)`` is a service from edge a to edge b."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from oracles.cycle_cases import make_activity, make_hardware, make_network, make_tables

from spikeloop.simulator.cycle.run import Wait, run_cycles, run_tables
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


def test_one_crossbar_three_spikes():
    """Two reads (2 and 1 spikes) pass the chain; the ADC needs 2 rounds, the accumulator 2 cycles for 2 sums.

    input load    4 bits at 2 bits a cycle: cycles 0 and 1; then, counted from the phase's first edge,
    fetch         [0,1) [1,2)              2 rows x 1 bit over a 2-bit bus
    read          [1,2) [2,3)
    convert       [2,4) [4,6)              the second token waits in the queue from edge 3 to edge 4
    accumulate    [4,6) [6,8)              only the second, the last row group, is sent on
    neuron        [8,10)                   2 logits, one lane
    """
    program = one_crossbar()
    trace = run_cycles(program, rows(program, 2, 1))
    names = [UNIT_KINDS[kind] for kind in program.unit_kind]
    assert names == ["fetch", "read", "convert", "accumulate", "neuron"]
    assert trace.total_cycles == 2 + 10
    assert trace.input_load_cycles.tolist() == [2]
    assert trace.phase_start.tolist() == [[[2]]]
    assert trace.phase_end.tolist() == [[[12]]]
    assert trace.image_end.tolist() == [12]
    assert trace.busy.tolist() == [2, 2, 4, 4, 2]
    assert trace.stalled.tolist() == [0] * 5
    assert trace.idle.tolist() == [10, 10, 8, 8, 10]
    assert trace.tokens.tolist() == [2, 2, 2, 2, 1]
    assert trace.token_services == 9
    assert trace.queue_peak.tolist() == [0, 1, 0, 0]
    counts = {action: int(count[0]) for action, count in trace.action_counts.items() if count[0]}
    assert counts == {
        "input_load_bits": 4,
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
    """A silent first read is converted in one cycle, and everything behind it starts a cycle earlier.

    silent second read: convert [2,4) [4,5), accumulate [4,6) [6,8), neuron [8,10): 10 cycles.
    silent first read:  convert [2,3) [3,5), accumulate [3,5) [5,7), neuron [7,9): 9 cycles.
    """
    program = one_crossbar()
    assert run_cycles(program, rows(program, 2, 0)).total_cycles == 2 + 10
    assert run_cycles(program, rows(program, 0, 2)).total_cycles == 2 + 9
    blind = one_crossbar(skipping="none")
    assert run_cycles(blind, rows(blind, 0, 2)).total_cycles == 2 + 10


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
    looped = dataclasses.replace(
        program,
        channel_src=np.append(program.channel_src, 4),
        channel_dst=np.append(program.channel_dst, 0),
        channel_depth=np.append(program.channel_depth, 1),
    )
    with pytest.raises(DeadlockError) as caught:
        run_cycles(looped, rows(program, 2, 1))
    assert str(caught.value) == (
        "deadlock at cycle 2 (image 0, step 0): "
        "linear0/tile0/fetch waits for linear0/tile0/neuron (nothing came); "
        "linear0/tile0/neuron waits for linear0/tile0/accumulate (nothing came); "
        "linear0/tile0/accumulate waits for linear0/tile0/convert0 (nothing came); "
        "linear0/tile0/convert0 waits for linear0/tile0/read0 (nothing came); "
        "linear0/tile0/read0 waits for linear0/tile0/fetch (nothing came)"
    )


@pytest.mark.parametrize(
    ("loop", "ports", "busy"), [("timestep_major", 1, 18), ("timestep_major", 2, 14), ("layer_major", 1, 6)]
)
def test_a_membrane_memory_with_one_port(loop, ports, busy):
    """4 neurons on 2 lanes need 2 cycles; 4 x 6 membrane bits are 3 words of 8 bits in one bank.

    one port:    3 cycles to read, 3 to write. Step 0 only writes, the last only reads: 5 + 8 + 5 = 18.
    two ports:   2 cycles each: 4 + 6 + 4 = 14.
    layer_major: membranes stay in registers: 2 + 2 + 2 = 6.
    """
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
    trace = run_cycles(program, make_activity(rng, program.mapping, density=0.5))
    (neuron,) = unit(program, "neuron")
    assert trace.busy[neuron] == busy
    assert trace.tokens[neuron] == 3
    words = {"timestep_major": 2 * 3 * 8, "layer_major": 0}[loop]
    assert trace.action_counts["membrane_read_bits"][0] == words
    assert trace.action_counts["membrane_write_bits"][0] == words
    assert trace.action_counts["membrane_register_bits"][0] == (0 if words else 4 * 6 * 4)


def test_activity_of_another_mapping_is_refused():
    program = one_crossbar()
    with pytest.raises(SimulationError, match=r"layer linear0 has shape \(1, 1, 1, 1, 3\); this mapping needs"):
        run_cycles(program, rows(program, 1, 1, 1))
    with pytest.raises(SimulationError, match="activity of 0 layers; the mapped network has 1"):
        run_cycles(program, Activity(layers=(), origin="nothing"))
