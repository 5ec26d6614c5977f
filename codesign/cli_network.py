"""``spikeloop train`` and ``spikeloop export``: from a training file to an integer network file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.errors import ConfigError, NetworkError, StudyError
from spikeloop.simulator.files import can_be_folder

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.distill.train import EpochReport
    from spikeloop.simulator.network.graph import Network


def train_network(training: str, out: Path) -> int:
    """Body of ``spikeloop train``; returns the exit code.

    Raises:
        SpikeloopError: an input is wrong or the folder is not empty; nothing was written.
    """
    from spikeloop.distill.config import load_training_config

    config = load_training_config(training)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out}: exists and is not an empty folder; give another --out folder")
    if not can_be_folder(out):  # before the hours of training, not after them
        raise StudyError(f"{out}: cannot be made; give a writable --out folder")
    if config.role == "student" and config.losses.needs_teacher and config.teacher is None:
        raise ConfigError(
            f"{training}: losses.logit_kd or losses.membrane_kd is above 0 but no 'teacher' is named; "
            "write teacher: and the folder of 'spikeloop train' with a teacher"
        )
    from spikeloop.distill.checkpoint import load_checkpoint, save_checkpoint
    from spikeloop.distill.datasets import load_dataset
    from spikeloop.distill.train import train_student, train_teacher

    dataset = load_dataset(config.dataset)
    if config.role == "teacher":
        result = train_teacher(config, dataset, _say_epoch)
    else:
        teacher = load_checkpoint(Path(config.teacher)).net if config.teacher is not None else None
        start = load_checkpoint(Path(config.start)).net if config.start is not None else None
        result = train_student(config, dataset, teacher, _say_epoch, start)
    save_checkpoint(out, result)
    output.emit(f"{out}: {config.role} {config.network}, test accuracy {100 * result.test_accuracy:.2f} %")
    return 0


def export_network(
    checkpoint: Path | None,
    out: Path,
    *,
    random: str | None,
    seed: int,
    weight_bits: int,
    membrane_bits: int,
    bn_bits: int,
) -> int:
    """Body of ``spikeloop export``; returns the exit code.

    Raises:
        SpikeloopError: an input is wrong; nothing was written.
    """
    if out.suffix == ".nir":
        raise NetworkError(f"{out}: NIR export is not available in this version; write a .safetensors file")
    if out.suffix != ".safetensors":
        raise NetworkError(f"{out}: ends in '{out.suffix}'; a network file ends in .safetensors")
    if not out.parent.is_dir():
        raise NetworkError(f"{out}: its folder does not exist; make {out.parent} first")
    if (checkpoint is None) == (random is None):
        raise ConfigError("export takes either the folder of a trained student or --random NAME, one of the two")
    from spikeloop.simulator.network.io import save_network

    if random is not None:
        from spikeloop.models.random_export import random_network

        network = random_network(
            random, seed=seed, weight_bits=weight_bits, membrane_bits=membrane_bits, bn_bits=bn_bits
        )
    else:
        network = _trained_network(Path(str(checkpoint)))
    save_network(network, out)
    output.emit(f"{out}: network '{network.name}', {network.content_hash()[:12]}")
    return 0


def _trained_network(folder: Path) -> Network:
    from spikeloop.distill.checkpoint import load_checkpoint
    from spikeloop.models.export import to_network

    trained = load_checkpoint(folder)
    if trained.config.role == "teacher":
        raise NetworkError(f"{folder}: a teacher of full precision; export a student, trained with role: student")
    notes = {"dataset": trained.config.dataset, "training": trained.config.content_hash()}
    if not trained.net.plan.input.static:
        notes["frames"] = trained.config.frames
    return to_network(trained.net, trained.config.network, notes)


def _say_epoch(report: EpochReport) -> None:
    output.say(
        f"epoch {report.epoch}/{report.n_epochs}: loss {report.loss:.4f}, train accuracy "
        f"{100 * report.train_accuracy:.2f} %, test accuracy {100 * report.test_accuracy:.2f} %"
    )
