"""How wrong is an average activity? Energy from the spikes of every image, beside estimates from averages.

Run: ``OMP_NUM_THREADS=1 python tests/bench/activity_study.py FOLDER`` (some minutes). FOLDER keeps the networks: a
digits student is trained and a random VGG-9 exported if they are not there; ``fashion.safetensors`` is used if it is
there. Prints the tables of docs/results/activity.md. Energies are those of actions; leakage does not follow activity.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spikeloop.codesign.cli import main as spikeloop
from spikeloop.codesign.cli_simulate import test_spikes
from spikeloop.simulator.analytic.estimate import estimate
from spikeloop.simulator.analytic.summary import InputDensity, summarise
from spikeloop.simulator.config import HardwareConfig, load_hardware
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.cycle.actions import ACTIONS
from spikeloop.simulator.cycle.counts import count_actions
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.network.io import load_network
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.program import Program, compile_program

#: Actions that follow activity; all others are the same for every image, and are taken exactly.
ACTIVE = (
    "crossbar_read",
    "wordline_drive",
    "cell_read",
    "adc_conversion",
    "shift_add",
    "input_count",
    "pe_add",
    "tile_add",
)
#: What is averaged: all input bits, those of a layer, those of a bit plane of a layer, the same for each image alone.
ESTIMATES = ("one average", "per layer", "per layer and bit", "per layer, bit and image", "15 %")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network on a design with the activity of some images."""

    network: Network
    hw: HardwareConfig
    mapping: Mapping
    program: Program
    activity: Activity


def measured_case(network: Network, hw: HardwareConfig, n_images: int) -> Case:
    """Spikes of the first test images, as the crossbars of the design compute them."""
    name = network.notes.get("dataset")
    if name:
        spikes, calibration = test_spikes(network, name, n_images, 64)
    else:
        spikes, calibration = SpikeTrain.uniform(network, n_images, 0), SpikeTrain.uniform(network, 4, 1)
    mapping = map_network(network, hw)
    chip = None if hw.crossbar.is_ideal else AnalogChip(hw=hw, seed=0)
    shift = calibrate_adc(network, mapping, hw, calibration, chip=chip)
    outputs = run_functional(network, mapping, hw, spikes, adc_shift=shift, cycle_images=n_images, chip=chip)
    return Case(
        network=network, hw=hw, mapping=mapping, program=compile_program(mapping, hw), activity=outputs.activity
    )


def of_image(activity: Activity, image: int) -> Activity:
    """One image of an activity."""
    only = slice(image, image + 1)
    return Activity(
        layers=tuple(
            LayerActivity(
                active_rows=layer.active_rows[only],
                input_ones=layer.input_ones[only],
                spikes_out=layer.spikes_out[only],
                read_fJ=None if layer.read_fJ is None else layer.read_fJ[only],
            )
            for layer in activity.layers
        ),
        origin=activity.origin,
    )


def densities(case: Case, kind: str) -> list[InputDensity]:
    """What an estimate believes of the input bits of every layer."""
    ones = np.array([float(layer.input_ones.sum()) for layer in case.activity.layers])
    bits = np.array(
        [
            layer.input_ones.size * np.prod(item.layer.in_shape) * item.layer.input.bits
            for layer, item in zip(case.activity.layers, case.mapping.layers, strict=True)
        ]
    )
    found = []
    for i, item in enumerate(case.mapping.layers):
        planes = item.layer.input.n_planes
        share = {"one average": ones.sum() / bits.sum(), "15 %": 0.15}.get(kind, ones[i] / bits[i])
        each = np.full(planes, share)
        if kind.startswith("per layer") and "bit" in kind:
            driven = case.activity.layers[i].active_rows.sum(axis=(0, 1, 2, 4), dtype=np.float64)
            each = np.minimum(1.0, share * planes * driven / max(driven.sum(), 1.0))
        found.append(InputDensity(planes=each, nonzero=float(1.0 - np.prod(1.0 - each))))
    return found


def prices(case: Case) -> tuple[list[str], np.ndarray]:
    """(components, actions, layers) energy of one count."""
    parts = cost_library(case.mapping, case.hw, load_technology(case.hw.technology), case.program)
    table = np.zeros((len(parts), len(ACTIONS), len(case.mapping.layers)))
    for row, part in zip(table, parts, strict=True):
        for action, energy_fJ in part.action_fJ.items():
            row[list(ACTIONS).index(action)] = energy_fJ
    return [part.name for part in parts], table


def exact_counts(case: Case) -> np.ndarray:
    """(images, actions, layers) counts of every image."""
    found = []
    for image in range(case.activity.n_images):
        counts = count_actions(case.program, of_image(case.activity, image))
        found.append(np.stack([counts[action] for action in ACTIONS]))
    return np.array(found, dtype=np.float64)


def estimated_counts(case: Case, kind: str, exact: np.ndarray) -> np.ndarray:
    """(1 or images, actions, layers) expected counts of an image whose bits are independent."""
    if kind == "per layer, bit and image":
        alone = [replace(case, activity=of_image(case.activity, i)) for i in range(case.activity.n_images)]
        return np.concatenate([estimated_counts(one, "per layer and bit", exact) for one in alone])
    lowered = [item.layer for item in case.mapping.layers]
    guess = estimate(summarise(lowered, case.network.n_timesteps, densities(case, kind)), case.hw).action_counts
    return np.stack([guess[action] if action in ACTIVE else exact[0, i] for i, action in enumerate(ACTIONS)])[None]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Relative errors of an estimate: of the mean energy, (images,) whole, (images, layers), {component: (images,)}."""

    bias: float
    whole: np.ndarray
    layers: np.ndarray
    components: dict[str, np.ndarray]


def errors(case: Case, kind: str) -> Errors:
    """Estimate against the energy of every image."""
    names, price = prices(case)
    exact = exact_counts(case)
    true = np.einsum("cal,ial->icl", price, exact)
    guess = np.einsum("cal,ial->icl", price, estimated_counts(case, kind, exact))
    moved = [i for i, row in enumerate(price) if row[[list(ACTIONS).index(a) for a in ACTIVE]].any()]
    return Errors(
        bias=float(guess.sum(axis=(1, 2)).mean() / true.sum(axis=(1, 2)).mean() - 1),
        whole=guess.sum(axis=(1, 2)) / true.sum(axis=(1, 2)) - 1,
        layers=guess.sum(axis=1) / true.sum(axis=1) - 1,
        components={
            names[i]: guess[:, i].sum(axis=1) / true[:, i].sum(axis=1) - 1
            for i in moved
            if true[:, i].sum(axis=1).min() > 0
        },
    )


def summary_table(cases: dict[str, Case]) -> None:
    """One line a case: for each estimate the error in % of the mean energy, the worst image, mean and worst layer."""
    print("| network, design | " + " | ".join(ESTIMATES) + " |")
    print("|---|" + "---|" * len(ESTIMATES))
    for label, case in cases.items():
        cells = []
        for kind in ESTIMATES:
            e = errors(case, kind)
            size = 100 * np.abs(e.layers)
            worst = 100 * e.whole[np.abs(e.whole).argmax()]
            cells.append(f"{100 * e.bias:+.1f} / {worst:+.1f} / {size.mean():.1f} / {size.max():.1f}")
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def layer_table(case: Case) -> None:
    """Signed mean and worst error of every layer of a case."""
    found = {kind: errors(case, kind) for kind in ESTIMATES}
    print("| layer | ones among input bits | silent row groups | " + " | ".join(ESTIMATES) + " |")
    print("|---|---|---|" + "---|" * len(ESTIMATES))
    for i, item in enumerate(case.mapping.layers):
        layer = case.activity.layers[i]
        ones = layer.input_ones.sum() / (layer.input_ones.size * np.prod(item.layer.in_shape) * item.layer.input.bits)
        cells = [f"{e.layers[:, i].mean():+.1%}, {np.abs(e.layers[:, i]).max():.1%}" for e in found.values()]
        print(f"| {item.layer.name} | {ones:.1%} | {(layer.active_rows == 0).mean():.1%} | " + " | ".join(cells) + " |")
    print("\n| component | " + " | ".join(ESTIMATES) + " |")
    print("|---|" + "---|" * len(ESTIMATES))
    for name in found[ESTIMATES[0]].components:
        parts = [e.components[name] for e in found.values()]
        print(f"| {name} | " + " | ".join(f"{p.mean():+.1%}, {np.abs(p).max():.1%}" for p in parts) + " |")


def control(case: Case) -> Case:
    """The same densities without any structure: bits drawn independently, pixels uniform."""
    shares = {
        item.layer.name: float(layer.input_ones.sum() / (layer.input_ones.size * np.prod(item.layer.in_shape)))
        / item.layer.input.bits
        for item, layer in zip(case.mapping.layers, case.activity.layers, strict=True)
    }
    drawn = random_activity(case.mapping, shares, n_images=case.activity.n_images, seed=3)
    return Case(network=case.network, hw=case.hw, mapping=case.mapping, program=case.program, activity=drawn)


def row_fJ(case: Case) -> list[tuple[np.ndarray, int]]:
    """Of every layer: energy of driving each row once (all its crossbars), and physical cells of a row."""
    chip, found = AnalogChip(hw=case.hw, seed=0), []
    for item in case.mapping.layers:
        rows = np.concatenate([chip.group_cells(item, group, 0).cells.row_fJ for group in range(item.layer.n_groups)])
        stacks = item.n_crossbars // (item.row_blocks * item.layer.n_groups * item.n_replicas)
        found.append((rows, stacks * case.hw.crossbar.cols))
    return found


def cell_table(label: str, case: Case) -> None:
    """Energy of cells that conduct: from the conductances of driven rows, beside averages."""
    rows, cell = row_fJ(case), case.hw.crossbar.cell
    pulse_fJ = cell.read_voltage_V**2 * cell.read_time_ns
    middle_fJ = pulse_fJ * (cell.conductance_min_uS + cell.conductance_max_uS) / 2
    mean_fJ = sum(r.sum() for r, _ in rows) / sum(r.size * cells for r, cells in rows)
    true = np.stack([layer.read_fJ.sum(axis=1) for layer in case.activity.layers], axis=1)
    driven = np.stack(
        [layer.active_rows.sum(axis=(1, 2, 3, 4), dtype=np.float64) for layer in case.activity.layers], axis=1
    )
    guesses = {
        "mean conductance of each layer, driven rows counted": driven * [r.mean() for r, _ in rows],
        "mean conductance of all cells, driven rows counted": driven * [mean_fJ * cells for _, cells in rows],
        "middle of the range, driven rows counted": driven * [middle_fJ * cells for _, cells in rows],
        "mean conductance of all cells, per-layer activity": np.broadcast_to(
            driven.mean(axis=0) * [mean_fJ * cells for _, cells in rows], driven.shape
        ),
    }
    _, price = prices(case)
    other = np.einsum("cal,ial->i", price, exact_counts(case))
    share = float((true.sum(axis=1) / (true.sum(axis=1) + other)).mean())
    for name, guess in guesses.items():
        whole, layers = guess.sum(axis=1) / true.sum(axis=1) - 1, np.abs(guess / true - 1)
        bias = guess.sum() / true.sum() - 1
        print(
            f"| {label} | {share:.2%} | {name} | {bias:+.1%} | {whole[np.abs(whole).argmax()]:+.1%} | "
            f"{layers.mean():.1%} | {layers.max():.1%} |",
            flush=True,
        )


def networks(folder: Path) -> dict[str, tuple[Network, int]]:
    """Network and number of images by name; what is missing is made."""
    folder.mkdir(parents=True, exist_ok=True)
    digits, vgg9 = folder / "digits.safetensors", folder / "vgg9.safetensors"
    if not digits.exists():
        for command in (
            ("train", "digits_student", "--out", str(folder / "digits_student")),
            ("export", str(folder / "digits_student"), "--out", str(digits)),
        ):
            if spikeloop(command) != 0:
                raise SystemExit(f"could not {command[0]} the digits student")
    if not vgg9.exists():
        options = ("--seed", "0", "--weight-bits", "4", "--membrane-bits", "8")
        spikeloop(("export", "--random", "vgg9", *options, "--out", str(vgg9)))
    found = {"digits": (load_network(digits), 200), "random vgg9": (load_network(vgg9), 8)}
    if (fashion := folder / "fashion.safetensors").exists():
        found["fashion"] = (load_network(fashion), 100)
    return found


def designs() -> dict[str, HardwareConfig]:
    """The preset, without skipping, and with few rows at once."""
    base = load_hardware("spikeflow_64")
    no_skip = base.dataflow.model_copy(update={"zero_skipping": "none"})
    few_rows = base.crossbar.model_copy(update={"rows_active": 16})
    return {
        "64 rows a read, silent row groups skipped": base,
        "nothing skipped": base.model_copy(update={"dataflow": no_skip}),
        "16 rows a read, silent row groups skipped": base.model_copy(update={"crossbar": few_rows}),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found = networks(parser.parse_args().folder)
    cases = {
        f"{name}: {label}": measured_case(network, hw, n_images)
        for name, (network, n_images) in found.items()
        for label, hw in designs().items()
    }
    summary_table(cases)
    first = next(iter(designs()))
    print("\nControl: independent bits of the same densities, pixels uniform\n")
    summary_table({f"{name}: {first}": control(cases[f"{name}: {first}"]) for name in found})
    for name in found:
        print(f"\n{name}, {first}: mean and worst error by layer and by component\n")
        layer_table(cases[f"{name}: {first}"])
    print("\n| network | cells' share of the energy | estimate | mean energy | worst image | layers: mean | worst |")
    print("|---|---|---|---|---|---|---|")
    analog = load_hardware("rram_64_nonideal")
    analog = analog.model_copy(update={"crossbar": analog.crossbar.model_copy(update={"wires": None})})
    for name, (network, n_images) in found.items():
        cell_table(name, measured_case(network, analog, min(n_images, 50)))


if __name__ == "__main__":
    sys.exit(main())
