"""A study that is killed again and again, in the pool and on a local Dask cluster, against the same study undisturbed.

    python tests/bench/kill_study.py runs/killed --seed 1 --kills 10

300 designs (two untrained networks on 150 chips: real functional runs and clock, some ten milliseconds each) run
once in one process, and once with two workers in each of the two ways while SIGKILL hits workers and driver at seeded
moments. A driver that was killed is started again with ``--resume`` at once, while its workers may still be dying.

Checked, and an AssertionError if not so: what is committed before a kill is there after it, with the same time of
commit, and is never started again; nothing survives its driver; in the end every column of every row of the ledger but
those of ``LEFT_OUT``, and every byte of ``front.csv``, are those of the undisturbed study.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Columns that may differ: times, and how often a point was started. A ledger says nothing of the host.
LEFT_OUT = {
    "points": {"wall_s", "cpu_s", "tries", "created_at"},
    "stages": {"wall_s", "cpu_s", "created_at"},
    "meta": set[str](),
}
#: The row of ``meta`` that is a time.
TIME_OF_META = "created_at"
WAYS = ("pool", "dask")
#: Longest time that a process may outlive its driver: it ends between two steps of Python.
ORPHAN_S = 10.0
#: Between two kills so many points end, or fewer.
MOST_POINTS = 40
_BENCH = Path(__file__).resolve().parent
_LOG = "SPIKELOOP_KILL_LOG"

STUDY: Mapping[str, Any] = {
    "name": "kill_study",
    "dataset": "digits",
    "hardware": "demo",
    "teacher": "digits_teacher",
    "student": "digits_student",
    "space": {
        "student.weight_bits": [3, 4],
        "hw.crossbar.size": {"log2": [32, 128]},
        "hw.adc.bits": {"range": [3, 7]},
        "hw.adc.columns_per_adc": [4, 8],
        "hw.neuron.lanes": [4, 8, 16, 32, 64],
    },
    "images": 100,
    "calibration_images": 32,
    "cycle_images": 6,
}


# What a driver and its workers run ------------------------------------------------------------------------------------


def drive(out: Path, workers: int, scheduler: str | None) -> None:
    """Run the study in this process, a driver that may be killed."""
    import kill_study  # under its name, so that workers find the functions

    from spikeloop.codesign.explore import run_study
    from spikeloop.codesign.stages import Stages, check_data
    from spikeloop.codesign.study import StudyConfig

    work = Stages(
        check=check_data, teacher=kill_study.no_teacher, student=kill_study.networks, points=kill_study.noted_points
    )
    run_study(StudyConfig.model_validate(STUDY), out, workers=workers, resume=True, stages=work, scheduler=scheduler)


def no_teacher(jobs):
    """Nothing is trained."""
    from spikeloop.codesign.stages import Prepared

    return tuple(Prepared(notes={}, wall_s=0.0, cpu_s=0.0) for _ in jobs)


def networks(jobs):
    """Untrained networks in place of students, cached as students are."""
    from functools import partial

    from spikeloop.codesign.stages import cached

    return tuple(cached(Path(job.folder), partial(_make_network, job)) for job in jobs)


def _make_network(job, folder):
    from spikeloop.codesign.stages import NETWORK_FILE
    from spikeloop.models.random_export import random_network
    from spikeloop.simulator.network.io import save_network

    bits = job.values["student.weight_bits"]
    save_network(random_network("demo", seed=bits, weight_bits=bits, membrane_bits=6), folder / NETWORK_FILE)
    return {"weight_bits": bits}


def noted_points(jobs):
    """Results of designs; the log says when each was started and ended, and by which process."""
    from spikeloop.codesign.stages import evaluate_points

    results = []
    for job in jobs:
        _note("start", job.index)
        results += evaluate_points((job,))
        _note("end", job.index)
    return tuple(results)


def _note(what: str, index: int) -> None:
    handle = os.open(os.environ[_LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(handle, f"{what} {index} {os.getpid()}\n".encode())
    os.close(handle)


# What kills and compares ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One SIGKILL.

    ``in_flight`` points were under way in what it hit (a worker, or all workers of a driver); ``before`` were committed
    before it, point -> (key, time of commit); ``n_notes`` lines of the log were written; ``orphan_s`` after it the last
    process of a killed driver was gone.
    """

    victim: str
    at_s: float
    in_flight: tuple[int, ...]
    before: dict[int, tuple[str, str]]
    n_notes: int
    orphan_s: float | None


class Run:
    """The study in a folder, its driver, and what happened to it."""

    def __init__(self, out: Path, way: str) -> None:
        self.out, self.log, self._way = out, out.with_suffix(".log"), way
        self.kills: list[Kill] = []
        self._start = time.monotonic()
        self._sessions: list[int] = []
        self.start_driver()

    def start_driver(self) -> None:
        """Start the study, or go on with it."""
        command = [sys.executable, __file__, "--drive", str(self.out), "1" if self._way == "alone" else "2"]
        environment = {
            **os.environ,
            _LOG: str(self.log),
            # What a killed process leaves behind is no news here.
            "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
            "PYTHONPATH": os.pathsep.join([str(_BENCH), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        self.driver = subprocess.Popen(
            [*command, *(["local"] if self._way == "dask" else [])], env=environment, start_new_session=True
        )
        self._sessions.append(self.driver.pid)

    def notes(self) -> list[tuple[str, int, int]]:
        """(start or end, point, process), in the order of time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(what, int(point), int(pid)) for what, point, pid in map(str.split, lines)]

    def n_ended(self) -> int:
        """Points that were evaluated to the end, whatever became of them."""
        return sum(what == "end" for what, _, _ in self.notes())

    def committed(self) -> dict[int, tuple[str, str]]:
        """Point -> (key, time of commit), read without Spikeloop and without touching the log of SQLite."""
        path = self.out / "ledger.sqlite"
        if not path.exists() or path.stat().st_size == 0:
            return {}
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'points'").fetchone()[0]:
                return {}
            found = connection.execute("SELECT point, key, created_at FROM points").fetchall()
        return {point: (key, created_at) for point, key, created_at in found}

    def working(self) -> dict[int, int | None]:
        """Living workers that have begun a point: process -> the point under way, None between two."""
        last = {pid: point if what == "start" else None for what, point, pid in self.notes()}
        mine = set(processes(self._sessions))
        return {pid: point for pid, point in last.items() if pid in mine}

    def kill(self, victim: str, rng: random.Random) -> None:
        """Kill a worker or the driver; a killed driver is started again."""
        working = self.working()
        pid = self.driver.pid if victim == "driver" else rng.choice(sorted(working))
        flying = working.values() if victim == "driver" else [working[pid]]
        before, n_notes = self.committed(), len(self.notes())
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        orphan_s = None
        if victim == "driver":
            self.driver.wait()
            dying = set(processes(self._sessions))
            after = self.committed()
            self.start_driver()
            while dying & set(processes(self._sessions)):
                assert time.monotonic() - at < ORPHAN_S, f"processes outlive their driver: {dying}"
                time.sleep(0.01)
            orphan_s = time.monotonic() - at
        else:
            after = self.committed()
        assert all(after.get(point) == there for point, there in before.items()), "a committed point was lost"
        # What a dead driver had committed in its last moment counts too.
        self.kills.append(
            Kill(
                victim=victim,
                at_s=at - self._start,
                in_flight=tuple(sorted(point for point in flying if point is not None)),
                before=after if victim == "driver" else before,
                n_notes=n_notes if victim == "worker" else len(self.notes()),
                orphan_s=orphan_s,
            )
        )

    def finish(self) -> None:
        """Let the study end, and check that nothing of it is left."""
        assert self.driver.wait(timeout=1800) == 0, f"the driver ended with {self.driver.returncode}"
        end = time.monotonic() + ORPHAN_S
        while processes(self._sessions):
            assert time.monotonic() < end, f"left over: {processes(self._sessions)}"
            time.sleep(0.01)


def processes(sessions: list[int]) -> list[int]:
    """Living processes of some sessions: drivers, their workers, and workers of drivers that are gone."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(session) in sessions and state != "Z":
                found.append(int(entry.name))
    return found


def disturbed(out: Path, way: str, *, seed: int, n_kills: int) -> Run:
    """The study with kills, two in five of the driver, in an order that is drawn.

    Each comes some tenths of a second after a number of points since the last one, both drawn, so that they are spread
    over the study on a slow machine too; with none to wait for, it meets processes that are starting.
    """
    rng = random.Random(f"{seed} {way}")
    victims = ["driver"] * (2 * n_kills // 5) + ["worker"] * (n_kills - 2 * n_kills // 5)
    rng.shuffle(victims)
    run = Run(out, way)
    for victim in victims:
        n_points, delay_s = rng.randint(0, MOST_POINTS), rng.uniform(0.0, 0.5)
        wanted = run.n_ended() + n_points
        while run.n_ended() < wanted and run.driver.poll() is None:
            time.sleep(0.01)
        time.sleep(delay_s)
        while victim == "worker" and not run.working() and run.driver.poll() is None:
            time.sleep(0.01)
        if run.driver.poll() is not None:
            break
        run.kill(victim, rng)
    run.finish()
    return run


def content(out: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table without the columns of ``LEFT_OUT``, in an order of their own."""
    with closing(sqlite3.connect(out / "ledger.sqlite")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for table in tables:
            names = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(name for name in names if name not in LEFT_OUT[table])
            found[table] = sorted(connection.execute(f"SELECT {kept} FROM {table}"), key=repr)
    found["meta"] = [row for row in found["meta"] if row[0] != TIME_OF_META]
    return found


def check(run: Run, undisturbed: Path) -> None:
    """Nothing lost, nothing repeated, the same results."""
    final, notes = run.committed(), run.notes()
    for kill in run.kills:
        assert all(final.get(point) == there for point, there in kill.before.items()), "a commit was written again"
        again = {point for what, point, _ in notes[kill.n_notes :] if what == "start"} & set(kill.before)
        assert not again, f"committed points were evaluated again: {sorted(again)}"
    for table, rows in content(undisturbed).items():
        assert content(run.out)[table] == rows, f"table {table} differs from that of the undisturbed study"
    assert (run.out / "front.csv").read_bytes() == (undisturbed / "front.csv").read_bytes(), "front.csv differs"


def tell_kills(run: Run, way: str) -> None:
    """What was done to the study."""
    for number, kill in enumerate(run.kills, 1):
        gone = "" if kill.orphan_s is None else f", all its processes gone after {kill.orphan_s:.2f} s"
        print(
            f"{way} {number}: {kill.at_s:.1f} s, {kill.victim}, in flight {list(kill.in_flight)}, "
            f"{len(kill.before)} committed{gone}",
            flush=True,
        )


def tell_end(run: Run, way: str) -> None:
    """What became of it."""
    with closing(sqlite3.connect(run.out / "ledger.sqlite")) as connection:
        counts = "SELECT count(*), sum(status = 'ok'), sum(tries > 1) FROM points"
        n, n_ok, again = connection.execute(counts).fetchone()
    starts = sum(what == "start" for what, _, _ in run.notes())
    hits = {name: [kill for kill in run.kills if kill.victim == name] for name in ("worker", "driver")}
    flying = {name: sum(bool(kill.in_flight) for kill in kills) for name, kills in hits.items()}
    print(
        f"{way}: {n} points, {n_ok} with a result, {starts} starts, {again} points with more than one try under one "
        f"driver; kills of a worker {len(hits['worker'])} ({flying['worker']} with a point in flight), of the driver "
        f"{len(hits['driver'])} ({flying['driver']} with points in flight); no committed point lost or started again, "
        "ledger and front.csv the same",
        flush=True,
    )


def main() -> None:
    """The undisturbed study, then both ways with kills."""
    if sys.argv[1:2] == ["--drive"]:
        drive(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    whole = given.out / "undisturbed"
    if not (whole / "front.csv").is_file():
        run = Run(whole, "alone")
        run.finish()
    with closing(sqlite3.connect(whole / "ledger.sqlite")) as connection:
        n, wall_s, cpu_s = connection.execute("SELECT count(*), avg(wall_s), avg(cpu_s) FROM points").fetchone()
    print(f"undisturbed: {n} points, each {1e3 * wall_s:.0f} ms wall, {1e3 * cpu_s:.0f} ms CPU", flush=True)
    for way in given.ways:
        folder = given.out / f"{way}-{given.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)
        run = disturbed(folder, way, seed=given.seed, n_kills=given.kills)
        tell_kills(run, way)
        assert len(run.kills) == given.kills, "the study ended before the last kill"
        check(run, whole)
        tell_end(run, way)


if __name__ == "__main__":
    main()
