"""``spikeloop train``: from a training file to a checkpoint, the teacher first where a student names its file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.errors import ConfigError, SpikeloopError, StudyError, name_cure
from spikeloop.simulator.files import can_be_folder

from . import cli_output as output
from .training_display import OnBatch, OnEpoch, training_display

if TYPE_CHECKING:
    import torch

    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.datasets import AnyDataset
    from spikeloop.distill.parallel import Ranks
    from spikeloop.distill.state import Keeper
    from spikeloop.models.net import SpikingNet


def train_network(
    training: str, out: Path, *, resume: bool = False, device: str = "cpu", every_min: float | None = None
) -> int:
    """Body of ``spikeloop train``; returns the exit code.

    Started by ``torchrun`` it is one of several processes, of which the first writes and talks.

    Args:
        training: training file or shipped name.
        out: folder of the run.
        resume: go on with an interrupted run.
        device: auto, cpu or cuda.
        every_min: minutes after which the state is also saved within an epoch.

    Raises:
        SpikeloopError: an input is wrong or the folder is not empty, and nothing was written; or the run failed.
    """
    from spikeloop.distill.config import load_training_config

    config = load_training_config(training)
    if config.role == "student" and config.losses.needs_teacher and config.teacher is None:
        raise ConfigError(
            f"{training}: losses.logit_kd or losses.membrane_kd is above 0 but no 'teacher' is named; "
            "write teacher: and a training file of role teacher, or the folder of one that is trained"
        )
    from spikeloop.distill.device import find_device
    from spikeloop.distill.parallel import find_launch, joined
    from spikeloop.distill.run_folder import TEACHER_FOLDER

    launch = find_launch(os.environ)
    place = find_device(device, launch)
    with joined(launch, place) as ranks, _numbered(ranks):
        if _standing(out, config, ranks, place, resume=resume) == "finished":
            return _say_finished(out) if ranks.is_main else 0
        lesson, start = _lesson(training, config), _start(config)
        if ranks.is_main and not can_be_folder(out):  # before the hours of training, not after them
            raise StudyError(f"{out}: cannot be made; give a writable --out folder")
        work = _Work(
            device=place,
            ranks=ranks,
            every_s=None if every_min is None else 60 * every_min,
            datasets=_datasets(config, lesson, ranks),
        )
        try:
            teacher = _teacher(lesson, out / TEACHER_FOLDER, work, resume=resume)
            accuracy = _train_into(out, config, work, teacher, start)
        except KeyboardInterrupt:
            work.say(f"{out}: the last saved state is whole; go on with --resume")
            raise
        if ranks.is_main:
            output.emit(f"{out}: {config.role} {config.network_title}, test accuracy {100 * accuracy:.2f} %")
    return 0


@dataclass(frozen=True, kw_only=True)
class _Work:
    """How to train: device, processes, seconds between states within an epoch, data sets by name."""

    device: torch.device
    ranks: Ranks
    every_s: float | None
    datasets: Mapping[str, AnyDataset]

    def say(self, message: str) -> None:
        """A line for people, once for all processes."""
        if self.ranks.is_main:
            output.say(message)


@contextmanager
def _numbered(ranks: Ranks) -> Iterator[None]:
    """Let errors of all processes but the first say whose they are."""
    try:
        yield
    except SpikeloopError as error:
        if ranks.is_main:
            raise
        raise type(error)(f"process {ranks.rank}: {error}") from error


def _standing(folder: Path, config: TrainingConfig, ranks: Ranks, device: torch.device, *, resume: bool) -> str:
    """``check_run_folder`` in the first process, whose folder it is."""
    from spikeloop.distill.run_folder import check_run_folder

    found = check_run_folder(folder, config, resume=resume) if ranks.is_main else ""
    return ranks.from_main(found.encode(), device).decode()


def _lesson(training: str, config: TrainingConfig) -> Path | TrainingConfig | None:
    """The teacher that a student names: a folder that is there, or a training file."""
    from spikeloop.distill.config import load_training_config
    from spikeloop.distill.train import check_teacher
    from spikeloop.models.zoo import architecture

    if config.teacher is None:
        return None
    path, shipped = Path(config.teacher), shipped_files("training")
    if path.is_dir():
        return path
    if not path.is_file() and config.teacher not in shipped:
        raise ConfigError(
            f"{training}: teacher: '{config.teacher}' is neither the folder of a trained teacher nor a training file; "
            + name_cure(config.teacher, shipped, listed="shipped")
        )
    teacher = load_training_config(config.teacher)
    if teacher.role != "teacher":
        raise ConfigError(f"{training}: teacher: '{config.teacher}' has role: {teacher.role}; name one of role teacher")
    check_teacher(config, architecture(teacher.network), n_timesteps=teacher.n_timesteps)
    return teacher


def _start(config: TrainingConfig) -> SpikingNet | None:
    """The student that training starts from; read before anything is written."""
    from spikeloop.distill.checkpoint import load_checkpoint

    return None if config.start is None else load_checkpoint(Path(config.start)).net


def _datasets(config: TrainingConfig, lesson: Path | TrainingConfig | None, ranks: Ranks) -> dict[str, AnyDataset]:
    """The data sets of a student and of its teacher, both of which they and ``ranks`` must fit."""
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.datasets import load_dataset
    from spikeloop.distill.fit import used_part
    from spikeloop.distill.train import check_ranks

    configs = [config, *([lesson] if isinstance(lesson, TrainingConfig) else [])]
    for item in configs:  # before a folder is made
        check_ranks(item, ranks)
    datasets = {name: load_dataset(name) for name in sorted({item.dataset for item in configs})}
    for item in configs:
        used_part(datasets[item.dataset], item)
    return datasets


def _teacher(lesson: Path | TrainingConfig | None, folder: Path, work: _Work, *, resume: bool) -> SpikingNet | None:
    """The trained teacher; one that is given as a file is trained into ``folder``, or taken from there."""
    from spikeloop.distill.checkpoint import load_checkpoint, load_for_all
    from spikeloop.distill.config import TrainingConfig

    if not isinstance(lesson, TrainingConfig):
        return load_checkpoint(lesson).net if lesson is not None else None
    if _standing(folder, lesson, work.ranks, work.device, resume=resume) != "finished":
        accuracy = _train_into(folder, lesson, work, None, label="teacher: ")
        work.say(f"{folder}: teacher {lesson.network_title}, test accuracy {100 * accuracy:.2f} %")
    return load_for_all(folder, lesson, work.ranks, work.device)


def _train_into(
    folder: Path,
    config: TrainingConfig,
    work: _Work,
    teacher: SpikingNet | None,
    start: SpikingNet | None = None,
    *,
    label: str = "",
) -> float:
    """Train into ``folder``, from where it stands; returns the test accuracy."""
    from spikeloop.distill.train import train_student, train_teacher

    dataset, device, ranks = work.datasets[config.dataset], work.device, work.ranks
    with (
        _display(label, work) as (on_epoch, on_batch),
        _keeper(folder, config, work, teacher, on_batch) as keeper,
    ):
        if config.role == "teacher":
            result = train_teacher(config, dataset, on_epoch, keeper=keeper, device=device, ranks=ranks)
        else:
            result = train_student(
                config, dataset, teacher, on_epoch, start=start, keeper=keeper, device=device, ranks=ranks
            )
        keeper.finish(result)
    return result.test_accuracy


def _display(label: str, work: _Work) -> AbstractContextManager[tuple[OnEpoch | None, OnBatch | None]]:
    """What the first process shows."""
    return training_display(label) if work.ranks.is_main else nullcontext((None, None))


def _keeper(
    folder: Path, config: TrainingConfig, work: _Work, teacher: SpikingNet | None, on_batch: OnBatch | None
) -> AbstractContextManager[Keeper]:
    """The folder, in the first process; the others write nothing."""
    from spikeloop.distill.checkpoint import weights_sha256
    from spikeloop.distill.run_folder import open_run
    from spikeloop.distill.state import Keeper

    if not work.ranks.is_main:
        return nullcontext(Keeper())
    return open_run(
        folder,
        config,
        say=output.say,
        teacher_sha256=None if teacher is None else weights_sha256(teacher),
        every_s=work.every_s,
        on_batch=on_batch,
    )


def _say_finished(out: Path) -> int:
    from spikeloop.distill.checkpoint import load_checkpoint
    from spikeloop.distill.state_files import remove_states

    trained = load_checkpoint(out)
    remove_states(out)  # where the run died between its checkpoint and this
    output.say(f"{out}: this training is finished, nothing is left to do")
    accuracy = 100 * trained.metrics["test_accuracy"]
    output.emit(f"{out}: {trained.config.role} {trained.config.network_title}, test accuracy {accuracy:.2f} %")
    return 0
