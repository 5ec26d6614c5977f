"""Wires: errors of the closed form and of folded noise, and CPU seconds, as Markdown tables.

Run: ``python tests/bench/wire_study.py``. Cells are uniform between 1 and 40 uS, one wire segment of r ohm a cell on
rows and columns, no driver or amplifier resistance, 15 % of the rows driven.
"""

from __future__ import annotations

import time

import numpy as np

from spikeloop.simulator.wires import solved
from spikeloop.simulator.wires.config import WiresConfig
from spikeloop.simulator.wires.effective import approximate_crossbar, effective_crossbar
from spikeloop.simulator.wires.solved import solve_reads

V = 0.2


def wires(ohm: float, **more: str) -> WiresConfig:
    return WiresConfig(source="study", row_ohm=ohm, column_ohm=ohm, **more)


def closed_form() -> None:
    print("| cells | ohm a cell | current lost (%) | closed form: rms error of a column (% of ideal) | worst |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for size in (32, 64, 128):
        conductance = rng.uniform(1, 40, (size, size))
        driven = (rng.random((200, size)) < 0.15).astype(float)
        for ohm in (0.5, 1.0, 2.0, 5.0):
            ideal = driven @ conductance
            exact = driven @ effective_crossbar(conductance, wires(ohm)).transfer_uS
            near = driven @ approximate_crossbar(conductance, wires(ohm)).transfer_uS
            error = (near - exact) / np.maximum(ideal, 1e-9) * (ideal > 0)
            lost = 1 - exact.sum() / ideal.sum()
            print(
                f"| {size} x {size} | {ohm:g} | {100 * lost:.1f} | {100 * np.sqrt(np.mean(error**2)):.2f} "
                f"| {100 * np.abs(error).max():.2f} |"
            )


def folded_noise() -> None:
    """Deviation of column currents, 5 % noise a cell: 400 arrays with every cell moved, against the formula."""
    print("\n| cells | ohm a cell | folded / sampled deviation, mean over columns | spread of that ratio |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(1)
    for size in (16, 32, 64):
        for ohm in (1.0, 5.0):
            conductance = rng.uniform(1, 40, (size, size))
            driven = (rng.random(size) < 0.5).astype(float)
            effective = effective_crossbar(conductance, wires(ohm))
            share = effective.cell_share * effective.noise_share
            folded = np.sqrt(driven @ (0.05 * conductance * share) ** 2)
            currents = [
                driven
                @ effective_crossbar(
                    conductance * (1 + 0.05 * rng.standard_normal((size, size))), wires(ohm)
                ).transfer_uS
                for _ in range(400)
            ]
            ratio = folded / np.std(currents, axis=0)
            print(f"| {size} x {size} | {ohm:g} | {ratio.mean():.3f} | {ratio.std():.3f} |")


def seconds() -> None:
    print(
        "\n| cells | transform (CPU s) | floating bitlines, 8 phases | gated, an input (ms) | gated, non-linear (ms) | "
        "selector-less, non-linear (ms) |"
    )
    print("|---|---|---|---|---|---|")
    rng = np.random.default_rng(2)
    for size in (64, 128):
        conductance = rng.uniform(1, 40, (size, size))
        driven = (rng.random((200, size)) < 0.15).astype(np.uint8)
        times = []
        for work in (
            lambda c=conductance: effective_crossbar(c, wires(1.0)),
            lambda c=conductance: effective_crossbar(c, wires(1.0, unselected_bitlines="floating"), columns_per_adc=8),
            lambda c=conductance, d=driven: solve_reads(c, d, wires(1.0, access="gated"), read_voltage_V=V),
            lambda c=conductance, d=driven: solve_reads(
                c, d, wires(1.0, access="gated"), read_voltage_V=V, nonlinearity_per_V=2.0
            ),
            lambda c=conductance, d=driven: solve_reads(c, d, wires(1.0), read_voltage_V=V, nonlinearity_per_V=2.0),
        ):
            work()
            start = time.thread_time()
            work()
            times.append(time.thread_time() - start)
        solved = " | ".join(f"{5 * seconds:.3f}" for seconds in times[2:])
        print(f"| {size} x {size} | {times[0]:.3f} | {times[1]:.2f} | {solved} |")


def tolerances() -> None:
    """What the last digits of a relaxation cost, and what is left of the error without them."""
    print("\n| tolerance, of the read voltage | selector-less, non-linear (ms) | error, of the largest current |")
    print("|---|---|---|")
    rng = np.random.default_rng(2)
    conductance = rng.uniform(1, 40, (128, 128))
    driven = (rng.random((100, 128)) < 0.15).astype(np.uint8)
    exact = None
    for tolerance in (solved.TOLERANCE, 1e-6, 1e-3):
        solved.TOLERANCE = tolerance
        start = time.thread_time()
        found = solve_reads(conductance, driven, wires(1.0), read_voltage_V=V, nonlinearity_per_V=2.0).column_uA
        ms = 1e3 * (time.thread_time() - start) / len(driven)
        exact = found if exact is None else exact
        print(f"| {tolerance:g} | {ms:.2f} | {np.abs(found - exact).max() / exact.max():.1g} |")


if __name__ == "__main__":
    closed_form()
    folded_noise()
    seconds()
    tolerances()
