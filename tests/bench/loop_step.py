"""CPU time of one training step through the crossbars of a design, by the kernel and in torch, and without the design.

    OMP_NUM_THREADS=1 python tests/bench/loop_step.py runs/fashion_w4u4 --dataset fashion_mnist
    OMP_NUM_THREADS=1 python tests/bench/loop_step.py ms_resnet18 --batch 8 --designs 1

The student of a folder of ``spikeloop train``, or an untrained one of a network of the zoo (W4 U4, T = 4) on random
pixels; forward, cross entropy, backward. Variants run in turn, the smallest CPU time of each counts. One line of JSON
for each design, with the largest memory of the process so far.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from hardware_loop_study import CALIBRATION_IMAGES, DESIGNS, design_of

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.evaluate import dataset_codes
from spikeloop.distill.hardware import HardwareLoop, HardwareSpec
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import SpikingNet, build_student
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.network.spikes import SpikeTrain


def step_cpu_s(net: SpikingNet, codes: torch.Tensor, labels: torch.Tensor) -> float:
    """CPU seconds of forward and backward."""
    net.zero_grad()
    started = time.process_time()
    torch.nn.functional.cross_entropy(net(codes).logits.mean(0), labels).backward()
    return time.process_time() - started


def trained(folder: Path, dataset_name: str, batch: int) -> tuple[SpikingNet, torch.Tensor, torch.Tensor, SpikeTrain]:
    """Student, codes and labels of a batch, and images that choose the ADC ranges."""
    net, dataset = load_checkpoint(folder).net, load_dataset(dataset_name)
    codes = dataset_codes(dataset, "train", net, "number")[:batch]
    calibration = split_spikes(dataset, "train", CALIBRATION_IMAGES, net.plan.input, n_timesteps=net.n_timesteps)
    return net, codes, torch.from_numpy(dataset.train_labels[:batch]), calibration


def untrained(name: str, batch: int) -> tuple[SpikingNet, torch.Tensor, torch.Tensor, SpikeTrain]:
    """The same of a random network, its batch norms settled on the batch."""
    bits = QuantisationSpec(weight_bits=4, membrane_bits=4, weight_scale="percentile", weight_percentile=95.0)
    net = build_student(architecture(name), n_timesteps=4, neuron=NeuronSpec(), quantisation=bits, seed=1)
    generator = torch.Generator().manual_seed(0)
    shape = (batch, *net.plan.input.shape)
    codes = torch.randint(0, 2**net.plan.input.bits, shape, generator=generator).float()
    with torch.no_grad():
        net.settle_statistics(codes, batch)
    few = codes[:4].numpy().astype(np.int64)
    spikes = SpikeTrain(name="random", codes=few, labels=None, indices=np.arange(len(few)))
    return net, codes, torch.randint(0, 10, (batch,), generator=generator), spikes


def main() -> None:
    """Every design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--designs", nargs="+", type=int, default=[1, 2])
    given = parser.parse_args()
    if given.student.is_dir():
        net, codes, labels, calibration = trained(given.student, given.dataset, given.batch)
    else:
        net, codes, labels, calibration = untrained(str(given.student), given.batch)
    net.train()
    for number in given.designs:
        name = list(DESIGNS)[number]
        loop = HardwareLoop(net, HardwareSpec(accelerator=design_of(DESIGNS[name]).resolved()), calibration, seed=0)
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
        times = {path: round(min(values), 4) for path, values in found.items()}
        memory_GB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"design": name, "step_cpu_s": times, "memory_GB": memory_GB}), flush=True)


if __name__ == "__main__":
    main()
