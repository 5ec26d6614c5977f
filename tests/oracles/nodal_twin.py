"""Slow, obvious solver of a crossbar with wires: every node has an equation, conductances are stamped one by one.

Ideal conductors join nodes (union by relabelling); sources are nodes of known voltage. Shares no code with the
simulator.
"""

from __future__ import annotations

import math

import numpy as np

Edge = tuple[str, str, float]


def crossbar_edges(
    conductance_uS, *, row_ohm, column_ohm, driver_ohm, sense_ohm, driven, sensed, connected=None
) -> list[Edge]:
    """Resistors (node, node, ohm); ``driven[i]`` and ``sensed[j]`` say which ends are tied to a source or to ground."""
    rows, cols = len(conductance_uS), len(conductance_uS[0])
    edges: list[Edge] = []
    for i in range(rows):
        if driven[i]:
            edges.append((f"V{i}", f"R{i},0", row_ohm + driver_ohm))
        for j in range(cols - 1):
            edges.append((f"R{i},{j}", f"R{i},{j + 1}", row_ohm))
    for j in range(cols):
        if sensed[j]:
            edges.append((f"C{rows - 1},{j}", f"S{j}", column_ohm + sense_ohm))
        for i in range(rows - 1):
            edges.append((f"C{i},{j}", f"C{i + 1},{j}", column_ohm))
    for i in range(rows):
        for j in range(cols):
            joined = connected is None or connected[i][j]
            if joined and conductance_uS[i][j] > 0:
                edges.append((f"R{i},{j}", f"C{i},{j}", 1e6 / conductance_uS[i][j]))
    return edges


def node_voltages(edges: list[Edge], known: dict[str, float]) -> dict[str, float]:
    """Voltage of every node; what no source reaches floats at 0."""
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b, ohm in edges:
        find(a), find(b)
        if ohm == 0:
            one, other = find(a), find(b)
            if one != other:
                # a source stays the name of its group
                keep, gone = (one, other) if one in known else (other, one)
                assert not (keep in known and gone in known and known[keep] != known[gone]), "sources are shorted"
                parent[gone] = keep
    names = sorted({find(node) for node in parent})
    free = [name for name in names if name not in known]
    index = {name: k for k, name in enumerate(free)}
    matrix, right = np.zeros((len(free), len(free))), np.zeros(len(free))
    for a, b, ohm in edges:
        one, other = find(a), find(b)
        if ohm == 0 or one == other:
            continue
        g = 1.0 / ohm
        for here, there in ((one, other), (other, one)):
            if here in index:
                matrix[index[here], index[here]] += g
                if there in index:
                    matrix[index[here], index[there]] -= g
                else:
                    right[index[here]] += g * known[there]
    reached = _reached(edges, known)
    for name, k in index.items():
        if name not in reached and not any(find(node) == name for node in reached):
            matrix[k, :], right[k] = 0.0, 0.0
            matrix[k, k] = 1.0
    voltages = np.linalg.solve(matrix, right) if free else np.zeros(0)
    solved = {name: known.get(name, 0.0) if name in known else float(voltages[index[name]]) for name in names}
    return {node: solved[find(node)] for node in parent} | known


def _reached(edges: list[Edge], known: dict[str, float]) -> set[str]:
    neighbours: dict[str, list[str]] = {}
    for a, b, _ in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    seen, queue = set(known), list(known)
    while queue:
        for other in neighbours.get(queue.pop(), []):
            if other not in seen:
                seen.add(other)
                queue.append(other)
    return seen


def cell_currents_uA(conductance_uS, edges, voltages, connected=None) -> np.ndarray:
    """Current of every cell from wordline to bitline."""
    rows, cols = len(conductance_uS), len(conductance_uS[0])
    out = np.zeros((rows, cols))
    for i in range(rows):
        for j in range(cols):
            if connected is None or connected[i][j]:
                drop = voltages.get(f"R{i},{j}", 0.0) - voltages.get(f"C{i},{j}", 0.0)
                out[i, j] = conductance_uS[i][j] * drop
    return out


def largest_imbalance_uA(edges: list[Edge], voltages: dict[str, float], sources: set[str]) -> float:
    """Largest sum of currents into a node that is no source (networks without ideal conductors)."""
    into: dict[str, float] = {}
    for a, b, ohm in edges:
        current = (voltages[a] - voltages[b]) / ohm * 1e6
        into[a] = into.get(a, 0.0) - current
        into[b] = into.get(b, 0.0) + current
    return max((abs(value) for node, value in into.items() if node not in sources), default=0.0)


def solve(conductance_uS, voltages_V, *, row_ohm, column_ohm, driver_ohm=0.0, sense_ohm=0.0, driven=None, sensed=None):
    """(column currents, row currents) in uA of one input vector."""
    rows, cols = np.shape(conductance_uS)
    driven = [True] * rows if driven is None else driven
    sensed = [True] * cols if sensed is None else sensed
    edges = crossbar_edges(
        conductance_uS,
        row_ohm=row_ohm,
        column_ohm=column_ohm,
        driver_ohm=driver_ohm,
        sense_ohm=sense_ohm,
        driven=driven,
        sensed=sensed,
    )
    known = {f"V{i}": float(voltages_V[i]) for i in range(rows) if driven[i]}
    known |= {f"S{j}": 0.0 for j in range(cols) if sensed[j]}
    found = node_voltages(edges, known)
    cells = cell_currents_uA(conductance_uS, edges, found)
    if row_ohm > 0 and column_ohm > 0:
        assert largest_imbalance_uA(edges, found, set(known)) < 1e-6 * (1 + np.abs(cells).max())
    assert all(math.isfinite(v) for v in found.values())
    return cells.sum(axis=0), cells.sum(axis=1)
