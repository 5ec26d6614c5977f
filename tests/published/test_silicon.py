"""The macro model against seven published macros: what it reaches with fitted factors on points that no fit has seen.

Tolerances are what docs/results/validation.md states, rounded up; they hold the model to its present error and are no
claim of more. Points, sources and roles stand in tests/published/data.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from silicon_cases import AIMC, DATA, published, rows, sinangil_values

from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.cost import components as c
from spikeloop.simulator.cost.macro import macro_area, macro_cost, value_statistics
from spikeloop.simulator.cost.macro_config import load_calibration, load_macro
from spikeloop.simulator.cost.technology import load_technology

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import validation_fit

CALIBRATED, UNCALIBRATED = rows(calibrated=True), rows(calibrated=False)


def errors(found, chip, quantity, role="hold_out"):
    return [abs(row.error) for row in found if (row.chip, row.quantity, row.role) == (chip, quantity, role)]


@pytest.mark.parametrize(
    ("chip", "quantity", "count", "mean", "largest"),
    [
        # NeuRRAM (Nature 2022): energy of an operation; the largest is one-phase operation at 8 and 6 bits.
        ("neurram", "total_fJ", 7, 0.075, 0.27),
        ("neurram", "wordline_fJ", 5, 0.05, 0.08),
        ("neurram", "neuron_fJ", 5, 0.06, 0.10),
        ("neurram", "input_fJ", 5, 0.06, 0.07),
        # Jia (JSSC 2020): 1.2 V from 0.85 V.
        ("jia_2020", "total_fJ", 1, 0.05, 0.05),
        ("jia_2020", "array_fJ", 1, 0.06, 0.06),
        ("jia_2020", "adc_fJ", 1, 0.005, 0.005),
        # Wang (VLSI 2022): four supplies from 1.0 V.
        ("wang_2022", "total_fJ", 4, 0.08, 0.11),
        # Sinangil (JSSC 2021): output values, and the sweep of the supply.
        ("sinangil_2021", "value_fJ", 6, 0.04, 0.08),
        ("sinangil_2021", "supply_fJ", 8, 0.03, 0.08),
    ],
)
def test_calibrated_energy_of_points_that_no_fit_has_seen(chip, quantity, count, mean, largest):
    found = errors(CALIBRATED, chip, quantity)
    assert len(found) == count
    assert np.mean(found) <= mean
    assert max(found) <= largest


def test_calibrated_energy_meets_its_goal_on_every_chip_with_points_to_hold_out():
    """Goal: a mean error of 10 % a chip. Chips with one point each (ZigZag-IMC's) cannot take part: see below."""
    for chip, quantity in (
        ("neurram", "total_fJ"),
        ("jia_2020", "total_fJ"),
        ("wang_2022", "total_fJ"),
        ("sinangil_2021", "value_fJ"),
        ("sinangil_2021", "supply_fJ"),
    ):
        assert np.mean(errors(CALIBRATED, chip, quantity)) < 0.10, chip


def test_a_factor_of_one_chip_does_not_carry_over_to_another():
    """AIMC2's factor misses AIMC1 and AIMC3 by more than 80 %, which generic loads predict within 12 % and 2 %."""
    for chip, plain in (("aimc1", 0.12), ("aimc3", 0.02)):
        assert errors(UNCALIBRATED, chip, "total_fJ")[0] <= plain
        assert errors(CALIBRATED, chip, "total_fJ")[0] > 0.8


@pytest.mark.parametrize(
    ("name", "mac_fJ", "area_mm2"),
    [("aimc1", 1.6951, 0.9993), ("aimc2", 936.6081, 0.4567), ("aimc3", 108.5165, 1.9638)],
)
def test_generic_loads_give_what_zigzag_imc_computes(name, mac_fJ, area_mm2):
    """Its aimc1-3_cost_estimation (commit df34a6f) print these; AIMC1's area less 0.2450 mm2 of pulse generators.

    The formulas and the assumed toggle rates are the same, so this holds our transcription, not the physics.
    """
    macro = load_macro(name)
    assert 2 * macro_cost(macro, AIMC[name]).total_fJ / macro.operations == pytest.approx(mac_fJ, rel=1e-4)
    assert sum(macro_area(macro).values()) / 1e6 == pytest.approx(area_mm2, rel=2e-4)


def test_energy_by_output_value_needs_the_values():
    """Sinangil (JSSC 2021), Fig. 13a: a fixed average (that of value 6) errs by 15 %, values by 4 % (held-out mean)."""
    points = [row for row in CALIBRATED if row.quantity == "value_fJ"]
    average = next(row.published for row in points if row.label == "value 6")
    fixed = [abs(average / row.published - 1) for row in points if row.role == "hold_out"]
    assert np.mean(errors(CALIBRATED, "sinangil_2021", "value_fJ")) < 0.3 * np.mean(fixed)
    every = [abs(average / row.published - 1) for row in points]
    assert max(every) > 0.7  # at value 0
    assert max(abs(row.error) for row in points) < 0.08


def test_uncalibrated_energy_lies_within_a_factor_of_four():
    totals = [row for row in UNCALIBRATED if row.quantity in ("total_fJ", "value_fJ", "supply_fJ")]
    assert len(totals) > 30
    for row in totals:
        if row.chip != "aimc2":  # 7 times the published value; ZigZag-IMC's own script gives as much
            assert abs(math.log(row.predicted / row.published)) < math.log(4), row


def test_area_of_two_macros_within_eight_percent_and_what_misses_the_goal():
    """Converters of Jia and the whole of AIMC3 come within 8 %; cells with compute circuits do not come within half."""
    area = {(row.chip, row.label): row.error for row in CALIBRATED if row.quantity == "area_um2"}
    assert abs(area["jia_2020", "adc"]) < 0.08
    assert abs(area["aimc3", "aimc3"]) < 0.08
    assert area["aimc1", "aimc1"] < -0.4
    assert all(area[chip, "cells"] < -0.5 for chip in ("neurram", "jia_2020", "wang_2022", "sinangil_2021"))


@pytest.mark.parametrize("name", validation_fit.FITS)
def test_shipped_factors_are_those_of_the_named_fit_points(name):
    fitted, shipped = validation_fit.document(name), load_calibration(name)
    for kind in ("energy", "area"):
        assert {part: factor.value for part, factor in getattr(shipped, kind).items()} == pytest.approx(
            {part: factor["value"] for part, factor in fitted[kind].items()}, rel=1e-4
        )


def test_at_most_three_points_a_series_are_fitted_and_more_are_held_out():
    for path in DATA.glob("*.yaml"):
        series = yaml.safe_load(path.read_text(encoding="utf-8"))["series"]
        roles = [point["role"] for name in series for point in series[name]["points"]]
        assert set(roles) == {"fit", "hold_out"}
        for name in series:
            assert sum(point["role"] == "fit" for point in series[name]["points"]) <= 3


def test_published_parts_of_neurram_add_up_to_its_efficiency():
    """fJ an operation: within 2 % of 1000 / TOPS/W, but for 8 and 6 bits, where the parts lack 10 %."""
    series = published("neurram")
    for parts, whole in zip(series["energy_split"]["points"], series["efficiency"]["points"], strict=False):
        total = parts["wordline_fJ"] + parts["neuron_fJ"] + parts["input_fJ"]
        odd = (parts["output_bits"], parts["input_bits"]) == (8, 6)
        assert total == pytest.approx(1000 / whole["tops_per_W"], rel=0.11 if odd else 0.02)


def test_statistics_of_equal_inputs_and_weights_are_those_of_explicit_values():
    """Output value 15: inputs and weights of 15; value 0.6: both 3, so 3 pulses and 3 x 3 / 15 charges."""
    macro = load_macro("sinangil_2021")
    for value, each in ((15, 15), (0.6, 3)):
        found = value_statistics(macro, np.full((2, 64), each), np.full((64, 64), each), input_bits=4, code_max=15)
        assert (found.pulses, found.charges) == pytest.approx(
            (sinangil_values(value).pulses, sinangil_values(value).charges), rel=1e-12
        )


@pytest.mark.parametrize(
    ("adc_bits", "wordline_fJ", "neuron_fJ", "input_fJ", "error"),
    [
        (3, 8.99015248, 10.6186848, 3.446220545, 0.10),  # fitted
        (4, 8.270951256, 12.38674172, 3.955661604, 0.10),  # held out; its inputs have one magnitude bit too
    ],
)
def test_component_library_prices_a_read_of_neurram(adc_bits, wordline_fJ, neuron_fJ, input_fJ, error):
    """The prices of ``neurram_like``, not the macro model: all wordlines, half of the inputs, mean codes of 0.241.

    fJ an operation, 65536 a read (Wan et al., Nature 608, 2022, Fig. 12b).
    """
    hw, technology = load_hardware("neurram_like"), load_technology("rram_130nm")
    hw = hw.model_copy(update={"adc": hw.adc.model_copy(update={"bits": adc_bits})})
    cell = technology.cells["rram_1t1r"]
    assert 256 * c.wordline_drive_fJ(technology, cell, 256) / 65536 == pytest.approx(wordline_fJ, rel=error)
    conversion_fJ = c.adc_price(technology, hw)[0].conversion_fJ + technology.sample_and_hold.sample_fJ.value
    assert 256 * conversion_fJ / 65536 == pytest.approx(neuron_fJ, rel=error)
    share = c.cell_code_factor(cell, np.array([0.5 * 3.375 / 7]))[0]
    assert 0.5 * share * c.cell_read_fJ(technology, cell) == pytest.approx(input_fJ, rel=error)
