"""Hypervolume that samplers reach on a space whose every point is known, as a share of the exhaustive front's.

    spikeloop explore vgg9_sweep --out runs/vgg9_sweep --workers 2
    python tests/bench/search_quality.py runs/vgg9_sweep

Every answer comes from the ledger of the sweep. Volumes are of the decimal logarithms of the objectives: in plain
units the worst designs set the scale and any front fills it. Prints the table of docs/results/dse.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import moocore
import numpy as np

from spikeloop.codesign.constraints import admissible
from spikeloop.codesign.ledger import open_ledger
from spikeloop.codesign.pareto import front, reference_point, value_of
from spikeloop.codesign.samplers import Answer, make_sampler
from spikeloop.codesign.search_spec import SearchSpec
from spikeloop.codesign.space import compile_space
from spikeloop.codesign.study import read_study_folder

STEPS, SEEDS, BATCH = (200, 500), (1, 2, 3, 4, 5), 10


def main() -> None:
    folder = Path(sys.argv[1])
    study = read_study_folder(folder)
    space, objectives = compile_space(study), study.objective_list()
    with open_ledger(folder / "ledger.sqlite") as ledger:
        rows = {tuple(row.values.items()): row for row in ledger.rows()}
    good = admissible(tuple(rows.values()), study.constraints, None)
    reference = reference_point(good, objectives)
    assert reference is not None
    best = front(good, objectives)
    logs = np.log10(reference)
    keys = {row.key for row in best}

    def volume(rows):
        return moocore.hypervolume(np.log10([answer(row, objectives).objectives for row in rows]), ref=logs)

    whole = volume(best)
    print(f"{len(rows)} points, {len(good)} with a result, {len(best)} on the front, hypervolume {whole:.6g}")
    print(f"reference point {reference}")
    for name in ("random", "sobol", "nsga2", "tpe"):
        shares, hits = {step: [] for step in STEPS}, {step: [] for step in STEPS}
        distinct, cpu_s = [], time.process_time()
        for seed in SEEDS:
            search = SearchSpec(sampler=name, evaluations=max(STEPS), batch=BATCH, seed=seed)
            sampler, asked = make_sampler(space, search, objectives, 0), []
            while len(asked) < max(STEPS):
                found = [rows[tuple(values.items())] for values in sampler.ask(BATCH)]
                asked += found
                sampler.tell([answer(row, objectives) for row in found])
                if len(asked) in STEPS:
                    shares[len(asked)].append(volume(asked) / whole)
                    hits[len(asked)].append(len(keys & {row.key for row in asked}))
            distinct.append(len({row.key for row in asked}))
        cpu_s = (time.process_time() - cpu_s) / len(SEEDS)
        text = " | ".join(f"{np.median(x):.4f} ({min(x):.4f}-{max(x):.4f})" for x in shares.values())
        found = " | ".join(f"{np.median(x):.0f}" for x in hits.values())
        print(f"| {name} | {text} | {found} | {np.median(distinct):.0f} | {cpu_s:.1f} |", flush=True)


def answer(row, objectives):
    if row.status != "ok":
        return Answer(objectives=None)
    return Answer(objectives=tuple(value_of(row, item.metric) for item in objectives))


if __name__ == "__main__":
    main()
