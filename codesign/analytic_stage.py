"""The stage without training and clock: designs of a network priced in closed form, hundreds a second."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.version import MODEL_VERSION

from .ledger import Row, utc_now
from .space import Point, Space, compile_space
from .study import Scalar, StudyConfig, read_study_folder

if TYPE_CHECKING:
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
    from spikeloop.simulator.analytic.price import price_many

    start = time.process_time()
    work = _workplace(jobs[0].folder, jobs[0].study_hash)
    designs: list[HardwareConfig | str] = []
    for job in jobs:
        try:
            designs.append(work.space.hardware_of(Point(index=job.index, values=job.values)))
        except ConfigError as error:
            designs.append(str(error))
    possible = [design for design in designs if not isinstance(design, str)]
    costs = iter(price_many(work.network, work.summary, possible, work.technology) if possible else ())
    found = [design if isinstance(design, str) else next(costs) for design in designs]
    cpu_s = (time.process_time() - start) / len(jobs)
    return [
        AnalyticResult(
            index=job.index,
            metrics={} if isinstance(cost, str) else _metrics(cost),
            reason=cost if isinstance(cost, str) else "",
            cpu_s=cpu_s,
        )
        for job, cost in zip(jobs, found, strict=True)
    ]


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


class AnalyticKeys:
    """Keys and ledger rows of the points of an analytic study."""

    def __init__(self, study: StudyConfig, space: Space, network: Network, versions: Mapping[str, str]) -> None:
        self._base = canonical_hash(
            {
                "model_version": MODEL_VERSION,
                "stage": "analytic",
                "activity": "density",
                "density": study.density,
                "network": network.content_hash(),
                "technology": load_technology(space.hardware.technology).content_hash(),
                "hardware": space.hardware.content_hash(),
                "constraints": [item.resolved() for item in study.constraints if item.adc is not None],
            }
        )
        self._config = {"stage": "analytic", "network": network.content_hash(), "density": study.density}
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Workplace:
    study: StudyConfig
    space: Space
    network: Any
    summary: Any
    technology: Any


@lru_cache(maxsize=1)
def _workplace(folder: str, study_hash: str) -> _Workplace:
    """What all points of a study share; a process makes it once."""
    from spikeloop.simulator.analytic.summary import summarise
    from spikeloop.simulator.mapping.lower import lower_network

    study = read_study_folder(Path(folder))
    space, network = compile_space(study), load_network_of(study)
    layers = lower_network(network, exact=False)
    return _Workplace(
        study=study,
        space=space,
        network=network,
        summary=summarise(layers, network.n_timesteps, study.density),
        technology=load_technology(space.hardware.technology),
    )


def check_analytic(study: StudyConfig) -> Network:
    """The network of the study, after a check that its densities fit.

    Raises:
        NetworkError, ConfigError: the network or a density is wrong; nothing was written.
    """
    from spikeloop.simulator.analytic.summary import summarise
    from spikeloop.simulator.mapping.lower import lower_network

    network = load_network_of(study)
    summarise(lower_network(network, exact=False), network.n_timesteps, study.density)
    return network


def _metrics(cost: Any) -> dict[str, Any]:
    return {"accuracy": {"value": None, "n": 0, "ci95": None}, **dataclasses.asdict(cost)}
