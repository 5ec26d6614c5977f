"""A study that is killed and resumed loses nothing and repeats nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from oracles.fake_study import fake_stages, large_study, read_notes, use_fake_training

from spikeloop.codesign import space, study
from spikeloop.codesign.explore import run_study
from spikeloop.codesign.ledger import Ledger, is_unwritten, open_ledger

_TESTS = Path(__file__).resolve().parents[1]
_LEDGER = "ledger.sqlite"


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
    """Digest and front of the study run in one go."""
    monkeypatch.setattr(study, "training_spec", study.training_spec)
    monkeypatch.setattr(space, "training_spec", space.training_spec)
    use_fake_training()
    out = tmp_path / "undisturbed"
    summary = run_study(large_study(), out, stages=fake_stages())
    assert summary.n_ok == 400
    with open_ledger(out / _LEDGER) as ledger:
        return ledger.digest(), (out / "front.csv").read_bytes()


def test_thirty_kills_of_the_driver_lose_and_repeat_nothing(tmp_path: Path, undisturbed: tuple[str, bytes]) -> None:
    rng = random.Random(7)
    kills, in_the_middle, round_number = 0, 0, 0
    while kills < 30:
        out = tmp_path / f"round{round_number}"
        round_number += 1
        while True:
            before, already = _finished(out), len(read_notes(_log(out)))
            driver = _start(out, workers=1)
            killed = _kill_after(driver, rng.uniform(0.0, 0.6), out)
            started = [int(name) for kind, name in read_notes(_log(out))[already:] if kind == "point"]
            assert not before & set(started), "a committed point was evaluated again"
            assert before <= _finished(out), "a committed point was lost"
            if not killed:
                assert driver.returncode == 0
                break
            kills += 1
            in_the_middle += 0 < len(_finished(out)) < 400
        with open_ledger(out / _LEDGER) as ledger:
            assert (ledger.digest(), (out / "front.csv").read_bytes()) == undisturbed
    assert in_the_middle >= 10, "the kills missed the run: the test has lost its point"


def test_killed_driver_of_a_pool_takes_its_workers_along(tmp_path: Path, undisturbed: tuple[str, bytes]) -> None:
    out = tmp_path / "pool"
    driver = _start(out, workers=2)
    _wait_for(lambda: len(_finished(out)) > 0)
    workers = _descendants(driver.pid)
    assert len(workers) >= 2
    driver.kill()
    driver.wait()
    _wait_for(lambda: not any(_alive(pid) for pid in workers))
    assert 0 < len(_finished(out)) < 400
    driver = _start(out, workers=2)
    assert driver.wait(timeout=120) == 0
    with open_ledger(out / _LEDGER) as ledger:
        assert (ledger.digest(), (out / "front.csv").read_bytes()) == undisturbed


@pytest.mark.parametrize("workers", [1, 2])
def test_one_interrupt_saves_and_resume_finishes(tmp_path: Path, undisturbed: tuple[str, bytes], workers: int) -> None:
    out = tmp_path / "interrupted"
    driver = _start(out, workers=workers)
    _wait_for(lambda: len(_finished(out)) > 0)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=60) == 130
    assert 0 < len(_finished(out)) < 400
    assert (out / "front.csv").is_file()
    driver = _start(out, workers=workers)
    assert driver.wait(timeout=120) == 0
    with open_ledger(out / _LEDGER) as ledger:
        assert (ledger.digest(), (out / "front.csv").read_bytes()) == undisturbed


@pytest.mark.parametrize("workers", [1, 2])
def test_second_interrupt_stops_at_once_and_leaves_no_worker(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "stopped"
    driver = _start(out, workers=workers, sleep_s=600.0)
    _wait_for(lambda: any(kind == "point" for kind, _ in read_notes(_log(out))))
    children = _descendants(driver.pid)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.poll() is None, "the first interrupt must let the running point finish"
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=60) != 0
    _wait_for(lambda: not any(_alive(pid) for pid in children))
    assert _finished(out) == set()


def _start(out: Path, *, workers: int, sleep_s: float | None = None) -> subprocess.Popen[bytes]:
    pace_s = 0.002 if workers == 1 else 0.01
    environment = {
        **os.environ,
        "PYTHONPATH": str(_TESTS),
        "FAKE_LOG": str(_log(out)),
        "FAKE_SLEEP_S": str(pace_s if sleep_s is None else sleep_s),
    }
    command = [sys.executable, "-m", "oracles.fake_study", str(out), str(workers)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill_after(driver: subprocess.Popen[bytes], delay_s: float, out: Path) -> bool:
    """SIGKILL after a delay from the first sign of life of the driver; False if it had ended before."""
    _wait_for(lambda: out.exists() or driver.poll() is not None)
    already = len(read_notes(_log(out)))
    if delay_s > 0.05:
        _wait_for(lambda: len(read_notes(_log(out))) > already or driver.poll() is not None)
    time.sleep(delay_s)
    driver.send_signal(signal.SIGKILL)
    return driver.wait() == -signal.SIGKILL


def _finished(out: Path) -> set[int]:
    if is_unwritten(out / _LEDGER):
        return set()
    with open_ledger(out / _LEDGER) as ledger:
        return _indices(ledger)


def _indices(ledger: Ledger) -> set[int]:
    return {row.index for row in ledger.rows()}


def _log(out: Path) -> Path:
    return out.with_suffix(".log")


def _wait_for(condition: object, timeout_s: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def _descendants(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
