"""A training inside a study goes on where its process died, to the bits of a training in one go."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
import small_trainings
from safetensors.numpy import load_file

from spikeloop.codesign import stages
from spikeloop.codesign.stages import StudentJob, TeacherJob, prepare_student, prepare_teacher
from spikeloop.codesign.training_runs import states_folder
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.run_folder import RunFolder
from spikeloop.distill.state import Run

TEACHER = small_trainings.TEACHER
STUDENT = {**small_trainings.STUDENT, "losses": {"logit_kd": 1.0}}


class Killed(BaseException):
    """Stands for a process that dies: nothing catches it."""


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_dataset("digits")
    assert isinstance(digits, Dataset)
    few = Dataset(
        name="digits",
        train_images=digits.train_images[:96],
        train_labels=digits.train_labels[:96],
        test_images=digits.test_images[:50],
        test_labels=digits.test_labels[:50],
    )
    monkeypatch.setattr(stages, "_dataset", lambda _: few)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epochs that were trained and saved; the process dies after the second unless the list holds 0."""
    seen: list[int] = []
    save = RunFolder.after_epoch

    def noted(self: RunFolder, run: Run) -> None:
        save(self, run)
        seen.append(run.history[-1].epoch)
        if seen[-1] == 2 and 0 not in seen:
            raise Killed

    monkeypatch.setattr(RunFolder, "after_epoch", noted)
    return seen


def teacher_job(folder: Path) -> TeacherJob:
    return TeacherJob(key="t", training=TEACHER, dataset="digits", seed=0, folder=str(folder))


def student_job(teacher: Path, folder: Path) -> StudentJob:
    return StudentJob(
        key="s", values={}, training=STUDENT, dataset="digits", seed=0, teacher_folder=str(teacher), folder=str(folder)
    )


def weights(folder: Path) -> dict[str, dict[str, bytes]]:
    """Every tensor; the order of notes in a header is not fixed."""
    return {
        path.name: {name: tensor.tobytes() for name, tensor in load_file(path).items()}
        for path in folder.glob("*.safetensors")
    }


def test_a_killed_training_goes_on_from_its_last_epoch_to_the_same_bits(tmp_path: Path, epochs: list[int]) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    epochs[:] = [0]
    (expected,) = prepare_teacher((teacher_job(whole),))
    assert prepare_student((student_job(whole, tmp_path / "whole-student"),))
    assert epochs == [0, 1, 2, 3, 1, 2, 3]
    for folder, prepare, job in (
        (killed, prepare_teacher, teacher_job(killed)),
        (tmp_path / "killed-student", prepare_student, student_job(killed, tmp_path / "killed-student")),
    ):
        epochs.clear()
        with pytest.raises(Killed):
            prepare((job,))
        assert not folder.exists()
        (prepared,) = prepare((job,))
        assert epochs == [1, 2, 3], "the third epoch alone was left to train"
        assert not states_folder(folder).exists()
        assert prepare((job,)) == (prepared,)
    assert json.loads((killed / "prepared.json").read_text())["notes"] == expected.notes
    for name in ("", "-student"):
        assert weights(tmp_path / f"killed{name}") == weights(tmp_path / f"whole{name}") != {}


@pytest.mark.parametrize("obstacle", ["held by another process", "damaged", "of another teacher"])
def test_a_training_that_cannot_be_gone_on_with_is_made_from_the_beginning(
    tmp_path: Path, epochs: list[int], obstacle: str
) -> None:
    teacher, folder = tmp_path / "teacher", tmp_path / "student"
    epochs[:] = [0]
    prepare_teacher((teacher_job(teacher),))
    prepare_student((student_job(teacher, tmp_path / "whole"),))
    epochs.clear()
    with pytest.raises(Killed):
        prepare_student((student_job(teacher, folder),))
    states = states_folder(folder)
    handle = os.open(states, os.O_RDONLY)
    if obstacle == "held by another process":
        fcntl.flock(handle, fcntl.LOCK_EX)
    for path in states.glob("state-*.json"):
        fields = json.loads(path.read_text())
        fields["teacher_sha256"] = "0" * 64
        if obstacle != "held by another process":
            path.write_text("{" if obstacle == "damaged" else json.dumps(fields))
    epochs[:] = [0]
    prepare_student((student_job(teacher, folder),))
    os.close(handle)
    assert epochs == ([0, 1, 2, 3] if obstacle == "damaged" else [0]), "epochs are seen where they are saved"
    assert weights(folder) == weights(tmp_path / "whole") != {}
    assert not states.exists()
