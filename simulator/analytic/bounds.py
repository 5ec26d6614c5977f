"""Bounds of a run of the clock, exact for its activity, from the tables that the clock gets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..functional.activity import Activity
from ..phases import PhaseBinder, phases
from ..program import Program
from ..tables import COMPUTE, PhaseTables


class Bounds(NamedTuple):
    """Cycles of a whole run (all images): the clock is never below ``resource`` nor above ``serial``."""

    resource: int
    serial: int


def run_bounds(program: Program, activity: Activity) -> Bounds:
    """Resource and serial bound of ``run_cycles(program, activity).total_cycles``.

    Resource: in every phase the total service of the busiest unit, router outputs included. Serial: every service of
    every unit one after the other, and every packet's head and flits besides, on each of its hops.
    """
    binder = PhaseBinder(program, activity)
    resource = serial = 0
    for phase in phases(program, activity.n_images):
        tables = binder.bind(phase)
        work, delivered = _unit_work(tables)
        resource += int(work.max(initial=0))
        serial += int(work.sum()) + delivered
    return Bounds(resource, serial)


def _unit_work(tables: PhaseTables) -> tuple[NDArray[np.int64], int]:
    """Total service of each unit of a phase, and the cycles that packets spend behind the service of their hops."""
    work = np.zeros(tables.unit.size, dtype=np.int64)
    for i in np.flatnonzero(tables.role == COMPUTE):
        start, period, tokens = (int(x[i]) for x in (tables.service_start, tables.service_period, tables.n_tokens))
        pattern = tables.service_values[start : start + period]
        whole, rest = divmod(tokens, period)
        work[i] = whole * int(pattern.sum()) + int(pattern[:rest].sum())
    packets = np.zeros(tables.hop_unit.size, dtype=np.int64)
    roots = np.flatnonzero(tables.root_hop >= 0)
    packets[tables.root_hop[roots]] = tables.n_tokens[roots]
    # A parent has a lower number than its children.
    for hop in range(tables.hop_unit.size):
        packets[tables.child[tables.child_start[hop] : tables.child_start[hop + 1]]] = packets[hop]
    np.add.at(work, tables.hop_unit, packets * tables.hop_service)
    late = tables.hop_lead + tables.hop_flits - tables.hop_service
    return work, int((packets * late).sum())
