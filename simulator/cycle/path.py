"""Where the time went: the critical path of a run, by unit and by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..phases import Phase
from ..program import UNIT_KINDS, Program
from ..tables import COMPUTE, END, ROUTE, PhaseTables
from .clock import PhaseCounts
from .record import PhaseRecord, service_ends

if TYPE_CHECKING:
    from ..kernels.path import PathTables

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """One answer to "where does the time go": cycles of the critical path at one kind of unit of one layer."""

    layer: str
    kind: str
    busy: int
    wait: int
    share: float

    def sentence(self) -> str:
        """E.g. ``conv2: convert-bound, 71 % of cycles``."""
        return f"{self.layer}: {self.kind}-bound, {100 * self.share:.0f} % of cycles"


class CriticalPath:
    """Walks every phase of a run back from its end; an observer of ``run_cycles``.

    Attributes:
        busy, wait: (units,) cycles of the critical path at which a unit served (or its packet was under way), or held a
            token or waited for a slot;
            ``busy.sum() + wait.sum()`` is the length of the run.
        unexplained: cycles without a known cause; they are part of ``wait``.
        overlapped: no barriers: a layer's cycles follow from the path alone.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.busy, self.wait = np.zeros((2, program.n_units), dtype=np.int64)
        self.unexplained = 0
        self.overlapped = program.hw.dataflow.order == "layer_pipelined"

    def see(self, phase: Phase, tables: PhaseTables, counts: PhaseCounts, cycle: int) -> None:
        """Charge the cycles of one phase."""
        from ..kernels.path import walk_back

        record = counts.record
        if record is None or counts.end == 0:
            return
        ends = service_ends(tables, record)
        prepared = _prepare(tables, record, ends)
        last, how = _last_row(tables, record, counts.end, prepared)
        busy, wait = np.zeros((2, tables.unit.size), dtype=np.int64)
        self.unexplained += int(walk_back(prepared, last, how, counts.end, busy, wait))
        self.busy[tables.unit] += busy
        self.wait[tables.unit] += wait

    def layer_cycles(self) -> IntArray:
        """(layers + 1,) cycles charged to each layer; the last is the network input and the router outputs."""
        layers = len(self._program.mapping.layers)
        owner = np.where(self._program.unit_layer < 0, layers, self._program.unit_layer)
        total = np.zeros(layers + 1, dtype=np.int64)
        np.add.at(total, owner, self.busy + self.wait)
        return total

    def bottlenecks(self) -> tuple[Bottleneck, ...]:
        """Layer and unit kind by their cycles, most first."""
        program = self._program
        total = int(self.busy.sum() + self.wait.sum())
        sums: dict[tuple[str, str], list[int]] = {}
        for unit in np.flatnonzero(self.busy + self.wait):
            layer, kind = int(program.unit_layer[unit]), UNIT_KINDS[program.unit_kind[unit]]
            name = program.mapping.layers[layer].layer.name if layer >= 0 else ("noc" if kind == "link" else "input")
            cell = sums.setdefault((name, kind), [0, 0])
            cell[0] += int(self.busy[unit])
            cell[1] += int(self.wait[unit])
        lines = [
            Bottleneck(layer=name, kind=kind, busy=busy, wait=wait, share=(busy + wait) / total)
            for (name, kind), (busy, wait) in sums.items()
        ]
        return tuple(sorted(lines, key=lambda line: -(line.busy + line.wait)))


def _grouped(ends: IntArray, chosen: NDArray[np.bool_], n_units: int) -> tuple[IntArray, IntArray]:
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(ends[rows], kind="stable")]
    return np.searchsorted(ends[rows], np.arange(n_units + 1)).astype(np.int64), rows.astype(np.int64)


def _prepare(tables: PhaseTables, record: PhaseRecord, ends: IntArray) -> PathTables:
    """Look-up tables of ``kernels.path.PathTables``."""
    from ..kernels.path import PathTables

    n = tables.unit.size
    in_start, in_channel = _grouped(tables.dst, (tables.dst >= 0) & (tables.kind != ROUTE), n)
    out_start, out_channel = _grouped(tables.src, tables.kind != ROUTE, n)
    ones_start, ones_count, ones = _ones(tables)
    packets = tables.n_tokens[_root_unit(tables)]
    packet_first = np.append(0, np.cumsum(packets)).astype(np.int64)
    packet_row = np.full(int(packet_first[-1]), -1, dtype=np.int64)
    unit_of_row = np.repeat(np.arange(n), tables.n_tokens)
    rows = np.flatnonzero((tables.role[unit_of_row] != COMPUTE) & (record.start >= 0))
    packet_row[packet_first[record.hop[rows]] + record.packet[rows]] = rows
    channel_hop = np.full(tables.src.size, -1, dtype=np.int64)
    for hop in range(tables.hop_unit.size):
        channel_hop[tables.deliver[tables.deliver_start[hop] : tables.deliver_start[hop + 1]]] = hop
    columns = (record.start, record.leave, record.hop, record.packet, record.came)
    return PathTables(  # type: ignore[call-arg]  # mypy loses count behind the star
        tables,
        record.first_token,
        *(np.ascontiguousarray(column) for column in columns),
        record.first_arrival,
        record.arrival,
        ends,
        in_start,
        in_channel,
        out_start,
        out_channel,
        ones_start,
        ones_count,
        ones,
        packet_first,
        packet_row,
        channel_hop,
        _parents(tables),
    )


def _parents(tables: PhaseTables) -> IntArray:
    """(hops,) hop before each hop, -1 at a root."""
    parent = np.full(tables.hop_unit.size, -1, dtype=np.int64)
    parent[tables.child] = np.repeat(np.arange(tables.hop_unit.size), np.diff(tables.child_start))
    return parent


def _root_unit(tables: PhaseTables) -> IntArray:
    """(hops,) interface of each hop's flow; a child has a higher number than its parent."""
    unit = tables.hop_unit.copy()
    for hop in range(tables.hop_unit.size):
        unit[tables.child[tables.child_start[hop] : tables.child_start[hop + 1]]] = unit[hop]
    return unit


def _ones(tables: PhaseTables) -> tuple[IntArray, IntArray, IntArray]:
    """Per channel: where its list of sending tokens begins, how many a period, and the lists."""
    known: dict[tuple[int, int], tuple[int, int]] = {}
    lists: list[IntArray] = []
    size = 0
    start, count = np.zeros((2, tables.src.size), dtype=np.int64)
    for c in range(tables.src.size):
        key = (int(tables.emit_start[c]), int(tables.emit_period[c]))
        if key not in known:
            found = np.flatnonzero(tables.pattern_values[key[0] : key[0] + key[1]])
            known[key] = (size, found.size)
            lists.append(found)
            size += found.size
        start[c], count[c] = known[key]
    return start, count, np.concatenate(lists).astype(np.int64) if lists else np.zeros(0, dtype=np.int64)


def _last_row(tables: PhaseTables, record: PhaseRecord, end: int, prepared: PathTables) -> tuple[int, int]:
    """Row of the token that ended the phase, and how: it left last, or what it sent arrived last."""
    from ..kernels.path import AT_FAR_END, AT_LEAVE

    left = np.flatnonzero(record.leave == end)
    if left.size:
        return int(left[0]), AT_LEAVE
    for c in np.flatnonzero(tables.kind == END):
        rows = record.arrival[record.first_arrival[c] : record.first_arrival[c + 1]]
        nth = np.flatnonzero(rows == end)
        if nth.size:
            period, n_ones = int(tables.emit_period[c]), int(prepared.ones_count[c])
            place = int(prepared.ones[prepared.ones_start[c] + nth[0] % n_ones])
            packet = (int(nth[0]) // n_ones) * period + place
            first = prepared.packet_first[prepared.channel_hop[c]]
            return int(prepared.packet_row[first + packet]), AT_FAR_END
    raise AssertionError("a phase ends with a token or an arrival")
