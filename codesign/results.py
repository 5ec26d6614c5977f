"""A finished study as the figures and the report see it: plain records, no ledger, no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import StudyError

if TYPE_CHECKING:
    from .ledger import Row, StageRow
    from .study_view import StudyView


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Part of a design that one component or one layer stands for, per inference."""

    name: str
    energy_fJ: float
    area_um2: float
    latency_ns: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Part of a design that one component stands for in one layer, per inference."""

    layer: str
    component: str
    energy_fJ: float
    area_um2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DesignPoint:
    """One evaluated design.

    Attributes:
        name: short label, e.g. ``W3 V4 64x64 ADC5``.
        settings: what the study chose, flat: axis name -> value.
        network: equal for designs that share one trained network; ``network_hash`` is its content hash.
        weight_bits, membrane_bits: precision of the network, None if the network does not have one width.
        rows, cols, adc_bits: the crossbar and its ADC.
        accuracy: share of right answers, None without data; ``ci95`` its 95 % interval, ``n`` its images.
        components, layers: energy and area by component and, with latency, by layer.
        cells: energy and area by both; empty in results of versions that did not keep them.
        metrics: the whole record as ``spikeloop simulate --json`` prints it.
        on_front: no other design is better in every objective.
    """

    name: str
    settings: Mapping[str, Any]
    network: str
    network_hash: str
    hardware: str
    weight_bits: int | None
    membrane_bits: int | None
    rows: int
    cols: int
    adc_bits: int
    accuracy: float | None
    ci95: tuple[float, float] | None
    n: int
    energy_fJ: float
    latency_ns: float
    area_um2: float
    edap_J_s_mm2: float
    tops_per_W: float
    tops_per_mm2: float
    components: tuple[Share, ...]
    layers: tuple[Share, ...]
    metrics: Mapping[str, Any]
    on_front: bool
    picked: bool
    cells: tuple[Cell, ...] = ()

    @property
    def hardware_key(self) -> tuple[int, int, int]:
        """What the figures call "the same hardware": rows, columns, ADC bits."""
        return (self.rows, self.cols, self.adc_bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """One trained network of the study, accuracy measured in the trainer's own integer semantics."""

    name: str
    role: str
    weight_bits: int | None
    membrane_bits: int | None
    accuracy: float
    n: int
    ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResults:
    """Everything a report tells about a study, in the ledger's order.

    Attributes:
        pick_reason: the sentence that says which design to build and why.
        points: every design that was trained and simulated; empty in ``stage: analytic``.
        view: what the page shows of the whole ledger; None for results made without one.
        hardware: resolved hardware of the picked design, ready for YAML.
        study: the resolved study, ready for YAML.
        record: run record: hashes, seeds, versions, commit; taken from the ledger alone.
        sources: numbers of the technology file that any point used, each with its source.
        warnings: assumptions to know about the picked design.
    """

    name: str
    study_hash: str
    points: tuple[DesignPoint, ...]
    pick_reason: str
    view: StudyView | None = None
    trainings: tuple[TrainingRow, ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[DesignPoint, ...]:
        """Designs of the front, cheapest EDAP first."""
        return tuple(sorted((p for p in self.points if p.on_front), key=lambda p: (p.edap_J_s_mm2, p.name)))

    @property
    def picked(self) -> DesignPoint | None:
        """The design to build, None if the study has no finished point."""
        return next((p for p in self.points if p.picked), None)


def shares_of(metrics: Mapping[str, Any]) -> tuple[tuple[Share, ...], tuple[Share, ...]]:
    """(components, layers) of a metrics record in its JSON form.

    A layer's latency is its share of the critical path: its cycles x the clock period.
    """
    cycles = int(metrics["cycles"])
    cycle_ns = float(metrics["latency_ns"]) / cycles if cycles else 0.0
    components = tuple(
        Share(name=name, energy_fJ=part["energy_fJ"], area_um2=part["area_um2"], latency_ns=0.0)
        for name, part in metrics["by_component"].items()
    )
    layers = tuple(
        Share(
            name=part["name"],
            energy_fJ=part["energy_fJ"],
            area_um2=part["area_um2"],
            latency_ns=part["cycles"] * cycle_ns,
        )
        for part in metrics["by_layer"]
    )
    return components, layers


def cells_of(metrics: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Parts of a metrics record by layer and component, layers in network order."""
    return tuple(
        Cell(layer=layer["name"], component=name, energy_fJ=part["energy_fJ"], area_um2=part["area_um2"])
        for layer in metrics["by_layer"]
        for name, part in layer.get("by_component", {}).items()
    )


def read_results(folder: Path) -> StudyResults:
    """Results of a study folder, read from its ledger; also while the study runs.

    Raises:
        StudyError: the folder holds no study or its ledger is damaged.
    """
    from .ledger import open_ledger
    from .stage_spec import WITHOUT_ACCURACY
    from .study import read_study_folder
    from .study_view import read_view

    study = read_study_folder(folder)
    with open_ledger(folder / "ledger.sqlite") as ledger, ledger.snapshot():
        view, stages, meta = read_view(ledger, study), ledger.stages(), ledger.meta()
        # Only rows with their whole hardware and all its parts are designs of the figures.
        rows = () if view.stage in WITHOUT_ACCURACY else ledger.rows(stage=view.stage)
    good = [row for row in rows if row.status == "ok"]
    _check_whole(good, folder)
    picked = view.choice.row if view.choice is not None else None
    return StudyResults(
        name=study.name,
        study_hash=str(meta["study_hash"]),
        points=tuple(
            _point(row, on_front=row.key in view.front, picked=picked is not None and row.key == picked.key)
            for row in good
        ),
        view=view,
        pick_reason=view.choice.reason if view.choice is not None else _no_pick(view),
        trainings=_trainings(stages),
        hardware=picked.config.get("hardware", {}) if picked is not None else {},
        study=study.resolved(),
        record={
            "study_hash": meta["study_hash"],
            "model_version": meta["model_version"],
            "seeds": study.seeds.resolved(),
            "versions": _versions(good or view.rows),
        },
        sources=tuple(sorted({key for row in good for key in row.metrics.get("sources", ())})),
        warnings=tuple(picked.metrics.get("warnings", ())) if picked is not None else (),
    )


def _no_pick(view: StudyView) -> str:
    if not view.n_ok:
        return "no design has a result yet"
    if not view.n_admissible:
        return "no design keeps every constraint"
    return "no design is picked: accuracy is part of the choice, and no design has one"


def _check_whole(rows: Sequence[Row], folder: Path) -> None:
    for row in rows:
        try:
            _point(row, on_front=False, picked=False)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StudyError(
                f"{folder / 'ledger.sqlite'}: damaged (the result of point {row.index} is not whole: {error}); "
                "restore it from a copy"
            ) from None


def _versions(rows: Sequence[Row]) -> dict[str, str]:
    """Versions that produced the points; several are listed where a resumed study saw several."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, value in row.versions.items():
            if name != "network":
                found.setdefault(name, {})[value] = None
    return {name: ", ".join(values) for name, values in sorted(found.items())}


def _point(row: Row, *, on_front: bool, picked: bool) -> DesignPoint:
    metrics = row.metrics
    components, layers = shares_of(metrics)
    hardware = HardwareConfig.model_validate(row.config["hardware"])
    accuracy = metrics["accuracy"]
    return DesignPoint(
        name=design_label(row),
        settings=dict(row.values),
        network=_network_name(row),
        network_hash=row.versions.get("network", ""),
        hardware=hardware.name,
        weight_bits=_bits(row.values, "weight_bits", row.config.get("student")),
        membrane_bits=_bits(row.values, "membrane_bits", row.config.get("student")),
        rows=hardware.crossbar.rows,
        cols=hardware.crossbar.cols,
        adc_bits=hardware.adc_bits,
        accuracy=accuracy["value"],
        ci95=tuple(accuracy["ci95"]) if accuracy["ci95"] is not None else None,
        n=accuracy["n"],
        energy_fJ=metrics["energy_fJ"],
        latency_ns=metrics["latency_ns"],
        area_um2=metrics["area_um2"],
        edap_J_s_mm2=metrics["edap_J_s_mm2"],
        tops_per_W=metrics["tops_per_W"],
        tops_per_mm2=metrics["tops_per_mm2"],
        components=components,
        layers=layers,
        metrics=metrics,
        on_front=on_front,
        picked=picked,
        cells=cells_of(metrics),
    )


def design_label(row: Row) -> str:
    """Short name of a design: its precisions and crossbar, then every other axis of the study."""
    if row.status != "ok" or "hardware" not in row.config:
        return ", ".join(f"{key}={value}" for key, value in row.values.items())
    hardware = HardwareConfig.model_validate(row.config["hardware"])
    weight = _bits(row.values, "weight_bits", row.config.get("student"))
    membrane = _bits(row.values, "membrane_bits", row.config.get("student"))
    parts = [f"W{weight}"] if weight is not None else []
    parts += [f"V{membrane}"] if membrane is not None else []
    parts += [f"{hardware.crossbar.rows}x{hardware.crossbar.cols}", f"ADC{hardware.adc_bits}"]
    known = ("weight_bits", "membrane_bits", "rows", "cols", "size", "bits")
    parts += [f"{key.split('.')[-1]}={value}" for key, value in row.values.items() if key.split(".")[-1] not in known]
    return " ".join(parts)


def _network_name(row: Row) -> str:
    """Text that is equal for designs that share one trained network: the axes that are not the hardware's."""
    return " ".join(f"{key}={value}" for key, value in row.values.items() if not key.startswith("hw."))


def _bits(values: Mapping[str, Any], name: str, config: Any) -> int | None:
    """Width called ``name``: from the point's own axes, else from the resolved student; None where layers differ."""
    by_layer = {"weight_bits": "layer_bits", "membrane_bits": "membrane_layer_bits"}.get(name, "")
    if any(by_layer in key.split(".") for key in values):
        return None
    for key, value in values.items():
        if key.split(".")[-1] == name and isinstance(value, int):
            return value
    return _find_int(config, name)


def _find_int(config: Any, name: str) -> int | None:
    if not isinstance(config, Mapping):
        return None
    if isinstance(config.get(name), int):
        return int(config[name])
    return next((found for part in config.values() if (found := _find_int(part, name)) is not None), None)


def _trainings(stages: Sequence[StageRow]) -> tuple[TrainingRow, ...]:
    """The teacher, then the students from coarse to fine."""
    rows = [row for stage in stages if (row := _training(stage)) is not None]
    rows.sort(key=lambda row: (row.role != "teacher", row.weight_bits or 0, row.membrane_bits or 0, row.name))
    return tuple(rows)


def _training(stage: StageRow) -> TrainingRow | None:
    from spikeloop.simulator.metrics import wilson_interval

    accuracy, n = stage.notes.get("accuracy"), stage.notes.get("n")
    if not isinstance(accuracy, int | float) or not isinstance(n, int):
        return None
    weight, membrane = _bits(stage.values, "weight_bits", None), _bits(stage.values, "membrane_bits", None)
    label = " ".join(str(part) for part in (f"W{weight}" if weight else "", f"V{membrane}" if membrane else "") if part)
    return TrainingRow(
        name=label or stage.stage,
        role=stage.stage,
        weight_bits=weight,
        membrane_bits=membrane,
        accuracy=float(accuracy),
        n=n,
        ci95=wilson_interval(round(accuracy * n), n),
    )
