"""A made-up study of 64 designs with the shape of a real one: for figures, report and command line."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from spikeloop.codesign.ledger import Row, Status
from spikeloop.codesign.pareto import Choice
from spikeloop.codesign.results import DesignPoint, StudyResults, TrainingRow, cells_of, shares_of
from spikeloop.codesign.study_view import BALANCE, StudyView

_LAYERS = ("conv1", "conv2", "conv3", "classifier", "shared")
_COMPONENTS = {
    "crossbar": 0.14,
    "adc": 0.38,
    "shift_add": 0.09,
    "pe_accumulator": 0.05,
    "input_buffer": 0.08,
    "membrane_memory": 0.12,
    "neuron": 0.06,
    "noc": 0.04,
    "spike_buffer": 0.03,
    "io": 0.009,
    "global": 0.001,
}


def synthetic_metrics(weight: int, membrane: int, rows: int, adc: int, *, accuracy: float | None) -> dict[str, Any]:
    energy = 2.0e7 * (weight - 1) * (0.4 + 2.0**adc / 64) * (64 / rows) ** 0.5 * (0.8 + 0.05 * membrane)
    area = 1.1e6 * (weight - 1) ** 0.6 * (0.5 + 2.0**adc / 100) * (1 + membrane / 30) * (64 / rows) ** 0.3
    cycles = 9000 + 700 * adc + 2000 * (rows // 64)
    latency = float(cycles)
    edap = energy * 1e-15 * latency * 1e-9 * area * 1e-6
    n = 360
    half = 1.96 * (accuracy * (1 - accuracy) / n) ** 0.5 if accuracy is not None else 0.0
    layer_share = (0.35, 0.3, 0.2, 0.05, 0.1)
    layer_cycles = [int(cycles * part) for part in layer_share[:-1]]
    layer_cycles.append(cycles - sum(layer_cycles))
    return {
        "schema": 1,
        "network": f"demo-w{weight}-v{membrane}",
        "hardware": f"demo-{rows}-adc{adc}",
        "seed": 1,
        "accuracy": {
            "value": accuracy,
            "n": n if accuracy is not None else 0,
            "ci95": [accuracy - half, min(accuracy + half, 1.0)] if accuracy is not None else None,
        },
        "energy_fJ": energy,
        "latency_ns": latency,
        "interval_ns": latency,
        "area_um2": area,
        "edap_J_s_mm2": edap,
        "edap_interval_J_s_mm2": edap,
        "tops": 0.02,
        "tops_per_W": 2.0e6 / energy * 4,
        "tops_per_mm2": 0.02 / (area * 1e-6),
        "dense_ops": 2000000,
        "sops": 300000,
        "cycles": cycles,
        "by_component": {
            name: {"energy_fJ": energy * part, "area_um2": area * part, "count": 8, "busy_cycles": 100}
            for name, part in _COMPONENTS.items()
        },
        "by_layer": [
            {
                "name": name,
                "energy_fJ": energy * part,
                "area_um2": area * part,
                "cycles": count,
                "by_component": {
                    component: {"energy_fJ": energy * part * own, "area_um2": area * part * own}
                    for component, own in _COMPONENTS.items()
                },
            }
            for name, part, count in zip(_LAYERS, layer_share, layer_cycles, strict=True)
        ],
        "sources": ["spikesim2023"],
        "warnings": ["adc: energy per conversion scaled from 65 nm"],
    }


def synthetic_point(weight: int, membrane: int, rows: int, adc: int, *, with_accuracy: bool = True) -> DesignPoint:
    loss = 0.16 * (weight == 2) + (0.22, 0.06, 0.0, 0.0)[min(membrane - 2, 3)] + (0.3, 0.07, 0.01, 0.0)[min(adc - 3, 3)]
    accuracy = 0.97 - loss - 0.04 * (rows == 128) * (adc < 5) if with_accuracy else None
    metrics = synthetic_metrics(weight, membrane, rows, adc, accuracy=accuracy)
    components, layers = shares_of(metrics)
    return DesignPoint(
        name=f"W{weight} V{membrane} {rows}x{rows} ADC{adc}",
        settings={"student.weight_bits": weight, "student.membrane_bits": membrane, "hardware.adc.bits": adc},
        network=f"weight_bits={weight} membrane_bits={membrane}",
        network_hash=f"{weight}{membrane}",
        hardware=metrics["hardware"],
        weight_bits=weight,
        membrane_bits=membrane,
        rows=rows,
        cols=rows,
        adc_bits=adc,
        accuracy=accuracy,
        ci95=tuple(metrics["accuracy"]["ci95"]) if accuracy is not None else None,
        n=metrics["accuracy"]["n"],
        energy_fJ=metrics["energy_fJ"],
        latency_ns=metrics["latency_ns"],
        area_um2=metrics["area_um2"],
        edap_J_s_mm2=metrics["edap_J_s_mm2"],
        tops_per_W=metrics["tops_per_W"],
        tops_per_mm2=metrics["tops_per_mm2"],
        components=components,
        layers=layers,
        metrics=metrics,
        on_front=False,
        picked=False,
        cells=cells_of(metrics),
    )


def synthetic_view(points: Sequence[DesignPoint], reasons: tuple[tuple[Status, str, int, int], ...] = ()) -> StudyView:
    """The view of a ledger that holds these designs."""
    rows = tuple(
        Row(
            index=index,
            key=f"{index:064x}",
            status="ok",
            reason="",
            values=point.settings,
            config={},
            metrics=point.metrics,
            correct=None,
            seeds={},
            versions={},
            wall_s=0.0,
            cpu_s=0.0,
            tries=1,
            created_at="2026-01-01T00:00:00.000+00:00",
        )
        for index, point in enumerate(points)
    )
    picked = next((row for row, point in zip(rows, points, strict=True) if point.picked), None)
    n = len(rows)
    return StudyView(
        rows=rows,
        front=frozenset(row.index for row, point in zip(rows, points, strict=True) if point.on_front),
        front_rows=tuple(row for row, point in zip(rows, points, strict=True) if point.on_front),
        stage="full",
        stages=("full",),
        objectives=BALANCE,
        choice=None if picked is None else Choice(row=picked, knee=picked, reason=""),
        n_points=n,
        n_ok=n,
        n_admissible=n,
        reasons=reasons,
    )


def synthetic_study(*, with_accuracy: bool = True) -> StudyResults:
    points = [
        synthetic_point(w, m, r, a, with_accuracy=with_accuracy)
        for w, m, r, a in itertools.product((2, 3, 4), (2, 3, 4, 6), (64, 128), (3, 4, 5, 6))
    ]

    def dominated(p: DesignPoint) -> bool:
        return any(
            (q.accuracy or 0) >= (p.accuracy or 0)
            and q.edap_J_s_mm2 <= p.edap_J_s_mm2
            and ((q.accuracy or 0) > (p.accuracy or 0) or q.edap_J_s_mm2 < p.edap_J_s_mm2)
            for q in points
        )

    points = [dataclasses.replace(p, on_front=not dominated(p)) for p in points]
    front = sorted((p for p in points if p.on_front), key=lambda p: p.edap_J_s_mm2)
    name = front[min(len(front) * 2 // 3, len(front) - 1)].name
    points = [dataclasses.replace(p, picked=p.name == name) for p in points]
    return StudyResults(
        name="digits, precision <b>against</b> EDAP",
        study_hash="ab" * 32,
        points=tuple(points),
        pick_reason=f"{name}: the knee of the front; half the EDAP of the most accurate design & 1.1 points below it.",
        view=synthetic_view(points, reasons=(("failed", "the run failed </script><script>alert(1)</script>", 1, 7),)),
        trainings=(
            TrainingRow(
                name="teacher",
                role="teacher",
                weight_bits=None,
                membrane_bits=None,
                accuracy=0.98,
                n=360,
                ci95=(0.96, 0.99),
            ),
            TrainingRow(
                name="W3 V4", role="student", weight_bits=3, membrane_bits=4, accuracy=0.96, n=360, ci95=(0.94, 0.98)
            ),
        ),
        hardware={"name": "demo", "crossbar": {"rows": 64, "cols": 64}, "adc": {"kind": "uniform", "bits": 5}},
        study={"name": "digits", "seeds": {"training": 1, "simulation": 1}},
        record={"study_hash": "ab" * 32, "model_version": 1, "git_commit": "0" * 40, "versions": {"numpy": "2.4.6"}},
        sources=("spikesim2023",),
        warnings=("adc: energy per conversion scaled from 65 nm",),
    )
