"""Each knob alone moves the components that it should, by the stated law, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, mapped, moved, prices, small_design, small_network

from spikeloop.simulator.cost.library import COMPONENTS, cost_library
from spikeloop.simulator.cycle.actions import ACTIONS

DESIGN_KNOBS = [
    ("adc_bits", 4, 6, {"adc", "shift_add"}),
    ("columns_per_adc", 8, 4, {"column_mux", "adc", "shift_add"}),
    ("pe_accumulator_lanes", 64, 32, {"pe_accumulator"}),
    ("slots", 2, 3, {"global_buffer"}),
    ("lanes", 16, 32, {"batch_norm", "neuron", "pooling"}),
    ("accumulator_lanes", 64, 32, {"tile_accumulator"}),
    ("banks", 2, 4, {"membrane_memory"}),
    ("flit_bits", 64, 32, {"noc"}),
    ("input_bits_per_cycle", 64, 32, {"input_load"}),
    ("zero_skipping", "row_group", "none", set()),
    ("fifo_depth", 2, 4, set()),
]
NETWORK_KNOBS = [
    ("membrane_bits", 8, 6, {"membrane_memory", "neuron"}),
    ("guard_bits", 4, 2, {"neuron"}),
    ("bn_bits", 8, 10, {"batch_norm"}),
    ("reset", "hard", "soft", {"neuron"}),
    ("steps_of_bn", False, True, {"batch_norm"}),
    ("n_timesteps", 4, 3, set()),
]


@pytest.mark.parametrize(("knob", "a", "b", "expected"), DESIGN_KNOBS, ids=[knob[0] for knob in DESIGN_KNOBS])
def test_design_knob_moves_its_components_only(knob, a, b, expected):
    assert moved(prices(hw=small_design(**{knob: a})), prices(hw=small_design(**{knob: b}))) == expected


@pytest.mark.parametrize(("knob", "a", "b", "expected"), NETWORK_KNOBS, ids=[knob[0] for knob in NETWORK_KNOBS])
def test_network_knob_moves_its_components_only(knob, a, b, expected):
    assert moved(prices(small_network(**{knob: a})), prices(small_network(**{knob: b}))) == expected


def test_timesteps_cost_buffers_in_layer_major_only():
    hw = small_design(loop="layer_major")
    four, three = (prices(small_network(n_timesteps=t), hw) for t in (4, 3))
    assert moved(four, three) == {"global_buffer", "input_buffer", "spike_buffer"}
    assert sum(four["spike_buffer"]["area_um2"]) * 3 == pytest.approx(sum(three["spike_buffer"]["area_um2"]) * 4)


def test_held_currents_exist_for_direct_coding_with_several_steps_only():
    assert prices(small_network(static=True))["current_memory"]["count"] > 0
    assert sum(prices(small_network(static=True))["current_memory"]["area_um2"]) > 0
    assert prices(small_network(static=True, n_timesteps=1))["current_memory"]["count"] == 0
    assert prices(small_network())["current_memory"]["count"] == 0


def test_membrane_memory_is_neurons_times_bits_in_timestep_major():
    for bits in (2, 5, 8):
        priced = prices(small_network(membrane_bits=bits))["membrane_memory"]
        assert priced["area_um2"] == pytest.approx([16 * 36 * bits * 0.7391, 0.0, 0.0])


def test_membrane_registers_are_lanes_times_bits_in_layer_major():
    hw = small_design(loop="layer_major", lanes=16)
    six, eight = (prices(small_network(membrane_bits=bits), hw) for bits in (6, 8))
    assert moved(six, eight) == {"membrane_memory", "neuron"}
    assert sum(eight["membrane_memory"]["area_um2"]) == pytest.approx(sum(six["membrane_memory"]["area_um2"]) * 8 / 6)
    mapping, _ = mapped(hw=hw)
    assert eight["membrane_memory"]["count"] == 16 * mapping.n_tiles


def test_weight_bits_cost_columns_and_thereby_tiles():
    # 4 outputs a 16-column crossbar with 3 slices and 2 signs -> 2; 2-bit weights: 1 slice -> 8.
    four, _ = mapped(small_network(weight_bits=4))
    two, _ = mapped(small_network(weight_bits=2))
    assert len(four.layers[0].pes) == 4 * len(two.layers[0].pes)
    crossbar_four, crossbar_two = (prices(small_network(weight_bits=bits))["crossbar"]["area_um2"] for bits in (4, 2))
    assert crossbar_four[0] == pytest.approx(4 * crossbar_two[0])


def test_cell_bits_save_columns_but_widen_no_cell():
    one, three = (prices(hw=small_design(cell_bits=bits)) for bits in (1, 3))
    assert three["crossbar"]["area_um2"][0] < one["crossbar"]["area_um2"][0]
    assert three["crossbar"]["cell_read"] == one["crossbar"]["cell_read"]


def test_crossbar_rows_and_cols_scale_cells_and_periphery():
    small = {name: (row["count"], sum(row["area_um2"])) for name, row in _tile(rows=16, cols=16).items()}
    tall = {name: (row["count"], sum(row["area_um2"])) for name, row in _tile(rows=32, cols=16).items()}
    wide = {name: (row["count"], sum(row["area_um2"])) for name, row in _tile(rows=16, cols=32).items()}
    assert tall["crossbar"][1] == pytest.approx(2 * small["crossbar"][1])
    assert wide["crossbar"][1] == pytest.approx(2 * small["crossbar"][1])
    assert (tall["wordline_driver"][0], tall["adc"][0]) == (2 * small["wordline_driver"][0], small["adc"][0])
    assert (wide["wordline_driver"][0], wide["adc"][0]) == (small["wordline_driver"][0], 2 * small["adc"][0])
    assert tall["tile_bus"][1] > small["tile_bus"][1]
    assert wide["tile_bus"][1] > small["tile_bus"][1]


def _tile(**knobs):
    """Prices of one tile by the nominal layer, so that the mapping does not change with the knob."""
    from spikeloop.simulator.cost.table import cost_table

    return {
        row.component: {"count": row.count, "area_um2": [row.area_um2]}
        for row in cost_table(small_design(**knobs), TECHNOLOGY)
    }


def test_without_sample_and_hold_the_cells_conduct_through_all_rounds():
    from spikeloop.simulator.config import UniformAdc

    hw = small_design()
    without = hw.model_copy(update={"adc": UniformAdc(bits=4, columns_per_adc=8, sample_and_hold=False)})
    held, bare = prices(hw=hw), prices(hw=without)
    assert moved(held, bare) == {"sample_and_hold", "crossbar"}
    assert bare["sample_and_hold"]["area_um2"] == [0.0, 0.0, 0.0]
    assert bare["crossbar"]["cell_read"] == pytest.approx([8 * value for value in held["crossbar"]["cell_read"]])
    assert bare["crossbar"]["area_um2"] == held["crossbar"]["area_um2"]


def test_idle_pes_are_paid_for_and_belong_to_nobody():
    mapping, hw = mapped(hw=small_design(pes_per_tile=7, sharing="exclusive"))
    crossbar = next(part for part in cost_library(mapping, hw, TECHNOLOGY) if part.name == "crossbar")
    assert crossbar.count == mapping.n_tiles * 7 * hw.tile.crossbars_per_pe
    per_pe = 2 * 16 * 16 * 0.0064
    used = [len(layer.pes) for layer in mapping.layers]
    idle = mapping.n_tiles * 7 - sum(used)
    assert idle > 0
    assert crossbar.layer_area_um2 == pytest.approx([n * per_pe for n in (*used, idle)])


def test_every_component_is_named_once_and_every_action_has_a_price():
    priced: set[str] = set()
    for loop in ("timestep_major", "layer_major"):
        mapping, hw = mapped(small_network(static=True), small_design(loop=loop))
        components = cost_library(mapping, hw, TECHNOLOGY)
        assert tuple(component.name for component in components) == COMPONENTS
        priced |= {action for component in components for action in component.action_fJ}
    # Reads are priced by their wordlines, cells and conversions.
    assert priced == set(ACTIONS) - {"crossbar_read"}


def test_no_price_is_negative_or_infinite():
    for scheme in ("differential", "offset"):
        mapping, hw = mapped(small_network(static=True), small_design(scheme=scheme))
        for component in cost_library(mapping, hw, TECHNOLOGY):
            for values in (component.layer_area_um2, component.layer_leakage_uW, *component.action_fJ.values()):
                assert np.isfinite(values).all()
                assert (values >= 0).all()
