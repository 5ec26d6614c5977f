"""Vectorised action counts equal the naive walk over every read, and obey their laws."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.action_twin import count_layer
from oracles.cycle_cases import make_activity, make_hardware, make_network, random_machine

from spikeloop.simulator.cycle.actions import ACTIONS
from spikeloop.simulator.cycle.counts import count_actions
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.program import compile_program


def test_counts_equal_the_naive_walk_and_every_action_occurs():
    occurred = dict.fromkeys(ACTIONS, 0)
    for seed in range(60):
        program, activity = random_machine(np.random.default_rng(1000 + seed))
        counts = count_actions(program, activity)
        assert list(counts) == list(ACTIONS)
        for index in range(len(program.mapping.layers)):
            naive = count_layer(program, activity, index)
            assert set(naive) <= set(ACTIONS)
            for action in ACTIONS:
                assert counts[action][index] == naive[action], (seed, index, action)
                occurred[action] += naive[action] > 0
    assert {action: n for action, n in occurred.items() if n < 5} == {}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_skipping_more_never_reads_more_and_drives_the_same_wordlines(seed):
    rng = np.random.default_rng(seed)
    network = make_network(rng, [("conv", 3, 2, 1, 1, 1)], (2, 3, 3), bits=2)
    reads, drives = [], []
    activity = None
    for skipping in ("none", "vector", "row_group"):
        hw = make_hardware(dataflow={"zero_skipping": skipping})
        program = compile_program(map_network(network, hw), hw)
        activity = activity or make_activity(rng, program.mapping, density=0.1)
        counts = count_actions(program, activity)
        reads.append(int(counts["crossbar_read"].sum()))
        drives.append(int(counts["wordline_drive"].sum()))
    assert reads[0] >= reads[1] >= reads[2]
    assert reads[0] > reads[2]
    assert drives[0] == drives[1] == drives[2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_counts_of_two_images_are_the_sum_of_the_counts_of_each(seed):
    program, activity = random_machine(np.random.default_rng(seed))
    both = type(activity)(
        layers=tuple(
            type(layer)(
                active_rows=np.concatenate([layer.active_rows, layer.active_rows[::-1]]),
                input_ones=np.tile(layer.input_ones, (2, 1)),
                spikes_out=np.tile(layer.spikes_out, (2, 1)),
            )
            for layer in activity.layers
        ),
        origin="twice",
    )
    for action, counts in count_actions(program, activity).items():
        np.testing.assert_array_equal(2 * counts, count_actions(program, both)[action])
