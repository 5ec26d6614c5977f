"""The only njit of the project, and a compile cache that edits of any kernel file invalidate."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def _cache_folder() -> str:
    """Folder named by the hash of every kernel source and the Numba version.

    Numba's own cache looks at one file only: a helper edited in another file would leave its callers stale.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "spikeloop" / "kernels" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return tempfile.mkdtemp(prefix="spikeloop-kernels-")
    return str(folder)


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = _cache_folder()  # type: ignore[attr-defined]


def kernel(function: F) -> F:
    """Compile a kernel: cached, numpy error model, no fastmath; it releases the interpreter for other threads."""
    return cast(F, numba.njit(cache=True, error_model="numpy", nogil=True)(function))


def inlined(function: F) -> F:
    """Compile a piece of a kernel into its callers: only then are loops over slices of arrays vectorised well."""
    return cast(F, numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")(function))
