"""A study whose teacher is a checkpoint folder: taken as it is, checked, and known by its weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from spikeloop.codesign import stages
from spikeloop.codesign.plan import make_plan
from spikeloop.codesign.study import StudyConfig, resolve_study
from spikeloop.distill.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint, weights_sha256
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.train import train_teacher
from spikeloop.simulator.errors import ConfigError, NetworkError

FAST = {"epochs": 1, "frozen_epochs": 0, "train_images": 96, "test_images": 50}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of the digits, one short epoch."""
    folder = tmp_path_factory.mktemp("teacher") / "trained"
    raw = {**load_training_config("digits_teacher").resolved(), **FAST}
    save_checkpoint(folder, train_teacher(TrainingConfig.model_validate(raw), load_dataset("digits")))
    return folder


def study_of(teacher: object, **fields: Any) -> StudyConfig:
    """Two designs of one short student."""
    return StudyConfig.model_validate(
        {
            "name": "taken",
            "hardware": "demo",
            "teacher": str(teacher),
            "student": {**load_training_config("digits_student").resolved(), **FAST, **fields.pop("student", {})},
            "space": {"hw.adc.bits": [3, 4]},
            **fields,
        }
    )


def test_the_checkpoint_is_taken_and_its_weights_are_its_name(trained: Path, tmp_path: Path) -> None:
    """Another place of the same weights is the same teacher; the copy has the same bits and accuracy."""
    study = resolve_study(study_of(trained))
    assert study.teacher == {"checkpoint": str(trained), "weights_sha256": checkpoint_sha256(trained)}
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    plans = make_plan(study), make_plan(resolve_study(study_of(moved)))
    assert plans[0].teacher_key == plans[1].teacher_key
    assert [point.key for point in plans[0].points] == [point.key for point in plans[1].points]
    job = stages.TeacherJob(
        key="k", training=dict(study.teacher or {}), dataset="digits", seed=1, folder=str(tmp_path / "cached")
    )
    (prepared,) = stages.prepare_teacher((job,))
    wanted = load_checkpoint(trained)
    assert prepared.notes == {"accuracy": wanted.metrics["test_accuracy"], "n": 50}
    assert weights_sha256(load_checkpoint(tmp_path / "cached").net) == weights_sha256(wanted.net)


def test_a_study_in_progress_does_not_need_the_folder_again(trained: Path, tmp_path: Path) -> None:
    """The resolved study resolves to itself, also when the checkpoint is gone: its copy lies in the cache."""
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    study = resolve_study(study_of(moved))
    shutil.rmtree(moved)
    assert resolve_study(study) == study


def test_a_relative_folder_is_looked_up_beside_the_study(trained: Path, tmp_path: Path) -> None:
    """As other paths of a study file are."""
    shutil.copytree(trained, tmp_path / "mine")
    study = resolve_study(study_of("mine"), where=str(tmp_path / "study.yaml"))
    assert isinstance(study.teacher, dict)
    assert study.teacher["checkpoint"] == str(tmp_path / "mine")


def test_what_does_not_fit_is_one_sentence(trained: Path, tmp_path: Path) -> None:
    """No checkpoint, another network, other weights than at the start."""
    with pytest.raises(ConfigError, match=r"holds no checkpoint.json; give a folder that 'spikeloop train' wrote"):
        resolve_study(study_of(tmp_path))
    with pytest.raises(ConfigError, match=r"study: teacher: .*trained: the teacher is a 'demo' and the student a "):
        resolve_study(study_of(trained, student={"network": {"name": "demo", "width": 2.0}}))
    changed = tmp_path / "changed"
    shutil.copytree(trained, changed)
    (weights,) = changed.glob("weights-*")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(NetworkError, match="sha256 differs"):
        resolve_study(study_of(changed))
    fields = {"checkpoint": str(trained), "weights_sha256": "0" * 64}
    job = stages.TeacherJob(key="k", training=fields, dataset="digits", seed=1, folder=str(tmp_path / "cached"))
    with pytest.raises(ConfigError, match="other weights than when the study began"):
        stages.prepare_teacher((job,))
    assert not (tmp_path / "cached").exists()


def test_such_a_study_runs(trained: Path, tmp_path: Path) -> None:
    """From the folder to the front, and again from its own study.yaml."""
    from spikeloop.codesign.explore import run_study

    study = study_of(trained, images=50, calibration_images=8)
    first = run_study(study, tmp_path / "out", workers=1)
    assert first.n_ok == 2
    again = run_study(study, tmp_path / "out", workers=1, resume=True)
    assert (again.n_ok, again.n_resumed) == (2, 2)
