"""What ``spikeloop simulate`` sees of the clock: critical path, drawn trace, timeline picture, busiest units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.errors import ConfigError

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.simulator.cycle.chrome import ChromeTrace, TraceWindow
    from spikeloop.simulator.cycle.path import CriticalPath
    from spikeloop.simulator.cycle.run import Observer
    from spikeloop.simulator.functional.activity import Activity
    from spikeloop.simulator.pipeline import Evaluation
    from spikeloop.simulator.program import Program

#: Lines of the tables under the result.
_PATH_LINES = 3
_UNIT_LINES = 6


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """Files to draw, and the window of the trace as the command line says it."""

    trace: Path | None = None
    cycles: str | None = None
    steps: str | None = None
    max_events: int | None = None
    timeline: Path | None = None

    def check(self) -> None:
        """Refuse what can be refused before anything runs.

        Raises:
            ConfigError: a window without a trace, a malformed window, or a file that cannot be written.
        """
        if self.trace is None and (self.cycles or self.steps or self.max_events):
            raise ConfigError(
                "--trace-cycles, --trace-steps and --trace-events say what --trace draws; give --trace FILE"
            )
        self.window()
        for path, option, endings in (
            (self.trace, "--trace", (".json", ".gz")),
            (self.timeline, "--timeline", (".png", ".svg", ".pdf")),
        ):
            if path is None:
                continue
            if path.suffix not in endings:
                raise ConfigError(f"{option} {path}: ends in '{path.suffix}'; allowed {', '.join(endings)}")
            if path.is_dir() or not path.parent.is_dir():
                raise ConfigError(f"{option} {path}: cannot be written there; give a file in a folder that exists")

    def window(self) -> TraceWindow:
        """Window of the trace.

        Raises:
            ConfigError: not of the form A:B with 0 <= A < B.
        """
        from spikeloop.simulator.cycle.chrome import MAX_EVENTS, TraceWindow

        first_cycle, last_cycle = _range(self.cycles, "--trace-cycles")
        first_step, last_step = _range(self.steps, "--trace-steps")
        return TraceWindow(
            first_cycle=first_cycle,
            last_cycle=last_cycle,
            first_step=first_step,
            last_step=last_step,
            max_events=MAX_EVENTS if self.max_events is None else self.max_events,
        )


def _range(text: str | None, option: str) -> tuple[int, int | None]:
    """(first, last) of ``A:B``, ``A:`` or ``:B``."""
    if text is None:
        return 0, None
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        found = int(first or 0), int(last) if last else None
    except ValueError:
        raise ConfigError(f"{option} {text}: expected A:B, two whole numbers, e.g. 0:10000") from None
    if found[0] < 0 or (found[1] is not None and found[1] <= found[0]):
        raise ConfigError(f"{option} {text}: allowed 0 <= A < B")
    return found


@dataclass
class Watcher:
    """Observers of one run, made when the program is there."""

    request: TraceRequest
    path: CriticalPath | None = None
    chrome: ChromeTrace | None = None
    program: Program | None = None
    _made: list[Observer] = field(default_factory=list)

    def observers(self, program: Program, activity: Activity) -> tuple[Observer, ...]:
        """The critical path, and the trace if it is wanted."""
        from spikeloop.simulator.cycle.chrome import ChromeTrace
        from spikeloop.simulator.cycle.path import CriticalPath

        self.program = program
        self.path = CriticalPath(program)
        if self.request.trace is None:
            return (self.path,)
        self.chrome = ChromeTrace(program, self.request.window(), activity)
        return (self.path, self.chrome)

    def check(self) -> None:
        """Refuse a window outside the run, before anything is written.

        Raises:
            ConfigError: the window begins behind the end of the run.
        """
        if self.chrome is not None:
            self.chrome.check_window()

    def write(self, evaluation: Evaluation) -> None:
        """Write the files that were asked for, and say so."""
        if self.chrome is not None and self.request.trace is not None:
            self.chrome.write(self.request.trace)
            left = sum(self.chrome.left_out.values())
            more = f", {left} left out by the cap" if left else ""
            output.say(f"trace: {self.request.trace}, {len(self.chrome.events)} events{more}")
        if self.request.timeline is not None and self.program is not None:
            from .timeline import write_timeline

            write_timeline(self.program, evaluation.trace, self.request.timeline)
            output.say(f"timeline: {self.request.timeline}")

    def show(self, evaluation: Evaluation) -> None:
        """Where the time went, under the text of a result."""
        lines = evaluation.metrics.critical_path[:_PATH_LINES]
        output.emit("")
        output.emit("critical path: " + "; ".join(line.sentence() for line in lines))
        trace, program = evaluation.trace, self.program
        if program is None:
            return
        busiest = sorted(range(program.n_units), key=lambda u: (-int(trace.busy[u]), u))[:_UNIT_LINES]
        rows = []
        for unit in busiest:
            channel = int(trace.stalled_by[unit])
            blamed = program.unit_name(int(program.channel_dst[channel])) if channel >= 0 else "-"
            rows.append(
                (
                    program.unit_name(unit),
                    *(
                        f"{100 * int(cycles[unit]) / trace.total_cycles:.1f}"
                        for cycles in (trace.busy, trace.stalled, trace.idle)
                    ),
                    blamed,
                )
            )
        output.emit("")
        output.emit_table(("busiest units", "busy (%)", "stalled (%)", "idle (%)", "stalled most by"), rows)


def read_density(text: str | None) -> float | Mapping[str, float] | None:
    """Value of ``--density``: a number, or a YAML file that gives one for every layer.

    Raises:
        ConfigError: neither, or a file that maps no names to numbers.
    """
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return _density_file(Path(text))
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"--density {text}; allowed 0 to 1, the share of ones among spikes")
    return value


def _density_file(path: Path) -> Mapping[str, float]:
    from spikeloop.simulator.strict_yaml import read_yaml

    if not path.is_file():
        raise ConfigError(f"--density {path}: neither a number from 0 to 1 nor a YAML file of one number a layer")
    read = read_yaml(path)
    found: dict[str, float] = {}
    for name, value in read.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{path}: {name}: {value!r} is no density; give a number from 0 to 1")
        found[str(name)] = float(value)
    return found
