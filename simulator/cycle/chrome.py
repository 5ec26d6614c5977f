"""A trace that chrome://tracing and Perfetto open: a process per tile, a thread per unit, counters of queues and rows.

Format: "Trace Event Format" (Google), JSON object form. One cycle is one microsecond of the trace.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, SimulationError
from ..files import write_atomic
from ..functional.activity import Activity
from ..machine.units import KIND, NETWORK_INPUT
from ..phases import Phase
from ..program import UNIT_KINDS, Program
from ..tables import LINK, ROUTE, PhaseTables
from .clock import PhaseCounts
from .record import PhaseRecord, service_ends
from .tokens import token_places

IntArray = NDArray[np.int64]

MAX_EVENTS = 200_000


@dataclass(frozen=True, kw_only=True)
class TraceWindow:
    """What is drawn: cycles [first, last) of the run and steps [first, last); None: to the end.

    Raises:
        ConfigError: an empty or negative window, or fewer than one event.
    """

    first_cycle: int = 0
    last_cycle: int | None = None
    first_step: int = 0
    last_step: int | None = None
    max_events: int = MAX_EVENTS

    def __post_init__(self) -> None:
        for name, first, last in (
            ("cycles", self.first_cycle, self.last_cycle),
            ("steps", self.first_step, self.last_step),
        ):
            if first < 0 or (last is not None and last <= first):
                raise ConfigError(f"trace window of {name} {first}:{last}; allowed 0 <= first < last")
        if self.max_events < 1:
            raise ConfigError(f"trace of at most {self.max_events} events; allowed 1 or more")


class ChromeTrace:
    """Collects events of a run; an observer of ``run_cycles``.

    Busy and stalled spans are cut at the window's cycles, so in a full window without a cap the busy spans of a unit
    add up to ``Trace.busy`` and the stalled ones to ``Trace.stalled``.

    Attributes:
        events: what is kept, at most ``window.max_events``.
        left_out: why events inside the window are missing -> how many (``cap``).
        run_cycles: length of the run seen so far.
    """

    def __init__(self, program: Program, window: TraceWindow | None = None, activity: Activity | None = None) -> None:
        self._program = program
        self._window = window if window is not None else TraceWindow()
        self._activity = activity
        self.events: list[dict[str, Any]] = []
        self.left_out: Counter[str] = Counter()
        self.run_cycles = 0

    def see(self, phase: Phase, tables: PhaseTables, counts: PhaseCounts, cycle: int) -> None:
        """Collect the events of one phase."""
        if counts.record is None:
            raise SimulationError("a trace needs the record of a phase; run the clock with this observer")
        self.run_cycles = cycle + counts.end
        last = self._window.last_cycle
        if self.run_cycles <= self._window.first_cycle or (last is not None and cycle >= last):
            return
        self._spans(phase, tables, counts, cycle)
        self._queues(tables, counts.record, cycle)

    def _room(self) -> int:
        return max(0, self._window.max_events - len(self.events))

    def _spans(self, phase: Phase, tables: PhaseTables, counts: PhaseCounts, cycle: int) -> None:
        """Busy and stalled spans of all tokens, in order of their starts."""
        record = counts.record
        assert record is not None
        unit = np.repeat(np.arange(tables.unit.size), np.diff(record.first_token))
        done = np.flatnonzero(record.start >= 0)
        ends = service_ends(tables, record)
        places = _Places(self._program, phase, tables, record, unit)
        done = done[self._in_steps(places.step[done])]
        spans = [(done, record.start[done], ends[done], False)]
        held = done[record.leave[done] > ends[done]]
        spans.append((held, ends[held], record.leave[held], True))
        rows = np.concatenate([item[0] for item in spans])
        begin = self._cut(np.concatenate([item[1] for item in spans]) + cycle)
        until = self._cut(np.concatenate([item[2] for item in spans]) + cycle)
        stalled = np.concatenate([np.full(item[0].size, item[3]) for item in spans])
        order = np.lexsort((stalled, unit[rows], begin))
        order = order[until[order] > begin[order]]
        blamed = _blamed(self._program, tables, counts.waited)
        for drawn, i in enumerate(order):
            if self._room() == 0:
                self.left_out["cap"] += int(order.size) - drawn
                return
            row, u = int(rows[i]), int(unit[rows[i]])
            name = f"stalled by {blamed[u]}" if stalled[i] else self._label(tables, places, u, row)
            event = self._event("X", int(tables.unit[u]), name, int(begin[i]))
            event["dur"] = int(until[i] - begin[i])
            event["cat"] = "stall" if stalled[i] else "busy"
            if not stalled[i]:
                event["args"] = places.arguments(row)
            self.events.append(event)
            if not stalled[i] and self._activity is not None:
                self._active_rows(tables, places, u, row, int(begin[i]))

    def _label(self, tables: PhaseTables, places: _Places, u: int, row: int) -> str:
        program_unit = int(tables.unit[u])
        if tables.role[u] == LINK:
            return f"packet of {self._program.unit_name(places.interface(row))}"
        kind = UNIT_KINDS[self._program.unit_kind[program_unit]]
        layer = int(self._program.unit_layer[program_unit])
        return kind if layer == NETWORK_INPUT else f"{kind} {self._program.mapping.layers[layer].layer.name}"

    def _event(self, phase: str, unit: int, name: str, at: int) -> dict[str, Any]:
        return {"ph": phase, "pid": self._process(unit), "tid": unit + 1, "name": name, "ts": at}

    def _process(self, unit: int) -> int:
        """Tile t is process t + 1, the network input 0, the mesh the one behind the tiles."""
        if self._program.unit_kind[unit] == KIND["link"]:
            return self._program.mapping.n_chip_tiles + 1
        return int(self._program.unit_tile[unit]) + 1

    def _cut(self, edges: IntArray) -> IntArray:
        last = self._window.last_cycle
        return np.clip(edges, self._window.first_cycle, np.iinfo(np.int64).max if last is None else last)

    def _in_steps(self, step: IntArray) -> NDArray[np.bool_]:
        last = self._window.last_step
        return np.asarray((step >= self._window.first_step) & ((step < last) if last is not None else True))

    def _active_rows(self, tables: PhaseTables, places: _Places, u: int, row: int, at: int) -> None:
        """Counter of the driven wordlines of a window, when its first row group is fetched."""
        unit = int(tables.unit[u])
        if self._program.unit_kind[unit] != KIND["fetch"] or places.row_group[row] != 0 or self._activity is None:
            return
        if self._room() == 0:
            self.left_out["cap"] += 1
            return
        layer = int(self._program.unit_layer[unit])
        active = self._activity.layers[layer].active_rows
        run = 0 if active.shape[1] == 1 else int(places.step[row])
        rows = int(active[int(places.image[row]), run, int(places.position[row])].sum())
        name = f"active rows {self._program.mapping.layers[layer].layer.name}"
        event = self._event("C", unit, name, at)
        event["args"] = {"rows": rows}
        self.events.append(event)

    def _queues(self, tables: PhaseTables, record: PhaseRecord, cycle: int) -> None:
        """Counters of what queues hold, at every change inside the window."""
        for c in range(tables.channel.size):
            if tables.dst[c] < 0 or tables.kind[c] == ROUTE:
                continue
            came = record.arrival[record.first_arrival[c] : record.first_arrival[c + 1]]
            came = came[came >= 0]
            d = int(tables.dst[c])
            starts = record.start[record.first_token[d] : record.first_token[d + 1]]
            starts = starts[starts >= 0]
            j = np.arange(starts.size)
            period = int(tables.take_period[c])
            free = tables.pattern_values[tables.free_start[c] + j % period] + (j // period) * tables.take_step[c]
            edges = np.unique(np.concatenate((came, starts)))
            held = (
                np.searchsorted(came, edges, side="right")
                - np.append(0, free)[np.searchsorted(starts, edges, side="right")]
            )
            changed = np.flatnonzero(np.diff(held, prepend=0))
            at = edges[changed] + cycle
            inside = at == self._cut(at)
            at, held = at[inside], held[changed][inside]
            if at.size == 0 or int(held.max()) == 0:
                continue
            room = self._room()
            if at.size > room:
                self.left_out["cap"] += int(at.size) - room
            source = self._program.unit_name(int(self._program.channel_src[tables.channel[c]]))
            unit = int(tables.unit[d])
            for edge, depth in zip(at[:room].tolist(), held[:room].tolist(), strict=True):
                event = self._event("C", unit, f"queue {source} > {self._program.unit_name(unit)}", edge)
                event["args"] = {"held": depth}
                self.events.append(event)

    def check_window(self) -> None:
        """Refuse a window behind the end of the run; call it when the run is over.

        Raises:
            ConfigError: the window begins where nothing happens any more.
        """
        steps = self._program.mapping.network.n_timesteps
        if self._window.first_cycle >= self.run_cycles:
            raise ConfigError(
                f"trace window of cycles {self._window.first_cycle}:{self._window.last_cycle}: the run has "
                f"{self.run_cycles} cycles; begin below that"
            )
        if self._window.first_step >= steps:
            raise ConfigError(
                f"trace window of steps {self._window.first_step}:{self._window.last_step}: the network has {steps} "
                "time steps; begin below that"
            )

    def content(self) -> dict[str, Any]:
        """The trace as one JSON object."""
        program, window = self._program, self._window
        return {
            "traceEvents": [*self._names(), *self.events],
            "displayTimeUnit": "ms",
            "otherData": {
                "schema": 1,
                "time_unit": "one microsecond of the trace is one clock cycle",
                "clock_GHz": program.hw.clock_GHz,
                "network": program.mapping.network.name,
                "hardware": program.hw.name,
                "run_cycles": self.run_cycles,
                "window_cycles": [window.first_cycle, window.last_cycle],
                "window_steps": [window.first_step, window.last_step],
                "max_events": window.max_events,
                "left_out": dict(self.left_out),
            },
        }

    def _names(self) -> list[dict[str, Any]]:
        """Names of the processes and threads that occur."""
        program, names = self._program, []
        units = sorted({event["tid"] - 1 for event in self.events})
        for process in sorted({event["pid"] for event in self.events}):
            text = f"tile {process - 1}"
            if process == 0:
                text = "network input"
            elif process == program.mapping.n_chip_tiles + 1:
                text = "mesh"
            names.append({"ph": "M", "pid": process, "name": "process_name", "args": {"name": text}})
            names.append({"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}})
        for unit in units:
            common = {"ph": "M", "pid": self._process(unit), "tid": unit + 1}
            names.append({**common, "name": "thread_name", "args": {"name": program.unit_name(unit)}})
            names.append({**common, "name": "thread_sort_index", "args": {"sort_index": unit}})
        return names

    def write(self, path: Path) -> None:
        """Write the trace, compressed if the name ends in ``.gz``; the file is whole or absent.

        Raises:
            ConfigError: the window lies outside the run.
            OSError: the file cannot be written.
        """
        self.check_window()
        text = json.dumps(self.content(), allow_nan=False, separators=(",", ":")).encode()
        write_atomic(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


class _Places:
    """Image, step, position and row group of every token of a phase; packets as tokens of their interface."""

    def __init__(
        self, program: Program, phase: Phase, tables: PhaseTables, record: PhaseRecord, unit: IntArray
    ) -> None:
        self._program, self._tables, self._record = program, tables, record
        self.image, self.step, self.position, self.row_group = np.full((4, unit.size), -1, dtype=np.int64)
        self._inject = _interfaces(tables)
        for u in range(tables.unit.size):
            rows = np.arange(int(record.first_token[u]), int(record.first_token[u + 1]))
            rows = rows[record.start[rows] >= 0]
            if tables.role[u] != LINK:
                self._fill(phase, int(tables.unit[u]), rows)
                continue
            sender = self._inject[record.hop[rows]]
            for inject in np.unique(sender):
                self._fill(phase, int(tables.unit[inject]), rows[sender == inject])

    def _fill(self, phase: Phase, unit: int, rows: IntArray) -> None:
        if rows.size == 0:
            return
        place = token_places(self._program, phase, unit, self._record.packet[rows])
        self.image[rows], self.step[rows], self.position[rows] = place.image, place.step, place.position
        self.row_group[rows] = place.row_group

    def interface(self, row: int) -> int:
        """Program unit that sent a packet."""
        return int(self._tables.unit[self._inject[self._record.hop[row]]])

    def arguments(self, row: int) -> dict[str, int]:
        """What is shown when the span is clicked."""
        found = {
            "image": int(self.image[row]),
            "step": int(self.step[row]),
            "position": int(self.position[row]),
            "row_group": int(self.row_group[row]),
        }
        return {name: value for name, value in found.items() if value >= 0}


def _interfaces(tables: PhaseTables) -> IntArray:
    """(hops,) interface of each hop's flow; a child has a higher number than its parent."""
    unit = tables.hop_unit.copy()
    for hop in range(tables.hop_unit.size):
        unit[tables.child[tables.child_start[hop] : tables.child_start[hop + 1]]] = unit[hop]
    return unit


def _blamed(program: Program, tables: PhaseTables, waited: IntArray) -> list[str]:
    """(units,) who took most of each unit's stalled cycles in this phase."""
    worst = [""] * tables.unit.size
    most = [0] * tables.unit.size
    for c in np.flatnonzero(waited):
        u = int(tables.src[c])
        if waited[c] > most[u]:
            most[u] = int(waited[c])
            worst[u] = program.unit_name(int(tables.unit[tables.dst[c]]))
    return worst
