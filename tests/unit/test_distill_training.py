"""Configuration, losses, training and checkpoints."""

import copy
import json
import math

import numpy as np
import pytest
import small_trainings
import torch

from spikeloop.distill.checkpoint import load_checkpoint, save_checkpoint
from spikeloop.distill.config import LossSpec, TrainingConfig, load_training_config
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.evaluate import evaluate
from spikeloop.distill.losses import cross_entropy, logit_distillation, membrane_distillation, total_loss
from spikeloop.distill.train import train_student, train_teacher
from spikeloop.models.export import to_network
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import NetOutput, build_teacher
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.errors import ConfigError, DatasetError, NetworkError, SimulationError
from spikeloop.simulator.spec import validate_spec

TEACHER = {**small_trainings.TEACHER, "epochs": 5}
STUDENT = small_trainings.STUDENT


def config(base, **fields) -> TrainingConfig:
    return validate_spec(TrainingConfig, {**base, **fields}, where="training.yaml")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    full = load_dataset("digits")
    return Dataset(
        name="digits",
        train_images=full.train_images[:400],
        train_labels=full.train_labels[:400],
        test_images=full.test_images[:200],
        test_labels=full.test_labels[:200],
    )


@pytest.fixture(scope="module")
def teacher(digits):
    return train_teacher(config(TEACHER), digits)


@pytest.fixture(scope="module")
def student(digits, teacher):
    return train_student(config(STUDENT), digits, teacher.net)


# --- training


def test_training_lowers_the_loss_and_learns(teacher, student):
    for result in (teacher, student):
        assert result.history[-1].loss < result.history[0].loss
    assert teacher.test_accuracy > 0.7
    assert student.test_accuracy > 0.6
    assert [report.epoch for report in student.history] == [1, 2, 3]


def test_reports_name_every_layer_with_fractions(student):
    last = student.history[-1]
    assert set(last.firing_rate) == set(last.membrane_saturation) == {"conv1", "conv2"}
    for value in (*last.firing_rate.values(), *last.membrane_saturation.values()):
        assert 0 < value < 1


def test_reported_accuracy_is_that_of_the_integer_network(student, digits):
    codes = torch.from_numpy(np.floor(digits.test_images * 15 + 0.5))
    predicted = student.net.integer_run(codes).logits.numpy().argmax(1)
    assert student.test_accuracy == pytest.approx(float((predicted == digits.test_labels).mean()))
    assert evaluate(student.net, digits.test_images, digits.test_labels).accuracy == student.test_accuracy


def test_same_seed_same_bits_and_another_seed_other_bits(digits, teacher, student):
    global_state = torch.get_rng_state()
    again = train_student(config(STUDENT), digits, teacher.net)
    other = train_student(config(STUDENT, seed=1), digits, teacher.net)
    assert again.history == student.history
    assert to_network(again.net, "a").content_hash() == to_network(student.net, "b").content_hash()
    assert to_network(other.net, "c").content_hash() != to_network(student.net, "b").content_hash()
    assert torch.equal(torch.get_rng_state(), global_state)


def test_the_teacher_is_left_as_it_was(digits, teacher):
    before = {key: value.clone() for key, value in teacher.net.state_dict().items()}
    train_student(config(STUDENT, epochs=2), digits, teacher.net)
    assert all(torch.equal(before[key], value) for key, value in teacher.net.state_dict().items())
    assert not teacher.net.training


def test_frozen_epochs_keep_the_settled_statistics_and_the_weights(digits):
    def layer(epochs, frozen):
        run = train_teacher(config(TEACHER, epochs=epochs, frozen_epochs=frozen, cosine=False), digits)
        return run.net.blocks["conv1"]

    two, three, moving = layer(2, 1), layer(3, 2), layer(2, 0)
    assert torch.equal(two.running_mean, three.running_mean)
    assert torch.equal(two.weight, three.weight)
    assert not torch.equal(two.beta, three.beta)
    assert not torch.equal(two.running_mean, moving.running_mean)
    assert not torch.equal(two.weight, moving.weight)


def test_settled_statistics_are_the_mean_over_the_batches():
    plan = architecture("demo")
    net = build_teacher(plan, n_timesteps=2, neuron=NeuronSpec(), seed=0)
    codes = torch.randint(0, 16, (30, 1, 8, 8), generator=torch.Generator().manual_seed(1)).float()
    net.settle_statistics(codes, 10)
    conv = net.blocks["conv1"]
    sums = torch.nn.functional.conv2d(codes, conv.weight.detach() / 15, padding=1)
    torch.testing.assert_close(conv.running_mean, sums.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    variances = torch.stack([part.var((0, 2, 3)) for part in sums.split(10)])
    torch.testing.assert_close(conv.running_var, variances.mean(0), rtol=1e-4, atol=1e-5)


def test_a_student_without_teacher_learns_from_labels_alone(digits):
    result = train_student(config(STUDENT, losses={}, epochs=4, optimiser="sgd", lr=0.05), digits, None)
    assert result.history[-1].loss < result.history[0].loss


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc"])
def test_a_value_that_is_not_finite_stops_the_run_and_names_the_layer(digits, teacher, layer):
    broken = copy.deepcopy(teacher.net)
    with torch.no_grad():
        broken.blocks[layer].weight.view(-1)[0] = float("nan")
    with pytest.raises(SimulationError, match=f"epoch 1: layer {layer} is the first with values that are not finite"):
        train_student(config(STUDENT, losses={}), digits, broken)


def test_a_diverging_run_stops(digits):
    with pytest.raises(SimulationError, match=r"epoch [12]: .* not finite; lower lr"):
        train_teacher(config(TEACHER, lr=1e38, optimiser="sgd"), digits)


def test_progress_is_called_once_an_epoch(digits):
    seen = []
    train_teacher(config(TEACHER, epochs=2), digits, seen.append)
    assert [(report.epoch, report.n_epochs) for report in seen] == [(1, 2), (2, 2)]


def test_roles_and_networks_that_do_not_match_are_refused(digits, teacher):
    with pytest.raises(ConfigError, match="train_teacher takes role: teacher"):
        train_teacher(config(STUDENT), digits)
    with pytest.raises(ConfigError, match="train_student takes role: student"):
        train_student(config(TEACHER), digits, teacher.net)
    with pytest.raises(ConfigError, match="without a teacher; name one in 'teacher'"):
        train_student(config(STUDENT), digits, None)
    with pytest.raises(ConfigError, match="the teacher is a 'demo' and the student a 'vgg9'"):
        train_student(config(STUDENT, network="vgg9"), digits, teacher.net)
    with pytest.raises(
        DatasetError, match="network vgg9 takes 3x32x32 pixels and tells 10 classes apart; data set digits"
    ):
        train_teacher(config(TEACHER, network="vgg9"), digits)
    with pytest.raises(
        ConfigError,
        match=r"the student has n_timesteps=3, the teacher 2, and losses\.membrane_match is step; allowed at most 2",
    ):
        train_student(config(STUDENT, n_timesteps=3), digits, teacher.net)


# --- losses


def output(logits, membranes=()) -> NetOutput:
    return NetOutput(logits, tuple(membranes), ())


def test_losses_by_hand():
    labels = torch.tensor([0])
    logits = torch.tensor([[[0.0, 2.0]], [[4.0, 2.0]]])
    assert cross_entropy(logits, labels).item() == pytest.approx(math.log(2))
    # Time means (2, 2) and (2, 2 + 2 ln 3); at temperature 2 the odds are 1:1 and 1:3.
    taught = torch.tensor([[[2.0, 2.0 + 2 * math.log(3)]]])
    expected = 4 * (0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5))
    assert logit_distillation(logits, taught, 2.0).item() == pytest.approx(expected, rel=1e-5)
    mine = (torch.zeros(2, 1, 1, 1, 1), torch.ones(2, 1, 3, 1, 1))
    its = (torch.full((2, 1, 1, 1, 1), 2.0), torch.ones(2, 1, 3, 1, 1))
    assert membrane_distillation(mine, its).item() == pytest.approx(2.0)


def test_total_loss_weighs_its_parts_and_spares_the_teacher():
    labels = torch.tensor([1, 0])
    mine = output(torch.randn(2, 2, 3, requires_grad=True), [torch.randn(2, 2, 1, 1, 1, requires_grad=True)])
    its = output(torch.randn(2, 2, 3, requires_grad=True), [torch.randn(2, 2, 1, 1, 1, requires_grad=True)])
    spec = LossSpec(cross_entropy=0.5, logit_kd=2.0, temperature=3.0, membrane_kd=4.0)
    total = total_loss(mine, labels, spec, its)
    parts = (
        0.5 * cross_entropy(mine.logits, labels)
        + 2.0 * logit_distillation(mine.logits, its.logits, 3.0)
        + 4.0 * membrane_distillation(mine.membranes, its.membranes)
    )
    torch.testing.assert_close(total, parts)
    total.backward()
    assert mine.logits.grad is not None
    assert mine.membranes[0].grad is not None
    assert its.logits.grad is None
    assert its.membranes[0].grad is None


def test_distillation_needs_a_teacher():
    with pytest.raises(ConfigError, match="without a teacher"):
        total_loss(output(torch.zeros(1, 1, 2)), torch.tensor([0]), LossSpec(logit_kd=1.0))


# --- configuration


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epoch": 3}, "epoch: unknown field; did you mean 'epochs'?"),
        ({"lr": 0}, "lr: got 0; input should be greater than 0"),
        ({"n_timesteps": 0}, "n_timesteps: got 0; input should be greater than or equal to 1"),
        ({"quantisation": None}, "a student needs 'quantisation' with weight_bits and membrane_bits; add it"),
        ({"frozen_epochs": 3}, "frozen_epochs=3 leaves none of epochs=3"),
        ({"network": "vgg-9"}, "network 'vgg-9' is not in the zoo; did you mean 'vgg9'?"),
        ({"quantisation": {"weight_bits": 4, "membrane_bits": 1}}, "quantisation.membrane_bits: got 1"),
        ({"losses": {"cross_entropy": 0}}, "every loss has weight 0"),
        ({"role": "teacher"}, "a teacher has full precision"),
        ({"warmup_epochs": 3}, "warmup_epochs=3 leaves none of epochs=3 at the full lr; allowed 0 to 2"),
        ({"losses": {"layer_weights": {"fc": 1}}}, "network demo has no neurons 'fc'; allowed: conv1, conv2"),
        ({"losses": {"layer_weights": {"conv1": -1}}}, "layer_weights.conv1=-1.0; allowed 0 and above"),
        ({"losses": {"layer_weights": {"conv1": 0, "conv2": 0}}}, "gives every layer 0; give one a weight above 0"),
        ({"losses": {"label_loss": "tt"}}, "losses.label_loss"),
        (
            {"quantisation": {"weight_bits": 2, "membrane_bits": 2, "layer_bits": {"conv9": 3}}},
            "quantisation.layer_bits: network demo has no layer 'conv9'; allowed: conv1, conv2, fc",
        ),
    ],
)
def test_bad_values_are_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        config(STUDENT, **changes)
    text = str(caught.value)
    assert text.startswith("training.yaml: ")
    assert sentence in text
    assert "\n" not in text


def test_a_teacher_with_a_teacher_is_refused():
    with pytest.raises(ConfigError, match="a teacher has no teacher"):
        config(TEACHER, teacher="runs/other")


def test_the_hash_moves_with_every_field_and_not_with_spelt_out_defaults():
    assert config(STUDENT).content_hash() == config(STUDENT, cosine=True).content_hash()
    assert config(STUDENT).content_hash() != config(STUDENT, batch_size=31).content_hash()


def test_shipped_training_files_load():
    names = list(shipped_files("training"))
    assert {"digits_teacher", "digits_student"} <= set(names)
    for name in names:
        load_training_config(name)


def test_numbers_in_yaml_need_not_be_written_as_floats(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("role: teacher\ndataset: digits\nnetwork: demo\nepochs: 1\nlr: 1\n")
    assert load_training_config(str(path)).lr == 1.0


# --- checkpoints


def test_a_checkpoint_returns_the_same_network(tmp_path, student, teacher):
    for result, name in ((student, "student"), (teacher, "teacher")):
        save_checkpoint(tmp_path / name, result)
        loaded = load_checkpoint(tmp_path / name, network="demo")
        assert loaded.config == result.config
        assert loaded.metrics["test_accuracy"] == result.test_accuracy
        assert loaded.metrics["n_test"] == 200
        assert loaded.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
        assert not loaded.net.training
        saved, found = result.net.state_dict(), loaded.net.state_dict()
        assert all(torch.equal(saved[key], found[key]) for key in saved)
    assert to_network(load_checkpoint(tmp_path / "student").net, "a").content_hash() == (
        to_network(student.net, "a").content_hash()
    )


def test_saving_again_replaces_the_weights_and_leaves_one_file(tmp_path, student, teacher):
    save_checkpoint(tmp_path, teacher)
    save_checkpoint(tmp_path, student)
    assert load_checkpoint(tmp_path).config.role == "student"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_of_another_network_is_refused(tmp_path, student):
    save_checkpoint(tmp_path, student)
    with pytest.raises(NetworkError, match="a checkpoint of network 'demo', 'vgg9' is needed"):
        load_checkpoint(tmp_path, network="vgg9")
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    index["config"]["network"] = "vgg9"
    (tmp_path / "checkpoint.json").write_text(json.dumps(index))
    with pytest.raises(NetworkError, match=r"tensor blocks\.conv1\.beta has shape"):
        load_checkpoint(tmp_path)


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda json_file, weights: flip(weights), "sha256 differs"),
        (lambda json_file, weights: weights.write_bytes(weights.read_bytes()[:100]), "sha256 differs"),
        (lambda json_file, weights: weights.unlink(), "cannot be read"),
        (lambda json_file, weights: json_file.unlink(), "holds no checkpoint.json"),
        (lambda json_file, weights: json_file.write_text(json_file.read_text()[:50]), "not whole JSON"),
        (lambda json_file, weights: json_file.write_text("[]"), "not a spikeloop checkpoint"),
        (
            lambda json_file, weights: json_file.write_text(
                json_file.read_text().replace('"schema": 1', '"schema": 9')
            ),
            "checkpoint schema 9, this version reads 1",
        ),
        (
            lambda json_file, weights: replace(json_file, "weights-", "../weights-"),
            "leaves the folder",
        ),
        (
            lambda json_file, weights: replace(json_file, '"metrics"', '"metric"'),
            "damaged",
        ),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, student, damage, sentence):
    save_checkpoint(tmp_path, student)
    (weights,) = tmp_path.glob("*.safetensors")
    damage(tmp_path / "checkpoint.json", weights)
    with pytest.raises((ConfigError, NetworkError)) as caught:
        load_checkpoint(tmp_path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_quantisation_defaults_are_eight_bits_at_both_ends():
    spec = QuantisationSpec(weight_bits=2, membrane_bits=2)
    assert (spec.first_layer_bits, spec.last_layer_bits, spec.bn_bits, spec.guard_bits) == (8, 8, 8, 4)


def test_a_teacher_of_events_needs_the_steps_of_its_student():
    """Events are cut into as many frames as there are steps, so one batch cannot serve both."""
    plan = architecture("nmnist")
    teacher = build_teacher(plan, n_timesteps=3, neuron=NeuronSpec(), seed=0)
    config = validate_spec(
        TrainingConfig,
        {
            **TEACHER,
            "role": "student",
            "network": "nmnist",
            "dataset": "nmnist",
            "quantisation": {"weight_bits": 4, "membrane_bits": 4},
            "losses": {"logit_kd": 0.5, "logit_match": "mean"},
        },
        where="student",
    )
    with pytest.raises(ConfigError, match="n_timesteps=2 and the teacher has 3"):
        train_student(config, load_dataset("digits"), teacher)
