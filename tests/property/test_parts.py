"""What a run costs is the sum of its parts, per layer and per component, on every shipped design."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, small_network
from oracles.cycle_cases import make_network

from spikeloop.simulator.config import load_hardware, shipped_files
from spikeloop.simulator.metrics import Metrics
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.pipeline import Evaluation, evaluate

SHAPE = (3, 8, 8)
NETWORKS = {
    "plain": lambda: small_network(),
    "direct coded": lambda: small_network(static=True, reset="soft"),
    "residual": lambda: make_network(
        np.random.default_rng(3),
        [("conv", 8, 3, 1, 1, 1), ("sew", 3), ("pool", 2, 2), ("linear", 16)],
        SHAPE,
        bits=3,
        static=True,
        n_timesteps=3,
        classes=4,
    ),
}


@pytest.mark.parametrize("preset", sorted(shipped_files("accelerators")))
@pytest.mark.parametrize("network", NETWORKS)
def test_parts_equal_the_whole_on_every_shipped_design(network, preset):
    evaluation = run(network, preset)
    for field in ("energy_fJ", "area_um2"):
        check_sums(evaluation.metrics, field)
    if load_hardware(preset).technology == TECHNOLOGY.name:  # other files state the multiplexer at other nodes
        check_column_mux(evaluation, preset)


def run(network: str, preset: str) -> Evaluation:
    """Two images of uniform pixels."""
    net = NETWORKS[network]()
    return evaluate(net, load_hardware(preset), SpikeTrain.uniform(net, 2, 5), seed=0, cycle_images=2)


def check_sums(m: Metrics, field: str) -> None:
    """Cells add up to rows, columns and the whole, to 1e-12 and better."""
    whole = getattr(m, field)
    assert whole > 0
    cells = {
        (layer.name, name): getattr(part, field) for layer in m.by_layer for name, part in layer.by_component.items()
    }
    assert math.fsum(cells.values()) == pytest.approx(whole, rel=1e-12)
    for layer in m.by_layer:
        own = math.fsum(value for (row, _), value in cells.items() if row == layer.name)
        assert own == pytest.approx(getattr(layer, field), rel=1e-12), layer.name
    for name, component in m.by_component.items():
        own = math.fsum(value for (_, column), value in cells.items() if column == name)
        assert own == pytest.approx(getattr(component, field), rel=1e-12), name


def check_column_mux(evaluation: Evaluation, preset: str) -> None:
    """A cell worked out again: conversions x energy + leakage of the multiplexers in the layer's PEs.

    The published multiplexer has 8 inputs, one of n inputs is (n - 1) / 7 of it.
    """
    hw, m, mapping = load_hardware(preset), evaluation.metrics, evaluation.mapping
    numbers, size = TECHNOLOGY.entries, (hw.adc.columns_per_adc - 1) / 7
    one_fJ, one_um2 = (size * numbers[f"column_mux.{name}"].value for name in ("conversion_fJ", "area_um2"))
    in_a_pe = hw.tile.crossbars_per_pe * hw.crossbar.cols // hw.adc.columns_per_adc
    leak_uW = numbers["logic.leakage_uW_per_um2"].value
    for mapped, layer in zip(mapping.layers, m.by_layer[:-1], strict=True):
        area_um2 = len(mapped.pes) * in_a_pe * one_um2
        conversions = int(evaluation.trace.action_counts["adc_conversion"][mapped.layer.index]) / 2
        part = layer.by_component["column_mux"]
        assert part.area_um2 == pytest.approx(area_um2, rel=1e-9)
        assert part.energy_fJ == pytest.approx(conversions * one_fJ + area_um2 * leak_uW * m.interval_ns, rel=1e-9)
