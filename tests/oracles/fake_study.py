"""A study without training and simulation: results follow from the configuration by a hash.

``python -m oracles.fake_study OUT WORKERS [SCHEDULER]`` is a driver that a test may kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikeloop.codesign import space, study
from spikeloop.codesign.stages import PointJob, PointResult, Prepared, Stages, StudentJob, TeacherJob, evaluate_point
from spikeloop.simulator.errors import ConfigError, SimulationError
from spikeloop.simulator.spec import Spec

HARDWARE = {
    "name": "fake",
    "source": "made up for tests",
    "technology": "rram_65nm",
    "clock_GHz": 0.5,
    "crossbar": {"rows": 64, "cols": 64},
    "adc": {"kind": "uniform", "bits": 6, "columns_per_adc": 8},
}


class FakeQuantisation(Spec):
    weight_bits: int = 4
    membrane_bits: int = 8


class FakeTraining(Spec):
    """Training file of the fake: as in ``spikeloop.distill.config``, without torch."""

    role: Literal["teacher", "student"]
    dataset: str = "digits"
    seed: int = 0
    teacher: str | None = None
    epochs: int = 1
    quantisation: FakeQuantisation | None = None


def fake_study(**changes: Any) -> study.StudyConfig:
    """A study of 2 x 2 students and 3 x 3 designs, unless ``changes`` say otherwise."""
    fields: dict[str, Any] = {
        "name": "fake",
        "hardware": HARDWARE,
        "teacher": {"role": "teacher"},
        "student": {"role": "student", "quantisation": {}},
        "space": {
            "student.weight_bits": [2, 4],
            "student.membrane_bits": [2, 6],
            "hw.crossbar.size": {"log2": [32, 128]},
            "hw.adc.bits": {"range": [3, 5]},
        },
        "images": 100,
    }
    return study.StudyConfig.model_validate({**fields, **changes})


def large_study() -> study.StudyConfig:
    """400 points of 4 students: long enough to be killed in."""
    return fake_study(
        space={
            "student.weight_bits": [2, 4],
            "student.membrane_bits": [2, 6],
            "hw.adc.bits": {"range": [3, 12]},
            "hw.neuron.lanes": {"range": [1, 10]},
        }
    )


def use_fake_training() -> None:
    """Make studies read ``FakeTraining``; for drivers of their own process, tests use monkeypatch."""
    study.training_spec = space.training_spec = lambda: FakeTraining  # type: ignore[assignment]


def fake_stages() -> Stages:
    return Stages(check=accept, teacher=teacher, student=student, points=points)


def accept(_: study.StudyConfig) -> None:
    """Any data set is there."""


def teacher(jobs: tuple[TeacherJob, ...]) -> tuple[Prepared, ...]:
    _note("teacher", "teacher")
    _note_worker("teacher")
    return tuple(Prepared(notes={"accuracy": 0.99, "n": 100}, wall_s=0.0, cpu_s=0.0) for _ in jobs)


def student(jobs: tuple[StudentJob, ...]) -> tuple[Prepared, ...]:
    for job in jobs:
        _note("student", job.key)
        _note_worker("student")
        if os.environ.get("FAKE_BAD_STUDENT") == str(job.values.get("student.weight_bits")):
            raise SimulationError("the loss is not finite")
        if os.environ.get("FAKE_WRONG_STUDENT") == str(job.values.get("student.weight_bits")):
            raise ConfigError("the teacher is a 'vgg9' and the student a 'demo'; match them")
    return tuple(Prepared(notes={"accuracy": 0.9, "n": 100}, wall_s=0.0, cpu_s=0.0) for _ in jobs)


def points(jobs: tuple[PointJob, ...]) -> tuple[PointResult, ...]:
    return tuple(evaluate_point(job, result_of) for job in jobs)


def result_of(job: PointJob) -> PointResult:
    _note("point", str(job.index))
    _note_worker("point")
    _die_if_asked(job.index)
    time.sleep(float(os.environ.get("FAKE_SLEEP_S", "0")))
    if os.environ.get("FAKE_RAISE") == str(job.index):
        raise ZeroDivisionError("division by zero")
    # The student's folder ends in its key, its place on the disk must not matter.
    identity = json.dumps([Path(job.student_folder).name, job.hardware], sort_keys=True)
    seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    correct = rng.random(job.images) < rng.uniform(0.3, 0.99)
    energy_fJ, latency_ns, area_um2 = (float(value) for value in rng.uniform(1e5, 1e7, size=3))
    metrics = {
        "accuracy": {"value": float(correct.mean()), "n": int(correct.size), "ci95": [0.0, 1.0]},
        "energy_fJ": energy_fJ,
        "latency_ns": latency_ns,
        "interval_ns": latency_ns,
        "area_um2": area_um2,
        "edap_J_s_mm2": energy_fJ * latency_ns * area_um2 * 1e-30,
        "edap_interval_J_s_mm2": energy_fJ * latency_ns * area_um2 * 1e-30,
        "tops": 1.0,
        "tops_per_W": 1.0,
        "tops_per_mm2": 1.0,
    }
    packed = np.packbits(correct).tobytes()
    return PointResult(
        index=job.index, status="ok", metrics=metrics, correct=packed, n_images=correct.size, wall_s=0.0, cpu_s=0.0
    )


def read_notes(path: Path) -> list[tuple[str, str]]:
    """(kind, name) of everything that was started."""
    if not path.exists():
        return []
    return [tuple(line.split(" ", 1)) for line in path.read_text().splitlines()]  # type: ignore[misc]


def _note(kind: str, name: str) -> None:
    if "FAKE_LOG" in os.environ:
        with Path(os.environ["FAKE_LOG"]).open("a") as stream:
            stream.write(f"{kind} {name}\n")


def _note_worker(kind: str) -> None:
    """Name of the Dask worker that does this, in a file of its own."""
    if "FAKE_WORKERS" in os.environ:
        from distributed import get_worker

        with Path(os.environ["FAKE_WORKERS"]).open("a") as stream:
            stream.write(f"{kind} {get_worker().name}\n")


def _die_if_asked(index: int) -> None:
    if os.environ.get("FAKE_POISON") == str(index):
        os.kill(os.getpid(), signal.SIGKILL)
    once = os.environ.get("FAKE_POISON_ONCE", "")
    if once and once.partition(":")[0] == str(index):
        marker = Path(once.partition(":")[2])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    from spikeloop.codesign.explore import run_study

    out, workers = Path(sys.argv[1]), int(sys.argv[2])
    scheduler = sys.argv[3] if len(sys.argv) > 3 else None
    use_fake_training()
    summary = run_study(large_study(), out, workers=workers, resume=True, stages=fake_stages(), scheduler=scheduler)
    return 130 if summary.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
