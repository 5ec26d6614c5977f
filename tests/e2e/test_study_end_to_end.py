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


def test_a_study_in_stages_looks_for_the_width_of_every_layer(tmp_path: Path) -> None:
    tiles = load_study("precision_tiles")
    assert [item.stage for item in tiles.stages] == ["analytic", "ptq", "full"]
    space = {
        "student.layer_bits": {"per_layer": [2, 4], "layers": ["conv1", "fc"]},
        "hw.adc.bits": [3, 5],
        "hw.adc.columns_per_adc": [4, 8],
    }
    stages = [
        {"stage": "analytic", "promote": {"margin": 0.0, "at_most": 6}},
        {"stage": "ptq", "promote": {"margin": 0.1, "at_most": 2}},
        {"stage": "full"},
    ]
    fields = {**small_study().resolved(), "space": space, "tied": {}, "stages": stages, "name": "staged"}
    study = StudyConfig.model_validate(fields)
    plan = dry_run(study)
    assert [(item.stage, item.n_points, item.n_students) for item in plan.stages] == [
        ("analytic", 16, 0),
        ("ptq", 6, 4),
        ("full", 2, 2),
    ]
    summary = run_study(study, tmp_path)
    assert (summary.n_failed, summary.n_missing) == (0, 0)
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        rows, prepared, meta = ledger.rows(), ledger.stages(), ledger.meta()
    by_stage = {stage: [row for row in rows if row.stage == stage] for stage in ("analytic", "ptq", "full")}
    assert {stage: len(found) for stage, found in by_stage.items()} == {"analytic": 16, "ptq": 6, "full": 2}
    # Columns an ADC change the cost only: of two designs that compute the same, the cheaper one went on.
    for row in by_stage["ptq"]:
        twins = [
            other.metrics["edap_J_s_mm2"]
            for other in by_stage["analytic"]
            if {**other.values, "hw.adc.columns_per_adc": 0} == {**row.values, "hw.adc.columns_per_adc": 0}
        ]
        assert len(twins) == 2
        assert by_stage["analytic"][row.index].metrics["edap_J_s_mm2"] == min(twins)
    assert meta["promoted.ptq"] == [row.index for row in by_stage["full"]]
    kinds = [item.stage for item in prepared]
    assert kinds.count("teacher") == 1
    assert 1 <= kinds.count("student") <= 2
    assert kinds.count("ptq") <= 4
    networks = [load_network(path) for path in (tmp_path / "cache").glob("ptq-*/network.safetensors")]
    widths = {(n.node("conv1").weight_bits, n.node("fc").weight_bits) for n in networks}
    assert widths <= {(a, b) for a in (2, 4) for b in (2, 4)}
    assert run_study(study, tmp_path, resume=True).n_resumed == 24
