"""A study whose students are trained on the designs: which designs share a student, and what its training gets."""

from pathlib import Path
from typing import Any

import pytest

import spikeloop.distill.checkpoint
import spikeloop.distill.train
from spikeloop.codesign import stages
from spikeloop.codesign.plan import Plan, make_plan
from spikeloop.codesign.study import EACH_DESIGN, StudyConfig, resolve_study
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.simulator.errors import ConfigError


def plan_of(**student: Any) -> Plan:
    """Two widths, two ADCs, two sizes of a tile: eight designs."""
    fields = load_training_config("digits_student").resolved()
    study = StudyConfig.model_validate(
        {
            "name": "on_designs",
            "hardware": "demo",
            "teacher": "digits_teacher",
            "student": {**fields, **student},
            "space": {
                "student.weight_bits": [2, 4],
                "hw.adc.bits": [3, 4],
                "hw.tile.pes_per_tile": [4, 8],
            },
        }
    )
    return make_plan(resolve_study(study))


def test_designs_that_compute_the_same_share_a_student() -> None:
    """An ADC changes what training sees, a tile does not; without hardware in training nothing of a design does."""
    plain, trained = plan_of(), plan_of(hardware={"accelerator": "demo"})
    assert len(plain.points) == len(trained.points) == 8
    assert len(plain.students) == 2
    assert len(trained.students) == 4
    for planned in trained.points:
        (student,) = (student for student in trained.students if student.key == planned.student_key)
        assert student.hardware is not None
        assert student.hardware["adc"]["bits"] == planned.point.values["hw.adc.bits"]
    other = plan_of(hardware={"accelerator": "spikeflow_128"})
    assert [point.key for point in other.points] == [point.key for point in trained.points]


def test_training_gets_the_design_of_the_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stands in the file is only a mark."""
    seen: list[TrainingConfig] = []

    def train_student(config: TrainingConfig, *_: Any, **__: Any) -> None:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(spikeloop.distill.train, "train_student", train_student)
    monkeypatch.setattr(spikeloop.distill.checkpoint, "load_checkpoint", lambda _: type("Trained", (), {"net": None}))
    student = plan_of(hardware={"accelerator": "demo"}).students[1]
    assert student.training["hardware"]["accelerator"] == EACH_DESIGN
    job = stages.StudentJob(
        key=student.key,
        values=student.values,
        training=student.training,
        dataset="digits",
        seed=1,
        teacher_folder="none",
        folder=str(tmp_path / "student"),
        hardware=student.hardware,
    )
    with pytest.raises(KeyboardInterrupt):
        stages.prepare_student((job,))
    assert seen[0].hardware is not None
    assert seen[0].hardware.design().adc_bits == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("student", "named"),
    [
        ({"start": "runs/other"}, "start"),
        ({"losses": {"firing_penalty": 1.0, "energy_from": "metrics.json"}}, "losses.energy_from"),
    ],
)
def test_files_are_not_followed(student: dict[str, Any], named: str) -> None:
    """A study's keys know no files."""
    with pytest.raises(ConfigError, match=f"student: {named} names a file"):
        plan_of(**student)
