"""A clock that is too fast for a component is named; the clock itself does not change."""

from __future__ import annotations

import pytest
from cost_cases import TECHNOLOGY, changed_technology, small_design

from spikeloop.simulator.config import HardwareConfig, NocConfig, load_hardware
from spikeloop.simulator.cost.table import cost_table


def notes(hw, technology=TECHNOLOGY):
    return {row.component: row.notes for row in cost_table(hw, technology) if row.notes}


def at_clock(clock_GHz, hw=None):
    return (hw or small_design(adc_bits=4)).model_copy(update={"clock_GHz": clock_GHz})


def test_slow_clock_gives_everyone_the_time_it_takes():
    assert notes(at_clock(0.05)) == {}


def test_adc_that_takes_longer_than_a_cycle_is_named():
    """4 bits, 16 rows: 4 x (0.640 + 16 x 0.00653) = 2.978 ns; a cycle of 2.5 ns is too short, one of 3 ns is not."""
    assert notes(at_clock(0.4))["adc"] == (
        "adc: a conversion takes 2.98 ns and the clock gives it 1 cycle of 2.5 ns; clock_GHz up to 0.336 would do",
    )
    assert "adc" not in notes(at_clock(1 / 3))


def test_rows_active_shorten_a_conversion():
    hw = load_hardware("spikeflow_64")
    fewer = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"rows_active": 16})})
    assert "adc" in notes(hw)
    assert "adc" not in notes(fewer)


def test_memory_adder_and_multiplier_are_named_at_a_fast_clock():
    """Membranes: CACTI's 65 nm macros take more than a nanosecond, a 12-bit sum 12/32 of 2.11 ns."""
    found = notes(at_clock(2.0))
    assert found["membrane_memory"][0].startswith("membrane_memory: an access takes 1.")
    assert found["pe_accumulator"][0].startswith("pe_accumulator: an addition takes 0.")
    assert found["batch_norm"][0].startswith("batch_norm: a multiplication takes 0.")


def test_router_has_the_cycles_that_the_design_gives_it():
    entry = {"value": 10.0, "source": "made for tests", "year": 2020, "node_nm": 65.0, "status": "read"}
    technology = changed_technology(lambda f: f["noc"].update(router_ns=entry))
    two, three = (at_clock(0.25).model_copy(update={"noc": NocConfig(router_cycles=cycles)}) for cycles in (2, 3))
    assert notes(two, technology)["noc"] == (
        "noc: the head of a packet takes 10 ns and the clock gives it 2 cycles of 4 ns; clock_GHz up to 0.2 would do",
    )
    assert "noc" not in notes(three, technology)


def test_read_pulse_of_a_device_is_compared_with_a_cycle():
    hw = load_hardware("rram_64_nonideal")
    assert notes(hw)["crossbar"] == (
        "crossbar: a read takes 100 ns and the clock gives it 1 cycle of 4 ns; clock_GHz up to 0.01 would do",
    )


def test_technology_that_says_nothing_about_time_is_not_judged():
    silent = changed_technology(
        lambda f: (
            f["logic"].pop("adder_ns"),
            f["logic"].pop("multiplier_ns"),
            f["adc"]["sar"].update(bit_ns=0, row_ns=0),
        )
    )
    assert notes(at_clock(0.25), silent) == {}


@pytest.mark.parametrize("clock_GHz", [0.25, 2.0])
def test_prices_do_not_follow_the_clock(clock_GHz):
    rows = cost_table(at_clock(clock_GHz), TECHNOLOGY)
    assert [row.area_um2 for row in rows] == [row.area_um2 for row in cost_table(at_clock(0.1), TECHNOLOGY)]
    assert isinstance(at_clock(clock_GHz), HardwareConfig)
