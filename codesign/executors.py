"""Where work runs: in this process, or in a pool of processes that survives a killed worker."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

#: A point that was running this often when its worker died is recorded as failed.
MAX_TRIES = 3
_POLL_S = 0.2
#: A broken pool has ended its futures after this time, or will not.
_SETTLE_S = 2.0
#: What holds a worker to one thread.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Work on some items: ``work(items)`` gives one result an item.

    ``work`` is a top-level function, items and results are plain records: they travel between processes.
    ``tries`` counts this try. ``wants`` is the kind of worker that it belongs on, where workers say their kind: ``GPU``
    for training, ``CPU`` for simulation. It says where the work runs, never what it computes.
    """

    work: Callable[[tuple[Any, ...]], Sequence[Any]]
    items: tuple[Any, ...]
    wants: Literal["GPU", "CPU"] = "CPU"
    tries: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """End of a task: its results, or the exception that it raised, or neither if its worker died."""

    task: Task
    results: tuple[Any, ...] | None = None
    error: Exception | None = None

    @property
    def lost(self) -> bool:
        """Whether the worker died."""
        return self.results is None and self.error is None


class Executor(Protocol):
    """Runs tasks; ``capacity`` of them at a time."""

    capacity: int

    @property
    def n_running(self) -> int:
        """Tasks submitted and not yet returned by ``wait``."""

    def has_room(self, task: Task) -> bool:
        """Whether a worker could start this task now; never true with ``capacity`` tasks running."""

    def submit(self, task: Task) -> None:
        """Start a task."""

    def wait(self) -> list[Outcome]:
        """Outcomes since the last call; may be empty, returns within a fraction of a second if none is ready."""

    def close(self) -> None:
        """Stop; what runs is abandoned."""


class InlineExecutor:
    """Runs each task in this process as soon as its outcome is asked for."""

    capacity = 1

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    @property
    def n_running(self) -> int:
        """Tasks submitted and not yet returned by ``wait``."""
        return len(self._tasks)

    def has_room(self, task: Task) -> bool:
        """Whether nothing runs."""
        return not self._tasks

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.append(task)

    def wait(self) -> list[Outcome]:
        """Outcome of the oldest task, which runs now."""
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        try:
            return [Outcome(task=task, results=tuple(task.work(task.items)))]
        except Exception as error:
            return [Outcome(task=task, error=error)]

    def close(self) -> None:
        """Drop what has not begun."""
        self._tasks.clear()


class PoolExecutor:
    """Process pool (spawn) that is rebuilt when a worker dies; the tasks that were running come back as lost."""

    def __init__(self, workers: int) -> None:
        self.capacity = workers
        self._pool = self._new_pool()
        self._running: dict[concurrent.futures.Future[tuple[Any, ...]], Task] = {}
        self._refused: deque[Task] = deque()

    @property
    def n_running(self) -> int:
        """Tasks submitted and not yet returned by ``wait``."""
        return len(self._running) + len(self._refused)

    def has_room(self, task: Task) -> bool:
        """Whether a worker is free; they are all of one kind."""
        return self.n_running < self.capacity

    def submit(self, task: Task) -> None:
        """Start a task on a free worker."""
        try:
            self._running[self._pool.submit(_run, task.work, task.items)] = task
        except (BrokenProcessPool, OSError):
            # A worker died since the last wait(), which rebuilds the pool and starts this task. While one is being
            # started for it, the pool closes the pipes that it is given.
            if not getattr(self._pool, "_broken", True):
                raise
            self._refused.append(task)

    def wait(self) -> list[Outcome]:
        """Outcomes of what ended; after a fraction of a second an empty list."""
        done, _ = concurrent.futures.wait(self._running, _POLL_S, concurrent.futures.FIRST_COMPLETED)
        outcomes = [self._outcome(future) for future in done]
        if self._refused or any(outcome.lost for outcome in outcomes):
            outcomes += self._rebuilt()
        return outcomes

    def _rebuilt(self) -> list[Outcome]:
        """Outcomes of all that ran in a broken pool, some with results that arrived in time; then there is a new one.

        A task that was handed over while the pool broke may never end, and a worker that was just being started is not
        ended by the pool, which then waits for it for ever (CPython 3.11, ``terminate_broken`` beside ``submit``).
        """
        concurrent.futures.wait(self._running, _SETTLE_S)
        ran = list(self._running.items())
        outcomes = [self._outcome(future) if future.done() else Outcome(task=task) for future, task in ran]
        for process in self._processes():
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._running.clear()
        self._pool = self._new_pool()
        refused, self._refused = self._refused, deque()
        for task in refused:
            self.submit(task)
        return outcomes

    def _processes(self) -> list[multiprocessing.process.BaseProcess]:
        return list((getattr(self._pool, "_processes", None) or {}).values())

    def close(self) -> None:
        """End the workers, also in the middle of a task."""
        processes = self._processes()
        idle = not self._running
        self._pool.shutdown(wait=idle, cancel_futures=True)
        for process in () if idle else processes:
            process.terminate()

    def _outcome(self, future: concurrent.futures.Future[tuple[Any, ...]]) -> Outcome:
        task = self._running.pop(future)
        try:
            return Outcome(task=task, results=future.result())
        except BrokenProcessPool:
            return Outcome(task=task)
        except Exception as error:
            return Outcome(task=task, error=error)

    def _new_pool(self) -> concurrent.futures.ProcessPoolExecutor:
        return concurrent.futures.ProcessPoolExecutor(
            max_workers=self.capacity,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        )


def make_executor(workers: int, scheduler: str | None = None) -> Executor:
    """Executor for a number of workers: 1 runs in this process, more in a pool; or on a Dask ``scheduler``.

    Raises:
        StudyError: no scheduler answers.
    """
    if scheduler is not None:
        from .dask_executor import DaskExecutor

        return DaskExecutor(scheduler, workers)
    return InlineExecutor() if workers == 1 else PoolExecutor(workers)


def run_tasks(
    executor: Executor,
    tasks: Iterable[Task],
    *,
    on_done: Callable[[Outcome], Iterable[Task]],
    stop: Callable[[], bool],
) -> bool:
    """Run tasks, and those that ``on_done`` adds, until none is left; False if ``stop`` ended it early.

    Tasks lost with a worker are run again one item at a time with nothing beside them, so that a second
    death has one culprit; after ``MAX_TRIES`` deaths ``on_done`` gets a lost outcome of that item.
    """
    ready, suspects = deque(tasks), deque[Task]()
    while True:
        if not stop():
            _fill(executor, ready, suspects)
        if executor.n_running == 0:
            return not (ready or suspects)
        for outcome in executor.wait():
            if outcome.lost and outcome.task.tries < MAX_TRIES:
                suspects += _split(outcome.task)
            else:
                ready.extend(on_done(outcome))


class Interrupts:
    """Counts Ctrl-C: the first asks to stop (``stopped``), the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._count = 0

    def stopped(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._count > 0

    def handle(self, *_: object) -> None:
        """Signal handler."""
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Ctrl-C as a request while the block runs; outside the main thread signals stay as they are."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)


def _fill(executor: Executor, ready: deque[Task], suspects: deque[Task]) -> None:
    if suspects:
        if executor.n_running == 0:
            executor.submit(suspects.popleft())
        return
    while executor.n_running < executor.capacity:
        # The oldest that can start: students that wait for a GPU do not keep designs from idle CPUs.
        place = next((place for place, task in enumerate(ready) if executor.has_room(task)), None)
        if place is None:
            return
        task = ready[place]
        del ready[place]
        executor.submit(task)


def _split(task: Task) -> list[Task]:
    return [replace(task, items=(item,), tries=task.tries + 1) for item in task.items]


def _run(work: Callable[[tuple[Any, ...]], Sequence[Any]], items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(work(items))


def _start_worker() -> None:
    """One thread a worker, Ctrl-C is the driver's business, and no worker outlives its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed driver leaves its workers blocked on a queue for ever: they hold its writing end themselves.
        parent.join()
        os._exit(1)
