"""Tables and figures of ``mechanism_study.py``.

Run: ``python tests/bench/mechanism_tables.py STUDY.jsonl FIGURE.png``. Prints Markdown: accuracy of every arm, its
difference to the control with two intervals, and the distance to the teacher by layer; draws the distances.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy import stats

mpl.use("agg")
from matplotlib import pyplot as plt

ARMS = ("none", "logit", "membrane", "both")
TITLES = {"none": "cross entropy", "logit": "+ logits", "membrane": "+ membranes", "both": "+ both"}
MARKERS = {"none": "o", "logit": "s", "membrane": "D", "both": "^"}
#: Colours that readers with any colour vision can tell apart (Okabe and Ito 2008).
COLOURS = {"none": "#000000", "logit": "#E69F00", "membrane": "#0072B2", "both": "#009E73"}
Rows = dict[tuple[str, str], list[dict[str, Any]]]


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("figure", type=Path)
    given = parser.parse_args()
    every = [json.loads(line) for line in given.study.read_text().splitlines()]
    rows: Rows = defaultdict(list)
    for row in every:
        if not row["tuning"]:
            rows[row["setting"], row["arm"]].append(row)
    for part in rows.values():
        part.sort(key=lambda row: row["seed"])
    settings = list(dict.fromkeys(row["setting"] for row in every if not row["tuning"]))
    tuning_table([row for row in every if row["tuning"]])
    accuracy_table(rows, settings)
    distance_table(rows, settings)
    draw(rows, settings, given.figure)


def tuning_table(rows: list[dict[str, Any]]) -> None:
    """What was tried for each arm."""
    for row in rows:
        print(f"tuning {row['setting']} {row['arm']} {row['options']}: {100 * row['accuracy']:.2f} %")


def accuracy_table(rows: Rows, settings: list[str]) -> None:
    """Mean and standard deviation over seeds; differences to the control, seed by seed and image by image."""
    print("\n| student | " + " | ".join(TITLES[arm] for arm in ARMS) + " |")
    print("|---|" + "---|" * len(ARMS))
    for setting in settings:
        cells = []
        for arm in ARMS:
            values = 100 * np.array([row["accuracy"] for row in rows[setting, arm]])
            cells.append(f"{values.mean():.2f} ({values.std(ddof=1):.2f})" if len(values) > 1 else f"{values}")
        print(f"| {setting} | " + " | ".join(cells) + " |")
    print(
        "\n| student | arm | difference to cross entropy by seed | mean | interval over seeds | interval over images |"
    )
    print("|---|---|---|---|---|---|")
    for setting in settings:
        for arm in ARMS[1:]:
            print(f"| {setting} | {TITLES[arm]} | " + " | ".join(_difference(rows, setting, arm, "none")) + " |")
        print(f"| {setting} | both against logits | " + " | ".join(_difference(rows, setting, "both", "logit")) + " |")


def _difference(rows: Rows, setting: str, arm: str, base: str) -> tuple[str, ...]:
    pairs = zip(rows[setting, arm], rows[setting, base], strict=True)
    by_image = np.stack([_correct(mine) - _correct(its) for mine, its in pairs])
    by_seed = 100 * by_image.mean(1)
    n = len(by_seed)
    over_seeds = stats.t.ppf(0.975, n - 1) * by_seed.std(ddof=1) / n**0.5
    # The same images in every seed: their mean over the seeds is one observation.
    over_images = 1.96 * 100 * by_image.mean(0).std(ddof=1) / by_image.shape[1] ** 0.5
    listed = ", ".join(f"{value:+.2f}" for value in by_seed)
    return listed, f"{by_seed.mean():+.2f}", f"+-{over_seeds:.2f}", f"+-{over_images:.2f}"


def _correct(row: dict[str, Any]) -> NDArray[np.float64]:
    packed = np.frombuffer(bytes.fromhex(row["correct"]), dtype=np.uint8)
    return np.unpackbits(packed, count=row["n"]).astype(np.float64)


def distance_table(rows: Rows, settings: list[str]) -> None:
    """Relative membrane error and spike disagreement, mean over layers and seeds."""
    for title, measure in (("membrane error", "membrane_error"), ("spikes that differ in %", "spike_disagreement")):
        print(f"\n| {title} | " + " | ".join(TITLES[arm] for arm in ARMS) + " |")
        print("|---|" + "---|" * len(ARMS))
        factor = 1.0 if measure == "membrane_error" else 100.0
        for setting in settings:
            cells = [f"{factor * _by_layer(rows[setting, arm], measure)[1].mean():.3f}" for arm in ARMS]
            print(f"| {setting} | " + " | ".join(cells) + " |")


def _by_layer(rows: list[dict[str, Any]], measure: str) -> tuple[list[str], NDArray[np.float64]]:
    """Layer names and (seeds, layers) values."""
    names = list(rows[0]["layers"])
    return names, np.array([[row["layers"][name][measure] for name in names] for row in rows])


def draw(rows: Rows, settings: list[str], path: Path) -> None:
    """Both distances by layer, a column for each setting; bars are the range over seeds."""
    figure, axes = plt.subplots(2, len(settings), figsize=(3.1 * len(settings), 5.6), sharey="row", squeeze=False)
    for column, setting in enumerate(settings):
        for row, (measure, factor) in enumerate((("membrane_error", 1.0), ("spike_disagreement", 100.0))):
            ax = axes[row][column]
            for place, arm in enumerate(ARMS):
                names, values = _by_layer(rows[setting, arm], measure)
                values = factor * values
                middle = values.mean(0)
                x = np.arange(len(names)) + 0.12 * (place - 1.5)
                ends = np.stack([middle - values.min(0), values.max(0) - middle])
                style = {"color": COLOURS[arm], "marker": MARKERS[arm], "markersize": 4.5, "linewidth": 0}
                ax.errorbar(x, middle, ends, label=TITLES[arm], elinewidth=1, **style)
            ax.set_xticks(range(len(names)), names)
            ax.grid(axis="y", linewidth=0.4)
            if row == 0:
                ax.set_title(setting)
    for first in axes[:, 0]:
        first.set_ylim(bottom=0)  # now that every panel of the row has its points
    axes[0][0].set_ylabel("membrane error, relative")
    axes[1][0].set_ylabel("spikes that differ in %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(ARMS), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
