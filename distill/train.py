"""The training loop of teacher and student."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from spikeloop.models.net import NetOutput, SpikingNet, build_student, build_teacher
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, DatasetError, SimulationError

from .augment import Augmenter
from .config import TrainingConfig
from .datasets import AnyDataset
from .encode import split_spikes
from .evaluate import dataset_codes, evaluate_codes
from .hardware import HardwareLoop
from .losses import total_loss


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """State after an epoch; accuracies are fractions, of the network in ``eval()``.

    ``firing_rate`` and ``membrane_saturation`` are fractions per LIF layer over the test images; a teacher's
    membrane never saturates. ``train_accuracy`` counts the training forward passes of the epoch.
    """

    epoch: int
    n_epochs: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    firing_rate: dict[str, float]
    membrane_saturation: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """Trained network in ``eval()`` mode and its history; the last report is the result."""

    net: SpikingNet
    config: TrainingConfig
    history: tuple[EpochReport, ...]
    n_test: int
    cpu_time_s: float

    @property
    def test_accuracy(self) -> float:
        """Fraction of the test images classified correctly, in ``eval()``."""
        return self.history[-1].test_accuracy


Progress = Callable[[EpochReport], None]


def train_teacher(config: TrainingConfig, dataset: AnyDataset, progress: Progress | None = None) -> TrainResult:
    """Full-precision network trained with cross entropy.

    Raises:
        ConfigError: not a teacher's configuration.
        DatasetError: the data set does not fit the network.
        SimulationError: the loss stopped being finite; the layer is named.
    """
    if config.role != "teacher":
        raise ConfigError(f"role is '{config.role}'; train_teacher takes role: teacher")
    plan = architecture(config.network)
    net = build_teacher(plan, n_timesteps=config.n_timesteps, neuron=config.neuron, seed=config.seed)
    return _train(net, config, dataset, None, progress)


def train_student(
    config: TrainingConfig,
    dataset: AnyDataset,
    teacher: SpikingNet | None,
    progress: Progress | None = None,
    start: SpikingNet | None = None,
) -> TrainResult:
    """Quantised network that starts from the teacher's weights and is taught by it.

    It starts from the student ``start`` instead where that is given; without either from seeded random weights.
    Without a teacher the distillation losses must be off.

    Raises:
        ConfigError: not a student's configuration, or a teacher of another network.
        DatasetError: the data set does not fit the network.
        SimulationError: the loss stopped being finite; the layer is named.
    """
    if config.role != "student" or config.quantisation is None:
        raise ConfigError(f"role is '{config.role}'; train_student takes role: student")
    if teacher is None and config.losses.needs_teacher:
        raise ConfigError("losses.logit_kd or losses.membrane_kd is above 0 without a teacher; name one in 'teacher'")
    net = build_student(
        architecture(config.network),
        n_timesteps=config.n_timesteps,
        neuron=config.neuron,
        quantisation=config.quantisation,
        seed=config.seed,
    )
    if teacher is not None:
        if teacher.plan.name != config.network:
            raise ConfigError(
                f"the teacher is a '{teacher.plan.name}' and the student a '{config.network}'; match them"
            )
        if not net.plan.input.static and teacher.n_timesteps != config.n_timesteps:
            raise ConfigError(
                f"n_timesteps={config.n_timesteps} and the teacher has {teacher.n_timesteps}; events are cut into as "
                "many frames as there are steps, so a teacher of events needs the same number"
            )
        net.start_from(teacher.eval())
    if start is not None:
        _start_from_student(net, start)
    return _train(net, config, dataset, teacher, progress)


def _start_from_student(net: SpikingNet, start: SpikingNet) -> None:
    """Take all parameters and statistics of a student of the same kind."""
    theirs = {key: tuple(value.shape) for key, value in start.state_dict().items()}
    mine = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    if not start.quantised or theirs != mine:
        raise ConfigError(
            f"start holds {'another student' if start.quantised else 'a teacher'} of network {start.plan.name}, the "
            f"student is of {net.plan.name}; give the folder of a student of the same network and quantisation"
        )
    net.load_state_dict(start.state_dict())


def _hardware(net: SpikingNet, config: TrainingConfig, dataset: AnyDataset) -> HardwareLoop | None:
    """The design in the loop, with the first training images to calibrate on."""
    if config.hardware is None:
        return None
    n_images = min(config.hardware.calibration_images, len(dataset.train_labels))
    calibration = split_spikes(
        dataset, "train", n_images, net.plan.input, n_timesteps=net.n_timesteps, frames=config.frames
    )
    return HardwareLoop(net, config.hardware, calibration, seed=config.seed)


def _train(
    net: SpikingNet, config: TrainingConfig, dataset: AnyDataset, teacher: SpikingNet | None, progress: Progress | None
) -> TrainResult:
    started_s = time.process_time()
    _check_classes(net, dataset)
    codes = dataset_codes(dataset, "train", net, config.frames)
    test_codes = dataset_codes(dataset, "test", net, config.frames)
    labels = torch.from_numpy(dataset.train_labels)
    optimiser = _optimiser(net, config)
    batches = -(-len(labels) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _lr_factor(config, batches))
    augmenter = Augmenter(config.augmentation, seed=config.seed, n_images=len(labels))
    shuffle = torch.Generator().manual_seed(config.seed)
    taught = teacher is not None and config.losses.needs_teacher
    energy_fJ, loop = config.spike_energy_fJ(), _hardware(net, config, dataset)
    history = []
    for epoch in range(1, config.epochs + 1):
        frozen_for = epoch - (config.epochs - config.frozen_epochs)
        if loop is not None:
            loop.start_epoch(epoch)
        if frozen_for == 1:
            (loop or net).settle_statistics(codes, config.batch_size)
        net.train()
        net.freeze_statistics(frozen_for >= 1)
        loss_sum, correct = 0.0, 0
        for batch in torch.split(torch.randperm(len(labels), generator=shuffle), config.batch_size):
            shown = augmenter.shown(codes, batch, epoch)
            if loop is not None:
                loop.before_step()
            output, loss = _step(net, teacher if taught else None, config, shown, labels[batch], epoch, energy_fJ)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if not _finite(loss, *(value.grad for value in net.parameters() if value.grad is not None)):
                raise SimulationError(_not_finite(net, shown, epoch))
            optimiser.step()
            schedule.step()
            loss_sum += float(loss.detach()) * len(batch)
            correct += int((output.logits.detach().mean(0).argmax(1) == labels[batch]).sum())
        if loop is not None:
            loop.calibrate()
        means = loss_sum / len(labels), correct / len(labels)
        history.append(_report(net, test_codes, dataset, config, epoch, *means))
        if progress is not None:
            progress(history[-1])
    if loop is not None:
        loop.detach()
    return TrainResult(
        net=net.eval(),
        config=config,
        history=tuple(history),
        n_test=len(dataset.test_labels),
        cpu_time_s=time.process_time() - started_s,
    )


def _step(
    net: SpikingNet,
    teacher: SpikingNet | None,
    config: TrainingConfig,
    shown: torch.Tensor,
    labels: torch.Tensor,
    epoch: int,
    spike_energy_fJ: tuple[float, ...] | None = None,
) -> tuple[NetOutput, torch.Tensor]:
    """What the network makes of a batch, and its loss; the teacher sees the same pictures."""
    output = net(shown)
    with torch.no_grad():
        lesson = None if teacher is None else teacher(shown)
    loss = total_loss(
        output,
        labels,
        config.losses,
        lesson,
        layers=net.lif_names(),
        reset=config.neuron.reset,
        kd_factor=config.losses.kd_factor(epoch),
        spike_energy_fJ=spike_energy_fJ,
    )
    return output, loss


def _report(
    net: SpikingNet,
    test_codes: torch.Tensor,
    dataset: AnyDataset,
    config: TrainingConfig,
    epoch: int,
    loss: float,
    train_accuracy: float,
) -> EpochReport:
    result = evaluate_codes(net, test_codes, dataset.test_labels)
    return EpochReport(
        epoch=epoch,
        n_epochs=config.epochs,
        loss=loss,
        train_accuracy=train_accuracy,
        test_accuracy=result.accuracy,
        firing_rate=result.firing_rate,
        membrane_saturation=result.membrane_saturation,
    )


def _check_classes(net: SpikingNet, dataset: AnyDataset) -> None:
    if dataset.n_classes != net.plan.classifier.classes:
        raise DatasetError(
            f"data set {dataset.name} has {dataset.n_classes} classes, network {net.plan.name} tells "
            f"{net.plan.classifier.classes} apart; choose another network"
        )


def _optimiser(net: SpikingNet, config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            net.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def _lr_factor(config: TrainingConfig, batches: int) -> Callable[[int], float]:
    """Factor of lr at a step (counted from 0) of so many batches an epoch."""
    rise, steps = config.warmup_epochs * batches, config.epochs * batches

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / (steps - rise)))) if config.cosine else 1.0

    return factor


def _finite(*values: torch.Tensor) -> bool:
    # A sum is finite only if all of its terms are; overflow of the sum itself is divergence too.
    return bool(torch.isfinite(torch.stack([value.detach().sum() for value in values])).all())


@torch.no_grad()
def _not_finite(net: SpikingNet, codes: torch.Tensor, epoch: int) -> str:
    """Sentence that names the first layer whose weights, output or gradient is not finite."""
    names = (*net.lif_names(), net.plan.classifier.name)
    output = net(codes)
    for name, value in zip(names, (*output.membranes, output.logits), strict=True):
        if not _finite(value, *net.blocks[name].parameters()):
            return f"epoch {epoch}: layer {name} is the first with values that are not finite; lower lr"
    grads = {
        name: [p.grad for p in block.parameters() if p.grad is not None]
        for name, block in reversed(list(net.blocks.items()))
        if any(p.grad is not None for p in block.parameters())
    }
    bad = next((name for name, parts in grads.items() if not _finite(*parts)), names[-1])
    return f"epoch {epoch}: the loss or the gradient of layer {bad} is not finite; lower lr or the loss weights"
