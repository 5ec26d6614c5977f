"""Widths by layer against one width for all: the digits student, the same number of trainings for both.

``python tests/bench/mixed_precision_study.py --out runs/mixed_precision [--workers N]`` runs what is missing, writes
``docs/results/mixed_precision.csv`` and the figure, and prints the tables of ``docs/results/mixed_precision.md``.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Row, open_ledger
from spikeloop.codesign.pareto import Objective, front, hypervolume, reference_point, value_of
from spikeloop.codesign.study import StudyConfig, resolve_study
from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.config import load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.sensitivity import SensitivityPlan, SensitivityResult, measure_sensitivity
from spikeloop.simulator.metrics import paired_interval

SEEDS = (1, 2)
UNIFORM = (2, 3, 4, 5, 6, 8)
#: Widths of the sensitivity pass.
TRIED = (2, 3, 4, 5, 6)
#: A layer's choices: from the first width that costs less than this ...
WORST_DROP = 0.10
#: ... to one above the first that costs no more than this.
NO_DROP = 0.002
EVALUATIONS = 32
#: What nobody would build goes no further.
LEAST_ACCURACY = 0.85
OBJECTIVES = (Objective(metric="accuracy", goal="max"), Objective(metric="edap_J_s_mm2", goal="min"))
RESULTS = Path(__file__).parents[2] / "docs" / "results"


def base(seed: int, **fields: Any) -> StudyConfig:
    raw = {
        "hardware": "demo",
        "teacher": "digits_teacher",
        "student": "digits_student",
        "seeds": {"training": seed, "simulation": 1},
        "images": 600,
        "calibration_images": 64,
        **fields,
    }
    hardware = {"hw.crossbar.size": [64], "hw.adc.bits": [5]}
    raw["space"] = {**raw["space"], **hardware}
    return resolve_study(StudyConfig.model_validate(raw))


def uniform(seed: int) -> StudyConfig:
    widths = ["student.weight_bits", "student.first_layer_bits", "student.last_layer_bits"]
    space = {"student.weight_bits": list(UNIFORM)}
    return base(seed, name=f"uniform, seed {seed}", space=space, tied={"student.weight_bits": widths})


def mixed(seed: int, choices: dict[str, list[int]]) -> StudyConfig:
    return base(
        seed,
        name=f"by layer, seed {seed}",
        space={f"student.layer_bits.{layer}": bits for layer, bits in choices.items()},
        search={"sampler": "tpe", "evaluations": EVALUATIONS, "batch": 8, "seed": seed},
        constraints=[{"metric": "accuracy", "at_least": LEAST_ACCURACY}],
        # 10 students of 2 epochs and 5 of 20 are the epochs of the 6 uniform ones of 20.
        stages=[
            {"stage": "ptq", "promote": {"margin": 0.05, "at_most": 10}},
            {"stage": "short", "epochs": 2, "promote": {"margin": 0.05, "at_most": 5}},
            {"stage": "full"},
        ],
    )


def choices_of(found: SensitivityResult) -> dict[str, list[int]]:
    """Widths of each layer that are worth a look, from what they cost without training."""
    choices: dict[str, list[int]] = {}
    for layer in dict.fromkeys(row.layer for row in found.rows):
        drops = {row.bits: row.accuracy_drop for row in found.rows if row.layer == layer}
        first = next((bits for bits in drops if drops[bits] <= WORST_DROP), max(drops))
        enough = next((bits for bits in drops if bits >= first and drops[bits] <= NO_DROP), max(drops))
        choices[layer] = [bits for bits in drops if first <= bits <= enough + 1]
    return choices


def rows_of(out: Path, stage: str = "full") -> tuple[Row, ...]:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return tuple(row for row in ledger.rows(stage=stage) if row.status == "ok")


def cpu_of(out: Path) -> dict[str, float]:
    """CPU seconds of what was prepared and of the points, by kind."""
    spent: dict[str, float] = {}
    with open_ledger(out / "ledger.sqlite") as ledger:
        for stage in ledger.stages():
            spent[stage.stage] = spent.get(stage.stage, 0.0) + stage.cpu_s
        for row in ledger.rows():
            spent[f"points {row.stage}"] = spent.get(f"points {row.stage}", 0.0) + row.cpu_s
    return {name: round(seconds, 1) for name, seconds in spent.items()}


def run_seed(seed: int, out: Path, workers: int) -> tuple[Path, Path, SensitivityResult, dict[str, list[int]]]:
    plain, layered = out / f"uniform{seed}", out / f"by_layer{seed}"
    run_study(uniform(seed), plain, workers=workers, resume=True)
    (teacher,) = (plain / "cache").glob("teacher-*")
    if not layered.exists():
        shutil.copytree(teacher, layered / "cache" / teacher.name)
    plan = SensitivityPlan(bits=TRIED, n_images=600, kinds=("weights",))
    config, dataset = load_training_config("digits_student"), load_dataset("digits")
    found = measure_sensitivity(config, load_checkpoint(teacher).net, dataset, plan)
    choices = choices_of(found)
    run_study(mixed(seed, choices), layered, workers=workers, resume=True)
    return plain, layered, found, choices


def text_of(row: Row) -> str:
    widths = [str(value) for name, value in row.values.items() if "bits" in name and name.startswith("student.")]
    return "-".join(widths)


def compare(seed: int, plain: Sequence[Row], layered: Sequence[Row]) -> None:
    """Accuracy at no more EDAP than each uniform design, and the hypervolumes."""
    print(f"seed {seed}: uniform | EDAP | accuracy | best by layer at no more EDAP | EDAP | accuracy | difference")
    for row in plain:
        cost = value_of(row, "edap_J_s_mm2") or 0.0
        cheaper = [other for other in layered if (value_of(other, "edap_J_s_mm2") or 0.0) <= cost]
        line = f"{text_of(row)} | {cost:.3e} | {100 * (value_of(row, 'accuracy') or 0):.2f}"
        if cheaper:
            best = max(cheaper, key=lambda other: value_of(other, "accuracy") or 0.0)
            assert row.correct is not None
            assert best.correct is not None
            low, high = paired_interval(best.correct, row.correct)
            gain = (value_of(best, "accuracy") or 0.0) - (value_of(row, "accuracy") or 0.0)
            line += (
                f" | {text_of(best)} | {value_of(best, 'edap_J_s_mm2'):.3e} | "
                f"{100 * (value_of(best, 'accuracy') or 0):.2f} | {100 * gain:+.2f} "
                f"[{100 * low:+.2f}, {100 * high:+.2f}]"
            )
        print(line)
    reference = reference_point([*plain, *layered], OBJECTIVES)
    assert reference is not None
    volumes = [hypervolume(rows, OBJECTIVES, reference) for rows in (plain, layered)]
    print(f"hypervolume to {reference}: uniform {volumes[0]:.4e}, by layer {volumes[1]:.4e}, ratio", end=" ")
    print(f"{volumes[1] / volumes[0]:.3f}" if volumes[0] else "undefined")
    areas = [log_area(rows, reference) for rows in (plain, layered)]
    print(f"the same over log10(EDAP), points x decades: uniform {areas[0]:.3f}, by layer {areas[1]:.3f}")


def log_area(rows: Sequence[Row], reference: tuple[float, ...]) -> float:
    """Area between front and reference point over the logarithm of EDAP: a factor of two counts alike anywhere."""
    best = sorted(front(rows, OBJECTIVES), key=lambda row: value_of(row, "edap_J_s_mm2") or 0.0)
    costs = [math.log10(value_of(row, "edap_J_s_mm2") or 1.0) for row in best] + [math.log10(reference[1])]
    heights = [100 * ((value_of(row, "accuracy") or 0.0) - reference[0]) for row in best]
    return sum(height * (b - a) for height, a, b in zip(heights, costs[:-1], costs[1:], strict=True))


def draw(results: dict[int, tuple[Sequence[Row], Sequence[Row]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, ((*axes,),) = plt.subplots(
        1, len(results), figsize=(4.5 * len(results), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (seed, kinds) in zip(axes, results.items(), strict=True):
        for rows, label, colour, marker in zip(
            kinds, ("one width", "a width a layer"), ("#777777", "#0072B2"), "os", strict=True
        ):
            x = [(value_of(row, "edap_J_s_mm2") or 0.0) * 1e12 for row in rows]
            y = [100 * (value_of(row, "accuracy") or 0.0) for row in rows]
            low = [100 * row.metrics["accuracy"]["ci95"][0] for row in rows]
            high = [100 * row.metrics["accuracy"]["ci95"][1] for row in rows]
            errors = [[b - a for a, b in zip(low, y, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
            axis.errorbar(x, y, errors, fmt=marker, color=colour, label=label, ms=5, lw=0.7, capsize=2)
            best = sorted(front(rows, OBJECTIVES), key=lambda row: value_of(row, "edap_J_s_mm2") or 0.0)
            one = label == "one width"
            for row, a, b in zip(rows, x, y, strict=True):
                if not one and row not in best:
                    continue  # its label would cover those of the front
                axis.annotate(
                    text_of(row).split("-")[0] if one else text_of(row),
                    (a, b),
                    (4, -9) if one else (-4, 4),
                    textcoords="offset points",
                    ha="left" if one else "right",
                    fontsize=7,
                    color=colour,
                )
            axis.step(
                [(value_of(row, "edap_J_s_mm2") or 0.0) * 1e12 for row in best],
                [100 * (value_of(row, "accuracy") or 0.0) for row in best],
                where="post",
                color=colour,
                lw=1,
            )
        axis.set(xscale="log", xlabel="EDAP (1e-12 J s mm2)", title=f"training seed {seed}")
        axis.set_xticks([0.3, 0.5, 1.0, 2.0, 5.0], ["0.3", "0.5", "1", "2", "5"])
        axis.set_xticks([], minor=True)
    axes[0].set_ylabel("accuracy on 600 test digits (%)")
    axes[0].legend(loc="lower right", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def write_csv(path: Path, results: dict[int, tuple[Sequence[Row], Sequence[Row]]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["seed", "kind", "bits", "accuracy", "n", "energy_fJ", "latency_ns", "area_um2", "edap_J_s_mm2"]
        )
        for seed, kinds in results.items():
            for kind, rows in zip(("uniform", "by_layer"), kinds, strict=True):
                for row in rows:
                    values = [row.metrics[name] for name in ("energy_fJ", "latency_ns", "area_um2", "edap_J_s_mm2")]
                    accuracy = row.metrics["accuracy"]
                    writer.writerow([seed, kind, text_of(row), accuracy["value"], accuracy["n"], *map(repr, values)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()
    results: dict[int, tuple[Sequence[Row], Sequence[Row]]] = {}
    for seed in options.seeds:
        plain, layered, found, choices = run_seed(seed, options.out, options.workers)
        print(f"seed {seed}: reference {found.reference_accuracy:.4f}; widths {choices}")
        for row in found.rows:
            print(f"  {row.layer} {row.bits}: drop {100 * row.accuracy_drop:+.2f}, error {row.last_membrane_error:.3f}")
        n_untrained = len(rows_of(layered, "ptq"))
        print(f"  CPU s: uniform {cpu_of(plain)}, by layer {cpu_of(layered)}; {n_untrained} without training")
        results[seed] = (rows_of(plain), rows_of(layered))
        compare(seed, *results[seed])
    write_csv(RESULTS / "mixed_precision.csv", results)
    draw(results, RESULTS / "figures" / "mixed_precision.png")


if __name__ == "__main__":
    main()
