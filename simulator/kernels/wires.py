"""Crossbars whose cells change with the input: gated cells (1T1R) and cells of non-linear current.

Alternating line relaxation: with the bitlines held every wordline is a tridiagonal system, with the wordlines held
every bitline is one. Both are solved exactly in turn until no bitline node moves; wires conduct much better than cells,
so that few turns are needed. Gated rows that are not driven take no part at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

#: Largest x^2 for which sinh(x) is summed as a series.
_SERIES_TO = 4.0
#: Rows from which it pays to turn the arrays, so that neighbouring numbers are those of neighbouring rows.
_WORTH_TURNING = 48


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
    """Scratch of one crossbar, (rows, cols) float64: node voltages, cells as they conduct now, pivots of bitlines.

    ``turned_word``, ``turned_cell``, ``word_pivot``: (cols, rows), so that the lines of all rows are solved in lanes.
    """

    word: NDArray[np.float64]
    bit: NDArray[np.float64]
    cell: NDArray[np.float64]
    bit_pivot: NDArray[np.float64]
    turned_word: NDArray[np.float64]
    turned_cell: NDArray[np.float64]
    word_pivot: NDArray[np.float64]
    row: NDArray[np.int64]
    drive_V: NDArray[np.float64]


@inlined
def _sinh_ratio(x2: NDArray[np.float64], factor: NDArray[np.float64]) -> None:
    """sinh(x) / x of x^2 up to 4, to 1e-14: its series to x^20, in vector lanes."""
    for j in range(x2.size):
        total = 1.0 + x2[j] * (1.0 / 420.0)
        for n in (19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0):
            total = 1.0 + x2[j] * total * (1.0 / (n * (n - 1.0)))
        factor[j] = total


@kernel
def _turn(values: NDArray[np.float64], rows: int, cols: int, turned: NDArray[np.float64]) -> None:
    """Write (rows, cols) of ``values`` to ``turned`` as (cols, rows), in squares that stay in near memory."""
    for top in range(0, rows, 8):
        for left in range(0, cols, 8):
            for r in range(top, min(top + 8, rows)):
                for c in range(left, min(left + 8, cols)):
                    turned[c, r] = values[r, c]


@kernel
def _take_pivots(
    cell: NDArray[np.float64], count: int, cols: int, wires: WireLinks, pivot: NDArray[np.float64]
) -> None:
    """Pivots of the wordlines from cells (cols, rows); rows do not wait for one another."""
    g = wires.row_uS
    links = wires.driver_uS + (g if cols > 1 else 0.0)
    for k in range(count):
        pivot[0, k] = 1.0 / (cell[0, k] + links)
    for j in range(1, cols):
        links = g if j == cols - 1 else 2.0 * g
        for k in range(count):
            pivot[j, k] = 1.0 / (cell[j, k] + links - g * g * pivot[j - 1, k])


@kernel
def _solve_lines(voltage: NDArray[np.float64], pivot: NDArray[np.float64], g: float, count: int, cols: int) -> None:
    """Wordline voltages (cols, rows) from the right sides of their equations, in place."""
    for j in range(1, cols):
        for k in range(count):
            voltage[j, k] += g * voltage[j - 1, k] * pivot[j - 1, k]
    for k in range(count):
        voltage[cols - 1, k] *= pivot[cols - 1, k]
    for j in range(cols - 2, -1, -1):
        for k in range(count):
            voltage[j, k] = (voltage[j, k] + g * voltage[j + 1, k]) * pivot[j, k]


@kernel
def _take_cells(conductance: NDArray[np.float64], count: int, wires: WireLinks, nodes: WireNodes) -> None:
    """Conductance of every cell at its present voltage, and the pivots of both kinds of lines."""
    cols = conductance.shape[1]
    a = wires.nonlinearity_per_V
    x2, factor = np.empty(cols), np.ones(cols)
    scale = 1.0 if a == 0.0 else a * wires.read_V / np.sinh(a * wires.read_V)
    for k in range(count):
        if a > 0.0:
            word, bit = nodes.word[k], nodes.bit[k]
            for j in range(cols):
                x = a * (word[j] - bit[j])
                x2[j] = x * x
            # No node lies outside 0 to read_V.
            if (a * wires.read_V) ** 2 <= _SERIES_TO or x2.max() <= _SERIES_TO:
                _sinh_ratio(x2, factor)
            else:
                for j in range(cols):
                    x = np.sqrt(x2[j])
                    factor[j] = 1.0 if x < 1e-6 else np.sinh(x) / x
        row, cell = conductance[nodes.row[k]], nodes.cell[k]
        for j in range(cols):
            cell[j] = row[j] * (factor[j] * scale)
    if not np.isinf(wires.row_uS):
        if count < _WORTH_TURNING:
            _take_pivots(nodes.cell.T, count, cols, wires, nodes.word_pivot)
        else:
            _turn(nodes.cell, count, cols, nodes.turned_cell)
            _take_pivots(nodes.turned_cell, count, cols, wires, nodes.word_pivot)
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
        for j in range(cols):
            nodes.word[k, j] = nodes.cell[k, j] * nodes.bit[k, j]
        nodes.word[k, 0] += wires.driver_uS * nodes.drive_V[k]
    if count < _WORTH_TURNING:
        _solve_lines(nodes.word.T, nodes.word_pivot, g, count, cols)
    else:
        _turn(nodes.word, count, cols, nodes.turned_word)
        _solve_lines(nodes.turned_word, nodes.word_pivot, g, count, cols)
        _turn(nodes.turned_word, cols, count, nodes.word)


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
    shape, turned = (rows, cols), (cols, rows)
    return WireNodes(
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(shape, dtype=np.float64),
        np.empty(turned, dtype=np.float64),
        np.empty(turned, dtype=np.float64),
        np.empty(turned, dtype=np.float64),
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
