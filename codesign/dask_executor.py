"""Work on the workers of a Dask scheduler: other processes, or other machines that see the same study folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from spikeloop.simulator.errors import StudyError

from .executors import THREAD_VARIABLES, Outcome, Task

if TYPE_CHECKING:
    from distributed import Client, Future

#: ``--scheduler local`` starts scheduler and workers itself, on this machine only.
LOCAL = "local"
_CONNECT_S = 10.0
_POLL_S = 0.2
#: Time between two looks for workers that are missing.
_REVIVE_S = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_scheduler(address: str) -> None:
    """Refuse a scheduler that could not be used or that strangers could use, before anything is written.

    Raises:
        StudyError: the extra is missing, the address is no address, or its traffic would cross a network in the open.
    """
    try:
        import distributed  # noqa: F401  # only whether it is there
    except ImportError:
        raise StudyError(
            "--scheduler: the package distributed is not installed; pip install 'spikeloop[distributed]'"
        ) from None
    if address == LOCAL:
        return
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        whole = parts.scheme in ("tcp", "tls") and parts.hostname is not None and parts.port is not None
    except ValueError:
        whole = False
    if not whole:
        raise StudyError(
            f"--scheduler: '{address}' is no address; write tcp://127.0.0.1:8786, tls://HOST:PORT or local"
        )
    if parts.scheme != "tls" and parts.hostname not in _LOOPBACK:
        # A Dask worker runs what anybody who reaches it sends.
        raise StudyError(
            f"--scheduler: '{address}' is not on this machine and not encrypted; use tls://HOST:PORT with certificates"
        )


class _Placed(NamedTuple):
    """A task under way, and the resource that it holds; None runs anywhere."""

    task: Task
    on: str | None


class DaskExecutor:
    """Tasks on the workers of a scheduler; a task whose worker dies comes back as lost at its first death.

    A task goes to workers that announce the resource that it wants (``dask worker --resources "GPU=1"``), and holds one
    of it while it runs; if no worker announces that resource, it goes anywhere.

    The scheduler's own retries are turned off while the study runs, so that a task that kills its workers is counted
    in one place, ``run_tasks``. The driver alone writes the ledger.
    """

    def __init__(self, address: str, workers: int) -> None:
        from distributed import Client, LocalCluster

        self._cluster = None
        if address == LOCAL:
            # The workers inherit the environment: one thread each, as in the pool.
            kept = {name: os.environ.get(name) for name in THREAD_VARIABLES}
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
            try:
                self._cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    silence_logs="CRITICAL",
                )
            finally:
                for name, value in kept.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
        target = address if self._cluster is None else self._cluster
        try:
            self._client: Client = Client(target, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError) as error:
            raise StudyError(
                f"--scheduler: no scheduler answers at '{address}' ({type(error).__name__}); start it with "
                "'dask scheduler' and its workers with 'dask worker', or leave --scheduler out"
            ) from None
        self._retries = self._client.run_on_scheduler(_set_retries, n=0)
        self._running: dict[Future, _Placed] = {}
        self._n_workers, self._scaled_at_s = workers, time.monotonic()
        self.capacity, self._amounts = workers, dict[str, int]()
        self._look()

    @property
    def n_running(self) -> int:
        """Tasks submitted and not yet returned by ``wait``."""
        return len(self._running)

    def has_room(self, task: Task) -> bool:
        """Whether a worker of the kind that the task wants is free, as far as is known."""
        if self.n_running >= self.capacity:
            return False
        held = self._amounts.get(task.wants)
        return held is None or sum(placed.on == task.wants for placed in self._running.values()) < held

    def submit(self, task: Task) -> None:
        """Send a task to the scheduler."""
        on = task.wants if task.wants in self._amounts else None
        resources = None if on is None else {on: 1}
        future = self._client.submit(_run, task.work, task.items, pure=False, resources=resources)
        self._running[future] = _Placed(task, on)

    def wait(self) -> list[Outcome]:
        """Outcomes of what ended; after a fraction of a second an empty list.

        Raises:
            StudyError: the scheduler is gone; what it was running is run again after ``--resume``.
        """
        from distributed import wait

        gone = "--scheduler: the scheduler is gone; start it again and continue with --resume"
        if self._client.status not in ("running", "connecting"):
            raise StudyError(gone)
        try:
            self._look()
        except OSError:
            raise StudyError(gone) from None
        with suppress(TimeoutError), self._client.as_current():
            wait(list(self._running), timeout=_POLL_S, return_when="FIRST_COMPLETED")
        return [self._outcome(future) for future in list(self._running) if future.status not in ("pending",)]

    def close(self) -> None:
        """Abandon what runs; a scheduler that was there before stays."""
        with suppress(Exception):
            self._client.cancel(list(self._running))
            self._client.run_on_scheduler(_set_retries, n=self._retries)
        self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=5)

    def _look(self) -> None:
        """Workers come and go: as many tasks are under way as there are threads now, on resources that are there."""
        n_threads, self._amounts = self._client.run_on_scheduler(_threads_and_resources)
        self.capacity = max(1, n_threads)
        self._revive(n_threads)
        for future, placed in list(self._running.items()):
            # Nobody is left who may run it: it would wait for ever.
            if placed.on is not None and placed.on not in self._amounts and future.status == "pending":
                future.cancel()
                del self._running[future]
                self.submit(placed.task)

    def _revive(self, n_threads: int) -> None:
        """Start the workers of our own cluster that it gave up: it does so if one takes long to come back."""
        if self._cluster is None or n_threads >= self._n_workers:
            return
        if time.monotonic() - self._scaled_at_s >= _REVIVE_S:
            self._scaled_at_s = time.monotonic()
            self._cluster.scale(self._n_workers)

    def _outcome(self, future: Future) -> Outcome:
        task = self._running.pop(future).task
        try:
            return _end(future, task)
        finally:
            # Not when Python frees it: until then the scheduler would compute results again whose worker dies, also
            # committed ones, and the exceptions of waiting hold futures for long.
            future.release()


def _end(future: Future, task: Task) -> Outcome:
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        return Outcome(task=task)
    error = future.exception()
    if error is None:
        return Outcome(task=task, results=future.result())
    if isinstance(error, KilledWorker) or not isinstance(error, Exception):
        return Outcome(task=task)
    return Outcome(task=task, error=error)


def _run(work: Callable[[tuple[Any, ...]], Sequence[Any]], items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(work(items))


def _threads_and_resources(dask_scheduler: Any) -> tuple[int, dict[str, int]]:
    """Runs on the scheduler: threads of its workers, and how many of each resource they announce."""
    n_threads, amounts = 0, dict[str, float]()
    for worker in dask_scheduler.workers.values():
        n_threads += worker.nthreads
        for name, amount in worker.resources.items():
            amounts[name] = amounts.get(name, 0) + amount // 1
    return int(n_threads), {name: int(amount) for name, amount in amounts.items() if amount >= 1}


def _set_retries(dask_scheduler: Any, n: int) -> int:
    """Runs on the scheduler: how many deaths of workers it forgives a task; returns what it was."""
    before = int(dask_scheduler.allowed_failures)
    dask_scheduler.allowed_failures = n
    return before
