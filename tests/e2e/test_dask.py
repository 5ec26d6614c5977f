"""Studies on a Dask scheduler: the results of the pool, whatever is killed; refusals leave nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from oracles.fake_study import fake_stages, fake_study, large_study, read_notes, use_fake_training

from spikeloop.codesign import space, study
from spikeloop.codesign.cli import main
from spikeloop.codesign.dask_executor import DaskExecutor
from spikeloop.codesign.executors import MAX_TRIES, InlineExecutor, Outcome, Task, run_tasks
from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Row, is_unwritten, open_ledger

pytest.importorskip("distributed")
_TESTS = Path(__file__).resolve().parents[1]
_LEDGER = "ledger.sqlite"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Digest and front of the study in one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "training_spec", study.training_spec)
        patch.setattr(space, "training_spec", space.training_spec)
        use_fake_training()
        run_study(large_study(), out, stages=fake_stages())
    return digest(out), (out / "front.csv").read_bytes()


@pytest.mark.parametrize("scheduler", ["pool", "local"])
def test_killed_workers_and_a_killed_driver_lose_and_repeat_nothing(
    tmp_path: Path, undisturbed: tuple[str, bytes], scheduler: str
) -> None:
    """A worker dies in the middle of a point, then the driver does; the second driver ends the study."""
    out, log = tmp_path / "out", tmp_path / "log"
    changes = {"FAKE_POISON_ONCE": f"23:{tmp_path / 'died'}", "FAKE_SLEEP_S": "0.02"}
    driver = start(out, log, scheduler, **changes)
    wait_for(lambda: (tmp_path / "died").exists() and len(rows(out)) > 40)
    # The whole group, as when a machine is switched off; a driver alone is tested with the pool in test_resume.py.
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before, already = {row.index for row in rows(out)}, len(read_notes(log))
    assert 40 < len(before) < 400
    assert start(out, log, scheduler).wait(timeout=200) == 0
    again = {int(name) for kind, name in read_notes(log)[already:] if kind == "point"}
    assert not before & again, "a committed point was evaluated again"
    assert (digest(out), (out / "front.csv").read_bytes()) == undisturbed
    assert {row.index for row in rows(out)} == set(range(400))


def test_a_point_that_always_kills_its_worker_is_recorded_as_failed(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    assert start(out, log, "local", FAKE_POISON="7").wait(timeout=200) == 0
    failed = [row for row in rows(out) if row.status != "ok"]
    assert [(row.index, row.status, row.reason, row.tries) for row in failed] == [
        (7, "failed", f"its worker died {MAX_TRIES} times", MAX_TRIES)
    ]
    assert len(rows(out)) == 400
    started = [name for kind, name in read_notes(log) if (kind, name) == ("point", "7")]
    assert len(started) == MAX_TRIES


@pytest.fixture
def two_kinds() -> Iterator[Any]:
    """A scheduler with a worker ``a`` that announces GPU: 1, and ``b`` that announces CPU: 1, all in this process."""
    from distributed import Scheduler, SpecCluster, Worker

    resources = {"a": {"GPU": 1.0}, "b": {"CPU": 1.0}}
    cluster = SpecCluster(
        workers={
            name: {"cls": Worker, "options": {"host": "127.0.0.1", "nthreads": 1, "name": name, "resources": own}}
            for name, own in resources.items()
        },
        scheduler={"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": None}},
        silence_logs="CRITICAL",
    )
    yield cluster
    cluster.close()


def test_training_runs_on_gpu_workers_and_simulation_on_cpu_workers_with_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_kinds: Any
) -> None:
    monkeypatch.setattr(study, "training_spec", study.training_spec)
    monkeypatch.setattr(space, "training_spec", space.training_spec)
    use_fake_training()
    run_study(fake_study(), tmp_path / "inline", stages=fake_stages())
    monkeypatch.setenv("FAKE_WORKERS", str(tmp_path / "workers"))
    run_study(fake_study(), tmp_path / "dask", stages=fake_stages(), scheduler=two_kinds.scheduler_address)
    assert digest(tmp_path / "dask") == digest(tmp_path / "inline")
    assert (tmp_path / "dask/front.csv").read_bytes() == (tmp_path / "inline/front.csv").read_bytes()
    done = Counter(read_notes(tmp_path / "workers"))
    assert done == {("teacher", "a"): 1, ("student", "a"): 4, ("point", "b"): 36}


def test_a_task_does_not_wait_for_a_kind_of_worker_that_went_away(two_kinds: Any) -> None:
    with closing(DaskExecutor(two_kinds.scheduler_address, 1)) as executor:
        task = Task(work=tuple, items=("student",), wants="GPU")
        assert executor.has_room(task)
        two_kinds.sync(two_kinds.workers["a"].close)
        executor.submit(task)
        outcomes: list[Outcome] = []
        wait_for(lambda: bool(outcomes.extend(executor.wait()) or outcomes))
        assert [(outcome.task.tries, outcome.results) for outcome in outcomes] == [(1, ("student",))]


def slow(items: tuple[str, ...]) -> tuple[str, ...]:
    """Longer than a look of the executor takes."""
    time.sleep(0.5)
    return items


def test_the_scheduler_forgets_a_task_whose_results_were_handed_over(two_kinds: Any) -> None:
    """Else it would be computed again when the worker that holds its results dies, committed or not."""
    with closing(DaskExecutor(two_kinds.scheduler_address, 1)) as executor:
        executor.submit(Task(work=slow, items=("design",)))
        outcomes: list[Outcome] = []
        gc.disable()  # what a time-out left behind must not hold the task until the collector comes
        try:
            wait_for(lambda: bool(outcomes.extend(executor.wait()) or outcomes))
            wait_for(lambda: not two_kinds.scheduler.tasks, timeout_s=5.0)
        finally:
            gc.enable()
        assert outcomes[0].results == ("design",)


def test_a_full_kind_of_worker_does_not_keep_tasks_from_another() -> None:
    """Two students want one GPU: the design behind them is started before the second."""
    started: list[str] = []

    class OneOfEach(InlineExecutor):
        capacity = 2

        def has_room(self, task: Task) -> bool:
            return all(other.wants != task.wants for other in self._tasks)

        def submit(self, task: Task) -> None:
            started.append(str(task.items[0]))
            super().submit(task)

    students = [Task(work=tuple, items=(f"student {i}",), wants="GPU") for i in range(2)]
    design = Task(work=tuple, items=("design",))
    assert run_tasks(OneOfEach(), [*students, design], on_done=lambda _: (), stop=lambda: False)
    assert started == ["student 0", "design", "student 1"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answers"),
        ("tcp://192.0.2.1:8786", "not encrypted"),
        ("nowhere", "is no address"),
    ],
)
def test_a_scheduler_that_cannot_be_used_is_one_sentence(
    address: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["explore", "smoke", "--out", str(out), "--scheduler", address]) == 2
    sentence = capsys.readouterr().err.strip()
    assert words in sentence
    assert len(sentence.splitlines()) == 1
    assert not out.exists()


def test_missing_extra_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["explore", "smoke", "--out", str(tmp_path / "out"), "--scheduler", "local"]) == 2
    assert "pip install 'spikeloop[distributed]'" in capsys.readouterr().err


def test_slurm_script_is_a_script_that_quotes_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "two words; $(touch x)"
    assert main(["explore", "smoke", "--out", str(out), "--dry-run", "--slurm", "--workers", "8"]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "#SBATCH --ntasks=8\n" in script
    first = [line for line in script.splitlines() if line.startswith("out=")]
    shown = subprocess.run(["bash", "-c", f'{first[0]}; printf %s "$out"'], capture_output=True, text=True, check=True)
    assert shown.stdout == str(out)
    assert not out.exists()
    assert main(["explore", "smoke", "--out", str(out), "--slurm"]) == 2


def start(out: Path, log: Path, scheduler: str, **changes: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "oracles.fake_study", str(out), "2"]
    command += [] if scheduler == "pool" else [scheduler]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(_TESTS), "FAKE_LOG": str(log), **changes},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def rows(out: Path) -> tuple[Row, ...]:
    if is_unwritten(out / _LEDGER):
        return ()
    with open_ledger(out / _LEDGER) as ledger:
        return ledger.rows()


def digest(out: Path) -> str:
    with open_ledger(out / _LEDGER) as ledger:
        return ledger.digest()


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
