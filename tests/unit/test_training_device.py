"""Where a study trains: a part of its keys, handed to the trainer, refused where it is not there."""

from pathlib import Path
from typing import Any

import pytest
import torch

import spikeloop.distill.device
import spikeloop.distill.train
from spikeloop.codesign import stages
from spikeloop.codesign.explore import run_study
from spikeloop.codesign.plan import make_plan
from spikeloop.codesign.study import StudyConfig, resolve_study
from spikeloop.distill.config import load_training_config
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec


def study_of(**fields: Any) -> StudyConfig:
    """One student on one design."""
    raw = {"name": "where", "hardware": "demo", "teacher": "digits_teacher", "student": "digits_student"}
    return resolve_study(StudyConfig.model_validate({**raw, "space": {"hw.adc.bits": [3]}, **fields}))


def test_a_device_is_part_of_the_keys_and_the_cpu_leaves_them_as_they_were() -> None:
    """Teacher, student and point are others on a GPU; the field is not written where it is not used."""
    plain, named = make_plan(study_of()), make_plan(study_of(training_device="cpu"))
    gpu = make_plan(study_of(training_device="cuda"))
    assert plain.study.resolved() == named.study.resolved()
    assert "training_device" not in plain.study.resolved()
    assert plain.teacher_key == named.teacher_key != gpu.teacher_key
    assert plain.students[0].key == named.students[0].key != gpu.students[0].key
    assert plain.points[0].key == named.points[0].key != gpu.points[0].key


def _prepare(role: str, shared: dict[str, Any]) -> None:
    if role == "teacher":
        stages.prepare_teacher((stages.TeacherJob(**shared),))
    else:
        stages.prepare_student((stages.StudentJob(**shared, values={}, teacher_folder="none"),))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_the_trainer_gets_the_device(role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the job, as ``find_device`` finds it."""
    asked: list[str] = []

    def find_device(name: str) -> torch.device:
        asked.append(name)
        return torch.device("meta")

    def train(*_: Any, device: torch.device, **__: Any) -> None:
        asked.append(str(device))
        raise KeyboardInterrupt

    monkeypatch.setattr(spikeloop.distill.device, "find_device", find_device)
    monkeypatch.setattr(spikeloop.distill.train, f"train_{role}", train)
    monkeypatch.setattr(
        "spikeloop.distill.checkpoint.load_checkpoint", lambda _: type("Trained", (), {"net": torch.nn.Linear(1, 1)})
    )
    shared: dict[str, Any] = {
        "key": "k",
        "training": load_training_config(f"digits_{role}").resolved(),
        "dataset": "digits",
        "seed": 1,
        "folder": str(tmp_path / "out"),
        "device": "cuda",
    }
    with pytest.raises(KeyboardInterrupt):
        _prepare(role, shared)
    assert asked == ["cuda"] * (2 if role == "teacher" else 1) + ["meta"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(ConfigError, match="device 'cuda': torch sees no GPU; take auto or cpu"):
        run_study(study_of(training_device="cuda"), tmp_path / "out", workers=1)


def test_a_study_that_trains_nothing_has_no_device() -> None:
    """It would change nothing."""
    raw = {"name": "x", "hardware": "demo", "stage": "analytic", "network": {"random": "vgg9"}}
    fields = {**raw, "space": {"hw.adc.bits": [3]}, "training_device": "cuda"}
    with pytest.raises(ConfigError, match="training_device: cuda: stage: analytic trains nothing; leave it out"):
        validate_spec(StudyConfig, fields, where="x.yaml")
