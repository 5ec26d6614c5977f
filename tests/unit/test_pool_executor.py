"""The process pool of studies when a worker dies at the worst moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from spikeloop.codesign.executors import PoolExecutor, Task

PATIENCE_S = 60.0


def nap(items):
    """Sleep that long, each."""
    for item in items:
        time.sleep(item)
    return list(items)


def outcomes_of(executor):
    """All outcomes; a pool that hangs is a failure, not a test that never ends."""
    found = []

    def collect():
        while executor.n_running:
            found.extend(executor.wait())

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the pool hangs"
    return found


@pytest.mark.parametrize("moment", ["before it runs", "before the pool knows it"])
def test_a_worker_that_dies_while_another_one_is_started(monkeypatch, moment):
    """The pool ends the workers it knows, and waits for the new one too, which nobody ends; or it cannot start it."""
    executor = PoolExecutor(2)
    executor.submit(Task(work=nap, items=(600.0,)))
    (first,) = list(executor._pool._processes.values())
    spawn, late = ProcessPoolExecutor._spawn_process, []

    def break_pool(pool):
        os.kill(first.pid, signal.SIGKILL)
        end = time.monotonic() + PATIENCE_S
        while not pool._broken and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.3)  # the pool ends the workers it knows

    def spawn_late(pool):
        if late:
            spawn(pool)
            return
        late.append(pool)
        if moment == "before it runs":
            break_pool(pool)
            spawn(pool)
        else:
            known, pool._processes = pool._processes, {}
            spawn(pool)
            new, pool._processes = pool._processes, known
            break_pool(pool)
            known.update(new)

    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", spawn_late)
    executor.submit(Task(work=nap, items=(0.0,)))
    assert late[0]._broken
    found = {outcome.task.items: outcome for outcome in outcomes_of(executor)}
    assert found[(600.0,)].lost
    assert found[(0.0,)].lost or found[(0.0,)].results == (0.0,)
    executor.submit(Task(work=nap, items=(0.0,)))
    (after,) = outcomes_of(executor)
    assert after.results == (0.0,)
    executor.close()


def test_what_is_handed_to_a_broken_pool_runs_in_the_next():
    executor = PoolExecutor(2)
    executor.submit(Task(work=nap, items=(600.0,)))
    (first,) = list(executor._pool._processes.values())
    os.kill(first.pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE_S
    while not executor._pool._broken and time.monotonic() < end:
        time.sleep(0.01)
    executor.submit(Task(work=nap, items=(0.0,)))
    found = outcomes_of(executor)
    assert [(outcome.task.items, outcome.lost) for outcome in found] == [((600.0,), True), ((0.0,), False)]
    executor.close()
