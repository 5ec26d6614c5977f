"""Searches: every asked point lies in the space, and the same questions come with any workers and after a resume."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.fake_study import HARDWARE, FakeTraining, fake_stages, fake_study

from spikeloop.codesign import space, study
from spikeloop.codesign.constraints import ConstraintSpec, admissible, contradiction
from spikeloop.codesign.dry_run import dry_run
from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Row, open_ledger
from spikeloop.codesign.pareto import Objective, front
from spikeloop.codesign.samplers import Answer, make_sampler
from spikeloop.codesign.search_spec import SearchSpec
from spikeloop.codesign.space import Axis, Space, compile_space
from spikeloop.codesign.study import StudyConfig, resolve_study
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.spec import validate_spec

BASE = HardwareConfig.model_validate(HARDWARE)
SAMPLERS = ["random", "sobol", "tpe", "nsga2", "nsga3"]
COSTS = (Objective(metric="energy_fJ", goal="min"), Objective(metric="area_um2", goal="min"))


@pytest.fixture(autouse=True)
def fake_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: FakeTraining)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to five axes; each may depend on one before it."""
    axes: list[Axis] = []
    for i in range(draw(st.integers(1, 5))):
        values = tuple(range(draw(st.integers(1, 4))))
        parent = draw(st.sampled_from([None, *axes]))
        when = () if parent is None else tuple(draw(st.sets(st.sampled_from(parent.values), min_size=1)))
        name = None if parent is None else parent.name
        axes.append(Axis(name=f"hw.a{i}", values=values, targets=(), parent=name, when=when))
    return Space(axes=tuple(axes), hardware=BASE, student=None)


def is_point(values: dict[str, Any], found: Space) -> bool:
    """Checked axis by axis: there with an allowed value exactly if its parent has one of the named values."""
    for axis in found.axes:
        wanted = axis.parent is None or values.get(axis.parent) in axis.when
        if (axis.name in values) != wanted or (wanted and values[axis.name] not in axis.values):
            return False
    return set(values) <= {axis.name for axis in found.axes}


@settings(deadline=None, max_examples=60)
@given(spaces())
def test_points_are_counted_exactly_and_listed_once(found: Space) -> None:
    points = list(found.points())
    assert len(points) == found.n_points
    assert [point.index for point in points] == list(range(len(points)))
    assert len({tuple(point.values.items()) for point in points}) == len(points)
    assert all(is_point(dict(point.values), found) for point in points)


@settings(deadline=None, max_examples=25)
@given(spaces(), st.sampled_from(SAMPLERS), st.integers(0, 3))
def test_every_asked_point_lies_in_the_space_and_the_seed_gives_it(found: Space, name: str, seed: int) -> None:
    runs = []
    for _ in range(2):
        sampler = make_sampler(found, SearchSpec(sampler=name, evaluations=24, seed=seed), COSTS, 1)
        asked = []
        for _ in range(3):
            values = sampler.ask(8)
            sums = [float(sum(map(int, item.values()))) for item in values]
            sampler.tell([Answer(objectives=(x, -x) if x % 3 else None, excess=(x - 4.0,)) for x in sums])
            asked += values
        runs.append(asked)
    assert runs[0] == runs[1]
    assert all(is_point(item, found) for item in runs[0])


def test_conditional_axes_by_hand() -> None:
    """Uniform ADCs have bits, lossless ones have none: 2 sizes x (3 widths + 1) = 8 points, not 12."""
    axes = {"hw.crossbar.size": [32, 64], "hw.adc.bits": [3, 4, 5], "hw.adc.kind": ["uniform", "lossless"]}
    condition = {"hw.adc.bits": {"hw.adc.kind": ["uniform"]}}
    found = compile_space(resolve_study(fake_study(space=axes, conditions=condition)))
    assert found.n_points == 8
    kinds = [found.hardware_of(point).adc.kind for point in found.points()]
    assert (kinds.count("uniform"), kinds.count("lossless")) == (6, 2)


def test_an_element_of_a_list_is_an_axis() -> None:
    found = compile_space(resolve_study(fake_study(space={"hw.noc.mesh": {"vector": [8, 16], "length": 2}})))
    assert [found.hardware_of(point).noc.mesh for point in found.points()] == [(8, 8), (8, 16), (16, 8), (16, 16)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": {"hw.adc.bit": {"hw.crossbar.size": [32]}}}, "did you mean 'hw.adc.bits'"),
        ({"conditions": {"hw.adc.bits": {"hw.crossbar.siz": [32]}}}, "did you mean 'hw.crossbar.size'"),
        ({"conditions": {"hw.adc.bits": {"hw.crossbar.size": [33]}}}, "never 33; its values: 32, 64, 128"),
        ({"conditions": {"hw.adc.bits": {"student.weight_bits": [2]}}}, "of the other half"),
        (
            {
                "conditions": {
                    "hw.adc.bits": {"hw.crossbar.size": [32]},
                    "hw.crossbar.size": {"hw.adc.bits": [3]},
                }
            },
            "in a circle",
        ),
        ({"constraints": [{"metric": "area_um", "at_most": 3.0}]}, "did you mean 'area_um2'"),
        ({"constraints": [{"metric": "area_um2", "at_most": 0.0}]}, "allows no design"),
        ({"constraints": [{"metric": "area_um2"}]}, "at_most or at_least"),
        ({"search": {"sampler": "tpee", "evaluations": 3}}, "did you mean 'tpe'"),
        ({"search": "tpe"}, "needs a number of evaluations"),
        ({"search": {"sampler": "grid", "evaluations": 3}}, "tries every point"),
        ({"stage": "analytic"}, "trains nothing"),
        ({"reference_point": [1.0]}, "1 numbers for 2 objectives"),
    ],
)
def test_a_wrong_study_gets_one_sentence(changes: dict[str, Any], words: str) -> None:
    def read() -> Space:
        raw = {**fake_study().resolved(), **changes}
        return compile_space(resolve_study(validate_spec(StudyConfig, raw, where="study")))

    with pytest.raises(ConfigError, match=words) as error:
        read()
    assert "\n" not in str(error.value)


def test_contradicting_constraints_are_named() -> None:
    low = ConstraintSpec(metric="area_um2", at_most=2.0)
    high = ConstraintSpec(metric="area_um2", at_least=3.0)
    other = ConstraintSpec(metric="energy_fJ", at_least=9.0)
    assert contradiction([low, other, high]) == (high, low)
    assert contradiction([low, other]) is None
    assert contradiction([ConstraintSpec(metric="area_um2", at_least=2.0), low]) is None
    assert contradiction([ConstraintSpec(adc="lossy"), ConstraintSpec(adc="lossless")]) is not None
    raw = {**fake_study().resolved(), "constraints": [low.resolved(), high.resolved()]}
    with pytest.raises(ConfigError, match="'area_um2 at_least 3' and 'area_um2 at_most 2' contradict"):
        validate_spec(StudyConfig, raw, where="study")


def test_a_space_without_a_design_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """64 one-bit rows need 7 bits; the axis gives at most 5."""
    config = fake_study(
        space={"hw.adc.bits": [3, 4, 5]},
        constraints=[ConstraintSpec(adc="lossless")],
        search=SearchSpec(sampler="random", evaluations=4),
    )
    with pytest.raises(ConfigError, match=r"none of its 3 points is possible.*adc lossless"):
        run_study(config, tmp_path / "out", stages=fake_stages())
    assert not (tmp_path / "out").exists()


def row(index: int, *, stage: str = "full", accuracy: float = 0.9, area_um2: float = 1.0) -> Row:
    return Row(
        index=index,
        key=str(index),
        status="ok",
        reason="",
        values={},
        config={"stage": stage} if stage != "full" else {},
        metrics={"accuracy": {"value": accuracy}, "area_um2": area_um2, "energy_fJ": 1.0},
        correct=None,
        seeds={},
        versions={},
        wall_s=0.0,
        cpu_s=0.0,
        tries=1,
        created_at="",
    )


def test_constraints_by_hand() -> None:
    rows = [row(0, accuracy=0.9, area_um2=2.0), row(1, accuracy=0.85, area_um2=1.0), row(2, accuracy=0.9, area_um2=3.0)]
    limits = [ConstraintSpec(metric="accuracy_drop", at_most=0.1), ConstraintSpec(metric="area_um2", at_most=2.0)]
    assert [item.index for item in admissible(rows, limits, 0.97)] == [0]
    assert [item.index for item in admissible(rows, limits[:1], None)] == []
    assert limits[1].excess(rows[2], None) == pytest.approx(0.5)


def test_a_front_of_two_stages_is_refused() -> None:
    with pytest.raises(StudyError, match="stages analytic and full"):
        front([row(0), row(1, stage="analytic")], COSTS)


def searched(name: str, **changes: Any) -> StudyConfig:
    axes = {
        "student.weight_bits": [2, 4],
        "hw.crossbar.size": {"log2": [32, 128]},
        "hw.adc.bits": {"range": [3, 8]},
        "hw.neuron.lanes": {"range": [1, 6]},
    }
    search = SearchSpec(sampler=name, evaluations=30, batch=6)
    return fake_study(**{"space": axes, "search": search, "images": 50, **changes})


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_a_search_ends_alike_with_two_workers_after_a_loss(name: str, tmp_path: Path) -> None:
    config = searched(name, constraints=[ConstraintSpec(metric="area_um2", at_most=9000000.0)])
    digests, fronts = [], []
    for out in (tmp_path / "one", tmp_path / "lost"):
        run_study(config, out, stages=fake_stages())
        if out.name == "lost":
            with sqlite3.connect(out / "ledger.sqlite") as connection:
                connection.execute("DELETE FROM points WHERE point % 3 = 1 OR point > 15")
            connection.close()
            summary = run_study(config, out, resume=True, workers=2, stages=fake_stages())
            assert summary.n_missing == 0
            assert 0 < summary.n_resumed < summary.n_ok
        with open_ledger(out / "ledger.sqlite") as ledger:
            digests.append(ledger.digest())
        fronts.append((out / "front.csv").read_bytes())
    assert digests[0] == digests[1]
    assert fronts[0] == fronts[1]


def test_repeated_points_are_answered_by_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    config = fake_study(space={"hw.adc.bits": [3, 4]}, search=SearchSpec(sampler="random", evaluations=20))
    summary = run_study(config, tmp_path / "out", stages=fake_stages())
    started = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("point")]
    assert len(started) == summary.n_ok == 2


def test_a_missing_optuna_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"tpe needs Optuna.*spikeloop\[search\]"):
        run_study(searched("tpe"), tmp_path / "out", stages=fake_stages())
    assert not (tmp_path / "out").exists()


def test_dry_run_counts_a_space_too_large_to_list() -> None:
    axes = {f"hw.{name}": {"range": [1, 64]} for name in ("neuron.lanes", "tile.pes_per_tile", "tile.crossbars_per_pe")}
    plan = dry_run(fake_study(space=axes, search=SearchSpec(sampler="tpe", evaluations=100)))
    assert plan.n_points == 64**3
    assert plan.n_evaluations == 100
    assert plan.n_infeasible is None
    assert min(plan.estimated_s, plan.memory_MB, plan.disk_MB) > 0
    with pytest.raises(ConfigError, match="262144 points, at most 100000"):
        dry_run(fake_study(space=axes))
