"""What a network does on images it has not learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloop.models.layers import QuantLayer
from spikeloop.models.lif import MembraneGrid
from spikeloop.models.net import SpikingNet
from spikeloop.models.residual import QuantStreamLif

from .datasets import AnyDataset
from .encode import pixel_codes, split_codes
from .event_sets import Split
from .events import FrameRule
from .parallel import ALONE, Ranks

#: On a CPU larger batches spend half their time in asking the system for pages and giving them back.
_BATCH, _BATCH_ON_GPU = 64, 256


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Fractions: accuracy, spikes per neuron and step, and stored membrane codes at either end of their range."""

    accuracy: float
    firing_rate: dict[str, float]
    membrane_saturation: dict[str, float]


def evaluate(net: SpikingNet, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Evaluation:
    """Evaluate in ``eval()``; a student computes on integers. The network is left in ``eval()``.

    Raises:
        DatasetError: the images do not fit the network.
    """
    return evaluate_codes(net, image_codes(images, net), labels)


@torch.no_grad()
def evaluate_codes(net: SpikingNet, codes: torch.Tensor, labels: NDArray[np.int64], ranks: Ranks = ALONE) -> Evaluation:
    """``evaluate`` on input codes, (N, C, H, W) of a static input, else (T, N, C, H, W).

    Of several processes each takes its part of the images, and all get the result on all of them.
    """
    net.eval()
    truth = torch.from_numpy(labels)
    names, device = net.lif_names(), next(net.parameters()).device
    correct, fired, saturated = 0, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    own = torch.arange(len(truth))[ranks.part(len(truth))]
    size = _BATCH if device.type == "cpu" else _BATCH_ON_GPU
    for batch in torch.split(own, size) if len(own) else ():
        share = len(batch) / len(truth)
        shown = codes[..., batch, :, :, :].to(device)
        if net.quantised:
            run = net.integer_run(shown)
            logits, spikes = run.logits, [layer.spikes for layer in run.layers.values()]
            for name, layer in run.layers.items():
                grid = cast(QuantLayer | QuantStreamLif, net.blocks[name]).grid
                saturated[name] += share * _at_limits(layer.stored, grid)
        else:
            output = net(shown)
            logits, spikes = output.logits.sum(0), list(output.spikes)
        for name, part in zip(names, spikes, strict=True):
            fired[name] += share * float(part.mean())
        correct += int((logits.argmax(1).cpu() == truth[batch]).sum())
    found = torch.tensor([correct, *fired.values(), *saturated.values()], dtype=torch.float64, device=device)
    whole = ranks.total(found).tolist()
    return Evaluation(
        accuracy=int(whole[0]) / len(truth),
        firing_rate=dict(zip(names, whole[1 : 1 + len(names)], strict=True)),
        membrane_saturation=dict(zip(names, whole[1 + len(names) :], strict=True)),
    )


def dataset_codes(dataset: AnyDataset, split: Split, net: SpikingNet, frames: FrameRule) -> torch.Tensor:
    """Input codes of a split for the network, whole numbers: (N, C, H, W), or (T, N, 2, H, W) of events.

    Raises:
        DatasetError: the data set does not fit the network.
    """
    return torch.from_numpy(split_codes(dataset, split, net.plan.input, n_timesteps=net.n_timesteps, frames=frames))


def image_codes(images: NDArray[np.float32], net: SpikingNet) -> torch.Tensor:
    """Input codes (N, C, H, W) float32 of images for the network.

    Raises:
        DatasetError: the images do not fit the network.
    """
    return torch.from_numpy(pixel_codes(images, net.plan.input).astype(np.float32))


def _at_limits(stored: torch.Tensor, grid: MembraneGrid) -> float:
    ends = (stored == grid.code_min) | (stored == grid.code_max)
    return float(ends.double().mean())
