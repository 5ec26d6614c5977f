"""Networks quantised without training, functional runs shared by designs, and the sensitivity of layers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from spikeloop.codesign.cli import main
from spikeloop.codesign.stages import PointJob, evaluate_points
from spikeloop.distill.checkpoint import save_checkpoint
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.ptq import quantise_trained, settling_codes
from spikeloop.distill.schedule import shortened
from spikeloop.distill.sensitivity import SensitivityPlan, measure_sensitivity
from spikeloop.distill.train import train_teacher
from spikeloop.models.export import to_network
from spikeloop.models.net import SpikingNet, build_teacher
from spikeloop.models.zoo import architecture
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.network.io import save_network


@pytest.fixture
def student() -> TrainingConfig:
    return load_training_config("digits_student")


def untrained_teacher(student: TrainingConfig) -> SpikingNet:
    plan = architecture(student.network)
    return build_teacher(plan, n_timesteps=student.n_timesteps, neuron=student.neuron, seed=3).eval()


def test_weights_are_the_teachers_and_the_statistics_those_of_the_quantised_sums(student: TrainingConfig) -> None:
    teacher = untrained_teacher(student)
    codes = settling_codes(student, load_dataset("digits"), 2 * student.batch_size)
    net = quantise_trained(student, teacher, codes)
    first = net.blocks["conv1"]
    torch.testing.assert_close(first.weight, teacher.blocks["conv1"].weight)
    # The mean of both batches, of sums of integer codes of weights times their step.
    sums = functional.conv2d(codes, first.integer_weight().float(), padding=1).double() * first.sum_scale()
    halves = [sums[: student.batch_size], sums[student.batch_size :]]
    mean = sum(half.mean(dim=(0, 2, 3)) for half in halves) / 2
    var = sum(half.var(dim=(0, 2, 3)) for half in halves) / 2
    torch.testing.assert_close(first.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var.double(), var, rtol=1e-4, atol=1e-5)
    assert not net.training
    assert (
        to_network(net, "demo").content_hash()
        == to_network(quantise_trained(student, teacher, codes), "demo").content_hash()
    )


def test_what_cannot_be_quantised_is_named(student: TrainingConfig) -> None:
    dataset = load_dataset("digits")
    with pytest.raises(DatasetError, match="100000 training images are asked for; allowed 1 to"):
        settling_codes(student, dataset, 100_000)
    other = build_teacher(architecture("fashion"), n_timesteps=4, neuron=student.neuron, seed=1)
    with pytest.raises(ConfigError, match="the teacher is a 'fashion' and the student a 'demo'"):
        quantise_trained(student, other, settling_codes(student, dataset, 8))


@pytest.mark.parametrize(("epochs", "phases"), [(10, (2, 3, 1)), (2, (1, 1, 1)), (1, (0, 0, 0)), (19, (4, 6, 2))])
def test_a_shorter_training_keeps_the_shares_of_its_phases(epochs: int, phases: tuple[int, int, int]) -> None:
    whole = {"epochs": 20, "frozen_epochs": 4, "warmup_epochs": 6, "losses": {"kd_warmup_epochs": 2}, "lr": 0.1}
    short = shortened(whole, epochs)
    assert (short["frozen_epochs"], short["warmup_epochs"], short["losses"]["kd_warmup_epochs"]) == phases
    assert (short["epochs"], short["lr"], whole["epochs"]) == (epochs, 0.1, 20)
    assert shortened({**whole, "warmup_epochs": 0}, epochs)["warmup_epochs"] == 0


def test_sensitivity_of_the_reference_width_is_none_and_layers_stand_in_order(student: TrainingConfig) -> None:
    plan = SensitivityPlan(bits=(8, 2), n_images=60, settle_images=64)
    seen: list[Any] = []
    teacher = untrained_teacher(student)
    teacher.settle_statistics(settling_codes(student, load_dataset("digits"), 64), 64)
    found = measure_sensitivity(student, teacher, load_dataset("digits"), plan, seen.append)
    places = [(row.kind, row.layer, row.bits) for row in found.rows]
    weights = [("weights", layer, bits) for layer in ("conv1", "conv2", "fc") for bits in (2, 8)]
    assert places == weights + [("membranes", layer, bits) for layer in ("conv1", "conv2") for bits in (2, 8)]
    assert tuple(seen) == found.rows
    alike = [row for row in found.rows if row.bits == 8]
    assert {row.accuracy for row in alike} == {found.reference_accuracy}
    assert {row.accuracy_drop for row in alike} == {0.0}
    error = {(row.kind, row.layer, row.bits): row.membrane_error for row in found.rows}
    assert error["weights", "fc", 2] is None
    assert error["weights", "conv1", 2] > error["weights", "conv1", 8]  # type: ignore[operator]
    # The classifier comes behind every membrane.
    last = {(row.layer, row.bits): row.last_membrane_error for row in found.rows if row.kind == "weights"}
    assert last["fc", 2] == last["fc", 8]


def test_command_prints_one_object_and_refuses_wrong_widths(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], student: TrainingConfig
) -> None:
    teacher = load_training_config("digits_teacher").model_copy(update={"epochs": 1, "n_timesteps": 4})
    save_checkpoint(tmp_path, train_teacher(teacher, load_dataset("digits")))
    given = ["sensitivity", "digits_student", "--teacher", str(tmp_path), "--images", "40", "--settle-images", "64"]
    assert main([*given, "--bits", "3", "--of", "weights", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["schema"], found["rest_bits"], found["n_images"]) == (1, 8, 40)
    assert [row["layer"] for row in found["rows"]] == ["conv1", "conv2", "fc"]
    for wrong, sentence in (("1", "allowed whole numbers"), ("3,x", "allowed whole numbers"), ("3,3", "given twice")):
        assert main([*given, "--bits", wrong]) == 2
        assert sentence in capfd.readouterr().err
    assert main([*given, "--bits", "3", "--epochs", "20"]) == 2
    assert "is no short training; the file has 20" in capfd.readouterr().err


def job(folder: Path, runs: Path | None, **hardware: Any) -> PointJob:
    fields = load_hardware("demo").resolved()
    fields["tile"]["pes_per_tile"] = hardware.get("pes", fields["tile"]["pes_per_tile"])
    fields["adc"]["bits"] = hardware.get("adc", fields["adc"]["bits"])
    return PointJob(
        index=0,
        student_folder=str(folder),
        hardware=fields,
        dataset="digits",
        images=20,
        calibration_images=8,
        cycle_images=1,
        seed=1,
        runs_folder=None if runs is None else str(runs),
    )


def test_another_tile_reuses_the_functional_run_and_other_adc_bits_do_not(
    tmp_path: Path, student: TrainingConfig
) -> None:
    dataset = load_dataset("digits")
    net = quantise_trained(student, untrained_teacher(student), settling_codes(student, dataset, 64))
    save_network(to_network(net, "demo", {"dataset": "digits"}), tmp_path / "network.safetensors")
    cache = tmp_path / "cache"
    cache.mkdir()

    def files() -> int:
        return len(list(cache.glob("run-*.safetensors")))

    def result(**hardware: Any) -> dict[str, Any]:
        shared, alone = evaluate_points((job(tmp_path, cache, **hardware), job(tmp_path, None, **hardware)))
        assert shared.status == alone.status == "ok"
        assert shared.metrics == alone.metrics
        assert shared.correct == alone.correct
        return dict(shared.metrics)

    first = result()
    assert files() == 1
    other_tile = result(pes=1)
    assert files() == 1
    assert other_tile["area_um2"] != first["area_um2"]
    result(adc=3)
    assert files() == 2
    # A damaged run is made again.
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert result() == first
    # The clock's stage runs its own images only and tells no accuracy.
    (cost,) = evaluate_points((dataclasses.replace(job(tmp_path, cache), stage="cycle"),))
    assert cost.metrics["accuracy"] == {"value": None, "n": 0, "ci95": None}
    assert (cost.correct, files()) == (None, 3)
    assert cost.metrics["area_um2"] == first["area_um2"]
    np.testing.assert_allclose(cost.metrics["latency_ns"], first["latency_ns"])
