"""Energy and area of a macro: worked by hand, against a loop over values, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.cost.macro import (
    OperatingPoint,
    ValueStatistics,
    converted_bits,
    macro_area,
    macro_cost,
    phases,
    value_statistics,
)
from spikeloop.simulator.cost.macro_config import Calibration, MacroConfig, load_calibration, load_macro
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec


def entry(value):
    return {"value": value, "source": "test", "year": 2026, "node_nm": 65, "status": "read"}


def line(**fields):
    named = {"driver_fF": 10, "cell_fF": 1, "wire_fF_per_um": 0.5, "pitch_um": 2}
    return {"lines": 4, "cells": 8, **{key: entry(value) for key, value in (named | fields).items()}}


def small(**changes):
    """4 inputs, 8 columns; every load a round number."""
    fields = {
        "name": "small",
        "source": "test",
        "node_nm": 65,
        "inputs": 4,
        "columns": 8,
        "stored": 32,
        "operations": 64,
        "coding": "bit_serial",
        "vdd_V": entry(2),
        "cell": {"kind": "capacitive", "charge_fF": entry(3)},
        "adc": {
            "kind": "conversion",
            "count": 2,
            "conversions": 8,
            "bits": 3,
            "linear_fF": entry(10),
            "power_fF": entry(0.5),
            "area_bits": 3,
            "area_um2": entry(10),
            "area_decade_ratio": 0.0,
            "area_node_ratio": entry(0.5),
        },
        "area": {"cell_um2": entry(0.25)},
    }
    return validate_spec(MacroConfig, {**fields, **changes}, where="test")


def point(pulses=0.5, charges=0.25, input_bits=2, output_bits=3, **fields):
    values = ValueStatistics(pulses=pulses, charges=charges)
    return OperatingPoint(values=values, input_bits=input_bits, output_bits=output_bits, **fields)


def test_a_capacitive_macro_by_hand():
    """2 planes at 2 V (V^2 = 4). Input line: 10 + 8 (1 + 2 x 0.5) = 26 fF; 4 lines x 2 x 0.5 x 26 x 4 = 416 fJ.

    Cells: 32 x 2 x 0.25 x 3 x 4 = 192 fJ. ADC: 8 x 2 conversions of (30 + 0.5 x 64) = 62 fF: 16 x 62 x 4 = 3968 fJ.
    """
    cost = macro_cost(small(input_line=line()), point())
    assert cost.energy_fJ == pytest.approx({"input_line": 416, "cell": 192, "adc": 3968}, rel=1e-12)
    assert cost.total_fJ == pytest.approx(4576, rel=1e-12)
    assert cost.tops_per_W == pytest.approx(1000 * 64 / 4576, rel=1e-12)


def test_a_conductive_macro_by_hand():
    """One plane of 0.5 V for 10 ns: 32 cells x (0.5 x 1 + 0.25 x (41 - 1)) uS x 0.25 x 10 = 840 fJ."""
    cell = {
        "kind": "conductive",
        "conductance_min_uS": entry(1),
        "conductance_max_uS": entry(41),
        "read_V": entry(0.5),
        "pulse_ns": entry(10),
    }
    assert macro_cost(small(cell=cell), point(input_bits=1)).energy_fJ["cell"] == pytest.approx(840, rel=1e-12)


def test_an_integrating_macro_by_hand():
    """6-bit ternary inputs: 5 magnitude bits in phases of 3 and 2: 7 + 3 = 10 steps, 2 samples, 8 + 5 = 13 bit steps.

    Select lines swing 1 to 3 V in each of 5 planes: 4 x 5 x 26 x (3 - 1) x 3 = 3120 fJ.
    """
    integrator = {"count": 8, "step_fF": entry(5), "sample_fF": entry(7), "max_phase_bits": 3}
    adc = {**small().adc.model_dump(), "kind": "charge_step", "bits": None}
    macro = small(
        coding="ternary_serial", integrator=integrator, adc=adc, select_line={**line(high_V=3, low_V=1), "lines": 4}
    )
    used = point(input_bits=6, output_bits=8)
    assert phases(macro, 6, one_phase=False) == (3, 2)
    assert phases(macro, 6, one_phase=True) == (5,)
    assert phases(macro, 4, one_phase=False) == (3,)
    assert converted_bits(macro, used) == 13
    energy = macro_cost(macro, used).energy_fJ
    assert energy["select_line"] == pytest.approx(3120, rel=1e-12)
    assert energy["integrator"] == pytest.approx(8 * 10 * 5 * 4, rel=1e-12)
    assert energy["sample"] == pytest.approx(8 * 2 * 7 * 4, rel=1e-12)
    assert energy["adc"] == pytest.approx(8 * 13 * 10 * 4, rel=1e-12)


def test_a_ladder_conducts_for_the_cycle_and_a_load_does_not():
    """Ladder: 4 inputs x (2 x 0.5)^2 V^2 x 100 uS x 3 ns = 1200 fJ; load: 4 x 2 planes x 2 bits x 5 fF x 4 = 320 fJ."""
    ladder = {"bits": 2, "ladder_uS": entry(100), "supply_ratio": entry(0.5)}
    parallel = small(coding="parallel", dac=ladder)
    assert macro_cost(parallel, point(cycle_ns=3.0)).energy_fJ["dac"] == pytest.approx(1200, rel=1e-12)
    loaded = small(dac={"bits": 2, "bit_fF": entry(5)})
    assert macro_cost(loaded, point()).energy_fJ["dac"] == pytest.approx(320, rel=1e-12)


def test_adders_and_banks_by_hand():
    """2 planes x (6 x 2 + 3 x 1) fF x 4 V^2 = 120 fJ, in 5 banks 600 fJ; area (6 x 7 + 3 x 2) x 5 = 240 um2."""
    adder = {
        "full_adders": 6,
        "register_bits": 3,
        **{key: entry(value) for key, value in {"full_adder_fF": 2, "full_adder_um2": 7}.items()},
        **{key: entry(value) for key, value in {"register_fF": 1, "register_um2": 2}.items()},
    }
    macro = small(adder=adder, banks=5)
    assert macro_cost(macro, point()).energy_fJ["adder"] == pytest.approx(600, rel=1e-12)
    area = macro_area(macro)
    assert area["adder"] == pytest.approx(240, rel=1e-12)
    assert area["cell"] == pytest.approx(5 * 32 * 0.25, rel=1e-12)
    assert area["adc"] == pytest.approx(5 * 2 * 10 * 8 * 0.5, rel=1e-12)


def test_factors_scale_their_own_part_and_no_other():
    factor = {"value": 3.0, "source": "test", "year": 2026, "status": "derived"}
    calibration = validate_spec(
        Calibration,
        {"name": "c", "source": "test", "energy": {"cell": factor}, "area": {"adc": factor}},
        where="test",
    )
    macro = small(input_line=line())
    plain, fitted = macro_cost(macro, point()).energy_fJ, macro_cost(macro, point(), calibration).energy_fJ
    assert fitted == pytest.approx({**plain, "cell": 3 * plain["cell"]}, rel=1e-12)
    area, fitted_area = macro_area(macro), macro_area(macro, calibration)
    assert fitted_area == pytest.approx({**area, "adc": 3 * area["adc"]}, rel=1e-12)


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(["bit_serial", "ternary_serial", "pulse_count", "parallel"]),
    st.integers(0, 2**32 - 1),
)
def test_statistics_give_the_charge_of_a_loop_over_every_cell(rows, columns, bits, coding, seed):
    """Energy of the cells from the means equals charge by charge addition over products, planes, rows and columns."""
    rng = np.random.default_rng(seed)
    signed = coding == "ternary_serial"
    top = 2 ** (bits - 1) - 1 if signed and bits > 1 else 2**bits - 1
    inputs = rng.integers(-top if signed else 0, top + 1, (3, rows))
    codes = rng.integers(0, 8, (rows, columns))
    charge_fJ = 0.0
    for product in inputs:
        for row, value in enumerate(product):
            size = abs(int(value))
            events = {"pulse_count": size, "parallel": size / (2**bits - 1)}.get(coding, bin(size).count("1"))
            for column in range(columns):
                charge_fJ += events * codes[row, column] / 7 * 3 * 4 / len(inputs)
    macro = small(coding=coding, inputs=rows, columns=columns)
    values = value_statistics(macro, inputs, codes, input_bits=bits, code_max=7)
    used = OperatingPoint(values=values, input_bits=bits, output_bits=3)
    assert macro_cost(macro, used).energy_fJ["cell"] == pytest.approx(charge_fJ, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("macro", "used", "sentence"),
    [
        ({}, {"input_bits": 17}, "macro small: input_bits=17; allowed 1 to 16"),
        ({}, {"output_bits": 0}, "macro small: output_bits=0; allowed 1 to 16"),
        ({}, {"pulses": 1.5}, r"values.pulses=1.5 and values.charges=0.25; bit_serial inputs of 2 bits allow 0 to 1"),
        ({"coding": "pulse_count"}, {"pulses": 4.0}, "pulse_count inputs of 2 bits allow 0 to 3"),
        ({}, {"vdd_V": 0.0}, "macro small: vdd_V=0; a supply is positive"),
        ({}, {"one_phase": True}, "one_phase is for macros with an integrator"),
        (
            {"dac": {"bits": 2, "ladder_uS": entry(100), "supply_ratio": entry(0.5)}},
            {},
            "dac.ladder_uS conducts for a cycle and cycle_ns=None; give its length",
        ),
    ],
)
def test_a_point_that_a_macro_cannot_do_is_refused_in_one_sentence(macro, used, sentence):
    with pytest.raises(ConfigError, match=sentence):
        macro_cost(small(**macro), point(**used))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dac": {"bits": 2}}, "give either bit_fF or ladder_uS"),
        ({"dac": {"bits": 2, "ladder_uS": entry(1)}}, "ladder_uS and supply_ratio go together"),
        ({"adc": {**small().adc.model_dump(), "kind": "charge_step"}}, "charge_step and integrator go together"),
        ({"vdd_V": {"value": 1.0, "year": 2026, "node_nm": 65, "status": "read"}}, "vdd_V.source"),
    ],
)
def test_a_macro_that_does_not_fit_together_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        small(**changes)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("energy", "energy.bitline: unknown part; known are select_line, input_line"),
        ("area", "area.bitline: unknown part; known are cell, adc, driver, adder"),
    ],
)
def test_an_unknown_part_of_a_calibration_is_refused(kind, sentence):
    factor = {"value": 3.0, "source": "test", "year": 2026, "status": "derived"}
    with pytest.raises(ConfigError, match=sentence):
        validate_spec(Calibration, {"name": "c", "source": "t", kind: {"bitline": factor}}, where="c.yaml")


def test_every_shipped_macro_and_calibration_loads_and_a_wrong_name_is_refused():
    assert len([load_macro(name) for name in shipped_files("macros")]) >= 7
    assert len([load_calibration(name) for name in shipped_files("calibration")]) >= 5
    with pytest.raises(ConfigError, match="neither a file nor a preset of hwconfigs/macros; did you mean 'wang_2022'"):
        load_macro("wang_202")
