"""Each knob alone moves the components that it should, by the stated law, and nothing else.

``control``, ``tile_bus`` and ``noc`` follow the others: a share of all logic, and wires as long as the floor plan. They
are left out of the tables and checked against the components they follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, mapped, moved, prices, small_design, small_macros, small_network

from spikeloop.simulator.config import UniformAdc
from spikeloop.simulator.cost.library import COMPONENTS, cost_library
from spikeloop.simulator.cost.table import cost_table
from spikeloop.simulator.cycle.actions import ACTIONS

SMALL = small_macros()
LOGIC = TECHNOLOGY.logic_prices
FOLLOWERS = ("control", "tile_bus", "noc")
Laws = dict[tuple[str, str], Any]


def memory_law(
    name: str, reads: str | None, writes: str, *, bits: tuple[int, int], word: tuple[int, int], macros: float = 1.0
) -> Laws:
    """Ratios of a memory in layer 0 whose macros (and their word) change their bits, ``macros`` times as many.

    What a macro costs has a twin in tests/property/test_prices.py.
    """
    a, b = (SMALL.macros.price(np.array([size]), np.array([wide])) for size, wide in zip(bits, word, strict=True))
    laws: Laws = {(name, "area"): float(macros * b.area_um2[0] / a.area_um2[0])}
    laws[name, writes] = [float(b.write_fJ[0] / a.write_fJ[0]), 1.0]
    if reads is not None:
        laws[name, reads] = [float(b.read_fJ[0] / a.read_fJ[0]), 1.0]
    return laws


def one_for_all(laws: Laws) -> Laws:
    """Laws of a memory that every layer shares."""
    return {key: [law[0]] * 2 if isinstance(law, list) else law for key, law in laws.items()}


def membrane(**change: Any) -> Laws:
    return memory_law("membrane_memory", "membrane_read_bits", "membrane_write_bits", **change)


def spike_buffer(**change: Any) -> Laws:
    return memory_law("spike_buffer", None, "spike_buffer_write_bits", **change)


def global_buffer(**change: Any) -> Laws:
    return one_for_all(memory_law("global_buffer", "global_buffer_read_bits", "input_load_bits", **change))


def neuron_um2(bits: int, adds: int, compared: int) -> float:
    """One lane."""
    return bits * adds * LOGIC.adder_um2 + compared * LOGIC.comparator_um2


def norm_fJ(bn_bits: int, constants: int) -> float:
    """Batch norm of a layer with sums of 5 bits that holds so many bits of constants in each of two tiles."""
    held = SMALL.macros.price(np.array([constants // 2]), np.array([2 * bn_bits]))
    logic = 5 * bn_bits * LOGIC.multiplier_fJ + (5 + bn_bits) * LOGIC.adder_fJ
    return float(logic + 2 * bn_bits * held.read_fJ[0])


def norm_um2(bn_bits: int, constants: int, lanes: int = 16) -> float:
    """The same in area: lanes of 5 tiles and two memories."""
    held = SMALL.macros.price(np.array([constants // 2]), np.array([2 * bn_bits]))
    logic = 5 * bn_bits * LOGIC.multiplier_um2 + (5 + bn_bits) * LOGIC.adder_um2
    return float(5 * lanes * logic + 2 * held.area_um2[0])


# The small network on 5 tiles: 4-bit weights in three slices, spikes of 1 plane into the convolution and sums of 3
# planes into the classifier, so codes of 4 + 2 + 0 + 1 = 7 and 4 + 2 + 2 + 1 = 9 bits behind 4-bit ADCs; sums of 5 and
# 10 bits; neurons of 8 + 4 + 2 = 14 bits and a classifier of 12; 4608 membrane bits in two homes of two banks.
DESIGN_KNOBS: list[tuple[str, tuple[Any, Any], Laws]] = [
    (
        "adc_bits",
        (4, 6),
        {
            ("adc", "area"): 10 ** (-0.0369 * 2) * 4,
            ("adc", "adc_conversion"): [604.096 / 400.256] * 2,
            ("shift_add", "area"): 11 / 9,
            ("shift_add", "shift_add"): [9 / 7, 11 / 9],
        },
    ),
    (
        "columns_per_adc",
        (8, 4),
        {
            ("column_mux", "count"): 2.0,
            ("column_mux", "area"): 2 * 3 / 7,
            ("column_mux", "adc_conversion"): [3 / 7] * 2,
            ("adc", "count"): 2.0,
            ("adc", "area"): 2.0,
            ("shift_add", "count"): 2.0,
            ("shift_add", "area"): 2.0,
        },
    ),
    (
        "lanes",
        (16, 32),
        {
            ("batch_norm", "count"): 2.0,
            ("batch_norm", "area"): norm_um2(8, 256, lanes=32) / norm_um2(8, 256),
            ("neuron", "count"): 2.0,
            ("neuron", "area"): 2.0,
            ("pooling", "count"): 2.0,
            ("pooling", "area"): 2.0,
        },
    ),
    ("pe_accumulator_lanes", (64, 32), {("pe_accumulator", "count"): 0.5, ("pe_accumulator", "area"): 0.5}),
    ("accumulator_lanes", (64, 32), {("tile_accumulator", "count"): 0.5, ("tile_accumulator", "area"): 0.5}),
    ("banks", (2, 4), membrane(bits=(1152, 576), word=(64, 64), macros=2.0) | {("membrane_memory", "count"): 2.0}),
    ("word_bits", (64, 32), membrane(bits=(1152, 1152), word=(64, 32))),
    ("ports", (1, 2), {}),
    ("slots", (2, 3), global_buffer(bits=(144, 216), word=(256, 256))),
    ("bus_bits", (256, 32), global_buffer(bits=(144, 144), word=(256, 32))),
    (
        "flit_bits",
        (64, 32),
        memory_law("spike_buffer", None, "spike_buffer_write_bits", bits=(216, 216), word=(64, 32)),
    ),
    ("input_bits_per_cycle", (64, 32), {("input_load", "area"): 0.5}),
    ("zero_skipping", ("row_group", "none"), {}),
    ("fifo_depth", (2, 4), {}),
    ("rows_active", (None, 8), {}),
    ("placement", ("greedy", "row_major"), {}),
]
NETWORK_KNOBS: list[tuple[str, tuple[Any, Any], Laws]] = [
    (
        "membrane_bits",
        (8, 6),
        membrane(bits=(1152, 864), word=(64, 64))
        | {
            ("neuron", "area"): neuron_um2(12, 2, 12) / neuron_um2(14, 2, 14),
            ("neuron", "neuron_update"): [12 / 14, 1.0],
        },
    ),
    (
        "guard_bits",
        (4, 6),
        {
            ("neuron", "area"): neuron_um2(16, 2, 16) / neuron_um2(14, 2, 14),
            ("neuron", "neuron_update"): [16 / 14, 1.0],
        },
    ),
    (
        "bn_bits",
        (8, 10),
        {
            ("batch_norm", "area"): norm_um2(10, 320) / norm_um2(8, 256),
            ("batch_norm", "bn_update"): [norm_fJ(10, 320) / norm_fJ(8, 256), 1.0],
        },
    ),
    (
        "steps_of_bn",
        (False, True),
        {
            ("batch_norm", "area"): norm_um2(8, 4 * 256) / norm_um2(8, 256),
            ("batch_norm", "bn_update"): [norm_fJ(8, 4 * 256) / norm_fJ(8, 256), 1.0],
        },
    ),
    (
        "reset",
        ("hard", "soft"),
        {
            ("neuron", "area"): neuron_um2(14, 3, 14) / neuron_um2(14, 2, 14),
            ("neuron", "neuron_update"): [
                (3 * LOGIC.adder_fJ + LOGIC.comparator_fJ) / (2 * LOGIC.adder_fJ + LOGIC.comparator_fJ),
                1.0,
            ],
        },
    ),
    ("n_timesteps", (4, 3), {}),
]


@pytest.mark.parametrize(("knob", "values", "laws"), DESIGN_KNOBS, ids=[knob[0] for knob in DESIGN_KNOBS])
def test_design_knob_moves_by_its_law_and_nothing_else(knob, values, laws):
    before, after = (prices(hw=small_design(**{knob: value}), technology=SMALL) for value in values)
    assert changes(before, after) == {key: pytest.approx(law, rel=1e-5) for key, law in laws.items()}
    for value, priced in zip(values, (before, after), strict=True):
        check_followers(priced, small_design(**{knob: value}))


@pytest.mark.parametrize(("knob", "values", "laws"), NETWORK_KNOBS, ids=[knob[0] for knob in NETWORK_KNOBS])
def test_network_knob_moves_by_its_law_and_nothing_else(knob, values, laws):
    before, after = (prices(small_network(**{knob: value}), technology=SMALL) for value in values)
    assert changes(before, after) == {key: pytest.approx(law, rel=1e-5) for key, law in laws.items()}
    for priced in (before, after):
        check_followers(priced, small_design())


def changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Laws:
    """(component, quantity) -> ratio after / before of everything that moved, followers and leakage left out."""
    found: Laws = {}
    for name in before.keys() - set(FOLLOWERS):
        a, b = before[name], after[name]
        for quantity in a.keys() - {"leakage_uW"}:
            if a[quantity] == b[quantity]:
                continue
            if quantity == "area_um2":
                found[name, "area"] = sum(b[quantity]) / sum(a[quantity])
            elif quantity == "count":
                found[name, "count"] = b[quantity] / a[quantity]
            else:
                pairs = zip(a[quantity], b[quantity], strict=True)
                found[name, quantity] = [1.0 if x == y else y / x for x, y in pairs]
    return found


def check_followers(priced: dict[str, dict[str, Any]], hw) -> None:
    """Control is a share of the logic; wires span the floor plan of 5 tiles."""
    area = {name: sum(row["area_um2"]) for name, row in priced.items()}
    whole = ("shift_add", "spike_counter", "pe_accumulator", "tile_accumulator", "neuron", "residual_adder", "pooling")
    tile_um2 = sum(area[name] for name in area if name not in ("tile_bus", "noc", "input_load", "global_buffer")) / 5
    bit_fJ = 0.5 * 0.2 * tile_um2**0.5 * 1.5
    assert priced["tile_bus"]["input_buffer_read_bits"] == pytest.approx([bit_fJ] * 2)
    assert priced["tile_bus"]["tile_add"] == pytest.approx([5 * bit_fJ, 10 * bit_fJ])
    wires = hw.tile.input_bus_bits + hw.tile.output_bus_bits
    # 4 PEs: one letter H of 1.5 sides.
    assert area["tile_bus"] == pytest.approx(5 * wires * 0.26 * 0.1 * 1.5 * tile_um2**0.5)
    side_um = ((tile_um2 * 5 + area["tile_bus"] + area["noc"]) / 5) ** 0.5
    router_fJ = TECHNOLOGY.energy_fJ(TECHNOLOGY.noc.router_fJ) / 256
    hop_fJ = hw.noc.flit_bits * (router_fJ + 0.5 * 0.2 * side_um)
    assert priced["noc"]["spike_flit_hops"] == pytest.approx([hop_fJ] * 2)
    for action, name in (("shift_add", "shift_add"), ("pe_add", "pe_accumulator"), ("neuron_update", "neuron")):
        assert priced["control"][action] == pytest.approx([0.22 * value for value in priced[name][action]])
    least = 0.25 * sum(area[name] for name in whole)
    assert least < area["control"] < least + 0.25 * area["batch_norm"]


def test_timesteps_cost_buffers_in_layer_major_only():
    hw = small_design(loop="layer_major")
    four, three = (prices(small_network(n_timesteps=t), hw, SMALL) for t in (4, 3))
    assert moved(four, three) - set(FOLLOWERS) == {"global_buffer", "input_buffer", "spike_buffer"}
    bits = SMALL.macros.price(np.array([4 * 216, 3 * 216]), np.array([64, 64])).area_um2
    ratio = sum(four["spike_buffer"]["area_um2"]) / sum(three["spike_buffer"]["area_um2"])
    assert ratio == pytest.approx(bits[0] / bits[1])


def test_held_currents_exist_for_direct_coding_with_several_steps_only():
    assert prices(small_network(static=True))["current_memory"]["count"] > 0
    assert sum(prices(small_network(static=True))["current_memory"]["area_um2"]) > 0
    assert prices(small_network(static=True, n_timesteps=1))["current_memory"]["count"] == 0
    assert prices(small_network())["current_memory"]["count"] == 0


def test_membrane_memory_is_neurons_times_bits_in_timestep_major():
    """16 x 36 neurons in two banks of each of two homes."""
    for bits, macro_bits in ((2, 288), (5, 720), (8, 1152)):
        held = SMALL.macros.price(np.array([macro_bits]), np.array([64]))
        priced = prices(small_network(membrane_bits=bits), technology=SMALL)["membrane_memory"]
        assert priced["area_um2"] == pytest.approx([4 * held.area_um2[0], 0.0, 0.0])
        assert priced["leakage_uW"] == pytest.approx([4 * held.leakage_uW[0], 0.0, 0.0])
        assert priced["membrane_read_bits"][0] == held.read_fJ[0]


def test_membrane_registers_are_lanes_times_bits_in_layer_major():
    hw = small_design(loop="layer_major", lanes=16)
    six, eight = (prices(small_network(membrane_bits=bits), hw) for bits in (6, 8))
    assert moved(six, eight) - set(FOLLOWERS) == {"membrane_memory", "neuron"}
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
    """Weights of -1, 0 and 1: the lowest of three one-bit slices holds a 1 where one three-bit cell holds 1 of 7."""
    one, three = (prices(hw=small_design(cell_bits=bits)) for bits in (1, 3))
    assert three["crossbar"]["area_um2"][0] < one["crossbar"]["area_um2"][0]
    shares = [(row["crossbar"]["cell_read"][0] / 0.64 - 0.1) / 0.9 for row in (one, three)]
    assert shares[0] / shares[1] == pytest.approx(7 / 3)


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


def test_offset_weights_need_counters_of_driven_wordlines():
    differential, offset = (prices(hw=small_design(scheme=scheme)) for scheme in ("differential", "offset"))
    assert differential["spike_counter"]["count"] == 0
    assert offset["spike_counter"]["count"] == offset["crossbar"]["count"] > 0
    assert sum(offset["spike_counter"]["area_um2"]) == pytest.approx(
        offset["crossbar"]["count"] * 5 * LOGIC.counter_um2
    )
    assert offset["spike_counter"]["input_count"] == pytest.approx([5 * LOGIC.counter_fJ] * 2)


@pytest.mark.parametrize("architecture", ["flash", "ramp"])
def test_architecture_moves_the_adc_only(architecture):
    hw = small_design(adc_bits=4)
    other = hw.model_copy(update={"adc": UniformAdc(bits=4, columns_per_adc=8, architecture=architecture)})
    assert moved(prices(hw=hw), prices(hw=other)) - set(FOLLOWERS) == {"adc"}


def test_cell_array_moves_the_cells_and_their_wordlines():
    hw = small_design()
    other = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"cell_array": "rram_selector_less"})})
    before, after = prices(hw=hw), prices(hw=other)
    assert moved(before, after) - set(FOLLOWERS) == {"crossbar", "wordline_driver"}
    assert after["wordline_driver"]["wordline_drive"] == pytest.approx([50 + 16 * 0.2 * 2 * 0.065] * 2)


def _tile(**knobs):
    """Prices of one tile by the nominal layer, so that the mapping does not change with the knob."""
    return {
        row.component: {"count": row.count, "area_um2": [row.area_um2]}
        for row in cost_table(small_design(**knobs), TECHNOLOGY)
    }


def test_without_sample_and_hold_the_cells_conduct_through_all_rounds():
    hw = small_design()
    without = hw.model_copy(update={"adc": UniformAdc(bits=4, columns_per_adc=8, sample_and_hold=False)})
    held, bare = prices(hw=hw), prices(hw=without)
    assert moved(held, bare) - set(FOLLOWERS) == {"sample_and_hold", "crossbar"}
    assert bare["sample_and_hold"]["area_um2"] == [0.0, 0.0, 0.0]
    assert bare["crossbar"]["cell_read"] == pytest.approx([8 * value for value in held["crossbar"]["cell_read"]])
    assert bare["crossbar"]["area_um2"] == held["crossbar"]["area_um2"]


def test_idle_pes_are_paid_for_and_belong_to_nobody():
    mapping, hw = mapped(hw=small_design(pes_per_tile=7, sharing="exclusive"))
    crossbar = next(part for part in cost_library(mapping, hw, TECHNOLOGY) if part.name == "crossbar")
    assert crossbar.count == mapping.n_tiles * 7 * hw.tile.crossbars_per_pe
    per_pe = 2 * 16 * 16 * 53 * 0.065**2
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
