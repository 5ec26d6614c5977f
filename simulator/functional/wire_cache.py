"""Crossbars seen through their wires, kept on disk by content: solving them takes longer than reading with them.

Files hold plain arrays, are written whole or not at all, and are never trusted: one that does not fit is computed
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import write_atomic
from ..version import MODEL_VERSION

#: Raised whenever the arrays of the same content change.
CACHE_VERSION = 1
#: What all files together may take; the oldest go first.
MAX_BYTES = 4 * 2**30
Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path | None:
    """Folder of the cache, None if it is switched off by ``SPIKELOOP_WIRE_CACHE=off`` or cannot be made."""
    if os.environ.get("SPIKELOOP_WIRE_CACHE") == "off":
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeloop" / "wires"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def content_key(facts: dict[str, Any], codes: NDArray[np.uint8]) -> str:
    """sha256 of everything that the arrays follow from."""
    text = json.dumps({"versions": [MODEL_VERSION, CACHE_VERSION], "shape": list(codes.shape), **facts}, sort_keys=True)
    return hashlib.sha256(text.encode() + np.ascontiguousarray(codes).tobytes()).hexdigest()


def load(key: str, shapes: dict[str, tuple[int, ...]]) -> Arrays | None:
    """Arrays of a key; None if they are not there, damaged, or not of these shapes (some may be missing)."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / f"{key}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        os.utime(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    needed = {"values", "row_fJ"} <= arrays.keys()
    fits = needed and all(name in shapes and array.shape == shapes[name] for name, array in arrays.items())
    return arrays if fits and all(np.isfinite(array).all() for array in arrays.values()) else None


def store(key: str, arrays: Arrays) -> None:
    """Keep arrays; a full disk or a folder that cannot be written only costs the time to compute them again."""
    folder = cache_folder()
    if folder is None:
        return
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    with contextlib.suppress(OSError):
        write_atomic(folder / f"{key}.npz", content.getvalue())
        _drop_oldest(folder)


def _drop_oldest(folder: Path) -> None:
    paths = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in paths)
    for path in paths:
        if total <= MAX_BYTES:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
