"""The folder of a study: one study a folder, one driver at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spikeloop.simulator.errors import StudyError
from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.spec import canonical_hash, first_difference

from .ledger import Ledger, create_ledger, is_unwritten, open_ledger
from .study import StudyConfig, read_study_folder, study_yaml

STUDY_FILE = "study.yaml"
LEDGER_FILE = "ledger.sqlite"
FRONT_FILE = "front.csv"
CACHE_FOLDER = "cache"


@contextmanager
def open_folder(study: StudyConfig, out: Path, *, resume: bool) -> Iterator[Ledger]:
    """Ledger of a resolved study in ``out``, for writing; both are made where there is none.

    Raises:
        StudyError: ``out`` holds another study, or this one and ``resume`` is False, or another run is
            writing it, or it cannot be written. A study that is there stays as it is.
    """
    held = check_folder(study, out, resume=resume)
    try:
        (out / CACHE_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{out}: cannot be made ({error.strerror}); give a writable --out folder") from None
    with _only_driver(out):
        for unfinished in (out / CACHE_FOLDER).glob(".*"):  # what a killed run was building
            if unfinished.is_file():
                unfinished.unlink()
            else:
                shutil.rmtree(unfinished, ignore_errors=True)
        if not (out / STUDY_FILE).is_file():
            write_atomic(out / STUDY_FILE, study_yaml(study))
        path = out / LEDGER_FILE
        with open_ledger(path, read_only=False) if held else create_ledger(path, study.resolved()) as ledger:
            yield ledger


def check_folder(study: StudyConfig, out: Path, *, resume: bool) -> bool:
    """Whether ``out`` holds a ledger of this study; writes nothing.

    Raises:
        StudyError: it holds another study, or this one and ``resume`` is False.
    """
    if out.exists() and not out.is_dir():
        raise StudyError(f"{out}: is a file; give a folder as --out")
    wanted, path = study.content_hash(), out / LEDGER_FILE
    held = not is_unwritten(path)
    there: list[dict[str, Any]] = []
    if held:
        # Whoever goes on with it checks its pages.
        with open_ledger(path, check_pages=False) as ledger:
            there.append(ledger.meta()["study"])
    if (out / STUDY_FILE).is_file():
        there.append(read_study_folder(out).resolved())
    for other in there:
        if canonical_hash(other) != wanted:
            difference = first_difference(other, study.resolved())
            raise StudyError(
                f"{out}: holds another study ('{other.get('name')}'; {difference}); give another --out folder"
            )
    if there and not resume:
        raise StudyError(f"{out}: holds this study already; continue it with --resume, or give another --out folder")
    return held


@contextmanager
def _only_driver(out: Path) -> Iterator[None]:
    handle = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            # The kernel frees the lock when the driver dies, however it dies.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"{out}: another run is writing this study; wait for it, or stop it") from None
        yield
    finally:
        os.close(handle)
