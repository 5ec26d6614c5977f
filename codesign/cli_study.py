"""``spikeloop explore`` and ``spikeloop report``: run a study with a progress display, and write its report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_output as output

if TYPE_CHECKING:
    from .dry_run import StudyPlan
    from .explore import ProgressEvent, StudySummary
    from .results import StudyResults
    from .study import StudyConfig

_STAGES = {"teacher": "teacher", "students": "students", "points": "design points", "report": "report"}


def explore_study(
    name: str, out: Path, *, workers: int, resume: bool, only_plan: bool, scheduler: str | None = None
) -> int:
    """Body of ``spikeloop explore``; returns the exit code.

    Raises:
        SpikeloopError: the study is wrong or the folder holds another one; nothing was written.
    """
    from .dry_run import dry_run
    from .study import load_study

    study = load_study(name)
    if only_plan:
        plan = dry_run(study, workers=workers)
        _say_plan(plan, workers)
        return 0
    summary = run_with_progress(study, out, workers=workers, resume=resume, scheduler=scheduler)
    say_summary(summary)
    if summary.n_ok:
        write_outputs(out)
        output.say(f"report: {out / 'report.html'}")
    if summary.choice is not None:
        output.say(f"pick: {summary.choice.reason}")
    return exit_code(summary)


def _say_plan(plan: StudyPlan, workers: int) -> None:
    output.emit(f"points      {plan.n_points}")
    output.emit(f"infeasible  {'not counted' if plan.n_infeasible is None else plan.n_infeasible}")
    output.emit(f"students    {'as the sampler asks' if plan.n_students is None else plan.n_students}")
    output.emit(f"evaluated   {plan.n_evaluations}")
    for stage in plan.stages:
        students = f", {stage.n_students} students" if stage.n_students else ""
        output.emit(f"  {stage.stage:<10}at most {stage.n_points} points{students}, {stage.estimated_s:.0f} s")
    output.emit(f"estimated   {plan.estimated_s:.0f} s with {workers} worker{'s' if workers > 1 else ''} (rough)")
    output.emit(f"memory      {plan.memory_MB:.0f} MB (rough)")
    output.emit(f"disk        {plan.disk_MB:.1f} MB (rough)")


def print_slurm(name: str, out: Path, *, workers: int, only_plan: bool) -> int:
    """Body of ``spikeloop explore --dry-run --slurm``: the script of a job on stdout; returns the exit code.

    Raises:
        SpikeloopError: the study is wrong, or ``--dry-run`` is missing.
    """
    from spikeloop.simulator.errors import ConfigError

    from .dry_run import dry_run
    from .slurm import slurm_script
    from .study import load_study

    if not only_plan:
        raise ConfigError("--slurm: prints a script and runs nothing; give --dry-run with it")
    plan = dry_run(load_study(name), workers=workers)
    output.say(f"{plan.n_evaluations} evaluations, about {plan.estimated_s:.0f} s with {workers} workers (rough)")
    output.emit(slurm_script(name, out, workers=workers).rstrip())
    return 0


def report_study(folder: Path, *, parquet: Path | None = None) -> int:
    """Body of ``spikeloop report``; returns the exit code.

    Raises:
        StudyError: the folder holds no study, or the Parquet file cannot be written.
    """
    if parquet is not None:
        _write_parquet(folder, parquet)
    results = write_outputs(folder)
    view = results.view
    assert view is not None  # read_results makes one
    output.say(f"{view.n_ok} designs, {len(view.front)} on the front; pick: {results.pick_reason}")
    output.emit(str(folder / "report.html"))
    return 0


def _write_parquet(folder: Path, path: Path) -> None:
    from .ledger import open_ledger
    from .parquet import write_parquet
    from .study import read_study_folder

    read_study_folder(folder)
    with open_ledger(folder / "ledger.sqlite") as ledger, ledger.snapshot():
        n = write_parquet(path, ledger)
    output.say(f"{n} points in {path}")


def run_with_progress(
    study: StudyConfig, out: Path, *, workers: int, resume: bool, scheduler: str | None = None
) -> StudySummary:
    """Run a study with a progress display on stderr.

    Raises:
        SpikeloopError: the study is wrong or the folder holds another one; nothing was written.
    """
    from .explore import run_study

    with progress_display() as show:
        return run_study(study, out, workers=workers, resume=resume, progress=show, scheduler=scheduler)


def write_outputs(folder: Path) -> StudyResults:
    """Write report.html, front.csv, figures/ and the picked design from a study's ledger; returns what they show.

    The picked design is ``network.safetensors`` and ``hardware.yaml``, ready for ``spikeloop simulate``.

    Raises:
        StudyError: the folder holds no study, or its ledger is damaged.
    """
    from .figures import draw_figures
    from .pareto import write_front_csv
    from .report import write_report
    from .results import read_results

    results = read_results(folder)
    assert results.view is not None  # read_results makes one
    write_front_csv(folder / "front.csv", results.view.front_rows)
    if results.points:
        write_pick(folder, results)
        draw_figures(results, folder / "figures")
    write_report(folder / "report.html", results)
    return results


def write_pick(folder: Path, results: StudyResults) -> None:
    """Put the picked student's network and the picked hardware into the study folder."""
    import yaml

    from spikeloop.simulator.files import write_atomic
    from spikeloop.simulator.network.io import load_network

    picked = results.picked
    if picked is None:
        return
    write_atomic(folder / "hardware.yaml", yaml.safe_dump(dict(results.hardware), sort_keys=False, width=110))
    for path in sorted((folder / "cache").glob("*-*/network.safetensors")):
        if load_network(path).content_hash() == picked.network_hash:
            write_atomic(folder / "network.safetensors", path.read_bytes())
            return


def say_summary(summary: StudySummary) -> None:
    """What a run did, one line on stderr."""
    parts = [f"{summary.n_ok} points finished"]
    parts += [f"{summary.n_resumed} of them taken from the ledger"] if summary.n_resumed else []
    parts += [f"{summary.n_infeasible} infeasible"] if summary.n_infeasible else []
    parts += [f"{summary.n_failed} failed"] if summary.n_failed else []
    parts += [f"{summary.n_missing} still to do (continue with --resume)"] if summary.n_missing else []
    output.say(f"{', '.join(parts)}; {summary.wall_s:.1f} s")
    if summary.n_ok:
        kept = "" if summary.n_admissible == summary.n_ok else f"{summary.n_admissible} keep the constraints, "
        volume = "" if summary.hypervolume is None else f", hypervolume {summary.hypervolume:.6g}"
        output.say(f"{kept}{summary.n_front} on the front{volume}")


def exit_code(summary: StudySummary) -> int:
    """130 if interrupted, 1 if no point has a result, 3 if some points failed, else 0."""
    if summary.interrupted:
        return 130
    if not summary.n_ok:
        return 1
    return 3 if summary.n_failed else 0


@contextmanager
def progress_display(on_event: Callable[[ProgressEvent], None] | None = None) -> Iterator[Callable[[Any], None]]:
    """Callback for progress events: a live bar on a terminal, plain lines elsewhere; all on stderr.

    ``on_event`` also sees every event.
    """
    if not sys.stderr.isatty():
        show = _plain_lines()
        yield lambda event: _both(on_event, show, event)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[stage]:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show_bar(event: ProgressEvent) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task("", total=event.total, stage=_STAGES[event.stage])
            # Square brackets of a message are text, not markup.
            text = event.message.replace("[", r"\[")
            bars.update(tasks[event.stage], completed=event.done, total=event.total, description=text)

        yield lambda event: _both(on_event, show_bar, event)


def _both(
    first: Callable[[ProgressEvent], None] | None, second: Callable[[ProgressEvent], None], event: ProgressEvent
) -> None:
    if first is not None:
        first(event)
    second(event)


def _plain_lines() -> Callable[[ProgressEvent], None]:
    """At most about twenty lines a stage, whatever its size."""
    shown: dict[str, int] = {}

    def show(event: ProgressEvent) -> None:
        step = 20 * event.done // event.total if event.total else 0
        if event.done == event.total or shown.get(event.stage) != step:
            shown[event.stage] = step
            output.say(f"{_STAGES[event.stage]}: {event.done}/{event.total} {event.message}".rstrip())

    return show
