"""``spikeloop simulate``: one network on one accelerator, as a table or as JSON."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.files import can_be_folder
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.units import format_si

from . import cli_output as output
from .run_record import RECORD_FILE, read_record, run_record, write_record

if TYPE_CHECKING:
    from spikeloop.simulator.network.graph import Network
    from spikeloop.simulator.network.spikes import SpikeTrain

RESULT_FILE = "result.json"


def simulate_network(
    path: Path,
    hw_name: str,
    *,
    data: str | None,
    images: int | None,
    calibration_images: int,
    density: float | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Body of the command; returns the exit code.

    Raises:
        SpikeloopError: an input is wrong; nothing was written.
    """
    from spikeloop.simulator.metrics import to_json
    from spikeloop.simulator.network.io import load_network
    from spikeloop.simulator.pipeline import evaluate, simulate_density

    if density is not None and not 0.0 <= density <= 1.0:
        raise ConfigError(f"--density {density}; allowed 0 to 1, the share of ones among spikes")
    network, hw = load_network(path), load_hardware(hw_name)
    if density is not None and (data is not None or images is not None):
        raise ConfigError("--density draws random spikes, so it takes neither --data nor --images; leave out one side")
    name = None if density is not None else data or _dataset_of(network, path)
    asked = {
        "network_hash": network.content_hash(),
        "hardware_hash": hw.content_hash(),
        "technology": hw.technology,
        "data": name,
        "images": images,
        "calibration_images": None if name is None else calibration_images,
        "density": density,
        "seed": seed,
    }
    key = canonical_hash(asked)
    if out is not None:
        _refuse_other(out, key)
    if density is not None:
        evaluation = simulate_density(network, hw, density, seed=seed)
    else:
        spikes, calibration = test_spikes(network, str(name), images, calibration_images)
        evaluation = evaluate(network, hw, spikes, seed=seed, calibration=calibration)
    result = to_json(evaluation.metrics)
    if out is not None:
        record = run_record("simulate", key=key, config_hash=key, **asked, sources=result.get("sources", []))
        _write_result(out, result, record)
    output.emit_json(result) if as_json else _print_result(result)
    for text in evaluation.metrics.warnings:
        output.say(f"note: {text}")
    return 0


def test_spikes(
    network: Network, name: str, images: int | None, calibration_images: int
) -> tuple[SpikeTrain, SpikeTrain]:
    """(test images, calibration images) of a data set, encoded for a network.

    Raises:
        DatasetError: unknown data set, or one that does not fit the network.
    """
    import numpy as np

    from spikeloop.distill.datasets import load_dataset
    from spikeloop.distill.encode import encode

    dataset = load_dataset(name)
    n_test, n_train = len(dataset.test_labels), len(dataset.train_labels)
    wanted = n_test if images is None else images
    if wanted > n_test:
        output.say(f"note: {name} has {n_test} test images, {wanted} asked for; all are used")
    test = encode(
        dataset.test_images,
        dataset.test_labels,
        np.arange(min(wanted, n_test), dtype=np.int64),
        network.input,
        f"{name}/test",
    )
    calibration = encode(
        dataset.train_images,
        dataset.train_labels,
        np.arange(min(calibration_images, n_train), dtype=np.int64),
        network.input,
        f"{name}/train",
    )
    return test, calibration


def _dataset_of(network: Network, path: Path) -> str:
    name = network.notes.get("dataset")
    if name is None:
        raise ConfigError(
            f"{path}: the network names no data set; give --data NAME, or --density D for random spikes (cost only)"
        )
    return name


def _refuse_other(out: Path, key: str) -> None:
    if out.exists() and not out.is_dir():
        raise StudyError(f"{out}: a file; --out takes a folder")
    if not can_be_folder(out):
        raise StudyError(f"{out}: cannot be made; give a writable --out folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    held = read_record(out)
    if held.get("kind") != "simulate":
        raise StudyError(f"{out}: not empty and no result of 'spikeloop simulate'; give another --out folder")
    if held.get("key") != key:
        raise StudyError(
            f"{out}: holds another result (key {str(held.get('key'))[:12]}, this run has {key[:12]}); "
            "give another --out folder"
        )


def _write_result(out: Path, result: dict[str, Any], record: dict[str, Any]) -> None:
    """Write both files into a folder beside ``out``, then rename it: the folder appears whole."""
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    if (out / RECORD_FILE).is_file():
        return  # the same key: the same numbers are there already
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            folder = Path(scratch) / "result"
            folder.mkdir()
            (folder / RESULT_FILE).write_text(text, "utf-8")
            write_record(folder, record)
            folder.replace(out)
    except OSError as error:
        raise StudyError(f"{out}: cannot be written ({error.strerror}); give another --out folder") from None


def _print_result(result: dict[str, Any]) -> None:
    accuracy = result["accuracy"]
    value = "not measured (no data)"
    if accuracy["value"] is not None:
        low, high = (100 * x for x in accuracy["ci95"])
        value = f"{100 * accuracy['value']:.2f} % (95 %: {low:.1f} to {high:.1f} %, n = {accuracy['n']})"
    output.emit(f"{result['network']} on {result['hardware']}")
    facts = (
        ("accuracy", value),
        ("energy", f"{format_si(result['energy_fJ'], 'fJ')} an inference"),
        ("latency", f"{format_si(result['latency_ns'], 'ns')} an image ({result['cycles']} cycles)"),
        ("area", format_si(result["area_um2"], "um2")),
        ("EDAP", f"{result['edap_J_s_mm2']:.4g} J s mm2"),
        ("TOPS/W", f"{result['tops_per_W']:.4g}"),
        ("TOPS/mm2", f"{result['tops_per_mm2']:.4g}"),
    )
    for label, text in facts:
        output.emit(f"  {label:<10}{text}")
    output.emit("")
    parts = sorted(result["by_component"].items(), key=lambda item: -item[1]["energy_fJ"])
    output.emit_table(
        ("component", "energy (nJ)", "energy (%)", "area (mm2)", "area (%)", "count"),
        [
            (
                name,
                f"{part['energy_fJ'] / 1e6:.4g}",
                f"{100 * part['energy_fJ'] / (result['energy_fJ'] or 1.0):.1f}",
                f"{part['area_um2'] / 1e6:.4g}",
                f"{100 * part['area_um2'] / (result['area_um2'] or 1.0):.1f}",
                str(part["count"]),
            )
            for name, part in parts
        ],
    )
