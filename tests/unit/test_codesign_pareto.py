"""Fronts, hypervolume and the design to pick."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.codesign.ledger import Row
from spikeloop.codesign.pareto import (
    Objective,
    front,
    hypervolume,
    knee,
    reference_point,
    value_of,
    write_front_csv,
)

OBJECTIVES = (Objective(metric="accuracy", goal="max"), Objective(metric="edap_J_s_mm2", goal="min"))


def design(index: int, accuracy: float | None, edap: float, *, correct: Any = None, **changes: Any) -> Row:
    metrics = {
        "accuracy": {"value": accuracy, "n": 100 if accuracy is not None else 0, "ci95": None},
        "edap_J_s_mm2": edap,
        "energy_fJ": 2.5e9,
        "latency_ns": 1.5e3,
        "area_um2": 3e6,
    }
    fields: dict[str, Any] = {
        "index": index,
        "key": str(index),
        "status": "ok",
        "reason": "",
        "values": {"hw.adc.bits": index},
        "config": {},
        "metrics": metrics,
        "correct": correct,
        "seeds": {},
        "versions": {},
        "wall_s": 0.0,
        "cpu_s": 0.0,
        "tries": 1,
        "created_at": "",
    }
    return Row(**{**fields, **changes})


def answers(n_right: int, n: int = 1000) -> np.ndarray:
    """The first ``n_right`` images are classified rightly."""
    return np.arange(n) < n_right


coordinates = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=25)


@given(coordinates=coordinates, seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_front_is_the_set_of_points_that_nobody_dominates(coordinates: list[tuple[int, int]], seed: int) -> None:
    rows = [design(i, accuracy / 6, float(edap)) for i, (accuracy, edap) in enumerate(coordinates)]
    shuffled = random.Random(seed).sample(rows, len(rows))
    found = [row.index for row in front(shuffled, OBJECTIVES)]

    def dominated(i: int) -> bool:
        a, e = coordinates[i]
        return any(b >= a and f <= e and (b, f) != (a, e) for b, f in coordinates)

    assert found == [i for i in range(len(rows)) if not dominated(i)]


@given(coordinates=coordinates)
@settings(max_examples=50, deadline=None)
def test_equal_designs_all_stay_on_the_front(coordinates: list[tuple[int, int]]) -> None:
    rows = [design(i, accuracy / 6, float(edap)) for i, (accuracy, edap) in enumerate(coordinates)]
    twins = [design(i + 1000, accuracy / 6, float(edap)) for i, (accuracy, edap) in enumerate(coordinates)]
    alone = [row.index for row in front(rows, OBJECTIVES)]
    assert [row.index for row in front([*twins, *rows], OBJECTIVES)] == alone + [index + 1000 for index in alone]


def test_only_evaluated_designs_with_every_metric_are_candidates() -> None:
    rows = [
        design(0, 0.5, 2.0),
        design(1, 0.9, 1.0, status="failed"),
        design(2, None, 1.0),
        design(3, 0.9, 1.0, metrics={}),
    ]
    assert [row.index for row in front(rows, OBJECTIVES)] == [0]
    assert front(rows[1:], OBJECTIVES) == ()
    assert value_of(rows[2], "accuracy") is None


def test_three_objectives() -> None:
    objectives = (*OBJECTIVES, Objective(metric="energy_fJ", goal="min"))
    rows = [design(0, 0.9, 1.0), design(1, 0.8, 2.0)]
    rows[1] = design(1, 0.8, 2.0, metrics={**rows[1].metrics, "energy_fJ": 1.0})
    assert [row.index for row in front(rows, objectives)] == [0, 1]
    assert [row.index for row in front(rows, OBJECTIVES)] == [0]


def test_hypervolume_by_hand() -> None:
    """Up to accuracy 0 and EDAP 10: (0.5, 2) covers 0.5 * 8, (1.0, 6) adds 0.5 * 4."""
    rows = [design(0, 0.5, 2.0), design(1, 1.0, 6.0), design(2, 0.4, 7.0)]
    assert hypervolume(rows, OBJECTIVES, (0.0, 10.0)) == pytest.approx(0.5 * 8 + 0.5 * 4)
    assert hypervolume([], OBJECTIVES, (0.0, 10.0)) == 0.0
    assert reference_point(rows, OBJECTIVES) == (0.4, 7.0)
    assert reference_point([], OBJECTIVES) is None


def test_knee_by_hand() -> None:
    """Errors 50, 10, 0 of 100 at EDAP 1, 10, 10^4: log gains 0, ln(50.5/10.5)/ln(101) = 0.34, 1; prices 0, 0.25, 1."""
    rows = [
        design(0, 0.5, 1.0, correct=answers(500)),
        design(1, 0.9, 10.0, correct=answers(900)),
        design(2, 1.0, 1e4, correct=answers(1000)),
    ]
    choice = knee(rows)
    assert choice is not None
    assert (choice.row.index, choice.knee.index) == (1, 1)
    assert "hw.adc.bits=1" in choice.reason
    assert "accuracy 90.0 %" in choice.reason
    assert "1e+03 times less EDAP than the most accurate one (point 2) for 10.0 points" in choice.reason
    assert "2.5 uJ, 1.5 us, 3 mm2" in choice.reason


def test_pick_is_the_cheapest_design_that_the_images_cannot_tell_from_the_knee() -> None:
    rows = [
        design(0, 0.5, 1.0, correct=answers(500)),
        design(1, 0.899, 8.0, correct=answers(899)),
        design(2, 0.9, 9.0, correct=answers(900)),
        design(3, 0.98, 10.0, correct=answers(980)),
        design(4, 1.0, 1e4, correct=answers(1000)),
    ]
    choice = knee(rows)
    assert choice is not None
    assert (choice.row.index, choice.knee.index) == (3, 3)
    # 98.0 % against 97.9 %: one image in a thousand says nothing, so the cheaper one is built.
    close = [*rows[:2], design(2, 0.979, 9.9, correct=answers(979)), *rows[3:]]
    choice = knee(close)
    assert choice is not None
    assert (choice.row.index, choice.knee.index) == (2, 3)
    assert "1.01 times less EDAP than the knee of the front (point 3)" in choice.reason
    assert "inside the paired 95 % interval" in choice.reason


def test_knee_weighs_errors_by_ratio() -> None:
    """Errors 12, 7, 3.7, 2.8 %: the step from 7 to 3.7 % for 1.6 times the EDAP is the bend, not the first step."""
    rows = [
        design(0, 0.88, 6.9, correct=answers(880)),
        design(1, 0.93, 7.6, correct=answers(930)),
        design(2, 0.963, 12.2, correct=answers(963)),
        design(3, 0.972, 21.0, correct=answers(972)),
    ]
    choice = knee(rows)
    assert choice is not None
    assert choice.row.index == 2


def test_knee_does_not_depend_on_the_order() -> None:
    rows = [design(i, 0.5 + 0.05 * i, 2.0**i, correct=answers(500 + 50 * i)) for i in range(9)]
    first = knee(rows)
    assert first is not None
    for seed in range(5):
        again = knee(random.Random(seed).sample(rows, len(rows)))
        assert again is not None
        assert (again.row.index, again.reason) == (first.row.index, first.reason)


def test_knee_of_a_small_front() -> None:
    assert knee([]) is None
    alone = knee([design(4, 0.5, 1.0)])
    assert alone is not None
    assert alone.row.index == 4
    equal = knee([design(4, 0.5, 1.0), design(2, 0.5, 1.0)])
    assert equal is not None
    assert equal.row.index == 2


def test_front_csv_is_exact_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    rows = [design(0, 0.1 + 0.2, 1e-30), design(1, 0.5, 2.0, values={"hw.adc.bits": 1, "hw.dataflow.loop": "=1+1"})]
    write_front_csv(path, rows)
    text = path.read_text()
    lines = list(csv.DictReader(text.splitlines()))
    assert float(lines[0]["accuracy"]) == 0.1 + 0.2
    assert lines[0]["edap_J_s_mm2"] == "1e-30"
    assert lines[0]["hw.dataflow.loop"] == ""
    assert lines[1]["hw.dataflow.loop"] == "'=1+1"
    assert lines[1]["tops"] == ""
    write_front_csv(path, rows)
    assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["front.csv"]
