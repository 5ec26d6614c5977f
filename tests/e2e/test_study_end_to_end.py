"""A small real study: teacher, students, crossbars, cycles, ledger, front; twice the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spikeloop.codesign.dry_run import dry_run
from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import open_ledger
from spikeloop.codesign.study import StudyConfig, load_study
from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.network.io import load_network


def small_study(**changes: Any) -> StudyConfig:
    """The smoke study with two epochs a training and 40 images."""
    smoke = load_study("smoke")
    assert isinstance(smoke.teacher, dict)
    assert isinstance(smoke.student, dict)
    short = {"epochs": 2, "frozen_epochs": 0}
    fields = {
        "teacher": {**smoke.teacher, **short},
        "student": {**smoke.student, **short},
        "images": 40,
        "calibration_images": 8,
        **changes,
    }
    return smoke.model_copy(update=fields)


def test_two_runs_of_a_real_study_are_identical_for_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        summary = run_study(small_study(), tmp_path / name, workers=workers)
        assert (summary.n_ok, summary.n_failed, summary.n_infeasible) == (8, 0, 0)
    one, two = ((tmp_path / name / "front.csv").read_bytes() for name in ("one", "two"))
    assert one == two
    with (
        open_ledger(tmp_path / "one" / "ledger.sqlite") as first,
        open_ledger(tmp_path / "two" / "ledger.sqlite") as second,
    ):
        assert first.digest() == second.digest()
        rows, stages = first.rows(), first.stages()
    assert [stage.stage for stage in stages] == ["teacher", "student", "student"]
    assert {row.values["student.membrane_bits"] for row in rows} == {2, 4}
    for row in rows:
        assert row.correct is not None
        assert row.metrics["accuracy"]["value"] == row.correct.mean()
        assert row.metrics["accuracy"]["n"] == 40
        assert row.metrics["edap_J_s_mm2"] > 0
        json.dumps(dict(row.metrics), allow_nan=False)
    files = (tmp_path / "one").glob("cache/student-*/network.safetensors")
    networks = [load_network(path).content_hash() for path in files]
    assert len(networks) == 2
    assert {row.versions["network"] for row in rows} == set(networks)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": 601}, "images=601, there are 600"),
        ({"cycle_images": 41}, "cycle_images=41, there are 40"),
        ({"calibration_images": 5000}, "calibration_images=5000, there are 1197"),
    ],
)
def test_more_images_than_there_are_is_refused_and_nothing_written(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        run_study(small_study(**changes), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_shipped_studies_are_valid_and_the_demo_is_large_enough() -> None:
    plans = {name: dry_run(load_study(name)) for name in shipped_files("studies")}
    assert {"demo", "smoke"} <= plans.keys()
    # Of a sweep the impossible points are not counted.
    assert all(not plan.n_infeasible for plan in plans.values())
    assert plans["demo"].n_points >= 48
    axes = load_study("demo").space
    assert {"student.weight_bits", "student.membrane_bits", "hw.crossbar.size", "hw.adc.bits"} <= axes.keys()


def test_a_teacher_has_at_least_the_steps_of_its_students(tmp_path: Path) -> None:
    """A student of fewer steps is taught by the teacher's first ones; one of more steps is infeasible."""
    axes = {"student.n_timesteps": [2, 8], "hw.adc.bits": [3]}
    summary = run_study(small_study(space=axes, tied={}), tmp_path / "out")
    assert (summary.n_ok, summary.n_infeasible, summary.n_failed) == (1, 1, 0)
    with open_ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        reasons = [row.reason for row in ledger.rows() if row.status == "infeasible"]
    assert len(reasons) == 1
    assert "n_timesteps=8" in reasons[0]
