"""Metrics: definitions, exact sums, intervals, the JSON object."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from cost_cases import TECHNOLOGY, mapped, small_design, small_network
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.cost.library import COMPONENTS, cost_library
from spikeloop.simulator.cycle.actions import ACTIONS
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.cycle.trace import Trace
from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.metrics import (
    UNIT_COMPONENT,
    Accuracy,
    Metrics,
    measure,
    paired_interval,
    to_json,
    wilson_interval,
)
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.program import UNIT_KINDS, Program, compile_program
from spikeloop.simulator.usage import AdcUse

NO_DATA = Accuracy(value=None, n=0, ci95=None)


def ran(network: Network, hw: HardwareConfig, *, n_images: int = 1, seed: int = 0):
    """Mapping, program, activity and trace of random activity."""
    mapping, _ = mapped(network, hw)
    program = compile_program(mapping, hw)
    activity = random_activity(mapping, network.n_timesteps, n_images, seed)
    return mapping, program, activity, run_cycles(program, activity)


def random_activity(mapping, n_timesteps: int, n_images: int, seed: int) -> Activity:
    """Driven rows drawn freely within each row group."""
    rng = np.random.default_rng(seed)
    layers = []
    for item in mapping.layers:
        runs = 1 if item.layer.input.static else n_timesteps
        groups = np.array(
            [
                item.rows_in_group(block, read)
                for _ in range(item.layer.n_groups)
                for block in range(item.row_blocks)
                for read in range(item.reads_per_vector)
            ]
        )
        shape = (n_images, runs, item.layer.n_positions, item.layer.input.n_planes, groups.size)
        layers.append(
            LayerActivity(
                active_rows=rng.integers(0, groups + 1, shape).astype(np.uint16),
                input_ones=rng.integers(0, 9, (n_images, runs)),
                spikes_out=rng.integers(0, 9, (n_images, n_timesteps)),
            )
        )
    return Activity(layers=tuple(layers), origin="drawn for a test")


def measured(network: Network | None = None, hw: HardwareConfig | None = None, **more) -> Metrics:
    hw = hw or small_design()
    mapping, program, activity, trace = ran(network or small_network(), hw, **more)
    return of(trace, mapping, hw, program, activity)


def of(trace: Trace, mapping, hw: HardwareConfig, program: Program, activity: Activity) -> Metrics:
    n = len(mapping.layers)
    return measure(
        trace,
        mapping,
        hw,
        TECHNOLOGY,
        program=program,
        activity=activity,
        accuracy=NO_DATA,
        seed=3,
        adc_use=tuple(AdcUse(shift_max=i, clipped_fraction=0.25) for i in range(n)),
    )


@pytest.mark.parametrize("loop", ["timestep_major", "layer_major"])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("n_images", [1, 3])
def test_parts_add_up_to_the_whole_exactly(loop, static, n_images):
    m = measured(small_network(static=static), small_design(loop=loop), n_images=n_images)
    for field in ("energy_fJ", "area_um2"):
        whole = getattr(m, field)
        assert math.fsum(getattr(part, field) for part in m.by_component.values()) == whole
        assert math.fsum(getattr(part, field) for part in m.by_layer) == whole
        cells = [getattr(part, field) for layer in m.by_layer for part in layer.by_component.values()]
        assert math.fsum(cells) == whole
        for layer in m.by_layer:
            assert math.fsum(getattr(part, field) for part in layer.by_component.values()) == getattr(layer, field)
        for name, component in m.by_component.items():
            own = [layer.by_component[name] for layer in m.by_layer if name in layer.by_component]
            assert math.fsum(getattr(part, field) for part in own) == getattr(component, field)
    assert sum(layer.cycles for layer in m.by_layer) == m.cycles
    assert sum(layer.dense_ops for layer in m.by_layer) == m.dense_ops
    assert sum(layer.sops for layer in m.by_layer) == m.sops
    assert m.by_layer[-1].name == "shared"
    assert tuple(m.by_component) == COMPONENTS


@given(
    st.lists(st.lists(st.floats(0, 1e15), min_size=3, max_size=3), min_size=1, max_size=6),
)
@example([[0.0, 0.0, 2.0e-309]])
@settings(max_examples=200, deadline=None)
def test_any_cells_add_up_exactly_both_ways_and_hardly_move(cells):
    from spikeloop.simulator.pricing import exact_cells

    raw = np.array(cells)
    grid = exact_cells(raw)
    rows = math.fsum(math.fsum(row) for row in grid)
    columns = math.fsum(math.fsum(column) for column in grid.T)
    assert rows == columns == math.fsum(grid.flat) == float(grid.sum())
    assert np.abs(grid - raw).max() <= 5e-16 * max(raw.sum(), 1e-300)


def test_energy_is_actions_plus_leakage_over_the_interval():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    silent = dataclasses.replace(trace, action_counts={name: np.zeros(2, dtype=np.int64) for name in ACTIONS})
    leaked = of(silent, mapping, hw, program, activity)
    leakage_uW = sum(part.leakage_uW for part in cost_library(mapping, hw, TECHNOLOGY))
    assert leaked.energy_fJ == pytest.approx(leakage_uW * trace.total_cycles * 4.0, rel=1e-12)
    one = {name: np.zeros(2, dtype=np.int64) for name in ACTIONS} | {"neuron_update": np.array([10, 0])}
    ten = of(dataclasses.replace(trace, action_counts=one), mapping, hw, program, activity)
    # 14-bit neuron, two additions (176.30 fJ, tests/unit/test_cost_formulas.py) and a comparison, plus 22 % control.
    by_hand = 1.22 * 10 * (2 * 176.30 + 29.5 * (1.332 / 0.694116) * 14 / 32)
    assert ten.energy_fJ - leaked.energy_fJ == pytest.approx(by_hand, rel=1e-4)
    assert ten.by_layer[0].energy_fJ - leaked.by_layer[0].energy_fJ == pytest.approx(by_hand, rel=1e-4)
    assert ten.by_layer[1].energy_fJ == pytest.approx(leaked.by_layer[1].energy_fJ, rel=1e-9)


def test_figures_of_merit_follow_their_definitions():
    m = measured()
    # conv: 36 positions x 16 outputs x 18 rows, classifier 144 x 4; two operations each, at 4 steps.
    assert m.dense_ops == 2 * (36 * 16 * 18 + 144 * 4) * 4
    assert m.latency_ns == m.cycles * 4.0
    assert m.interval_ns == m.latency_ns
    seconds, joules, mm2 = m.latency_ns / 1e9, m.energy_fJ / 1e15, m.area_um2 / 1e6
    assert m.tops == pytest.approx(m.dense_ops / seconds / 1e12, rel=1e-12)
    assert m.tops_per_W == pytest.approx(m.dense_ops / joules / 1e12, rel=1e-12)
    assert m.tops_per_mm2 == pytest.approx(m.tops / mm2, rel=1e-12)
    assert m.edap_J_s_mm2 == pytest.approx(joules * seconds * mm2, rel=1e-12)
    assert m.edap_interval_J_s_mm2 == m.edap_J_s_mm2


def test_dense_ops_ignore_bits_and_count_a_direct_coded_layer_once():
    assert measured(small_network(weight_bits=3)).dense_ops == measured(small_network(weight_bits=4)).dense_ops
    assert measured(small_network(static=True)).by_layer[0].dense_ops == 2 * 36 * 16 * 18


def test_synaptic_operations_are_driven_rows_times_outputs():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    m = of(trace, mapping, hw, program, activity)
    assert m.by_layer[0].sops == int(activity.layers[0].active_rows.sum()) * 16
    assert m.by_layer[1].sops == int(activity.layers[1].active_rows.sum()) * 4


def test_input_density_is_the_share_of_ones():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    m = of(trace, mapping, hw, program, activity)
    assert m.by_layer[0].input_density == pytest.approx(activity.layers[0].input_ones.sum() / (4 * 2 * 36))
    # The classifier's inputs are pooled sums of 3 bits.
    assert m.by_layer[1].input_density == pytest.approx(activity.layers[1].input_ones.sum() / (4 * 144 * 3))


@pytest.mark.parametrize("loop", ["timestep_major", "layer_major"])
def test_cycles_of_the_shared_row_are_the_input_load(loop):
    hw = small_design(loop=loop)
    mapping, program, activity, trace = ran(small_network(), hw)
    m = of(trace, mapping, hw, program, activity)
    assert m.cycles == trace.total_cycles
    # The input has phases of its own: one an image, or one a step where codes differ from step to step.
    layers = {(int(a), int(b)) for a, b in zip(trace.phase_start.ravel(), trace.phase_end.ravel(), strict=True)}
    assert m.by_layer[-1].cycles == trace.total_cycles - sum(b - a for a, b in layers) > 0


def test_metrics_are_means_over_images():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw, n_images=2)
    halves = []
    for i in range(2):
        part = Activity(
            layers=tuple(
                LayerActivity(
                    active_rows=layer.active_rows[i : i + 1],
                    input_ones=layer.input_ones[i : i + 1],
                    spikes_out=layer.spikes_out[i : i + 1],
                )
                for layer in activity.layers
            ),
            origin=activity.origin,
        )
        halves.append(of(run_cycles(program, part), mapping, hw, program, part))
    both = of(trace, mapping, hw, program, activity)
    assert both.energy_fJ == pytest.approx((halves[0].energy_fJ + halves[1].energy_fJ) / 2, rel=1e-12)
    assert both.latency_ns == pytest.approx((halves[0].latency_ns + halves[1].latency_ns) / 2, rel=1e-12)


def test_latency_and_busy_cycles_are_means_of_a_busy_and_a_silent_image():
    hw = small_design()
    mapping, program, activity, _ = ran(small_network(), hw, n_images=2)
    for layer in activity.layers:
        layer.active_rows[0] = 0
    silent = Activity(
        layers=tuple(dataclasses.replace(layer, active_rows=layer.active_rows[:1]) for layer in activity.layers),
        origin="silent",
    )
    one, both = run_cycles(program, silent), run_cycles(program, activity)
    assert both.total_cycles > 2 * one.total_cycles
    m = of(both, mapping, hw, program, activity)
    assert m.latency_ns == pytest.approx(both.total_cycles / 2 * hw.cycle_ns, rel=1e-12)
    assert m.interval_ns == m.latency_ns
    assert sum(part.busy_cycles for part in m.by_component.values()) == pytest.approx(both.busy.sum() / 2, abs=10)


def test_busy_cycles_count_each_unit_once():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    m = of(trace, mapping, hw, program, activity)
    assert set(UNIT_COMPONENT) == set(UNIT_KINDS)
    assert sum(part.busy_cycles for part in m.by_component.values()) == int(trace.busy.sum())


def test_crossbars_and_tiles_of_a_layer_are_counted():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    m = of(trace, mapping, hw, program, activity)
    assert [layer.n_crossbars for layer in m.by_layer] == [*(item.n_crossbars for item in mapping.layers), 0]
    assert [layer.n_tiles for layer in m.by_layer] == [*(len(item.tiles) for item in mapping.layers), 0]
    assert [layer.adc_lsb for layer in m.by_layer[:-1]] == [1, 2]


def test_sources_are_cited_and_large_assumptions_named():
    m = measured()
    assert any(line.startswith("adc.sar: ZigZag-IMC") and line.endswith("[derived]") for line in m.sources)
    assert list(m.sources) == sorted(m.sources)
    assert any("scaling (a doubted number) stands behind" in line for line in m.warnings)
    for line in m.warnings:
        assert "an assumption" in line or "a doubted number" in line or "the clock gives it" in line


def test_warnings_name_only_what_matters():
    from spikeloop.simulator.cost.provenance import weak_numbers

    mapping, hw = mapped()
    components = cost_library(mapping, hw, TECHNOLOGY)
    only_adc = [1.0 if component.name == "adc" else 0.0 for component in components]
    lines = [line for line in weak_numbers(components, only_adc, 0.0, TECHNOLOGY) if " of the energy " in line]
    assert lines == []
    only_bus = [1.0 if component.name == "tile_bus" else 0.0 for component in components]
    lines = [line for line in weak_numbers(components, only_bus, 0.0, TECHNOLOGY) if " of the energy " in line]
    assert [line.split(" stands")[0] for line in lines] == [
        "bus.repeater_ratio (an assumption)",
        "bus.toggle_ratio (an assumption)",
        "supply.vdd_V (an assumption)",
    ]


def test_trace_of_another_network_is_refused():
    hw = small_design()
    mapping, program, activity, trace = ran(small_network(), hw)
    short = dataclasses.replace(trace, action_counts={name: np.zeros(3, dtype=np.int64) for name in ACTIONS})
    with pytest.raises(
        SimulationError, match=r"has 2 layers; got 1 images with counts and activity of \[2, 3\] layers"
    ):
        of(short, mapping, hw, program, activity)
    counts = {name: values for name, values in trace.action_counts.items() if name != "adc_conversion"}
    uncounted = dataclasses.replace(trace, action_counts=counts)
    with pytest.raises(SimulationError, match="no counts of adc_conversion"):
        of(uncounted, mapping, hw, program, activity)


def test_json_has_the_agreed_keys_and_is_finite():
    text = json.dumps(to_json(measured()), allow_nan=False)
    parsed = json.loads(text)
    expected = [
        "schema",
        "network",
        "hardware",
        "seed",
        "accuracy",
        "energy_fJ",
        "latency_ns",
        "interval_ns",
        "area_um2",
        "edap_J_s_mm2",
        "edap_interval_J_s_mm2",
        "tops",
        "tops_per_W",
        "tops_per_mm2",
        "sops",
        "cycles",
        "by_component",
        "by_layer",
        "by_lif",
        "sources",
    ]
    assert set(expected) <= set(parsed)
    assert parsed["schema"] == 1
    assert parsed["accuracy"] == {"value": None, "n": 0, "ci95": None}
    assert set(parsed["by_component"]["adc"]) == {"energy_fJ", "area_um2", "count", "busy_cycles"}
    assert math.fsum(row["energy_fJ"] for row in parsed["by_layer"]) == parsed["energy_fJ"]


def test_wilson_interval_worked_by_hand():
    """Newcombe 1998 (Statistics in Medicine 17:857), Table I: 81 of 263 -> 0.2553 to 0.3662; 0 of 20 -> 0 to 0.1611."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="allowed 0 <= k <= n"):
        wilson_interval(k, n)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200, deadline=None)
def test_wilson_interval_holds_the_share_and_stays_inside_0_and_1(case):
    k, n = case
    low, high = wilson_interval(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0


def _answers(both: int, only_a: int, only_b: int, neither: int):
    a = np.array([1] * both + [1] * only_a + [0] * only_b + [0] * neither, dtype=bool)
    b = np.array([1] * both + [0] * only_a + [1] * only_b + [0] * neither, dtype=bool)
    return a, b


def test_paired_interval_worked_by_hand():
    """Newcombe 1998 (Statistics in Medicine 17:2635), Table II, method 10: 36 12 2 0 -> 0.0569 to 0.3404."""
    assert paired_interval(*_answers(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_paired_interval_corrects_a_positive_correlation_for_continuity():
    """30 5 5 10: phi = (30*10 - 5*5 - 50/2) / (35 * 15); 20 8 8 14: (280 - 64 - 25) / (28 * 22)."""
    for counts, phi in (((30, 5, 5, 10), 250 / 525), ((20, 8, 8, 14), 191 / 616)):
        n, right = sum(counts), counts[0] + counts[1]
        low, high = wilson_interval(right, n)
        below, above = right / n - low, high - right / n
        half = math.sqrt(below**2 - 2 * phi * below * above + above**2)
        assert paired_interval(*_answers(*counts)) == pytest.approx((-half, half), abs=1e-12)


def test_paired_interval_has_width_without_any_difference():
    low, high = paired_interval(*_answers(90, 0, 0, 10))
    assert low < 0.0 < high
    # Answers that agree image by image say more than equal shares on different images.
    assert high - low < 2 * (wilson_interval(90, 100)[1] - wilson_interval(90, 100)[0])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_paired_interval_holds_the_difference_and_turns_with_the_designs(pairs):
    a, b = (np.array(answers, dtype=bool) for answers in zip(*pairs, strict=True))
    low, high = paired_interval(a, b)
    assert low <= a.mean() - b.mean() + 1e-12
    assert high >= a.mean() - b.mean() - 1e-12
    back = paired_interval(b, a)
    assert back == pytest.approx((-high, -low), abs=1e-12)


def test_paired_interval_refuses_answers_of_different_images():
    with pytest.raises(ValueError, match=r"got shapes \(3,\) and \(2,\)"):
        paired_interval(np.ones(3, dtype=bool), np.ones(2, dtype=bool))
