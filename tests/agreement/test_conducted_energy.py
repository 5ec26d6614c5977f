"""Energy of driven cells: what codes let expect against what the functional run adds up, cell by cell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import design, one_layer, random_spikes

from spikeloop.simulator.adc_config import LosslessAdc
from spikeloop.simulator.cells.presets import load_cell
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.functional.activity import Activity
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.pricing import measured_read_fJ, price_run
from spikeloop.simulator.program import compile_program

#: Cells that conduct exactly what they are meant to.
DEVICE = load_cell({"preset": "rram_neurosim"})


def conducting(**fields: object) -> HardwareConfig:
    hw = design(**fields)
    return hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"cell": DEVICE})})


def activity_of(network: Network, mapping: Mapping, hw: HardwareConfig, spikes: SpikeTrain) -> Activity:
    """Activity of all images on one chip; ADCs do not matter."""
    return run_functional(
        network,
        mapping,
        hw,
        spikes,
        adc_shift=(0,) * len(mapping.layers),
        cycle_images=spikes.n_images,
        chip=AnalogChip(hw=hw, seed=0),
    ).activity


def both_fJ(network: Network, hw: HardwareConfig, *, n_images: int = 4) -> tuple[float, float]:
    """Energy of the crossbars of one inference: as measured, and as expected of the same driven wordlines."""
    mapping = map_network(network, hw)
    program = compile_program(mapping, hw)
    activity = activity_of(network, mapping, hw, random_spikes(network, n_images, 1))
    blind = dataclasses.replace(
        activity, layers=tuple(dataclasses.replace(layer, read_fJ=None) for layer in activity.layers)
    )
    trace = run_cycles(program, activity)
    found = []
    for seen in (activity, blind):
        bill = price_run(trace, mapping, hw, load_technology("rram_65nm"), program=program, activity=seen)
        row = [component.name for component in bill.components].index("crossbar")
        found.append(float(bill.energy_fJ[row].sum()))
    assert found[0] == pytest.approx(measured_read_fJ(activity, hw).sum(), rel=1e-9)
    assert measured_read_fJ(blind, hw) is None
    return found[0], found[1]


@pytest.mark.parametrize("scheme", ["differential", "offset"])
@pytest.mark.parametrize("cell_bits", [1, 2, 3])
@pytest.mark.parametrize("holds", [True, False])
def test_equal_weights_are_exact(scheme, cell_bits, holds):
    """All weights 5: every wordline has the same cells, so the mean code is that of each; 21 rows leave padding."""
    network = one_layer(np.full((5, 21), 5), weight_bits=4, n_timesteps=2)
    hw = conducting(rows=16, cols=32, cell_bits=cell_bits, scheme=scheme)
    hw = hw.model_copy(update={"adc": LosslessAdc(columns_per_adc=4, sample_and_hold=holds)})
    measured, expected = both_fJ(network, hw)
    assert measured > 0
    assert expected == pytest.approx(measured, rel=1e-5)  # conductances are 32-bit floats


def test_one_cell_by_hand():
    """One weight of 1 in a 1 x 2 crossbar, always driven: V^2 t (G_max + G_min) a step."""
    network = one_layer(np.ones((1, 1), dtype=np.int64), weight_bits=2)
    hw = conducting(rows=1, cols=2)
    mapping = map_network(network, hw)
    spikes = random_spikes(network, 1, 0)
    activity = activity_of(network, mapping, hw, dataclasses.replace(spikes, codes=np.ones_like(spikes.codes)))
    assert activity.layers[0].read_fJ.sum() == pytest.approx(0.51**2 * 10 * (166.667 + 9.804), rel=1e-6)
    measured, expected = both_fJ(network, hw, n_images=16)
    assert expected == pytest.approx(measured, rel=1e-6)


def test_random_weights_agree_on_the_mean():
    """Which rows are driven has nothing to do with what stands in them: 64 images of 200 rows come within 1 %."""
    weight = np.random.default_rng(0).integers(-7, 8, size=(24, 200))
    measured, expected = both_fJ(
        one_layer(weight, weight_bits=4, n_timesteps=4), conducting(rows=64, cols=64, columns_per_adc=8), n_images=64
    )
    assert expected == pytest.approx(measured, rel=0.01)
