"""One teacher of four steps for students of one to four, against a teacher of each number of steps.

Run: ``python tests/bench/versatile_study.py DATASET NETWORK [--images 10000] [--seeds 0 1 2]``. Teachers and students
see the first ``--images`` training images. A student starts from its teacher's weights and is taught by logits and
membranes: ``step`` compares each of its steps with the teacher's same step, ``mean`` the time means, ``own`` has a
teacher of its own number of steps. Prints Markdown: accuracy on all test images, and the CPU time of both ways.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from spikeloop.distill.config import TrainingConfig
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.evaluate import evaluate
from spikeloop.distill.reports import TrainResult
from spikeloop.distill.train import train_student, train_teacher

STEPS = (1, 2, 3, 4)
LOSSES = {"logit_kd": 4.0, "membrane_kd": 0.1, "temperature": 4.0}
QUANTISATION = {"weight_bits": 4, "membrane_bits": 4, "weight_scale": "percentile", "weight_percentile": 95.0}


class Versatile:
    """Teachers by number of steps, and what students of them reach."""

    def __init__(self, dataset: Dataset, network: str, images: int, epochs: tuple[int, int], steps: list[int]) -> None:
        self.dataset, self.network, self.epochs = dataset, network, epochs
        # The trainer looks at its test images after every epoch; a few are enough there.
        self.part = replace(
            dataset,
            train_images=dataset.train_images[:images],
            train_labels=dataset.train_labels[:images],
            test_images=dataset.test_images[:50],
            test_labels=dataset.test_labels[:50],
        )
        self.teachers = {number: self._teacher(number) for number in sorted({*steps, 4})}

    def student(self, steps: int, teacher: int, match: str, seed: int) -> tuple[float, float]:
        """Accuracy in percent and CPU seconds of a student with a teacher of so many steps."""
        config = self._config(
            role="student",
            n_timesteps=steps,
            seed=seed,
            epochs=self.epochs[1],
            frozen_epochs=1,
            lr=1e-3,
            quantisation=QUANTISATION,
            losses={**LOSSES, "membrane_match": match, "logit_match": match},
        )
        result = train_student(config, self.part, self.teachers[teacher].net)
        return self.accuracy(result), result.cpu_time_s

    def accuracy(self, result: TrainResult) -> float:
        """Percent of all test images."""
        return 100 * evaluate(result.net, self.dataset.test_images, self.dataset.test_labels).accuracy

    def _teacher(self, steps: int) -> TrainResult:
        return train_teacher(self._config(role="teacher", n_timesteps=steps, epochs=self.epochs[0], lr=3e-3), self.part)

    def _config(self, **fields: Any) -> TrainingConfig:
        return TrainingConfig.model_validate(
            {"dataset": self.dataset.name, "network": self.network, "weight_decay": 1e-4, **fields}
        )


def main() -> None:
    """Train everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("network")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs=2, default=[8, 4], help="of teachers and of students")
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS), help="of the students")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(given.dataset)
    assert isinstance(dataset, Dataset)
    study = Versatile(dataset, given.network, given.images, tuple(given.epochs), given.steps)
    for steps, teacher in study.teachers.items():
        print(f"teacher T={steps}: {study.accuracy(teacher):.2f} %, {teacher.cpu_time_s:.0f} s", flush=True)
    print("\n| T | teacher T=4, step | teacher T=4, mean | own teacher | step - own by seed |")
    print("|---|---|---|---|---|")
    spent = {"step": 0.0, "mean": 0.0, "own": 0.0}
    for steps in given.steps:
        found: dict[str, list[float]] = {}
        for arm, (teacher, match) in {"step": (4, "step"), "mean": (4, "mean"), "own": (steps, "step")}.items():
            if steps == 4 and arm == "own":
                found[arm] = found["step"]
                continue
            runs = [study.student(steps, teacher, match, seed) for seed in given.seeds]
            found[arm] = [accuracy for accuracy, _ in runs]
            spent[arm] += float(np.mean([cpu_s for _, cpu_s in runs]))
        differences = ", ".join(f"{a - b:+.2f}" for a, b in zip(found["step"], found["own"], strict=True))
        cells = [f"{np.mean(values):.2f} ({np.std(values, ddof=1):.2f})" for values in found.values()]
        print(f"| {steps} | " + " | ".join(cells) + f" | {differences} |", flush=True)
    teachers = {steps: teacher.cpu_time_s for steps, teacher in study.teachers.items()}
    print(f"\nteachers: one {teachers[4]:.0f} s, all {sum(teachers.values()):.0f} s; students, all T: {spent}")


if __name__ == "__main__":
    main()
