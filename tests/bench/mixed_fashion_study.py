"""Widths by layer against one width for all on Fashion-MNIST: chosen with one seed, judged with others.

    python tests/bench/mixed_fashion_study.py TEACHER --out runs/mixed_fashion

TEACHER is the folder of ``spikeloop train fashion_teacher``. Both sides get the same epochs of training and the first
2,000 test images to choose by. What they chose is trained again with other seeds and judged on the 8,000 test images
that no choice has seen. Runs what is missing, writes ``docs/results/mixed_fashion.csv`` and the figure, prints tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mixed_precision_study import cpu_of, rows_of, text_of
from numpy.typing import NDArray

from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Row
from spikeloop.codesign.pareto import value_of
from spikeloop.codesign.study import StudyConfig, resolve_study
from spikeloop.distill.checkpoint import load_checkpoint
from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.train import train_student
from spikeloop.models.export import to_network
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.metrics import paired_interval
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.pipeline import evaluate
from spikeloop.simulator.spec import validate_spec

UNIFORM = (2, 3, 4, 5, 6, 8)
#: More bits where the picture comes in and where the answer goes out, fewer between: as is usual in the field.
BY_LAYER = {"conv1": [3, 4, 6], "conv2": [2, 3, 4], "conv3": [2, 3, 4], "fc1": [2, 3], "fc2": [3, 4, 6]}
EPOCHS = 4
#: 12 students of one epoch and 3 of 4 are the epochs of the 6 uniform ones.
EVALUATIONS, PROMOTED = 12, 3
CHOOSE_BY, JUDGE_BY, CALIBRATE_BY = 2000, 8000, 64
#: Images whose mean is the cost of a judged design: single ones differ by a third.
PRICE_BY = 8
#: Uniform widths that are judged.
JUDGED = ("2", "3", "4", "6")
SEED, JUDGED_SEEDS = 1, (2, 3, 4)
RESULTS = Path(__file__).parents[2] / "docs" / "results"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A design with another training seed, on images that no choice has seen."""

    kind: str
    bits: str
    seed: int
    accuracy: float
    edap_J_s_mm2: float
    energy_fJ: float
    latency_ns: float
    area_um2: float
    cpu_s: float
    wrong: list[int]


def student() -> dict[str, Any]:
    """The shipped student, on 5,000 images, with the losses that the study of the mechanism tuned."""
    losses = {"logit_kd": 4.0, "membrane_kd": 10.0, "temperature": 4.0}
    changed = {"train_images": 5000, "test_images": 500, "epochs": EPOCHS, "frozen_epochs": 1, "teacher": None}
    raw = load_training_config("fashion_w4u4").resolved()
    return {**raw, **changed, "losses": {**raw["losses"], **losses}}


def study(teacher: Path, **fields: Any) -> StudyConfig:
    space = {**fields.pop("space"), "hw.crossbar.size": [64], "hw.adc.bits": [5]}
    raw = {"dataset": "fashion_mnist", "hardware": "demo", "teacher": str(teacher.absolute()), "student": student()}
    shared = {"seeds": {"training": SEED, "simulation": 1}, "images": CHOOSE_BY, "calibration_images": CALIBRATE_BY}
    return resolve_study(StudyConfig.model_validate({**raw, **shared, "space": space, **fields}))


def uniform(teacher: Path) -> StudyConfig:
    widths = ["student.weight_bits", "student.first_layer_bits", "student.last_layer_bits"]
    return study(
        teacher, name="uniform", space={"student.weight_bits": list(UNIFORM)}, tied={"student.weight_bits": widths}
    )


def by_layer(teacher: Path) -> StudyConfig:
    return study(
        teacher,
        name="by layer",
        space={f"student.layer_bits.{layer}": bits for layer, bits in BY_LAYER.items()},
        search={"sampler": "tpe", "evaluations": EVALUATIONS, "batch": 4, "seed": SEED},
        stages=[{"stage": "short", "epochs": 1, "promote": {"margin": 0.0, "at_most": PROMOTED}}, {"stage": "full"}],
    )


def spikes_of(config: TrainingConfig, source: Any, split: Any, first: int, last: int) -> SpikeTrain:
    spikes = split_spikes(load_dataset(config.dataset), split, last, source, n_timesteps=config.n_timesteps)
    assert spikes.labels is not None
    part = slice(first, last)
    return SpikeTrain(
        name=spikes.name, codes=spikes.codes[part], labels=spikes.labels[part], indices=spikes.indices[part]
    )


def judge(row: Row, kind: str, seed: int, teacher: Path) -> Judged:
    started = time.process_time()
    config = validate_spec(TrainingConfig, {**row.config["student"], "seed": seed}, where="student")
    result = train_student(config, load_dataset(config.dataset), load_checkpoint(teacher).net)
    network = to_network(result.net, "student")
    found = evaluate(
        network,
        validate_spec(HardwareConfig, row.config["hardware"], where="hardware"),
        spikes_of(config, network.input, "test", CHOOSE_BY, CHOOSE_BY + JUDGE_BY),
        seed=1,
        calibration=spikes_of(config, network.input, "train", 0, CALIBRATE_BY),
        cycle_images=PRICE_BY,
    )
    assert found.correct is not None
    costs = {name: float(getattr(found.metrics, name)) for name in ("energy_fJ", "latency_ns", "area_um2")}
    return Judged(
        kind=kind,
        bits=text_of(row),
        seed=seed,
        accuracy=float(found.correct.mean()),
        edap_J_s_mm2=float(found.metrics.edap_J_s_mm2),
        cpu_s=time.process_time() - started,
        wrong=np.flatnonzero(~found.correct).tolist(),
        **costs,
    )


def judged_rows(chosen: Sequence[tuple[str, Row]], teacher: Path, path: Path) -> list[Judged]:
    """All of them; what is in the file already is not run again."""
    known = [Judged(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in JUDGED_SEEDS:
        for kind, row in chosen:
            if any((item.kind, item.bits, item.seed) == (kind, text_of(row), seed) for item in known):
                continue
            known.append(judge(row, kind, seed, teacher))
            with path.open("a") as stream:
                stream.write(json.dumps(asdict(known[-1])) + "\n")
    kept = {(kind, text_of(row)) for kind, row in chosen}
    return [item for item in known if (item.kind, item.bits) in kept]


def answers(items: Sequence[Judged]) -> NDArray[np.bool_]:
    """(seeds * images,) whether each image was classified right, seeds one after the other."""
    right = np.ones((len(items), JUDGE_BY), dtype=bool)
    for place, item in enumerate(sorted(items, key=lambda item: item.seed)):
        right[place, item.wrong] = False
    return right.ravel()


def table(judged: Sequence[Judged]) -> None:
    groups: dict[tuple[str, str], list[Judged]] = {}
    for item in judged:
        groups.setdefault((item.kind, item.bits), []).append(item)
    means = {key: float(np.mean([item.edap_J_s_mm2 for item in items])) for key, items in groups.items()}
    print("kind | bits | EDAP J s mm2 | energy uJ | area mm2 | accuracy % by seed | mean")
    for key, items in sorted(groups.items(), key=lambda pair: means[pair[0]]):
        energy, area = (np.mean([getattr(item, name) for item in items]) for name in ("energy_fJ", "area_um2"))
        shares = [100 * item.accuracy for item in items]
        print(
            f"{key[0]} | {key[1]} | {means[key]:.3e} | {energy / 1e9:.2f} | {area / 1e6:.2f} | "
            f"{', '.join(f'{share:.2f}' for share in shares)} | {np.mean(shares):.2f}"
        )
    print("\nby layer | uniform | EDAP ratio | difference in points by seed | mean | interval over images")
    for key, items in groups.items():
        for other, rivals in groups.items():
            if key[0] != "by layer" or other[0] != "uniform":
                continue
            low, high = paired_interval(answers(items), answers(rivals))
            gaps = [100 * (a.accuracy - b.accuracy) for a, b in zip(items, rivals, strict=True)]
            print(
                f"{key[1]} | {other[1]} | {means[key] / means[other]:.3f} | "
                f"{', '.join(f'{gap:+.2f}' for gap in gaps)} | {np.mean(gaps):+.2f} | "
                f"{100 * low:+.2f} to {100 * high:+.2f}"
            )


def volumes(judged: Sequence[Judged]) -> None:
    """Area between each side's front of means and the worst accuracy and EDAP of all, over EDAP and its logarithm."""
    points: dict[str, list[tuple[float, float]]] = {"uniform": [], "by layer": []}
    for kind, bits in dict.fromkeys((item.kind, item.bits) for item in judged):
        items = [item for item in judged if (item.kind, item.bits) == (kind, bits)]
        mean = float(np.mean([item.edap_J_s_mm2 for item in items])), float(np.mean([item.accuracy for item in items]))
        points[kind].append(mean)
    edge = max(cost for mine in points.values() for cost, _ in mine)
    floor = min(share for mine in points.values() for _, share in mine)
    for kind, mine in points.items():
        best, plain, logarithmic = floor, 0.0, 0.0
        for cost, share in sorted(mine):
            gain = max(0.0, share - best)
            plain, logarithmic = plain + gain * (edge - cost), logarithmic + 100 * gain * float(np.log10(edge / cost))
            best += gain
        print(f"{kind}: hypervolume {plain:.4g}, over log10(EDAP) {logarithmic:.3f} points x decades")


def write_csv(judged: Sequence[Judged]) -> None:
    names = ("kind", "bits", "seed", "accuracy", "energy_fJ", "latency_ns", "area_um2", "edap_J_s_mm2")
    with (RESULTS / "mixed_fashion.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(item, name) for name in names] for item in judged)


def draw(judged: Sequence[Judged], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    looks = {"uniform": ("#777777", "o", "one width"), "by layer": ("#0072B2", "s", "a width a layer")}
    for kind, (colour, marker, label) in looks.items():
        bits = dict.fromkeys(item.bits for item in judged if item.kind == kind)
        points: list[tuple[float, float, float, float, str]] = []
        for name in bits:
            items = [item for item in judged if (item.kind, item.bits) == (kind, name)]
            shares = [100 * item.accuracy for item in items]
            cost, mean = (float(np.mean(of)) for of in ([item.edap_J_s_mm2 for item in items], shares))
            points.append((cost, mean, mean - min(shares), max(shares) - mean, name))
        points.sort()
        x, y, *spread = zip(*(point[:4] for point in points), strict=True)
        axis.errorbar(x, y, spread, fmt=marker, color=colour, label=label, ms=5, lw=0.8, capsize=2)
        axis.plot(x, y, color=colour, lw=0.8, ls=":")
        for a, b, *_, name in points:
            above = kind == "by layer"
            axis.annotate(
                name.split("-")[0] if kind == "uniform" else name,
                (a, b),
                (-3, 7) if above else (5, -11),
                textcoords="offset points",
                ha="right" if above else "left",
                fontsize=7.5,
                color=colour,
            )
    axis.set(xscale="log", xlabel="EDAP (J s mm2)", ylabel=f"accuracy on {JUDGE_BY} test images (%)")
    axis.margins(x=0.12, y=0.12)
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folders = {"uniform": options.out / "uniform", "by layer": options.out / "by_layer"}
    for kind, made in (("uniform", uniform), ("by layer", by_layer)):
        run_study(made(options.teacher), folders[kind], workers=1, resume=True)
        print(f"{kind}: CPU s {cpu_of(folders[kind])}")
        for stage in ("short", "full") if kind == "by layer" else ("full",):
            for row in rows_of(folders[kind], stage):
                share, cost = 100 * (value_of(row, "accuracy") or 0), value_of(row, "edap_J_s_mm2")
                print(f"  {stage} {text_of(row)}: {share:.2f} %, EDAP {cost:.3e}", flush=True)
    chosen = [(kind, row) for kind, folder in folders.items() for row in rows_of(folder)]
    chosen = [(kind, row) for kind, row in chosen if kind == "by layer" or text_of(row) in JUDGED]
    judged = judged_rows(chosen, options.teacher, options.out / "judged.jsonl")
    table(judged)
    volumes(judged)
    write_csv(judged)
    draw(judged, RESULTS / "figures" / "mixed_fashion.png")


if __name__ == "__main__":
    main()
