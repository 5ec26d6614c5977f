"""What made a result: versions of the packages, of the model, and the commit of the source."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from spikeloop.simulator.version import MODEL_VERSION

_PACKAGES = ("spikeloop", "numpy", "numba", "torch")


def versions() -> dict[str, str]:
    """Name -> version; ``commit`` only where the source is a git checkout (``+dirty`` if it was edited)."""
    found = {"python": platform.python_version(), "model": str(MODEL_VERSION), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = source_commit()
    return {**found, "commit": commit} if commit else found


def source_commit() -> str | None:
    """Commit that this file belongs to; None outside a checkout."""
    source = Path(__file__)
    # An installed copy may lie inside somebody's repository, which then does not track it.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    commit = _git(source.parent, "rev-parse", "HEAD")
    if commit is None:
        return None
    edited = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+dirty" if edited else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
