"""What a training tells: a report an epoch, and the trained network at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spikeloop.models.net import SpikingNet

from .config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """State after an epoch; accuracies are fractions, of the network in ``eval()``.

    ``firing_rate`` and ``membrane_saturation`` are fractions per LIF layer over the test images; a teacher's
    membrane never saturates. ``train_accuracy`` counts the training forward passes of the epoch.
    """

    epoch: int
    n_epochs: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    firing_rate: dict[str, float]
    membrane_saturation: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """Trained network in ``eval()`` mode, on the CPU, and its history; the last report is the result.

    ``cpu_time_s`` adds up all the processes of a run that was resumed; ``environments`` are theirs, one after the
    other where they differ (see ``environment``).
    """

    net: SpikingNet
    config: TrainingConfig
    history: tuple[EpochReport, ...]
    n_test: int
    cpu_time_s: float
    environments: tuple[dict[str, str], ...]

    @property
    def test_accuracy(self) -> float:
        """Fraction of the test images classified correctly, in ``eval()``."""
        return self.history[-1].test_accuracy


Progress = Callable[[EpochReport], None]
