"""The work of a study: teacher, students, and the evaluation of designs; each function runs in any process.

Jobs and results are plain records that travel between processes. Results are cached by content: a student is
trained once and shared by all designs that only differ in hardware.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from spikeloop.simulator.config import HardwareConfig, resolve_yaml
from spikeloop.simulator.errors import ConfigError, DatasetError, MappingError, SimulationError, SpikeloopError
from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.spec import validate_spec

from .runs import keep_run, known_run, run_path
from .stage_spec import UNTRAINED, StageName
from .study import StudyConfig
from .trained_teacher import copy_teacher, is_trained
from .training_runs import forget_states, train_kept

if TYPE_CHECKING:
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.datasets import AnyDataset
    from spikeloop.distill.event_sets import Split
    from spikeloop.distill.events import FrameRule
    from spikeloop.models.net import SpikingNet
    from spikeloop.simulator.cost.technology import Technology
    from spikeloop.simulator.network.graph import InputNode, Network
    from spikeloop.simulator.network.spikes import SpikeTrain

NETWORK_FILE = "network.safetensors"
_DONE_FILE = "prepared.json"


@dataclass(frozen=True, kw_only=True)
class TeacherJob:
    """Train the teacher into ``folder``, on ``device`` (cpu or cuda)."""

    key: str
    training: Mapping[str, Any]
    dataset: str
    seed: int
    folder: str
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class StudentJob:
    """Make a student from the teacher in ``teacher_folder`` and write its network file into ``folder``.

    ``settle_images``: None distils it, a number quantises the teacher's weights and settles the batch norms on so many
    training images. ``hardware`` is the design that it is trained for, None if training knows none.
    """

    key: str
    values: Mapping[str, Any]
    training: Mapping[str, Any]
    dataset: str
    seed: int
    teacher_folder: str
    folder: str
    settle_images: int | None = None
    hardware: Mapping[str, Any] | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A teacher or student that is ready; ``notes`` hold at least ``accuracy`` and ``n`` where they are known."""

    notes: Mapping[str, Any]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class PointJob:
    """Evaluate the network in ``student_folder`` on one design.

    ``stage`` ``cycle`` runs the ``cycle_images`` only and tells no accuracy. Functional runs are kept in
    ``runs_folder`` for the designs that compute the same; None keeps none.
    """

    index: int
    student_folder: str
    hardware: Mapping[str, Any]
    dataset: str
    images: int
    calibration_images: int
    cycle_images: int
    seed: int
    stage: StageName = "full"
    runs_folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """What a point gave; ``correct`` is packed bits (``ledger.pack_bits``) of ``n_images`` images."""

    index: int
    status: Literal["ok", "infeasible", "failed"]
    reason: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    correct: bytes | None = None
    n_images: int = 0
    network_hash: str = ""
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The work functions of a study; all top-level, so that a pool can run them.

    ``check`` refuses a study that the others could not run, before anything is written.
    """

    check: Callable[[StudyConfig], None]
    teacher: Callable[[tuple[TeacherJob, ...]], Sequence[Prepared]]
    student: Callable[[tuple[StudentJob, ...]], Sequence[Prepared]]
    points: Callable[[tuple[PointJob, ...]], Sequence[PointResult]]


def real_stages() -> Stages:
    """Training by ``spikeloop.distill``, evaluation by ``spikeloop.simulator``."""
    return Stages(check=check_data, teacher=prepare_teacher, student=prepare_student, points=evaluate_points)


def prepare_teacher(jobs: tuple[TeacherJob, ...]) -> tuple[Prepared, ...]:
    """Teachers, from the cache where they are there already; a training that was killed goes on.

    Raises:
        ConfigError: the device is not there, also where only students would need it.
    """
    from spikeloop.distill.device import find_device

    for device in {job.device for job in jobs}:
        find_device(device)
    return tuple(_trained(job.folder, partial(_train_teacher, job)) for job in jobs)


def prepare_student(jobs: tuple[StudentJob, ...]) -> tuple[Prepared, ...]:
    """Students with their network files, from the cache where they are there already; as ``prepare_teacher``."""
    return tuple(
        _trained(job.folder, partial(_train_student if job.settle_images is None else _quantise_teacher, job))
        for job in jobs
    )


def _trained(folder: str, build: Callable[[Path], Mapping[str, Any]]) -> Prepared:
    try:
        prepared = cached(Path(folder), build)
    except Exception:
        forget_states(Path(folder))
        raise
    forget_states(Path(folder))
    return prepared


def evaluate_points(jobs: tuple[PointJob, ...]) -> tuple[PointResult, ...]:
    """Results of designs, one after the other; an error of one is its result."""
    return tuple(evaluate_point(job, evaluate_design) for job in jobs)


def evaluate_point(job: PointJob, work: Callable[[PointJob], PointResult]) -> PointResult:
    """Result of ``work``; an exception becomes the status and the reason of this point alone."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        return work(job)
    except (ConfigError, MappingError) as error:
        status, reason = "infeasible", str(error)
    except SpikeloopError as error:
        status, reason = "failed", str(error)
    except Exception as error:
        status, reason = "failed", f"{type(error).__name__}: {error}"
    return PointResult(
        index=job.index,
        status="infeasible" if status == "infeasible" else "failed",
        reason=reason,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )


def evaluate_design(job: PointJob) -> PointResult:
    """Accuracy and cost of one design.

    Raises:
        SpikeloopError: the design does not fit the network, or a file is damaged.
    """
    from spikeloop.simulator.cycle.path import CriticalPath
    from spikeloop.simulator.metrics import to_json
    from spikeloop.simulator.pipeline import evaluate

    from .ledger import pack_bits

    wall, cpu = time.perf_counter(), time.process_time()
    network = _network(str(Path(job.student_folder) / NETWORK_FILE))
    hardware = validate_spec(HardwareConfig, dict(job.hardware), where="hardware")
    spikes = _spikes(job.dataset, "test", job.cycle_images if job.stage == "cycle" else job.images, _input_of(network))
    run = _run_path(job, network, hardware, spikes.n_images)
    known = known_run(run)
    evaluation = evaluate(
        network,
        hardware,
        # A few images say nothing about the accuracy.
        dataclasses.replace(spikes, labels=None) if job.stage == "cycle" else spikes,
        seed=job.seed,
        calibration=_spikes(job.dataset, "train", job.calibration_images, _input_of(network)),
        cycle_images=job.cycle_images,
        technology=_technology(hardware.technology),
        observers=lambda program, _: (CriticalPath(program),),
        outputs=known,
    )
    if known is None:
        keep_run(run, evaluation.outputs)
    correct, metrics = evaluation.correct, to_json(evaluation.metrics)
    _check_finite(metrics)
    return PointResult(
        index=job.index,
        status="ok",
        metrics=metrics,
        correct=None if correct is None else pack_bits(correct),
        n_images=0 if correct is None else int(correct.size),
        network_hash=network.content_hash(),
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )


def _run_path(job: PointJob, network: Network, hardware: HardwareConfig, n_images: int) -> Path | None:
    if job.runs_folder is None:
        return None
    return run_path(
        job.runs_folder,
        network,
        hardware,
        dataset=job.dataset,
        images=n_images,
        calibration_images=job.calibration_images,
        cycle_images=job.cycle_images,
        seed=job.seed,
    )


def cached(folder: Path, build: Callable[[Path], Mapping[str, Any]]) -> Prepared:
    """What ``build`` wrote into ``folder``; built aside and renamed, so that a folder is whole or absent."""
    if (folder / _DONE_FILE).is_file():
        return Prepared(**json.loads((folder / _DONE_FILE).read_text()))
    wall, cpu = time.perf_counter(), time.process_time()
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        notes = dict(build(aside))
        prepared = Prepared(notes=notes, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
        write_atomic(aside / _DONE_FILE, json.dumps(dataclasses.asdict(prepared), indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return prepared


def _check_finite(metrics: Mapping[str, Any]) -> None:
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SimulationError(f"metric {name} is {value}; a result must be finite")


def check_data(study: StudyConfig) -> None:
    """Refuse a data set that is not there or has fewer images than the study asks for.

    Raises:
        DatasetError: which of them, and how many images there are.
    """
    dataset = _dataset(study.dataset)
    if study.student is not None:
        from spikeloop.distill.config import TrainingConfig
        from spikeloop.distill.fit import used_part

        assert isinstance(study.teacher, dict)  # resolved
        assert isinstance(study.student, dict)
        used_part(dataset, validate_spec(TrainingConfig, study.student, where="student"))
        if not is_trained(study.teacher):
            used_part(dataset, validate_spec(TrainingConfig, study.teacher, where="teacher"))
    for field_name, wanted, there in (
        ("images", study.images, len(dataset.test_labels)),
        ("calibration_images", study.calibration_images, len(dataset.train_labels)),
        ("cycle_images", study.cycle_images, study.images),
        *(
            (f"stages: {item.stage}: settle_images", item.n_settled, len(dataset.train_labels))
            for item in study.stages
            if item.stage in UNTRAINED
        ),
    ):
        if wanted > there:
            raise DatasetError(f"study {study.name}: {field_name}={wanted}, there are {there}; allowed 1 to {there}")


@lru_cache(maxsize=2)
def _dataset(name: str) -> AnyDataset:
    from spikeloop.distill.datasets import load_dataset

    return load_dataset(name)


@lru_cache(maxsize=2)
def _network(path: str) -> Network:
    from spikeloop.simulator.network.io import load_network

    return load_network(Path(path))


def _technology(name: str) -> Technology:
    """Prices by name or path; reading the file takes longer than running a small design."""
    path = resolve_yaml(name, "technology")
    return _read_technology(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_technology(path: str, changed_ns: int) -> Technology:
    from spikeloop.simulator.cost.technology import load_technology

    return load_technology(path)


class _Input(NamedTuple):
    """What the codes of a data set depend on."""

    node: InputNode
    n_timesteps: int
    frames: FrameRule


def _input_of(network: Network) -> _Input:
    from spikeloop.distill.encode import frame_rule

    return _Input(network.input, network.n_timesteps, frame_rule(network))


@lru_cache(maxsize=4)
def _spikes(dataset: str, split: Split, n_images: int, source: _Input) -> SpikeTrain:
    """The first images of a split, coded for a network's input."""
    from spikeloop.distill.encode import split_spikes

    return split_spikes(
        _dataset(dataset), split, n_images, source.node, n_timesteps=source.n_timesteps, frames=source.frames
    )


def _train_teacher(job: TeacherJob, folder: Path) -> Mapping[str, Any]:
    import torch

    from spikeloop.distill.checkpoint import save_checkpoint
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.device import find_device
    from spikeloop.distill.train import train_teacher

    torch.set_num_threads(1)
    if is_trained(job.training):
        return copy_teacher(job.training, folder)
    config, dataset = validate_spec(TrainingConfig, dict(job.training), where="teacher"), _dataset(job.dataset)
    train = partial(train_teacher, config, dataset, device=find_device(job.device))
    result = train_kept(Path(job.folder), config, None, train)
    save_checkpoint(folder, result)
    return {"accuracy": result.test_accuracy, "n": result.n_test}


def _train_student(job: StudentJob, folder: Path) -> Mapping[str, Any]:
    import torch

    from spikeloop.distill.checkpoint import load_checkpoint, save_checkpoint
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.device import find_device
    from spikeloop.distill.train import train_student

    torch.set_num_threads(1)
    training = dict(job.training)
    if job.hardware is not None:
        training["hardware"] = {**training["hardware"], "accelerator": dict(job.hardware)}
    config = validate_spec(TrainingConfig, training, where="student")
    teacher, dataset = load_checkpoint(Path(job.teacher_folder)).net, _dataset(job.dataset)
    train = partial(train_student, config, dataset, teacher, device=find_device(job.device))
    result = train_kept(Path(job.folder), config, teacher, train)
    save_checkpoint(folder, result)
    _save_network(result.net, config, job, folder)
    return {"accuracy": result.test_accuracy, "n": result.n_test}


def _quantise_teacher(job: StudentJob, folder: Path) -> Mapping[str, Any]:
    import torch

    from spikeloop.distill.checkpoint import load_checkpoint
    from spikeloop.distill.config import TrainingConfig
    from spikeloop.distill.ptq import quantise_trained, settling_codes

    torch.set_num_threads(1)
    config = validate_spec(TrainingConfig, dict(job.training), where="student")
    teacher = load_checkpoint(Path(job.teacher_folder)).net
    assert job.settle_images is not None  # else it is trained
    codes = settling_codes(config, _dataset(job.dataset), job.settle_images)
    _save_network(quantise_trained(config, teacher, codes), config, job, folder)
    return {"settle_images": job.settle_images}


def _save_network(net: SpikingNet, config: TrainingConfig, job: StudentJob, folder: Path) -> None:
    from spikeloop.models.export import to_network
    from spikeloop.simulator.network.io import save_network

    notes = {"dataset": job.dataset, "student": job.key}
    if not net.plan.input.static:
        notes["frames"] = config.frames
    save_network(to_network(net, net.plan.name, notes), folder / NETWORK_FILE)
