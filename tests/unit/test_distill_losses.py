"""Every loss on numbers small enough to work out by hand."""

import math

import pytest
import torch

from spikeloop.distill.config import LossSpec, TrainingConfig
from spikeloop.distill.losses import (
    after_reset,
    cross_entropy,
    logit_distillation,
    membrane_distillation,
    tet,
    total_loss,
)
from spikeloop.distill.optimiser import lr_at
from spikeloop.models.net import NetOutput
from spikeloop.simulator.errors import ConfigError

LN3 = math.log(3)


def test_label_smoothing_by_hand():
    # Probabilities 1/4 and 3/4; smoothing 0.2 over two classes asks for 0.9 and 0.1.
    logits = torch.tensor([[[0.0, LN3]]])
    expected = 0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    got = cross_entropy(logits, torch.tensor([0]), label_smoothing=0.2)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_tet_by_hand():
    """Step 1 gives odds 1:1, step 2 odds 1:3 against the label; their mean would not be ln 2 and ln 4 averaged."""
    logits = torch.tensor([[[0.0, 0.0]], [[0.0, LN3]]])
    labels = torch.tensor([0])
    each = (math.log(2) + math.log(4)) / 2
    square = (1 + 1 + 1 + (LN3 - 1) ** 2) / 4
    assert tet(logits, labels, 0.0, 1.0).item() == pytest.approx(each, rel=1e-6)
    assert tet(logits, labels, 0.25, 1.0).item() == pytest.approx(0.75 * each + 0.25 * square, rel=1e-6)
    spec = LossSpec(label_loss="tet", tet_share=0.25, cross_entropy=2.0)
    total = total_loss(NetOutput(logits, (), ()), labels, spec)
    assert total.item() == pytest.approx(2 * (0.75 * each + 0.25 * square), rel=1e-6)


def test_tet_pairs_every_step_with_the_labels_of_its_images():
    logits = torch.tensor([[[0.0, LN3], [LN3, 0.0]], [[0.0, LN3], [LN3, 0.0]]])
    assert tet(logits, torch.tensor([1, 0]), 0.0, 0.0).item() == pytest.approx(math.log(4 / 3), rel=1e-6)


def test_logits_step_by_step_or_on_the_mean_by_hand():
    """The student says 1:1 always; the teacher 1:3, 3:1 at steps 1, 2 and something else later."""
    student = torch.zeros(2, 1, 2)
    teacher = torch.tensor([[[0.0, LN3]], [[LN3, 0.0]], [[0.0, 9.0]], [[9.0, 0.0]]])
    one = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert logit_distillation(student, teacher, 1.0, match="step").item() == pytest.approx(one, rel=1e-5)
    # The teacher's time mean is 1:1.
    assert logit_distillation(student, teacher, 1.0, match="mean").item() == pytest.approx(0.0, abs=1e-6)


def membranes(*values):
    """One layer (T, B=1, C=1, 1, 1)."""
    return (torch.tensor(values).reshape(-1, 1, 1, 1, 1),)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        # (1-2)^2 and (3-1)^2; the teacher's steps 3 and 4 count for nothing.
        ("step", (1 + 4) / 2),
        # means 2 and (2 + 1 + 8 + 1)/4 = 3.
        ("mean", 1.0),
    ],
)
def test_a_teacher_of_four_steps_teaches_two(match, expected):
    got = membrane_distillation(membranes(1.0, 3.0), membranes(2.0, 1.0, 8.0, 1.0), match=match)
    assert got.item() == pytest.approx(expected)


def test_more_steps_than_the_teacher_need_the_mean():
    longer, shorter = membranes(1.0, 2.0), membranes(1.0)
    with pytest.raises(
        ConfigError, match=r"n_timesteps=2, the teacher 1, and losses\.membrane_match is step; allowed at"
    ):
        membrane_distillation(longer, shorter)
    assert membrane_distillation(longer, shorter, match="mean").item() == pytest.approx(0.25)


def test_relative_distance_by_hand():
    # Step 1: 1/4; step 2: 4/1; their mean.
    got = membrane_distillation(membranes(1.0, 3.0), membranes(2.0, 1.0), form="relative")
    assert got.item() == pytest.approx((0.25 + 4) / 2)


def test_gram_distance_by_hand():
    """Two images of two channels. Student: (1, 0) and (0, 2), cosine 0. Teacher: (1, 1) and (3, 3), cosine 1.

    The matrices [[1, 0], [0, 1]] and [[1, 1], [1, 1]] differ by 1 in two of four entries.
    """
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).reshape(1, 2, 2, 1, 1)
    teacher = torch.tensor([[1.0, 1.0], [3.0, 3.0]]).reshape(1, 2, 2, 1, 1)
    assert membrane_distillation((student,), (teacher,), form="gram").item() == pytest.approx(0.5)
    assert membrane_distillation((5 * teacher,), (teacher,), form="gram").item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("form", ["l2", "relative", "gram"])
def test_membranes_of_zero_give_finite_losses_and_gradients(form):
    mine = torch.zeros(2, 2, 3, 1, 1, requires_grad=True)
    loss = membrane_distillation((mine,), (torch.zeros(2, 2, 3, 1, 1),), form=form)
    loss.backward()
    assert loss.item() == 0.0
    assert bool(torch.isfinite(mine.grad).all())


def test_layer_weights_make_a_weighted_mean():
    mine = (*membranes(0.0), *membranes(0.0))
    its = (*membranes(1.0), *membranes(3.0))
    output = [NetOutput(torch.zeros(1, 1, 2), parts, ()) for parts in (mine, its)]
    spec = LossSpec(cross_entropy=0, membrane_kd=2.0, layer_weights={"b": 3.0})
    total = total_loss(output[0], torch.tensor([0]), spec, output[1], layers=("a", "b"))
    assert total.item() == pytest.approx(2 * (1 * 1 + 3 * 9) / 4)


@pytest.mark.parametrize(("reset", "expected"), [("hard", [0.5, 0.0]), ("soft", [0.5, 0.75])])
def test_membranes_after_the_reset_by_hand(reset, expected):
    membrane = torch.tensor([0.5, 1.75]).reshape(2, 1, 1, 1, 1).requires_grad_()
    spikes = (membrane >= 1).float()
    (got,) = after_reset(NetOutput(torch.zeros(1), (membrane,), (spikes,)), reset)
    assert got.flatten().tolist() == expected
    got.sum().backward()
    assert membrane.grad.flatten().tolist() == ([1.0, 0.0] if reset == "hard" else [1.0, 1.0])


def test_total_loss_takes_the_point_of_the_membrane_and_the_warm_up():
    outputs = [NetOutput(torch.zeros(1, 1, 2), membranes(value), membranes(float(value >= 1))) for value in (1.5, 0.25)]
    arguments = {"labels": torch.tensor([0]), "teacher": outputs[1], "layers": ("a",)}
    before = LossSpec(cross_entropy=0, membrane_kd=4.0)
    after = LossSpec(cross_entropy=0, membrane_kd=4.0, membrane_point="after_reset")
    assert total_loss(outputs[0], spec=before, **arguments).item() == pytest.approx(4 * 1.25**2)
    assert total_loss(outputs[0], spec=after, **arguments).item() == pytest.approx(4 * 0.25**2)
    assert total_loss(outputs[0], spec=after, **arguments, kd_factor=0.5).item() == pytest.approx(2 * 0.25**2)
    soft = total_loss(outputs[0], spec=after, **arguments, reset="soft")
    assert soft.item() == pytest.approx(4 * (0.5 - 0.25) ** 2)


def test_distillation_weights_grow_over_the_first_epochs():
    spec = LossSpec(logit_kd=1.0, kd_warmup_epochs=4)
    assert [spec.kd_factor(epoch) for epoch in (1, 2, 4, 5)] == [0.25, 0.5, 1.0, 1.0]
    assert LossSpec(logit_kd=1.0).kd_factor(1) == 1.0


def test_the_learning_rate_rises_then_falls_as_half_a_cosine():
    fields = {"role": "teacher", "dataset": "digits", "network": "demo", "epochs": 4, "warmup_epochs": 2, "lr": 0.1}
    curved, flat = TrainingConfig(**fields), TrainingConfig(**fields, cosine=False)
    assert [lr_at(curved, step, 2) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert [lr_at(curved, step, 2) for step in (4, 6, 8)] == pytest.approx([0.1, 0.05, 0.0])
    assert [lr_at(flat, step, 2) for step in (0, 3, 7)] == pytest.approx([0.025, 0.1, 0.1])
