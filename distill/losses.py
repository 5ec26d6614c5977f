"""The losses: cross entropy, logit distillation, membrane distillation; what each compares is in ``LossSpec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch.nn import functional

from spikeloop.models.net import NetOutput
from spikeloop.simulator.errors import ConfigError

from .config import LossSpec, Match, MembraneForm
from .firing import firing_penalty
from .parallel import ALONE, Shard

#: Floor under a sum of squares that divides.
_TINY = 1e-12


def total_loss(
    student: NetOutput,
    labels: torch.Tensor,
    spec: LossSpec,
    teacher: NetOutput | None = None,
    *,
    layers: tuple[str, ...] = (),
    reset: Literal["hard", "soft"] = "hard",
    kd_factor: float = 1.0,
    spike_energy_fJ: tuple[float, ...] | None = None,
    shard: Shard | None = None,
) -> torch.Tensor:
    """Weighted sum of the losses that are on, a scalar; of a part of a batch its part of that sum.

    Args:
        student: output of the network in training.
        labels: (B,) int64.
        spec: weights and forms.
        teacher: output of the teacher for the same images; needed by the distillation losses.
        layers: names of the membranes, for ``layer_weights``.
        reset: reset of the neurons, for membranes after it.
        kd_factor: multiplies the weights of both distillation losses (warm-up).
        spike_energy_fJ: of each layer with neurons, for the firing penalty; None: all spikes weigh the same.
        shard: which part of the batch this is; the parts of all processes add up to the loss. None: all of it.

    Raises:
        ConfigError: a distillation loss is on and there is no teacher, or the two do not match.
    """
    shard = shard or Shard(ranks=ALONE, n_images=len(labels))
    loss = spec.cross_entropy * shard.mean(label_loss(student.logits, labels, spec), student.logits)
    if spec.firing_penalty > 0:
        rate = shard.mean(firing_penalty(student.spikes, spike_energy_fJ), student.logits)
        loss = loss + spec.firing_penalty * rate
    if not spec.needs_teacher:
        return loss
    if teacher is None:
        raise ConfigError("losses.logit_kd or losses.membrane_kd is above 0 without a teacher; name one in 'teacher'")
    if spec.logit_kd > 0:
        kd = logit_distillation(student.logits, teacher.logits, spec.temperature, match=spec.logit_match)
        loss = loss + kd_factor * spec.logit_kd * shard.mean(kd, student.logits)
    if spec.membrane_kd > 0:
        mine, its = student.membranes, teacher.membranes
        if spec.membrane_point == "after_reset":
            mine, its = (after_reset(output, reset) for output in (student, teacher))
        weights = tuple(spec.layer_weights.get(name, 1.0) for name in layers) if spec.layer_weights else None
        kd = membrane_distillation(
            mine, its, form=spec.membrane_form, match=spec.membrane_match, weights=weights, shard=shard
        )
        loss = loss + kd_factor * spec.membrane_kd * kd
    return loss


def label_loss(logits: torch.Tensor, labels: torch.Tensor, spec: LossSpec) -> torch.Tensor:
    """Loss of ``logits`` (T, B, classes) against ``labels`` (B,), in the form that ``spec`` asks for."""
    if spec.label_loss == "tet":
        return tet(logits, labels, spec.tet_share, spec.tet_target, label_smoothing=spec.label_smoothing)
    return cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy of the time mean of ``logits`` (T, B, classes) with ``labels`` (B,).

    Label smoothing e gives the label 1 - e + e/classes and every other class e/classes.
    Source: Szegedy et al. 2016 (arXiv 1512.00567), section 7.
    """
    return functional.cross_entropy(logits.mean(0), labels, label_smoothing=label_smoothing)


def tet(
    logits: torch.Tensor, labels: torch.Tensor, share: float, target: float, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """(1 - share) * mean over t of CE(logits[t], labels) + share * mean of (logits - target)^2.

    ``logits`` (T, B, classes), ``labels`` (B,). Source: TET, Deng et al., ICLR 2022 (arXiv 2202.11946), section 4.
    """
    n_timesteps = logits.shape[0]
    every = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(n_timesteps), label_smoothing=label_smoothing)
    return (1 - share) * every + share * (logits - target).square().mean()


def logit_distillation(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, *, match: Match = "mean"
) -> torch.Tensor:
    """temperature^2 * KL(softmax(teacher/temperature) || softmax(student/temperature)), mean over the batch.

    Both (T, B, classes). ``mean`` compares their time means, so T may differ; ``step`` compares each step of the
    student with the same step of the teacher and takes the mean. The teacher gets no gradient.
    Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2.

    Raises:
        ConfigError: ``step`` and the student has more steps than the teacher.
    """
    mine, its = _matched(student, teacher.detach(), match, "losses.logit_match")
    log_student = functional.log_softmax(mine.flatten(0, 1) / temperature, dim=1)
    log_teacher = functional.log_softmax(its.flatten(0, 1) / temperature, dim=1)
    kl = functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * kl


def membrane_distillation(
    student: tuple[torch.Tensor, ...],
    teacher: tuple[torch.Tensor, ...],
    *,
    form: MembraneForm = "l2",
    match: Match = "step",
    weights: tuple[float, ...] | None = None,
    shard: Shard | None = None,
) -> torch.Tensor:
    """Weighted mean over layers, and mean over steps, of the distance of the membranes; a scalar.

    One (T, B, C, H, W) a layer, in units of the threshold; the teacher gets no gradient. ``match``: a step of the
    student with the same step of the teacher, or their time means. Distances:
    ``l2`` mean squared difference; ``relative`` sum of squared differences over the teacher's sum of squares;
    ``gram`` mean squared difference of the (B, B) matrices of cosines between the images of the batch.
    Of the part of a batch that ``shard`` is, the result is the part of this scalar, and B is that of the whole batch.
    Source of the idea of ``gram``: S2NN (arXiv 2509.24266), abstract; the formula is our own.

    Raises:
        ConfigError: student and teacher have different layers, or a step has no partner.
    """
    shapes = [[tuple(part.shape[1:]) for part in parts] for parts in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"membranes of the student {shapes[0]} and of the teacher {shapes[1]} differ in shape; use the same network"
        )
    distance = _DISTANCES[form]
    shard = shard or Shard(ranks=ALONE, n_images=student[0].shape[1])
    distances = [
        distance(*_matched(mine, its.detach(), match, "losses.membrane_match"), shard)
        for mine, its in zip(student, teacher, strict=True)
    ]
    if weights is None:
        return torch.stack(distances).mean()
    weighted = [weight * part for weight, part in zip(weights, distances, strict=True)]
    return torch.stack(weighted).sum() / sum(weights)


def after_reset(output: NetOutput, reset: Literal["hard", "soft"]) -> tuple[torch.Tensor, ...]:
    """Membranes after the reset and before they are stored; the spikes inside the reset get no gradient."""
    pairs = zip(output.membranes, output.spikes, strict=True)
    if reset == "soft":
        return tuple(membrane - spikes.detach() for membrane, spikes in pairs)
    return tuple(membrane * (1 - spikes.detach()) for membrane, spikes in pairs)


def _matched(
    student: torch.Tensor, teacher: torch.Tensor, match: Match, field: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Partners along the time axis: the first steps of both, or one mean each."""
    if match == "mean":
        return student.mean(0, keepdim=True), teacher.mean(0, keepdim=True)
    n_student, n_teacher = student.shape[0], teacher.shape[0]
    if n_student > n_teacher:
        raise ConfigError(
            f"the student has n_timesteps={n_student}, the teacher {n_teacher}, and {field} is step; allowed at most "
            f"{n_teacher} steps, or set {field}: mean"
        )
    return student, teacher[:n_student]


def _l2(mine: torch.Tensor, its: torch.Tensor, shard: Shard) -> torch.Tensor:
    return shard.mean(functional.mse_loss(mine, its), mine)


def _relative(mine: torch.Tensor, its: torch.Tensor, shard: Shard) -> torch.Tensor:
    difference = (mine - its).square().flatten(1).sum(1)
    squares = shard.ranks.total(its.square().flatten(1).sum(1))
    return (difference / squares.clamp(min=_TINY)).mean()


def _gram(mine: torch.Tensor, its: torch.Tensor, shard: Shard) -> torch.Tensor:
    # A row of zeros has no direction: normalize leaves it at 0.
    rows = [functional.normalize(part.flatten(2), dim=2) for part in (mine, its)]
    grams = [part @ shard.gathered(part).transpose(1, 2) for part in rows]
    return shard.mean(functional.mse_loss(grams[0], grams[1]), grams[0])


_DISTANCES: Mapping[MembraneForm, Callable[[torch.Tensor, torch.Tensor, Shard], torch.Tensor]] = MappingProxyType(
    {"l2": _l2, "relative": _relative, "gram": _gram}
)
