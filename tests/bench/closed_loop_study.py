"""The front of a study before and after its designs were let into the training of their students.

Run: ``python tests/bench/closed_loop_study.py OUT [--seeds 1 2] [--workers 1]``. Runs the shipped study ``in_the_loop``
for each training seed twice, with and without the ``hardware`` of its students, all else equal, and draws both fronts.
Prints Markdown: fronts, hypervolume up to one reference point, and the accuracy of every design.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Row, open_ledger
from spikeloop.codesign.pareto import front, hypervolume, reference_point, value_of
from spikeloop.codesign.study import StudyConfig, load_study

mpl.use("agg")
from matplotlib import pyplot as plt

ARMS = {"before": "students know no hardware", "after": "students trained on their design"}
STYLE = {"before": ("#000000", "o"), "after": ("#0072B2", "D")}


def run(out: Path, seed: int, workers: int) -> dict[str, tuple[Row, ...]]:
    """Rows of both arms."""
    study = load_study("in_the_loop")
    seeded = study.model_copy(update={"seeds": study.seeds.model_copy(update={"training": seed})})
    assert isinstance(study.student, dict)
    arms = {"before": {**study.student, "hardware": None}, "after": study.student}
    found = {}
    for arm, student in arms.items():
        folder = out / f"{arm}-{seed}"
        raw = seeded.model_copy(update={"student": {**student, "seed": seed}}).resolved()
        run_study(StudyConfig.model_validate(raw), folder, workers=workers, resume=folder.exists())
        with open_ledger(folder / "ledger.sqlite") as ledger:
            found[arm] = tuple(row for row in ledger.rows() if row.status == "ok")
    return found


def tables(seed: int, rows: dict[str, tuple[Row, ...]]) -> None:
    """Accuracy of every design in both arms, and the fronts."""
    objectives = load_study("in_the_loop").objective_list()
    worst = reference_point([*rows["before"], *rows["after"]], objectives)
    assert worst is not None
    print(f"\nseed {seed}: reference point {worst}")
    for arm, title in ARMS.items():
        best = front(rows[arm], objectives)
        print(f"{title}: {len(best)} on the front, hypervolume {hypervolume(best, objectives, worst):.4g}")
    before, after = ({tuple(row.values.values()): row for row in rows[arm]} for arm in ARMS)
    print("\n| W | size | cell bits | ADC bits | EDAP before (J s mm2) | before | after | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for place, row in before.items():
        pair = [100 * _accuracy(item) for item in (row, after[place])]
        difference = 100 * (_correct(after[place]) - _correct(row))
        interval = 1.96 * difference.std(ddof=1) / difference.size**0.5
        cells = [*place, f"{value_of(row, 'edap_J_s_mm2'):.3g}", *(f"{value:.2f}" for value in pair)]
        print(f"| {' | '.join(map(str, cells))} | {difference.mean():+.2f} +- {interval:.2f} |")


def draw(found: dict[int, dict[str, tuple[Row, ...]]], path: Path) -> None:
    """Designs and fronts of both arms, a panel for each seed."""
    objectives = load_study("in_the_loop").objective_list()
    figure, axes = plt.subplots(1, len(found), figsize=(5.2 * len(found), 4), sharey=True, squeeze=False)
    for ax, (seed, rows) in zip(axes[0], found.items(), strict=True):
        for arm, title in ARMS.items():
            colour, marker = STYLE[arm]
            points = np.array([(value_of(row, "edap_J_s_mm2"), 100 * _accuracy(row)) for row in rows[arm]])
            ax.plot(*points.T, marker, color=colour, alpha=0.35, markersize=4)
            best = front(rows[arm], objectives)
            line = np.array(sorted((value_of(row, "edap_J_s_mm2"), 100 * _accuracy(row)) for row in best))
            ax.step(*line.T, where="post", color=colour, marker=marker, markersize=5, label=title)
        ax.set_xscale("log")
        ax.set_xlabel("EDAP (J s mm$^2$)")
        ax.set_title(f"training seed {seed}")
        ax.grid(linewidth=0.4)
    axes[0][0].set_ylabel("accuracy on the hardware (%)")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


def _accuracy(row: Row) -> float:
    value: Any = value_of(row, "accuracy")
    return float(value)


def _correct(row: Row) -> Any:
    assert row.correct is not None
    return row.correct.astype(np.float64)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed in given.seeds:
        found[seed] = run(given.out, seed, given.workers)
        tables(seed, found[seed])
    draw(found, given.out / "closed_loop.png")


if __name__ == "__main__":
    main()
