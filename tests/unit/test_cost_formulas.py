"""Component formulas against arithmetic done by hand from the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, small_design

from spikeloop.simulator.config import load_hardware, shipped_files
from spikeloop.simulator.cost import components as c
from spikeloop.simulator.cost.table import compare_tables, cost_table
from spikeloop.simulator.cost.technology import Technology, load_technology
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec


def test_adder_energy_worked_by_hand():
    """Aladdin's 32-bit adder, 210 fJ at 40 nm and 1.0 V, as a 14-bit adder at 65 nm.

    Polynomials at 1.0 V: 65 nm 3.755-4.398+1.975 = 1.332; 45 nm 1.103-0.362+0.2767 = 1.0177;
    32 nm 0.9559-0.7823+0.471 = 0.6446. 40 nm lies ln(45/40)/ln(45/32) = 0.34549 of the way:
    1.0177^0.65451 x 0.6446^0.34549 = 0.86919. 210 x 1.332/0.86919 x 14/32 = 140.8 fJ.
    """
    assert c.adder_fJ(TECHNOLOGY, np.array([14])) == pytest.approx(140.80, rel=1e-4)


def test_adc_energy_and_area_worked_by_hand():
    # 6 bits: (600 + 4.096) / (400 + 0.256) = 1.509274; area 10^(-0.0738) x 4 = 3.374893
    assert c.adc_conversion_fJ(TECHNOLOGY, 6) == pytest.approx(2030.84 * 1.509274, rel=1e-6)
    assert c.adc_area_um2(TECHNOLOGY, 6) == pytest.approx(693.633 * 3.374893, rel=1e-5)


def test_adc_costs_rise_with_every_bit():
    energies = [c.adc_conversion_fJ(TECHNOLOGY, bits) for bits in range(1, 15)]
    areas = [c.adc_area_um2(TECHNOLOGY, bits) for bits in range(1, 15)]
    assert energies == sorted(set(energies))
    assert areas == sorted(set(areas))


@pytest.mark.parametrize("bits", [0, 15])
def test_adc_outside_the_fit_is_refused(bits):
    with pytest.raises(ConfigError, match=rf"adc\.fit: got an ADC of {bits} bits, the fit holds for 1 to 14; set adc"):
        c.adc_conversion_fJ(TECHNOLOGY, bits)


def test_lossless_adc_too_wide_for_the_fit_is_refused():
    hw = load_hardware("ideal_64")
    wide = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"rows": 4096, "cell_bits": 8})})
    with pytest.raises(ConfigError, match=r"got an ADC of 20 bits.*rows_active"):
        cost_table(wide, TECHNOLOGY)


def test_multiplexer_of_one_column_is_a_wire():
    assert c.column_mux_stages(TECHNOLOGY, 1) == 0.0
    assert c.column_mux_stages(TECHNOLOGY, 8) == 1.0
    assert c.column_mux_stages(TECHNOLOGY, 15) == 2.0


def test_sram_energy_is_a_power_law_between_points():
    at = c.sram_fJ_per_bit(TECHNOLOGY, np.array([65536, 524288, 2097152]))
    assert at * 64 == pytest.approx([12800, 54400, 104000])
    middle = c.sram_fJ_per_bit(TECHNOLOGY, np.array([int((65536 * 524288) ** 0.5)]))
    assert middle * 64 == pytest.approx((12800 * 54400) ** 0.5, rel=1e-5)


def test_sram_energy_never_falls_with_capacity_nor_below_a_register():
    capacity = np.array([1, 8, 64, 512, 4096, 65536, 10**6, 10**8])
    energy = c.sram_fJ_per_bit(TECHNOLOGY, capacity)
    assert (np.diff(energy) >= 0).all()
    assert energy[0] == pytest.approx(c.register_fJ(TECHNOLOGY, np.array([1]))[0])
    assert c.sram_fJ_per_bit(TECHNOLOGY, np.array([0])) == 0.0


def test_sram_extrapolation_is_noticed():
    assert c.sram_is_extrapolated(TECHNOLOGY, np.array([0, 4096]))
    assert c.sram_is_extrapolated(TECHNOLOGY, np.array([10**8]))
    assert not c.sram_is_extrapolated(TECHNOLOGY, np.array([0, 65536, 2097152]))


def test_cost_table_holds_every_component_with_formula_and_sources():
    for row in cost_table(load_hardware("spikeflow_64"), TECHNOLOGY):
        assert row.formula
        assert row.sources
        assert row.count >= 0


def test_compared_tables_give_ratios_of_the_second_to_the_first():
    a, b = (cost_table(small_design(adc_bits=bits), TECHNOLOGY) for bits in (4, 6))
    adc = next(row for row in compare_tables(a, b) if row.component == "adc")
    assert adc.energy_ratio["adc_conversion"] == pytest.approx(1.509274, rel=1e-6)
    same = compare_tables(a, a)
    assert {row.area_ratio for row in same} <= {1.0, None}


def test_unknown_technology_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'rram_65nm'"):
        load_technology("rram_65")


def _broken(change) -> Technology:
    fields = TECHNOLOGY.model_dump(mode="json")
    change(fields)
    return validate_spec(Technology, fields, where="file.yaml")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f["adc"]["conversion_fJ"].pop("source"), r"file\.yaml: adc\.conversion_fJ\.source: missing"),
        (
            lambda f: f["adc"]["conversion_fJ"].update(value=-1.0),
            r"adc\.conversion_fJ\.value: got -1\.0; input should be greater than or equal to 0",
        ),
        (
            lambda f: f["adc"]["conversion_fJ"].update(status="assumption", note=""),
            r"adc\.conversion_fJ: status 'assumption' without a note",
        ),
        (lambda f: f["adc"].update(bitz=4), r"adc\.bitz: unknown field; did you mean 'bits'\?"),
        (lambda f: f["sram"]["access"].reverse(), r"sram: access: capacities .* do not ascend"),
        (lambda f: f.update(node_nm=5.0), r"node_nm=5; the scaling table covers 20 to 130 nm"),
        (
            lambda f: f["scaling"]["nodes"][0].update(energy_constant=-100.0),
            r"the energy polynomial of 130 nm is -.* choose a supply",
        ),
    ],
)
def test_bad_technology_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        _broken(change)


def test_number_of_a_node_outside_the_table_is_refused():
    wrong = _broken(lambda f: f["logic"]["adder_fJ"].update(node_nm=7.0))
    with pytest.raises(ConfigError, match="a number of 7 nm cannot be scaled; the scaling table covers 20 to 130 nm"):
        c.adder_fJ(wrong, np.array([8]))


def test_hash_follows_numbers_and_not_words():
    noted = _broken(lambda f: f["adc"]["conversion_fJ"].update(note="another word"))
    priced = _broken(lambda f: f["adc"]["conversion_fJ"].update(value=2030.85))
    assert noted.content_hash() == TECHNOLOGY.content_hash()
    assert priced.content_hash() != TECHNOLOGY.content_hash()


@pytest.mark.parametrize("name", sorted(shipped_files("accelerators")))
def test_shipped_accelerator_loads_and_is_priced(name):
    hw = load_hardware(name)
    assert hw.name == name
    assert sum(row.area_um2 for row in cost_table(hw, load_technology(hw.technology))) > 0
