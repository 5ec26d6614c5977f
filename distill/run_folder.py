"""The folder of a training run: saved states in two generations, events, and the finished checkpoint.

The two newest whole states stay; a finished run has ``checkpoint.json`` instead.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from spikeloop.simulator.errors import ConfigError, SimulationError, StudyError
from spikeloop.simulator.spec import first_difference

from .checkpoint import INDEX_FILE, checkpoint_config, save_checkpoint
from .config import TrainingConfig
from .device import environment
from .journal import EVENTS_FILE, append_event, events_length_bytes, rewind_events
from .optimiser import lr_at
from .reports import TrainResult
from .state import Keeper, Run
from .state_files import (
    is_of_a_run,
    newest_state,
    next_name,
    remove_states,
    state_config,
    state_names,
    write_state,
)

#: Folder inside a student's one where a teacher is trained that is given as a training file.
TEACHER_FOLDER = "teacher"

Standing = Literal["new", "unfinished", "finished"]
Say = Callable[[str], None]
OnBatch = Callable[[int, int, int], None]


def check_run_folder(folder: Path, config: TrainingConfig, *, resume: bool) -> Standing:
    """Where the run of ``config`` stands in ``folder``; writes nothing.

    Raises:
        StudyError: something else lies there, another training file, or a run and ``resume`` is False.
        ConfigError: the folder's own files are damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder}: exists and is not an empty folder; give another --out folder")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not there:
        return "new"
    standing: Standing = "finished" if INDEX_FILE in there else "unfinished" if state_names(folder) else "new"
    foreign = sorted(name for name in there if not is_of_a_run(name) and name != TEACHER_FOLDER)
    if standing == "new" and foreign:
        raise StudyError(f"{folder}: exists and is not an empty folder, it holds '{foreign[0]}'; give another --out")
    if not resume:
        run = (
            "a finished training;"
            if standing == "finished"
            else "an interrupted training; continue it with --resume, or"
        )
        raise StudyError(f"{folder}: exists and is not an empty folder, it holds {run} give another --out folder")
    held = checkpoint_config(folder) if standing == "finished" else state_config(folder)
    if held is not None and held != config:
        difference = first_difference(held.resolved(), config.resolved())
        raise StudyError(
            f"{folder}: holds a run of another training file ({difference}); give that file, or another --out folder"
        )
    return standing


@contextmanager
def open_run(
    folder: Path,
    config: TrainingConfig,
    *,
    say: Say,
    teacher_sha256: str | None = None,
    every_s: float | None = None,
    on_batch: OnBatch | None = None,
) -> Iterator[RunFolder]:
    """Folder of one run, made if need be and held for this process alone; the body trains with it as ``keeper``.

    Args:
        folder: one that ``check_run_folder`` accepted.
        config: the training.
        say: takes a sentence for people.
        teacher_sha256: ``weights_sha256`` of the teacher; a run goes on with its own teacher only.
        every_s: seconds after which the state is also saved within an epoch; None saves after epochs only.
        on_batch: called with epoch, batches done and batches of an epoch.

    Raises:
        StudyError: another process holds the folder, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StudyError(f"{folder}: cannot be made ({error.strerror}); give a writable --out folder") from None
    try:
        try:
            # The kernel frees the lock when the process dies, however it dies.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"{folder}: another run is writing it; wait for it, or stop it") from None
        run = RunFolder(folder, config, say=say, teacher_sha256=teacher_sha256, every_s=every_s, on_batch=on_batch)
        with _stop_noted(folder):
            yield run
    finally:
        os.close(handle)


class RunFolder(Keeper):
    """Saves a run into its folder and brings it back; made by ``open_run``."""

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        *,
        say: Say,
        teacher_sha256: str | None,
        every_s: float | None,
        on_batch: OnBatch | None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._training = config.content_hash()
        self._say = say
        self._teacher_sha256 = teacher_sha256
        self._every_s = every_s
        self._on_batch = on_batch
        self._saved_at_s = time.monotonic()
        self._newest: str | None = None
        self._n_batches = 1

    def begin(self, run: Run, *, n_images: int) -> None:
        """Bring ``run`` to the newest whole state, or save where it begins.

        Raises:
            ConfigError: there are states, and none is whole.
            StudyError: the run had another teacher.
        """
        self._n_batches = -(-n_images // run.config.batch_size)
        state = newest_state(self._folder, self._say)
        if state is None:
            self._save(run, noted=False)
            self._note("started", run)
            return
        if state.fields["teacher_sha256"] != self._teacher_sha256:
            raise StudyError(
                f"{self._folder}: the run began with another teacher; give it back, or another --out folder"
            )
        if state.fields.get("training", self._training) != self._training:
            raise StudyError(
                f"{self._folder}: a file that the training names (hardware or energies) was changed since the run "
                "began; give it back, or another --out folder"
            )
        try:
            run.restore(state.tensors, state.fields["run"], n_images=n_images)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self._folder / state.name}.json: damaged ({error}); train again") from None
        self._newest = state.name
        known = rewind_events(self._folder, int(state.fields["events_bytes"]))
        self._note("resumed" if known else "started", run)
        for sentence in _differences(run):
            self._say(f"{self._folder}: {sentence}")

    def after_batch(self, run: Run, *, n_batches: int) -> None:
        """Save if it is time, but not where the epoch ends: its report comes first."""
        if self._on_batch is not None:
            self._on_batch(run.epoch, run.batch, n_batches)
        due = self._every_s is not None and time.monotonic() - self._saved_at_s >= self._every_s
        if due and run.batch < n_batches:
            self._save(run)

    def after_epoch(self, run: Run) -> None:
        """Note the epoch and save."""
        report = run.history[-1]
        self._append(
            "epoch",
            epoch=report.epoch,
            n_epochs=report.n_epochs,
            loss=report.loss,
            train_accuracy=report.train_accuracy,
            test_accuracy=report.test_accuracy,
            lr=lr_at(run.config, report.epoch * self._n_batches - 1, self._n_batches),
            firing_rate=report.firing_rate,
            membrane_saturation=report.membrane_saturation,
            cpu_time_s=run.cpu_time_s,
            wall_time_s=run.wall_time_s,
        )
        self._save(run)

    def finish(self, result: TrainResult) -> None:
        """Write the checkpoint, note it and remove the states."""
        save_checkpoint(self._folder, result)
        self._append("finished", test_accuracy=result.test_accuracy, n_test=result.n_test)
        remove_states(self._folder)

    def _note(self, event: str, run: Run) -> None:
        config = self._config
        self._append(
            event,
            role=config.role,
            network=config.network_title,
            dataset=config.dataset,
            training=self._training,
            epoch=run.epoch,
            batch=run.batch,
            environment=environment(run.device, run.ranks.world_size),
        )

    def _append(self, event: str, **fields: Any) -> None:
        with _writing(self._folder):
            append_event(self._folder, event, **fields)

    def _save(self, run: Run, *, noted: bool = True) -> None:
        name = next_name(self._folder)
        if noted:  # before the state, whose length of the events then counts it
            self._append("checkpoint", state=name, epoch=run.epoch, batch=run.batch)
        fields = {
            "config": run.config.resolved(),
            "training": self._training,
            "teacher_sha256": self._teacher_sha256,
            "run": run.numbers(),
            "events_bytes": events_length_bytes(self._folder),
        }
        with _writing(self._folder):
            write_state(self._folder, name, fields, run.tensors())
            remove_states(self._folder, keep=(name, self._newest))
        self._newest = name
        self._saved_at_s = time.monotonic()


def _differences(run: Run) -> list[str]:
    """Sentences on what differs between earlier processes of a run and this one, the last."""
    *earlier, here = ({"world_size": "1", **one} for one in run.environments)
    words = {"torch": "torch {}", "n_threads": "{} thread(s)", "device": "device {}", "world_size": "{} process(es)"}
    sentences = [
        f"trained with {text.format(there.get(key))} before and goes on with {text.format(here[key])}; "
        "its bits may differ from those of a run in one go"
        for there in earlier
        for key, text in words.items()
        if there.get(key) != here[key]
    ]
    return list(dict.fromkeys(sentences))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SimulationError(
            f"{folder}: cannot be written ({error.strerror}); the state before is whole, continue with --resume"
        ) from None


@contextmanager
def _stop_noted(folder: Path) -> Iterator[None]:
    """Append why a run stopped, if it did."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        if (folder / EVENTS_FILE).is_file():
            with suppress(OSError):  # the reason itself is on its way to the user
                append_event(folder, "stopped", reason=reason)
        raise
