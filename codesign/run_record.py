"""What produced a result: hashes, seeds, versions and commit; without it a Pareto plot is a rumour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.files import write_atomic

from .provenance import versions

RECORD_FILE = "run_record.json"


def run_record(kind: str, **fields: Any) -> dict[str, Any]:
    """A record of one run: ``kind``, the given fields, versions of the packages and the commit of the source."""
    return {"schema": 1, "kind": kind, **fields, "versions": versions()}


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``record`` into ``folder``, whole or not at all."""
    write_atomic(folder / RECORD_FILE, json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """Record of a result folder, empty if it has none.

    Raises:
        StudyError: the file is there and is not a JSON object.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise StudyError(f"{path}: not a run record; delete the file or choose another folder")
    return record
