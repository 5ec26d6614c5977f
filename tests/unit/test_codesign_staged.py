"""Studies in stages, without training and simulation: who goes on, what is shared, and what is refused."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from oracles.fake_study import FakeTraining, fake_stages, fake_study, read_notes

from spikeloop.codesign import space, study
from spikeloop.codesign.explore import StudySummary, run_study
from spikeloop.codesign.ledger import Row, open_ledger
from spikeloop.codesign.plan import PointPlanner, make_plan, technology_hash_of
from spikeloop.codesign.space import compile_space
from spikeloop.codesign.stage_spec import StageSpec
from spikeloop.codesign.staged import promoted_from
from spikeloop.codesign.study import StudyConfig, resolve_study, study_yaml
from spikeloop.simulator.errors import ConfigError, SimulationError
from spikeloop.simulator.spec import validate_spec

STAGES = [
    {"stage": "ptq", "promote": {"margin": 0.6, "at_most": 12}},
    {"stage": "short", "epochs": 2, "promote": {"margin": 0.6, "at_most": 5}},
    {"stage": "full"},
]


class StagedTraining(FakeTraining):
    epochs: int = 6
    lr: float = 0.1
    frozen_epochs: int = 3
    hardware: dict[str, Any] | None = None


@pytest.fixture(autouse=True)
def staged_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: StagedTraining)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def config(**changes: Any) -> StudyConfig:
    return fake_study(**{"stages": STAGES, **changes})


def run(out: Path, wanted: StudyConfig | None = None, **options: Any) -> StudySummary:
    return run_study(wanted or config(), out, stages=fake_stages(), **options)


def rows_of(out: Path, stage: str | None = None) -> tuple[Row, ...]:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return ledger.rows(stage=stage)


def digest_of(out: Path) -> str:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return ledger.digest()


def test_every_stage_gets_what_the_one_before_promoted_and_says_its_name(tmp_path: Path, log: Path) -> None:
    summary = run(tmp_path)
    by_stage = {stage: rows_of(tmp_path, stage) for stage in ("ptq", "short", "full")}
    assert {stage: len(rows) for stage, rows in by_stage.items()} == {"ptq": 36, "short": 12, "full": 5}
    assert {row.index for row in by_stage["full"]} < {row.index for row in by_stage["short"]}
    resolved = resolve_study(config())
    design = compile_space(resolved)
    for here, following in (("ptq", "short"), ("short", "full")):
        spec = next(item for item in resolved.stages if item.stage == here)
        found = promoted_from(resolved, design, spec, by_stage[here], 0.99)
        assert found == tuple(row.index for row in by_stage[following])
    assert (summary.n_ok, summary.n_missing) == (5, 0)
    lines = (tmp_path / "front.csv").read_text().splitlines()
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"full"}
    lines = (tmp_path / "front-ptq.csv").read_text().splitlines()
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"ptq"}
    # Four networks without training; a student of each kind for those that went on.
    assert len([name for kind, name in read_notes(log) if kind == "student"]) == 4 + len(
        {
            row.config["student"]["quantisation"]["weight_bits"] * 100
            + row.config["student"]["quantisation"]["membrane_bits"]
            for row in by_stage["short"]
        }
    ) + len({str(row.config["student"]) for row in by_stage["full"]})
    assert by_stage["short"][0].config["student"]["epochs"] == 2
    assert by_stage["short"][0].config["student"]["frozen_epochs"] == 1


def test_two_workers_give_the_same_ledger_and_fronts(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", workers=2)
    assert digest_of(tmp_path / "two") == digest_of(tmp_path / "one")
    for name in ("front.csv", "front-ptq.csv", "front-short.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("lost", ["stage != 'ptq' OR point > 20", "stage = 'full'", "stage = 'full' AND point > 12"])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, log: Path, lost: str) -> None:
    run(tmp_path / "whole")
    expected = (tmp_path / "whole" / "front.csv").read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    with sqlite3.connect(tmp_path / "cut" / "ledger.sqlite") as ledger:
        n_lost = ledger.execute(f"DELETE FROM points WHERE {lost}").rowcount
        if "ptq" in lost:
            ledger.execute("DELETE FROM meta WHERE name LIKE 'promoted%'")
    ledger.close()
    log.unlink()
    summary = run(tmp_path / "cut", resume=True)
    assert len([kind for kind, _ in read_notes(log) if kind == "point"]) == n_lost > 0
    assert summary.n_resumed == 53 - n_lost
    assert digest_of(tmp_path / "cut") == digest_of(tmp_path / "whole")
    assert (tmp_path / "cut" / "front.csv").read_bytes() == expected


def test_a_full_result_has_the_key_of_a_study_without_stages(tmp_path: Path) -> None:
    run(tmp_path)
    plain = {planned.point.index: planned.key for planned in make_plan(resolve_study(fake_study())).points}
    assert all(plain[row.index] == row.key for row in rows_of(tmp_path, "full"))
    keys = [row.key for row in rows_of(tmp_path)]
    assert len(set(keys)) == len(keys)


def test_a_search_learns_from_the_first_stage(tmp_path: Path) -> None:
    search = {"sampler": "nsga2", "evaluations": 24, "batch": 8, "seed": 3}
    pytest.importorskip("optuna")
    run(tmp_path, config(search=search))
    assert 8 <= len(rows_of(tmp_path, "ptq")) <= 24
    assert len(rows_of(tmp_path, "full")) <= 5
    before = digest_of(tmp_path)
    assert run(tmp_path, config(search=search), resume=True).n_missing == 0
    assert digest_of(tmp_path) == before


def planner(wanted: StudyConfig, stage: str) -> tuple[PointPlanner, Any]:
    resolved = resolve_study(wanted)
    design = compile_space(resolved)
    spec = next((item for item in resolved.stages if item.stage == stage), StageSpec(stage="full"))
    return PointPlanner(study=resolved, space=design, technology_hash=technology_hash_of(design), stage=spec), design


@pytest.mark.parametrize("stage", ["ptq", "short", "full"])
def test_adc_bits_never_retrain_unless_training_knows_the_hardware(stage: str) -> None:
    axes = {"hw.adc.bits": {"range": [3, 5]}}
    aware = {"role": "student", "quantisation": {}, "hardware": {"noise": 1}}
    for changes, n_students in (({}, 1), ({"student": aware}, 1 if stage == "ptq" else 3)):
        plans, design = planner(config(space=axes, **changes), stage)
        planned = [plans.plan(point) for point in design.points()]
        assert len({student.key for _, student in planned if student is not None}) == n_students
        assert len({plan.key for plan, _ in planned}) == 3
        bits = [student.hardware["adc"]["bits"] for _, student in planned if student is not None and student.hardware]
        assert bits == ([3, 4, 5] if n_students == 3 else [])


def test_what_only_training_reads_does_not_quantise_anew() -> None:
    keys = []
    for epochs, weight_bits in ((6, 4), (9, 4), (6, 3)):
        student = {"role": "student", "quantisation": {"weight_bits": weight_bits}, "epochs": epochs}
        plans, design = planner(config(student=student, space={"hw.adc.bits": [3]}), "ptq")
        found = plans.plan(next(design.points()))[1]
        assert found is not None
        keys.append(found.key)
    assert keys[0] == keys[1] != keys[2]


def test_bounds_of_the_accuracy_wait_for_a_stage_that_has_one() -> None:
    wanted = resolve_study(
        config(
            stages=[{"stage": "cycle", "promote": {}}, {"stage": "full"}],
            constraints=[{"metric": "accuracy", "at_least": 0.9}, {"metric": "area_um2", "at_most": 15}],
        )
    )
    design = compile_space(wanted)
    blank = {"accuracy": {"value": None, "n": 0, "ci95": None}, "edap_J_s_mm2": 1.0}
    some = list(design.points())[:3]
    rows = [
        Row(
            index=point.index, key=f"k{i}", status="ok", reason="", values=point.values, config={"stage": "cycle"},
            metrics={**blank, "area_um2": area}, correct=None, seeds={}, versions={}, wall_s=0.0, cpu_s=0.0, tries=1,
            created_at="",
        )
        for i, (point, area) in enumerate(zip(some, (10.0, 20.0, 12.0), strict=True))
    ]  # fmt: skip
    # Other ADC bits compute other things: without an accuracy neither of them beats the other.
    assert promoted_from(wanted, design, wanted.stages[0], rows, None) == (0, 2)
    assert [str(item) for item in wanted.constraints_of("cycle")] == ["area_um2 at_most 15"]


def test_nothing_to_promote_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no point of stage ptq has a result that keeps the constraints"):
        run(tmp_path, config(constraints=[{"metric": "area_um2", "at_most": 0.001}]))
    assert len(rows_of(tmp_path, "ptq")) == 36


def test_stages_are_written_and_read_back(tmp_path: Path) -> None:
    from spikeloop.codesign.study import read_study_folder

    resolved = resolve_study(config())
    (tmp_path / "study.yaml").write_text(study_yaml(resolved))
    assert read_study_folder(tmp_path) == resolved
    assert "stages" not in resolve_study(fake_study()).resolved()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stages": [STAGES[2], STAGES[0]]}, "got full, ptq; each at most once, in the order analytic, cycle, ptq"),
        ({"stages": [{"stage": "ptq"}, {"stage": "full"}]}, "ptq promotes nothing to the next stage; give promote"),
        ({"stages": [{"stage": "full", "promote": {}}]}, "full is the last one"),
        ({"stages": [{"stage": "short", "promote": {}}, {"stage": "full"}]}, "stage short needs epochs"),
        ({"stages": [{"stage": "full", "epochs": 3}]}, "stage full takes no epochs"),
        ({"stages": [{"stage": "short", "epochs": 6}]}, "short of 6 epochs is not shorter than the student's 6"),
        ({"stages": [{"stage": "full", "settle_images": 3}]}, "full takes no settle_images"),
        ({"stages": [{"stage": "half"}]}, "analytic"),
        ({"stages": [{"stage": "ptq", "promote": {"margin": 2.0}}, {"stage": "full"}]}, "margin"),
        ({"stages": [{"stage": "cycle"}]}, "cycle is the last one and has no accuracy; end with ptq"),
        (
            {"stages": [{"stage": "cycle", "promote": {}}, {"stage": "full"}],
             "objectives": [{"metric": "accuracy", "goal": "max"}]},
            "cycle has no accuracy, the only objective",
        ),
        (
            {"stages": [{"stage": "cycle", "promote": {}}, {"stage": "full"}],
             "search": {"sampler": "tpe", "evaluations": 5}},
            "tpe learns from the first stage and cycle has no accuracy",
        ),
    ],
)  # fmt: skip
def test_wrong_stages_are_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    fields = {**fake_study().resolved(), "stages": STAGES, **changes}
    with pytest.raises(ConfigError, match=sentence) as caught:
        resolve_study(validate_spec(StudyConfig, fields, where="s.yaml"), where="s.yaml")
    assert "\n" not in str(caught.value)
