"""The cost library equals prices worked out again from docs/cost.md, component by component."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import yaml
from cost_cases import TECHNOLOGY
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import designs, networks, random_spikes, residual_networks
from oracles.price_twin import Table, price

from spikeloop.simulator.config import HardwareConfig, resolve_yaml
from spikeloop.simulator.cost.library import COMPONENTS
from spikeloop.simulator.cost.technology import Technology
from spikeloop.simulator.pipeline import evaluate

_SEEN: Counter[str] = Counter()


def yaml_of(folder, name):
    return yaml.safe_load(resolve_yaml(name, folder).read_text("utf-8"))


def technology_data(*, vdd_V=1.0):
    raw = yaml_of("technology", "rram_65nm")
    raw["supply"]["vdd_V"]["value"] = vdd_V
    return raw


def memory_table(capacities=None):
    """The shipped table, or one moved to smaller capacities: small networks have small memories."""
    table = yaml_of("memories", "cacti7_lstp")
    if capacities is not None:
        shipped = sorted({row[1] for row in table["rows"]})
        for row in table["rows"]:
            row[1] = capacities[shipped.index(row[1])]
    return table


def twin_table(raw, memories):
    return Table(raw, yaml_of("scaling", raw["scaling"]["table"]), memories)


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
    # Memories of these small networks would all be the smallest macro or registers: move the table down to them.
    raw, memories = technology_data(vdd_V=vdd_V), memory_table((8, 32, 128, 512, 2048, 8192, 32768))
    spikes = random_spikes(network, 2, seed)
    technology = Technology(**raw | {"sram": {"table": memories}})
    got = evaluate(network, hw, spikes, seed=0, cycle_images=2, technology=technology)
    expected = price(got.mapping, hw, twin_table(raw, memories), got.trace.action_counts)
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
    wanted = (*(name for name in COMPONENTS if name != "dram"), "several tiles", "counted inputs")
    assert {name: _SEEN[name] for name in wanted if _SEEN[name] < 5} == {}


@settings(max_examples=200)
@given(capacity=st.integers(0, 2**26), word=st.integers(1, 600))
def test_macros_at_inside_and_beyond_the_table(capacity, word):
    raw, memories = technology_data(), memory_table()
    got = TECHNOLOGY.macros.price(np.array([capacity]), np.array([word]))
    expected = twin_table(raw, memories).macro(capacity, word)
    assert (got.read_fJ[0], got.write_fJ[0], got.area_um2[0], got.leakage_uW[0]) == pytest.approx(expected, rel=1e-9)
