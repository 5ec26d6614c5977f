"""The ledger: what is committed stays, what is damaged is named."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.codesign import ledger_schema
from spikeloop.codesign.ledger import Ledger, Row, StageRow, create_ledger, open_ledger, pack_bits, unpack_bits
from spikeloop.simulator.errors import StudyError

STUDY = {"name": "one", "space": {"hw.adc.bits": [3, 4]}}


def make_row(index: int, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "index": index,
        "key": f"key{index}",
        "status": "ok",
        "reason": "",
        "values": {"hw.adc.bits": 3 + index, "hw.dataflow.loop": "layer_major"},
        "config": {"hardware": {"clock_GHz": 0.1}},
        "metrics": {"accuracy": {"value": 0.1 + 0.2, "n": 3, "ci95": [0.0, 1.0]}, "energy_fJ": 1e22},
        "correct": np.array([True, False, True]),
        "seeds": {"training": 1, "simulation": 2},
        "versions": {"model": "1"},
        "wall_s": 0.5,
        "cpu_s": 0.25,
        "tries": 1,
        "created_at": "2026-01-01T00:00:00.000+00:00",
    }
    return Row(**{**fields, **changes})


def test_rows_come_back_as_they_were_in_point_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with create_ledger(path, STUDY) as ledger:
        ledger.add([make_row(2), make_row(0, correct=None, status="infeasible", reason="no such design", metrics={})])
        ledger.add([make_row(1)])
    with open_ledger(path) as ledger:
        rows = ledger.rows()
    assert [row.index for row in rows] == [0, 1, 2]
    first, last = rows[0], rows[2]
    assert (first.status, first.reason, first.correct, dict(first.metrics)) == (
        "infeasible",
        "no such design",
        None,
        {},
    )
    expected = make_row(2)
    for name in ("key", "status", "values", "config", "metrics", "seeds", "versions", "wall_s", "cpu_s", "tries"):
        assert getattr(last, name) == getattr(expected, name), name
    assert last.correct is not None
    assert last.correct.tolist() == [True, False, True]
    assert list(last.values) == list(expected.values)


def test_a_point_cannot_be_recorded_twice_and_the_batch_is_all_or_nothing(tmp_path: Path) -> None:
    with create_ledger(tmp_path / "ledger.sqlite", STUDY) as ledger:
        ledger.add([make_row(0)])
        with pytest.raises(StudyError, match="refused"):
            ledger.add([make_row(1), make_row(0)])
        assert ledger.keys() == {"key0"}


def test_a_write_is_synchronous_and_in_the_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for ledger in (create_ledger(path, STUDY), open_ledger(path, read_only=False)):
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        ledger.close()


def test_digest_ignores_times_and_tries_but_not_results(tmp_path: Path) -> None:
    def digest(name: str, row: Row) -> str:
        with create_ledger(tmp_path / name, STUDY) as ledger:
            ledger.add([row])
            return ledger.digest()

    plain = digest("a", make_row(0))
    assert digest("b", make_row(0, wall_s=9.0, cpu_s=9.0, tries=3, created_at="later")) == plain
    assert digest("c", make_row(0, correct=np.array([True, True, True]))) != plain
    assert digest("d", make_row(0, status="failed")) != plain


def test_stages_are_kept_once(tmp_path: Path) -> None:
    teacher = StageRow(key="t", stage="teacher", values={}, notes={"accuracy": 0.9}, wall_s=1.0, cpu_s=2.0)
    student = StageRow(key="s", stage="student", values={"student.weight_bits": 2}, notes={}, wall_s=1.0, cpu_s=2.0)
    with create_ledger(tmp_path / "ledger.sqlite", STUDY) as ledger:
        for row in (student, teacher, StageRow(key="t", stage="teacher", values={}, notes={}, wall_s=0, cpu_s=0)):
            ledger.add_stage(row)
        assert ledger.stages() == (teacher, student)


def test_reader_sees_committed_rows_during_a_run_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with create_ledger(path, STUDY) as writer:
        writer.add([make_row(0)])
        with open_ledger(path) as reader:
            assert len(reader.rows()) == 1
            writer.add([make_row(1)])
            assert len(reader.rows()) == 2
            with pytest.raises(StudyError, match="readonly"):
                reader.add([make_row(2)])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty ledger"),
        (b"index,accuracy\n1,2\n" * 300, "not a database"),
        (b"SQLite format 3\0" + b"x" * 90, "ledger"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=sentence) as caught:
        open_ledger(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_foreign_sqlite_file_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StudyError, match="not a spikeloop ledger"):
        open_ledger(path, read_only=False)
    with pytest.raises(StudyError, match="not empty"):
        create_ledger(path, STUDY)
    assert path.read_bytes() == content


def test_a_missing_ledger_is_not_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such ledger"):
        open_ledger(tmp_path / "ledger.sqlite", read_only=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"), [("SCHEMAS", (77, 78), "schema 2"), ("MODEL_VERSION", 77, "model version")]
)
def test_another_schema_or_model_version_is_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, sentence: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    create_ledger(path, STUDY).close()
    monkeypatch.setattr(ledger_schema, name, value)
    with pytest.raises(StudyError, match=sentence):
        open_ledger(path, read_only=False)


def test_torn_log_keeps_a_prefix_of_the_commits(tmp_path: Path) -> None:
    """Every length of the log's tail: what opens holds rows 0..k without gaps, never garbage."""
    path = tmp_path / "ledger.sqlite"
    ledger = create_ledger(path, STUDY)
    ledger.add([make_row(0)])
    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for index in range(1, 4):
        ledger.add([make_row(index)])
    log = path.with_name("ledger.sqlite-wal").read_bytes()
    base = path.read_bytes()
    ledger.close()
    seen = set()
    for cut in range(0, len(log), 97):
        copy = tmp_path / f"cut{cut}" / "ledger.sqlite"
        copy.parent.mkdir()
        copy.write_bytes(base)
        copy.with_name("ledger.sqlite-wal").write_bytes(log[: len(log) - cut])
        with open_ledger(copy, read_only=False) as torn:
            indices = [row.index for row in torn.rows()]
            assert indices == list(range(len(indices)))
            seen.add(len(indices))
            torn.add([make_row(9)])
        shutil.rmtree(copy.parent)
    assert seen == {1, 2, 3, 4}


def test_torn_ledger_opens_whole_or_is_named(tmp_path: Path) -> None:
    path = tmp_path / "whole.sqlite"
    with create_ledger(path, STUDY) as ledger:
        ledger.add([make_row(index) for index in range(40)])
    whole = path.read_bytes()
    copy = tmp_path / "ledger.sqlite"
    for size in range(len(whole) - 4096, len(whole), 64):
        copy.write_bytes(whole[:size])
        with pytest.raises(StudyError, match=str(copy)):
            _read_all(copy)


def _read_all(path: Path) -> tuple[Row, ...]:
    with open_ledger(path) as ledger:
        return ledger.rows()


@given(bits=st.lists(st.booleans(), max_size=70))
@settings(max_examples=50, deadline=None)
def test_packed_bits_come_back(bits: list[bool]) -> None:
    correct = np.array(bits, dtype=bool)
    packed = pack_bits(correct)
    assert len(packed) == -(-len(bits) // 8)
    assert unpack_bits(packed, len(bits)).tolist() == bits


def test_a_ledger_is_closed_by_with(tmp_path: Path) -> None:
    with create_ledger(tmp_path / "ledger.sqlite", STUDY) as ledger:
        assert isinstance(ledger, Ledger)
    with pytest.raises(StudyError, match="closed"):
        ledger.rows()


SCHEMA_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE points (
    key TEXT PRIMARY KEY, point INTEGER NOT NULL UNIQUE, status TEXT NOT NULL, reason TEXT NOT NULL,
    axes TEXT NOT NULL, config TEXT NOT NULL, metrics TEXT NOT NULL, n_images INTEGER NOT NULL, correct BLOB,
    seeds TEXT NOT NULL, versions TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL, tries INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE stages (
    key TEXT NOT NULL, stage TEXT NOT NULL CHECK (stage IN ('teacher', 'student')), axes TEXT NOT NULL,
    notes TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (stage, key)
) STRICT;
"""


def older_ledger(path: Path) -> Path:
    """A ledger as version 0.1 wrote it: two points, one of them analytic, and a teacher."""
    create_ledger(path.with_name("new"), STUDY).close()
    with sqlite3.connect(path.with_name("new")) as new, sqlite3.connect(path) as old:
        old.executescript(SCHEMA_1)
        meta = dict(new.execute("SELECT name, value FROM meta").fetchall())
        old.executemany("INSERT INTO meta VALUES (?, ?)", {**meta, "schema": "1"}.items())
        rest = '"{}", "{}", 3, x\'a0\', "{}", "{}", 1.5, 1.0, 1, "2026-01-01"'.replace('"', "'")
        for point, config in ((0, "{}"), (1, '{"stage": "analytic"}')):
            text = rest.replace("'{}'", f"'{config}'", 1)
            old.execute(f"INSERT INTO points VALUES ('k{point}', {point}, 'ok', '', '{{}}', {text})")
        old.execute("INSERT INTO stages VALUES ('t', 'teacher', '{}', '{\"accuracy\": 0.9}', 1.0, 1.0, '2026-01-01')")
        (application,) = new.execute("PRAGMA application_id").fetchone()
        old.execute(f"PRAGMA application_id = {application}")
    new.close()
    old.close()
    return path


def test_an_older_ledger_is_read_as_it_is_and_brought_up_to_date_before_it_is_written(tmp_path: Path) -> None:
    path = older_ledger(tmp_path / "ledger.sqlite")
    with open_ledger(path) as ledger:
        assert ledger.meta()["schema"] == 1
        digest = ledger.digest()
        assert [(row.index, row.stage) for row in ledger.rows()] == [(0, "full"), (1, "analytic")]
        assert ledger.find(["k1"])["k1"].stage == "analytic"
    with open_ledger(path, read_only=False) as ledger:
        assert ledger.meta()["schema"] == 2
        assert ledger.digest() == digest
        assert [row.notes for row in ledger.stages()] == [{"accuracy": 0.9}]
        ledger.add([make_row(0, config={"stage": "ptq"}, key="another")])
        assert [(row.index, row.stage) for row in ledger.rows()] == [(0, "ptq"), (0, "full"), (1, "analytic")]
        assert [row.key for row in ledger.rows(stage="ptq")] == ["another"]
        with pytest.raises(StudyError, match="refused"):
            ledger.add([make_row(0, key="a third")])
        ledger.add_stage(StageRow(key="p", stage="ptq", values={}, notes={}, wall_s=0.0, cpu_s=0.0))
