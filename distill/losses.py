"""The losses: cross entropy, logit distillation, membrane distillation."""

from __future__ import annotations

import torch
from torch.nn import functional

from spikeloop.models.zoo import NetOutput
from spikeloop.simulator.errors import ConfigError

from .config import LossSpec


def total_loss(
    student: NetOutput, labels: torch.Tensor, spec: LossSpec, teacher: NetOutput | None = None
) -> torch.Tensor:
    """Weighted sum of the losses that are on, a scalar.

    Args:
        student: output of the network in training.
        labels: (B,) int64.
        spec: weights and temperature.
        teacher: output of the teacher for the same images; needed by the distillation losses.

    Raises:
        ConfigError: a distillation loss is on and there is no teacher.
    """
    loss = spec.cross_entropy * cross_entropy(student.logits, labels)
    if not spec.needs_teacher:
        return loss
    if teacher is None:
        raise ConfigError("losses.logit_kd or losses.membrane_kd is above 0 without a teacher; name one in 'teacher'")
    if spec.logit_kd > 0:
        loss = loss + spec.logit_kd * logit_distillation(student.logits, teacher.logits, spec.temperature)
    if spec.membrane_kd > 0:
        loss = loss + spec.membrane_kd * membrane_distillation(student.membranes, teacher.membranes)
    return loss


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the time mean of ``logits`` (T, B, classes) with ``labels`` (B,)."""
    return functional.cross_entropy(logits.mean(0), labels)


def logit_distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """temperature^2 * KL(softmax(teacher/temperature) || softmax(student/temperature)), mean over the batch.

    Both (T, B, classes); the KL compares their time means, so T may differ. The teacher gets no gradient.
    Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2.
    """
    log_student = functional.log_softmax(student.mean(0) / temperature, dim=1)
    log_teacher = functional.log_softmax(teacher.detach().mean(0) / temperature, dim=1)
    kl = functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * kl


def membrane_distillation(student: tuple[torch.Tensor, ...], teacher: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Mean over layers and steps of the mean squared difference of the membranes before reset.

    One (T, B, C, H, W) a layer, in units of the threshold; the teacher gets no gradient.

    Raises:
        ConfigError: student and teacher have different layers or numbers of steps.
    """
    if [part.shape for part in student] != [part.shape for part in teacher]:
        raise ConfigError(
            f"membranes of the student {[tuple(part.shape) for part in student]} and of the teacher "
            f"{[tuple(part.shape) for part in teacher]} differ in shape; use the same network and n_timesteps"
        )
    distances = [functional.mse_loss(mine, its.detach()) for mine, its in zip(student, teacher, strict=True)]
    return torch.stack(distances).mean()
