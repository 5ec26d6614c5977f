"""Predicted against published energy and area of seven macros: the tables and the figure of docs/results/validation.md.

python tests/bench/validation_study.py [--figure docs/results/figures/validation.png]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import silicon_cases as s

from spikeloop.simulator.cost.macro import macro_cost
from spikeloop.simulator.cost.macro_config import load_calibration, load_macro

TITLES = {
    "neurram": "NeuRRAM, 130 nm RRAM",
    "jia_2020": "Jia, 65 nm SRAM",
    "wang_2022": "Wang, 22 nm SRAM",
    "sinangil_2021": "Sinangil, 7 nm SRAM",
    "aimc1": "AIMC1, 22 nm SRAM",
    "aimc2": "AIMC2, 28 nm SRAM",
    "aimc3": "AIMC3, 22 nm SRAM",
}
MARKERS = dict(zip(TITLES, "osD^vP*", strict=True))
COLOURS = dict(zip(TITLES, ("#3366aa", "#cc6633", "#2a8a5a", "#8855aa", "#886644", "#c04080", "#557788"), strict=True))


def print_points(plain, fitted):
    """One line a number: published, then both predictions with their errors."""
    print("| chip | quantity | point | role | published | uncalibrated | error | calibrated | error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for a, b in zip(plain, fitted, strict=True):
        print(
            f"| {a.chip} | {a.quantity} | {a.label} | {a.role} | {a.published:.4g} | {a.predicted:.4g} | "
            f"{a.error:+.1%} | {b.predicted:.4g} | {b.error:+.1%} |"
        )


def print_summary(plain, fitted):
    """Mean and largest error of the held-out points of every chip and quantity."""
    print("\n| chip | quantity | held out | uncalibrated mean | calibrated mean | largest |")
    print("|---|---|---|---|---|---|")
    for chip, quantity in dict.fromkeys((row.chip, row.quantity) for row in plain):
        pair = [
            [abs(r.error) for r in found if (r.chip, r.quantity, r.role) == (chip, quantity, "hold_out")]
            for found in (plain, fitted)
        ]
        if pair[0]:
            print(
                f"| {chip} | {quantity} | {len(pair[0])} | {np.mean(pair[0]):.1%} | {np.mean(pair[1]):.1%} | "
                f"{max(pair[1]):.1%} |"
            )


def print_parts():
    """NeuRRAM by part at its smallest and largest point, calibrated, fJ an operation."""
    macro, calibration = load_macro("neurram_core"), load_calibration("neurram_core")
    print("\nNeuRRAM by part, fJ an operation, calibrated:")
    for point in s.published("neurram")["energy_split"]["points"]:
        cost = macro_cost(macro, s.neurram_point(point), calibration)
        parts = ", ".join(f"{part} {energy / macro.operations:.2f}" for part, energy in cost.energy_fJ.items())
        print(f"  {point['output_bits']}b out, {point['input_bits']}b in: {parts}")


def draw(ax, rows, title):
    """Predicted over published, fit points hollow, held-out points solid."""
    for chip, colour in COLOURS.items():
        for role, face in (("fit", "none"), ("hold_out", colour)):
            chosen = [r for r in rows if r.chip == chip and r.role == role and r.quantity.endswith("_fJ")]
            ax.plot(
                [r.published for r in chosen],
                [r.predicted for r in chosen],
                MARKERS[chip],
                color=colour,
                markerfacecolor=face,
                markersize=5.5,
                linestyle="none",
                label=TITLES[chip] if role == ("fit" if chip == "aimc2" else "hold_out") else None,
            )
    ends = np.array([0.08, 40_000])
    ax.plot(ends, ends, color="0.3", linewidth=0.8)
    ax.fill_between(ends, 0.9 * ends, 1.1 * ends, color="0.88", linewidth=0)
    ax.set(
        xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="published (fJ)", ylabel="predicted (fJ)", title=title
    )
    ax.set_aspect("equal")


def draw_values(ax):
    """Energy of Sinangil's product by output value: published, from values, and a fixed average."""
    macro, calibration = load_macro("sinangil_2021"), load_calibration("sinangil_2021")
    values = np.linspace(0, 15, 61)
    model = [macro_cost(macro, s.sinangil_point(v), calibration).total_fJ / 1000 for v in values]
    points = s.published("sinangil_2021")["energy_by_value"]["points"]
    ax.plot(values, model, color=COLOURS["sinangil_2021"], label="charge of every value")
    average = next(p["energy_fJ"] for p in points if p["output_value"] == 6) / 1000
    ax.axhline(average, color="0.5", linestyle="--", label="fixed average")
    for role, face in (("fit", "none"), ("hold_out", "black")):
        chosen = [p for p in points if p["role"] == role]
        ax.plot(
            [p["output_value"] for p in chosen],
            [p["energy_fJ"] / 1000 for p in chosen],
            "^",
            color="black",
            markerfacecolor=face,
            linestyle="none",
            label=f"published, {'fitted' if role == 'fit' else 'held out'}",
        )
    ax.set(xlabel="average output value", ylabel="energy of a product (pJ)", ylim=(0, 9), title="Sinangil, 0.8 V")
    ax.legend(frameon=False, fontsize=8, loc="lower right")


def write_figure(path, plain, fitted):
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.6), layout="constrained")
    draw(axes[0], plain, "generic loads")
    draw(axes[1], fitted, "fitted on the hollow points")
    axes[0].legend(frameon=False, fontsize=7.5, loc="upper left")
    draw_values(axes[2])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="also draw predicted against published")
    arguments = parser.parse_args()
    plain, fitted = s.rows(calibrated=False), s.rows(calibrated=True)
    print_points(plain, fitted)
    print_summary(plain, fitted)
    print_parts()
    if arguments.figure is not None:
        write_figure(arguments.figure, plain, fitted)


if __name__ == "__main__":
    main()
