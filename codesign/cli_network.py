"""``spikeloop export``: an integer network file of a trained student, or of an untrained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.errors import ConfigError, NetworkError

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.simulator.network.graph import Network


def export_network(
    checkpoint: Path | None,
    out: Path,
    *,
    random: str | None,
    seed: int,
    weight_bits: int,
    membrane_bits: int,
    bn_bits: int,
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Body of ``spikeloop export``; returns the exit code.

    Args:
        checkpoint: folder of a trained student, or None.
        out: network file.
        random: name in the zoo instead of a checkpoint.
        seed: of ``random``, like the four widths behind it.
        weight_bits: of every layer.
        membrane_bits: of every neuron.
        bn_bits: of the constants of batch norm.
        parameters: fields of ``NetworkSpec`` beside the name; those that are None are left out.

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
    given = {name: value for name, value in parameters.items() if value is not None}
    if given and random is None:
        raise ConfigError(
            f"{', '.join(given)}: given for a checkpoint, whose network stays what it was trained as; "
            "leave it out, or give --random NAME instead of the folder"
        )
    from spikeloop.simulator.network.io import save_network

    if random is not None:
        from spikeloop.models.network_spec import network_spec
        from spikeloop.models.random_export import random_network

        network = random_network(
            network_spec({"name": random, **given}),
            seed=seed,
            weight_bits=weight_bits,
            membrane_bits=membrane_bits,
            bn_bits=bn_bits,
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
    return to_network(trained.net, trained.net.plan.name, notes)
