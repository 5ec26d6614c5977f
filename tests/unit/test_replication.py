"""Replicas of the slowest layers: by hand, within the chip, and what cannot be replicated."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design

from spikeloop.simulator.config import ChipConfig, DataflowConfig, TileConfig
from spikeloop.simulator.errors import MappingError
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.replicate import (
    Footprint,
    balance,
    can_replicate,
    column_group,
    footprint,
    tiles_needed,
)
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)

_SEEN: Counter[str] = Counter()

footprints = st.lists(
    st.builds(Footprint, st.integers(1, 9), st.integers(1, 7), st.integers(1, 30)), min_size=1, max_size=5
)


def _hw(**tile):
    return design(tile=TileConfig(**tile))


def _tiles(items, replicas, hw):
    """Tiles filled one PE after the other."""
    per_tile, slot = hw.tile.pes_per_tile, 0
    for item, n in zip(items, replicas, strict=True):
        for _ in range(n):
            while hw.tile.sharing == "exclusive" and slot % per_tile:
                slot += 1
            slot += item.n_pes
    return -(-slot // per_tile)


def test_balance_by_hand():
    """Two layers of one tile each, 4 and 2 column groups of 10 and 12 cycles: 40 and 24 cycles.

    A third tile halves the first layer (20), a fourth the second (12). To lose one more column group the first needs 4
    replicas, two more tiles: with five tiles they do not fit, and the second has one column group a replica.
    """
    items = [Footprint(2, 4, 10), Footprint(1, 2, 12)]
    hw = _hw(pes_per_tile=2)
    assert [balance(items, hw, tiles) for tiles in (2, 3, 4, 5, 6, 99)] == [
        [1, 1],
        [2, 1],
        [2, 2],
        [2, 2],
        [4, 2],
        [4, 2],
    ]


def test_of_equally_slow_layers_the_first_is_replicated():
    items = [Footprint(1, 2, 5), Footprint(1, 2, 5)]
    assert balance(items, _hw(pes_per_tile=1), 3) == [2, 1]


@given(
    items=footprints,
    per_tile=st.integers(1, 4),
    sharing=st.sampled_from(["packed", "exclusive"]),
    more=st.integers(0, 30),
)
def test_replicas_fit_and_a_larger_chip_is_never_slower(items, per_tile, sharing, more):
    hw = _hw(pes_per_tile=per_tile, sharing=sharing)
    least = _tiles(items, [1] * len(items), hw)
    slowest = None
    for budget in range(least, least + more + 1):
        replicas = balance(items, hw, budget)
        assert tiles_needed(items, replicas, hw) == _tiles(items, replicas, hw) <= budget
        assert all(1 <= n <= item.n_column_groups for item, n in zip(items, replicas, strict=True))
        cycles = max(item.cycles(n) for item, n in zip(items, replicas, strict=True))
        assert slowest is None or cycles <= slowest
        _SEEN["faster"] += slowest is not None and cycles < slowest
        _SEEN["all split"] += all(item.n_column_groups == n for item, n in zip(items, replicas, strict=True))
        _SEEN["full"] += tiles_needed(items, replicas, hw) == budget
        slowest = cycles


def test_the_random_chips_were_hard():
    assert min(_SEEN[name] for name in ("faster", "all split", "full")) > 20


def _network(nodes, shape=(2, 4, 8), **source):
    """Input, the given nodes, a linear layer of ones to 2 classes; 3 steps."""
    chain = (
        InputNode(name="in", shape=shape, **source),
        *nodes,
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=np.ones((2, _flat_size(shape, nodes)), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    return Network(name="net", n_timesteps=3, nodes=chain, edges=chain_edges(chain))


def _flat_size(shape, nodes):
    c, h, w = shape
    for node in nodes:
        if isinstance(node, ConvNode):
            c = node.weight.shape[0]
        if isinstance(node, SumPoolNode):
            h, w = ((n - node.kernel) // node.stride + 1 for n in (h, w))
    return c * h * w


def _conv(outputs=4):
    return ConvNode(name="conv", weight=np.ones((outputs, 2, 1, 1), dtype=np.int64), weight_bits=3)


_LIF = LifNode(name="lif", theta=2, membrane_bits=4)


def _pool(kernel, stride):
    return SumPoolNode(name="pool", kernel=kernel, stride=stride)


@pytest.mark.parametrize(
    ("pools", "group", "allowed"),
    [
        ([], 1, True),
        ([_pool(2, 2)], 2, True),
        ([_pool(3, 3)], 3, True),
        ([_pool(2, 1)], 1, False),
        ([_pool(3, 2)], 2, False),
    ],
)
def test_windows_of_a_pool_lie_in_one_replica(pools, group, allowed):
    network = _network([_conv(), _LIF, *pools])
    layer = lower_network(network)[0]
    assert column_group(layer) == group
    assert can_replicate(layer) is allowed
    hw = design(rows=8, cols=64, chip=ChipConfig(tiles=30), dataflow=DataflowConfig(replication="balanced"))
    mapped = map_network(network, hw).layers[0]
    assert mapped.n_replicas == (-(-8 // group) if allowed else 1)


def test_pools_of_two_strides_keep_a_layer_single():
    layer = lower_network(_network([_conv(), _LIF, _pool(2, 2)]))[0]
    other = replace(layer.ops[2], node=_pool(3, 3))
    assert can_replicate(replace(layer, ops=(*layer.ops, layer.ops[2])))
    assert not can_replicate(replace(layer, ops=(*layer.ops, other)))


def test_footprint_by_hand():
    """1x1 conv 2 -> 4 on 4 x 8 positions, 3-bit weights on 1-bit cells: 4 columns an output, 16 in all.

    Crossbars of 1 x 8: 2 blocks of 2 outputs; 2 row blocks in one PE each: 4 PEs. 8 columns share an ADC: 8 rounds and
    a read. 8 column groups of 4 positions, 1 read, 2 planes, 3 steps: 4 * 2 * 9 * 3 cycles; static input: once.
    """
    hw = design(rows=1, cols=8, columns_per_adc=8, tile=TileConfig(crossbars_per_pe=1))
    for static, cycles in ((False, 216), (True, 72)):
        layer = lower_network(_network([_conv(), _LIF], bits=2, static=static))[0]
        assert footprint(layer, hw, 3) == Footprint(n_pes=4, n_column_groups=8, group_cycles=cycles)
    assert Footprint(4, 8, 216).cycles(3) == 3 * 216


def test_row_groups_are_read_one_after_the_other():
    hw = design(rows=2, cols=8, rows_active=1, columns_per_adc=4)
    layer = lower_network(_network([_conv(), _LIF]))[0]
    assert footprint(layer, hw, 1).group_cycles == 4 * 2 * (4 + 1)


def test_a_classifier_has_one_position_and_stays_single():
    layers = map_network(
        _network([_conv(), _LIF]),
        design(chip=ChipConfig(tiles=500), dataflow=DataflowConfig(replication="balanced")),
    ).layers
    assert [item.n_replicas for item in layers] == [8, 1]


@settings(max_examples=30)
@given(tiles=st.integers(1, 40), per_tile=st.integers(1, 3), sharing=st.sampled_from(["packed", "exclusive"]))
def test_a_chip_too_small_says_by_how_much(tiles, per_tile, sharing):
    """Conv: 2 PEs; fc: 128 rows in 32 PEs of one crossbar."""
    tile = TileConfig(pes_per_tile=per_tile, crossbars_per_pe=1, sharing=sharing)
    network = _network([_conv(), _LIF])
    free = map_network(network, design(rows=4, cols=8, tile=tile))
    hw = design(rows=4, cols=8, tile=tile, chip=ChipConfig(tiles=tiles))
    if tiles >= free.n_tiles:
        mapping = map_network(network, hw)
        assert (mapping.n_tiles, mapping.n_chip_tiles) == (free.n_tiles, tiles)
        assert len(mapping.placement.xy) == tiles
        return
    outside = sum(pe.n_crossbars for item in free.layers for pe in item.pes if pe.tile >= tiles)
    with pytest.raises(MappingError) as caught:
        map_network(network, hw)
    assert str(caught.value) == (
        f"network net on test: the weights need {free.n_tiles} tiles and chip.tiles is {tiles}, so "
        f"{free.n_tiles - tiles} tiles with {outside} crossbars of weights do not fit; give chip.tiles at least "
        f"{free.n_tiles}, or use larger crossbars, more PEs a tile, or fewer weight bits"
    )


def test_too_small_a_chip_is_refused_with_replication_too():
    hw = design(rows=4, cols=8, chip=ChipConfig(tiles=2), dataflow=DataflowConfig(replication="balanced"))
    with pytest.raises(MappingError, match=r"chip\.tiles is 2, so \d+ tiles with \d+ crossbars"):
        map_network(_network([_conv(), _LIF]), hw)
