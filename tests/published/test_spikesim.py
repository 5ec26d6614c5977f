"""The SpikeSim program's printed numbers, and what each fix of one of its defects moves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.spikesim_twin import spikesim_twin
from spikesim_cases import NETS, PRINTED

from spikeloop.simulator.compat.spikesim import SpikeSimEstimate, estimate_spikesim
from spikeloop.simulator.compat.spikesim_fixes import FIXES
from spikeloop.simulator.compat.spikesim_input import SpikeSimInput, load_spikesim_input
from spikeloop.simulator.compat.spikesim_numbers import load_spikesim_numbers
from spikeloop.simulator.compat.spikesim_warnings import fix_effects, fixed_totals, is_changed, spikesim_warnings

NUMBERS = load_spikesim_numbers()
REL = 1e-9


def spikesim_input(
    net: str,
    size: int = 64,
    kernel: int = 3,
    pes: int = 8,
    steps: int = 5,
    clock: float = 250,
    device: str = "rram",
    fix: tuple[str, ...] = (),
) -> SpikeSimInput:
    in_ch, out_ch, in_dim, out_dim = NETS[net]
    return SpikeSimInput(
        in_ch_list=in_ch,
        out_ch_list=out_ch,
        in_dim_list=in_dim,
        out_dim_list=out_dim,
        xbar_size=size,
        kernel_size=kernel,
        pe_per_tile=pes,
        time_steps=steps,
        clk_freq=clock,
        device=device,
        fix=list(fix),
    )


def estimate(net: str, *fix: str, **changed: object) -> SpikeSimEstimate:
    return estimate_spikesim(spikesim_input(net, fix=fix, **changed), NUMBERS)


@pytest.mark.parametrize("case", PRINTED, ids=lambda case: "-".join(str(part) for part in case[:7]))
def test_equals_what_the_program_prints(case):
    *arguments, pes, tiles, area_um2, energy_pJ, latency_ns = case
    found = estimate_spikesim(spikesim_input(*arguments), NUMBERS)
    assert (found.n_pes, found.n_tiles) == (pes, tiles)
    assert found.area_um2 == pytest.approx(area_um2, rel=REL)
    assert found.energy_fJ / 1000 == pytest.approx(energy_pJ, rel=REL)
    assert found.latency_ns == pytest.approx(latency_ns, rel=REL)


def test_shipped_example_and_its_layers():
    found = estimate_spikesim(load_spikesim_input("vgg9_spikesim"), NUMBERS)
    assert [layer.energy_fJ / 1000 for layer in found.layers] == pytest.approx(
        [
            4241849.073664,
            1060462.268416,
            2120924.536832,
            1060462.268416,
            2120924.536832,
            4241849.073664,
            1060462.268416,
        ],
        rel=REL,
    )
    assert found.latency_ns == 62832640.0
    assert found.parts_area_um2["membrane_memory"] == pytest.approx(2264460.4928, rel=REL)


layer_lists = st.lists(
    st.tuples(st.integers(1, 600), st.integers(1, 600), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=16
)
inputs = st.builds(
    lambda layers, **rest: SpikeSimInput(
        in_ch_list=[layer[0] for layer in layers],
        out_ch_list=[layer[1] for layer in layers],
        in_dim_list=[layer[2] for layer in layers],
        out_dim_list=[layer[3] for layer in layers],
        **rest,
    ),
    layer_lists,
    xbar_size=st.integers(1, 520),
    kernel_size=st.integers(1, 7),
    pe_per_tile=st.integers(1, 40),
    time_steps=st.integers(1, 30),
    clk_freq=st.one_of(st.integers(1, 2000), st.floats(0.5, 2000)),
    device=st.sampled_from(["rram", "sram"]),
)


@given(inputs)
@settings(max_examples=300)
def test_equals_the_twin_on_any_layer_list(drawn):
    found = estimate_spikesim(drawn, NUMBERS)
    pes, tiles, area_um2, layer_energy_pJ, latency_ns = spikesim_twin(**drawn.resolved())
    assert (found.n_pes, found.n_tiles) == (pes, tiles)
    assert found.area_um2 == pytest.approx(area_um2, rel=REL)
    assert [layer.energy_fJ / 1000 for layer in found.layers] == pytest.approx(layer_energy_pJ, rel=REL)
    assert found.energy_fJ / 1000 == pytest.approx(sum(layer_energy_pJ), rel=REL)
    assert found.latency_ns == pytest.approx(latency_ns, rel=REL)


@given(inputs, st.sets(st.sampled_from(sorted(FIXES))))
def test_parts_add_up(drawn, fixes):
    found = estimate_spikesim(drawn.model_copy(update={"fix": sorted(fixes)}), NUMBERS)
    assert math.fsum(found.parts_area_um2.values()) == pytest.approx(found.area_um2, rel=1e-12)
    assert math.fsum(found.parts_energy_fJ.values()) == pytest.approx(found.energy_fJ, rel=1e-12)


@given(inputs, st.sets(st.sampled_from(sorted(FIXES))))
def test_a_fix_moves_only_what_it_says(drawn, others):
    given_input = drawn.model_copy(update={"fix": sorted(others)})
    found = estimate_spikesim(given_input, NUMBERS)
    for effect in fix_effects(given_input, NUMBERS):
        pairs = {
            "area": (found.area_um2, effect.area_um2),
            "energy": (found.energy_fJ, effect.energy_fJ),
            "latency": (found.latency_ns, effect.latency_ns),
        }
        moved = {what for what, (old, new) in pairs.items() if is_changed(old, new)}
        assert moved <= set(FIXES[effect.name].moves), effect.name


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_moves_all_that_it_says(name):
    """Every defect touches this: 12.5 ADCs, shared tiles, and a last layer that ends before the one it reads."""
    drawn = spikesim_input("vgg13", size=100, pes=4, device="sram")
    drawn = drawn.model_copy(update={"out_dim_list": [*drawn.out_dim_list[:-2], 8, 1]})
    found, effect = estimate_spikesim(drawn, NUMBERS), fixed_totals(drawn, NUMBERS, [name], name)
    changed = {
        "area": is_changed(found.area_um2, effect.area_um2),
        "energy": is_changed(found.energy_fJ, effect.energy_fJ),
        "latency": is_changed(found.latency_ns, effect.latency_ns),
    }
    assert changed == {what: what in FIXES[name].moves for what in changed}


def test_sram_energy_by_hand():
    """3840 PE cycles a step x 5 steps x 9 crossbars x 8 reads x 3.328 pJ, instead of 671.089 pJ."""
    old, new = estimate("vgg9", device="sram"), estimate("vgg9", "sram_energy", device="sram")
    assert old.parts_energy_fJ["crossbar"] == pytest.approx(19200 * 72 * 671089, rel=REL)
    assert new.parts_energy_fJ["crossbar"] == pytest.approx(19200 * 72 * 3328, rel=REL)
    assert NUMBERS.fixed.crossbar_sram_fJ.value == pytest.approx(4096 * 0.35 * 65 / 28, rel=1e-12)


def test_subtractor_energy_by_hand():
    """8 subtractors x 16 x 1.15 pJ = 147.2 pJ a PE cycle."""
    assert estimate("vgg9", "subtractor_energy").parts_energy_fJ["subtractor"] == pytest.approx(19200 * 147200, rel=REL)


def test_adc_conversions_by_hand():
    """X = 32: 8 reads instead of 4, 32 conversions instead of 16; 13312 PE cycles a step. At 64 nothing changes."""
    old, new = estimate("vgg9", size=32), estimate("vgg9", "adc_conversions", size=32)
    assert old.parts_energy_fJ["adc"] == pytest.approx(66560 * 16 * 2030.84, rel=REL)
    assert new.parts_energy_fJ["adc"] == pytest.approx(66560 * 32 * 2030.84, rel=REL)
    assert new.parts_energy_fJ["crossbar"] == pytest.approx(66560 * 72 * 1764.23, rel=REL)
    assert estimate("vgg9", "adc_conversions") == estimate("vgg9")


def test_whole_adcs_by_hand():
    """X = 100: 13 ADCs a PE instead of 12.5; 32 PEs in 4 tiles of 8."""
    old, new = estimate("vgg9", size=100), estimate("vgg9", "whole_adcs", size=100)
    assert old.parts_area_um2["adc"] == pytest.approx(32 * 12.5 * 693.633, rel=REL)
    assert new.parts_area_um2["adc"] == pytest.approx(32 * 13 * 693.633, rel=REL)
    assert estimate("vgg9", "whole_adcs", size=128) == estimate("vgg9", size=128)


def test_crossbar_size_by_hand():
    """X = 128 has 4 times the cells; at 64 nothing changes."""
    old, new = estimate("vgg9", size=128), estimate("vgg9", "crossbar_size", size=128)
    for part in ("parts_area_um2", "parts_energy_fJ"):
        assert getattr(new, part)["crossbar"] == pytest.approx(4 * getattr(old, part)["crossbar"], rel=REL)
    assert estimate("vgg9", "crossbar_size") == estimate("vgg9")


def test_pre_pool_outputs_equals_the_program_with_those_outputs():
    new = estimate("vgg9", "pre_pool_outputs")
    assert new.area_um2 == pytest.approx(9624360.781434, rel=REL)
    assert new.energy_fJ == pytest.approx(25451094441.984005, rel=REL)
    assert new.latency_ns == pytest.approx(97976320.0, rel=REL)


def test_a_convolution_without_padding_is_not_taken_for_pooling():
    assert estimate("two_layers", "pre_pool_outputs") == estimate("two_layers")
    drawn = spikesim_input("odd_pair").model_copy(update={"out_dim_list": [15, 9]})
    assert [
        layer.out_dim
        for layer in estimate_spikesim(drawn.model_copy(update={"fix": ["pre_pool_outputs"]}), NUMBERS).layers
    ] == [15, 9]


def test_latency_units_by_hand():
    """Positions 1024, 256, 256, 64, 64, 64, 16: (0.75 x 1728 + 16) x 5 steps x 104 ns."""
    assert estimate("vgg9", "latency_units").latency_ns == (1296 + 16) * 5 * 104


def test_latest_end_by_hand():
    """Layer 1: 4 x 4 x 8 outputs end at 128 cycles; layer 2 starts at 96 and ends after 2 x 2 x 1 at 100."""
    drawn = SpikeSimInput(
        in_ch_list=[8, 8],
        out_ch_list=[8, 1],
        in_dim_list=[4, 4],
        out_dim_list=[4, 2],
        xbar_size=8,
        kernel_size=3,
        pe_per_tile=1,
        time_steps=1,
        clk_freq=1000,
        device="rram",
    )
    assert estimate_spikesim(drawn, NUMBERS).latency_ns == 100 * 26
    fixed = drawn.model_copy(update={"fix": ["latest_end"]})
    assert estimate_spikesim(fixed, NUMBERS).latency_ns == 128 * 26


def test_membrane_all_layers_by_hand():
    """159744 neurons after pooling x 22 bits x 0.7391 um2."""
    neurons = 65536 + 16384 + 32768 + 8192 + 16384 + 16384 + 4096
    new = estimate("vgg9", "membrane_all_layers")
    assert new.parts_area_um2["membrane_memory"] == pytest.approx(neurons * 22 * 0.7391, rel=REL)


def test_membranes_of_all_layers_before_pooling():
    """245760 neurons x 22 bits x 0.7391 um2 = 3,996,107 um2."""
    both = estimate("vgg9", "membrane_all_layers", "pre_pool_outputs")
    assert both.parts_area_um2["membrane_memory"] == pytest.approx(3996106.75, rel=1e-8)


def test_membrane_bits_by_hand():
    """Largest sums 9 x 3 x 8 x 255 = 55080 (16 bits and a sign), 9 x 64 x 8 = 4608 (13) and 9 x 128 x 8 = 9216 (14)."""
    bits = 65536 * 17 + 16384 * 14 + 32768 * 14 + 8192 * 15 + 16384 * 15
    assert estimate("vgg9", "membrane_bits").parts_area_um2["membrane_memory"] == pytest.approx(bits * 0.7391, rel=REL)


def test_spike_bits_by_hand():
    """3 x 32 x 32 pixels of 8 bits; the other maps hold 65536, 16384, 32768, 8192, 16384 and 16384 spikes."""
    bits = 3072 * 8 + 65536 + 16384 + 32768 + 8192 + 16384 + 16384
    assert estimate("vgg9", "spike_bits").parts_area_um2["input_memory"] == pytest.approx(bits * 0.7391, rel=REL)


def test_direct_coding_by_hand():
    """The first layer costs a fifth, and its 75 % take one step instead of five: 4 x 49152 cycles less."""
    old, new = estimate("vgg9"), estimate("vgg9", "direct_coding")
    assert new.layers[0].energy_fJ == pytest.approx(old.layers[0].energy_fJ / 5, rel=REL)
    assert [layer.energy_fJ for layer in new.layers[1:]] == [layer.energy_fJ for layer in old.layers[1:]]
    assert old.latency_ns - new.latency_ns == 4 * 49152 * 104


def test_neuron_partial_sums_by_hand():
    """Output blocks 1, 1, 2, 2, 4, 4, 4 over 1024, 256, 256, 64, 64, 64 and 16 positions, 5 steps, 5.096 pJ."""
    sums = 1024 + 256 + 512 + 128 + 256 + 256 + 64
    new = estimate("vgg9", "neuron_partial_sums")
    assert new.parts_energy_fJ["neuron"] == pytest.approx(5 * sums * 5096, rel=REL)


def test_tile_sharing_by_hand():
    """1, 1, 2, 4, 8, 16 and 16 PEs in tiles of 8 that no layer shares: 1 + 1 + 1 + 1 + 1 + 2 + 2."""
    assert estimate("vgg9", "tile_sharing").n_tiles == 9


def test_htree_size_by_hand():
    """Twice the PEs: twice the area a tile, root of two of the energy; the tile of the program is unchanged."""
    old, new = estimate("vgg9", pes=16), estimate("vgg9", "htree_size", pes=16)
    assert new.parts_area_um2["htree"] == pytest.approx(2 * old.parts_area_um2["htree"], rel=REL)
    assert new.parts_energy_fJ["htree"] == pytest.approx(2**0.5 * old.parts_energy_fJ["htree"], rel=REL)
    assert estimate("vgg9", "htree_size") == estimate("vgg9")
    half = estimate("vgg9", "htree_size", size=32), estimate("vgg9", size=32)
    assert half[0].parts_area_um2["htree"] == pytest.approx(half[1].parts_area_um2["htree"] / 2, rel=REL)
    assert half[0].parts_energy_fJ["htree"] == pytest.approx(half[1].parts_energy_fJ["htree"] / 8**0.5, rel=REL)


def _named(drawn: SpikeSimInput) -> list[str]:
    return [line.split(":")[0] for line in spikesim_warnings(drawn, NUMBERS)]


def test_warnings_name_the_defects_that_touch_this_input():
    always = {"subtractor_energy", "latency_units", "membrane_bits", "spike_bits", "direct_coding"}
    pooled = {"pre_pool_outputs", "membrane_all_layers", "neuron_partial_sums", "tile_sharing"}
    assert set(_named(spikesim_input("vgg9"))) == always | pooled
    assert set(_named(spikesim_input("vgg9", 128, device="sram"))) == always | pooled | {
        "sram_energy",
        "adc_conversions",
        "crossbar_size",
        "htree_size",
    }
    assert set(_named(spikesim_input("two_layers"))) == always | {"tile_sharing"}
    assert _named(spikesim_input("vgg9", fix=tuple(FIXES))) == []


@pytest.mark.parametrize(
    ("in_ch", "out_ch", "size", "name", "words"),
    [
        ([3, 256, 64], [256, 64, 64], 64, "layer_order", "layer 3 has 1 PEs after 4 of layer 2"),
        ([64, 3], [64, 64], 64, "layer_order", "prints no latency"),
        ([3, 64], [64, 64], 512, "small_layers", "never ends"),
        ([64] * 13, [64] * 13, 64, "many_layers", "13 layers"),
        ([64] * 12, [64] * 12, 64, None, ""),
    ],
)
def test_where_the_program_stops_is_said_and_the_formula_goes_on(in_ch, out_ch, size, name, words):
    n = len(in_ch)
    drawn = SpikeSimInput(
        in_ch_list=in_ch,
        out_ch_list=out_ch,
        in_dim_list=[8] * n,
        out_dim_list=[8] * n,
        xbar_size=size,
        kernel_size=3,
        pe_per_tile=8,
        time_steps=2,
        clk_freq=250,
        device="rram",
    )
    stops = [line for line in spikesim_warnings(drawn, NUMBERS) if line.split(":")[0] not in FIXES]
    assert len(stops) == (name is not None)
    assert all(line.startswith(f"{name}: ") and words in line for line in stops)
    outputs = [64 * channels for channels in out_ch]
    cycles = sum(2 * (3 * output // 4) for output in outputs[:-1]) + 2 * outputs[-1]
    assert estimate_spikesim(drawn, NUMBERS).latency_ns == pytest.approx(cycles * 104, rel=1e-12)


def test_unsorted_layers_cost_what_sorted_ones_do():
    lists = {"in_dim_list": [8, 8, 8], "out_dim_list": [8, 8, 8]}
    rest = {"xbar_size": 64, "kernel_size": 3, "pe_per_tile": 8, "time_steps": 2, "clk_freq": 250, "device": "rram"}
    up = SpikeSimInput(in_ch_list=[3, 64, 256], out_ch_list=[64, 64, 64], **lists, **rest)
    down = SpikeSimInput(in_ch_list=[256, 64, 3], out_ch_list=[64, 64, 64], **lists, **rest)
    for name in ("area_um2", "energy_fJ", "n_tiles"):
        assert getattr(estimate_spikesim(up, NUMBERS), name) == pytest.approx(
            getattr(estimate_spikesim(down, NUMBERS), name), rel=1e-12
        )
