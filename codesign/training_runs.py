"""Trainings inside a study: one whose process died goes on from its last saved epoch."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.reports import TrainResult
    from spikeloop.models.net import SpikingNet

_LOG = logging.getLogger(__name__)


def states_folder(folder: Path) -> Path:
    """Where the states of the training that ends in ``folder`` are, while it runs."""
    return folder.with_name(f"{folder.name}.training")


def train_kept(
    folder: Path, config: TrainingConfig, teacher: SpikingNet | None, train: Callable[..., TrainResult]
) -> TrainResult:
    """What ``train`` gives, with a keeper that saves every epoch beside ``folder`` and goes on from what is there.

    A training that cannot be gone on with is made from the beginning: no state is whole, the teacher or a file that the
    training names is another one, or the worker of a dead driver still holds the states. Then nothing is kept.

    Raises:
        SpikeloopError: the training failed.
    """
    from spikeloop.distill.checkpoint import weights_sha256
    from spikeloop.distill.run_folder import open_run
    from spikeloop.distill.state_files import newest_state, remove_states

    states = states_folder(folder)
    sha256 = None if teacher is None else weights_sha256(teacher)
    try:
        with open_run(states, config, say=_LOG.info, teacher_sha256=sha256) as run:
            try:
                newest_state(states, _LOG.info)
            except ConfigError:
                remove_states(states)
            return train(keeper=run)
    except StudyError as error:
        _LOG.warning("%s: from the beginning (%s)", folder.name, error)
        return train(keeper=None)
    finally:
        with suppress(OSError):  # states are left where it was killed
            states.rmdir()


def forget_states(folder: Path) -> None:
    """Remove the states of a training that is finished in ``folder``."""
    shutil.rmtree(states_folder(folder), ignore_errors=True)
