"""Study files and the driver: same outputs for any number of workers, errors stay where they belong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles.fake_study import HARDWARE, FakeTraining, fake_stages, fake_study, read_notes

from spikeloop.codesign import space, study
from spikeloop.codesign.dry_run import dry_run
from spikeloop.codesign.explore import BATCH, ProgressEvent, StudySummary, run_study
from spikeloop.codesign.ledger import Row, open_ledger
from spikeloop.codesign.plan import make_plan
from spikeloop.codesign.study import StudyConfig, load_study, read_study_folder, resolve_study, study_yaml
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.spec import validate_spec


@pytest.fixture(autouse=True)
def fake_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: FakeTraining)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def run(out: Path, config: StudyConfig | None = None, **options: Any) -> StudySummary:
    return run_study(config or fake_study(), out, stages=fake_stages(), **options)


def rows_of(out: Path) -> tuple[Row, ...]:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return ledger.rows()


def digest_of(out: Path) -> str:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return ledger.digest()


def names(log: Path, kind: str) -> list[str]:
    return [name for found, name in read_notes(log) if found == kind]


def write_study(path: Path, **changes: Any) -> Path:
    fields = {key: value for key, value in fake_study().resolved().items() if key != "objectives"}
    # Through JSON, which has no aliases.
    path.write_text(yaml.safe_dump(json.loads(json.dumps({**fields, **changes}))))
    return path


def test_a_study_file_is_read_and_written_back_unchanged(tmp_path: Path) -> None:
    loaded = load_study(str(write_study(tmp_path / "s.yaml")))
    assert loaded == resolve_study(fake_study())
    (tmp_path / "study.yaml").write_text(study_yaml(loaded))
    again = read_study_folder(tmp_path)
    assert again == loaded
    assert again.content_hash() == loaded.content_hash()


@pytest.mark.parametrize("text", ["on", "1e-3", "2026-01-01", "12:30", "null", "a: b", "", " x", "1_000", "é", "0.5"])
def test_any_text_survives_the_strict_reader(tmp_path: Path, text: str) -> None:
    config = resolve_study(fake_study(name=text or "!", hardware={**HARDWARE, "clock_GHz": 1e-7}))
    (tmp_path / "study.yaml").write_text(study_yaml(config))
    assert read_study_folder(tmp_path) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"imagez": 3}, r"imagez: unknown field; did you mean 'images'\?"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"schema_version": 2}, "schema_version"),
        ({"search": "magic"}, "no sampler 'magic'; allowed: grid, exhaustive"),
        ({"space": {}}, "space"),
        ({"space": {"hw.adc.bits": {"range": [5, 3]}}}, "is empty"),
        ({"space": {"hw.adc.bits": {"range": [1, 10**15]}}}, "more than 100000 values"),
        ({"space": {"hw.adc.bits": {"log2": [3, 8]}}}, "powers of two"),
        ({"space": {"hw.adc.bitz": [3]}}, r"did you mean 'hw.adc.bits'\?"),
        ({"objectives": [{"metric": "energy_pJ", "goal": "min"}]}, "no metric 'energy_pJ'; did you mean 'energy_fJ'"),
        ({"objectives": [{"metric": "tops", "goal": "max"}] * 2}, "given twice"),
        ({"hardware": "no_such_preset"}, "no_such_preset: neither a file nor a preset"),
        ({"hardware": {**HARDWARE, "clock": 1}}, "clock: unknown field"),
        ({"dataset": "other"}, "dataset is 'digits', this study needs 'other'"),
        ({"teacher": {"role": "student"}}, "role is 'student', this study needs 'teacher'"),
    ],
)
def test_a_wrong_study_file_is_one_sentence_that_names_the_file(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write_study(tmp_path / "s.yaml", **changes)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_study(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["range", "log2", "step", "kind", "x"]), st.integers(-1, 70), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


@given(data=st.data(), junk=_JUNK)
@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_study_with_junk_anywhere_loads_or_is_refused_in_one_sentence(data: st.DataObject, junk: Any) -> None:
    fields = resolve_study(fake_study()).resolved()
    *folders, last = data.draw(st.sampled_from(list(_places(fields))))
    record = fields
    for name in folders:
        record = record[name]
    record[last] = junk
    sentence = ""
    try:
        make_plan(resolve_study(validate_spec(StudyConfig, fields, where="s.yaml"), where="s.yaml"))
    except ConfigError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 2000


def test_presets_are_found_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(HARDWARE))
    loaded = load_study(str(write_study(tmp_path / "s.yaml", hardware="mine.yaml")))
    assert isinstance(loaded.hardware, dict)
    assert loaded.hardware["crossbar"]["rows"] == 64


def test_a_run_fills_the_folder(tmp_path: Path, log: Path) -> None:
    events: list[ProgressEvent] = []
    summary = run(tmp_path / "out", progress=events.append)
    assert (summary.n_ok, summary.n_infeasible, summary.n_failed, summary.n_missing) == (36, 0, 0, 0)
    assert not summary.interrupted
    assert summary.choice is not None
    assert {entry.name for entry in (tmp_path / "out").iterdir()} >= {"study.yaml", "ledger.sqlite", "front.csv"}
    assert names(log, "teacher") == ["teacher"]
    assert len(names(log, "student")) == 4
    assert sorted(map(int, names(log, "point"))) == list(range(36))
    assert [event.done for event in events if event.stage == "points"][-1] == 36
    rows = rows_of(tmp_path / "out")
    assert {"model", "python", "numpy"} <= rows[0].versions.keys()
    assert rows[0].config["hardware"]["crossbar"]["rows"] == 32
    assert rows[0].config["student"]["quantisation"] == {"weight_bits": 2, "membrane_bits": 2}
    assert rows[0].seeds == {"training": 1, "simulation": 1}


def test_two_workers_give_the_same_front_and_the_same_ledger(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", workers=2)
    assert (tmp_path / "two" / "front.csv").read_bytes() == (tmp_path / "one" / "front.csv").read_bytes()
    assert digest_of(tmp_path / "two") == digest_of(tmp_path / "one")
    assert (tmp_path / "two" / "study.yaml").read_bytes() == (tmp_path / "one" / "study.yaml").read_bytes()


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "calm")
    monkeypatch.setenv("FAKE_POISON_ONCE", f"7:{tmp_path / 'marker'}")
    summary = run(tmp_path / "out", workers=2)
    assert (tmp_path / "marker").exists()
    assert summary.n_ok == 36
    assert digest_of(tmp_path / "out") == digest_of(tmp_path / "calm")
    tries = {row.index: row.tries for row in rows_of(tmp_path / "out")}
    assert tries[7] == 2
    assert max(tries.values()) == 2


def test_a_point_that_kills_its_worker_three_times_is_failed_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setenv("FAKE_POISON", "7")
    summary = run(tmp_path / "out", workers=2)
    assert (summary.n_ok, summary.n_failed) == (35, 1)
    bad = rows_of(tmp_path / "out")[7]
    assert (bad.status, bad.tries) == ("failed", 3)
    assert "died 3 times" in bad.reason
    assert names(log, "point").count("7") == 3
    assert run(tmp_path / "out", resume=True).n_failed == 1
    assert names(log, "point").count("7") == 3


def test_an_exception_in_a_point_is_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_RAISE", "5")
    summary = run(tmp_path / "out")
    assert (summary.n_ok, summary.n_failed) == (35, 1)
    assert rows_of(tmp_path / "out")[5].reason == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_student_that_cannot_be_trained_fails_its_points_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("FAKE_BAD_STUDENT", "4")
    summary = run(tmp_path / "out", workers=workers)
    assert (summary.n_ok, summary.n_failed) == (18, 18)
    assert {row.reason for row in rows_of(tmp_path / "out") if row.status == "failed"} == {
        "its student could not be trained: the loss is not finite"
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_a_student_that_the_trainer_refuses_makes_infeasible_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("FAKE_WRONG_STUDENT", "4")
    summary = run(tmp_path / "out", workers=workers)
    assert (summary.n_ok, summary.n_infeasible, summary.n_failed) == (18, 18, 0)
    assert "match them" in rows_of(tmp_path / "out")[35].reason


def test_a_study_without_a_possible_point_is_refused_and_writes_nothing(tmp_path: Path, log: Path) -> None:
    study = fake_study(space={"hw.crossbar.cols": [33, 65], "hw.adc.bits": [3]})
    with pytest.raises(ConfigError, match=r"none of its 2 points is possible.*crossbar\.cols=33"):
        run_study(study, tmp_path / "out", stages=fake_stages())
    assert not (tmp_path / "out").exists()


def test_infeasible_points_are_recorded_and_cost_no_student(tmp_path: Path, log: Path) -> None:
    axes = {"hw.crossbar.cols": [48, 40], "hw.adc.columns_per_adc": [16, 8]}
    summary = run(tmp_path / "out", fake_study(space=axes))
    assert (summary.n_ok, summary.n_infeasible) == (3, 1)
    assert "not a multiple" in rows_of(tmp_path / "out")[2].reason
    assert sorted(names(log, "point")) == ["0", "1", "3"]


def test_resuming_a_finished_study_runs_nothing(tmp_path: Path, log: Path) -> None:
    run(tmp_path / "out")
    started = read_notes(log)
    front = (tmp_path / "out" / "front.csv").read_bytes()
    summary = run(tmp_path / "out", resume=True)
    assert (summary.n_ok, summary.n_resumed) == (36, 36)
    assert read_notes(log) == started
    assert (tmp_path / "out" / "front.csv").read_bytes() == front


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "-shm" not in path.name}


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_holds_another_study_is_refused_and_unchanged(tmp_path: Path, resume: bool) -> None:
    run(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(StudyError, match=r"holds another study \('fake'; images is 100 there and 50 here\); give"):
        run(tmp_path / "out", fake_study(images=50), resume=resume)
    assert contents(tmp_path / "out") == before


def test_the_same_study_needs_resume(tmp_path: Path) -> None:
    run(tmp_path / "out")
    with pytest.raises(StudyError, match="--resume"):
        run(tmp_path / "out")


def test_a_study_file_edited_after_the_start_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "out")
    path = tmp_path / "out" / "study.yaml"
    path.write_text(path.read_text().replace("images: 100", "images: 99"))
    with pytest.raises(StudyError, match="another study"):
        run(tmp_path / "out", resume=True)


def test_a_damaged_ledger_is_refused_and_unchanged(tmp_path: Path) -> None:
    run(tmp_path / "out")
    path = tmp_path / "out" / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:-1000])
    before = contents(tmp_path / "out")
    with pytest.raises(StudyError, match="damaged"):
        run(tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == before


def test_a_driver_that_died_before_its_first_table_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.yaml").write_text(study_yaml(resolve_study(fake_study())))
    (out / "ledger.sqlite").touch()
    (out / "cache" / ".student-0.123").mkdir(parents=True)
    assert run(out, resume=True).n_ok == 36
    assert list((out / "cache").glob(".*")) == []


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    seen: list[str] = []

    def second_driver(event: ProgressEvent) -> None:
        if event.stage == "teacher" and not seen:
            with pytest.raises(StudyError, match="another run") as caught:
                run(tmp_path / "out", resume=True)
            seen.append(str(caught.value))

    assert run(tmp_path / "out", progress=second_driver).n_ok == 36
    assert len(seen) == 1


def test_nothing_is_written_for_a_wrong_study(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run(tmp_path / "out", fake_study(space={"hw.adc.bits": [99]}))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyError, match="is a file"):
        run(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_dry_run_counts_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = dry_run(fake_study(), workers=1)
    assert (plan.n_points, plan.n_infeasible, plan.n_students) == (36, 0, 4)
    assert plan.estimated_s > dry_run(fake_study(), workers=2).estimated_s > 0
    assert list(tmp_path.iterdir()) == []


def test_work_is_cut_alike_for_any_number_of_workers() -> None:
    assert BATCH == 4
