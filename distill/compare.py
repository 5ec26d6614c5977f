"""How far a student is from its teacher, layer by layer: membranes and spikes on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spikeloop.models.net import NetOutput, SpikingNet
from spikeloop.simulator.errors import ConfigError

_BATCH = 64
#: Values that are compared at once, in double precision: they stay in the cache.
_CHUNK = 1 << 17


@dataclass(frozen=True, kw_only=True)
class LayerDistance:
    """One layer with neurons, over all images, steps and neurons.

    ``membrane_rms`` root mean square of H_student - H_teacher in units of the threshold, before reset;
    ``membrane_error`` the same over the root mean square of H_teacher (nan if the teacher's are all 0);
    ``spike_disagreement`` fraction of neurons and steps where one fires and the other does not; ``student_rate`` and
    ``teacher_rate`` spikes per neuron and step.
    """

    membrane_rms: float
    membrane_error: float
    spike_disagreement: float
    student_rate: float
    teacher_rate: float


@torch.no_grad()
def layer_distances(student: SpikingNet, teacher: SpikingNet, codes: torch.Tensor) -> dict[str, LayerDistance]:
    """Distances by layer name; both networks are left in ``eval()``.

    Args:
        student: network of the teacher's architecture, with no more steps; its first steps are compared.
        teacher: full-precision network, or any other.
        codes: (N, C, H, W) input codes of a static input, else (T, N, C, H, W).

    Raises:
        ConfigError: other layers, or more steps than the teacher has.
    """
    student.eval()
    teacher.eval()
    names = student.lif_names()
    if names != teacher.lif_names():
        raise ConfigError(
            f"layers of the student ({', '.join(names)}) and of the teacher ({', '.join(teacher.lif_names())}) differ; "
            "compare networks of one architecture"
        )
    if student.n_timesteps > teacher.n_timesteps:
        raise ConfigError(
            f"the student has n_timesteps={student.n_timesteps}, the teacher {teacher.n_timesteps}; allowed at most "
            f"{teacher.n_timesteps}"
        )
    sums = {name: torch.zeros(6, dtype=torch.float64) for name in names}
    for batch in torch.split(codes, _BATCH, dim=-4):
        for name, part in zip(names, _batch_sums(student(batch), teacher(batch)), strict=True):
            sums[name] += part
    return {name: _distance(*part.tolist()) for name, part in sums.items()}


def _batch_sums(mine: NetOutput, its: NetOutput) -> list[torch.Tensor]:
    """A layer's number of values, squares of the difference and of the teacher, disagreements, spikes of both."""
    found = []
    for h_mine, h_its, s_mine, s_its in zip(mine.membranes, its.membranes, mine.spikes, its.spikes, strict=True):
        steps = h_mine.shape[0]
        values = (h_mine, h_its[:steps], s_mine, s_its[:steps])
        total = torch.zeros(6, dtype=torch.float64)
        for part in zip(*(torch.split(value.reshape(-1), _CHUNK) for value in values), strict=True):
            total += _chunk_sums(*part)
        found.append(total)
    return found


def _chunk_sums(h_mine: torch.Tensor, h_its: torch.Tensor, s_mine: torch.Tensor, s_its: torch.Tensor) -> torch.Tensor:
    its = h_its.double()
    difference = h_mine.double() - its
    sums = (difference.dot(difference), its.dot(its), (s_mine != s_its).sum(), s_mine.sum(), s_its.sum())
    return torch.tensor([h_mine.numel(), *map(float, sums)], dtype=torch.float64)


def _distance(n: float, difference: float, size: float, differ: float, fired: float, its_fired: float) -> LayerDistance:
    return LayerDistance(
        membrane_rms=(difference / n) ** 0.5,
        membrane_error=(difference / size) ** 0.5 if size else float("nan"),
        spike_disagreement=differ / n,
        student_rate=fired / n,
        teacher_rate=its_fired / n,
    )
