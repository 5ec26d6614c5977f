"""Distance of a student from its teacher: by hand on known outputs, and zero to itself."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from spikeloop.distill.compare import LayerDistance, layer_distances
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import NetOutput, SpikingNet, build_student, build_teacher
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError

CODES = torch.randint(0, 16, (300, 1, 8, 8), generator=torch.Generator().manual_seed(0))


class Told(SimpleNamespace):
    """A network that gives what it is told; T = ``n_timesteps``."""

    def __call__(self, codes: torch.Tensor) -> NetOutput:
        """The same values for every image."""
        membrane = self.membrane.expand(-1, len(codes), -1, -1, -1)
        return NetOutput(torch.zeros(()), (membrane,), ((membrane >= 1).float(),))

    def eval(self) -> None:
        """Nothing to switch."""

    def lif_names(self) -> tuple[str, ...]:
        """One layer."""
        return ("conv",)


def told(*steps: list[float]) -> SpikingNet:
    """Network with these membranes, (T, neurons)."""
    membrane = torch.tensor(steps)[:, None, :, None, None]
    return cast(SpikingNet, Told(membrane=membrane, n_timesteps=len(steps)))


def test_by_hand() -> None:
    """Four values: differences 0, 1, -1, 0.5; teacher's squares 1, 0.25, 4, 0; one neuron of four differs."""
    student, teacher = told([1.0, 1.5], [1.0, 0.5]), told([1.0, 0.5], [2.0, 0.0])
    found = layer_distances(student, teacher, CODES)["conv"]
    assert found == LayerDistance(
        membrane_rms=math.sqrt(2.25 / 4),
        membrane_error=math.sqrt(2.25 / 5.25),
        spike_disagreement=1 / 4,
        student_rate=3 / 4,
        teacher_rate=2 / 4,
    )


def test_fewer_steps_are_compared_with_the_first() -> None:
    """A student of one step against a teacher of two."""
    found = layer_distances(told([0.5]), told([0.25], [9.0]), CODES)["conv"]
    assert found.membrane_rms == 0.25
    assert found.membrane_error == 1.0
    with pytest.raises(ConfigError, match="n_timesteps=2, the teacher 1"):
        layer_distances(told([0.25], [9.0]), told([0.5]), CODES)


def test_silent_teacher_has_no_relative_error() -> None:
    """Zero over zero is not a number."""
    assert math.isnan(layer_distances(told([0.5]), told([0.0]), CODES)["conv"].membrane_error)


def test_students_of_fewer_bits_are_farther() -> None:
    """A network does not differ from itself; 2 bits differ more than 8 do."""
    options: dict[str, Any] = {"n_timesteps": 3, "neuron": NeuronSpec(), "seed": 1}
    plan = architecture("demo")
    teacher = build_teacher(plan, **options)
    teacher.settle_statistics(CODES.float(), 100)
    same = layer_distances(teacher, teacher, CODES)
    assert list(same) == ["conv1", "conv2"]
    assert all(part.membrane_rms == part.spike_disagreement == 0 < part.teacher_rate for part in same.values())
    errors = []
    for bits in (8, 2):
        quantisation = QuantisationSpec(weight_bits=bits, membrane_bits=bits)
        student = build_student(plan, quantisation=quantisation, **options)
        student.start_from(teacher)
        student.settle_statistics(CODES.float(), 100)
        errors.append(layer_distances(student, teacher, CODES)["conv2"])
    assert 0 < errors[0].membrane_error < errors[1].membrane_error
    assert errors[0].spike_disagreement < errors[1].spike_disagreement


def test_other_networks_are_refused() -> None:
    """The sentence names the layers of both."""
    options: dict[str, Any] = {"n_timesteps": 1, "neuron": NeuronSpec(), "seed": 1}
    demo, fashion = (build_teacher(architecture(name), **options) for name in ("demo", "fashion"))
    with pytest.raises(ConfigError, match=r"\(conv1, conv2\) and of the teacher \(conv1, conv2, conv3, fc1\)"):
        layer_distances(demo, fashion, CODES)
