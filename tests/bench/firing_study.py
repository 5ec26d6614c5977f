"""Energy against accuracy with a penalty on spikes, weighed by energy or not: docs/results/hardware_loop.md.

    python tests/bench/firing_study.py TEACHER STUDENT --weights 0.3 1 3 --seeds 0 1 2

Every network is fine-tuned from STUDENT for the same epochs. Design ``spikeflow_128`` (row groups without spikes are
skipped); energy is the mean of 16 images. One line of JSON for each network.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.config import TrainingConfig
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.train import train_student
from spikeloop.models.export import to_network
from spikeloop.models.net import SpikingNet
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.metrics import Metrics, to_json
from spikeloop.simulator.pipeline import evaluate

HARDWARE = "spikeflow_128"
CYCLE_IMAGES = 16


def measured(net: SpikingNet) -> Metrics:
    """Accuracy on the 600 test images and cost of a student."""
    network, digits = to_network(net, "student"), load_dataset("digits")
    test, calibration = (
        split_spikes(digits, split, n, network.input, n_timesteps=network.n_timesteps)
        for split, n in (("test", 600), ("train", 64))
    )
    hw = load_hardware(HARDWARE)
    return evaluate(network, hw, test, seed=0, calibration=calibration, cycle_images=CYCLE_IMAGES).metrics


def main() -> None:
    """Both penalties at every weight and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.3, 1.0, 3.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    teacher, start = load_checkpoint(given.teacher).net, load_checkpoint(given.student)
    digits = load_dataset("digits")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        before = measured(start.net)
        path.write_text(json.dumps(to_json(before)), encoding="utf-8")
        print(
            json.dumps({"arm": "start", "accuracy": before.accuracy.value, "energy_fJ": before.energy_fJ}), flush=True
        )
        for seed in given.seeds:
            for weight, source in [(0.0, None), *((w, s) for w in given.weights for s in (None, str(path)))]:
                losses = {**start.config.losses.resolved(), "firing_penalty": weight, "energy_from": source}
                changed = {"losses": losses, "epochs": 8, "frozen_epochs": 2, "lr": 1e-3, "seed": seed}
                config = TrainingConfig.model_validate({**start.config.resolved(), **changed})
                result = train_student(config, digits, teacher, start=start.net)
                found = measured(result.net)
                row = {
                    "arm": "none" if not weight else "rate" if source is None else "energy",
                    "weight": weight,
                    "seed": seed,
                    "accuracy": found.accuracy.value,
                    "energy_fJ": found.energy_fJ,
                    "firing_rate": dict(result.history[-1].firing_rate),
                    "spike_energy_fJ": config.spike_energy_fJ(),
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
