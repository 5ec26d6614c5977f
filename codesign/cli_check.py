"""``spikeloop check``: what a file is, and whether it is valid."""

from __future__ import annotations

from pathlib import Path

from spikeloop.simulator.errors import ConfigError, NetworkError, StudyError

#: Top-level keys that only one kind of YAML file has.
_MARKS = (
    ("accelerator", ("crossbar", "adc", "tile", "noc")),
    ("study", ("space", "objectives", "tied", "images")),
    ("training file", ("role", "losses", "epochs", "quantisation", "optimiser", "lr")),
    ("camera", ("sensor_px", "saccade_us", "contrast_threshold", "dark_level")),
    ("technology", ("supply", "logic", "sram", "wordline", "column_mux", "node_nm", "sources")),
)


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
        f"{path}: ends in '{path.suffix}'; allowed: .safetensors (network), .yaml (accelerator, technology, study, "
        "training, camera) or a study folder"
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


def _describe_yaml(path: Path) -> str:
    from spikeloop.simulator.strict_yaml import read_yaml

    keys = set(read_yaml(path))
    score = {kind: len(keys.intersection(marks)) for kind, marks in _MARKS}
    kind = max(score, key=lambda name: score[name])
    if score[kind] == 0:
        raise ConfigError(
            f"{path}: keys {', '.join(sorted(keys)[:5]) or '(none)'} fit no file of spikeloop; it reads accelerators "
            "(crossbar, adc), technologies, studies (space) and training files (role, epochs)"
        )
    if kind == "accelerator":
        return _describe_accelerator(path)
    if kind == "study":
        return _describe_study(path)
    if kind == "training file":
        from spikeloop.distill.config import load_training_config

        training = load_training_config(str(path))
        return f"{path}: valid training file of a {training.role}: network {training.network}, data {training.dataset}"
    if kind == "camera":
        from spikeloop.distill.event_camera import load_camera

        camera = load_camera(str(path))
        return f"{path}: valid simulated event camera of {camera.sensor_px}x{camera.sensor_px} pixels"
    from spikeloop.simulator.cost.technology import load_technology

    technology = load_technology(str(path))
    return f"{path}: valid technology '{technology.name}'"


def _describe_accelerator(path: Path) -> str:
    from spikeloop.simulator.config import load_hardware
    from spikeloop.simulator.cost.technology import load_technology

    hw = load_hardware(str(path))
    load_technology(hw.technology)
    return (
        f"{path}: valid accelerator '{hw.name}', {hw.crossbar.rows} x {hw.crossbar.cols} cells of "
        f"{hw.crossbar.cell_bits} bit, {hw.adc_bits}-bit ADC, technology {hw.technology}"
    )


def _describe_study(path: Path) -> str:
    from .space import compile_space
    from .study import load_study

    study = load_study(str(path))
    space = compile_space(study)
    return f"{path}: valid study '{study.name}', {space.n_points} points over {', '.join(a.name for a in space.axes)}"


def _describe_folder(path: Path) -> str:
    from .ledger import open_ledger
    from .study import read_study_folder

    if (path / "checkpoint.json").is_file():
        from spikeloop.distill.checkpoint import load_checkpoint

        trained = load_checkpoint(path)
        return f"{path}: valid checkpoint of a {trained.config.role}, network {trained.config.network}"
    if not (path / "study.yaml").exists():
        raise StudyError(
            f"{path}: neither study.yaml nor checkpoint.json in it; give the --out folder of 'explore' or 'train'"
        )
    study = read_study_folder(path)
    with open_ledger(path / "ledger.sqlite") as ledger:
        rows = ledger.rows()
    good = sum(row.status == "ok" for row in rows)
    return f"{path}: valid study folder of '{study.name}', {len(rows)} points in the ledger, {good} with a result"
