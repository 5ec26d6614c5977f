"""``spikeloop demo``: the shipped study from digits to a report, and where the time went."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.files import write_atomic

from . import cli_output as output
from .cli_study import exit_code, run_with_progress, say_summary, write_outputs

if TYPE_CHECKING:
    from .results import StudyResults
    from .study import StudyConfig

STUDY = "demo"
TIMINGS_FILE = "timings.json"


def run_demo(out: Path, *, workers: int, quick: bool) -> int:
    """Run the demo study into ``out`` and write its report; returns the exit code.

    A folder that holds this study already is continued: finished points are not run again.

    Raises:
        SpikeloopError: the folder holds another study; nothing was written.
    """
    from .folder import check_folder
    from .study import load_study

    study = quick_cut(load_study(STUDY)) if quick else load_study(STUDY)
    if check_folder(study, out, resume=True):
        output.say(f"{out} is there already: what it holds of this study is kept, the rest is run")
    summary = run_with_progress(study, out, workers=workers, resume=True)
    say_summary(summary)
    code = exit_code(summary)
    if not summary.n_ok or summary.interrupted:
        return code
    started = time.perf_counter(), time.process_time()
    results = write_outputs(out)
    report = {"wall_s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1], "n": 1}
    timings = stage_times(out, run_wall_s=summary.wall_s, report=report)
    if summary.n_resumed == 0 or not (out / TIMINGS_FILE).is_file():
        # A continued run would overwrite the wall time of the whole demo by that of its rest.
        write_atomic(out / TIMINGS_FILE, json.dumps(timings, indent=2) + "\n")
    _print_times(timings)
    output.emit(last_line(out, results))
    return code


def quick_cut(study: StudyConfig) -> StudyConfig:
    """The same study with the ends of every axis only, and 120 test images."""
    from .axis_spec import Log2Axis, RangeAxis, Scalar

    space: dict[str, list[Scalar] | RangeAxis | Log2Axis] = {}
    for name, axis in study.space.items():
        values: list[Scalar] = list(axis) if isinstance(axis, list) else list(axis.values())
        space[name] = values if len(values) < 3 else [values[0], values[-1]]
    update = {"name": f"{study.name} (quick)", "space": space, "images": min(study.images, 120)}
    return study.model_copy(update=update)


def stage_times(out: Path, *, run_wall_s: float, report: dict[str, float]) -> dict[str, Any]:
    """Wall and CPU seconds by stage: summed over tasks, so with several workers they exceed the run's wall time."""
    from .ledger import open_ledger

    with open_ledger(out / "ledger.sqlite") as ledger:
        stages, rows = ledger.stages(), ledger.rows()
    teacher = [s for s in stages if s.stage == "teacher"]
    students = [s for s in stages if s.stage == "student"]
    return {
        "run_wall_s": run_wall_s,
        "stages": {
            "teacher": _sum(teacher),
            "students": _sum(students),
            "design points": _sum([row for row in rows if row.status == "ok"]),
            "report and figures": report,
        },
    }


def last_line(out: Path, results: StudyResults) -> str:
    """Where the report is, and which design the demo would pick and why."""
    picked = results.picked
    pick = f"build {picked.name}: {results.pick_reason}" if picked is not None else results.pick_reason
    return f"report: {out / 'report.html'}; {pick}"


def _sum(parts: list[Any]) -> dict[str, float]:
    return {
        "wall_s": sum(part.wall_s for part in parts),
        "cpu_s": sum(part.cpu_s for part in parts),
        "n": len(parts),
    }


def _print_times(timings: dict[str, Any]) -> None:
    output.say("stage               count    wall (s)    CPU (s)")
    for name, row in timings["stages"].items():
        output.say(f"{name:<20}{row['n']:>5}{row['wall_s']:>12.1f}{row['cpu_s']:>11.1f}")
    output.say(f"{'this run':<20}{'':>5}{timings['run_wall_s']:>12.1f}")
