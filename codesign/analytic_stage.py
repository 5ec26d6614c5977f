"""The stage without training and clock: designs of a network priced in closed form, hundreds a second."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.version import MODEL_VERSION

from .axis_spec import Scalar
from .ledger import Row, utc_now
from .space import Point, Space, compile_space
from .study import StudyConfig, read_study_folder

if TYPE_CHECKING:
    from spikeloop.simulator.analytic.price import AnalyticCost
    from spikeloop.simulator.analytic.summary import NetworkSummary
    from spikeloop.simulator.config import HardwareConfig
    from spikeloop.simulator.network.graph import Network

#: Designs of one task: below half a second of work, and large enough that sending it costs nothing.
TASK_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class AnalyticJob:
    """Price one point of the study in ``folder``; ``study_hash`` tells studies of one process apart."""

    folder: str
    study_hash: str
    index: int
    values: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class AnalyticResult:
    """Cost of a point (``metrics``), or why it has none (``reason``)."""

    index: int
    metrics: Mapping[str, Any]
    reason: str
    cpu_s: float


def price_points(jobs: tuple[AnalyticJob, ...]) -> Sequence[AnalyticResult]:
    """Costs of some points of one study, in their order; a point that is no design gets its reason."""
    start = time.process_time()
    work = _workplace(jobs[0].folder, jobs[0].study_hash)
    points = [Point(index=job.index, values=job.values) for job in jobs]
    found: dict[int, AnalyticCost | str] = {}
    for _, group in itertools.groupby(range(len(points)), key=lambda i: tuple(points[i].part("student").items())):
        places = list(group)
        costs = _price([points[i] for i in places], work)
        found.update(zip(places, costs, strict=True))
    cpu_s = (time.process_time() - start) / len(jobs)
    return [
        AnalyticResult(
            index=point.index,
            metrics={} if isinstance(cost, str) else _metrics(cost),
            reason=cost if isinstance(cost, str) else "",
            cpu_s=cpu_s,
        )
        for point, cost in zip(points, (found[i] for i in range(len(points))), strict=True)
    ]


def _price(points: Sequence[Point], work: _Workplace) -> list[AnalyticCost | str]:
    """Cost of each point, all of one network, or why it has none."""
    from spikeloop.simulator.analytic.price import price_many

    try:
        shape = work.shape_of(points[0])
    except (ConfigError, NetworkError) as error:
        return [str(error)] * len(points)
    designs: list[HardwareConfig | str] = []
    for point in points:
        try:
            designs.append(work.space.hardware_of(point))
        except ConfigError as error:
            designs.append(str(error))
    possible = [design for design in designs if not isinstance(design, str)]
    costs = iter(price_many(shape.network, shape.summary, possible, work.technology) if possible else ())
    return [design if isinstance(design, str) else next(costs) for design in designs]


def load_network_of(study: StudyConfig) -> Network:
    """Network of an analytic study.

    Raises:
        NetworkError: no such file, or no such network in the zoo.
    """
    assert study.network is not None  # the schema demands one in this stage
    if isinstance(study.network, str):
        from spikeloop.simulator.network.io import load_network

        if not Path(study.network).is_file():
            raise NetworkError(f"network: {study.network}: no such file; name a network file or write {{random: vgg9}}")
        return load_network(Path(study.network))
    from spikeloop.models.random_export import shape_network

    spec = study.network
    return shape_network(
        spec.random,
        seed=spec.seed,
        weight_bits=spec.weight_bits,
        membrane_bits=spec.membrane_bits,
        n_timesteps=spec.n_timesteps,
    )


def student_shape(training: Any) -> Network:
    """Network of a student's shapes and widths with random weights: costs at given densities depend on no more.

    Raises:
        NetworkError: a quantisation that the network cannot have.
    """
    from spikeloop.models.export import to_network
    from spikeloop.models.net import build_student
    from spikeloop.models.zoo import architecture

    student = build_student(
        architecture(training.network),
        n_timesteps=training.n_timesteps,
        neuron=training.neuron,
        quantisation=training.quantisation,
        seed=0,
    )
    return to_network(student.eval(), training.network)


class AnalyticKeys:
    """Keys and ledger rows of analytic points; without ``network`` each has that of its student."""

    def __init__(self, study: StudyConfig, space: Space, network: Network | None, versions: Mapping[str, str]) -> None:
        of_network: dict[str, Any] = {"student": study.student}
        if network is not None:
            of_network = {"network": network.content_hash()}
        self._base = canonical_hash(
            {
                "model_version": MODEL_VERSION,
                "stage": "analytic",
                "activity": "density",
                "density": study.density,
                **of_network,
                "technology": load_technology(space.hardware.technology).content_hash(),
                "hardware": space.hardware.content_hash(),
                "constraints": [item.resolved() for item in study.constraints if item.adc is not None],
            }
        )
        self._config = {"stage": "analytic", **of_network, "density": study.density}
        self._versions, self._seeds = dict(versions), study.seeds.resolved()

    def key(self, values: Mapping[str, Scalar]) -> str:
        """Hash of everything that the cost of a point depends on."""
        return canonical_hash([self._base, dict(values)])

    def row(self, point: Point, result: AnalyticResult, tries: int, failed: str = "") -> Row:
        """Ledger row; ``failed`` is the reason of a point whose worker could not answer."""
        status = "failed" if failed else "infeasible" if result.reason else "ok"
        return Row(
            index=point.index,
            key=self.key(point.values),
            status=status,  # type: ignore[arg-type]  # one of the three
            reason=failed or result.reason,
            values=point.values,
            config=self._config,
            metrics=result.metrics,
            correct=None,
            seeds=self._seeds,
            versions=self._versions,
            wall_s=result.cpu_s,
            cpu_s=result.cpu_s,
            tries=tries,
            created_at=utc_now(),
        )


class _Shape(NamedTuple):
    """A network and its tables for the closed forms."""

    network: Network
    summary: NetworkSummary


class _Workplace:
    """What all points of a study share, and the networks of the last students."""

    def __init__(self, study: StudyConfig) -> None:
        self.space = compile_space(study)
        self.technology = load_technology(self.space.hardware.technology)
        self._study = study
        self._own = _shape(load_network_of(study), study) if study.network is not None else None
        self._shape_of_student = lru_cache(maxsize=4)(self._make_shape)

    def shape_of(self, point: Point) -> _Shape:
        """Network of a point.

        Raises:
            ConfigError, NetworkError: there is no such student.
        """
        return self._own or self._shape_of_student(tuple(point.part("student").items()))

    def _make_shape(self, values: tuple[tuple[str, Scalar], ...]) -> _Shape:
        training = self.space.student_of(Point(index=0, values=dict(values)))
        return _shape(student_shape(training), self._study)


def _shape(network: Network, study: StudyConfig) -> _Shape:
    from spikeloop.simulator.analytic.summary import summarise
    from spikeloop.simulator.mapping.lower import lower_network

    return _Shape(network, summarise(lower_network(network, exact=False), network.n_timesteps, study.density))


@lru_cache(maxsize=1)
def _workplace(folder: str, study_hash: str) -> _Workplace:
    """A process makes it once a study."""
    return _Workplace(read_study_folder(Path(folder)))


def check_analytic(study: StudyConfig) -> Network:
    """The network of the study, or of its base student, after a check that its densities fit.

    Raises:
        NetworkError, ConfigError: the network or a density is wrong; nothing was written.
    """
    if study.network is not None:
        return _shape(load_network_of(study), study).network
    return _shape(student_shape(compile_space(study).student), study).network


def _metrics(cost: Any) -> dict[str, Any]:
    return {"accuracy": {"value": None, "n": 0, "ci95": None}, **dataclasses.asdict(cost)}
