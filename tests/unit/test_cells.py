"""Cell models by hand: each formula on numbers that can be checked with a pencil."""

import math

import numpy as np
import pytest

from spikeloop.simulator.cells.kinds import cell_kinds
from spikeloop.simulator.cells.pcm import fitted_exponent
from spikeloop.simulator.cells.presets import device_names
from spikeloop.simulator.cells.registry import cell_from
from spikeloop.simulator.cells.spread import fitted_sigma_uS
from spikeloop.simulator.draws import CellDraws

PLAIN = {
    "source": "test",
    "conductance_min_uS": 10.0,
    "conductance_max_uS": 40.0,
    "read_voltage_V": 0.5,
    "read_time_ns": 10.0,
}


def cell(kind="rram", **fields):
    return cell_from({"kind": kind, **PLAIN, **fields})


def one(model, code, bits=2, key=1):
    """Conductance of a single cell."""
    codes = np.array([[code]], dtype=np.uint8)
    return model.programmed_uS(codes, bits, CellDraws(key=key, rows=1, cols=1))[0, 0]


@pytest.mark.parametrize("kind", ["rram", "sram", "pcm", "fefet"])
def test_a_cell_without_numbers_is_exact(kind):
    bits = 1 if kind == "sram" else 2
    model = cell(kind)
    codes = np.arange(2**bits, dtype=np.uint8)[None, :]
    exact = 10.0 + 30.0 * codes / (2**bits - 1)
    assert np.array_equal(model.programmed_uS(codes, bits, CellDraws(key=1, rows=1, cols=2**bits)), exact)
    assert model.read_sigma_uS(exact) is None
    assert model.image_sigma_uS(exact) is None
    assert model.read_gain_ratio == 1.0
    assert model.expected_pulses(bits).tolist() == [1.0] * 2**bits


def test_the_list_of_kinds_is_complete():
    assert set(cell_kinds()) >= {"ideal", "rram", "sram", "pcm", "fefet"}


def test_polynomials_hold_their_ends():
    """2 + 4 g - 10 g^2, g = G/10: 2 at 0, 2 + 2 - 2.5 = 1.5 at 5 uS, -4 -> 0 at 10 uS and beyond."""
    found = fitted_sigma_uS(np.array([0.0, 5.0, 10.0, 99.0]), (2.0, 4.0, -10.0), 10.0)
    assert found.tolist() == [2.0, 1.5, 0.0, 0.0]


def test_rram_spread_lies_on_a_line_between_its_ends():
    """20 % at 10 uS = 2 uS, 5 % at 40 uS = 2 uS; half-way, at 25 uS, 12.5 % = 3.125 uS."""
    model = cell(programming_sigma_ratio=0.05, programming_sigma_low_ratio=0.2)
    assert model.programming_deviation_uS(np.array([10.0, 25.0, 40.0])) == pytest.approx([2.0, 3.125, 2.0])


def test_rram_relaxation_grows_with_decades():
    """1 uS at one second; three decades later 1 + 0.5 x 3 = 2.5 uS; nothing at time 0."""
    at = {
        time: cell(
            relaxation_sigma_uS=[1.0],
            sigma_reference_uS=40.0,
            relaxation_start_s=1.0,
            relaxation_growth_ratio=0.5,
            time_s=time,
        ).relaxation_deviation_uS(np.array([25.0]))[0]
        for time in (0.0, 0.1, 1.0, 1000.0)
    }
    assert at == pytest.approx({0.0: 0.0, 0.1: 1.0, 1.0: 1.0, 1000.0: 2.5})


def test_rram_retention_is_a_power_law():
    model = cell(retention_exponent=0.05, relaxation_start_s=2.0, time_s=200.0)
    assert one(model, 3) == pytest.approx(40.0 * 100.0**-0.05)


@pytest.mark.parametrize(("ratio", "end"), [(0.001, 40.0), (-0.001, 10.0)])
def test_rram_read_disturb_walks_to_the_end_it_is_pulled_to(ratio, end):
    model = cell(reads=500, disturb_ratio=ratio)
    assert one(model, 1) == pytest.approx(end + (20.0 - end) * math.exp(-0.5))
    assert one(cell(disturb_ratio=ratio), 1) == 20.0


def test_write_verify_counts_by_hand():
    """Tolerance of one deviation: p = 0.6827; at most 2 writes: p + 2 (1 - p) = 1.3173 on average."""
    model = cell(programming_sigma_uS=[3.0], sigma_reference_uS=40.0, write_iterations=2, write_tolerance_uS=3.0)
    assert model.expected_pulses(1) == pytest.approx([1.3173, 1.3173], abs=1e-4)


def test_sram_currents_by_hand():
    """Threshold off by d: on (1 - d/0.4)^1.8 of 40 uS, off exp(-d/0.04) of 10 uS; the same d, the same cell."""
    model = cell("sram", threshold_sigma_V=0.02, overdrive_V=0.4, overdrive_exponent=1.8, subthreshold_V=0.04)
    shift = -0.04 * math.log(one(model, 0, bits=1) / 10.0)
    assert one(model, 1, bits=1) == pytest.approx(40.0 * (1.0 - shift / 0.4) ** 1.8)
    assert 0.0 < abs(shift) < 0.1


def test_sram_holds_one_bit():
    with pytest.raises(ValueError, match="levels=2; allowed 1 to 1 bits"):
        cell("sram").check_bits(2)


def test_fefet_in_triode_shifts_by_the_slope_of_its_window():
    """30 uS over a window of 1.5 V: 20 uS per volt; the same shift at every code when the deviation is the same."""
    model = cell("fefet", threshold_sigma_V=0.05, memory_window_V=1.5)
    shifts = [one(model, code) - (10.0 + 10.0 * code) for code in range(4)]
    assert shifts == pytest.approx([shifts[0]] * 4)
    assert 0.0 < abs(shifts[0]) < 20.0 * 0.25


def test_fefet_window_closes_by_decades():
    """Middle 25 uS; 10 % a decade, two decades: 25 + 15 x 0.8 = 37 and 25 - 15 x 0.8 = 13 uS."""
    model = cell("fefet", window_loss_ratio=0.1, retention_start_s=1.0, time_s=100.0)
    assert [one(model, 0, 1), one(model, 1, 1)] == pytest.approx([13.0, 37.0])
    assert (
        one(cell("fefet", window_loss_ratio=0.1, retention_start_s=1.0, time_s=1e9, conductance_min_uS=0.0), 0, 1) > 0
    )


def test_pcm_exponents_by_hand():
    """g = e^-1: 0.03 + 0.02 = 0.05; g = e^-9: 0.21, cut to 0.1; g = 1: 0.03, raised to 0.04; 0 uS: cut to 0.1."""
    found = fitted_exponent(25.0 * np.array([math.exp(-1), math.exp(-9), 1.0, 0.0]), (0.03, -0.02, 0.04, 0.1), 25.0)
    assert found == pytest.approx([0.05, 0.1, 0.04, 0.1])
    assert fitted_exponent(np.array([1.0, 2.0]), (0.06,), 25.0).tolist() == [0.06, 0.06]


def test_pcm_mean_drift_is_made_up_for():
    fields = {"reference_uS": 40.0, "drift_start_s": 20.0, "mean_drift_exponent": [0.05], "time_s": 2000.0}
    drifted = cell("pcm", **fields)
    assert one(drifted, 3) == pytest.approx(40.0 * 100.0**-0.05)
    held = cell("pcm", **fields, drift_compensation="mean")
    assert held.read_gain_ratio == pytest.approx(100.0**0.05)
    assert one(held, 3) == pytest.approx(40.0)


def test_pcm_flicker_is_split_between_images_and_reads_without_loss():
    """Variance of both parts together: (G Q)^2 ln((t + r) / (2 r)), whatever the image time."""
    fields = {
        "reference_uS": 40.0,
        "drift_start_s": 20.0,
        "flicker_ratio": 0.01,
        "flicker_exponent": 0.5,
        "flicker_max_ratio": 0.2,
        "flicker_read_ns": 250.0,
        "time_s": 100.0,
    }
    g = np.array([10.0, 40.0])
    whole = (g * 0.01 / np.sqrt(g / 40.0)) ** 2 * math.log((100e9 + 250) / 500)
    frozen = cell("pcm", **fields)
    assert frozen.read_sigma_uS(g) is None
    assert frozen.image_sigma_uS(g) ** 2 == pytest.approx(whole)
    split = cell("pcm", **fields, image_time_ns=1e6)
    assert split.image_sigma_uS(g) ** 2 + split.read_sigma_uS(g) ** 2 == pytest.approx(whole)
    assert np.all(split.read_sigma_uS(g) > 0)
    longest = cell("pcm", **fields, image_time_ns=1e15)
    assert longest.image_sigma_uS(g) is None


def test_read_noises_join_as_independent_ones():
    """3 % of 40 uS = 1.2 uS and 0.5 uS: 1.3 uS."""
    model = cell(read_noise_ratio=0.03, read_noise_uS=0.5, image_noise_ratio=0.01)
    assert model.read_sigma_uS(np.array([40.0])) == pytest.approx([1.3])
    assert model.image_sigma_uS(np.array([40.0])) == pytest.approx([0.4])


@pytest.mark.parametrize("name", device_names())
def test_shipped_devices_program(name):
    model = cell_from({"preset": name})
    bits = 1 if name == "sram_cim" else 2
    codes = (np.arange(64 * 64) % 2**bits).astype(np.uint8).reshape(64, 64)
    found = model.programmed_uS(codes, bits, CellDraws(key=3, rows=64, cols=64))
    means = [found[codes == code].mean() for code in range(2**bits)]
    assert means == sorted(means)
    assert means == pytest.approx(model.target_uS(np.arange(2**bits, dtype=np.uint8), bits), rel=0.05, abs=0.15)


def test_neurram_writes_as_often_as_reported():
    """8.52 pulses a cell on average over the conductance range (Wan et al., Nature 2022, Methods)."""
    assert cell_from({"preset": "rram_neurram"}).expected_pulses(4).mean() == pytest.approx(8.52, rel=0.005)


def test_joshi_one_day_by_hand():
    """Largest conductance: exponent cut to 0.049, (86400 / 20)^-0.049 = 0.6635."""
    model = cell_from(
        {"preset": "pcm_joshi", "time_s": 86400, "sigma_drift_exponent": None, "programming_sigma_uS": None}
    )
    assert one(model, 3) == pytest.approx(25.0 * 0.6635, rel=1e-3)
