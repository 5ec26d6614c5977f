"""Tables of a ledger, and what brings an older ledger up to date."""

from __future__ import annotations

import sqlite3

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
