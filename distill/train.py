"""The training loop of teacher and student."""

from __future__ import annotations

import torch

from spikeloop.models.net import NetOutput, SpikingNet, build_student, build_teacher
from spikeloop.models.plan import Architecture
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, SimulationError

from .augment import Augmenter
from .config import TrainingConfig
from .datasets import AnyDataset
from .device import exact_convolutions, mixed_precision
from .encode import split_spikes
from .evaluate import dataset_codes, evaluate_codes
from .finite import diverged_layer, finite, not_finite_sentence
from .fit import used_part
from .hardware import HardwareLoop
from .losses import total_loss
from .optimiser import lr_at, make_optimiser
from .parallel import ALONE, Ranks, Shard
from .reports import EpochReport, Progress, TrainResult
from .state import Keeper, Run

_CPU = torch.device("cpu")


def train_teacher(
    config: TrainingConfig,
    dataset: AnyDataset,
    progress: Progress | None = None,
    *,
    keeper: Keeper | None = None,
    device: torch.device = _CPU,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Full-precision network trained with cross entropy.

    Args:
        config: the training file.
        dataset: images or recordings.
        progress: called after every epoch.
        keeper: saves the run and brings it back; None keeps nothing. Of several processes the first has one.
        device: where to train; the result lies on the CPU.
        ranks: the processes that train together, each with these same arguments; all get the same result.

    Raises:
        ConfigError: not a teacher's configuration.
        DatasetError: the data set does not fit the network.
        SimulationError: the loss stopped being finite; the layer is named.
    """
    if config.role != "teacher":
        raise ConfigError(f"role is '{config.role}'; train_teacher takes role: teacher")
    plan = architecture(config.network)
    net = build_teacher(plan, n_timesteps=config.n_timesteps, neuron=config.neuron, seed=config.seed)
    return _train(net, config, dataset, None, progress, keeper, device, ranks)


def train_student(
    config: TrainingConfig,
    dataset: AnyDataset,
    teacher: SpikingNet | None,
    progress: Progress | None = None,
    *,
    start: SpikingNet | None = None,
    keeper: Keeper | None = None,
    device: torch.device = _CPU,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Quantised network that starts from the teacher's weights and is taught by it.

    It starts from the student ``start`` instead where that is given; without either from seeded random weights.
    Without a teacher the distillation losses must be off. The other arguments are those of ``train_teacher``.

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
        check_teacher(config, teacher.plan, n_timesteps=teacher.n_timesteps)
        net.start_from(teacher.eval())
    if start is not None:
        _start_from_student(net, start)
    return _train(net, config, dataset, teacher, progress, keeper, device, ranks)


def check_teacher(config: TrainingConfig, teacher: Architecture, *, n_timesteps: int) -> None:
    """Refuse a student's configuration that does not go with a teacher of this network and number of steps.

    Raises:
        ConfigError: another network, or other steps and an input of events.
    """
    plan = architecture(config.network)
    if teacher != plan:
        raise ConfigError(f"the teacher is a '{teacher.name}' and the student a '{plan.name}'; give both one 'network'")
    if not plan.input.static and n_timesteps != config.n_timesteps:
        raise ConfigError(
            f"n_timesteps={config.n_timesteps} and the teacher has {n_timesteps}; events are cut into as "
            "many frames as there are steps, so a teacher of events needs the same number"
        )


def check_ranks(config: TrainingConfig, ranks: Ranks) -> None:
    """Refuse a training that several processes cannot share.

    Raises:
        ConfigError: batches of fewer images than processes, or a design in the loop with noise for each image.
    """
    if ranks.world_size == 1:
        return
    if config.batch_size < ranks.world_size:
        raise ConfigError(
            f"batch_size is {config.batch_size} and {ranks.world_size} processes share each batch; "
            f"give at least {ranks.world_size}, or start fewer processes"
        )
    if config.hardware is not None and config.hardware.draws_for_images():
        raise ConfigError(
            "hardware: the noise of reads is drawn for the images of a batch one after the other, which several "
            "processes cannot do; write hardware.read_noise: false, or train without torchrun"
        )


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
    net: SpikingNet,
    config: TrainingConfig,
    dataset: AnyDataset,
    teacher: SpikingNet | None,
    progress: Progress | None,
    keeper: Keeper | None,
    device: torch.device,
    ranks: Ranks,
) -> TrainResult:
    dataset = used_part(dataset, config)
    check_ranks(config, ranks)
    keeper = keeper or Keeper()
    codes = dataset_codes(dataset, "train", net, config.frames)
    test_codes = dataset_codes(dataset, "test", net, config.frames)
    net.to(device)
    taught = teacher.to(device) if teacher is not None and config.losses.needs_teacher else None
    loop = _hardware(net, config, dataset)
    net.share_batches(ranks if ranks.world_size > 1 else None)
    run = Run(config=config, net=net, optimiser=make_optimiser(net, config), device=device, loop=loop, ranks=ranks)
    energy_fJ = config.spike_energy_fJ()
    labels = torch.from_numpy(dataset.train_labels)
    augmenter = Augmenter(config.augmentation, seed=config.seed, n_images=len(labels))
    with exact_convolutions(device):
        keeper.begin(run, n_images=len(labels))
        run.take_state_of_main(n_images=len(labels))
        while run.epoch <= config.epochs:
            loss, train_accuracy = _epoch(run, taught, codes, labels, augmenter, keeper, energy_fJ)
            report = _report(run, test_codes, dataset, loss, train_accuracy)
            run.end_epoch(report)
            keeper.after_epoch(run)
            if progress is not None:
                progress(report)
    net.share_batches(None)
    if loop is not None:
        loop.detach()
    return TrainResult(
        net=net.eval().cpu(),
        config=config,
        history=run.history,
        n_test=len(dataset.test_labels),
        cpu_time_s=run.cpu_time_s,
        environments=run.environments,
    )


def _epoch(
    run: Run,
    teacher: SpikingNet | None,
    codes: torch.Tensor,
    labels: torch.Tensor,
    augmenter: Augmenter,
    keeper: Keeper,
    spike_energy_fJ: tuple[float, ...] | None,
) -> tuple[float, float]:
    """Mean loss and accuracy of an epoch, of its rest if the run was stopped inside it."""
    net, config, optimiser, loop, ranks = run.net, run.config, run.optimiser, run.loop, run.ranks
    frozen_for = run.epoch - (config.epochs - config.frozen_epochs)
    if loop is not None:
        loop.switch(run.epoch)
    if run.order is None:
        if loop is not None:
            loop.calibrate()
        if frozen_for == 1:
            (loop or net).settle_statistics(codes, config.batch_size)
        run.order = torch.randperm(len(labels), generator=run.shuffle)
    net.train()
    net.freeze_statistics(frozen_for >= 1)
    batches = torch.split(run.order, config.batch_size)
    for batch in batches[run.batch :]:
        ranks.check_launcher()
        for group in optimiser.param_groups:
            group["lr"] = lr_at(config, (run.epoch - 1) * len(batches) + run.batch, len(batches))
        shard = Shard(ranks=ranks, n_images=len(batch))
        shown = augmenter.shown(codes, batch[shard.own], run.epoch).to(run.device)
        truth = labels[batch[shard.own]].to(run.device)
        if loop is not None:
            loop.before_step()
        loss, correct = _learn(run, teacher, shown, truth, spike_energy_fJ, shard)
        run.end_batch(loss, correct, len(batch))
        keeper.after_batch(run, n_batches=len(batches))
    if loop is not None:
        loop.calibrate()
    bad = diverged_layer(net)
    if bad is not None:  # the last step of the epoch did it: no state may be saved of it
        raise SimulationError(f"epoch {run.epoch}: layer {bad} is the first with values that are not finite; lower lr")
    run.check_same_weights()
    return run.loss_sum / len(labels), run.correct / len(labels)


def _learn(
    run: Run,
    teacher: SpikingNet | None,
    shown: torch.Tensor,
    truth: torch.Tensor,
    spike_energy_fJ: tuple[float, ...] | None,
    shard: Shard,
) -> tuple[float, int]:
    """One step on the own part of a batch; loss of the whole batch, and its images told right."""
    net, ranks = run.net, run.ranks
    output, part = _step(net, teacher, run.config, shown, truth, run.epoch, spike_energy_fJ, shard)
    run.optimiser.zero_grad()
    part.backward()  # type: ignore[no-untyped-call]
    gradients = [value.grad for value in net.parameters() if value.grad is not None]
    ranks.add_up(gradients)
    right = (output.logits.detach().mean(0).argmax(1) == truth).sum()
    loss, correct = ranks.total(torch.stack([part.detach().double(), right.double()]))
    if not finite(loss, *gradients):
        raise SimulationError(not_finite_sentence(net, shown, run.epoch, ranks))
    run.optimiser.step()
    return float(loss), int(correct)


def _step(
    net: SpikingNet,
    teacher: SpikingNet | None,
    config: TrainingConfig,
    shown: torch.Tensor,
    labels: torch.Tensor,
    epoch: int,
    spike_energy_fJ: tuple[float, ...] | None,
    shard: Shard,
) -> tuple[NetOutput, torch.Tensor]:
    """What the network makes of its part of a batch, and that part of the loss; the teacher sees the same pictures."""
    with mixed_precision(shown.device, config.precision):
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
        shard=shard,
    )
    return output, loss


def _report(run: Run, test_codes: torch.Tensor, dataset: AnyDataset, loss: float, train_accuracy: float) -> EpochReport:
    result = evaluate_codes(run.net, test_codes, dataset.test_labels, run.ranks)
    return EpochReport(
        epoch=run.epoch,
        n_epochs=run.config.epochs,
        loss=loss,
        train_accuracy=train_accuracy,
        test_accuracy=result.accuracy,
        firing_rate=result.firing_rate,
        membrane_saturation=result.membrane_saturation,
    )
