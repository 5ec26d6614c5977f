"""``spikeloop sensitivity``: what few bits cost, layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spikeloop.simulator.errors import ConfigError

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.distill.sensitivity import Sensitivity

_MAX_BITS = 32


def parse_bits(text: str) -> tuple[int, ...]:
    """Widths from ``2,3,4,8``.

    Raises:
        ConfigError: not whole numbers of 2 to 32, or one twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= _MAX_BITS for part in parts):
        raise ConfigError(f"--bits {text}: allowed whole numbers of 2 to {_MAX_BITS} with commas, e.g. 2,3,4,8")
    bits = tuple(int(part) for part in parts)
    if len(set(bits)) < len(bits):
        raise ConfigError(f"--bits {text}: a width is given twice; keep one")
    return tuple(sorted(bits))


def show_layer_sensitivity(
    training: str,
    teacher: Path | None,
    *,
    bits: str,
    rest_bits: int,
    images: int,
    settle_images: int,
    epochs: int | None,
    of: Literal["weights", "membranes", "both"],
    as_json: bool,
) -> int:
    """Body of ``spikeloop sensitivity``; returns the exit code.

    Raises:
        SpikeloopError: a file is wrong, or the teacher is not there.
    """
    widths = parse_bits(bits)
    from spikeloop.distill.checkpoint import load_checkpoint
    from spikeloop.distill.config import load_training_config
    from spikeloop.distill.datasets import load_dataset
    from spikeloop.distill.sensitivity import SensitivityPlan, measure_sensitivity

    config = load_training_config(training)
    folder = teacher if teacher is not None else Path(config.teacher) if config.teacher is not None else None
    if folder is None:
        raise ConfigError(f"{training}: names no teacher; give --teacher DIR, a folder that 'spikeloop train' wrote")
    if epochs is not None and epochs >= config.epochs:
        raise ConfigError(f"--epochs {epochs} is no short training; the file has {config.epochs}, give fewer")
    plan = SensitivityPlan(
        bits=widths,
        rest_bits=rest_bits,
        n_images=images,
        settle_images=settle_images,
        kinds=("weights", "membranes") if of == "both" else (of,),
        epochs=epochs,
    )
    net = load_checkpoint(folder, network=config.network_title).net
    found = measure_sensitivity(config, net, load_dataset(config.dataset), plan, _say)
    if as_json:
        output.emit_json({"schema": 1, **dataclasses.asdict(found)})
        return 0
    reference = f"accuracy {100 * found.reference_accuracy:.2f} %, n = {images}"
    output.emit(f"reference: {rest_bits} bits everywhere, {reference}")
    header = ("layer", "of", "bits", "accuracy", "drop", "error", "last error", "trained")
    output.emit_table(header, [_cells(row) for row in found.rows])
    return 0


def _cells(row: Sensitivity) -> tuple[str, ...]:
    error = "-" if row.membrane_error is None else f"{row.membrane_error:.3f}"
    trained = "-" if row.trained_accuracy is None else f"{100 * row.trained_accuracy:.2f}"
    accuracy, drop = f"{100 * row.accuracy:.2f}", f"{100 * row.accuracy_drop:.2f}"
    last = f"{row.last_membrane_error:.3f}"
    return row.layer, row.kind, str(row.bits), accuracy, drop, error, last, trained


def _say(row: Sensitivity) -> None:
    output.say(f"{row.layer} {row.kind} {row.bits} bits: accuracy {100 * row.accuracy:.2f} %")
