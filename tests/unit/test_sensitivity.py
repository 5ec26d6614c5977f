"""Each number alone over and times a factor, against shares worked out from counts and prices."""

from __future__ import annotations

from functools import cache, partial

import pytest
from cost_cases import TECHNOLOGY, mapped, small_design, small_network

from spikeloop.codesign.tornado import PANELS, tornado_table
from spikeloop.models.random_export import random_network, shape_network
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.cost.technology import Technology
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.pipeline import simulate_density
from spikeloop.simulator.pricing import Bill, price_run
from spikeloop.simulator.program import compile_program
from spikeloop.simulator.sensitivity import Sensitivity, Swing, sensitivity, spread, with_number


@cache
def _run():
    mapping, hw = mapped(small_network(), small_design())
    program = compile_program(mapping, hw)
    activity = random_activity(mapping, 0.2, n_images=1, seed=1)
    return run_cycles(program, activity), mapping, hw, program, activity


def price(technology: Technology) -> Bill:
    trace, mapping, hw, program, activity = _run()
    return price_run(trace, mapping, hw, technology, program=program, activity=activity)


@cache
def _found(factor: float = 2.0) -> Sensitivity:
    return sensitivity(price, TECHNOLOGY, factor=factor)


def swing(key: str, found: Sensitivity | None = None) -> Swing:
    return next(item for item in (found or _found()).swings if item.key == key)


def test_number_of_one_energy_moves_the_total_by_exactly_its_share():
    """Eight columns an ADC: the published 8-to-1 multiplexer as it is, 94.245 fJ a conversion."""
    trace = _run()[0]
    found, line = _found(), swing("column_mux.conversion_fJ")
    share_fJ = int(trace.action_counts["adc_conversion"].sum()) * 94.245
    assert share_fJ > 0
    assert line.high.energy_fJ - found.base.energy_fJ == pytest.approx(share_fJ, rel=1e-9)
    assert line.low.energy_fJ - found.base.energy_fJ == pytest.approx(-share_fJ / 2, rel=1e-9)
    assert line.low.area_um2 == line.high.area_um2 == found.base.area_um2
    gained = line.high.edap_J_s_mm2 / found.base.edap_J_s_mm2 - 1
    assert gained == pytest.approx(share_fJ / found.base.energy_fJ, rel=1e-9)


def test_number_of_one_area_moves_area_and_what_that_area_leaks():
    trace, _, hw, *_ = _run()
    found, line = _found(), swing("column_mux.area_um2")
    crossbars = _run()[1].n_chip_tiles * hw.tile.pes_per_tile * hw.tile.crossbars_per_pe
    area_um2 = crossbars * hw.crossbar.cols // 8 * 45.9
    leaked_fJ = area_um2 * 0.000079 * trace.total_cycles * hw.cycle_ns
    assert line.high.area_um2 - found.base.area_um2 == pytest.approx(area_um2, rel=1e-9)
    assert line.high.energy_fJ - found.base.energy_fJ == pytest.approx(leaked_fJ, rel=1e-6)


def test_factor_of_three_moves_a_linear_number_by_twice_its_share():
    two, three = _found(), _found(3.0)
    for key in ("adc.conversion_fJ", "noc.transfer_fJ"):
        by_two = swing(key, two).high.energy_fJ - two.base.energy_fJ
        by_three = swing(key, three).high.energy_fJ - three.base.energy_fJ
        assert by_three == pytest.approx(2 * by_two, rel=1e-9)


def test_shares_of_all_energy_numbers_of_the_array_are_the_energy_of_the_array():
    """Wordline, cell, multiplexer and ADC energies enter their components linearly and no other."""
    bill, found = price(TECHNOLOGY), _found()
    names = {"crossbar.array_read_fJ": "crossbar", "column_mux.conversion_fJ": "column_mux", "adc.conversion_fJ": "adc"}
    for key, name in names.items():
        row = next(i for i, component in enumerate(bill.components) if component.name == name)
        acted_fJ = bill.energy_fJ[row].sum() - bill.components[row].leakage_uW * bill.interval_ns
        moved_fJ = swing(key).high.energy_fJ - found.base.energy_fJ
        assert moved_fJ == pytest.approx(acted_fJ, rel=1e-6, abs=1e-9 * found.base.energy_fJ)


def test_every_number_of_the_file_is_ranked_or_said_to_have_no_effect():
    found = _found()
    ranked = [item.key for item in found.swings]
    assert sorted([*ranked, *found.without_effect]) == sorted(TECHNOLOGY.entries)
    assert "supply.temperature_K" in found.without_effect
    spreads = [spread(item, found.base) for item in found.swings]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] > 0


def test_end_that_the_technology_refuses_is_left_out_and_says_why():
    # The polynomial of 130 nm is 1.46 at 1.0 V and -0.56 at 0.5 V with this constant.
    fields = TECHNOLOGY.resolved()
    fields["scaling"]["nodes"][0]["energy_constant"] = 1.0
    found = sensitivity(price, Technology.model_validate(fields), factor=2.0)
    line = swing("supply.vdd_V", found)
    assert line.low is None
    assert line.high is not None
    assert "choose a supply inside the range of the fit" in line.refused
    row = next(row for row in tornado_table(found, limit=99).rows if row.key == "supply.vdd_V")
    assert row.low == (None, None, None)


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, -2.0, 1e6])
def test_factor_that_says_nothing_is_refused(factor):
    with pytest.raises(ConfigError, match=r"factor=.*give 1\.01 to 1000"):
        sensitivity(price, TECHNOLOGY, factor=factor)


def test_number_is_replaced_by_name_and_no_other_moves():
    changed = with_number(TECHNOLOGY, "sram.access[1].energy_fJ", 60000.0)
    values = {key: entry.value for key, entry in changed.entries.items()}
    before = {key: entry.value for key, entry in TECHNOLOGY.entries.items()}
    assert values.pop("sram.access[1].energy_fJ") == 60000.0
    assert before.pop("sram.access[1].energy_fJ") == 54400.0
    assert values == before


def test_unknown_number_is_named():
    with pytest.raises(ConfigError, match=r"rram_65nm: no number adc\.energy"):
        with_number(TECHNOLOGY, "adc.energy", 1.0)


def test_chart_shows_the_largest_first_in_per_cent():
    found = _found()
    table = tornado_table(found, limit=5)
    assert [row.key for row in table.rows] == [item.key for item in found.swings[:5]]
    assert table.n_left_out == len(TECHNOLOGY.entries) - 5
    row, line = table.rows[0], found.swings[0]
    for number, (_, field) in enumerate(PANELS):
        assert row.high[number] == pytest.approx(100 * (getattr(line.high, field) / getattr(found.base, field) - 1))


def test_network_of_the_zoo_without_calibration_costs_the_same():
    make = partial(dict, seed=0, weight_bits=3, membrane_bits=4)
    hw = load_hardware("demo")
    costs = [
        simulate_density(build("demo", **make()), hw, 0.2, seed=0).metrics for build in (random_network, shape_network)
    ]
    assert costs[0].by_layer == costs[1].by_layer
    assert costs[0].edap_J_s_mm2 == costs[1].edap_J_s_mm2
