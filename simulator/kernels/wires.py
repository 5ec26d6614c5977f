"""Crossbars whose cells change with the input: gated cells (1T1R) and cells of non-linear current.

Alternating line relaxation: with the bitlines held every wordline is a tridiagonal system, with the wordlines held
every bitline is one. Both are solved exactly in turn until no bitline node moves; wires conduct much better than cells,
so that few turns are needed. Gated rows that are not driven take no part at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel


class WireLinks(NamedTuple):
    """Conductances of the wires in uS, infinite for an ideal conductor.

    ``row_uS``, ``column_uS``: between neighbouring cells; ``driver_uS``: from a driver to the first cell; ``sense_uS``:
    from the last cell to the sense amplifier. ``read_V``: voltage of a driven row; ``nonlinearity_per_V``: a in
    I = G read_V sinh(a v) / sinh(a read_V), 0 for linear cells; ``gated``: only driven rows have connected cells, else
    the others are held at 0 V. ``tolerance``: largest move of a bitline node in the last turn, over read_V.
    """

    row_uS: float
    column_uS: float
    driver_uS: float
    sense_uS: float
    read_V: float
    nonlinearity_per_V: float
    gated: bool
    tolerance: float
    max_turns: int


class WireNodes(NamedTuple):
    """Scratch of one crossbar, (rows, cols) float64: node voltages, cells as they conduct now, pivots."""

    word: NDArray[np.float64]
    bit: NDArray[np.float64]
    cell: NDArray[np.float64]
    word_pivot: NDArray[np.float64]
    bit_pivot: NDArray[np.float64]
    row: NDArray[np.int64]
    drive_V: NDArray[np.float64]


@kernel
def _take_cells(conductance: NDArray[np.float64], count: int, wires: WireLinks, nodes: WireNodes) -> None:
    """Conductance of every cell at its present voltage, and the pivots of both kinds of lines."""
    cols = conductance.shape[1]
    a = wires.nonlinearity_per_V
    for k in range(count):
        row = conductance[nodes.row[k]]
        for j in range(cols):
            factor = 1.0
            if a > 0.0:
                v = nodes.word[k, j] - nodes.bit[k, j]
                x = a * v
                slope = 1.0 if abs(x) < 1e-6 else np.sinh(x) / x
                top = a * wires.read_V
                factor = slope * top / np.sinh(top)
            nodes.cell[k, j] = row[j] * factor
    if not np.isinf(wires.row_uS):
        g = wires.row_uS
        for k in range(count):
            links = wires.driver_uS + (g if cols > 1 else 0.0)
            pivot = nodes.cell[k, 0] + links
            nodes.word_pivot[k, 0] = 1.0 / pivot
            for j in range(1, cols):
                links = g if j == cols - 1 else 2.0 * g
                pivot = nodes.cell[k, j] + links - g * g * nodes.word_pivot[k, j - 1]
                nodes.word_pivot[k, j] = 1.0 / pivot
    if not np.isinf(wires.column_uS):
        for k in range(count):
            above = _between(nodes.row, k, wires.column_uS)
            below = _down(nodes.row, k, conductance, wires)
            if k < count - 1:
                below = _between(nodes.row, k + 1, wires.column_uS)
            for j in range(cols):
                pivot = nodes.cell[k, j] + above + below
                if k > 0:
                    pivot -= above * above * nodes.bit_pivot[k - 1, j]
                nodes.bit_pivot[k, j] = 1.0 / pivot


@kernel
def _between(row: NDArray[np.int64], k: int, link: float) -> float:
    """Conductance of the bitline between nodes k - 1 and k; rows in between have no cells on it."""
    return link / (row[k] - row[k - 1]) if k > 0 else 0.0


@kernel
def _down(row: NDArray[np.int64], k: int, conductance: NDArray[np.float64], wires: WireLinks) -> float:
    """Conductance from the last node of a bitline to its sense amplifier."""
    segments = conductance.shape[0] - 1 - row[k]
    return float(1.0 / (segments / wires.column_uS + 1.0 / wires.sense_uS))


@kernel
def _solve_words(count: int, cols: int, wires: WireLinks, nodes: WireNodes) -> None:
    if np.isinf(wires.row_uS):
        for k in range(count):
            voltage = nodes.drive_V[k]
            if not np.isinf(wires.driver_uS):
                current, total = wires.driver_uS * voltage, wires.driver_uS
                for j in range(cols):
                    current += nodes.cell[k, j] * nodes.bit[k, j]
                    total += nodes.cell[k, j]
                voltage = current / total
            for j in range(cols):
                nodes.word[k, j] = voltage
        return
    g = wires.row_uS
    for k in range(count):
        nodes.word[k, 0] = nodes.cell[k, 0] * nodes.bit[k, 0] + wires.driver_uS * nodes.drive_V[k]
    for j in range(1, cols):
        for k in range(count):
            carried = g * nodes.word[k, j - 1] * nodes.word_pivot[k, j - 1]
            nodes.word[k, j] = nodes.cell[k, j] * nodes.bit[k, j] + carried
    for k in range(count):
        nodes.word[k, cols - 1] *= nodes.word_pivot[k, cols - 1]
    for j in range(cols - 2, -1, -1):
        for k in range(count):
            nodes.word[k, j] = (nodes.word[k, j] + g * nodes.word[k, j + 1]) * nodes.word_pivot[k, j]


@kernel
def _solve_bits(conductance: NDArray[np.float64], count: int, wires: WireLinks, nodes: WireNodes) -> float:
    """Bitline voltages; returns the largest move of a node."""
    cols = conductance.shape[1]
    move = 0.0
    if np.isinf(wires.column_uS):
        for j in range(cols):
            voltage = 0.0
            if not np.isinf(wires.sense_uS):
                current, total = 0.0, wires.sense_uS
                for k in range(count):
                    current += nodes.cell[k, j] * nodes.word[k, j]
                    total += nodes.cell[k, j]
                voltage = current / total
            move = max(move, abs(voltage - nodes.bit[0, j]))
            for k in range(count):
                nodes.bit[k, j] = voltage
        return move
    right = np.empty((count, cols), dtype=np.float64)
    for k in range(count):
        above = _between(nodes.row, k, wires.column_uS)
        for j in range(cols):
            right[k, j] = nodes.cell[k, j] * nodes.word[k, j]
        if k > 0:
            for j in range(cols):
                right[k, j] += above * right[k - 1, j] * nodes.bit_pivot[k - 1, j]
    for k in range(count - 1, -1, -1):
        below = _between(nodes.row, k + 1, wires.column_uS) if k < count - 1 else 0.0
        for j in range(cols):
            value = right[k, j]
            if k < count - 1:
                value += below * nodes.bit[k + 1, j]
            value *= nodes.bit_pivot[k, j]
            move = max(move, abs(value - nodes.bit[k, j]))
            nodes.bit[k, j] = value
    return move


@kernel
def solve_crossbar(
    conductance: NDArray[np.float64],
    rows: NDArray[np.int32],
    first: int,
    last: int,
    base: int,
    wires: WireLinks,
    nodes: WireNodes,
    currents: NDArray[np.float64],
) -> float:
    """Column currents of one crossbar for one set of driven rows.

    Args:
        conductance: (rows, cols) uS at the read voltage.
        rows: numbers of driven rows, ``rows[first:last]``, ascending, at least one; ``base`` is that of row 0.
        first: first entry of ``rows``.
        last: entry behind the last.
        base: number of the crossbar's first row.
        wires: wires and cells.
        nodes: scratch.
        currents: (cols,) uA, written.

    Returns:
        Current of the driven rows in uA; negative if the relaxation did not converge.
    """
    n_rows, cols = conductance.shape
    count = 0
    if wires.gated:
        for i in range(first, last):
            nodes.row[count], nodes.drive_V[count] = rows[i] - base, wires.read_V
            count += 1
    else:
        for r in range(n_rows):
            nodes.row[r], nodes.drive_V[r] = r, 0.0
        for i in range(first, last):
            nodes.drive_V[rows[i] - base] = wires.read_V
        count = n_rows
    for k in range(count):
        for j in range(cols):
            nodes.bit[k, j], nodes.word[k, j] = 0.0, nodes.drive_V[k]
    _take_cells(conductance, count, wires, nodes)
    turn, move = 0, np.inf
    while move > wires.tolerance * wires.read_V:
        if turn == wires.max_turns:
            return -1.0
        _solve_words(count, cols, wires, nodes)
        move = _solve_bits(conductance, count, wires, nodes)
        if wires.nonlinearity_per_V > 0.0:
            _take_cells(conductance, count, wires, nodes)
        turn += 1
    _solve_words(count, cols, wires, nodes)
    currents[:] = 0.0
    total = 0.0
    for k in range(count):
        delivered = 0.0
        for j in range(cols):
            current = nodes.cell[k, j] * (nodes.word[k, j] - nodes.bit[k, j])
            currents[j] += current
            delivered += current
        if nodes.drive_V[k] > 0.0:
            total += delivered
    return total


@kernel
def wire_nodes(rows: int, cols: int) -> WireNodes:
    """Scratch for crossbars of that size."""
    shape = (rows, cols)
    return WireNodes(
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(rows, dtype=np.int64),
        np.empty(rows, dtype=np.float64),
    )


@kernel
def solve_patterns(
    conductance: NDArray[np.float64],
    driven: NDArray[np.uint8],
    wires: WireLinks,
    currents: NDArray[np.float64],
    row_current: NDArray[np.float64],
) -> None:
    """``solve_crossbar`` for many inputs: ``driven`` (vectors, rows) 0 or 1, ``currents`` (vectors, cols) written."""
    rows, cols = conductance.shape
    nodes = wire_nodes(rows, cols)
    numbers = np.empty(rows, dtype=np.int32)
    for n in range(driven.shape[0]):
        count = 0
        for r in range(rows):
            if driven[n, r]:
                numbers[count] = r
                count += 1
        if count == 0:
            currents[n] = 0.0
            row_current[n] = 0.0
        else:
            row_current[n] = solve_crossbar(conductance, numbers, 0, count, 0, wires, nodes, currents[n])
