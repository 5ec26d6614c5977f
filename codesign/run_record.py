"""What produced a result: versions, commit, seeds and hashes; without it a Pareto plot is a rumour."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.files import write_atomic

RECORD_FILE = "run_record.json"
_PACKAGES = ("spikeloop", "numpy", "numba", "scipy", "networkx", "torch", "scikit-learn", "pydantic")


def package_versions() -> dict[str, str]:
    """Versions of Python and of every package that can change a number; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the running source, ``-dirty`` appended if it was edited; None outside a git checkout of it."""
    here = Path(__file__).resolve()
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "HEAD")
        edited = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if edited else commit


def run_record(kind: str, **fields: Any) -> dict[str, Any]:
    """A record of one run: ``kind``, the given fields, commit and versions."""
    return {"schema": 1, "kind": kind, **fields, "git_commit": git_commit(), "versions": package_versions()}


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


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
