"""The folder of compiled kernels, shared by processes that start at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from numba.core import caching

from spikeloop.simulator.kernels import _jit, reads_train


def test_every_kernel_writes_its_versions_alone():
    for found in (reads_train.read_plane, reads_train._convert):
        assert isinstance(found._cache._cache_file, _jit._SharedCacheFile)


@pytest.fixture
def files(tmp_path):
    """Two processes' views of one kernel's versions."""
    return [_jit._SharedCacheFile(str(tmp_path), "kernel-1.py311", (1.0, 2)) for _ in range(2)]


def test_two_that_compile_for_other_types_at_once_both_find_their_own(files, monkeypatch):
    """The first to write stops between index and file, where Numba's own lets the second take the same file."""
    stopped, go_on = threading.Event(), threading.Event()
    save_index = caching.IndexDataCacheFile._save_index

    def save_index_and_stop(self, overloads):
        save_index(self, overloads)
        if self is files[0]:
            stopped.set()
            assert go_on.wait(20)

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_index", save_index_and_stop)
    first = threading.Thread(target=files[0].save, args=("float32", "code of float32"))
    second = threading.Thread(target=files[1].save, args=("float64", "code of float64"))
    read: list[object] = []
    reader = threading.Thread(target=lambda: read.append(files[1].load("float32")))
    first.start()
    assert stopped.wait(20)
    second.start()
    reader.start()
    second.join(0.2)
    assert second.is_alive()
    assert reader.is_alive()
    go_on.set()
    for thread in (first, second, reader):
        thread.join(20)
    assert read == ["code of float32"]
    assert {key: files[0].load(key) for key in ("float32", "float64")} == {
        "float32": "code of float32",
        "float64": "code of float64",
    }


def test_a_folder_that_cannot_be_written_is_still_read(files, monkeypatch, tmp_path):
    files[0].save("float32", "code")
    (tmp_path / "kernel-1.py311.nbi.lock").unlink()

    def refuse(self, mode="r"):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert files[1].load("float32") == "code"
