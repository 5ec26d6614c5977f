"""The record of a study: one SQLite file, one writer, finished means committed."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.version import MODEL_VERSION

from .ledger_schema import (
    APPLICATION_ID,
    SCHEMA,
    TABLES,
    check_file,
    check_length,
    check_versions,
    damage_named,
    is_empty,
    migrate,
)

Status = Literal["ok", "infeasible", "failed", "timeout"]
Value = int | float | str | bool
#: What is prepared before points are evaluated: networks that are trained, or quantised without training.
Preparation = Literal["teacher", "student", "ptq"]

#: Rows whose columns are read at once: some megabytes of text.
TEXT_ROWS = 5_000

_POINT_COLUMNS = (
    "key, point, stage, status, reason, axes, config, metrics, n_images, correct, seeds, versions, "
    "wall_s, cpu_s, tries, created_at"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One finished point of a study.

    Attributes:
        index: place of the point in the study's fixed order.
        key: sha256 of everything that the result depends on.
        status: ``ok``; ``infeasible`` (no such hardware); ``failed``; ``timeout``.
        reason: why the point is not ``ok``, one sentence; empty if it is.
        values: axis name -> value of this point, in the order of the axes.
        config: resolved configuration: ``{"hardware": ..., "student": ..., ...}``.
        metrics: the object of ``spikeloop simulate --json``; empty unless ``ok``.
        correct: (n_images,) bool, which images were classified rightly; None without labels or result.
        seeds: ``{"training": ..., "simulation": ...}``.
        versions: packages, model version, network hash, git commit.
        wall_s: wall time of the evaluation.
        cpu_s: CPU time of the evaluation.
        tries: how often the point was started; more than 1 if a worker died under it.
        created_at: UTC time of the commit, ISO 8601.
    """

    index: int
    key: str
    status: Status
    reason: str
    values: Mapping[str, Value]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    correct: NDArray[np.bool_] | None
    seeds: Mapping[str, int]
    versions: Mapping[str, str]
    wall_s: float
    cpu_s: float
    tries: int
    created_at: str

    @property
    def stage(self) -> str:
        """Where these figures come from: ``full`` unless ``config`` says another one (docs/studies.md, "Stages")."""
        return str(self.config.get("stage", "full"))


class Texts(NamedTuple):
    """Some rows of the ledger, each column one text whose values are separated by commas.

    ``rows`` are numbers that ``rows_at`` takes; ``axes`` are JSON objects; ``metrics`` JSON lists of numbers, null for
    what is not there.
    """

    n_rows: int
    rows: str
    points: str
    statuses: str
    stages: str
    axes: str
    metrics: str


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One finished preparation: the teacher or a student.

    Attributes:
        key: content hash; the folder is ``cache/<stage>-<first 16 digits of key>``.
        stage: ``teacher``, ``student`` (trained), or ``ptq`` (the teacher's weights, quantised).
        values: student axes of a student, empty for the teacher.
        notes: what the trainer reports, e.g. ``{"accuracy": 0.97, "n": 360}``.
        wall_s: wall time spent.
        cpu_s: CPU time spent.
    """

    key: str
    stage: Preparation
    values: Mapping[str, Value]
    notes: Mapping[str, Any]
    wall_s: float
    cpu_s: float


class Ledger:
    """An open ledger; made by ``create_ledger`` or ``open_ledger``, closed by ``close`` or ``with``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        # Schema 1 has no column of stages: its rows say theirs in ``config``, and only if it is not ``full``.
        (n,) = connection.execute("SELECT count(*) FROM pragma_table_info('points') WHERE name = 'stage'").fetchone()
        self._stage = "stage" if n else "coalesce(json_extract(config, '$.stage'), 'full')"
        self._columns = _POINT_COLUMNS if n else _POINT_COLUMNS.replace(" stage,", " 'full',")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was added is committed already."""
        self._connection.close()

    def rows(self, limit: int | None = None, *, stage: str | None = None) -> tuple[Row, ...]:
        """Every finished point (or the first ``limit``), in the order of the index; of one ``stage`` or of all."""
        chosen = "" if stage is None else f"WHERE {self._stage} = ? "
        query = f"SELECT {self._columns} FROM points {chosen}ORDER BY point, key LIMIT ?"
        with damage_named(self.path):
            limits = (-1 if limit is None else limit,)
            cursor = self._connection.execute(query, limits if stage is None else (stage, *limits))
            read = _Reader()
            return tuple(_row(record, read) for record in cursor)

    def stream(self) -> Iterator[Row]:
        """Every finished point in the order of the index, one after the other."""
        with damage_named(self.path):
            read = _Reader()
            for record in self._connection.execute(f"SELECT {self._columns} FROM points ORDER BY point, key"):
                yield _row(record, read)

    def find(self, keys: Iterable[str]) -> dict[str, Row]:
        """Finished points by key; keys that are not there are left out."""
        query = f"SELECT {self._columns} FROM points WHERE key = ?"
        with damage_named(self.path):
            records = (self._connection.execute(query, (key,)).fetchone() for key in dict.fromkeys(keys))
            read = _Reader()
            return {record[0]: _row(record, read) for record in records if record is not None}

    def rows_at(self, rows: Iterable[int]) -> tuple[Row, ...]:
        """Finished points by row of the table, as ``texts`` tells it, in the order of ``rows``."""
        query = f"SELECT {self._columns} FROM points WHERE rowid = ?"
        with damage_named(self.path):
            records = (self._connection.execute(query, (int(row),)).fetchone() for row in rows)
            read = _Reader()
            return tuple(_row(record, read) for record in records)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside shows the ledger of one moment, also while a run writes it."""
        with damage_named(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def reasons(self) -> tuple[tuple[Status, str, int, int], ...]:
        """(status, reason, number of points, first point) of what has no result, the most frequent first."""
        query = (
            "SELECT status, reason, count(*), min(point) FROM points WHERE status != 'ok' "
            "GROUP BY status, reason ORDER BY count(*) DESC, min(point)"
        )
        with damage_named(self.path):
            return tuple(self._connection.execute(query).fetchall())

    def texts(self, paths: Sequence[str], *, axes: bool = True) -> Iterator[Texts]:
        """Columns of all points as text, some thousand rows at a time in the order of the file.

        SQLite cuts the numbers at ``paths`` (one or more) out of the metrics as they are written, many times faster
        than Python reads whole records. Without ``axes`` their text is empty.
        """
        if sqlite3.sqlite_version_info < (3, 38):
            raise StudyError(f"SQLite {sqlite3.sqlite_version} is too old for this; it needs 3.38 or newer")
        # Asked for two numbers or more, SQLite gives the list of their texts; of one it would make a value of its own.
        asked = ", ".join(f"'$.{path}'" for path in (paths if len(paths) > 1 else 2 * tuple(paths)))
        wanted = ("rowid", "point", "status", self._stage, "axes" if axes else "''", f"json_extract(metrics, {asked})")
        lists = ", ".join(f"group_concat({part})" for part in wanted)
        # By rowid, not by point: an index would send SQLite to the pages of the file one row after the other.
        query = f"SELECT count(*), {lists} FROM points WHERE rowid >= ? AND rowid < ?"
        with damage_named(self.path):
            first, last = self._connection.execute("SELECT min(rowid), max(rowid) FROM points").fetchone()
            for start in range(first or 0, -1 if last is None else last + 1, TEXT_ROWS):
                texts = Texts(*self._connection.execute(query, (start, start + TEXT_ROWS)).fetchone())
                if texts.n_rows:
                    yield texts

    def keys(self) -> frozenset[str]:
        """Keys of every finished point."""
        with damage_named(self.path):
            return frozenset(key for (key,) in self._connection.execute("SELECT key FROM points"))

    def stages(self) -> tuple[StageRow, ...]:
        """Every finished preparation, teacher first, then by key."""
        query = "SELECT key, stage, axes, notes, wall_s, cpu_s FROM stages ORDER BY stage DESC, key"
        with damage_named(self.path):
            return tuple(
                StageRow(
                    key=key,
                    stage=stage,
                    values=json.loads(axes),
                    notes=json.loads(notes),
                    wall_s=wall_s,
                    cpu_s=cpu_s,
                )
                for key, stage, axes, notes, wall_s, cpu_s in self._connection.execute(query)
            )

    def meta(self) -> dict[str, Any]:
        """``schema``, ``study`` (resolved study as a dict), ``study_hash``, ``model_version``."""
        with damage_named(self.path):
            records = self._connection.execute("SELECT name, value FROM meta ORDER BY name").fetchall()
        return {name: json.loads(value) for name, value in records}

    def keep_note(self, name: str, value: Any) -> Any:
        """Store a fact about the study once; returns what is stored, an older value if there is one."""
        with damage_named(self.path), self._connection:
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, _dump(value)))
        return self.meta()[name]

    def add(self, rows: Iterable[Row]) -> None:
        """Commit finished points in one transaction.

        Raises:
            StudyError: the disk is full, or a point is there already; nothing of ``rows`` is stored.
        """
        marks = ", ".join("?" * len(_POINT_COLUMNS.split(",")))
        with damage_named(self.path), self._connection:
            self._connection.executemany(
                f"INSERT INTO points ({_POINT_COLUMNS}) VALUES ({marks})", [_record(row) for row in rows]
            )

    def add_stage(self, row: StageRow) -> None:
        """Commit a finished preparation; one that is there already stays as it is."""
        record = (row.key, row.stage, _dump(row.values), _dump(row.notes), row.wall_s, row.cpu_s, utc_now())
        with damage_named(self.path), self._connection:
            self._connection.execute("INSERT OR IGNORE INTO stages VALUES (?, ?, ?, ?, ?, ?, ?)", record)

    def digest(self) -> str:
        """sha256 of all results: everything but times, tries and dates."""
        return canonical_hash(
            [
                {
                    "key": row.key,
                    "index": row.index,
                    "status": row.status,
                    "values": dict(row.values),
                    "metrics": dict(row.metrics),
                    "correct": None if row.correct is None else np.packbits(row.correct).tobytes().hex(),
                }
                for row in self.rows()
            ]
        )


def create_ledger(path: Path, study: Mapping[str, Any]) -> Ledger:
    """New ledger of a resolved study; a file that a killed run left without tables is taken over.

    Raises:
        StudyError: the file holds something already, or cannot be written.
    """
    with damage_named(path):
        connection = sqlite3.connect(path, isolation_level="DEFERRED", timeout=30)
        try:
            if not is_empty(connection):
                raise StudyError(f"{path}: exists and is not empty; give another --out folder, or --resume")
            _durable(connection)
            _write_tables(connection, study)
        except BaseException:
            connection.close()
            raise
    return Ledger(path, connection)


def open_ledger(path: Path, *, read_only: bool = True, check_pages: bool = True) -> Ledger:
    """Ledger that exists; may be read while a run writes it.

    ``check_pages`` goes through the whole file (a second or two a gigabyte); without it, damage shows when it is read.

    Raises:
        StudyError: missing, torn, not a ledger, or of another schema or model version; the sentence says which.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such ledger; give the --out folder of a study")
    check_length(path)
    # A reader also opens for writing where it may, to clear the log files away when it closes.
    mode = "mode=rw" if os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
    with damage_named(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=30)
        try:
            check_file(path, connection, pages=check_pages)
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                _durable(connection)
            check_versions(path, Ledger(path, connection).meta(), read_only=read_only)
            if not read_only and Ledger(path, connection).meta()["schema"] != SCHEMA:
                migrate(connection)
            ledger = Ledger(path, connection)
        except BaseException:
            connection.close()
            raise
    return ledger


def is_unwritten(path: Path) -> bool:
    """Whether a killed run left no table in the file yet (or no file at all)."""
    if not path.exists() or path.stat().st_size == 0:
        return True
    with damage_named(path), closing(sqlite3.connect(path)) as connection:
        return is_empty(connection)


def pack_bits(correct: NDArray[np.bool_]) -> bytes:
    """Eight images a byte, first image in the highest bit."""
    return np.packbits(correct).tobytes()


def unpack_bits(packed: bytes, n_images: int) -> NDArray[np.bool_]:
    """Inverse of ``pack_bits``; (n_images,) bool."""
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=n_images).astype(np.bool_)


def utc_now() -> str:
    """Time for ``created_at``."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _durable(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _write_tables(connection: sqlite3.Connection, study: Mapping[str, Any]) -> None:
    meta = {
        "schema": SCHEMA,
        "study": dict(study),
        "study_hash": canonical_hash(dict(study)),
        "model_version": MODEL_VERSION,
        "created_at": utc_now(),
    }
    # One transaction: after a kill there is the whole schema with its meta data, or nothing.
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [(name, _dump(value)) for name, value in meta.items()])
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.commit()


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _record(row: Row) -> tuple[Any, ...]:
    return (
        row.key,
        row.index,
        row.stage,
        row.status,
        row.reason,
        _dump(dict(row.values)),
        _dump(dict(row.config)),
        _dump(dict(row.metrics)),
        0 if row.correct is None else int(row.correct.size),
        None if row.correct is None else pack_bits(row.correct),
        _dump(dict(row.seeds)),
        _dump(dict(row.versions)),
        row.wall_s,
        row.cpu_s,
        row.tries,
        row.created_at,
    )


class _Reader(dict[str, Any]):
    """JSON texts and what they say: most rows of a study share versions and seeds, in a sweep the whole ``config``."""

    def __missing__(self, text: str) -> Any:
        value = self[text] = json.loads(text)
        return value


def _row(record: tuple[Any, ...], read: _Reader) -> Row:
    key, index, _, status, reason, axes, config, metrics, n_images, correct, seeds, versions, *rest = record
    wall_s, cpu_s, tries, created_at = rest
    return Row(
        index=index,
        key=key,
        status=status,
        reason=reason,
        values=json.loads(axes),
        config=read[config],
        metrics=json.loads(metrics),
        correct=None if correct is None else unpack_bits(correct, n_images),
        seeds=read[seeds],
        versions=read[versions],
        wall_s=wall_s,
        cpu_s=cpu_s,
        tries=tries,
        created_at=created_at,
    )
