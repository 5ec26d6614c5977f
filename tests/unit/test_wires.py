"""Crossbars with wires against a nodal solver that stamps every resistor, and by hand."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.nodal_twin import cell_currents_uA, crossbar_edges, node_voltages, solve

from spikeloop.simulator.errors import ConfigError, SimulationError
from spikeloop.simulator.wires.config import WiresConfig
from spikeloop.simulator.wires.effective import approximate_crossbar, effective_crossbar, exact_bytes
from spikeloop.simulator.wires.solved import solve_reads

V = 0.2


def wires(row: float = 0.0, column: float = 0.0, driver: float = 0.0, sense: float = 0.0, **more) -> WiresConfig:
    return WiresConfig(source="test", row_ohm=row, column_ohm=column, driver_ohm=driver, sense_ohm=sense, **more)


def ohms(spec: WiresConfig) -> dict[str, float]:
    return {name: getattr(spec, name) for name in ("row_ohm", "column_ohm", "driver_ohm", "sense_ohm")}


def test_one_cell_by_hand():
    """10 kohm behind 50 + 100 ohm of wire and driver and 30 + 20 ohm of wire and amplifier: 1 / 10,200 ohm."""
    effective = effective_crossbar(np.array([[100.0]]), wires(50, 30, 100, 20))
    assert effective.transfer_uS[0, 0] == pytest.approx(1e6 / 10_200, rel=1e-12)
    assert effective.input_uS[0, 0] == pytest.approx(1e6 / 10_200, rel=1e-12)
    assert effective.cell_share[0, 0] == pytest.approx(10_000 / 10_200, rel=1e-12)
    assert effective.noise_share[0, 0] == pytest.approx(10_000 / 10_200, rel=1e-12)


def test_two_cells_on_a_wordline_by_hand():
    """1 S-scale numbers: 1 kohm cells, 1 kohm wires on the row only.

    From node 0: cell 1000 beside (1000 wire + 1000 cell) = 2000, together 2000/3; driven through 1000 V0 = 0.4;
    node 1 has half of that: 0.2. Currents 400 uA and 200 uA per volt.
    """
    effective = effective_crossbar(np.full((1, 2), 1000.0), wires(row=1000))
    assert effective.transfer_uS.tolist() == [pytest.approx([400.0, 200.0], rel=1e-12)]
    assert effective.input_uS[0, 0] == pytest.approx(600.0, rel=1e-12)


def test_two_cells_on_a_bitline_by_hand():
    """1 kohm cells, 1 kohm wires on the column only; the upper row is two wires away from its amplifier.

    Driving the upper row: node 1 sees 1000 down beside the lower cell to 0 V: 500; node 0 gets 1/(1000+1000+500) =
    0.4 mA, node 1 is at 0.2 V, so 0.2 mA arrive. Driving the lower row: node 1 sees 1000 down beside 2000 up to 0 V:
    2000/3, at 0.4 V: 0.4 mA.
    """
    effective = effective_crossbar(np.full((2, 1), 1000.0), wires(column=1000))
    assert effective.transfer_uS[:, 0].tolist() == pytest.approx([200.0, 400.0], rel=1e-12)


_RESISTANCES = st.sampled_from([0.0, 0.5, 3.0, 80.0, 2000.0])


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, float], np.random.Generator]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    spec = {name: draw(_RESISTANCES) for name in ("row", "column", "driver", "sense")}
    if not any(spec.values()):
        spec["row"] = 1.0
    return rng.uniform(0.5, 300.0, shape), spec, rng


_SEEN: Counter[str] = Counter()


@settings(max_examples=250, deadline=None)
@given(case=arrays(), bits=st.booleans(), rows_float=st.booleans())
def _check_effective(case, bits, rows_float):
    conductance, spec, rng = case
    rows, cols = conductance.shape
    ends = {
        "unselected_bitlines": "floating" if bits else "grounded",
        "inactive_rows": "floating" if rows_float else "grounded",
    }
    w = wires(**spec, **ends)
    phases = int(rng.integers(1, cols + 1))
    cut = int(rng.integers(1, rows + 1))
    groups = [slice(0, cut), slice(cut, rows)] if cut < rows else [slice(0, rows)]
    effective = effective_crossbar(conductance, w, columns_per_adc=phases, row_groups=groups)
    for group in groups:
        volts = np.zeros(rows)
        volts[group] = V * rng.integers(0, 2, volts[group].size)
        driven = [not rows_float or group.start <= i < group.stop for i in range(rows)]
        delivered = np.zeros(rows)
        n_phases = phases if bits else 1
        for phase in range(n_phases):
            sensed = [j % n_phases == phase for j in range(cols)]
            columns, inputs = solve(conductance, volts, **ohms(w), driven=driven, sensed=sensed)
            mine = volts @ effective.transfer_uS
            scale = max(np.abs(columns).max(), 1e-12)
            assert np.abs(columns - mine)[sensed].max() <= 1e-9 * scale
            delivered += inputs / n_phases
        mine = effective.input_uS @ volts
        assert np.abs(mine - delivered)[group].max() <= 1e-9 * max(np.abs(delivered).max(), 1e-12)
    _SEEN["floating bitlines"] += bits and phases > 1
    _SEEN["floating rows"] += rows_float and len(groups) > 1
    _SEEN["ideal row"] += spec["row"] == 0
    _SEEN["ideal column"] += spec["column"] == 0
    _SEEN["wires everywhere"] += all(spec.values())


def test_transform_equals_the_nodal_twin_and_the_hard_cases_occurred():
    _SEEN.clear()
    _check_effective()
    for case in ("floating bitlines", "floating rows", "ideal row", "ideal column", "wires everywhere"):
        assert _SEEN[case] >= 10, (case, _SEEN)


@settings(max_examples=100, deadline=None)
@given(case=arrays())
def test_gated_cells_equal_the_nodal_twin(case):
    conductance, spec, rng = case
    rows, cols = conductance.shape
    w = wires(**spec, access="gated")
    driven = rng.integers(0, 2, (3, rows)).astype(np.uint8)
    got = solve_reads(conductance, driven, w, read_voltage_V=V)
    for n in range(3):
        joined = [[bool(bit)] * cols for bit in driven[n]]
        edges = crossbar_edges(conductance, **ohms(w), driven=[True] * rows, sensed=[True] * cols, connected=joined)
        known = {f"V{i}": V * driven[n, i] for i in range(rows)} | {f"S{j}": 0.0 for j in range(cols)}
        cells = cell_currents_uA(conductance, edges, node_voltages(edges, known), joined)
        assert got.column_uA[n] == pytest.approx(cells.sum(axis=0), rel=1e-6, abs=1e-9)
        assert got.row_uA[n] == pytest.approx(cells.sum(), rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(case=arrays())
def test_relaxation_of_linear_cells_equals_the_transform(case):
    conductance, spec, rng = case
    driven = rng.integers(0, 2, (4, conductance.shape[0])).astype(np.uint8)
    w = wires(**spec)
    got = solve_reads(conductance, driven, w, read_voltage_V=V)
    effective = effective_crossbar(conductance, w)
    assert got.column_uA == pytest.approx(V * driven @ effective.transfer_uS, rel=1e-6, abs=1e-9)
    power = np.einsum("na,ab,nb->n", driven, effective.input_uS, driven)
    assert got.row_uA == pytest.approx(V * power, rel=1e-6, abs=1e-9)


def test_one_non_linear_cell_solves_its_equation():
    """Through r = 1,150 ohm in all: I = (V - v) / r = G V sinh(a v) / sinh(a V)."""
    a, conductance = 8.0, 500.0
    w = wires(50, 100, 600, 400)
    got = solve_reads(np.array([[conductance]]), np.ones((1, 1), np.uint8), w, read_voltage_V=V, nonlinearity_per_V=a)
    current = float(got.column_uA[0, 0])
    v = V - current * 1150e-6
    assert current == pytest.approx(conductance * V * np.sinh(a * v) / np.sinh(a * V), rel=1e-7)
    linear = V / (1150 + 1e6 / conductance) * 1e6
    assert current < 0.995 * linear  # below the read voltage such a cell conducts less


def _non_linear_uA(conductance: np.ndarray, spec: WiresConfig, driven: np.ndarray, a: float) -> np.ndarray:
    """Currents of all cells: every node is solved with the conductances of the last voltages until they stay."""
    rows, cols = conductance.shape
    gated = spec.access == "gated"
    joined = [[bool(bit) or not gated] * cols for bit in driven]
    known = {f"V{i}": V * driven[i] for i in range(rows)} | {f"S{j}": 0.0 for j in range(cols)}
    now = conductance.copy()
    for _ in range(60):
        edges = crossbar_edges(now, **ohms(spec), driven=[True] * rows, sensed=[True] * cols, connected=joined)
        cells = np.asarray(cell_currents_uA(now, edges, node_voltages(edges, known), joined))
        v = cells / now
        ratio = np.where(np.abs(v) < 1e-12, a, np.sinh(a * v) / np.where(v == 0, 1.0, v))
        last, now = now, conductance * V * ratio / np.sinh(a * V)
        if np.abs(now / last - 1).max() < 1e-13:
            return cells
    raise AssertionError("the oracle did not converge")


@pytest.mark.parametrize("access", ["gated", "selector_less"])
@pytest.mark.parametrize("a", [2.0, 8.0, 20.0])  # a V of 4 is beyond the series of the kernel
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (6, 4), (52, 6)])
def test_non_linear_cells_equal_the_nodal_twin(shape, a, access):
    rng = np.random.default_rng([*shape, int(a)])
    conductance = rng.uniform(5.0, 300.0, shape)
    w = wires(5, 8, 60, 40, access=access)
    driven = (rng.random((3, shape[0])) < 0.6).astype(np.uint8)
    driven[0, 0] = 1
    got = solve_reads(conductance, driven, w, read_voltage_V=V, nonlinearity_per_V=a)
    bent = 0.0
    for n in range(3):
        cells = _non_linear_uA(conductance, w, driven[n], a)
        assert got.column_uA[n] == pytest.approx(cells.sum(axis=0), rel=1e-6, abs=1e-9)
        assert got.row_uA[n] == pytest.approx(cells[driven[n] == 1].sum(), rel=1e-6, abs=1e-9)
        linear = solve_reads(conductance, driven[n : n + 1], w, read_voltage_V=V)
        bent = max(bent, float(np.abs(linear.column_uA[0] - got.column_uA[n]).max()))
    assert bent > 1e-3  # the law matters


def test_large_transform_equals_sparse_nodes_on_many_inputs():
    """64 x 64 against the relaxation, which solves wordlines and bitlines one after the other."""
    rng = np.random.default_rng(4)
    conductance = rng.uniform(1, 100, (64, 64))
    w = wires(2, 3, 50, 20)
    driven = (rng.random((20, 64)) < 0.3).astype(np.uint8)
    effective = effective_crossbar(conductance, w)
    got = solve_reads(conductance, driven, w, read_voltage_V=V)
    assert np.abs(got.column_uA - V * driven @ effective.transfer_uS).max() <= 1e-7 * got.column_uA.max()
    assert np.allclose(effective.input_uS, effective.input_uS.T, rtol=1e-9)


def test_noise_shares_are_the_derivative_of_the_current():
    """dI_column / dG_cell = voltage of the cell x share sensed: for one driven row, by a finite difference."""
    rng = np.random.default_rng(5)
    conductance = rng.uniform(20, 100, (5, 4))
    w = wires(30, 40, 100, 60)
    effective = effective_crossbar(conductance, w)
    for i, j in itertools.product(range(5), range(4)):
        more = conductance.copy()
        more[i, j] += 1e-4
        change = (effective_crossbar(more, w).transfer_uS[i, j] - effective.transfer_uS[i, j]) / 1e-4
        assert change == pytest.approx(effective.cell_share[i, j] * effective.noise_share[i, j], rel=1e-4)


@pytest.mark.parametrize("spec", [{"row": 5.0, "driver": 40.0}, {"column": 5.0, "sense": 40.0}])
def test_closed_form_is_exact_where_one_kind_of_wire_resists(spec):
    conductance = np.random.default_rng(6).uniform(1, 100, (12, 9))
    exact = effective_crossbar(conductance, wires(**spec)).transfer_uS
    assert approximate_crossbar(conductance, wires(**spec)).transfer_uS == pytest.approx(exact, rel=1e-9)


def test_closed_form_is_near_where_the_loss_is_small():
    """64 x 64 cells of 1 to 100 uS, 1 ohm a cell: the exact transform loses 12 %, the closed form is 1 % off."""
    conductance = np.random.default_rng(7).uniform(1, 100, (64, 64))
    exact = effective_crossbar(conductance, wires(1, 1)).transfer_uS
    near = approximate_crossbar(conductance, wires(1, 1)).transfer_uS
    assert 0.85 < exact.sum() / conductance.sum() < 0.90
    assert np.abs(near - exact).max() / conductance.max() < 0.03
    assert abs(near.sum() / exact.sum() - 1) < 0.015


@pytest.mark.parametrize("name", ["row", "column", "driver", "sense"])
def test_more_resistance_never_carries_more(name):
    conductance = np.random.default_rng(8).uniform(1, 200, (8, 8))
    sums = [effective_crossbar(conductance, wires(**({"row": 1.0} | {name: r}))).transfer_uS.sum() for r in (1, 10, 99)]
    assert sums[0] > sums[1] > sums[2]


def test_what_cannot_be_solved_is_refused_in_a_sentence():
    good = np.ones((2, 2))
    for bad, text in ((-good, "0 uS or more"), (good * np.nan, "not finite"), (np.ones(3), "shape")):
        with pytest.raises(ConfigError, match=text):
            effective_crossbar(bad, wires(1))
    with pytest.raises(ConfigError, match="gated"):
        effective_crossbar(good, wires(1, access="gated"))
    with pytest.raises(ConfigError, match="GiB"):
        effective_crossbar(np.ones((1024, 1024)), wires(1))
    assert exact_bytes(128, 128) < 2**28
    with pytest.raises(SimulationError, match="singular"):
        effective_crossbar(np.zeros((1, 2)), wires(1, unselected_bitlines="floating"), columns_per_adc=2)


def test_a_crossbar_that_does_not_converge_fails(monkeypatch):
    monkeypatch.setattr("spikeloop.simulator.wires.solved.MAX_TURNS", 2)
    driven = np.ones((1, 16), np.uint8)
    with pytest.raises(SimulationError, match="did not converge"):
        solve_reads(np.full((16, 16), 300.0), driven, wires(500, 500, access="gated"), read_voltage_V=V)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"row_ohm": -1.0, "column_ohm": 1.0}, "row_ohm"),
        ({"row_ohm": 0.0, "column_ohm": 0.0}, "all resistances are 0"),
        ({"row_ohm": 1.0, "column_ohm": 1.0, "access": "gated", "unselected_bitlines": "floating"}, "grounded"),
        ({"row_ohm": 1.0, "column_ohm": 1.0, "access": "gated", "method": "approximate"}, "exact"),
        ({"row_ohm": 1.0, "column_ohm": 1.0, "inactive_rows": "floating", "method": "approximate"}, "grounded"),
    ],
)
def test_wires_that_make_no_sense_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        WiresConfig(source="test", **fields)
