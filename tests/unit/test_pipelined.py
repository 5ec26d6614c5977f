"""``layer_pipelined``: buffers, residuals, replicas and images in a row, on a small residual network."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from networks import design

from spikeloop.simulator.config import ChipConfig, DataflowConfig, NeuronConfig, NocConfig, TileConfig
from spikeloop.simulator.cost.workload import workload_of
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import DeadlockError, MappingError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.machine.units import KIND
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
)
from spikeloop.simulator.program import compile_program
from spikeloop.simulator.tables import END


def residual_network(size: int = 6, n_timesteps: int = 2) -> Network:
    """Stem, one membrane-shortcut block of two 3x3 convolutions, LIF, classifier."""
    rng = np.random.default_rng(3)
    channels = 2

    def conv(name: str, c_in: int) -> ConvNode:
        return ConvNode(name=name, weight=rng.integers(-3, 4, (channels, c_in, 3, 3)), weight_bits=3, padding=1)

    def norm(name: str) -> BatchNormNode:
        constants = (np.full(channels, value) for value in (4, 1, 0, 3))
        return BatchNormNode(name=name, **dict(zip("mnke", constants, strict=True)), bn_bits=4)

    def lif(name: str) -> LifNode:
        return LifNode(name=name, theta=4, membrane_bits=4, guard_bits=0)

    nodes = (
        InputNode(name="in", shape=(1, size, size), bits=2),
        conv("stem", 1),
        norm("stem_bn"),
        lif("lif1"),
        conv("conv1", channels),
        norm("bn1"),
        lif("lif2"),
        conv("conv2", channels),
        norm("bn2"),
        AddNode(name="add", mode="stream", stream_bits=5),
        lif("lif3"),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=rng.integers(-3, 4, (3, channels * size * size)), weight_bits=3),
        ReadoutNode(name="out", bias=np.zeros(3, dtype=np.int64)),
    )
    names = [node.name for node in nodes]
    edges = [*itertools.pairwise(names), ("stem_bn", "add")]
    return Network(name="residual", n_timesteps=n_timesteps, nodes=nodes, edges=tuple(edges))


def pipelined(**more: object):
    dataflow = DataflowConfig(order="layer_pipelined", **more.pop("dataflow", {}))
    return design(rows=8, cols=8, tile=TileConfig(pes_per_tile=2, crossbars_per_pe=3), dataflow=dataflow, **more)


def run(network, hw, n_images=1, density=0.3):
    program = compile_program(map_network(network, hw), hw)
    activity = random_activity(program.mapping, density, n_images=n_images, seed=1)
    return program, run_cycles(program, activity)


def residual_channels(program):
    into_add = program.unit_kind[program.channel_dst] == KIND["add"]
    return np.flatnonzero((program.channel_kind == END) & into_add)


def test_a_residual_buffer_holds_what_two_convolutions_are_behind():
    """The stem feeds conv1 and, as the identity, the add; the add waits for conv2.

    On a map of width 6 with 3x3 kernels and padding 1, position p of conv2 needs conv1 up to one row and one
    position further, p + 7, and that needs the stem up to p + 14. While the add waits for position p, the stem may
    have sent p + 14 and all before it: 15 values from p on. A row more is spare: 21 slots.
    """
    hw = pipelined()
    program, _ = run(residual_network(), hw)
    (channel,) = residual_channels(program)
    assert program.channel_depth[channel] == 15 + 6


def test_a_smaller_residual_buffer_would_be_a_deadlock():
    hw = pipelined()
    program, trace = run(residual_network(), hw)
    (channel,) = residual_channels(program)
    activity = random_activity(program.mapping, 0.3, n_images=1, seed=1)
    outcomes = []
    for depth in (2, 8, 14, 15, 21):
        depths = program.channel_depth.copy()
        depths[channel] = depth
        try:
            changed = dataclasses.replace(program, channel_depth=depths)
            outcomes.append(run_cycles(changed, activity).total_cycles > 0)
        except DeadlockError:
            outcomes.append(False)
    # 15 is what the receptive fields ask for; what is in flight elsewhere can make less do, never need more.
    assert outcomes[0] is False
    assert outcomes[-2:] == [True, True]
    assert trace.total_cycles > 0


def test_an_input_buffer_below_a_receptive_field_is_refused():
    network = residual_network()
    with pytest.raises(MappingError, match=r"input_buffer_positions=9: the input buffer of (stem|conv1) must hold"):
        run(network, _with_buffer(9))
    assert run(network, _with_buffer(36))[1].total_cycles > 0


def _with_buffer(positions: int):
    tile = TileConfig(pes_per_tile=2, crossbars_per_pe=3, input_buffer_positions=positions)
    return design(rows=8, cols=8, tile=tile, dataflow=DataflowConfig(order="layer_pipelined"))


def test_images_overlap_and_the_interval_is_that_of_the_slowest_layer():
    """With the same work in every image, the outputs come at the pace of the busiest unit."""
    hw = pipelined(dataflow={"zero_skipping": "none"})
    _, trace = run(residual_network(), hw, n_images=5)
    alone = run(residual_network(), hw)[1]
    assert trace.interval_cycles < alone.latency_cycles
    busiest = trace.busy.max() / trace.n_images
    spacing = np.diff(trace.image_end)
    assert 0.95 * busiest <= spacing[1:].mean() <= 1.5 * busiest
    sequential = hw.model_copy(update={"dataflow": DataflowConfig(zero_skipping="none")})
    barrier = run(residual_network(), sequential)[1]
    assert alone.latency_cycles < barrier.latency_cycles


def test_replicas_share_the_positions_and_make_it_faster():
    # Conversions decide: the network-on-chip, which carries more with replicas, is wide.
    wide = {"columns_per_adc": 8, "noc": NocConfig(flit_bits=512)}
    slow = pipelined(**wide)
    fast = pipelined(chip=ChipConfig(tiles=40), dataflow={"replication": "balanced"}, **wide)
    one, first = run(residual_network(), slow, n_images=3)
    many, second = run(residual_network(), fast, n_images=3)
    assert max(item.n_replicas for item in many.mapping.layers) > 1
    assert second.interval_cycles < first.interval_cycles
    for action in ("adc_conversion", "wordline_drive", "neuron_update", "tile_add"):
        assert first.action_counts[action].sum() == second.action_counts[action].sum() > 0, action
    assert one.mapping.n_tiles < many.mapping.n_tiles <= 40


def test_more_steps_and_slower_neurons_keep_the_order_of_images():
    hw = pipelined(neuron=NeuronConfig(lanes=1), dataflow={"loop": "layer_major"})
    _, trace = run(residual_network(n_timesteps=3), hw, n_images=4)
    assert (np.diff(trace.image_end) > 0).all()
    assert (np.diff(trace.image_start) > 0).all()
    assert (trace.phase_end >= trace.phase_start).all()
    assert trace.image_end[-1] == trace.total_cycles


def test_flits_on_links_are_those_of_the_packets():
    for order in ("layer_pipelined", "layer_sequential"):
        hw = design(
            rows=8, cols=8, tile=TileConfig(pes_per_tile=1, crossbars_per_pe=2), dataflow=DataflowConfig(order=order)
        )
        program, trace = run(residual_network(), hw, n_images=2)
        counted = sum(trace.action_counts[f"{kind}_flit_hops"].sum() for kind in ("psum", "spike", "input"))
        assert trace.link_flits.sum() == counted > 0
        assert trace.total_cycles >= trace.link_flits.max()
        at_links = program.unit_kind == KIND["link"]
        assert (trace.busy[at_links] >= trace.link_flits[at_links]).all()


def test_buffers_cost_the_slots_of_their_streams():
    """The stem's 3x3 windows on 6x6 need two rows and three positions, and a row is spare: 21 slots of 1 x 2 bits.

    The add waits with 21 values of both channels (see above), as wide as the stem's currents; what waits to be sent are
    ``fifo_depth`` packets of a position. In ``layer_sequential`` whole maps of 36 positions are kept instead.
    """
    hw = pipelined()
    program, _ = run(residual_network(), hw)
    mapping = program.mapping
    work = workload_of(mapping, hw, program)
    stem, conv1, conv2 = mapping.layers[:3]
    assert work.held_bits("input")[0] == len(stem.tiles) * 21 * 2
    assert work.held_bits("input")[1] == len(conv1.tiles) * 21 * 2 * 1
    assert len(conv2.home_tiles) == 1
    assert work.held_bits("residual").tolist() == [0, 0, 21 * 2 * stem.layer.ops[0].bits, 0]
    assert work.held_bits("spike")[1] == hw.tile.fifo_depth * 2 * 1
    barrier = hw.model_copy(update={"dataflow": DataflowConfig()})
    kept = workload_of(mapping, barrier)
    assert kept.held_bits("input")[0] == len(stem.tiles) * 36 * 2
    assert kept.held_bits("residual").tolist() == [0, 0, 36 * 2 * stem.layer.ops[0].bits, 0]
    assert kept.held_bits("spike")[1] == 36 * 2 * 1
