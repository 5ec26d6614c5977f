"""What a study costs beside its evaluations: CPU milliseconds a point in one process, plan, keys, ledger and front.

    python tests/bench/bench_loop.py 2000

prints a line for each kind of study: CPU time of ``run_study`` less that of the functions which train, simulate and
price. Points that are planned or asked for have evaluations that cost nothing; a sweep prices its designs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import open_ledger
from spikeloop.codesign.stages import PointResult, Prepared, Stages
from spikeloop.codesign.study import StudyConfig

N_POINTS = 480
SPACE = {
    "hw.crossbar.size": {"log2": [32, 256]},
    "hw.adc.bits": {"range": [3, 7]},
    "hw.adc.columns_per_adc": [4, 8],
    "hw.tile.pes_per_tile": [2, 4],
    "hw.neuron.lanes": {"range": [1, 25]},
}
TRAINED: Mapping[str, Any] = {
    "dataset": "digits",
    "hardware": "demo",
    "teacher": "digits_teacher",
    "student": "digits_student",
    "images": 100,
}
PRICED: Mapping[str, Any] = {
    "stage": "analytic",
    "network": {"random": "vgg9", "weight_bits": 4, "membrane_bits": 6},
    "hardware": "spikeflow_64",
}
METRICS = {
    "accuracy": {"value": 0.9, "n": 100, "ci95": [0.8, 0.95]},
    **dict.fromkeys(("energy_fJ", "latency_ns", "interval_ns", "area_um2", "tops", "tops_per_W", "tops_per_mm2"), 1.0),
    **dict.fromkeys(("edap_J_s_mm2", "edap_interval_J_s_mm2"), 1e-9),
}


def study(kind: str, n_points: int) -> StudyConfig:
    """``n_points`` points (a multiple of 80): planned ahead, asked of a sampler, or a sweep that is priced."""
    # The space of a search is ten times what it asks for.
    lanes = {"range": [1, n_points // (80 if kind in ("planned", "sweep") else 8)]}
    fields = {"name": kind, "space": {**SPACE, "hw.neuron.lanes": lanes}, **(PRICED if kind == "sweep" else TRAINED)}
    if kind in ("random", "tpe"):
        fields["search"] = {"sampler": kind, "evaluations": n_points, "batch": 10}
    return StudyConfig.model_validate(fields)


def prepared(jobs):
    """Networks that are there already."""
    return tuple(Prepared(notes={"accuracy": 0.9, "n": 100}, wall_s=0.0, cpu_s=0.0) for _ in jobs)


def evaluated(jobs):
    """Results that cost next to nothing."""
    return tuple(
        PointResult(
            index=job.index,
            status="ok",
            metrics={**METRICS, "energy_fJ": 1.0 + job.index},
            correct=bytes(13),
            n_images=100,
            wall_s=0.0,
            cpu_s=0.0,
        )
        for job in jobs
    )


STAGES = Stages(check=lambda _: None, teacher=prepared, student=prepared, points=evaluated)


def overhead_ms(kind: str, n_points: int) -> tuple[int, float]:
    """Points in the ledger, and CPU milliseconds of the loop for each that was planned or asked for."""
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.process_time()
        run_study(study(kind, n_points), Path(folder) / "out", stages=STAGES)
        cpu_s = time.process_time() - start_s
        with open_ledger(Path(folder) / "out/ledger.sqlite") as ledger:
            rows = ledger.rows()
    return len(rows), 1e3 * (cpu_s - sum(row.cpu_s for row in rows)) / n_points


@pytest.mark.parametrize("kind", ["planned", "random", "sweep"])
def bench_loop(benchmark, kind, tmp_path_factory):
    def setup():
        return (study(kind, N_POINTS), tmp_path_factory.mktemp(kind) / "out"), {"stages": STAGES}

    benchmark.pedantic(run_study, setup=setup, rounds=3, warmup_rounds=1)
    benchmark.extra_info["points"] = N_POINTS


def main() -> None:
    """Each kind of study, after one that fills the caches."""
    for kind in ("planned", "random", "tpe", "sweep"):
        overhead_ms(kind, 80)
        n_asked = int(sys.argv[1])
        n, cost_ms = overhead_ms(kind, n_asked)
        print(f"{kind}: {n_asked} points, {n} of them distinct: {cost_ms:.2f} CPU ms each for the loop", flush=True)


if __name__ == "__main__":
    main()
