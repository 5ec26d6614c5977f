"""What logits and membranes teach: students of several bit widths under four losses, as JSON lines.

Run: ``python tests/bench/mechanism_study.py TEACHER OUT.jsonl [--tune | --seeds 0 1 2] [--settings W4U8 ...]``.
``TEACHER`` is a checkpoint folder of ``spikeloop train``. Every student starts from the teacher's weights and sees
the first ``--images`` training images for ``--epochs`` epochs, whatever its losses. ``--tune`` tries three values an
arm on the first 2,000 test images (the teacher has seen every training image); all other results are those of the
rest. A run that is in OUT is not repeated, so a study that was stopped goes on. ``mechanism_tables.py`` makes the
tables and figures.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.compare import layer_distances
from spikeloop.distill.config import TrainingConfig
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.evaluate import dataset_codes
from spikeloop.distill.train import train_student
from spikeloop.models.net import SpikingNet

SETTINGS = {"W4U8": (4, 8), "W4U4": (4, 4), "W2U4": (2, 4), "W2U3": (2, 3)}
#: Three values an arm in the tuning: the control's is the learning rate, which all arms then share.
TUNED: dict[str, tuple[dict[str, float], ...]] = {
    "none": ({"lr": 3e-4}, {"lr": 1e-3}, {"lr": 3e-3}),
    "logit": ({"logit_kd": 0.25}, {"logit_kd": 1.0}, {"logit_kd": 4.0}),
    "membrane": ({"membrane_kd": 0.1}, {"membrane_kd": 1.0}, {"membrane_kd": 10.0}),
    "both": (
        {"logit_kd": 0.25, "membrane_kd": 0.1},
        {"logit_kd": 1.0, "membrane_kd": 1.0},
        {"logit_kd": 4.0, "membrane_kd": 10.0},
    ),
}
TUNING_SETTING, TUNING_SEED = "W2U3", 100
TEMPERATURE = 4.0
_TUNED_ON = 2_000
_COMPARED = 1_000


class Study:
    """One teacher, one data set, and the runs that are done."""

    def __init__(self, teacher: Path, out: Path, *, images: int, epochs: int, batch_size: int) -> None:
        trained = load_checkpoint(teacher)
        self.teacher, self.config, self.out = trained.net.eval(), trained.config, out
        self.images, self.epochs, self.batch_size = images, epochs, batch_size
        dataset = load_dataset(self.config.dataset)
        assert isinstance(dataset, Dataset)
        self.dataset = dataset
        self.done: list[dict[str, Any]] = []
        if out.exists():
            self.done = [json.loads(line) for line in out.read_text().splitlines()]

    def run(self, arm: str, setting: str, seed: int, options: dict[str, float], *, tuning: bool) -> dict[str, Any]:
        """Train and measure a student, unless that was done before."""
        key = {"arm": arm, "setting": setting, "seed": seed, "options": options, "tuning": tuning}
        key |= {"images": self.images, "epochs": self.epochs, "batch_size": self.batch_size}
        for row in self.done:
            if all(row[name] == value for name, value in key.items()):
                return row
        started_s = time.process_time()
        net = self._trained(setting, seed, options)
        row = {**key, **self._measured(net, tuning), "cpu_s": time.process_time() - started_s}
        with self.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.done.append(row)
        print(f"{setting} {arm} {options} seed {seed}: {100 * row['accuracy']:.2f} %", flush=True)
        return row

    def _trained(self, setting: str, seed: int, options: dict[str, float]) -> SpikingNet:
        weight_bits, membrane_bits = SETTINGS[setting]
        lr = options.get("lr", 1e-3)
        losses = {name: value for name, value in options.items() if name != "lr"}
        config = TrainingConfig.model_validate(
            {
                "role": "student",
                "dataset": self.config.dataset,
                "network": self.config.network,
                "n_timesteps": self.config.n_timesteps,
                "quantisation": {
                    "weight_bits": weight_bits,
                    "membrane_bits": membrane_bits,
                    "first_layer_bits": 8,
                    "last_layer_bits": 8,
                    "weight_scale": "percentile",
                    "weight_percentile": 95.0,
                },
                "losses": {**losses, "temperature": TEMPERATURE},
                "epochs": self.epochs,
                "frozen_epochs": 1,
                "batch_size": self.batch_size,
                "lr": lr,
                "weight_decay": 1e-4,
                "seed": seed,
            }
        )
        images, labels = self.dataset.train_images[: self.images], self.dataset.train_labels[: self.images]
        # The trainer looks at its test images after every epoch; a few are enough there.
        part = replace(
            self.dataset,
            train_images=images,
            train_labels=labels,
            test_images=self.dataset.test_images[:50],
            test_labels=self.dataset.test_labels[:50],
        )
        return train_student(config, part, self.teacher).net

    @torch.no_grad()
    def _measured(self, net: SpikingNet, tuning: bool) -> dict[str, Any]:
        part = slice(None, _TUNED_ON) if tuning else slice(_TUNED_ON, None)
        images, labels = self.dataset.test_images[part], self.dataset.test_labels[part]
        shown = replace(self.dataset, test_images=images, test_labels=labels)
        codes = dataset_codes(shown, "test", net, "number")
        told = torch.cat([net.integer_run(batch).logits.argmax(1) for batch in torch.split(codes, 256)]).numpy()
        correct = told == labels
        layers = layer_distances(net, self.teacher, codes[:_COMPARED])
        return {
            "accuracy": float(correct.mean()),
            "correct": np.packbits(correct).tobytes().hex(),
            "n": len(correct),
            "layers": {name: asdict(distance) for name, distance in layers.items()},
        }


def chosen(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Options of each arm with the best tuning accuracy, the first of equals; every arm has the control's lr."""
    best: dict[str, dict[str, float]] = {}
    for arm, values in TUNED.items():
        scores = [
            next(row["accuracy"] for row in rows if row["tuning"] and row["arm"] == arm and _same(row, options))
            for options in values
        ]
        best[arm] = values[scores.index(max(scores))]
    return {arm: {**best["none"], **options} for arm, options in best.items()}


def _same(row: dict[str, Any], options: dict[str, float]) -> bool:
    return all(row["options"].get(name) == value for name, value in options.items())


def main() -> None:
    """Tune, or train every arm at every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--tuned-by", type=Path, help="JSON lines of a tuning; default: OUT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(given.teacher, given.out, images=given.images, epochs=given.epochs, batch_size=given.batch_size)
    if given.tune:
        for options in TUNED["none"]:
            study.run("none", TUNING_SETTING, TUNING_SEED, options, tuning=True)
        rows = [row for row in study.done if row["tuning"] and row["arm"] == "none"]
        lr = max(rows, key=lambda row: row["accuracy"])["options"]["lr"]
        for arm in ("logit", "membrane", "both"):
            for options in TUNED[arm]:
                study.run(arm, TUNING_SETTING, TUNING_SEED, {"lr": lr, **options}, tuning=True)
        return
    source = given.tuned_by or given.out
    arms = chosen([json.loads(line) for line in source.read_text().splitlines()])
    for seed in given.seeds:
        for setting in given.settings:
            for arm, options in arms.items():
                study.run(arm, setting, seed, options, tuning=False)


if __name__ == "__main__":
    main()
