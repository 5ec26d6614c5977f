"""Tables of a ledger, whether a file is one, and what brings an older ledger up to date."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.version import MODEL_VERSION

#: Schema that is written. 2: a point has a row for each stage; ``stages`` holds students of every kind.
SCHEMA = 2
#: Schemas that are read; an older one is brought up to date before it is written to.
SCHEMAS = (1, 2)
# Marks the file as ours in its header ("SLgr"); any other SQLite file is refused.
APPLICATION_ID = 0x534C6772

_POINTS = """
CREATE TABLE points (
    key TEXT PRIMARY KEY,
    point INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('analytic', 'cycle', 'ptq', 'short', 'full')),
    status TEXT NOT NULL CHECK (status IN ('ok', 'infeasible', 'failed', 'timeout')),
    reason TEXT NOT NULL,
    axes TEXT NOT NULL,
    config TEXT NOT NULL,
    metrics TEXT NOT NULL,
    n_images INTEGER NOT NULL,
    correct BLOB,
    seeds TEXT NOT NULL,
    versions TEXT NOT NULL,
    wall_s REAL NOT NULL,
    cpu_s REAL NOT NULL,
    tries INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (point, stage)
) STRICT"""
_STAGES = """
CREATE TABLE stages (
    key TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('teacher', 'student', 'ptq')),
    axes TEXT NOT NULL,
    notes TEXT NOT NULL,
    wall_s REAL NOT NULL,
    cpu_s REAL NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (stage, key)
) STRICT"""
TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;{_POINTS};{_STAGES}
"""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """What SQLite and records say of a bad file, as one sentence of the ledger ``path``.

    Raises:
        StudyError: instead of an error of SQLite or JSON inside the block.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StudyError(f"{path}: refused a result ({error}); another run may have written it, use --resume") from None
    except json.JSONDecodeError:
        raise StudyError(f"{path}: damaged (a record is not JSON); restore it from a copy") from None
    except sqlite3.Error as error:
        raise StudyError(
            f"{path}: cannot be used as a ledger ({error}); it is damaged, locked, not a spikeloop ledger, or the "
            "disk is full: restore it from a copy, or give another --out folder"
        ) from None


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a ledger of schema 1 to schema 2 in one transaction: rows, keys and results stay as they are.

    A row of schema 1 says its stage in ``config`` only, and only if it is not ``full``.
    """
    rest = "status, reason, axes, config, metrics, n_images, correct, seeds, versions, wall_s, cpu_s, tries, created_at"
    columns = f"key, point, stage, {rest}"
    stage = "coalesce(json_extract(config, '$.stage'), 'full')"
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table in ("points", "stages"):
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
        connection.execute(_POINTS)
        connection.execute(_STAGES)
        connection.execute(f"INSERT INTO points ({columns}) SELECT key, point, {stage}, {rest} FROM points_1")
        connection.execute("INSERT INTO stages SELECT * FROM stages_1")
        for table in ("points", "stages"):
            connection.execute(f"DROP TABLE {table}_1")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (str(SCHEMA),))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file has no table yet."""
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(n_tables) == 0


def check_length(path: Path) -> None:
    """Refuse a file that lost its end: SQLite reads a torn last page as zeros and its own check passes it.

    While there is a log, the log may hold what the file lacks, and SQLite decides.
    Source: sqlite.org/fileformat2.html, 1.3 (page size at byte 16, size in pages at byte 28).
    """
    log = path.with_name(f"{path.name}-wal")
    with path.open("rb") as stream:
        header = stream.read(32)
    if (log.exists() and log.stat().st_size > 0) or len(header) < 32:
        return
    page_bytes = int.from_bytes(header[16:18], "big")
    wanted = int.from_bytes(header[28:32], "big") * (65536 if page_bytes == 1 else page_bytes)
    there = path.stat().st_size
    if header.startswith(b"SQLite format 3") and there < wanted:
        raise StudyError(f"{path}: damaged ({there} of {wanted} bytes are there); restore it from a copy")


def check_file(path: Path, connection: sqlite3.Connection, *, pages: bool) -> None:
    """Refuse an empty file, one that is no ledger, and with ``pages`` a damaged one.

    Raises:
        StudyError: which of them.
    """
    if is_empty(connection):
        raise StudyError(f"{path}: an empty ledger; run the study with --resume")
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StudyError(f"{path}: an SQLite file, but not a spikeloop ledger; give another --out folder")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone() if pages else ("ok",)
    if verdict != "ok":
        raise StudyError(f"{path}: damaged ({verdict.splitlines()[0]}); restore it from a copy")


def check_versions(path: Path, meta: Mapping[str, Any], *, read_only: bool) -> None:
    """Refuse a ledger of a schema that is not read, or to go on with one of another model version.

    Raises:
        StudyError: the versions.
    """
    if meta.get("schema") not in SCHEMAS:
        raise StudyError(
            f"{path}: ledger schema {meta.get('schema')}, this version reads schema {SCHEMAS[0]} to {SCHEMAS[-1]}; "
            "give another --out folder"
        )
    if not read_only and meta.get("model_version") != MODEL_VERSION:
        raise StudyError(
            f"{path}: made by model version {meta.get('model_version')}, this is version {MODEL_VERSION} and its "
            "numbers differ; give another --out folder"
        )
