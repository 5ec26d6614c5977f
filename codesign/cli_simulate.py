"""``spikeloop simulate``: one network on one accelerator, as a table or as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.files import can_be_folder
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.units import format_si

from . import cli_output as output
from .cli_chips import ChipRequest, show_chips
from .cli_trace import TraceRequest, Watcher, read_density
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
    density: str | None,
    seed: int,
    out: Path | None,
    as_json: bool,
    clock_images: int = 1,
    trace: TraceRequest | None = None,
    chips: ChipRequest | None = None,
) -> int:
    """Body of the command; returns the exit code.

    A network that names no data set runs on seeded uniform pixels: its own spikes, no accuracy.

    Raises:
        SpikeloopError: an input is wrong; nothing was written.
    """
    from spikeloop.simulator.metrics import to_json
    from spikeloop.simulator.network.io import load_network
    from spikeloop.simulator.pipeline import evaluate, simulate_density

    request = trace if trace is not None else TraceRequest()
    request.check()
    wanted = chips if chips is not None else ChipRequest()
    given = read_density(density)
    wanted.check(has_data=given is None)
    network, hw = load_network(path), load_hardware(hw_name)
    if given is not None and (data is not None or images is not None):
        raise ConfigError("--density draws random spikes, so it takes neither --data nor --images; leave out one side")
    name = None if given is not None else data or network.notes.get("dataset")
    asked = {
        "network_hash": network.content_hash(),
        "hardware_hash": hw.content_hash(),
        "technology": hw.technology,
        "data": name,
        "images": images,
        "calibration_images": None if name is None else calibration_images,
        "density": dict(given) if isinstance(given, Mapping) else given,
        "seed": seed,
        "clock_images": clock_images,
        "chips": wanted.chips,
        "yield_at": wanted.yield_at,
        "attribution": wanted.attribution,
    }
    key = canonical_hash(asked)
    if out is not None:
        _refuse_other(out, key)
    watcher = Watcher(request=request)
    added: dict[str, Any] = {}
    spikes: SpikeTrain | None = None
    if given is not None:
        evaluation = simulate_density(network, hw, given, seed=seed, n_images=clock_images, observers=watcher.observers)
    else:
        spikes, calibration = _spikes(network, name, images, calibration_images, clock_images, seed)
        evaluation = evaluate(
            network,
            hw,
            spikes,
            seed=seed,
            calibration=calibration,
            cycle_images=clock_images,
            observers=watcher.observers,
            n_threads=wanted.threads,
        )
        added = wanted.study(network, hw, spikes, calibration, evaluation, seed)
    watcher.check()
    result = {**to_json(evaluation.metrics), **added}
    if out is not None:
        record = run_record("simulate", key=key, config_hash=key, **asked, sources=result.get("sources", []))
        _write_result(out, result, record)
    watcher.write(evaluation)
    wanted.write(network, hw, spikes, evaluation, seed)
    if as_json:
        output.emit_json(result)
        for text in result["warnings"]:
            output.say(f"note: {text}")
    else:
        _print_result(result)
        watcher.show(evaluation)
        _print_weak(result["warnings"])
    if given is not None and not hw.crossbar.is_ideal:
        output.say("note: no data: cells that conduct are priced by their mean codes, without variation and wires")
    return 0


def test_spikes(
    network: Network, name: str, images: int | None, calibration_images: int
) -> tuple[SpikeTrain, SpikeTrain]:
    """(test images, calibration images) of a data set, encoded for a network.

    Raises:
        DatasetError: unknown data set, or one that does not fit the network.
    """
    from spikeloop.distill.datasets import load_dataset
    from spikeloop.distill.encode import frame_rule, split_spikes

    dataset = load_dataset(name)
    n_test, n_train = len(dataset.test_labels), len(dataset.train_labels)
    wanted = n_test if images is None else images
    if wanted > n_test:
        output.say(f"note: {name} has {n_test} test images, {wanted} asked for; all are used")
    frames, n_timesteps = frame_rule(network), network.n_timesteps
    test = split_spikes(dataset, "test", min(wanted, n_test), network.input, n_timesteps=n_timesteps, frames=frames)
    calibration = split_spikes(
        dataset, "train", min(calibration_images, n_train), network.input, n_timesteps=n_timesteps, frames=frames
    )
    return test, calibration


#: Uniform images that set the ADC ranges of a network without data.
_UNIFORM_CALIBRATION = 4


def _spikes(
    network: Network, name: str | None, images: int | None, calibration_images: int, clock_images: int, seed: int
) -> tuple[SpikeTrain, SpikeTrain]:
    """Images to run and to calibrate on: of a data set, or uniform pixels where there is none."""
    from spikeloop.simulator.network.spikes import SpikeTrain

    if name is not None:
        return test_spikes(network, name, images, calibration_images)
    output.say("note: the network names no data set; uniform random pixels are used, and there is no accuracy")
    n_images = max(clock_images, 1 if images is None else images)
    return (
        SpikeTrain.uniform(network, n_images, seed),
        SpikeTrain.uniform(network, min(calibration_images, _UNIFORM_CALIBRATION), seed + 1),
    )


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
        ("interval", f"{format_si(result['interval_ns'], 'ns')} between two images"),
        ("area", format_si(result["area_um2"], "um2")),
        ("EDAP", f"{result['edap_J_s_mm2']:.4g} J s mm2"),
        ("TOPS/W", f"{result['tops_per_W']:.4g}"),
        ("TOPS/mm2", f"{result['tops_per_mm2']:.4g}"),
    )
    for label, text in facts:
        output.emit(f"  {label:<10}{text}")
    show_chips(result)
    output.emit("")
    parts = sorted(result["by_component"].items(), key=lambda item: -item[1]["energy_fJ"])
    output.emit_table(
        ("component", "energy (nJ)", "energy (%)", "area (mm2)", "area (%)", "count"),
        [
            (name, *_spent(part, result), str(part["count"]))
            for name, part in parts
            if part["energy_fJ"] or part["area_um2"]
        ],
    )
    output.emit("")
    output.emit_table(
        ("layer", "energy (nJ)", "energy (%)", "area (mm2)", "area (%)", "most energy in"),
        [(layer["name"], *_spent(layer, result), _dearest(layer)) for layer in result["by_layer"]],
    )


def _spent(part: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Energy and area of a part, each with its share of the whole."""
    return (
        f"{part['energy_fJ'] / 1e6:.4g}",
        f"{100 * part['energy_fJ'] / (whole['energy_fJ'] or 1.0):.1f}",
        f"{part['area_um2'] / 1e6:.4g}",
        f"{100 * part['area_um2'] / (whole['area_um2'] or 1.0):.1f}",
    )


def _dearest(layer: Mapping[str, Any]) -> str:
    """Component that uses most of a layer's energy, and how much of it."""
    parts = layer["by_component"]
    if not layer["energy_fJ"]:
        return "-"
    name = max(parts, key=lambda key: float(parts[key]["energy_fJ"]))
    return f"{name} ({100 * parts[name]['energy_fJ'] / layer['energy_fJ']:.0f} %)"


def _print_weak(warnings: list[str] | tuple[str, ...]) -> None:
    """What the result rests on where nobody published a firm number."""
    if not warnings:
        return
    output.emit("")
    output.emit("doubted numbers and assumptions behind more than 5 %:")
    for text in warnings:
        output.emit_wrapped(text, indent=2, hang=2)
