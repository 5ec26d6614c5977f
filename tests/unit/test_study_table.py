"""Columns of a ledger give the fronts, counts and effects that its rows give."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_ledger import many_rows, row, synthetic_folder

from spikeloop.codesign import ledger as ledger_module
from spikeloop.codesign import study_view
from spikeloop.codesign.ledger import open_ledger
from spikeloop.codesign.pareto import front, hypervolume, value_of
from spikeloop.codesign.report_table import page_table
from spikeloop.codesign.study import read_study_folder
from spikeloop.codesign.study_table import read_table
from spikeloop.codesign.study_view import StudyView, read_view, study_table
from spikeloop.simulator.errors import StudyError

OBJECTIVES = [{"metric": "energy_fJ", "goal": "min"}, {"metric": "latency_ns", "goal": "min"}]


def view_of(folder: Path) -> StudyView:
    with open_ledger(folder / "ledger.sqlite") as ledger, ledger.snapshot():
        return read_view(ledger, read_study_folder(folder))


def test_front_and_volume_of_columns_are_those_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_view, "SHOWN_POINTS", 100)
    limit = {"metric": "area_um2", "at_most": 8e5}
    folder = synthetic_folder(tmp_path, [*many_rows(600)][::-1], constraints=[limit])
    view, study = view_of(folder), read_study_folder(folder)
    with open_ledger(folder / "ledger.sqlite") as ledger:
        rows, table = ledger.rows(), study_table(ledger, study)
        wanted = [value_of(item, "energy_fJ") for item in rows]
        assert table.metrics["energy_fJ"].tolist() == wanted, "every bit of a number must come through"
    kept = [item for item in rows if (value_of(item, "area_um2") or 0) <= 8e5]
    best = front(kept, study.objective_list())
    assert 1 < len(best) < len(kept) < 600
    assert view.front == {item.key for item in best}
    assert [item.index for item in view.front_rows] == [item.index for item in best]
    assert view.volumes[-1].n == 600
    assert view.reference_point is not None
    volume = hypervolume(best, study.objective_list(), view.reference_point)
    assert view.volumes[-1].volume == pytest.approx(volume, rel=1e-12)
    assert all(a.volume <= b.volume for a, b in zip(view.volumes, view.volumes[1:], strict=False))
    assert len(view.rows) == len(best) + (view.n_sampled or 0) < 600
    assert view_of(folder).rows[5].index == view.rows[5].index


def test_effects_are_means_over_the_designs_with_a_result(tmp_path: Path) -> None:
    """Bits 3: energies 1, 3; bits 4: 10; the infeasible one does not count, and the axis of one value is left out."""
    costs = [(3, 1.0), (3, 3.0), (4, 10.0)]
    rows = [
        row(i, {"hw.adc.bits": bits, "hw.dataflow.loop": "layer_major"}, energy_fJ=e, latency_ns=1.0)
        for i, (bits, e) in enumerate(costs)
    ]
    rows.append(row(3, {"hw.adc.bits": 4, "hw.dataflow.loop": "layer_major"}, reason="no such design"))
    view = view_of(synthetic_folder(tmp_path, rows, objectives=OBJECTIVES))
    found = [(e.axis, e.level, e.n, e.mean) for e in view.effects["energy_fJ"]]
    assert found == [("hw.adc.bits", 3, 2, 2.0), ("hw.adc.bits", 4, 1, 10.0)]
    first = view.effects["energy_fJ"][0]
    assert (first.low, first.high) == pytest.approx((1.2, 2.8))
    assert view.reasons == (("infeasible", "no such design", 1, 3),)


def test_stages_have_fronts_of_their_own(tmp_path: Path) -> None:
    """The cheap figures of the analytic stage beat all of the cycle stage and push none of them from its front."""
    rows = [row(i, {"hw.adc.bits": 3 + i}, energy_fJ=1.0 + i, latency_ns=1.0) for i in range(3)]
    rows += [
        row(3 + i, {"hw.adc.bits": 3 + i}, stage="cycle", energy_fJ=10.0 + i, latency_ns=9.0 - 4 * (i == 1))
        for i in range(3)
    ]
    view = view_of(synthetic_folder(tmp_path, rows, objectives=OBJECTIVES))
    assert view.front == {rows[i].key for i in (0, 3, 4)}
    assert view.stage == "cycle"
    assert [item.index for item in view.front_rows] == [3, 4]


def test_a_point_stands_in_every_stage_that_it_reached(tmp_path: Path) -> None:
    """Four designs in closed form, two of them trained: a bound of the accuracy tells nothing of the first stage."""
    cheap = [row(i, {"hw.adc.bits": 3 + i}, energy_fJ=1.0 + i, latency_ns=4.0 - i) for i in range(4)]
    dear = [
        dataclasses.replace(
            row(i, {"hw.adc.bits": 3 + i}, stage="full", accuracy=accuracy, energy_fJ=2.0 + i, latency_ns=1.0),
            key=f"{100 + i:064x}",
        )
        for i, accuracy in ((1, 0.7), (3, 0.9))
    ]
    folder = synthetic_folder(
        tmp_path,
        [*cheap, *dear],
        stage="full",
        network=None,
        teacher="digits_teacher",
        student="digits_student",
        objectives=[{"metric": "accuracy", "goal": "max"}, *OBJECTIVES],
        constraints=[{"metric": "accuracy", "at_least": 0.8}],
    )
    view = view_of(folder)
    assert view.stages == ("analytic", "full")
    assert view.stage == "full"
    assert view.front == {*(item.key for item in cheap), dear[1].key}
    assert [item.key for item in view.front_rows] == [dear[1].key]
    assert [(item.index, item.stage) for item in view.rows] == [
        (0, "analytic"),
        (1, "analytic"),
        (1, "full"),
        (2, "analytic"),
        (3, "analytic"),
        (3, "full"),
    ]
    assert len(page_table(view)["front"]) == 5


def test_axes_of_some_points_only_and_of_any_kind(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [{"hw.a": 'x,"y'}, {"hw.a": "b", "hw.b": 2}, {"hw.b": 1.5, "hw.c": True}, {}]
    rows = [row(i, item, energy_fJ=1.0, latency_ns=1.0) for i, item in enumerate(values)]
    folder = synthetic_folder(tmp_path, rows, objectives=OBJECTIVES)
    with open_ledger(folder / "ledger.sqlite") as ledger:
        table = study_table(ledger, read_study_folder(folder))
    assert {name: (axis.levels, axis.codes.tolist()) for name, axis in table.axes.items()} == {
        "hw.a": (("b", 'x,"y'), [1, 0, -1, -1]),
        "hw.b": ((1.5, 2), [-1, 1, 0, -1]),
        "hw.c": ((True,), [-1, -1, 0, -1]),
    }
    json.dumps(page_table(view_of(folder)), allow_nan=False)


def test_chunks_are_joined_in_the_order_of_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read two at a time, not in the order of their numbers; an axis may first be met in a later chunk."""
    monkeypatch.setattr(ledger_module, "TEXT_ROWS", 2)
    numbers = [65_000, 0, 19_999, 20_000, 7]
    rows = [row(n, {"hw.a": n} if n < 20_000 else {"hw.b": n}, energy_fJ=float(n), latency_ns=1.0) for n in numbers]
    folder = synthetic_folder(tmp_path, rows, objectives=OBJECTIVES)
    with open_ledger(folder / "ledger.sqlite") as ledger:
        table = read_table(ledger, ["energy_fJ", "accuracy"])
        shown = ledger.rows_at(table.row)
    assert table.point.tolist() == [item.index for item in shown] == sorted(numbers)
    assert np.array_equal(table.metrics["energy_fJ"], np.array(sorted(numbers), dtype=float))
    assert np.isnan(table.metrics["accuracy"]).all()
    assert table.axes["hw.b"].codes.tolist() == [-1, -1, -1, 0, 1]


#: Texts of axes that tempt a reader who cuts at commas.
HOSTILE: list[list[dict[str, Any]]] = [
    [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y"}],
    [{"a": 1}, {"a": 1, "b": 2, "c": 3}],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    [{"a": 'x,"b":2'}, {"a": '}, {"a":3'}],
    [{"a": "x", "b": '"},{"a":"'}, {"a": "},{", "b": "y"}],
    [{"a,b": 1, "c": 2}, {"a,b": 2, "c": 2}],
    [{}, {}, {"a": 1}],
    [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": "a"}],
    [{"a": 1e300, "b": False}, {"a": -0.0, "b": False}],
]


@pytest.mark.parametrize("values", HOSTILE)
@pytest.mark.parametrize("n_read", [1, 2, 100])
def test_axes_are_those_that_a_parser_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[dict[str, Any]], n_read: int
) -> None:
    monkeypatch.setattr(ledger_module, "TEXT_ROWS", n_read)
    rows = [row(i, item, energy_fJ=1.0, latency_ns=1.0) for i, item in enumerate(values)]
    with open_ledger(synthetic_folder(tmp_path, rows, objectives=OBJECTIVES) / "ledger.sqlite") as ledger:
        axes = read_table(ledger, ["energy_fJ"]).axes
    found = [
        {name: axis.levels[axis.codes[i]] for name, axis in axes.items() if axis.codes[i] >= 0}
        for i in range(len(values))
    ]
    assert found == values


def test_axes_that_are_no_json_are_damage(tmp_path: Path) -> None:
    folder = synthetic_folder(tmp_path, [row(0, {"hw.a": 1}, energy_fJ=1.0)], objectives=OBJECTIVES[:1])
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        connection.execute("""UPDATE points SET axes = '{"hw.a":1'""")
    with open_ledger(folder / "ledger.sqlite") as ledger, pytest.raises(StudyError, match="damaged"):
        read_table(ledger, ["energy_fJ"])


def test_an_empty_ledger_has_a_view(tmp_path: Path) -> None:
    view = view_of(synthetic_folder(tmp_path, [], objectives=OBJECTIVES))
    assert (view.rows, view.n_points, view.volumes, view.effects) == ((), 0, (), {"energy_fJ": (), "latency_ns": ()})
