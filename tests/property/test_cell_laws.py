"""Laws of cell models: their distributions (Kolmogorov-Smirnov at fixed seeds), their limits, their random numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spikeloop.simulator.cells.presets import device_names
from spikeloop.simulator.cells.registry import cell_from
from spikeloop.simulator.draws import CellDraws

PLAIN = {
    "source": "test",
    "conductance_min_uS": 10.0,
    "conductance_max_uS": 40.0,
    "read_voltage_V": 0.5,
    "read_time_ns": 10.0,
}
SIDE = 200
#: 40,000 cells: a Kolmogorov-Smirnov distance above this has a probability below 1e-4.
FAR = stats.kstwo.isf(1e-4, SIDE * SIDE)


def cell(kind="rram", **fields):
    return cell_from({"kind": kind, **PLAIN, **fields})


def cells(model, code=1, bits=1, key=7, side=SIDE):
    codes = np.full((side, side), code, dtype=np.uint8)
    return model.programmed_uS(codes, bits, CellDraws(key=key, rows=side, cols=side))


def distance(sample, cdf):
    return stats.kstest(np.ravel(sample), cdf).statistic


def test_the_distance_tells_a_wrong_deviation():
    """Power of the tests below: 4 % more deviation is already too far."""
    sample = cells(cell(programming_sigma_ratio=0.104))
    assert distance(sample, stats.norm(40.0, 4.0).cdf) > FAR


@pytest.mark.parametrize(("code", "mean", "deviation"), [(0, 10.0, 2.0), (1, 40.0, 4.0)])
def test_rram_writes_are_normal(code, mean, deviation):
    model = cell(programming_sigma_ratio=0.1, programming_sigma_low_ratio=0.2)
    assert distance(cells(model, code), stats.norm(mean, deviation).cdf) < FAR


def test_rram_writes_are_lognormal_with_the_same_two_moments():
    model = cell(programming_sigma_ratio=0.5, distribution="lognormal")
    s = math.sqrt(math.log(1.25))
    law = stats.lognorm(s, scale=40.0 * math.exp(-s * s / 2))
    assert (law.mean(), law.std()) == pytest.approx((40.0, 20.0))
    assert distance(cells(model), law.cdf) < FAR


def test_a_normal_spread_is_cut_at_zero():
    sample = cells(cell(programming_sigma_ratio=0.5), code=1)
    assert distance(sample[sample > 0], stats.truncnorm(-2.0, np.inf, 40.0, 20.0).cdf) < 1.2 * FAR
    assert np.mean(sample == 0.0) == pytest.approx(stats.norm.cdf(-2.0), abs=4e-3)


@pytest.mark.parametrize("distribution", ["normal", "lognormal"])
@pytest.mark.parametrize(("tolerance", "iterations"), [(2.0, 1), (2.0, 3), (10.0, 2), (1.0, 10_000)])
def test_write_verify_equals_writing_again_and_again(distribution, tolerance, iterations):
    """Two uniform numbers a cell against the loop that they stand for: same conductances, same counts."""
    model = cell(
        programming_sigma_ratio=0.15,
        distribution=distribution,
        write_iterations=iterations,
        write_tolerance_uS=tolerance,
    )
    codes, draws = np.ones((SIDE, SIDE), dtype=np.uint8), CellDraws(key=7, rows=SIDE, cols=SIDE)
    found, pulses = model.programmed_uS(codes, 1, draws), model.write_pulses(codes, 1, draws)

    rng, n = np.random.default_rng(5), 40_000
    s = math.sqrt(math.log1p(0.15**2))
    kept, count, open_cells = np.zeros(n), np.zeros(n, dtype=int), np.ones(n, dtype=bool)
    for _ in range(iterations):
        z = rng.standard_normal(open_cells.sum())
        normal = distribution == "normal"
        kept[open_cells] = np.maximum(40 + 6 * z, 0) if normal else 40 * np.exp(s * z - s * s / 2)
        count[open_cells] += 1
        open_cells = np.abs(kept - 40.0) > tolerance
        if not open_cells.any():
            break
    assert stats.ks_2samp(found.ravel(), kept).statistic < FAR * math.sqrt(2)
    assert stats.ks_2samp(pulses.ravel(), count).statistic < FAR * math.sqrt(2)
    # A share of cells that hit is known to a few tenths of a percent.
    assert np.mean(np.abs(found - 40.0) <= tolerance) == pytest.approx(np.mean(~open_cells), abs=0.015)
    assert pulses.mean() == pytest.approx(model.expected_pulses(1)[1], rel=0.03)


def test_relaxation_is_normal_and_independent_of_writing():
    fields = {"relaxation_sigma_uS": [1.5], "sigma_reference_uS": 40.0, "relaxation_start_s": 1.0, "time_s": 1.0}
    written = cells(cell(programming_sigma_ratio=0.05))
    both = cells(cell(programming_sigma_ratio=0.05, **fields))
    change = both - written
    assert distance(change, stats.norm(0.0, 1.5).cdf) < FAR
    assert abs(np.corrcoef(change.ravel(), written.ravel())[0, 1]) < 0.02
    assert distance(both, stats.norm(40.0, 2.5).cdf) < FAR


def test_sram_mismatch_follows_the_threshold():
    model = cell("sram", threshold_sigma_V=0.03, overdrive_V=0.4, overdrive_exponent=1.5, subthreshold_V=0.04)
    on, off = cells(model, 1), cells(model, 0)
    assert distance(0.4 * (1 - (on / 40.0) ** (1 / 1.5)), stats.norm(0.0, 0.03).cdf) < FAR
    assert distance(off, stats.lognorm(0.75, scale=10.0).cdf) < FAR


def test_fefet_thresholds_in_both_regions():
    triode = cell("fefet", threshold_sigma_V=0.05, threshold_sigma_low_V=0.1, memory_window_V=1.5)
    assert distance(cells(triode, 1), stats.norm(40.0, 1.0).cdf) < FAR
    assert distance(cells(triode, 0), stats.norm(10.0, 2.0).cdf) < FAR
    below = cell("fefet", threshold_sigma_V=0.05, region="subthreshold", subthreshold_V=0.05)
    assert distance(cells(below, 1), stats.lognorm(1.0, scale=40.0).cdf) < FAR


def test_pcm_drift_exponents_are_normal():
    model = cell(
        "pcm",
        reference_uS=40.0,
        drift_start_s=20.0,
        mean_drift_exponent=[0.05],
        sigma_drift_exponent=[0.01],
        time_s=20e4,
    )
    nu = -np.log(cells(model) / 40.0) / math.log(1e4)
    assert distance(nu, stats.norm(0.05, 0.01).cdf) < FAR


def test_pcm_exponents_never_let_a_cell_rise():
    fields = {"reference_uS": 40.0, "drift_start_s": 20.0, "time_s": 2e6}
    model = cell("pcm", **fields, mean_drift_exponent=[0.01], sigma_drift_exponent=[0.05])
    found = cells(model)
    assert found.max() == 40.0
    assert np.mean(found == 40.0) == pytest.approx(stats.norm.cdf(-0.2), abs=0.01)


def test_pcm_programming_noise_of_the_shipped_device():
    """sigma at g = 0.5: 0.26348 + 0.9825 - 0.293275 = 0.9527 uS."""
    model = cell_from({"preset": "pcm_joshi", "conductance_min_uS": 12.5, "time_s": 0})
    assert distance(cells(model, 0), stats.norm(12.5, 0.952705).cdf) < FAR


@pytest.mark.parametrize(("off", "on"), [(0.02, 0.0), (0.0, 0.1), (0.3, 0.05), (0.0, 1.0)])
def test_stuck_cells_are_binomial(off, on):
    model = cell(stuck_off_fraction=off, stuck_on_fraction=on, programming_sigma_ratio=0.1)
    found = cells(model, 1, bits=1)
    n = found.size
    for value, share in ((10.0, off), (40.0, on)):
        low, high = stats.binom.ppf([1e-4, 1 - 1e-4], n, share)
        assert low <= np.sum(found == value) <= high


def test_on_off_ratio_to_infinity_is_proportional_to_the_code():
    codes = np.arange(16, dtype=np.uint8)
    model = cell(conductance_min_uS=0.0)
    found = model.programmed_uS(codes[None, :], 4, CellDraws(key=1, rows=1, cols=16))[0]
    assert np.array_equal(found / model.unit_uS(4), codes) or found == pytest.approx(codes * model.unit_uS(4))
    errors = [
        np.abs(cell(conductance_min_uS=40.0 / ratio).target_uS(codes, 4) - codes * 40.0 / 15).max()
        for ratio in (2, 10, 100, 1e4)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(40.0 / 1e4)


FAMILIES = {
    "rram": lambda x: cell(programming_sigma_ratio=0.3, programming_scale_ratio=x),
    "rram lognormal": lambda x: cell(programming_sigma_ratio=0.3, distribution="lognormal", programming_scale_ratio=x),
    "rram verified": lambda x: cell(
        programming_sigma_ratio=0.3, programming_scale_ratio=x, write_iterations=3, write_tolerance_uS=4.0
    ),
    "rram relaxed": lambda x: cell(
        relaxation_sigma_uS=[3.0],
        sigma_reference_uS=40.0,
        relaxation_start_s=1.0,
        time_s=9.0,
        relaxation_growth_ratio=0.2,
        relaxation_scale_ratio=x,
    ),
    "sram": lambda x: cell(
        "sram", threshold_sigma_V=0.05 * x, overdrive_V=0.4, overdrive_exponent=1.5, subthreshold_V=0.04
    ),
    "fefet": lambda x: cell("fefet", threshold_sigma_V=0.1, memory_window_V=1.0, threshold_scale_ratio=x),
    "pcm": lambda x: cell("pcm", programming_sigma_uS=[1.0, 3.0], reference_uS=40.0, programming_scale_ratio=x),
}


@pytest.mark.parametrize("family", FAMILIES)
@given(sigma=st.floats(1e-3, 1.0), key=st.integers(0, 2**63), code=st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_half_the_deviation_never_scatters_more(family, sigma, key, code):
    """And none scatters not at all."""
    model = FAMILIES[family]
    spread = [np.std(cells(model(x), code, key=key, side=24)) for x in (sigma, sigma / 2)]
    assert spread[1] <= spread[0] * (1 + 1e-9)
    assert spread[0] > 0
    target = 10.0 + 30.0 * code
    assert np.all(cells(model(0.0), code, key=key, side=4) == target)


@pytest.mark.parametrize("name", device_names())
@given(key=st.integers(0, 2**63), rows=st.integers(1, 40), cols=st.integers(1, 40), data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_cell_depends_on_its_key_and_place_only(name, key, rows, cols, data):
    """Same key, same bits; a larger array begins with the same numbers; a neighbour's code changes nothing."""
    model = cell_from({"preset": name, "stuck_on_fraction": 0.02, "stuck_off_fraction": 0.02})
    bits = 1 if name == "sram_cim" else 2
    rng = np.random.default_rng(key)
    large = rng.integers(0, 2**bits, (rows + 5, cols + 3)).astype(np.uint8)
    whole = model.programmed_uS(large, bits, CellDraws(key=key, rows=rows + 5, cols=cols + 3))
    small = CellDraws(key=key, rows=rows, cols=cols)
    part = model.programmed_uS(large[:rows, :cols].copy(), bits, small)
    assert np.array_equal(part, whole[:rows, :cols])
    assert np.array_equal(model.programmed_uS(large[:rows, :cols].copy(), bits, small), part)
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    others = rng.integers(0, 2**bits, (rows, cols)).astype(np.uint8)
    others[row, col] = large[row, col]
    assert model.programmed_uS(others, bits, small)[row, col] == part[row, col]


def test_keys_and_cells_are_independent():
    model = cell(programming_sigma_ratio=0.1)
    first, second = cells(model, key=7), cells(model, key=8)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(first[:, :-1].ravel(), first[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]) < 0.02


EXTREME = st.fixed_dictionaries(
    {
        "conductance_min_uS": st.sampled_from([0.0, 1e-9, 10.0]),
        "programming_sigma_ratio": st.sampled_from([0.0, 1e-12, 0.5, 10.0]),
        "distribution": st.sampled_from(["normal", "lognormal"]),
        "stuck_on_fraction": st.sampled_from([0.0, 0.3]),
        "time_s": st.sampled_from([0.0, 1e-3, 3e9]),
        "relaxation_sigma_uS": st.sampled_from([None, [5.0], [-1.0, 3.0]]),
        "sigma_reference_uS": st.just(40.0),
        "relaxation_start_s": st.just(1e-9),
        "relaxation_growth_ratio": st.sampled_from([0.0, 5.0]),
        "retention_exponent": st.sampled_from([-1.0, 0.0, 1.0]),
        "reads": st.sampled_from([0, 10**12]),
        "disturb_ratio": st.sampled_from([-1.0, 0.0, 1e-12]),
    }
)
VERIFY = st.sampled_from([None, (1, 1e-9), (10_000, 1e-9), (3, 1.0), (10_000, 1e9)])


@given(fields=EXTREME, verify=VERIFY, key=st.integers(0, 2**63))
@settings(max_examples=150, deadline=None)
def test_rram_conductances_are_never_negative_nor_nan(fields, verify, key):
    if verify is not None:
        fields = {**fields, "write_iterations": verify[0], "write_tolerance_uS": verify[1]}
    model = cell(**fields)
    codes = (np.arange(256).reshape(16, 16) % 4).astype(np.uint8)
    draws = CellDraws(key=key, rows=16, cols=16)
    found, pulses = model.programmed_uS(codes, 2, draws), model.write_pulses(codes, 2, draws)
    assert np.all(np.isfinite(found))
    assert np.all(found >= 0.0)
    assert np.all((pulses >= 1) & (pulses <= (verify[0] if verify else 1)))
    expected = model.expected_pulses(2)
    assert np.all((expected >= 1.0 - 1e-12) & (expected <= (verify[0] if verify else 1) * (1 + 1e-12)))


@pytest.mark.parametrize("name", device_names())
@pytest.mark.parametrize("time", [0, 1, 3_000_000_000])
def test_shipped_devices_are_never_negative_nor_nan(name, time):
    dated = {} if name == "sram_cim" else {"time_s": time}
    model = cell_from({"preset": name, **dated})
    bits = 1 if name == "sram_cim" else 2
    for code in range(2**bits):
        found = cells(model, code, bits)
        for values in (found, model.read_sigma_uS(found), model.image_sigma_uS(found)):
            assert values is None or (np.all(np.isfinite(values)) and np.all(values >= 0.0))
