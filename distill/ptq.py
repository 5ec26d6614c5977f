"""A student without training: the teacher's weights, quantised, with batch norms settled on training images."""

from __future__ import annotations

import torch

from spikeloop.models.net import SpikingNet, build_student
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, DatasetError

from .config import TrainingConfig
from .datasets import AnyDataset
from .encode import split_spikes
from .train import check_teacher


def settling_codes(config: TrainingConfig, dataset: AnyDataset, n_images: int) -> torch.Tensor:
    """Input codes of the first training images, (N, C, H, W), or (T, N, 2, H, W) of events.

    Raises:
        DatasetError: the data set has fewer training images, or does not fit the network.
    """
    there = len(dataset.train_labels)
    if not 1 <= n_images <= there:
        raise DatasetError(f"data set {dataset.name}: {n_images} training images are asked for; allowed 1 to {there}")
    node = architecture(config.network).input
    spikes = split_spikes(dataset, "train", n_images, node, n_timesteps=config.n_timesteps, frames=config.frames)
    return torch.from_numpy(spikes.codes).to(torch.float32)


def quantise_trained(config: TrainingConfig, teacher: SpikingNet, codes: torch.Tensor) -> SpikingNet:
    """Student of ``config`` with the teacher's parameters, in ``eval()``; nothing but batch statistics is learnt.

    Weights are rounded layer by layer on the grid that training would start from. The batch norms take the mean and
    variance of the quantised sums over ``codes`` (batches of ``batch_size``): without that the error of the weights
    shifts every threshold.

    Args:
        config: a student; its losses, optimiser and epochs play no part.
        teacher: trained network of the same architecture.
        codes: training images, see ``settling_codes``.

    Raises:
        ConfigError: no student's configuration, or a teacher of another network.
    """
    if config.quantisation is None:
        raise ConfigError(f"role is '{config.role}'; only a student is quantised")
    check_teacher(config, teacher.plan, n_timesteps=teacher.n_timesteps)
    net = build_student(
        architecture(config.network),
        n_timesteps=config.n_timesteps,
        neuron=config.neuron,
        quantisation=config.quantisation,
        seed=config.seed,
    )
    net.start_from(teacher.eval())
    with torch.no_grad():
        net.settle_statistics(codes, config.batch_size)
    return net.eval()
