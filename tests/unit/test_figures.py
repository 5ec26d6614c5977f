from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_study import synthetic_point, synthetic_study

from spikeloop.codesign import figure_tables, figures
from spikeloop.codesign.results import StudyResults

STUDY = synthetic_study()


def _dominates(a: figure_tables.CurvePoint, b: figure_tables.CurvePoint) -> bool:
    return a.x <= b.x and a.y >= b.y and (a.x < b.x or a.y > b.y)


def test_every_design_is_drawn_once_and_front_points_dominate_nothing_of_the_front() -> None:
    table = figure_tables.edap_table(STUDY)
    drawn = [p.label for p in (*table.dominated, *table.front)]
    assert sorted(drawn) == sorted(p.name for p in STUDY.points)
    assert not any(_dominates(a, b) for a in table.front for b in table.front)
    assert all(any(_dominates(f, d) for f in table.front) for d in table.dominated)


def test_step_line_rises_from_cheap_to_dear_and_no_design_lies_above_it() -> None:
    table = figure_tables.edap_table(STUDY)
    xs, ys = zip(*table.steps, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)
    for point in (*table.dominated, *table.front):
        reached = max((y for x, y in table.steps if x <= point.x), default=-math.inf)
        assert point.y <= reached


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(list(range(len(STUDY.points)))))
def test_tables_do_not_depend_on_the_order_of_the_ledger(order: list[int]) -> None:
    shuffled = dataclasses.replace(STUDY, points=tuple(STUDY.points[i] for i in order))
    assert figure_tables.edap_table(shuffled) == figure_tables.edap_table(STUDY)
    assert figure_tables.membrane_table(shuffled) == figure_tables.membrane_table(STUDY)
    assert figure_tables.adc_table(shuffled) == figure_tables.adc_table(STUDY)


def test_picked_design_is_marked_in_per_cent_with_its_interval() -> None:
    picked = STUDY.picked
    table = figure_tables.edap_table(STUDY)
    assert picked is not None
    assert table.picked is not None
    assert picked.accuracy is not None
    assert picked.ci95 is not None
    assert table.picked.y == pytest.approx(100 * picked.accuracy)
    assert (table.picked.low, table.picked.high) == pytest.approx((100 * picked.ci95[0], 100 * picked.ci95[1]))
    assert table.picked.label == picked.name


def test_membrane_curves_hold_the_hardware_still() -> None:
    picked = STUDY.picked
    assert picked is not None
    curves = figure_tables.membrane_table(STUDY)
    assert [c.name for c in curves] == ["2-bit weights", "3-bit weights", "4-bit weights"]
    for curve in curves:
        assert [p.x for p in curve.points] == [2, 3, 4, 6]
        assert all(p.label.endswith(f"{picked.rows}x{picked.cols} ADC{picked.adc_bits}") for p in curve.points)


def test_adc_curves_hold_the_network_still_and_are_sorted_by_crossbar_size() -> None:
    picked = STUDY.picked
    assert picked is not None
    curves = figure_tables.adc_table(STUDY)
    assert [c.name for c in curves] == ["64 x 64 cells", "128 x 128 cells"]
    for curve in curves:
        assert [p.x for p in curve.points] == [3, 4, 5, 6]
        assert all(p.label.startswith(f"W{picked.weight_bits} V{picked.membrane_bits} ") for p in curve.points)


@pytest.mark.parametrize(("quantity", "field", "scale"), [("energy", "energy_fJ", 1e-6), ("area", "area_um2", 1e-6)])
def test_stacked_parts_add_up_to_the_whole(quantity: figure_tables.Quantity, field: str, scale: float) -> None:
    table = figure_tables.breakdown_table(STUDY.front, quantity)
    for number, point in enumerate(STUDY.front):
        whole = math.fsum(getattr(part, field) for part in point.components) * scale
        assert math.fsum(values[number] for values in table.values) == pytest.approx(whole, rel=1e-12)


def test_bar_of_the_picked_design_says_so() -> None:
    bars = figure_tables.breakdown_table(STUDY.front, "area").bars
    assert STUDY.picked is not None
    assert [bar for bar in bars if "picked" in bar] == [f"{STUDY.picked.name} (picked)"]


def test_small_components_are_drawn_together_as_other() -> None:
    table = figure_tables.breakdown_table(STUDY.front, "energy")
    assert table.parts[0] == "adc"
    assert table.parts[-1] == "other"
    assert not {"io", "global"} & set(table.parts)


def test_latency_bars_keep_network_order_and_add_up_to_the_latency() -> None:
    picked = STUDY.picked
    assert picked is not None
    table = figure_tables.latency_table(picked)
    assert table.bars == ("conv1", "conv2", "conv3", "classifier", "input load")
    assert math.fsum(table.values[0]) == pytest.approx(picked.latency_ns / 1e3, rel=1e-12)


def test_every_figure_is_written_as_png_and_svg_with_units_on_its_axes(tmp_path: Path) -> None:
    written = figures.draw_figures(STUDY, tmp_path / "figures")
    stems = [path.stem for path in written if path.suffix == ".png"]
    assert stems == [
        "accuracy_edap",
        "accuracy_membrane_bits",
        "accuracy_adc_bits",
        "energy_breakdown",
        "area_breakdown",
        "area_treemap",
        "energy_layers",
        "area_layers",
        "latency_layers",
    ]
    labels = {
        path.stem: " ".join(
            "".join(text.itertext()) for text in ElementTree.parse(path).iter() if text.tag.endswith("}text")
        )
        for path in written
        if path.suffix == ".svg"
    }
    units = {
        "accuracy_edap": "J s mm²",
        "energy_breakdown": "(nJ)",
        "area_breakdown": "(mm²)",
        "area_treemap": "mm²",
        "energy_layers": "(nJ)",
        "area_layers": "(mm²)",
        "latency_layers": "(us)",
    }
    assert all(unit in labels[stem] for stem, unit in units.items())
    assert all("accuracy on simulated hardware (%)" in labels[stem] for stem in stems if stem.startswith("accuracy"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written if path.suffix == ".png")


def test_same_results_draw_the_same_bytes(tmp_path: Path) -> None:
    first = figures.draw_figures(STUDY, tmp_path / "a")
    second = figures.draw_figures(STUDY, tmp_path / "b")
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in second]


def test_study_without_data_has_cost_figures_only(tmp_path: Path) -> None:
    written = figures.draw_figures(synthetic_study(with_accuracy=False), tmp_path)
    assert {path.stem for path in written} == {
        "energy_breakdown",
        "area_breakdown",
        "area_treemap",
        "energy_layers",
        "area_layers",
        "latency_layers",
    }


def test_results_without_cells_have_no_picture_of_cells(tmp_path: Path) -> None:
    points = tuple(dataclasses.replace(point, cells=()) for point in STUDY.points)
    written = figures.draw_figures(dataclasses.replace(STUDY, points=points), tmp_path)
    stems = {path.stem for path in written}
    assert "energy_breakdown" in stems
    assert not stems & {"area_treemap", "energy_layers", "area_layers"}


@pytest.mark.parametrize(("quantity", "field"), [("energy", "energy_fJ"), ("area", "area_um2")])
def test_bars_of_layers_and_blocks_of_components_add_up_to_the_design(
    quantity: figure_tables.Quantity, field: str
) -> None:
    picked = STUDY.picked
    assert picked is not None
    bars = figure_tables.layer_table(picked, quantity)
    assert bars.bars == tuple(layer.name for layer in picked.layers)
    for number, layer in enumerate(picked.layers):
        own = math.fsum(values[number] for values in bars.values)
        assert own == pytest.approx(getattr(layer, field) / 1e6, rel=1e-12)
    tree = figure_tables.tree_table(picked, quantity)
    whole = {part.name: getattr(part, field) / 1e6 for part in picked.components}
    assert {part.name: part.value for part in tree.parts} == pytest.approx(whole, rel=1e-12)
    values = [part.value for part in tree.parts]
    assert values == sorted(values, reverse=True)
    for part in tree.parts:
        assert math.fsum(leaf.value for leaf in part.layers) == pytest.approx(part.value, rel=1e-12)
    assert tree.total == pytest.approx(getattr(picked, field) / 1e6, rel=1e-12)


def test_every_component_has_a_colour_of_its_own() -> None:
    from spikeloop.simulator.cost.library import COMPONENTS

    colours = [figure_tables.component_colour(name) for name in COMPONENTS]
    assert len({*colours, figure_tables.OTHER_COLOUR, figures.GREY}) == len(COMPONENTS) + 2
    every = figure_tables.COMPONENT_COLOURS.values()
    assert len(set(every)) == len(every)


def test_empty_study_draws_nothing(tmp_path: Path) -> None:
    empty = StudyResults(name="none", study_hash="0", points=(), pick_reason="no design has a result yet")
    assert figures.draw_figures(empty, tmp_path) == ()


def test_long_front_is_thinned_but_keeps_both_ends_and_the_picked_design(tmp_path: Path) -> None:
    points = [
        dataclasses.replace(
            synthetic_point(2, 2, 64, 3), name=f"d{i}", edap_J_s_mm2=float(i), on_front=True, picked=i == 17
        )
        for i in range(1, 41)
    ]
    study = dataclasses.replace(STUDY, points=tuple(points))
    names = [p.name for p in figures.bar_points(study)]
    assert len(names) <= 15
    assert {"d1", "d17", "d40"} <= set(names)


@settings(max_examples=200, deadline=None)
@given(low=st.floats(1e-18, 1e3), factor=st.floats(1.0, 1e6))
def test_log_ticks_lie_at_the_data_and_are_few(low: float, factor: float) -> None:
    values = [tick.value for tick in figure_tables.log_ticks([low, low * factor])]
    assert values == sorted(set(values))
    assert all(low / 1.13 <= value <= low * factor * 1.13 for value in values)
    assert len(values) <= 10
    assert len(values) >= 2 or factor < 3


def test_log_ticks_of_nothing_are_none() -> None:
    assert figure_tables.log_ticks([]) == []


def test_what_the_bars_cover_is_said_with_the_number_of_images() -> None:
    results = synthetic_study()
    counts = {point.n for point in results.points}
    assert len(counts) == 1
    note = figure_tables.interval_note(results)
    assert f"over {counts.pop()} test images" in note
    assert "trained once" in note


def test_images_of_different_numbers_are_said_as_a_range() -> None:
    results = synthetic_study()
    points = tuple(dataclasses.replace(point, n=100 + 50 * i) for i, point in enumerate(results.points))
    note = figure_tables.interval_note(dataclasses.replace(results, points=points))
    assert f"over 100 to {100 + 50 * (len(points) - 1)} test images" in note
