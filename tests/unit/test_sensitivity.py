"""Each number alone over and times a factor, against shares worked out from counts and prices."""

from __future__ import annotations

from functools import cache, partial

import pytest
from cost_cases import TECHNOLOGY, mapped, small_design, small_network

from spikeloop.codesign.tornado import PANELS, tornado_table
from spikeloop.models.random_export import random_network, shape_network
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.cost.chip import Component
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.technology import Technology
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.pipeline import simulate_density
from spikeloop.simulator.pricing import Bill, bill_of, price_run
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


def find(technology: Technology, factor: float = 2.0) -> Sensitivity:
    trace, mapping, hw, program, activity = _run()
    return sensitivity(
        lambda prices: cost_library(mapping, hw, prices, program),
        lambda components: bill_of(components, trace, hw, activity),
        technology,
        factor=factor,
    )


@cache
def _found(factor: float = 2.0) -> Sensitivity:
    return find(TECHNOLOGY, factor)


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


def test_number_of_one_area_moves_the_area_by_exactly_its_share_and_leaks_at_least_that():
    bill, found, line = price(TECHNOLOGY), _found(), swing("noc.router_area_um2")
    row = next(i for i, component in enumerate(bill.components) if component.name == "noc")
    leaked_fJ = bill.components[row].leakage_uW * bill.interval_ns
    assert leaked_fJ > 0
    assert line.high.area_um2 - found.base.area_um2 == pytest.approx(bill.area_um2[row].sum(), rel=1e-9)
    assert line.low.area_um2 - found.base.area_um2 == pytest.approx(-bill.area_um2[row].sum() / 2, rel=1e-9)
    assert line.high.energy_fJ - found.base.energy_fJ >= leaked_fJ * (1 - 1e-6)


def test_factor_of_three_moves_a_linear_number_by_twice_its_share():
    two, three = _found(), _found(3.0)
    for key, field in (("column_mux.conversion_fJ", "energy_fJ"), ("noc.router_area_um2", "area_um2")):
        by_two = getattr(swing(key, two).high, field) - getattr(two.base, field)
        by_three = getattr(swing(key, three).high, field) - getattr(three.base, field)
        assert by_three == pytest.approx(2 * by_two, rel=1e-9)
        assert by_two > 0


def test_fit_moves_energy_and_area_of_what_rests_on_it_and_nothing_else():
    """Energy of actions, and apart from it area with what that leaks, of every component that names the ADC's fit."""
    bill, found = price(TECHNOLOGY), _found()
    adc = next(component for component in bill.components if component.name == "adc")
    (fit,) = {*adc.action_keys, "scaling"} - {*TECHNOLOGY.entries, "scaling"}
    acted_fJ = leaked_fJ = area_um2 = 0.0
    for component, energy_fJ, space_um2 in zip(bill.components, bill.energy_fJ, bill.area_um2, strict=True):
        leak_fJ = component.leakage_uW * bill.interval_ns
        acted_fJ += energy_fJ.sum() - leak_fJ if fit in component.action_keys else 0.0
        if fit in component.area_keys:
            area_um2 += space_um2.sum()
            leaked_fJ += leak_fJ if fit in component.leakage_keys else 0.0
    energy, area = swing(f"{fit} (energy)"), swing(f"{fit} (area)")
    assert energy.value is None
    assert energy.high.energy_fJ - found.base.energy_fJ == pytest.approx(acted_fJ, rel=1e-9)
    assert energy.high.area_um2 == found.base.area_um2
    assert area.high.area_um2 - found.base.area_um2 == pytest.approx(area_um2, rel=1e-9)
    assert area.high.energy_fJ - found.base.energy_fJ == pytest.approx(leaked_fJ, rel=1e-6)
    assert area.low.area_um2 - found.base.area_um2 == pytest.approx(-area_um2 / 2, rel=1e-9)


def test_every_number_of_the_file_is_ranked_or_said_to_have_no_effect():
    found, parts = _found(), price(TECHNOLOGY).components
    used = {"energy": {key for part in parts for key in part.action_keys}}
    used["area"] = {key for part in parts for key in part.area_keys}
    fits = [f"{key} ({what})" for what, keys in used.items() for key in keys - TECHNOLOGY.entries.keys()]
    assert {"scaling (energy)", "scaling (area)"} <= set(fits)
    ranked = [item.key for item in found.swings]
    assert sorted([*ranked, *found.without_effect]) == sorted([*TECHNOLOGY.entries, *fits])
    assert "supply.temperature_K" in found.without_effect
    spreads = [spread(item, found.base) for item in found.swings]
    assert spreads == sorted(spreads, reverse=True)


def test_end_that_the_technology_refuses_is_left_out_and_says_why():
    trace, mapping, hw, program, activity = _run()

    def library(prices: Technology) -> tuple[Component, ...]:
        if prices.column_mux.area_um2.value < TECHNOLOGY.column_mux.area_um2.value:
            raise ConfigError("no multiplexer is so small; choose a larger one")
        return cost_library(mapping, hw, prices, program)

    found = sensitivity(library, lambda parts: bill_of(parts, trace, hw, activity), TECHNOLOGY, factor=2.0)
    line = swing("column_mux.area_um2", found)
    assert line.low is None
    assert line.high is not None
    assert line.refused == "no multiplexer is so small; choose a larger one"
    row = next(row for row in tornado_table(found, limit=99).rows if row.key == "column_mux.area_um2")
    assert row.low == (None, None, None)
    assert row.high[1] > 0


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, -2.0, 1e6])
def test_factor_that_says_nothing_is_refused(factor):
    with pytest.raises(ConfigError, match=r"factor=.*give 1\.01 to 1000"):
        find(TECHNOLOGY, factor)


def test_number_is_replaced_by_name_and_no_other_moves():
    changed = with_number(TECHNOLOGY, "column_mux.area_um2", 60.0)
    values = {key: entry.value for key, entry in changed.entries.items()}
    before = {key: entry.value for key, entry in TECHNOLOGY.entries.items()}
    assert values.pop("column_mux.area_um2") == 60.0
    assert before.pop("column_mux.area_um2") == 45.9
    assert values == before


def test_unknown_number_is_named():
    with pytest.raises(ConfigError, match=r"rram_65nm: no number adc\.no_such"):
        with_number(TECHNOLOGY, "adc.no_such", 1.0)


def test_chart_shows_the_largest_first_in_per_cent():
    found = _found()
    table = tornado_table(found, limit=5)
    assert [row.key for row in table.rows] == [item.key for item in found.swings[:5]]
    assert table.n_left_out == len(found.swings) + len(found.without_effect) - 5
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
