"""Chips of other nodes and kinds can be written down and priced without a number of SpikeSim's."""

from __future__ import annotations

import pytest
from cost_cases import changed_technology, small_design, small_network

from spikeloop.simulator.config import CrossbarConfig, HardwareConfig, UniformAdc
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.provenance import citations, price_notes
from spikeloop.simulator.cost.table import cost_table
from spikeloop.simulator.cost.technology import Technology
from spikeloop.simulator.cost.workload import NominalLayer
from spikeloop.simulator.mapping.tiles import map_network

SOURCE = {"source": "made for tests", "year": 2020, "status": "read"}


def entry(value: float, node_nm: float, **more: object) -> dict[str, object]:
    return {"value": float(value), "node_nm": float(node_nm), **SOURCE, **more}


def technology(*, node_nm: float, vdd_V: float, cell: dict, adc: dict, bus: dict | None = None) -> Technology:
    """Aladdin's and ISAAC's logic and CACTI's macros at a node; multiplexer and sampling belong to the ADC."""

    def change(fields: dict) -> None:
        fields.update(node_nm=node_nm, cells={"cell": cell}, default_cell="cell", adc=adc)
        fields["supply"]["vdd_V"].update(value=vdd_V, node_nm=node_nm)
        for section in ("column_mux", "sample_and_hold"):
            fields.pop(section)
        if bus is not None:
            fields["bus"] = bus

    return changed_technology(change)


def neurram() -> Technology:
    """130 nm: ramp ADC that counts charge, sign first; word lines at 1.8 V; cells of 126 F^2."""
    cell = {
        "kind": "rram",
        "area_F2": entry(125.7, 130),
        "conductance_uS": entry(4, 130),
        "read_voltage_V": entry(0.5, 130),
        "read_time_ns": entry(100, 130),
    }
    ramp = {
        "fit": "ramp",
        "node_nm": 130.0,
        "bits_min": 1,
        "bits_max": 10,
        "sign_first": True,
        "area_um2": 400.0,
        **SOURCE,
    }
    ramp |= {"sample_fJ": 1200.0, "step_fJ": 300.0, "step_ns": 10.0, "mean_steps_ratio": 0.5}
    return technology(node_nm=130.0, vdd_V=1.3, cell=cell, adc={"ramp": ramp})


def sram_28() -> Technology:
    """28 nm: bit cells that discharge a bit line by a part of the supply, only where they hold a 1."""
    cell = {
        "kind": "sram",
        "area_um2": entry(0.3, 28),
        "capacitance_fF": entry(1.2, 28),
        "swing_V": entry(0.3, 28),
        "zero_code_ratio": entry(0, 28),
        "leakage_uW": entry(0.00001, 28),
    }
    cim = {
        "fit": "cim",
        "node_nm": 28.0,
        "bits_min": 1,
        "bits_max": 11,
        "linear_fF": 100.0,
        "power_fF": 0.001,
        **SOURCE,
    }
    cim |= {"area_um2": 16.07, "area_decade_ratio": -0.0369, "bit_ns": 0.64, "row_ns": 0.00653}
    return technology(node_nm=28.0, vdd_V=0.9, cell=cell, adc={"sar": cim})


def isaac_32() -> Technology:
    """32 nm: one published ADC, published bus."""
    cell = {"kind": "rram", "area_F2": entry(4, 32), "read_fJ": entry(1, 32)}
    point = {"bits": 8, "conversion_fJ": 1666.67, "area_um2": 1200.0, "conversion_ns": 0.833, **SOURCE}
    points = {"fit": "points", "node_nm": 32.0, "bits_min": 8, "bits_max": 8, "points": [point], **SOURCE}
    bus = {"kind": "published", "transfer_fJ_per_bit": entry(54, 32), "area_um2_per_bit": entry(29.3, 32)}
    return technology(node_nm=32.0, vdd_V=0.9, cell=cell, adc={"sar": points}, bus=bus)


def edge_22() -> Technology:
    """22 nm low-power logic at 0.8 V, FeFET cells, flash ADCs."""
    cell = {"kind": "fefet", "area_F2": entry(30, 28), "feature_nm": 28.0, "read_fJ": entry(0.1, 28)}
    flash = {"fit": "flash", "node_nm": 22.0, "bits_min": 1, "bits_max": 5, "comparator_fJ": 10.0, **SOURCE}
    flash |= {"comparator_area_um2": 12.0, "conversion_ns": 1.0}
    made = technology(node_nm=22.0, vdd_V=0.8, cell=cell, adc={"flash": flash})
    fields = made.model_dump(mode="json", exclude_none=True)
    fields["scaling"]["flavour"] = "low_power"
    return Technology(**fields)


CHIPS = {
    "neurram": (neurram, UniformAdc(bits=3, columns_per_adc=1, architecture="ramp")),
    "sram_28": (sram_28, UniformAdc(bits=4, columns_per_adc=8)),
    "isaac_32": (isaac_32, UniformAdc(bits=8, columns_per_adc=16)),
    "edge_22": (edge_22, UniformAdc(bits=3, columns_per_adc=8, architecture="flash")),
}


def priced(name: str, hw: HardwareConfig | None = None):
    make, adc = CHIPS[name]
    design = (hw or small_design()).model_copy(update={"adc": adc})
    prices = make()
    return prices, {part.name: part for part in cost_library(map_network(small_network(), design), design, prices)}


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_chip_is_priced_from_its_own_numbers_alone(name):
    prices, parts = priced(name)
    assert sum(part.area_um2 for part in parts.values()) > 0
    assert all(part.area_um2 >= 0 and part.leakage_uW >= 0 for part in parts.values())
    cited = citations(parts.values(), prices)
    assert not any("SpikeSim" in line for line in cited)


def test_neurram_pays_half_a_ramp_of_four_steps_for_three_bits():
    _, parts = priced("neurram")
    assert parts["adc"].action_fJ["adc_conversion"].tolist() == [1200 + 300 * 4 * 0.5] * 2
    assert parts["adc"].latency_ns == 40.0
    assert any("macros are scaled from 90 nm" in note for note in price_notes(parts.values()))


def test_sram_cell_energy_follows_what_is_stored():
    """1.2 fF x 0.9 V x 0.3 V where a 1 is stored: the mean code of the convolution is 0.1065 (1 of 9.4 cells)."""
    _, parts = priced("sram_28")
    assert parts["crossbar"].action_fJ["cell_read"][0] == pytest.approx(1.2 * 0.9 * 0.3 * 0.10648148)
    assert parts["crossbar"].leakage_uW == pytest.approx(parts["crossbar"].count * 256 * 0.00001)


def test_published_adc_holds_for_its_width_alone():
    with pytest.raises(ValueError, match=r"adc\.sar: got an ADC of 7 bits, the fit holds for 8 to 8"):
        cost_table(small_design(adc_bits=7), isaac_32())


def test_kind_of_transistors_moves_the_logic():
    """Aladdin's adder (210 fJ, 40 nm) at 22 nm and 0.8 V with low-power transistors, worked by hand.

    22 nm lies ln(32/22)/ln(32/20) = 0.7972 of the way from 32 to 20 nm: 0.4569^0.2028 x 0.1249^0.7972 = 0.1624.
    40 nm at its nominal 1.1^0.6545 x 1.0^0.3455 = 1.0644 V: 1.1410^0.6545 x 0.7213^0.3455 = 0.9738. Ratio 0.1668.
    """
    fields = edge_22().model_dump(mode="json", exclude_none=True)
    assert 32 * Technology(**fields).logic_prices.adder_fJ == pytest.approx(210 * 0.1668, rel=1e-3)
    fields["scaling"]["flavour"] = "high_performance"
    assert 32 * Technology(**fields).logic_prices.adder_fJ > 210 * 0.25


@pytest.mark.parametrize("bits", [16, 32])
def test_baseline_of_16_and_32_bit_weights_and_membranes(bits):
    """Twice the membrane bits: twice the bits held; columns follow the slices, one a bit beside the sign."""
    hw = small_design(cols=128, rows=64).model_copy(
        update={"crossbar": CrossbarConfig(rows=64, cols=128), "adc": UniformAdc(bits=6, columns_per_adc=8)}
    )
    layer = NominalLayer(weight_bits=bits, membrane_bits=bits, bn_bits=24)
    rows = {row.component: row for row in cost_table(hw, changed_technology(lambda fields: fields), layer)}
    assert rows["neuron"].area_um2 > 0
    # 6-bit codes, a shift for each further slice, one plane.
    width = 6 + (bits - 2) + 1
    logic = changed_technology(lambda fields: fields).logic_prices
    assert rows["shift_add"].energy_fJ["shift_add"] == pytest.approx(width * logic.shift_add_fJ)
