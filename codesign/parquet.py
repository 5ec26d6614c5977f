"""A ledger as one Parquet file: every point a row, for pandas, DuckDB and the like."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import ConfigError, StudyError

from .ledger import Ledger, Row

_CHUNK = 20_000
#: What is a list or differs from point to point in its form is kept as JSON text.
_NESTED = ("by_component", "by_layer", "by_lif", "critical_path", "sources", "warnings")


def write_parquet(path: Path, ledger: Ledger) -> int:
    """Write every point of an open ledger, whole or not at all; returns how many.

    Columns: ``point``, ``key``, ``stage``, ``status``, ``reason``, ``axis.<name>``, ``config.<field>`` (the resolved
    configuration, flat), ``metric.<name>`` (flat; parts and lists as JSON), ``seed.<name>``, ``version.<name>``, times
    and tries. A column whose values are of several kinds holds their JSON text.

    Raises:
        StudyError: the extra ``parquet`` is not installed, or the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise StudyError("--parquet: the package pyarrow is not installed; pip install 'spikeloop[parquet]'") from None
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"--parquet: '{path}' is not a file in a folder that exists; give another name")
    # Two passes: a file has one schema, and a later point may have a column or a kind that the first ones lack.
    kinds = _kinds(_flat_rows(ledger))
    types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_()}
    schema = pyarrow.schema([(name, types.get(kind, pyarrow.string())) for name, kind in kinds.items()])
    temporary, n = path.with_name(f".{path.name}.{os.getpid()}"), 0
    try:
        with temporary.open("wb") as stream:
            with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
                rows = _flat_rows(ledger)
                while chunk := list(islice(rows, _CHUNK)):
                    columns = {name: _column(chunk, name, kind) for name, kind in kinds.items()}
                    writer.write_table(pyarrow.table(columns, schema=schema))
                    n += len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StudyError(f"--parquet: '{path}' cannot be written ({error.strerror}); give another name") from None
    finally:
        temporary.unlink(missing_ok=True)
    return n


def _flat_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    return (_flat_row(row) for row in ledger.stream())


def _flat_row(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "point": row.index,
        "key": row.key,
        "stage": row.stage,
        "status": row.status,
        "reason": row.reason,
    }
    found |= {f"axis.{name}": value for name, value in row.values.items()}
    found |= _flat("config", row.config)
    found |= _flat("metric", row.metrics)
    found |= {f"seed.{name}": value for name, value in row.seeds.items()}
    found |= {f"version.{name}": value for name, value in row.versions.items()}
    return found | {
        "wall_s": row.wall_s,
        "cpu_s": row.cpu_s,
        "tries": row.tries,
        "created_at": row.created_at,
    }


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and prefix.split(".")[-1] not in _NESTED:
        return {name: part for key in value for name, part in _flat(f"{prefix}.{key}", value[key]).items()}
    return {prefix: json.dumps(value) if isinstance(value, Mapping | list | tuple) else value}


def _kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Column -> ``int``, ``float``, ``bool``, ``str``, or ``json`` where its values are of several kinds."""
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            kind = "" if value is None else type(value).__name__
            before = found.setdefault(name, kind)
            if kind == before or not kind:
                continue
            if not before:
                found[name] = kind
            elif {before, kind} == {"int", "float"}:
                found[name] = "float"
            else:
                found[name] = "json"
    return found


def _column(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> list[Any]:
    values = [row.get(name) for row in rows]
    if kind == "json":
        return [None if value is None else json.dumps(value) for value in values]
    return values
