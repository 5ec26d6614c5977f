"""The only njit of the project, and a compile cache that edits of any kernel file invalidate."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
from numba.core import caching

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


class _SharedCacheFile(caching.IndexDataCacheFile):
    """Compiled versions of one kernel, which several processes may write and read at once.

    Numba names the file of a new version, writes the index, then the file, without a lock: two processes that compile
    the kernel for different types can end with an index that leads the types of one to the code of the other, and one
    that is killed in between with an index that leads to what the file held before.
    """

    def save(self, key: object, data: object) -> None:
        """Add a version while nobody else reads or writes: its file, then the index."""
        with self._lock(fcntl.LOCK_EX):
            versions: dict[object, str] = self._load_index()  # type: ignore[no-untyped-call]
            taken = set(versions.values())
            names = map(self._data_name, itertools.count(1))
            name = versions.get(key) or next(name for name in names if name not in taken)
            self._save_data(name, data)  # type: ignore[no-untyped-call]
            self._save_index({**versions, key: name})  # type: ignore[no-untyped-call]

    def load(self, key: object) -> Any:
        """A version, None if there is none; waits for those who write."""
        with self._lock(fcntl.LOCK_SH):
            return super().load(key)  # type: ignore[no-untyped-call]

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        with ExitStack() as held:
            # A folder that cannot be written or locked is still read; nobody can damage it.
            with suppress(OSError):
                file = held.enter_context(Path(f"{self._index_path}.lock").open("wb"))
                fcntl.flock(file, kind)
            yield


def kernel(function: F) -> F:
    """Compile a kernel: cached, numpy error model, no fastmath; it releases the interpreter for other threads."""
    return _compiled(function)


def inlined(function: F) -> F:
    """Compile a piece of a kernel into its callers: only then are loops over slices of arrays vectorised well."""
    return _compiled(function, inline="always")


def _compiled(function: F, inline: Literal["never", "always"] = "never") -> F:
    dispatcher: Any = numba.njit(cache=True, error_model="numpy", nogil=True, inline=inline)(function)
    dispatcher._cache._cache_file.__class__ = _SharedCacheFile
    return cast(F, dispatcher)
