"""Ledgers of made-up points, of any size and of several stages, for report, browser and speed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spikeloop.codesign.ledger import Row, create_ledger
from spikeloop.codesign.study import StudyConfig, study_yaml

HARDWARE = {
    "name": "made_up",
    "source": "made up for tests",
    "technology": "rram_65nm",
    "clock_GHz": 0.5,
    "crossbar": {"rows": 64, "cols": 64},
    "adc": {"kind": "uniform", "bits": 6, "columns_per_adc": 8},
}
AXES: dict[str, list[Any]] = {
    "hw.crossbar.size": [32, 64, 128, 256],
    "hw.adc.bits": [3, 4, 5, 6, 7, 8],
    "hw.dataflow.loop": ["layer_major", "timestep_major"],
}


def synthetic_folder(folder: Path, rows: Iterator[Row] | Sequence[Row], **changes: Any) -> Path:
    """A study folder of ``stage: analytic`` that holds these rows."""
    fields: dict[str, Any] = {
        "name": "made up <b>& hostile</b>",
        "stage": "analytic",
        "network": {"random": "demo"},
        "hardware": HARDWARE,
        "space": AXES,
    }
    study = StudyConfig.model_validate({**fields, **changes})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(study_yaml(study))
    with create_ledger(folder / "ledger.sqlite", study.resolved()) as ledger:
        stream = iter(rows)
        while chunk := list(itertools.islice(stream, 20_000)):
            ledger.add(chunk)
    return folder


def row(index: int, values: dict[str, Any], *, stage: str = "analytic", reason: str = "", **costs: Any) -> Row:
    """A point; ``costs`` are metrics, with ``reason`` it is infeasible."""
    accuracy = costs.pop("accuracy", None)
    metrics = {"accuracy": {"value": accuracy, "n": 0 if accuracy is None else 100, "ci95": None}, **costs}
    return Row(
        index=index,
        key=f"{index:064x}",
        status="infeasible" if reason else "ok",
        reason=reason,
        values=values,
        config={"stage": stage, "network": "0" * 64, "density": 0.15},
        metrics={} if reason else metrics,
        correct=None,
        seeds={"training": 1, "simulation": 1},
        versions={"spikeloop": "0"},
        wall_s=0.001,
        cpu_s=0.001,
        tries=1,
        created_at="2026-01-01T00:00:00.000+00:00",
    )


def many_rows(n: int, axes: dict[str, list[Any]] = AXES) -> Iterator[Row]:
    """``n`` rows over the axes, with costs that trade against each other and some noise."""
    rng = random.Random(1)
    names, sizes = list(axes), [len(values) for values in axes.values()]
    for index in range(n):
        place, values = index, {}
        for name, size in zip(reversed(names), reversed(sizes), strict=True):
            values[name] = axes[name][place % size]
            place //= size
        a, b, noise = rng.random(), rng.random(), 1.0 + rng.expovariate(1.0)
        energy_fJ, latency_ns = 1e6 * math.exp(3 * a) * noise, 1e4 * math.exp(-3 * a + 2 * b) * noise
        area_um2 = 1e6 * math.exp(-2 * b) * noise
        edap = energy_fJ * latency_ns * area_um2 * 1e-30
        yield row(
            index,
            dict(reversed(values.items())),
            energy_fJ=energy_fJ,
            latency_ns=latency_ns,
            interval_ns=latency_ns,
            area_um2=area_um2,
            edap_J_s_mm2=edap,
            edap_interval_J_s_mm2=edap,
            tops=1e3 / latency_ns,
            tops_per_W=1e6 / energy_fJ,
            tops_per_mm2=1e6 / area_um2,
            cycles=int(latency_ns),
        )
