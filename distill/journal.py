"""``events.jsonl``: one JSON object a line for everything that happened to a run, oldest first.

A saved state remembers how long the file was. When a run goes on from it, what later lines say about training is
dropped, because it is trained again; that the run was started, resumed or stopped stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spikeloop.simulator.files import write_atomic

EVENTS_FILE = "events.jsonl"
_STAYS = ("started", "resumed", "stopped")


def append_event(folder: Path, event: str, **fields: Any) -> None:
    """Append a line: ``event``, ``time`` (UTC) and the fields.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps({"event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **fields})
    with (folder / EVENTS_FILE).open("ab") as stream:
        stream.write(line.encode() + b"\n")


def events_length_bytes(folder: Path) -> int:
    """Length of the file, 0 where there is none."""
    path = folder / EVENTS_FILE
    return path.stat().st_size if path.is_file() else 0


def rewind_events(folder: Path, length_bytes: int) -> bool:
    """Drop from the lines after ``length_bytes`` what is trained again, and a torn last line; whether any line is left.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / EVENTS_FILE
    raw = path.read_bytes() if path.is_file() else b""
    head, tail = raw[:length_bytes], raw[length_bytes:]
    kept = head[: head.rfind(b"\n") + 1] + b"".join(line for line, event in _lines(tail) if event in _STAYS)
    if kept != raw:
        write_atomic(path, kept)
    return bool(kept)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of the file."""
    return [json.loads(line) for line, _ in _lines((folder / EVENTS_FILE).read_bytes())]


def _lines(raw: bytes) -> Iterator[tuple[bytes, str]]:
    """Whole lines that are JSON objects, and their ``event``."""
    for line in raw.splitlines(keepends=True):
        try:
            value = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            continue
        if isinstance(value, dict):
            yield line, str(value.get("event"))
