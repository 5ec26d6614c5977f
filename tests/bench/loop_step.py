"""CPU time of one training step through the crossbars of a design, by the kernel and in torch, and without the design.

    OMP_NUM_THREADS=1 python tests/bench/loop_step.py runs/fashion_w4u4 --dataset fashion_mnist

The student of a folder of ``spikeloop train``; forward, cross entropy, backward. Variants run in turn, the smallest CPU
time of each counts. One line of JSON for each design.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from hardware_loop_study import CALIBRATION_IMAGES, DESIGNS, design_of

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.evaluate import dataset_codes
from spikeloop.distill.hardware import HardwareLoop, HardwareSpec
from spikeloop.models.net import SpikingNet


def step_cpu_s(net: SpikingNet, codes: torch.Tensor, labels: torch.Tensor) -> float:
    """CPU seconds of forward and backward."""
    net.zero_grad()
    started = time.process_time()
    torch.nn.functional.cross_entropy(net(codes).logits.mean(0), labels).backward()
    return time.process_time() - started


def main() -> None:
    """Every design."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", type=Path)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--designs", nargs="+", type=int, default=[1, 2])
    given = parser.parse_args()
    net, dataset = load_checkpoint(given.student).net.train(), load_dataset(given.dataset)
    codes = dataset_codes(dataset, "train", net, "number")[: given.batch]
    labels = torch.from_numpy(dataset.train_labels[: given.batch])
    calibration = split_spikes(dataset, "train", CALIBRATION_IMAGES, net.plan.input, n_timesteps=net.n_timesteps)
    for number in given.designs:
        name = list(DESIGNS)[number]
        spec = HardwareSpec(accelerator=design_of(DESIGNS[name]).resolved())
        loop = HardwareLoop(net, spec, calibration, seed=0)
        loop.switch(1)
        loop.calibrate()
        found: dict[str, list[float]] = {"kernel": [], "torch": [], "without": []}
        for _ in range(given.repeats):
            for path in ("kernel", "torch"):
                os.environ["SPIKELOOP_READS"] = path
                loop.switch(1)
                found[path].append(step_cpu_s(net, codes, labels))
            loop.detach()
            found["without"].append(step_cpu_s(net, codes, labels))
        print(
            json.dumps({"design": name, "step_cpu_s": {path: min(times) for path, times in found.items()}}), flush=True
        )


if __name__ == "__main__":
    main()
