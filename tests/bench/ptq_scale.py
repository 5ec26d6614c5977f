"""Accuracy of a teacher that is quantised without training, by where its weights are cut off.

``python tests/bench/ptq_scale.py runs/fashion_teacher [--student fashion_w4u4] [--images 500]``: layers and
membranes all of one width, scales at a percentile of the magnitudes (100: the largest).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.evaluate import dataset_codes, evaluate_codes
from spikeloop.distill.ptq import quantise_trained, settling_codes
from spikeloop.distill.sensitivity import with_widths
from spikeloop.simulator.spec import validate_spec

BITS = (2, 3, 4, 6, 8)
PERCENTILES = (95.0, 99.0, 100.0)
SETTLE_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--student", default="fashion_w4u4")
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    teacher, base = load_checkpoint(given.teacher).net, load_training_config(given.student)
    dataset = load_dataset(base.dataset)
    settling = settling_codes(base, dataset, SETTLE_IMAGES)
    codes = dataset_codes(dataset, "test", teacher, base.frames)[..., : given.images, :, :, :]
    print("| percentile | " + " | ".join(f"{bits} bits" for bits in BITS) + " |\n" + "|---" * (len(BITS) + 1) + "|")
    for percentile in PERCENTILES:
        raw = base.resolved()
        raw["quantisation"]["weight_percentile"] = percentile
        config = validate_spec(TrainingConfig, raw, where="ptq_scale")
        nets = (quantise_trained(with_widths(config, bits, {}, {}), teacher, settling) for bits in BITS)
        shares = [evaluate_codes(net, codes, dataset.test_labels[: given.images]).accuracy for net in nets]
        print(f"| {percentile:g} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |", flush=True)


if __name__ == "__main__":
    main()
