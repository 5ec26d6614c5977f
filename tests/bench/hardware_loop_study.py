"""What training through the crossbars recovers: the tables of docs/results/hardware_loop.md.

    python tests/bench/hardware_loop_study.py TEACHER --dataset digits --seeds 0 1 2
    python tests/bench/hardware_loop_study.py TEACHER --student STUDENT --dataset fashion_mnist --train 5000

TEACHER and STUDENT are folders of ``spikeloop train``. A student that is given is that of every seed, and the seeds are
those of the extra epochs; otherwise each seed trains its own. Every arm but the plain student gets the same extra
epochs. One line of JSON for each design, seed and arm: accuracy on each simulated chip, and CPU time of a step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import AnyDataset, load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.evaluate import dataset_codes
from spikeloop.distill.hardware import HardwareLoop, HardwareSpec
from spikeloop.distill.train import train_student
from spikeloop.models.export import to_network
from spikeloop.models.net import SpikingNet
from spikeloop.simulator.config import HardwareConfig, load_hardware
from spikeloop.simulator.functional.analog import AnalogChip, needs_chip
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import map_network

RRAM = {"preset": "rram_neurram", "time_s": 3600, "read_noise_ratio": 0.02}
#: Changes of spikeflow_128 (128 rows read at once): cells, bits of a cell, of an ADC, its range.
DESIGNS: dict[str, dict[str, Any]] = {
    "4-bit ADC, range of the largest sum": {"cell_bits": 1, "bits": 4, "full_scale": "max"},
    "3-bit ADC, 2-bit cells": {"cell_bits": 2, "bits": 3, "full_scale": "calibrated"},
    "4-bit ADC, 3-bit RRAM cells": {"cell_bits": 3, "bits": 4, "full_scale": "calibrated", "cell": RRAM},
}
CALIBRATION_IMAGES = 64


def design_of(changes: dict[str, Any]) -> HardwareConfig:
    """Design with those changes."""
    base = load_hardware("spikeflow_128").resolved()
    base["crossbar"]["cell_bits"] = changes["cell_bits"]
    if "cell" in changes:
        base["crossbar"].update(cell=changes["cell"], baseline="subtracted")
    base["adc"].update(bits=changes["bits"], full_scale=changes["full_scale"])
    return HardwareConfig.model_validate(base)


def accuracies(net: SpikingNet, hw: HardwareConfig, dataset: AnyDataset, images: int, chips: int) -> list[float]:
    """Accuracy on each simulated chip (one where all are alike), calibrated as by ``spikeloop simulate``."""
    network = to_network(net, "student")
    mapping = map_network(network, hw)
    test, calibration = (
        split_spikes(dataset, split, n, network.input, n_timesteps=network.n_timesteps)
        for split, n in (("test", images), ("train", CALIBRATION_IMAGES))
    )
    found = []
    for number in range(chips if needs_chip(hw) else 1):
        chip = AnalogChip(hw=hw, seed=1000, chip=number) if needs_chip(hw) else None
        shift = calibrate_adc(network, mapping, hw, calibration, chip=chip)
        outputs = run_functional(network, mapping, hw, test, adc_shift=shift, chip=chip)
        found.append(float((outputs.predictions() == test.labels).mean()))
    return found


def settled(net: SpikingNet, spec: HardwareSpec, dataset: AnyDataset, n_images: int) -> None:
    """Batch norm statistics of the sums on the hardware, weights held."""
    calibration = split_spikes(dataset, "train", CALIBRATION_IMAGES, net.plan.input, n_timesteps=net.n_timesteps)
    loop = HardwareLoop(net, spec, calibration, seed=0)
    loop.switch(1)
    loop.settle_statistics(dataset_codes(dataset, "train", net, "number")[:n_images], 64)
    loop.detach()
    net.eval()


def run_design(name: str, student: SpikingNet, config: TrainingConfig, given: argparse.Namespace, **more: Any) -> None:
    """All arms of one design and seed."""
    hw, dataset, teacher = design_of(DESIGNS[name]), more["dataset"], more["teacher"]
    analog = needs_chip(hw)

    def say(arm: str, net: SpikingNet, step_ms: float | None = None) -> None:
        found = accuracies(net, hw, dataset, given.images, given.chips)
        row = {"design": name, "seed": config.seed, "arm": arm, "accuracy": found, "mean": float(np.mean(found))}
        print(json.dumps({**row, "step_ms": step_ms}), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "design.yaml"
        path.write_text(yaml.safe_dump(hw.resolved()), encoding="utf-8")
        adc = {"accelerator": str(path), "variation": False, "read_noise": False}
        say("plain student", student)
        copy = load_student(student, config)
        settled(copy, HardwareSpec(**adc), dataset, 2000)
        say("batch norm on the hardware", copy)
        arms: list[tuple[str, dict[str, Any] | None]] = [
            ("same epochs without hardware", None),
            ("ADC in the loop", adc),
        ]
        arms += [("ADC in the loop, plain gradient", {**adc, "gradient": "plain"})] if given.plain else []
        arms += [("ADC, variation and noise in the loop", {"accelerator": str(path)})] if analog else []
        for arm, spec in arms:
            changed = {"epochs": given.epochs, "frozen_epochs": 1, "lr": 1e-3, "hardware": spec, "seed": config.seed}
            tuned = TrainingConfig.model_validate({**config.resolved(), **changed})
            started = time.process_time()
            result = train_student(tuned, dataset, teacher, start=student)
            steps = given.epochs * -(-len(dataset.train_labels) // config.batch_size)
            say(arm, result.net, 1000 * (time.process_time() - started) / steps)


def load_student(student: SpikingNet, config: TrainingConfig) -> SpikingNet:
    """A copy."""
    from spikeloop.models.net import build_student

    assert config.quantisation is not None
    net = build_student(
        student.plan, n_timesteps=config.n_timesteps, neuron=config.neuron, quantisation=config.quantisation, seed=0
    )
    net.load_state_dict(student.state_dict())
    return net.eval()


def main() -> None:
    """Every design for every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--student", type=Path)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--train", type=int)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--designs", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--plain", action="store_true", help="the plain gradient too")
    given = parser.parse_args()
    dataset, teacher = load_dataset(given.dataset), load_checkpoint(given.teacher).net
    if given.train:
        dataset = dataclasses.replace(
            dataset, train_images=dataset.train_images[: given.train], train_labels=dataset.train_labels[: given.train]
        )
    for seed in given.seeds:
        if given.student:
            found = load_checkpoint(given.student)
            student, config = found.net, found.config.model_copy(update={"seed": seed})
        else:
            config = load_training_config("digits_student").model_copy(update={"seed": seed})
            student = train_student(config, dataset, teacher).net
        correct = accuracies(student, load_hardware("ideal_64"), dataset, given.images, 1)
        print(json.dumps({"design": "ideal", "seed": seed, "arm": "plain student", "mean": correct[0]}), flush=True)
        for number in given.designs:
            run_design(list(DESIGNS)[number], student, config, given, dataset=dataset, teacher=teacher)


if __name__ == "__main__":
    main()
