"""Component formulas against arithmetic done by hand from the published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, changed_technology, small_design

from spikeloop.simulator.config import UniformAdc, load_hardware, shipped_files
from spikeloop.simulator.cost import components as c
from spikeloop.simulator.cost.adcs import AdcSite
from spikeloop.simulator.cost.arithmetic import adder_ns
from spikeloop.simulator.cost.table import compare_tables, cost_table
from spikeloop.simulator.cost.technology import Technology, load_technology
from spikeloop.simulator.errors import ConfigError


def test_adder_energy_and_area_worked_by_hand():
    """Aladdin's 32-bit adder, 210 fJ and 278 um2 at 40 nm, as a 14-bit adder at 65 nm and 1.0 V.

    40 nm lies ln(45/40)/ln(45/32) = 0.345492 of the way from 45 to 32 nm. Nominal supply 1.0^0.654508 x 0.9^0.345492 =
    0.964255 V. High-performance polynomials there: 45 nm 1.018 x 0.929788 - 0.3107 x 0.964255 + 0.1539 = 0.800830;
    32 nm 0.8367 x 0.929788 - 0.4341 x 0.964255 + 0.1701 = 0.529471; 0.800830^0.654508 x 0.529471^0.345492 = 0.694116.
    65 nm at 1.0 V: 3.755 - 4.398 + 1.975 = 1.332. 210 x 1.332 / 0.694116 x 14/32 = 176.3 fJ.
    Area: 1.5^0.654508 x 3.3^0.345492 = 1.969664; 278 x 1.969664 x 14/32 = 239.56 um2.
    """
    assert 14 * TECHNOLOGY.logic_prices.adder_fJ == pytest.approx(176.30, rel=1e-4)
    assert 14 * TECHNOLOGY.logic_prices.adder_um2 == pytest.approx(239.56, rel=1e-4)


def test_adder_delay_worked_by_hand():
    """1 ns at 40 nm and 0.964255 V as 32 bits at 65 nm and 1.0 V.

    65 nm: -53.3 + 230.4 - 333.9 + 178.6 = 21.8. 45 nm, whose cubic turns up above 0.947825 V, at that supply: 12.2099;
    32 nm above 0.845320 V: 7.5478. 12.2099^0.654508 x 7.5478^0.345492 = 10.3390. 21.8 / 10.3390 = 2.1085 ns.
    """
    assert adder_ns(TECHNOLOGY, 32) == pytest.approx(2.1085, rel=1e-3)
    assert adder_ns(TECHNOLOGY, 8) == pytest.approx(2.1085 / 4, rel=1e-3)


def _adc(fit, bits, *, rows=64, rate_GHz=0.1, vdd_V=1.0, node_nm=65.0):
    return fit.price(AdcSite(bits, rows, rate_GHz, vdd_V, node_nm))


def test_cim_adc_worked_by_hand():
    """4 bits, 64 rows at 65 nm: (400 + 0.256) x 0.81 x (65/28)^1.88 = 324.207 x 4.87111; 16.0694 x 10^-0.1476 x 16 um2
    x (65/28)^1.556 = 183.03 x 3.70783; 4 x (0.640 + 0.00653 x 64) ns."""
    price = _adc(TECHNOLOGY.adc["sar"], 4)
    assert price.conversion_fJ == pytest.approx(324.207 * 4.87111, rel=1e-4)
    assert price.area_um2 == pytest.approx(183.03 * 3.70783, rel=1e-4)
    assert price.conversion_ns == pytest.approx(4.23168, rel=1e-9)


def test_flash_and_ramp_adcs_worked_by_hand():
    flash, ramp = TECHNOLOGY.adc["flash"], TECHNOLOGY.adc["ramp"]
    assert _adc(flash, 4) == pytest.approx((15 * 41.7, 15 * 40, 1.0))
    assert _adc(ramp, 4) == pytest.approx((36.8 + 16 * 41.7, 80, 16.0))


@pytest.mark.parametrize("name", ["sar", "flash", "ramp"])
def test_adc_energies_rise_with_every_bit(name):
    fit = TECHNOLOGY.adc[name]
    energies = [_adc(fit, bits).conversion_fJ for bits in range(fit.bits_min, fit.bits_max + 1)]
    assert energies == sorted(set(energies))


def test_adc_outside_its_fit_is_refused_or_extrapolated_with_a_warning():
    hw = load_hardware("spikeflow_64")
    wide = hw.model_copy(update={"adc": UniformAdc(bits=13)})
    with pytest.raises(
        ConfigError, match=r"technology rram_65nm: adc\.sar: got an ADC of 13 bits, the fit holds for 1 to"
    ):
        c.adc_price(TECHNOLOGY, wide)
    allowed = changed_technology(lambda f: f.update(extrapolate=True))
    price, warning = c.adc_price(allowed, wide)
    assert price.conversion_fJ > c.adc_price(TECHNOLOGY, hw)[0].conversion_fJ
    assert warning == "adc.sar is extrapolated: got an ADC of 13 bits, the fit holds for 1 to 11"
    row = next(row for row in cost_table(wide, allowed) if row.component == "adc")
    assert row.notes[0] == warning


def test_architecture_that_the_technology_lacks_is_refused():
    hw = load_hardware("spikeflow_64")
    flash = hw.model_copy(update={"adc": UniformAdc(bits=4, architecture="flash")})
    without = changed_technology(lambda f: f["adc"].pop("flash"))
    with pytest.raises(ConfigError, match=r"adc\.flash: missing, and design spikeflow_64 has .*; allowed: sar, ramp"):
        c.adc_price(without, flash)


def test_lossless_adc_too_wide_for_the_fit_is_refused():
    hw = load_hardware("ideal_64")
    wide = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"rows": 4096, "cell_bits": 8})})
    with pytest.raises(ConfigError, match=r"got an ADC of 20 bits.*rows_active"):
        cost_table(wide, TECHNOLOGY)


def test_cell_area_and_read_energy_worked_by_hand():
    """53 x 0.065^2 um2; 1 uS x 0.16 V2 x 4 ns; a mean code of a half costs 0.1 + 0.9 / 2 of it."""
    cell = TECHNOLOGY.cells["rram_1t1r"]
    assert c.cell_area_um2(TECHNOLOGY, cell) == pytest.approx(0.223925)
    assert c.cell_read_fJ(TECHNOLOGY, cell) == pytest.approx(0.64)
    assert c.cell_code_factor(cell, np.array([0.0, 0.5, 1.0])) == pytest.approx([0.1, 0.55, 1.0])


def _entry(value, node_nm=65.0):
    return {"value": value, "source": "made for tests", "year": 2020, "node_nm": node_nm, "status": "read"}


def test_cell_that_charges_a_capacitance():
    """1.5 fF x 1.0 V x 0.4 V; without a swing C Vdd^2; a published area is taken as it is."""
    sram = {"kind": "sram", "area_um2": _entry(0.6), "capacitance_fF": _entry(1.5)}
    technology = changed_technology(
        lambda f: f["cells"].update(sram_full=sram, sram_part=sram | {"swing_V": _entry(0.4)})
    )
    full, part = (technology.cells[name] for name in ("sram_full", "sram_part"))
    assert c.cell_read_fJ(technology, full) == pytest.approx(1.5)
    assert c.cell_read_fJ(technology, part) == pytest.approx(0.6)
    assert c.cell_area_um2(technology, full) == 0.6
    assert c.cell_code_factor(full, np.array([0.2])) == [1.0]


def test_design_chooses_its_cell_array():
    hw = small_design()
    chosen = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"cell_array": "rram_selector_less"})})
    assert c.cell_array(TECHNOLOGY, hw) == "rram_1t1r"
    assert c.cell_array(TECHNOLOGY, chosen) == "rram_selector_less"
    areas = [cost_table(design, TECHNOLOGY)[6].area_um2 for design in (hw, chosen)]
    assert areas[0] / areas[1] == pytest.approx(53 / 4)
    wrong = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"cell_array": "rram_1t1"})})
    with pytest.raises(ConfigError, match=r"crossbar\.cell_array: .* no array 'rram_1t1'; did you mean 'rram_1t1r'\?"):
        c.cell_array(TECHNOLOGY, wrong)


def test_multiplexer_of_one_column_is_a_wire():
    assert c.column_mux_stages(TECHNOLOGY.column_mux, 1) == 0.0
    assert c.column_mux_stages(TECHNOLOGY.column_mux, 8) == 1.0
    assert c.column_mux_stages(TECHNOLOGY.column_mux, 15) == 2.0


def test_h_tree_of_a_floor_plan_worked_by_hand():
    """A tile of 1 mm2 and 4 leaves is one letter H of 1.5 mm; 16 leaves add four of 0.75 mm; one PE is one wire."""
    assert c.h_tree_um(1e6) == 1000.0
    assert c.h_tree_total_um(1e6, 4) == pytest.approx(1500.0)
    assert c.h_tree_total_um(1e6, 16) == pytest.approx(4500.0)
    assert c.h_tree_total_um(1e6, 1) == 1000.0


def test_macro_at_a_point_of_the_table():
    """CACTI 7 at 65 nm: 8 KB read by 64 bits take 11125 fJ, written 14693 fJ, 1.576 ns, 54811 um2."""
    macro = TECHNOLOGY.macros.price(np.array([65536]), np.array([64]))
    got = (macro.read_fJ[0] * 64, macro.write_fJ[0] * 64, macro.access_ns[0], macro.area_um2[0])
    assert got == pytest.approx((11125, 14693, 1.576, 54811), rel=1e-3)


def test_macros_side_by_side_above_one_another_and_registers():
    price = TECHNOLOGY.macros.price
    narrow, wide = price(np.array([65536]), np.array([128])), price(np.array([131072]), np.array([256]))
    assert wide.read_fJ == pytest.approx(narrow.read_fJ)
    assert wide.area_um2 == pytest.approx(2 * narrow.area_um2)
    largest, four = price(np.array([2**24]), np.array([64])), price(np.array([2**26]), np.array([64]))
    assert four.area_um2 == pytest.approx(4 * largest.area_um2)
    assert four.read_fJ == pytest.approx(largest.read_fJ)
    tiny = price(np.array([16, 0]), np.array([8, 8]))
    assert tiny.in_registers.tolist() == [True, False]
    assert tiny.area_um2 == pytest.approx([16 * TECHNOLOGY.logic_prices.register_um2, 0.0])
    assert tiny.read_fJ == pytest.approx([TECHNOLOGY.logic_prices.register_fJ, 0.0])


def test_macros_between_two_nodes_and_beyond_the_table():
    at = {node: _at_node(node).macros.price(np.array([65536]), np.array([64])) for node in (32, 28, 22, 130)}
    share = math.log(28 / 22) / math.log(32 / 22)
    assert at[28].area_um2[0] == pytest.approx(at[22].area_um2[0] ** (1 - share) * at[32].area_um2[0] ** share)
    assert _at_node(28).macros.scaled_from_nm is None
    assert _at_node(130).macros.scaled_from_nm == 90
    ninety = _at_node(90).macros.price(np.array([65536]), np.array([64]))
    # Area of logic at 130 over 90 nm: 0.53 / 0.23.
    assert at[130].area_um2[0] == pytest.approx(ninety.area_um2[0] * 0.53 / 0.23)


def _at_node(node_nm):
    vdd_V = {130: 1.3, 90: 1.2, 32: 0.9, 28: 0.9, 22: 0.9}[node_nm]
    return changed_technology(lambda f: (f.update(node_nm=float(node_nm)), f["supply"]["vdd_V"].update(value=vdd_V)))


def test_scaling_starts_at_the_supply_of_the_entry():
    """45 nm HP: 1.018 V^2 - 0.3107 V + 0.1539 is 0.8612 at the nominal 1.0 V and 0.55688 at 0.8 V."""
    usual = changed_technology(lambda f: f["logic"]["adder_fJ"].update(node_nm=45.0))
    stated = changed_technology(lambda f: f["logic"]["adder_fJ"].update(node_nm=45.0, vdd_V=0.8))
    ratio = stated.logic_prices.adder_fJ / usual.logic_prices.adder_fJ
    assert ratio == pytest.approx(0.8612 / (1.018 * 0.64 - 0.3107 * 0.8 + 0.1539), rel=1e-9)


def test_number_of_the_files_own_node_is_taken_as_it_is_unless_its_supply_is_stated():
    own = changed_technology(lambda f: f["logic"]["adder_fJ"].update(node_nm=65.0))
    assert own.logic_prices.adder_fJ * 32 == 210
    assert not own.is_scaled("logic.adder_fJ")
    at_1_1 = changed_technology(lambda f: f["logic"]["adder_fJ"].update(node_nm=65.0, vdd_V=1.1))
    assert at_1_1.logic_prices.adder_fJ * 32 == pytest.approx(210 * 1.332 / (3.755 * 1.21 - 4.398 * 1.1 + 1.975))
    assert at_1_1.is_scaled("logic.adder_fJ")


def test_cost_table_holds_every_component_with_its_formula_and_every_priced_one_with_sources():
    for row in cost_table(load_hardware("spikeflow_64"), TECHNOLOGY):
        assert row.formula
        assert row.sources or row.component == "dram" or not (row.area_um2 or any(row.energy_fJ.values()))
        assert row.count >= 0


def test_compared_tables_give_ratios_of_the_second_to_the_first():
    a, b = (cost_table(small_design(adc_bits=bits), TECHNOLOGY) for bits in (4, 6))
    adc = next(row for row in compare_tables(a, b) if row.component == "adc")
    # (600 + 4.096) / (400 + 0.256)
    assert adc.energy_ratio["adc_conversion"] == pytest.approx(1.509274, rel=1e-6)
    same = compare_tables(a, a)
    assert {row.area_ratio for row in same} <= {1.0, None}


def test_sections_that_are_left_out_are_not_priced():
    without = changed_technology(lambda f: [f.pop(name) for name in ("column_mux", "sample_and_hold", "control")])
    rows = {row.component: row for row in cost_table(small_design(), without)}
    for name in ("column_mux", "sample_and_hold", "control"):
        assert (rows[name].count, rows[name].area_um2, rows[name].energy_fJ) == (0, 0.0, {})


def test_dram_is_priced_where_the_technology_names_it():
    entry = _entry(30000.0)
    with_dram = changed_technology(lambda f: f.update(dram={"access_fJ_per_bit": entry}))
    rows = {row.component: row for row in cost_table(small_design(), with_dram)}
    assert rows["dram"].energy_fJ == {"input_load_bits": 30000.0}
    assert rows["dram"].area_um2 == 0.0
    assert {row.component: row for row in cost_table(small_design(), TECHNOLOGY)}["dram"].energy_fJ == {}


def test_published_bus_takes_its_energy_and_the_width_of_the_tile_in_area():
    entry = {"kind": "published", "transfer_fJ_per_bit": _entry(54.0), "area_um2_per_bit": _entry(29.3)}
    technology = changed_technology(lambda f: f.update(bus=entry))
    hw = small_design()
    bus = next(row for row in cost_table(hw, technology) if row.component == "tile_bus")
    assert bus.energy_fJ["input_buffer_read_bits"] == 54.0
    assert bus.area_um2 == pytest.approx(29.3 * (hw.tile.input_bus_bits + hw.tile.output_bus_bits))


def _crossbar_of(preset: str, technology: Technology):
    """Price of the crossbars of a design with the cells of a device."""
    hw = load_hardware("rram_64_nonideal").model_dump(mode="json")
    hw["crossbar"]["cell"] = {"preset": preset}
    hw["crossbar"]["wires"] = None
    design = type(load_hardware("rram_64_nonideal"))(**hw)
    return next(row for row in cost_table(design, technology) if row.component == "crossbar")


@pytest.mark.parametrize(
    ("preset", "area_F2"), [("rram_neurram", 53), ("pcm_joshi", 19), ("fefet", 15), ("sram_cim", 146)]
)
def test_every_kind_of_cell_has_an_array(preset, area_F2):
    """72 crossbars of 64 x 64 cells of so many squares of 65 nm."""
    row = _crossbar_of(preset, TECHNOLOGY)
    assert not [note for note in row.notes if "stands in" in note]
    assert row.area_um2 == pytest.approx(72 * 64 * 64 * area_F2 * 0.065**2, rel=1e-12)


def test_device_that_the_technology_lacks_is_priced_by_its_default_and_named():
    row = _crossbar_of("sram_cim", changed_technology(lambda f: f["cells"].pop("sram_6t")))
    assert row.notes == ("crossbar: technology rram_65nm has no sram cells; rram_1t1r stands in for them",)
    assert row.area_um2 == _crossbar_of("rram_neurram", TECHNOLOGY).area_um2


@pytest.mark.parametrize(
    ("name", "fJ"),
    [
        ("pcm_1t1r", 25 * 0.2**2 * 4),  # G V^2 t
        ("fefet_1t", 1 * 0.05**2 * 4),
        ("sram_6t", 0.7 * 1.0**2),  # C Vdd^2
    ],
)
def test_energy_of_an_ideal_cell_by_hand(name, fJ):
    assert c.cell_read_fJ(TECHNOLOGY, TECHNOLOGY.cells[name]) == pytest.approx(fJ, rel=1e-12)


def test_unknown_technology_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'rram_65nm'"):
        load_technology("rram_65")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f["logic"]["adder_fJ"].pop("source"), r"file\.yaml: logic\.adder_fJ\.source: missing"),
        (
            lambda f: f["logic"]["adder_fJ"].update(value=-1.0),
            r"logic\.adder_fJ\.value: got -1\.0; input should be greater than or equal to 0",
        ),
        (
            lambda f: f["logic"]["adder_fJ"].update(status="assumption", note=""),
            r"logic\.adder_fJ: status 'assumption' without a note",
        ),
        (lambda f: f["adc"]["sar"].update(bitz_min=4), r"adc\.sar\.bitz_min: unknown field; did you mean 'bits_min'\?"),
        (
            lambda f: f["adc"]["sar"].update(fit="cims"),
            r"adc\.sar\.fit: got 'cims'; allowed: cim, survey, points, flash, ramp$",
        ),
        (lambda f: f["adc"]["sar"].pop("vdd_V"), r"adc\.sar: node_energy_exponent=1\.88 .* add the supply of the fit"),
        (lambda f: f.update(schema_version=1), r"schema_version: got 1; input should be 2"),
        (lambda f: f.update(default_cell="rram"), r"default_cell: got 'rram'; allowed: rram_1t1r, rram_selector_less"),
        (
            lambda f: f["cells"]["rram_1t1r"].pop("area_F2"),
            r"cells\.rram_1t1r: got none of area_F2, area_um2; give exactly one",
        ),
        (
            lambda f: f["cells"]["rram_1t1r"].pop("read_time_ns"),
            r"cells\.rram_1t1r: conductance_uS, read_voltage_V and read_time_ns go together",
        ),
        (lambda f: f.update(node_nm=5.0), r"file\.yaml: node_nm=5; the scaling table covers 7 to 130 nm"),
        (
            lambda f: f["supply"]["vdd_V"].update(value=0.4),
            r"supply\.vdd_V=0\.4; the scaling polynomials of 65 nm hold from 0\.6 to 1\.32 V",
        ),
        (
            lambda f: f["logic"]["adder_fJ"].update(node_nm=5.0),
            r"logic\.adder_fJ\.node_nm=5; the scaling table covers 7 to 130 nm",
        ),
        (
            lambda f: f["logic"]["adder_fJ"].update(vdd_V=1.8),
            r"logic\.adder_fJ\.vdd_V=1\.8; the scaling polynomials of 40 nm hold from 0\.5 to 1\.16 V",
        ),
        (
            lambda f: f["scaling"].update(table="stillmaker"),
            r"stillmaker: neither a file nor a preset of hwconfigs/scal",
        ),
        (
            lambda f: f["scaling"]["table"]["nodes"][0].update(energy_constant=-100.0),
            r"nodes\.0: 130 nm: the energy polynomial is -.* at 0\.5 V; it must be positive from",
        ),
        (
            lambda f: f["sram"]["table"]["rows"].pop(),
            r"sram\.table: rows: 139 macros are no full grid of 5 nodes x 7 cap",
        ),
        (lambda f: f["sram"]["table"]["rows"][3].pop(), r"sram\.table: rows\[3\]: got .*expected 8 positive numbers"),
    ],
)
def test_bad_technology_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        changed_technology(change)


def test_hash_follows_numbers_and_not_words():
    noted = changed_technology(lambda f: f["logic"]["adder_fJ"].update(note="another word"))
    priced = changed_technology(lambda f: f["logic"]["adder_fJ"].update(value=210.1))
    scaled = changed_technology(lambda f: f["scaling"].update(flavour="low_power"))
    assert noted.content_hash() == TECHNOLOGY.content_hash()
    assert len({item.content_hash() for item in (TECHNOLOGY, priced, scaled)}) == 3


def test_record_of_a_technology_gives_the_technology_again():
    again = Technology.model_validate(TECHNOLOGY.model_dump(mode="json"))
    assert again.content_hash() == TECHNOLOGY.content_hash()


@pytest.mark.parametrize("name", sorted(shipped_files("accelerators")))
def test_shipped_accelerator_loads_and_is_priced(name):
    hw = load_hardware(name)
    assert hw.name == name
    assert sum(row.area_um2 for row in cost_table(hw, load_technology(hw.technology))) > 0
