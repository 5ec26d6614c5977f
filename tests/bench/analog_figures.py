"""Accuracy of one network on hardware that is not ideal: three sweeps as CSV tables and figures.

Run: ``python tests/bench/analog_figures.py NET.safetensors DATA OUT [--images N] [--chips K] [--only NAME ...]``.
Cells of 1 to 40 uS, ADC ranges calibrated on 64 training images, means and sample deviations over chips.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np

from spikeloop.codesign.cli_simulate import test_spikes
from spikeloop.simulator.chips import ChipSpread, ChipStudy
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.io import load_network

mpl.use("agg")
from matplotlib import pyplot as plt

CELL = {
    "kind": "rram",
    "source": "study: 1 to 40 uS, spread in proportion to the conductance",
    "conductance_min_uS": 1.0,
    "conductance_max_uS": 40.0,
    "read_voltage_V": 0.2,
    "read_time_ns": 10.0,
}
MARKERS = "osD^v"


def design(
    *, size: int, adc_bits: int | None, sigma: float = 0.0, cell_bits: int = 1, ohm: float = 0.0
) -> HardwareConfig:
    """Square crossbars; ``adc_bits`` None: lossless."""
    crossbar: dict[str, object] = {
        "rows": size,
        "cols": size,
        "cell_bits": cell_bits,
        "cell": {**CELL, "programming_sigma_ratio": sigma},
    }
    if ohm:
        crossbar["wires"] = {"source": "study", "row_ohm": ohm, "column_ohm": ohm}
    adc: dict[str, object] = {"kind": "lossless"}
    if adc_bits is not None:
        adc = {"kind": "uniform", "bits": adc_bits, "full_scale": "calibrated"}
    fields = {"name": "study", "source": "study", "technology": "rram_65nm", "clock_GHz": 0.25}
    return HardwareConfig.model_validate({**fields, "crossbar": crossbar, "adc": adc})


class Sweeps:
    """One network, its images, and what designs make of it."""

    def __init__(self, network: Path, data: str, images: int | None, chips: int) -> None:
        self.network, self.chips = load_network(network), chips
        self.spikes, self.calibration = test_spikes(self.network, data, images, 64)
        self.ideal: float | None = None

    def accuracy(self, hw: HardwareConfig) -> ChipSpread:
        mapping = map_network(self.network, hw)
        study = ChipStudy.of(self.network, mapping, hw, self.spikes, self.calibration, seed=0)
        self.ideal = study.ideal_accuracy
        found = study.spread(self.chips)
        assert found is not None
        return found


def sweep(
    sweeps: Sweeps,
    out: Path,
    name: str,
    x: tuple[str, list[float]],
    line: tuple[str, list[int]],
    make,
    log: bool = False,
) -> None:
    """Run one sweep, write its table and draw it."""
    rows = []
    for of_line, at in itertools.product(line[1], x[1]):
        found = sweeps.accuracy(make(of_line, at))
        rows.append((of_line, at, found.mean, found.std, found.min, found.max))
        print(name, line[0], of_line, x[0], at, f"{100 * found.mean:.2f} +- {100 * found.std:.2f}", flush=True)
    with (out / f"{name}.csv").open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow((line[0], x[0], "accuracy_mean", "accuracy_std", "accuracy_min", "accuracy_max"))
        table.writerows(rows)
    figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
    for i, of_line in enumerate(line[1]):
        mine = np.array([row[1:4] for row in rows if row[0] == of_line])
        side = 0.012 * (i - (len(line[1]) - 1) / 2)  # keeps the bars of the lines apart
        axes.errorbar(
            mine[:, 0] * 10 ** (2 * side) if log else mine[:, 0] + side * (x[1][-1] - x[1][0]),
            100 * mine[:, 1],
            100 * mine[:, 2],
            marker=MARKERS[i],
            capsize=2,
            markersize=4,
            lw=1.2,
            label=f"{of_line}",
        )
    axes.axhline(100 * (sweeps.ideal or 0), color="0.4", lw=0.9, ls="--", label="ideal hardware", zorder=0)
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(x[1], [f"{value:g}" for value in x[1]])
    axes.set(xlabel=x[0], ylabel="accuracy (%)")
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(title=line[0], fontsize=7, title_fontsize=7)
    figure.savefig(out / f"{name}.png", dpi=160)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of the sweeps; default: all three")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sweeps = Sweeps(given.network, given.data, given.images, given.chips)
    bits, ohms, spreads = [2, 3, 4, 5, 6], [0.5, 1, 2, 5, 10], [0, 5, 10, 20, 30, 40]
    wanted = {
        "analog_adc_bits": (
            ("ADC bits", bits),
            ("rows read at once", [16, 32, 64, 128]),
            lambda rows, bits: design(size=rows, adc_bits=int(bits), sigma=0.1),
        ),
        "analog_wires": (
            ("wire resistance (ohm a cell)", ohms),
            ("crossbar size", [32, 64, 128]),
            lambda size, ohm: design(size=size, adc_bits=6, sigma=0.1, ohm=ohm),
        ),
        "analog_variation": (
            ("spread of a conductance (%)", spreads),
            ("cell bits", [1, 2, 3]),
            lambda bits, percent: design(size=64, adc_bits=None, sigma=percent / 100, cell_bits=bits),
        ),
    }
    for name in given.only or wanted:
        sweep(sweeps, given.out, name, *wanted[name], log=name == "analog_wires")


if __name__ == "__main__":
    main()
