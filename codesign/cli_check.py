"""``spikeloop check``: what a file is, and whether it is valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spikeloop.simulator.errors import ConfigError, NetworkError, StudyError


def describe(path: Path) -> str:
    """One line: what the file or folder is; returned only if it is valid.

    Raises:
        SpikeloopError: the file is not valid, or of no kind that spikeloop knows.
    """
    if path.is_dir():
        return _describe_folder(path)
    if not path.exists():
        raise ConfigError(f"{path}: no such file; give a network, a YAML file or a study folder")
    if path.suffix in (".yaml", ".yml"):
        return _describe_yaml(path)
    if path.suffix == ".safetensors":
        return _describe_network(path)
    if path.suffix == ".nir":
        raise NetworkError(f"{path}: NIR files are not read in this version; export to .safetensors")
    raise ConfigError(
        f"{path}: ends in '{path.suffix}'; allowed: .safetensors (network), .yaml (accelerator, technology, device, "
        "study, training and others) or a study folder"
    )


def _describe_network(path: Path) -> str:
    from spikeloop.simulator.network.graph import ConvNode, LinearNode
    from spikeloop.simulator.network.io import load_network

    network = load_network(path)
    weights = [node for node in network.nodes if isinstance(node, ConvNode | LinearNode)]
    bits = sorted({node.weight_bits for node in weights})
    return (
        f"{path}: valid network '{network.name}', {len(weights)} weight layers of {', '.join(map(str, bits))} bits, "
        f"{network.n_timesteps} time steps, input {network.input.shape}, {network.n_classes} classes"
    )


def _describe_folder(path: Path) -> str:
    from .ledger import open_ledger
    from .study import read_study_folder

    if (path / "checkpoint.json").is_file() or any(path.glob("state-*.json")):  # or a training that was stopped
        from spikeloop.distill.checkpoint import load_checkpoint

        trained = load_checkpoint(path)
        return f"{path}: valid checkpoint of a {trained.config.role}, network {trained.net.plan.name}"
    if not (path / "study.yaml").exists():
        raise StudyError(
            f"{path}: neither study.yaml nor checkpoint.json in it; give the --out folder of 'explore' or 'train'"
        )
    study = read_study_folder(path)
    with open_ledger(path / "ledger.sqlite") as ledger:
        rows = ledger.rows()
    good = sum(row.status == "ok" for row in rows)
    return f"{path}: valid study folder of '{study.name}', {len(rows)} points in the ledger, {good} with a result"


def _describe_yaml(path: Path) -> str:
    from spikeloop.simulator.strict_yaml import read_yaml

    keys = set(read_yaml(path))
    kind = max(_KINDS, key=lambda kind: len(keys.intersection(kind.marks)))
    if not keys.intersection(kind.marks):
        raise ConfigError(
            f"{path}: keys {', '.join(sorted(keys)[:5]) or '(none)'} fit no file of spikeloop; it reads "
            + ", ".join(f"{kind.name} ({kind.marks[0]})" for kind in _KINDS)
        )
    return f"{path}: valid {kind.name} {kind.describe(path)}"


def _accelerator(path: Path) -> str:
    from spikeloop.simulator.config import load_hardware
    from spikeloop.simulator.cost.technology import load_technology

    hw = load_hardware(str(path))
    load_technology(hw.technology)
    return (
        f"'{hw.name}', {hw.crossbar.rows} x {hw.crossbar.cols} cells of {hw.crossbar.cell_bits} bit, "
        f"{hw.adc_bits}-bit ADC, technology {hw.technology}"
    )


def _device(path: Path) -> str:
    from spikeloop.simulator.cells.base import CellModel
    from spikeloop.simulator.cells.presets import load_cell

    cell = load_cell({"preset": str(path)})
    assert isinstance(cell, CellModel)  # a device file has conductances
    return f"of kind '{cell.kind}', {cell.conductance_min_uS:g} to {cell.conductance_max_uS:g} uS"


def _technology(path: Path) -> str:
    from spikeloop.simulator.cost.technology import load_technology

    technology = load_technology(str(path))
    return f"'{technology.name}', {technology.node_nm:g} nm"


def _study(path: Path) -> str:
    from .space import compile_space
    from .study import load_study

    study = load_study(str(path))
    space = compile_space(study)
    return f"'{study.name}', {space.n_points} points over {', '.join(a.name for a in space.axes)}"


def _training(path: Path) -> str:
    from spikeloop.distill.config import load_training_config

    training = load_training_config(str(path))
    return f"of a {training.role}: network {training.network_title}, data {training.dataset}"


def _camera(path: Path) -> str:
    from spikeloop.distill.event_camera import load_camera

    camera = load_camera(str(path))
    return f"of {camera.sensor_px}x{camera.sensor_px} pixels"


def _macro(path: Path) -> str:
    from spikeloop.simulator.cost.macro_config import load_macro

    macro = load_macro(str(path))
    return f"'{macro.name}', {macro.inputs} inputs x {macro.columns} columns at {macro.node_nm:g} nm"


def _calibration(path: Path) -> str:
    from spikeloop.simulator.cost.macro_config import load_calibration

    calibration = load_calibration(str(path))
    return f"'{calibration.name}', factors of {', '.join(calibration.energy)}"


def _scaling(path: Path) -> str:
    from spikeloop.simulator.cost.scaling import ScalingTable
    from spikeloop.simulator.spec import validate_spec
    from spikeloop.simulator.strict_yaml import read_yaml

    scaling = validate_spec(ScalingTable, read_yaml(path), where=str(path))
    return f"'{scaling.name}' of {len(scaling.nodes)} nodes and kinds of transistors"


def _memories(path: Path) -> str:
    from spikeloop.simulator.cost.sram import SramTable
    from spikeloop.simulator.spec import validate_spec
    from spikeloop.simulator.strict_yaml import read_yaml

    memories = validate_spec(SramTable, read_yaml(path), where=str(path))
    return f"'{memories.name}' of {len(memories.rows)} macros"


def _spikesim(path: Path) -> str:
    from spikeloop.simulator.compat.spikesim_input import load_spikesim_input

    return f"of 'compat spikesim', {len(load_spikesim_input(str(path)).in_ch_list)} layers"


class _Kind(NamedTuple):
    """Kind of YAML file: top-level keys that only it has, and what to say of a valid one."""

    name: str
    marks: tuple[str, ...]
    describe: Callable[[Path], str]


_KINDS = (
    _Kind("accelerator", ("crossbar", "adc", "tile", "noc"), _accelerator),
    _Kind("study", ("space", "objectives", "tied", "images"), _study),
    _Kind("training file", ("role", "losses", "epochs", "quantisation", "optimiser", "lr"), _training),
    _Kind("device", ("conductance_max_uS", "conductance_min_uS", "read_voltage_V", "read_time_ns", "levels"), _device),
    _Kind("simulated event camera", ("sensor_px", "saccade_us", "contrast_threshold", "dark_level"), _camera),
    _Kind("macro", ("coding", "operations", "columns", "stored", "input_line", "cell"), _macro),
    _Kind("calibration", ("energy", "area"), _calibration),
    _Kind("scaling table", ("nodes", "flavour"), _scaling),
    _Kind("memory table", ("rows", "energy_error_ratio", "leakage_error_ratio"), _memories),
    _Kind("technology", ("supply", "logic", "sram", "wordline", "column_mux", "node_nm", "sources"), _technology),
    _Kind("input", ("in_ch_list", "out_ch_list", "in_dim_list", "out_dim_list", "xbar_size", "clk_freq"), _spikesim),
)
