"""The cost library equals prices worked out again from docs/cost.md, component by component."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import designs, networks, random_spikes, residual_networks
from oracles.price_twin import Table, price

from spikeloop.simulator.config import HardwareConfig, resolve_yaml
from spikeloop.simulator.cost.components import sram_fJ_per_bit
from spikeloop.simulator.cost.library import COMPONENTS
from spikeloop.simulator.cost.technology import Technology
from spikeloop.simulator.pipeline import evaluate

_SEEN: Counter[str] = Counter()


def technology_data(*, vdd_V=1.0, extrapolation_ratio=1.0, capacities=(65_536, 524_288, 2_097_152)):
    raw = yaml.safe_load(resolve_yaml("rram_65nm", "technology").read_text("utf-8"))
    raw["supply"]["vdd_V"]["value"] = vdd_V
    raw["sram"]["extrapolation_ratio"]["value"] = extrapolation_ratio
    for point, capacity in zip(raw["sram"]["access"], capacities, strict=True):
        point["capacity_bits"] = capacity
    return raw


@st.composite
def priced_designs(draw):
    hw = draw(designs(lossless=False)).resolved()
    hw["adc"] |= {"sample_and_hold": draw(st.booleans()), "full_scale": "max"}
    hw["dataflow"]["loop"] = draw(st.sampled_from(["timestep_major", "layer_major"]))
    hw["neuron"] = {"lanes": draw(st.integers(1, 20)), "memory": {"banks": draw(st.integers(1, 3))}}
    hw["noc"] = {"flit_bits": draw(st.integers(1, 80)), "input_bits_per_cycle": draw(st.integers(1, 80))}
    hw["tile"]["accumulator_lanes"] = draw(st.integers(1, 80))
    hw["tile"]["pe_accumulator_lanes"] = draw(st.integers(1, 80))
    hw["global_buffer"] = {"slots": draw(st.integers(1, 3))}
    return HardwareConfig(**hw)


@settings(max_examples=100)
@given(
    network=st.one_of(networks(), networks(), residual_networks()),
    hw=priced_designs(),
    seed=st.integers(0, 99),
    vdd_V=st.sampled_from([1.0, 0.9]),
)
def _check_every_component(network, hw, seed, vdd_V):
    # Memories of these small networks would all cost what a register costs: move the table down to them.
    raw = technology_data(vdd_V=vdd_V, extrapolation_ratio=1.5, capacities=(8, 64, 256))
    spikes = random_spikes(network, 2, seed)
    got = evaluate(network, hw, spikes, seed=0, cycle_images=2, technology=Technology(**raw))
    expected = price(got.mapping, hw, raw, got.trace.action_counts)
    metrics = got.metrics
    assert set(expected.area_um2) == set(metrics.by_component) == set(COMPONENTS)
    for name, part in metrics.by_component.items():
        energy_fJ = expected.action_fJ[name] / 2 + expected.leakage_uW[name] * metrics.latency_ns
        # The parts lie on a grid of 2^-51 of the whole, one cell a layer.
        assert part.energy_fJ == pytest.approx(energy_fJ, rel=1e-9, abs=1e-13 * metrics.energy_fJ), name
        assert part.area_um2 == pytest.approx(expected.area_um2[name], rel=1e-9, abs=1e-13 * metrics.area_um2), name
        _SEEN[name] += energy_fJ > 0
    _SEEN["several tiles"] += got.mapping.n_tiles > 1
    _SEEN["counted inputs"] += bool(got.trace.action_counts["input_count"].any())


def test_every_component_has_its_price_and_each_of_them_occurred():
    _SEEN.clear()
    _check_every_component()
    wanted = (*COMPONENTS, "several tiles", "counted inputs")
    assert {name: _SEEN[name] for name in wanted if _SEEN[name] < 5} == {}


@pytest.mark.parametrize("capacity", [0, 1, 5_000, 65_535, 65_536, 300_000, 524_288, 2_097_152, 9_000_000])
def test_sram_energy_inside_at_and_beyond_the_table(capacity):
    raw = technology_data(extrapolation_ratio=1.5)
    got = float(sram_fJ_per_bit(Technology(**raw), np.array([capacity]))[0])
    assert got == pytest.approx(Table(raw).sram_fJ(capacity), rel=1e-12)
