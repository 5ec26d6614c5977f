"""CPU seconds of the functional crossbar: the reference layer of the field's comparisons.

conv 3x3, 128 -> 128, 16x16 outputs, batch 16, T=4, 15 % spikes.
"""

import numpy as np
import pytest
from analog_cases import on_chip, rram_cell
from networks import design, symmetric_weights

from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.chip_reads import ChipRun
from spikeloop.simulator.functional.crossbar import read_layer
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    chain_edges,
)


def reference_network() -> Network:
    """The reference convolution, with the neuron and classifier that make the graph legal."""
    rng = np.random.default_rng(0)
    nodes = (
        InputNode(name="in", shape=(128, 16, 16)),
        ConvNode(name="conv", weight=symmetric_weights(rng, (128, 128, 3, 3), 5), weight_bits=5, padding=1),
        LifNode(name="lif", theta=64, membrane_bits=4),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=np.ones((2, 128 * 256), dtype=np.int64), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(2, dtype=np.int64)),
    )
    return Network(name="reference", n_timesteps=4, nodes=nodes, edges=chain_edges(nodes))


@pytest.mark.parametrize(("rows", "cell_bits", "adc_bits"), [(64, 1, 4), (128, 4, 6)])
def bench_reference_layer(benchmark, rows, cell_bits, adc_bits):
    network = reference_network()
    hw = design(rows=rows, cols=rows, cell_bits=cell_bits, adc_bits=adc_bits, columns_per_adc=8)
    mapped = map_network(network, hw).layers[0]
    spikes = (np.random.default_rng(1).random((4, 16, 128, 16, 16)) < 0.15).astype(np.uint8)
    benchmark(read_layer, mapped, spikes, adc_shift=1, adc_bits=adc_bits)


@pytest.mark.parametrize("departs", ["variation", "read noise", "wires"])
def bench_reference_layer_on_a_chip(benchmark, departs):
    """128x128 cells of 4 bits, 6-bit ADCs; each departure comes on top of those before it."""
    cell = rram_cell(programming_sigma_ratio=0.05, read_noise_ratio=0.0 if departs == "variation" else 0.05)
    hw = on_chip(design(rows=128, cols=128, cell_bits=4, adc_bits=6, columns_per_adc=8), cell=cell)
    if departs == "wires":
        hw = on_chip(hw, wires={"source": "bench", "row_ohm": 1.0, "column_ohm": 1.0})
    mapped = map_network(reference_network(), hw).layers[0]
    spikes = (np.random.default_rng(1).random((4, 16, 128, 16, 16)) < 0.15).astype(np.uint8)
    run = ChipRun(chip=AnalogChip(hw=hw, seed=0), images=np.arange(16))
    benchmark(read_layer, mapped, spikes, adc_shift=2, adc_bits=6, run=run)
