"""The folder of compiled kernels, shared by processes that start at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from numba.core import caching

from spikeloop.simulator.kernels import _jit, reads_train

#: What writes the two files of a version.
PARTS = ("_save_index", "_save_data")


def test_every_kernel_writes_its_versions_alone():
    for found in (reads_train.read_plane, reads_train._convert):
        assert isinstance(found._cache._cache_file, _jit._SharedCacheFile)


@pytest.fixture
def files(tmp_path):
    """Two processes' views of one kernel's versions."""
    return [_jit._SharedCacheFile(str(tmp_path), "kernel-1.py311", (1.0, 2)) for _ in range(2)]


@pytest.fixture
def stop_after_first_write(files, monkeypatch):
    """Events: the first process has written one of its two files, and may go on."""
    stopped, go_on = threading.Event(), threading.Event()

    def stopping(write):
        def write_and_stop(self, *what):
            write(self, *what)
            if self is files[0]:
                stopped.set()
                assert go_on.wait(20)

        return write_and_stop

    for part in PARTS:
        monkeypatch.setattr(caching.IndexDataCacheFile, part, stopping(getattr(caching.IndexDataCacheFile, part)))
    return stopped, go_on


def test_two_that_compile_for_other_types_at_once_both_find_their_own(files, stop_after_first_write):
    """Without a lock the second one takes the file that the first is about to name, or to write."""
    stopped, go_on = stop_after_first_write
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
    found = {key: files[0].load(key) for key in ("float32", "float64")}
    assert found == {"float32": "code of float32", "float64": "code of float64"}


def test_a_process_that_dies_while_it_writes_leaves_nothing_wrong(files, monkeypatch, tmp_path):
    """Behind an index that was lost stands the file of another version."""
    files[0].save("float32", "code of float32")
    (tmp_path / "kernel-1.py311.nbi").unlink()

    class Killed(BaseException):
        pass

    def die(self, *_):
        raise Killed

    for part in PARTS:
        with monkeypatch.context() as patch:
            patch.setattr(caching.IndexDataCacheFile, part, die)
            with pytest.raises(Killed):
                files[0].save("float64", "code of float64")
        assert files[1].load("float64") is None
    files[0].save("float64", "code of float64")
    assert files[1].load("float64") == "code of float64"


def test_a_folder_that_cannot_be_written_is_still_read(files, monkeypatch, tmp_path):
    files[0].save("float32", "code")
    (tmp_path / "kernel-1.py311.nbi.lock").unlink()

    def refuse(self, mode="r"):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert files[1].load("float32") == "code"
