"""A study whose teacher is trained already: the folder of a checkpoint instead of a training file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec

_FIELDS = {"checkpoint", "weights_sha256"}


def is_trained(teacher: Mapping[str, Any]) -> bool:
    """Whether the teacher of a resolved study is ``{checkpoint: folder, weights_sha256: digest}``, not a training."""
    return teacher.keys() == _FIELDS


def find_trained(teacher: str | Mapping[str, Any] | None, beside: Path) -> Path | None:
    """Folder of the trained teacher that a study names, looked up beside its file, then here; None if it names none."""
    folders = (beside / teacher, Path(teacher)) if isinstance(teacher, str) else ()
    return next((folder for folder in folders if folder.is_dir()), None)


def take_teacher(folder: Path, student: Mapping[str, Any], dataset: str, where: str) -> dict[str, str]:
    """A trained teacher as it stands in a resolved study.

    Raises:
        ConfigError: no checkpoint there, not of a teacher, or of another network or data set than the students'.
        NetworkError: its weights are damaged.
    """
    from spikeloop.distill.checkpoint import checkpoint_sha256, load_checkpoint
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.train import check_teacher

    checkpoint = load_checkpoint(folder)
    for name, wanted in (("role", "teacher"), ("dataset", dataset)):
        found = getattr(checkpoint.config, name)
        if found != wanted:
            raise ConfigError(f"{where}: {folder}: {name} is '{found}', this study needs '{wanted}'; change one")
    config = validate_spec(TrainingConfig, dict(student), where="student")
    try:
        check_teacher(config, checkpoint.net.plan, n_timesteps=checkpoint.net.n_timesteps)
    except ConfigError as error:
        raise ConfigError(f"{where}: {folder}: {error}") from None
    return {"checkpoint": str(folder.absolute()), "weights_sha256": checkpoint_sha256(folder)}


def copy_teacher(teacher: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Copy the checkpoint of a resolved study into ``folder``; its accuracy, as its training measured it.

    Raises:
        ConfigError: it is gone, damaged, or not the one that the study began with.
        NetworkError: its weights are damaged.
    """
    from spikeloop.distill.checkpoint import checkpoint_sha256, load_checkpoint

    source = Path(teacher["checkpoint"])
    metrics = load_checkpoint(source).metrics
    if checkpoint_sha256(source) != teacher["weights_sha256"]:
        raise ConfigError(f"{source}: other weights than when the study began; restore them, or begin another study")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return {"accuracy": metrics["test_accuracy"], "n": metrics["n_test"]}
